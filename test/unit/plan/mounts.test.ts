// What guests mount, from mount tables as nodes have them.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import { parseMountInfo } from '../../../contextualise/index.ts'
import {
  isMounted,
  type MountFacts,
  type MountRequest,
  type PlanMount,
  withPlaces,
} from '../../../launcher/plan/mounts.ts'
import { planMounts } from '../../../launcher/plan/plan-mounts.ts'

/** A line of /proc/self/mountinfo. */
const line = (path: string, type: string, source: string, options = 'rw', root = '/') =>
  `36 35 0:40 ${root} ${path} rw,relatime shared:1 - ${type} ${source} ${options}`

const V4 =
  'rw,vers=4.2,rsize=1048576,wsize=1048576,namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,clientaddr=10.0.0.5,local_lock=none,addr=10.0.0.1'
const TABLE = [
  line('/', 'ext4', '/dev/vda1'),
  line('/home', 'nfs4', 'nfs1:/export/home', V4),
  line(
    '/scratch',
    'nfs',
    'nfs2:/scratch',
    'rw,vers=3,noac,proto=rdma,mountaddr=10.0.0.2,mountport=20048,addr=10.0.0.2',
  ),
  line('/lustre', 'lustre', '10.0.0.3@tcp:/lustre'),
  line('/secret', 'nfs4', 'nfs1:/secret', 'rw,vers=4.2,sec=krb5p,addr=10.0.0.1'),
  line('/own', 'nfs4', 'localhost:/own', 'rw,vers=4.2,addr=127.0.0.1'),
]

interface Case extends Partial<Omit<MountRequest, 'wishes'>> {
  readonly table?: readonly string[]
  readonly facts?: Partial<MountFacts>
  /** Of guests that can mount nothing elsewhere. */
  readonly places?: readonly string[]
  readonly wishes?: readonly (string | { text: string; source: string })[]
}

function plan({ table = TABLE, facts, places, wishes = [], ...request }: Case): readonly PlanMount[] {
  const known = {
    ...{ table: parseMountInfo(table.join('\n')), realPaths: {}, here: 'n0', batchJob: undefined, added: [] },
    ...facts,
  }
  const planner = (whole: MountRequest) => planMounts(whole, known)
  return (places ? withPlaces(planner, places) : planner)({
    shareBy: 'auto',
    stage: 'auto',
    client: 'linux',
    workDirs: ['/tmp/w'],
    user: { name: 'u', uid: 1000, gid: 100, home: '/root' },
    nodes: ['n0'],
    ...request,
    wishes: wishes.map((wish) =>
      typeof wish === 'string'
        ? { text: wish, where: '--mount', source: 'command line' }
        : { ...wish, where: wish.source },
    ),
  })
}

const brief = (mounts: readonly PlanMount[]) =>
  mounts.map((mount) =>
    mount.kind === 'share'
      ? `9p ${mount.path}${mount.mirrored ? ` copied but ${mount.mirrored.except ?? 'none'}` : ''}`
      : `${mount.server}:${mount.directory} ${mount.path} v${mount.version} ${mount.options.join()}`,
  )
const user = (home: string) => ({ name: 'u', uid: 1000, gid: 100, home })
const TWO = { nodes: ['n0', 'n1'] }
/** What is left of the node's options: how it reads and waits, and not how it was connected. */
const V4_LEFT = 'rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,sec=sys'

