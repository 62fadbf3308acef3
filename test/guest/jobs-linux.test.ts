// What jobs do in two Linux guests, which are booted once for all of one MPI, as a session. Jobs that boot guests of their own do
// the same in jobs-linux-own.test.ts.
import { afterAll, beforeAll, expect } from 'vitest'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import { JOB_PROGRAMS, testJobs } from '../support/jobs.ts'
import { type Playground, playground, startLeet } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const PARTS = ['qemu-system-x86_64', 'vde_switch', 'busybox', 'dropbear', 'setpriv']
const GUESTS = ['-n', '4', '--guests', '2', '--guest-memory', '512M']

for (const mpi of ['mpich', 'openmpi'] as const) {
  describeWith([`mpicc.${mpi}`, ...PARTS], `${mpi} in a pair of Linux guests`, () => {
    let place: Playground
    let programs: Programs
    /** Files of the session itself. */
    let own: readonly string[]

    const leet = (...argv: string[]) =>
      startLeet(argv, { cwd: place.directory, env: place.env }, 'leet').ended
    beforeAll(async () => {
      place = playground()
      programs = await buildPrograms(`mpicc.${mpi}`, JOB_PROGRAMS)
      const up = await leet('up', ...GUESTS, ...JOB_PROGRAMS.map((name) => programs.path(name)))
      expect(up.status, up.stderr).toBe(0)
      own = place.files()
    })
    afterAll(async () => {
      const down = await leet('down')
      expect(down.status, down.stderr).toBe(0)
      expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
      place.remove()
      programs.remove()
    })

    testJobs({
      place: () => place,
      options: [],
      oneGuest: [],
      program: (name) => programs.path(name),
      mpi,
      guests: 2,
      files: () => place.files().filter((file) => !own.includes(file)),
      longWays: mpi === 'openmpi' ? ['exit', 'crash'] : [],
    })
  })
}
