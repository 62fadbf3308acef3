// Sessions on this machine, as a user has them: guests booted once for many leet-mpirun and for the stock launchers, and
// nothing left of a session, however it ends.
import { readFileSync, writeFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { spawn as openTerminal } from 'node-pty'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Deadline, poll, runCommand } from '../../common/index.ts'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import {
  butForEmulation,
  type CommandOutcome,
  leetMpirun,
  type Playground,
  playground,
  startLeet,
} from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const GUEST_PARTS = ['qemu-system-x86_64', 'vde_switch', 'busybox', 'dropbear', 'setpriv']
const GUESTS = ['-n', '4', '--guests', '2', '--guest-memory', '512M']
const BIN = new URL('../../launcher/bin/', import.meta.url).pathname
/** Of this machine, which its name may not lead to. */
const INTERFACE = Object.entries(networkInterfaces())
  .filter(([, addresses]) => addresses?.some(({ internal, family }) => !internal && family === 'IPv4'))
  .slice(0, 1)
  .flatMap(([name]) => ['-iface', name])
/** For what a user would wait, on a busy machine. */
const PATIENCE = 120_000

let place: Playground
beforeAll(() => {
  place = playground()
})
afterAll(() => place.remove())

const here = () => ({ cwd: place.directory, env: place.env })
const leet = (...argv: string[]): Promise<CommandOutcome> => startLeet(argv, here(), 'leet').ended
const up = async (...programs: string[]) => {
  const outcome = await leet('up', ...GUESTS, ...programs)
  expect(outcome).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/^session \w+ is up: 2 guests\n$/),
  })
  // Once for all guests, if at all.
  expect(butForEmulation(outcome.stderr)).not.toMatch(/emulated/)
  return outcome.stdout.split(' ')[1] as string
}
const nothingRuns = () =>
  poll(
    () => place.processes().length === 0 || undefined,
    20,
    { deadline: Deadline.after(5_000) },
    {
      what: 'all of the session to end',
    },
  )
const nothingIsLeft = () =>
  expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
const stock = (command: readonly [string, ...string[]]) =>
  runCommand(command, {
    deadline: Deadline.after(PATIENCE),
    cwd: place.directory,
    env: {
      ...process.env,
      ...place.env,
      PATH: `${BIN}:${process.env.PATH}`,
      OMPI_ALLOW_RUN_AS_ROOT: '1',
      OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
    },
  })

