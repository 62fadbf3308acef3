// Real OSv guests, wherever LEET_OSV_BASE names what OSv's build left: the recorded contract, images that read back
// identical, and programs with every way to end.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Deadline } from '../../common/index.ts'
import { ImageStore } from '../../launcher/images/store.ts'
import { makeJobCertificates } from '../../mpi-bridge/osv/certificates.ts'
import { type OsvEndpoint, OsvRest } from '../../mpi-bridge/osv/rest.ts'
import { STAGE_ALL } from '../../mpi-bridge/osv/stage-filter.ts'
import { planStageIn, stagedPath, stageIn, stageOut } from '../../mpi-bridge/osv/staging.ts'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import { comparable, exchangeWith, readTranscript } from '../simulators/osv/contract.ts'
import { describeOsv, hasCommand, osvBuild } from '../support/needs.ts'
import { OsvBench, type RealGuest } from './osv-guests.ts'

const limits = () => ({ deadline: Deadline.after(60_000) })
const ok = { kind: 'exit', status: 0 }

/** What works in OSv. Few machines have the second. */
const LIBRARIES = [
  { name: 'Open MPI', compiler: 'mpicc.openmpi' },
  { name: 'MPICH ch3', compiler: 'mpicc.mpich-ch3' },
]

function isHere({ name, compiler }: (typeof LIBRARIES)[number]): boolean {
  if (hasCommand(compiler)) return true
  if (osvBuild !== undefined) console.warn(`skipped: ${name} in OSv guests (needs ${compiler})`)
  return false
}