describe('home and working directory', () => {
  it.each<[string, Case, string[]]>([
    ['a local directory by 9p', {}, ['9p /tmp/w']],
    [
      'one on NFS by NFS, as a whole',
      { workDirs: ['/home/u/case'] },
      [`nfs1:/export/home /home v4 ${V4_LEFT}`],
    ],
    [
      'on several nodes too',
      { workDirs: ['/home/u/case'], ...TWO },
      [`nfs1:/export/home /home v4 ${V4_LEFT}`],
    ],
    [
      'the home beside a local working directory',
      { user: user('/home/u') },
      [`nfs1:/export/home /home v4 ${V4_LEFT}`, '9p /tmp/w'],
    ],
    [
      'version 3, without the node’s transport',
      { workDirs: ['/scratch/x'] },
      ['nfs2:/scratch /scratch v3 noac'],
    ],
    ['a cluster’s file system from each node', { workDirs: ['/lustre/x'], ...TWO }, ['9p /lustre/x']],
    ['a home there too', { user: user('/lustre/u'), workDirs: ['/lustre/u/x'], ...TWO }, ['9p /lustre/u']],
    ['what needs tickets of Kerberos from each node', { workDirs: ['/secret/x'], ...TWO }, ['9p /secret/x']],
    [
      'all by 9p when that is asked for',
      { workDirs: ['/home/u/case', '/tmp/w'], user: user('/home/u'), shareBy: '9p' },
      ['9p /home/u', '9p /tmp/w'],
    ],
    ['by 9p what is NFS on several nodes', { workDirs: ['/home/u'], shareBy: '9p', ...TWO }, ['9p /home/u']],
    ['by 9p what the user vouches for', { shareBy: '9p', ...TWO }, ['9p /tmp/w']],
    ['a copy of a local working directory to other nodes', TWO, ['9p /tmp/w copied but n0']],
    [
      'a copy to all nodes when the job was given on none of them',
      { facts: { here: undefined } },
      ['9p /tmp/w copied but none'],
    ],
    ['a copy of what each node itself serves', { workDirs: ['/own/x'], ...TWO }, ['9p /own/x copied but n0']],
    [
      'with it what else is to be carried',
      { facts: { added: ['/data/mesh', '/tmp/w/in'] }, ...TWO },
      ['9p /data/mesh copied but n0', '9p /tmp/w copied but n0'],
    ],
    ['nothing else where all have the same', { facts: { added: ['/data'] } }, ['9p /tmp/w']],
    [
      'a copy of all working directories when that is wanted, also on one node',
      { workDirs: ['/home/u/case', '/tmp/w'], stage: 'always' },
      [
        `nfs1:/export/home /home v4 ${V4_LEFT}`,
        '9p /home/u/case copied but none',
        '9p /tmp/w copied but none',
      ],
    ],
    ['not a local home', { user: user('/var/u') }, ['9p /tmp/w']],
    ['a directory once', { workDirs: ['/tmp/w', '/tmp/w/x', '/tmp/v'] }, ['9p /tmp/v', '9p /tmp/w']],
    [
      'by NFS what a given image has a place for',
      { workDirs: ['/home/u/case'], places: ['/home'] },
      [`nfs1:/export/home /home v4 ${V4_LEFT}`],
    ],
    [
      'from the node what it has none for',
      { workDirs: ['/home/u/case'], places: ['/data'] },
      ['9p /home/u/case'],
    ],
    ['what the node itself serves, on one node', { workDirs: ['/own/x'] }, ['localhost:/own /own v4 ']],
  ])('brings %s', (_what, request, expected) => {
    expect(brief(plan(request))).toEqual(expected)
  })

  it('mounts a path that leads to NFS by a symbolic link at both places', () => {
    const realPaths = { '/u/case': '/home/u/case', '/home/u': '/home/u' }
    expect(brief(plan({ workDirs: ['/u/case'], user: user('/home/u'), facts: { realPaths } }))).toEqual([
      `nfs1:/export/home /home v4 ${V4_LEFT}`,
      `nfs1:/export/home/u/case /u/case v4 ${V4_LEFT}`,
    ])
  })
  it('leaves a link alone that is on what is mounted', () => {
    const realPaths = { '/home/u/case': '/scratch/case' }
    expect(brief(plan({ workDirs: ['/home/u/case'], user: user('/home/u'), facts: { realPaths } }))).toEqual([
      `nfs1:/export/home /home v4 ${V4_LEFT}`,
      'nfs2:/scratch /scratch v3 noac',
    ])
  })
  it('takes only the directory where the node has its whole system on NFS', () => {
    const table = [line('/', 'nfs4', 'boot:/roots/n0', 'rw,vers=4.2,addr=10.0.0.9')]
    expect(brief(plan({ table, workDirs: ['/data/x'] }))).toEqual([
      'boot:/roots/n0/data/x /data/x v4 ',
      'boot:/roots/n0/root /root v4 ',
    ])
  })
  it('follows a bind mount of a part of an export', () => {
    const table = [line('/proj', 'nfs4', 'nfs1:/export', 'rw,vers=4.1', '/a b')]
    expect(
      brief(plan({ table: [table[0]?.replace('/a b', '/a\\040b') as string], workDirs: ['/proj'] })),
    ).toEqual(['nfs1:/export/a b /proj v4 '])
  })

  it.each<[string, Case]>([
    ['n1', TWO],
    ['n1, n2, n3 and 1 more', { nodes: ['n0', 'n1', 'n2', 'n3', 'n4'] }],
    ['n0', { facts: { here: undefined } }],
    ['n1', { workDirs: ['/own/x'], ...TWO }],
  ])(
    'refuses a directory of this host only with guests on %s, if nothing may be carried',
    (named, request) => {
      const attempt = () => plan({ ...request, stage: 'never' })
      expect(attempt).toThrow(`guests on ${named} could not see it`)
      expect(attempt).toThrow(expect.objectContaining({ exitCode: 2, code: 'LEET_E_USAGE' }))
    },
  )
  it.each(['/', '/usr', '/usr/lib/x', '/etc/x', '/proc', '/leet/x', '/run'])(
    'refuses the working directory %s, which guests have themselves',
    (path) => {
      expect(() => plan({ workDirs: [path] })).toThrow('-wdir: ')
    },
  )
})

