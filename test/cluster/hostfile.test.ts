// A hostfile without a batch system: agents are started over SSH by a real server on every host, for root and an
// ordinary user, with the keys and known hosts that these have in their homes.
import { spawn } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, endOf, poll } from '../../common/index.ts'
import { makeSshKeyPair } from '../../contextualise/index.ts'
import { BARE, buildCheckout, GUESTS, hostsOfRanks, LEET_MPIRUN, leetProcesses, makeCase } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import type { LabUser } from './lab/hosts.ts'
import { type Lab, startLab } from './lab/lab.ts'

const limits = () => ({ deadline: Deadline.after(280_000) })

/** Starts an SSH server on a node; resolves to its public key as in `known_hosts`. */
async function serveSsh(lab: Lab, node: string): Promise<string> {
  const { stdout } = await lab.run(node, ['dropbearkey', '-t', 'ed25519', '-f', '/run/dropbear.key'])
  const key = /^ssh-ed25519 \S+/m.exec(stdout)?.[0]
  if (!key) throw new Error(stdout)
  const { argv, env } = lab.command(node, ['dropbear', '-F', '-s', '-m', '-r', '/run/dropbear.key'])
  spawn(argv[0], argv.slice(1), { env, stdio: 'ignore' }).unref()
  const listens = async () => {
    const { stdout: sockets } = await lab.run(node, ['ss', '-tln', 'sport = :22'])
    return sockets.includes(':22') || undefined
  }
  await poll(listens, 50, limits(), { what: 'the SSH server to listen', where: node })
  return key
}