describeOsv(['qemu-system-x86_64', 'vde_switch', 'mpicc.openmpi'], 'OSv guests', () => {
  let bench: OsvBench
  beforeAll(async () => {
    bench = await OsvBench.open()
  })
  afterAll(() => bench?.close())

  const serial = (guest: RealGuest, rank: number, argv: readonly string[], env = {}) =>
    guest.channel.start([{ rank, argv, env, cwd: '/tmp', stdin: false, terminal: false }])
  const ended = (rank: number) => (event: { kind: string; rank?: number }) =>
    (event.kind === 'ended' || event.kind === 'failed') && event.rank === rank

  describe('the REST server', () => {
    let guest: RealGuest
    beforeAll(async () => {
      const image = await bench.compose({ programs: ['/bin/true'] })
      // The transcript was recorded without a seed, which would leave traces in /tmp.
      guest = (await bench.boot(image, { seeded: false }))[0] as RealGuest
    })
    it.each(readTranscript().map((exchange, index) => [index, exchange.request, exchange] as const))(
      'answers as in the transcript: %i %s',
      async (_, __, exchange) => {
        const { port } = guest.rest.endpoint
        expect(comparable(await exchangeWith(port, exchange))).toEqual(comparable(exchange))
      },
    )

    it('carries the parameters of a batch over, which is why no batch sets variables', async () => {
      const { rest } = guest
      await rest.batch(
        [
          { method: 'POST', path: '/env/ONE?val=1' },
          { method: 'POST', path: '/env/TWO?val=2' },
        ],
        limits(),
      )
      expect([await rest.variable('ONE', limits()), await rest.variable('TWO', limits())]).toEqual(['1', '1'])
    })
  })

  it('speaks TLS to those whom the job’s CA has signed', async () => {
    const certificates = makeJobCertificates()
    const image = await bench.compose({ programs: ['/bin/true'] })
    expect(image.base.tls).toBe(true)
    const [guest] = (await bench.boot(image, { certificates })) as [RealGuest]
    const { endpoint } = guest.rest
    expect(await guest.rest.operatingSystem('hostname', limits())).toBe(endpoint.guest)
    const refused = async (tls: OsvEndpoint['tls']) =>
      new OsvRest({ ...endpoint, tls }).uptime(limits()).then(
        () => 'let in',
        ({ code }) => code,
      )
    const mine = { ca: certificates.ca, ...certificates.client, serverName: endpoint.guest }
    expect(await refused(undefined)).toBe('LEET_E_OSV_UNREACHABLE')
    expect(await refused({ ...mine, ...makeJobCertificates().client })).toBe('LEET_E_OSV_UNREACHABLE')
    expect(await refused({ ...mine, serverName: 'another' })).toBe('LEET_E_OSV_UNREACHABLE')
    expect(await refused(mine)).toBe('let in')
    await serial(guest, 0, ['/bin/true'])
    expect(await guest.until(ended(0))).toMatchObject({ end: ok })
    await guest.machine.stop(limits())
  })

  it('mounts the image, and every file reads back identical', async () => {
    const tree = join(bench.folder, 'tree')
    const files = new Map<string, Buffer>()
    for (const [index, name] of ['plain', 'ä ö ü', '日本語', '🎉', "it's", 'a&b?c#d%25', 'empty'].entries()) {
      mkdirSync(join(tree, `${name}.d`), { recursive: true })
      const bytes = Buffer.alloc(name === 'empty' ? 0 : 511 + index, name)
      writeFileSync(join(tree, `${name}.d`, name), bytes)
      files.set(`/tree/${name}.d/${name}`, bytes)
    }
    writeFileSync(join(tree, 'large'), Buffer.alloc(3_000_001, 'leet'))
    files.set('/tree/large', readFileSync(join(tree, 'large')))
    const ownNames = [...files.keys()].map((path) => path.split('/')[2]).sort()
    const request = { programs: ['/bin/true'], files: [{ source: tree, destination: '/tree' }] }
    const image = await bench.compose(request)
    const [guest] = (await bench.boot(image)) as [RealGuest]
    for (const entry of bench.base.entries) {
      if (entry.kind === 'file') files.set(entry.guest, readFileSync(join(bench.base.files, entry.file)))
    }
    for (const [path, bytes] of files) {
      expect((await guest.rest.readFile(path, limits())).equals(bytes), path).toBe(true)
    }
    const names = (await guest.rest.listDirectory('/tree', limits())).map(({ name }) => name).sort()
    expect(names).toEqual(ownNames)

    const again = await bench.compose(request, new ImageStore(join(bench.folder, 'second')))
    const hash = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')
    expect([again.composed, hash(again.disk)]).toEqual([true, hash(image.disk)])
    await guest.machine.stop(limits())
  })

  it('gives programs their environment, arguments and directory, and tells how they end', async () => {
    const image = await bench.compose({ programs: ['/usr/bin/env', '/usr/bin/printf', '/bin/pwd'] })
    const [guest] = (await bench.boot(image)) as [RealGuest]
    const env = { ONE: 'ä\n%0A', EMPTY: '', LANG: 'C' }
    await serial(guest, 0, ['/usr/bin/env'], env)
    expect(await guest.until(ended(0))).toMatchObject({ end: ok })
    expect(guest.text()).toContain('ONE=ä\n%0A\n')
    expect(guest.text()).toContain('EMPTY=\n')
    await serial(guest, 1, ['/usr/bin/printf', '<%s>\\n', 'a b', '$HOME', 'ä', '"\\', ''])
    await guest.until(ended(1))
    expect(guest.text()).toContain('<a b>\n<$HOME>\n<ä>\n<"\\>\n<>\n')
    await serial(guest, 2, ['/bin/pwd'])
    await guest.until(ended(2))
    expect(guest.text()).toContain('/tmp\n')
    await serial(guest, 3, ['/nope'])
    expect(await guest.until(ended(3))).toMatchObject({
      kind: 'failed',
      error: { code: 'LEET_E_OSV_START' },
    })
    await serial(guest, 4, ['/usr/bin/env', '--nonsense'])
    expect(await guest.until(ended(4))).toMatchObject({ end: { kind: 'exit', status: 125 } })
    await guest.machine.stop(limits())
  })

  it('counts starts, and refuses the one that would abort the guest', async () => {
    const image = await bench.compose({ programs: ['/bin/true'] })
    const [guest] = (await bench.boot(image)) as [RealGuest]
    for (let rank = 0; rank < 32; rank++) await serial(guest, rank, ['/bin/true'])
    await guest.until(ended(31))
    expect(guest.events.at(-1)).toMatchObject({
      kind: 'failed',
      rank: 31,
      error: { code: 'LEET_E_OSV_STARTS' },
    })
    expect(await guest.rest.uptime(limits())).toBeGreaterThanOrEqual(0)
    await guest.machine.stop(limits())
  })

  it('carries a directory in and its changes out', async () => {
    const image = await bench.compose({ programs: ['/bin/true'] })
    const [guest] = (await bench.boot(image)) as [RealGuest]
    const directory = join(bench.folder, 'case')
    mkdirSync(join(directory, 'sub ä'), { recursive: true })
    writeFileSync(join(directory, 'sub ä', 'input'), 'input\n')
    writeFileSync(join(directory, 'other'), Buffer.alloc(200_000, 'x'))
    const plan = await planStageIn(directory, STAGE_ALL, limits())
    const staged = await stageIn(guest.rest, plan, stagedPath(directory), limits())
    await guest.rest.writeFile(`${staged.guestDirectory}/sub ä/result`, 'result\n', true, limits())
    const back = join(bench.folder, 'back')
    mkdirSync(back)
    const { changed } = await stageOut(guest.rest, staged, back, STAGE_ALL, limits())
    expect(changed).toContain('sub ä/result')
    expect(readFileSync(join(back, 'sub ä', 'result'), 'utf8')).toBe('result\n')
    await guest.machine.stop(limits())
  })

  describe.each(LIBRARIES.filter(isHere))('$name', ({ compiler }) => {
    let programs: Programs
    beforeAll(async () => {
      programs = await buildPrograms(compiler, ['work', 'neighbours', 'end'])
    })
    afterAll(() => programs?.remove())

    it('runs two ranks in one guest', async () => {
      const image = await bench.compose({ programs: [programs.path('work')] })
      const guests = await bench.boot(image, { cpus: 2 })
      const { ends, reports } = await bench.runJob(guests, image, 2)
      expect(ends).toMatchObject({ 0: { end: ok }, 1: { end: ok } })
      expect(guests[0]?.text()).toBe('work ok\nwork ok\n')
      expect(reports.filter(({ kind }) => kind === 'finalised')).toHaveLength(2)
      await guests[0]?.machine.stop(limits())
    })

    it('runs two ranks in each of two guests', async () => {
      const image = await bench.compose({ programs: [programs.path('work')] })
      const guests = await bench.boot(image, { count: 2, cpus: 2 })
      const { ends } = await bench.runJob(guests, image, 2)
      expect(ends).toMatchObject({ 0: { end: ok }, 1: { end: ok }, 2: { end: ok }, 3: { end: ok } })
      for (const guest of guests) await guest.machine.stop(limits())
    })

    it('shares memory within guests only', async () => {
      const image = await bench.compose({ programs: [programs.path('neighbours')] })
      const guests = await bench.boot(image, { count: 2, cpus: 2 })
      const { ends } = await bench.runJob(guests, image, 2)
      expect(ends).toMatchObject({ 0: { end: ok }, 1: { end: ok }, 2: { end: ok }, 3: { end: ok } })
      const lines = guests.map((guest) => guest.text().split('\n').filter(Boolean).sort())
      expect(lines).toEqual([
        ['rank 0 with 0', 'rank 1 with 0'],
        ['rank 2 with 2', 'rank 3 with 2'],
      ])
      for (const guest of guests) await guest.machine.stop(limits())
    })

    it('tells an exit, an abort and a crash', async () => {
      const image = await bench.compose({ programs: [programs.path('end')] })
      const run = async (...args: string[]) => {
        const guests = await bench.boot(image, { cpus: 2 })
        // As the launcher does: when one rank has failed the others have to go.
        const { ends, reports } = await bench.runJob(guests, image, 2, args, ({ kind }) => {
          if (kind === 'aborted') void guests[0]?.channel.close(limits())
        })
        await guests[0]?.machine.stop(limits())
        return { ends, kinds: reports.map(({ kind }) => kind) }
      }
      const left = await run('exit', '1', '3')
      expect(left.ends).toMatchObject({ 0: { end: ok }, 1: { end: { kind: 'exit', status: 3 } } })
      const aborted = await run('abort', '1', '7')
      expect(aborted.kinds).toContain('aborted')
      const crashed = await run('crash', '1', '0')
      expect(crashed.ends).toMatchObject({ 0: { kind: 'lost' }, 1: { kind: 'lost' } })
      const { message } = (crashed.ends[0] as { error: Error }).error
      expect(message).toContain('the guest of ranks 0, 1 is lost')
      expect(message).toContain('Uncaught signal 11')
    })
  })

  it('runs Open MPI with the smallest set of components', async () => {
    const programs = await buildPrograms('mpicc.openmpi', ['hello'])
    const image = await bench.compose({ programs: [programs.path('hello')], components: 'smallest' })
    const guests = await bench.boot(image, { cpus: 2 })
    const { ends } = await bench.runJob(guests, image, 2)
    expect(ends).toMatchObject({ 0: { end: ok }, 1: { end: ok } })
    await guests[0]?.machine.stop(limits())
    programs.remove()
  })
})
