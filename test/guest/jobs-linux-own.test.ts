/** @module-tag long */
// What jobs of both MPIs do in two Linux guests that each of them boots for itself.
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import { JOB_PROGRAMS, testJobs } from '../support/jobs.ts'
import { type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const PARTS = ['qemu-system-x86_64', 'vde_switch', 'busybox', 'dropbear', 'setpriv']

let place: Playground
beforeAll(() => {
  place = playground()
})
afterEach(() => {
  expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
})
afterAll(() => place.remove())

for (const mpi of ['mpich', 'openmpi'] as const) {
  describeWith([`mpicc.${mpi}`, ...PARTS], `${mpi} in two Linux guests`, () => {
    let programs: Programs
    beforeAll(async () => {
      programs = await buildPrograms(`mpicc.${mpi}`, JOB_PROGRAMS)
    })
    afterAll(() => programs.remove())
    testJobs({
      place: () => place,
      options: ['--guests', '2', '--guest-memory', '512M'],
      oneGuest: ['--guest-memory', '512M'],
      program: (name) => programs.path(name),
      mpi,
      guests: 2,
    })
  })
}
