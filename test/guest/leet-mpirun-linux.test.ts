// leet-mpirun with two Linux guests of its own, as a user runs it, and what a killed one leaves. What jobs do in guests that are
// up is tested in jobs-linux.test.ts.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { buildPrograms } from '../protocol/programs/build.ts'
import { butForEmulation, leetMpirun, type Playground, playground, startLeet } from '../support/leet.ts'
import { describeWith, hasCommand } from '../support/needs.ts'

const GUEST_PARTS = ['qemu-system-x86_64', 'vde_switch', 'busybox', 'dropbear', 'setpriv']
const TWO_GUESTS = ['--guest', 'linux', '--guests', '2', '--guest-memory', '512M']

const MPIS = ['mpich', 'openmpi'] as const

let place: Playground
beforeAll(() => {
  place = playground()
})
afterEach(() => {
  expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
})
afterAll(() => place.remove())

for (const mpi of MPIS) {
  describeWith([`mpicc.${mpi}`, ...GUEST_PARTS], `${mpi} in two Linux guests`, () => {
    // In guests of a session it is in jobs-linux.test.ts.
    it('passes the suite of MPI programs', { tags: ['long'] }, async () => {
      const programs = await buildPrograms(`mpicc.${mpi}`, ['suite'])
      const argv = [...TWO_GUESTS, '-n', '4', programs.path('suite')]
      const { status, stdout, stderr } = await leetMpirun(argv, { cwd: place.directory, env: place.env })
      programs.remove()
      expect(status, stderr).toBe(0)
      const ranks = [0, 1, 2, 3].map((rank) => `rank ${rank} of 4 shares memory with 2`)
      expect(stdout.split('\n')).toEqual(expect.arrayContaining(['collectives ok', ...ranks]))
    })
  })
}

describeWith(GUEST_PARTS, 'guests that are emulated', () => {
  it('are told of once, whatever their number', async () => {
    const events = join(place.directory, 'machines')
    const { status, stderr } = await leetMpirun([...TWO_GUESTS, '-n', '2', '--events', events, 'true'], {
      cwd: place.directory,
      env: place.env,
    })
    expect(status, stderr).toBe(0)
    const emulated = /"accelerator":"tcg"/.test(readFileSync(events, 'utf8'))
    expect(
      stderr.match(/^leet: guests are emulated \(TCG\), many times slower than under KVM: ./gm) ?? [],
    ).toHaveLength(emulated ? 1 : 0)
    expect(butForEmulation(stderr)).toBe('')
  })
})

describeWith(GUEST_PARTS, 'a leet-mpirun that is killed', () => {
  /** Resolves when nothing of it runs any more; rejects after the two seconds that SPEC.md promises. */
  const allGone = () =>
    poll(
      () => place.processes().length === 0 || undefined,
      10,
      { deadline: Deadline.after(2_000) },
      {
        what: 'the guests to end with leet-mpirun',
      },
    )

  it.each([
    ['while guests boot', /booting/],
    ['while ranks run', /rank is up/],
  ])('%s takes its guests along, and leet reap removes the rest', async (_when, moment) => {
    const running = startLeet([...TWO_GUESTS, '-n', '2', '-v', 'sh', '-c', 'echo rank is up; sleep 60'], {
      cwd: place.directory,
      env: place.env,
    })
    await running.saw(moment)
    running.child.kill('SIGKILL')
    await running.ended
    await allGone()
    expect(place.files()).toHaveLength(1)
    const reaped = await startLeet(['reap'], { env: place.env }, 'leet').ended
    expect(reaped).toMatchObject({ status: 0, stdout: expect.stringMatching(/job/) })
  })

  for (const { signal, end, tags } of [
    { signal: 'SIGINT', end: 130, tags: [] },
    { signal: 'SIGTERM', end: 143, tags: ['long'] },
  ] as const) {
    it(`by ${signal} ends in order with status ${end}`, { tags: [...tags] }, async () => {
      const running = startLeet([...TWO_GUESTS, '-n', '2', '-v', 'sh', '-c', 'echo rank is up; sleep 60'], {
        cwd: place.directory,
        env: place.env,
      })
      await running.saw(/rank is up/)
      running.child.kill(signal)
      expect(await running.ended).toMatchObject({ status: end, stderr: expect.stringContaining(signal) })
    })
  }
})

describeWith(GUEST_PARTS, 'a guest that dies', () => {
  it('ends the job with a sentence that names it', async () => {
    const running = startLeet([...TWO_GUESTS, '-n', '2', '-v', 'sh', '-c', 'echo rank is up; sleep 60'], {
      cwd: place.directory,
      env: place.env,
    })
    await running.saw(/rank is up/)
    process.kill(qemuPid('-g1'), 'SIGKILL')
    const outcome = await running.ended
    expect(outcome.status).not.toBe(0)
    expect(outcome.stderr).toMatch(/-g1: .*QEMU/)
  })

  for (const mpi of MPIS.filter((one) => hasCommand(`mpicc.${one}`))) {
    const tags = mpi === 'openmpi' ? ['long'] : []
    it(`is named while ${mpi} waits for its rank in a fence`, { tags }, async () => {
      const programs = await buildPrograms(`mpicc.${mpi}`, ['hello'])
      const hello = programs.path('hello')
      const events = join(place.directory, 'events')
      // Rank 0 waits in MPI_Init for rank 1, which is on its way there when its guest dies.
      const late = ['sh', '-c', `echo rank is up; sleep 600; exec ${hello}`]
      const options = [...TWO_GUESTS, '--ppn', '1', '--mpi', mpi, '--events', events]
      const running = startLeet([...options, '-n', '1', hello, ':', '-n', '1', ...late], {
        cwd: place.directory,
        env: place.env,
      })
      await running.saw(/rank is up/)
      await poll(
        () => readFileSync(events, 'utf8').includes('"initialised"') || undefined,
        20,
        { deadline: Deadline.after(60_000) },
        { what: 'rank 0 to be in MPI_Init' },
      )
      process.kill(qemuPid('-g1'), 'SIGKILL')
      expect(await running.ended).toMatchObject({ status: 1, stderr: expect.stringMatching(/-g1: .*QEMU/) })
      programs.remove()
    })
  }

  it('is an error when it runs out of time to boot', async () => {
    const { status, stderr } = await leetMpirun(
      [...TWO_GUESTS, '-n', '2', '--boot-timeout', '100ms', 'true'],
      {
        cwd: place.directory,
        env: place.env,
      },
    )
    expect({ status, stderr }).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/waited .* for/),
    })
  })
})

/** The QEMU of the playground whose guest's name ends so. */
function qemuPid(ending: string): number {
  const found = place
    .processes()
    .find((pid) => commandLine(pid).some((word) => word.startsWith('guest=') && word.includes(ending)))
  if (found === undefined) throw new Error(`no QEMU of ${ending} among ${place.processes()}`)
  return found
}

function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
  } catch {
    return []
  }
}