describeWith(['mpicc.mpich', 'mpiexec.mpich', ...GUEST_PARTS], 'a session', () => {
  let programs: Programs
  let id: string
  beforeAll(async () => {
    programs = await buildPrograms('mpicc.mpich', ['work', 'neighbours'])
    id = await up(programs.path('work'), programs.path('neighbours'))
  })
  afterAll(() => programs?.remove())

  const oneAfterTheOther = async (runs: number) => {
    for (let run = 0; run < runs; run++) {
      const { status, stdout, stderr } = await leetMpirun(['-n', '4', programs.path('neighbours')], here())
      expect(stderr).not.toMatch(/emulated/)
      const lines = stdout.trim().split('\n').sort()
      expect({ run, status, lines }).toEqual({
        run,
        status: 0,
        lines: [0, 1, 2, 3].map((rank) => `rank ${rank} with ${rank - (rank % 2)}`),
      })
    }
    const { stdout } = await leetMpirun(['-n', '2', '-ppn', '1', 'hostname'], here())
    expect(stdout.trim().split('\n').sort()).toEqual([`leet-${id}-g0`, `leet-${id}-g1`])
  }

  it('runs one leet-mpirun after the other in the same guests', () => oneAfterTheOther(2))
  it('runs ten of them', { tags: ['long'] }, () => oneAfterTheOther(10))

  it('runs two at once', async () => {
    const both = await Promise.all([1, 2].map(() => leetMpirun(['-n', '4', programs.path('work')], here())))
    expect(both.map(({ status, stdout }) => [status, stdout])).toEqual(
      Array(2).fill([0, 'work ok\n'.repeat(4)]),
    )
  })

  it('survives a leet-mpirun that is killed, whose ranks end', async () => {
    const running = startLeet(
      ['-n', '2', '-ppn', '1', 'sh', '-c', 'echo rank is up; exec sleep 4321'],
      here(),
    )
    await running.saw(/rank is up/)
    running.child.kill('SIGKILL')
    await running.ended
    const gone = async () => {
      const { stdout } = await leet('exec', '--root', 'g1', 'ps')
      return stdout.includes('4321') ? undefined : true
    }
    await poll(gone, 100, { deadline: Deadline.after(PATIENCE) }, { what: 'the ranks to end' })
    expect((await leetMpirun(['-n', '2', programs.path('work')], here())).status).toBe(0)
  })

  it('names a guest that does not reach its process manager, before any rank is started', async () => {
    const record = join(
      place.env.XDG_RUNTIME_DIR as string,
      'leet',
      place.files()[0] as string,
      'session.json',
    )
    const text = readFileSync(record, 'utf8')
    // Where QEMU's network of that guest has nobody.
    const { guests, ...rest } = JSON.parse(text)
    const elsewhere = [guests[0], { ...guests[1], serviceAddress: '10.0.2.99' }]
    writeFileSync(record, JSON.stringify({ ...rest, guests: elsewhere }))
    try {
      const outcome = await leetMpirun(['-n', '4', programs.path('work')], here())
      expect(outcome).toMatchObject({ status: 1, stdout: '' })
      expect(outcome.stderr).toMatch(
        new RegExp(
          `leet-${id}-g1 .*does not reach the process manager of its node at 10\\.0\\.2\\.99 .*UNREACHABLE`,
        ),
      )
    } finally {
      writeFileSync(record, text)
    }
    expect((await leetMpirun(['-n', '4', programs.path('work')], here())).status).toBe(0)
  })

  it('refuses what the guests do not have, and what can no longer be said of them', async () => {
    const refused = await leetMpirun(['-n', '1', 'perl', '-e', '1'], here())
    expect(refused).toMatchObject({
      status: 127,
      stderr: expect.stringMatching(/perl.*LEET_E_SESSION_PROGRAM/s),
    })
    const late = await leetMpirun(['-n', '1', '--guest-memory', '1G', 'true'], here())
    expect(late).toMatchObject({ status: 2, stderr: expect.stringMatching(/--guest-memory/) })
    expect(await leet('up', 'true')).toMatchObject({ status: 2, stderr: expect.stringContaining(id) })
    expect(await leet('up', '--guest', 'osv', 'true')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/31/),
    })
  })

  it('runs commands in a guest as the user, in the same directory', async () => {
    const script = 'cat; pwd; id -u; hostname; echo oops >&2; exit 7'
    const running = startLeet(['exec', 'g1', 'sh', '-c', script], { ...here(), input: 'typed\n' }, 'leet')
    expect(await running.ended).toEqual({
      status: 7,
      stdout: `typed\n${place.directory}\n${process.getuid?.()}\nleet-${id}-g1\n`,
      stderr: 'oops\n',
    })
  })

  it('shows its log and the consoles of its guests, and lets a user type on them', async () => {
    expect((await leet('logs')).stdout).toMatch(/up, with 2 guests/)
    expect((await leet('logs', 'g0')).stdout).toMatch(/ready/)
    const terminal = openTerminal(join(BIN, 'leet'), ['console', 'g0'], {
      cwd: place.directory,
      env: { ...process.env, ...place.env },
    })
    const ended = new Promise((resolve) => terminal.onExit(resolve))
    let said = ''
    terminal.onData((text) => {
      said += text
    })
    const saw = (pattern: RegExp) =>
      poll(
        () => pattern.test(said) || undefined,
        50,
        { deadline: Deadline.after(PATIENCE) },
        { what: `${pattern} in ${said}` },
      )
    await saw(/[#$] /)
    terminal.write('echo $((6 * 7))$(tty)\r')
    await saw(/42\/dev\/ttyS0/)
    terminal.write('\u001d')
    expect(await ended).toMatchObject({ exitCode: 0 })
    const piped = startLeet(['console', 'g1'], { ...here(), input: 'echo "<$(hostname)>"\r' }, 'leet')
    expect(await piped.ended).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^<leet-\w+-g1>\r?$/m),
    })
  })

  it('lets mpiexec of MPICH start its proxies in the guests', async () => {
    const { stdout: hosts } = await leet('status', '--hostfile', 'mpich')
    expect(hosts).toBe(`leet-${id}-g0:2\nleet-${id}-g1:2\n`)
    writeFileSync(join(place.directory, 'hosts'), hosts)
    const options = [
      '-launcher',
      'ssh',
      '-launcher-exec',
      `${BIN}leet-rsh`,
      '-rmk',
      'user',
      '-f',
      'hosts',
      ...INTERFACE,
    ]
    const { status, stdout, stderr } = await stock([
      'mpiexec.mpich',
      ...options,
      '-n',
      '4',
      programs.path('neighbours'),
      'lines',
    ])
    // By MPI_Abort, since MPICH 4.0 over UCX hangs in MPI_Finalize now and then, for which only leet-mpirun has a remedy.
    expect(status, stdout + stderr).toBe(9)
    const expected = [0, 1, 2, 3].map((rank) => `rank ${rank} with ${rank - (rank % 2)}\n`)
    expect(readFileSync(join(place.directory, 'lines'), 'utf8')).toBe(expected.join(''))
  })

  it('names a guest that is gone, goes on with the others, and leaves nothing when it is told to end', async () => {
    const qemu = place
      .processes()
      // Others name the guest, too: a stock launcher's way into it may take a moment to end.
      .find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`guest=leet-${id}-g0`))
    process.kill(qemu as number, 'SIGKILL')
    const told = async () => ((await leet('status')).stdout.includes('gone') ? true : undefined)
    await poll(told, 50, { deadline: Deadline.after(PATIENCE) }, { what: 'the session to know' })
    const { stdout } = await leetMpirun(['-n', '2', 'hostname'], here())
    expect(stdout).toBe(`leet-${id}-g1\n`.repeat(2))
    expect(await leet('down')).toMatchObject({ status: 0 })
    nothingIsLeft()
  })
})

