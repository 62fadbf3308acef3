// Ranks behind a real SSH server: dropbear, as in the guests that leet makes, on loopback. It runs in a mount namespace
// of its own, so that it finds the authorised keys of the test where it looks for root's.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, endOf, identify, isRunning, poll } from '../../common/index.ts'
import type { RankEvent, RankStart } from '../../mpi-bridge/channels/channel.ts'
import { openSshChannel, type SshChannelOptions } from '../../mpi-bridge/channels/ssh.ts'
import { starterPath } from '../../mpi-bridge/starter/path.ts'
import { describeAsRoot } from '../support/needs.ts'
import { scopePerTest } from '../support/scope.ts'

const limits = (ms = 20_000) => ({ deadline: Deadline.after(ms) })

/** A port of loopback that is free now. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

const scope = scopePerTest()

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])
}

describe('an SSH server that never greets', () => {
  it('is waited for until the deadline, which says so', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    const opened = openSshChannel(
      {
        where: 'g0',
        host: '127.0.0.1',
        port,
        username: 'root',
        privateKey: '',
        hostKey: '',
        command: 'true',
        scope: scope(),
        listener: () => {},
      },
      limits(300),
    )
    await expect(opened).rejects.toMatchObject({
      code: 'LEET_E_DEADLINE',
      message: expect.stringContaining(`SSH to answer at 127.0.0.1 port ${port}`),
    })
    server.close()
  })
})

// Only root can give a server another home directory of root.
describeAsRoot(['dropbear', 'dropbearkey', 'ssh-keygen', 'unshare'], 'ranks over SSH', () => {
  let folder: string
  let server: ChildProcess
  let options: Omit<SshChannelOptions, 'scope' | 'listener'>
  let startServer: () => ChildProcess

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-ssh-'))
    const run = (command: string, ...args: string[]) =>
      execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    run('dropbearkey', '-t', 'ed25519', '-f', 'host')
    run('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', 'client')
    const hostKey = run('dropbearkey', '-y', '-f', 'host').match(/^ssh-ed25519 .*$/m)?.[0] as string
    const port = await freePort()
    options = {
      where: 'g0',
      host: '127.0.0.1',
      port,
      username: 'root',
      privateKey: readFileSync(join(folder, 'client'), 'utf8'),
      hostKey,
      command: await starterPath(limits()),
    }
    const script = `mount -t tmpfs -o mode=700 none /root && mkdir -m 700 /root/.ssh &&
      cp client.pub /root/.ssh/authorized_keys &&
      exec dropbear -F -E -s -p 127.0.0.1:${port} -r host -P dropbear.pid`
    // Each of these replaces the one before, so that the child is dropbear itself.
    startServer = () => spawn('unshare', ['-m', 'sh', '-c', script], { cwd: folder, stdio: 'ignore' })
  })
  afterAll(async () => {
    if (server) {
      const ended = endOf(server)
      server.kill()
      await ended // it removes its pid file
    }
    rmSync(folder, { recursive: true, force: true })
  })

  async function open(change: Partial<SshChannelOptions> = {}) {
    const events: RankEvent[] = []
    const listener = (event: RankEvent) => void events.push(event)
    const channel = await openSshChannel({ ...options, ...change, scope: scope(), listener }, limits())
    const until = (what: string, test: () => boolean) =>
      poll(() => test() || undefined, 5, limits(), { what })
    return { channel, events, until }
  }
  const rank = (number: number, ...argv: string[]): RankStart => ({
    rank: number,
    argv,
    env: { PATH: process.env.PATH as string },
    cwd: '/',
    stdin: false,
    terminal: false,
  })

  it('a server that is not up yet is waited for; output, ends and statuses arrive', async () => {
    const opening = open()
    server = startServer()
    const { channel, events, until } = await opening
    const SIZE = 3_000_000
    await channel.start([
      rank(0, 'sh', '-c', `head -c ${SIZE} /dev/zero; exit 3`),
      rank(1, 'sh', '-c', 'kill -SEGV $$'),
      rank(2, 'no-such-program'),
    ])
    await until(
      'three ends',
      () => events.filter(({ kind }) => kind === 'ended' || kind === 'failed').length === 3,
    )
    const size = events.reduce((sum, event) => sum + (event.kind === 'output' ? event.data.length : 0), 0)
    expect(size).toBe(SIZE)
    expect(events).toContainEqual({ kind: 'ended', rank: 0, end: { kind: 'exit', status: 3 } })
    expect(events).toContainEqual(
      expect.objectContaining({ kind: 'ended', rank: 1, end: expect.objectContaining({ signal: 11 }) }),
    )
    expect(events).toContainEqual(expect.objectContaining({ kind: 'failed', rank: 2 }))
    await channel.close(limits())
    expect(events.some(({ kind }) => kind === 'lost')).toBe(false)
  })

  it('another host key is refused at once, before any secret is shown', async () => {
    const other = readFileSync(join(folder, 'client.pub'), 'utf8')
    await expect(open({ hostKey: other })).rejects.toMatchObject({ code: 'LEET_E_SSH_HOST_KEY' })
  })

  it('a key that the guest does not know is refused at once', async () => {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'stranger')])
    const privateKey = readFileSync(join(folder, 'stranger'), 'utf8')
    await expect(open({ privateKey })).rejects.toMatchObject({ code: 'LEET_E_SSH_AUTH' })
  })

  it('a guest without a starter says what its shell said', async () => {
    await expect(open({ command: '/no/such/starter' })).rejects.toMatchObject({
      code: 'LEET_E_STARTER_LOST',
      message: expect.stringMatching(/exit status 127.*no such file/i),
    })
  })

  it('a connection that dies is a loss, and ends the ranks on the far side', async () => {
    const { channel, events, until } = await open()
    await channel.start([rank(0, 'sleep', '600')])
    await until('the rank', () => events.length === 1)
    const [began] = events
    if (began?.kind !== 'began') throw new Error('the rank has not begun')
    const sleeper = identify(began.pid)
    if (!sleeper) throw new Error('the rank does not run')
    const session = parentOf(parentOf(began.pid))
    // The session of this very test and no other process.
    expect(parentOf(session)).toBe(server.pid)
    process.kill(session, 'SIGKILL')
    await until('the loss', () => events.length === 2)
    expect(events[1]).toMatchObject({ kind: 'lost', error: { code: 'LEET_E_STARTER_LOST' } })
    await until('the rank to be gone', () => !isRunning(sleeper))
    await channel.close(limits())
  })
})