describeLab('a hostfile', () => {
  let lab: Lab
  let known: string
  const cases = { root: '', alice: '' }
  const user = (name: keyof typeof cases): LabUser => lab.users[name]

  /** Writes a file of a user's ~/.ssh. */
  const put = (name: keyof typeof cases, file: string, content: string) => {
    const { uid, gid, home } = user(name)
    const folder = join(lab.path(home), '.ssh')
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, file), content, { mode: 0o600 })
    for (const path of [folder, join(folder, file)]) chownSync(path, uid, gid)
  }
  const mpirun = (name: keyof typeof cases, argv: readonly string[], host = 'head') =>
    lab.run(host, [LEET_MPIRUN, '--hostfile', 'hosts', ...argv], {
      user: user(name),
      cwd: cases[name],
      ...limits(),
    })
  const outputs = (name: keyof typeof cases) => hostsOfRanks(lab, cases[name], name, 6)

  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 3, nfs: true })
    const keys = await Promise.all(lab.nodes.map((node) => serveSsh(lab, node)))
    known = lab.nodes.map((node, index) => `${node} ${keys[index]}\n`).join('')
    for (const name of ['root', 'alice'] as const) {
      cases[name] = await makeCase(lab, name, user(name))
      writeFileSync(
        join(lab.path(cases[name]), 'hosts'),
        lab.nodes.map((node) => `${node} slots=2\n`).join(''),
      )
      chmodSync(join(lab.path(cases[name]), 'hosts'), 0o644)
      const pair = makeSshKeyPair(name)
      put(name, 'id_ed25519', pair.private)
      put(name, 'authorized_keys', `${pair.public}\n`)
      put(name, 'known_hosts', known)
    }
  })
  afterEach(() => lab.waitClean(undefined, ({ what }) => !/dropbear|\.ssh/.test(what)))
  afterAll(() => lab?.stop())

  it.each(['root', 'alice'] as const)('runs ranks on all of its hosts, for %s', async (name) => {
    expect(await mpirun(name, [...BARE, './share.mpich', '0', '3'])).toMatchObject({ status: 3 })
    expect(outputs(name)).toEqual(['node1', 'node1', 'node2', 'node2', 'node3', 'node3'])
  })

  it('runs ranks in Linux guests on all of its hosts', async () => {
    expect(await mpirun('alice', [...GUESTS, './share.openmpi', '0', '3'])).toMatchObject({ status: 3 })
    const hosts = outputs('alice')
    expect(new Set(hosts).size).toBe(3)
    expect(hosts).toEqual([0, 0, 2, 2, 4, 4].map((first) => hosts[first]))
  })

  it('gives its first rank an input that is over before the rank is there', async () => {
    writeFileSync(join(lab.path(cases.alice), 'words'), 'one\ntwo\n', { mode: 0o644 })
    const line = `exec ${LEET_MPIRUN} --hostfile hosts ${BARE.join(' ')} cat <words`
    const how = { user: user('alice'), cwd: cases.alice, ...limits() }
    expect(await lab.run('head', ['sh', '-c', line], how)).toMatchObject({ status: 0, stdout: 'one\ntwo\n' })
  })

  it('needs no SSH to the host that it is used on', async () => {
    const { status, stdout } = await mpirun('alice', [...BARE, '-H', 'node1:1,node2:1', 'hostname'], 'node1')
    expect({ status, hosts: stdout.split('\n').filter(Boolean).sort() }).toEqual({
      status: 0,
      hosts: ['node1', 'node2'],
    })
  })

  it.each([
    ['SIGINT', 130],
    ['SIGKILL', undefined],
  ] as const)('leaves nothing on its hosts after %s', async (signal, status) => {
    const { argv, env } = lab.command(
      'head',
      [LEET_MPIRUN, '--hostfile', 'hosts', ...BARE, './share.mpich', '600'],
      { user: user('alice'), cwd: cases.alice },
    )
    const child = spawn(argv[0], argv.slice(1), { env, stdio: ['ignore', 'pipe', 'inherit'] })
    const end = endOf(child)
    await new Promise<void>((resolve, reject) => {
      child.stdout.on('data', (text) => {
        if (String(text).includes('at work')) resolve()
      })
      end.then((how) => reject(new Error(`ended before: ${JSON.stringify(how)}`)), reject)
    })
    const agents = lab.nodes.flatMap((node) => leetProcesses(lab, node, 'leet-agent'))
    expect(agents).toHaveLength(3)
    for (const { pid } of leetProcesses(lab, 'head', 'leet-mpirun')) process.kill(pid, signal)
    const how = await end
    if (status !== undefined) expect(how).toEqual({ kind: 'exit', status })
    await lab.waitClean(undefined, ({ what, kind }) => kind !== 'file' && !/dropbear/.test(what))
    await lab.run('head', ['/srv/leet/launcher/bin/leet', 'reap'], { user: user('alice') })
  })

  describe('is refused', () => {
    afterEach(() => put('alice', 'known_hosts', known))

    it.each([
      ['unknown', (lines: string[]) => lines.slice(0, 2), /node3: .*host key is not known.*SHA256:/],
      [
        'another',
        (lines: string[]) => [...lines.slice(0, 2), lines[0]?.replace('node1', 'node3')],
        /node3: .*does not have the host key.*known_hosts, line 3/,
      ],
    ])('when the key of a host is %s', async (_, change, says) => {
      put('alice', 'known_hosts', `${change(known.trim().split('\n')).join('\n')}\n`)
      const { status, stderr } = await mpirun('alice', [...BARE, 'hostname'])
      expect(status).toBe(1)
      expect(stderr).toMatch(says)
      expect(stderr).toContain('LEET_E_SSH_HOST_KEY')
    })

    it('when its hosts do not let the user in', async () => {
      const { stderr, status } = await mpirun('alice', [...BARE, '-H', 'node2', 'hostname'])
      expect({ status, stderr }).toMatchObject({ status: 0 })
      writeFileSync(join(lab.path(cases.alice), 'hosts'), 'root@node2 slots=1\nnode3 slots=1\n')
      const refused = await mpirun('alice', [...BARE, 'hostname'])
      expect(refused.status).toBe(1)
      expect(refused.stderr).toMatch(/node2: root may not log in there: tried: ~\/.ssh\/id_ed25519/)
    })
  })
})