describeWith(['mpicc.openmpi', 'mpirun.openmpi', ...GUEST_PARTS], 'a session with Open MPI', () => {
  let programs: Programs
  beforeAll(async () => {
    programs = await buildPrograms('mpicc.openmpi', ['neighbours'])
  })
  afterAll(() => programs?.remove())

  it('lets mpirun start its daemons in the guests, and leaves no process when it is killed', async () => {
    const id = await up(programs.path('neighbours'))
    const { stdout: hosts } = await leet('status', '--hostfile', 'openmpi')
    expect(hosts).toBe(`leet-${id}-g0 slots=2\nleet-${id}-g1 slots=2\n`)
    writeFileSync(join(place.directory, 'hosts'), hosts)
    const options = ['-mca', 'plm', 'rsh', '-mca', 'plm_rsh_agent', 'leet-rsh', '-hostfile', 'hosts']
    const { status, stdout, stderr } = await stock([
      'mpirun.openmpi',
      ...options,
      '-np',
      '4',
      programs.path('neighbours'),
      'lines',
    ])
    // By MPI_Abort, since MPICH 4.0 over UCX hangs in MPI_Finalize now and then, for which only leet-mpirun has a remedy.
    expect(status, stdout + stderr).toBe(9)
    const expected = [0, 1, 2, 3].map((rank) => `rank ${rank} with ${rank - (rank % 2)}\n`)
    expect(readFileSync(join(place.directory, 'lines'), 'utf8')).toBe(expected.join(''))
    const keeper = /kept by process (\d+)/.exec((await leet('status')).stdout)?.[1]
    process.kill(Number(keeper), 'SIGKILL')
    await nothingRuns()
    expect(await leet('reap')).toMatchObject({ status: 0 })
    nothingIsLeft()
  })

  it('ends with the shell that called leet up', async () => {
    const words = [join(BIN, 'leet'), 'up', '-n', '1', '--guest-memory', '512M'].map((word) => `'${word}'`)
    const script = `${words.join(' ')} && '${join(BIN, 'leet')}' status`
    const { status, stdout } = await stock(['sh', '-c', script])
    expect({ status, stdout }).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/is up: 1 guest\n.*ready/s),
    })
    await nothingRuns()
    nothingIsLeft()
  })
})