describe('--mount', () => {
  it('mounts what is asked for, with the placeholders filled in', () => {
    const wishes = ['nfs9:/s/{user}.{uid}.{gid}/{jobid}:/s:vers=3,ro']
    expect(brief(plan({ wishes, workDirs: ['/s/x'], ...TWO, facts: { batchJob: '77' } }))).toEqual([
      'nfs9:/s/u.1000.100/77 /s v3 ro',
    ])
  })
  it('goes before what the node has', () => {
    const wishes = ['nfs9:/homes:/home']
    expect(brief(plan({ wishes, workDirs: ['/home/u/case'], user: user('/home/u') }))).toEqual([
      'nfs9:/homes /home v4 ',
    ])
  })
  it('goes before where a symbolic link of the node leads', () => {
    const facts = { realPaths: { '/case': '/home/u/case' } }
    expect(brief(plan({ wishes: ['nfs9:/homes:/home'], workDirs: ['/case'], facts }))).toEqual([
      `nfs1:/export/home/u/case /case v4 ${V4_LEFT}`,
      'nfs9:/homes /home v4 ',
    ])
  })
  it('is said anew by a stronger source', () => {
    const wishes = [
      { text: 'a:/x:/d', source: '/etc/leet/leet.yaml' },
      { text: 'b:/y:/d', source: 'command line' },
    ]
    expect(brief(plan({ wishes, workDirs: ['/d'] }))).toEqual(['b:/y /d v4 '])
  })
  it.each<[Case['wishes'] & object, string]>([
    [['a:/x:/d', 'b:/y:/d'], 'two mounts'],
    [['a:/x:/usr'], 'cannot be mounted'],
    [['a:/x:/proc/x'], 'cannot be mounted'],
    [['a:/x'], 'is not a mount'],
    [['a:/{group}:/d'], '{group} stands for nothing'],
    [['a:/{jobid}:/d'], '{jobid} has no value'],
  ])('refuses %j: %s', (wishes, word) => {
    expect(() => plan({ wishes })).toThrow(word)
  })
  it('refuses the name of every node for a server, on several nodes', () => {
    const request = { wishes: ['localhost:/x:/d'], workDirs: ['/d'] }
    expect(brief(plan(request))).toEqual(['localhost:/x /d v4 '])
    expect(() => plan({ ...request, ...TWO })).toThrow('another server on each of the 2 nodes')
  })
})

describe('mounts of OSv guests', () => {
  it('have of the node’s options those that OSv knows, and version 3', () => {
    const table = [line('/home', 'nfs4', 'nfs1:/export/home', `${V4},noac`), ...TABLE.slice(1, 3)]
    expect(
      brief(plan({ client: 'osv', table: [...table].reverse(), workDirs: ['/home/u', '/scratch'] })),
    ).toEqual([`nfs1:/export/home /home v3 ${V4_LEFT}`, 'nfs2:/scratch /scratch v3 '])
  })
  it('have the options that were asked for, and are marked', () => {
    const [mount] = plan({ client: 'osv', wishes: ['nfs9:/x:/w:timeo=600,uid=7'], workDirs: ['/w'] })
    expect(mount).toMatchObject({ asked: true, version: 3, options: ['timeo=600', 'uid=7'] })
    expect(() => plan({ client: 'osv', wishes: ['nfs9:/x:/w:soft'] })).toThrow('--mount: ')
  })
  it('have of what files and variables say the options that OSv knows', () => {
    const wishes = [{ text: 'nfs9:/x:/w:vers=4.2,rsize=8192,soft', source: '/etc/leet/leet.yaml' }]
    expect(brief(plan({ client: 'osv', wishes, workDirs: ['/w'] }))).toEqual(['nfs9:/x /w v3 rsize=8192'])
  })
  it('are none for reading alone, which OSv cannot read then', () => {
    const wishes = ['nfs9:/x:/data', 'nfs9:/x:/data:ro'].map((text, file) => ({ text, source: `${file}` }))
    expect(brief(plan({ client: 'osv', wishes, workDirs: [] }))).toEqual([])
    const table = [line('/home', 'nfs4', 'nfs1:/export/home', `${V4},ro`), ...TABLE.slice(2)]
    expect(brief(plan({ client: 'osv', table, workDirs: ['/home/u'] }))).toEqual(['9p /home/u'])
    expect(() => plan({ client: 'osv', wishes: ['nfs9:/x:/w:ro'] })).toThrow('"ro"')
  })
})

describe('any plan of mounts', () => {
  const part = fc.constantFrom('a', 'b', 'home', 'u')
  const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`)
  const type = fc.constantFrom('nfs4', 'nfs', 'ext4', 'lustre', 'tmpfs')
  const entry = fc.tuple(path, type, path).map(([at, kind, from]) => line(at, kind, `srv:${from}`))
  const request = fc.record({
    table: fc.array(entry, { maxLength: 6 }),
    workDirs: fc.array(path, { minLength: 1, maxLength: 3 }),
    home: path,
    nodes: fc.constantFrom(['n0'], ['n0', 'n1']),
    shareBy: fc.constantFrom('auto' as const, '9p' as const),
    wishes: fc.array(
      fc.tuple(path, path).map(([from, at]) => `s:${from}:${at}`),
      { maxLength: 2 },
    ),
    links: fc.dictionary(path, path),
  })
  it('has every working directory once, parents first, or is refused', () => {
    fc.assert(
      fc.property(request, ({ home, links, ...asked }) => {
        let mounts: readonly PlanMount[]
        try {
          mounts = plan({ ...asked, user: user(home), facts: { realPaths: links } })
        } catch (error) {
          return error instanceof LeetError && error.exitCode === 2
        }
        const paths = mounts.map((mount) => mount.path)
        return (
          asked.workDirs.every((directory) => isMounted({ mounts }, directory)) &&
          new Set(paths).size === paths.length &&
          paths.every((at, index) => !paths.slice(0, index).some((earlier) => earlier.startsWith(`${at}/`)))
        )
      }),
      { numRuns: 1000 },
    )
  })
})
