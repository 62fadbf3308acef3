/** @module-tag long */
// Python programs with mpi4py in Linux guests: the profile brings the interpreter's modules, nothing is said of them.
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const PROGRAM = `import decimal, helper
from mpi4py import MPI
comm = MPI.COMM_WORLD
everywhere = comm.gather({"rank": comm.rank, "host": MPI.Get_processor_name(), "half": str(decimal.Decimal(1) / 2)})
if comm.rank == 0:
    print(helper.describe(everywhere))
`
const HELPER = `def describe(ranks):
    hosts = len({rank["host"] for rank in ranks})
    return f"{[rank['rank'] for rank in ranks]} on {hosts} hosts, {ranks[0]['half']}"
`

describeWith(
  ['qemu-system-x86_64', 'vde_switch', '/usr/lib/python3/dist-packages/mpi4py'],
  'Python in Linux guests',
  () => {
    let place: Playground
    beforeAll(() => {
      place = playground()
      writeFileSync(join(place.directory, 'program.py'), PROGRAM)
      writeFileSync(join(place.directory, 'helper.py'), HELPER)
    })
    afterAll(() => place.remove())

    it('runs a script with modules of the system and of its own directory', async () => {
      const guests = ['-n', '4', '--guests', '2', '--guest-memory', '512M', '-v']
      const words = [...guests, '/usr/bin/python3', 'program.py']
      const outcome = await leetMpirun(words, { cwd: place.directory, env: place.env })
      expect(outcome).toMatchObject({ status: 0, stdout: '[0, 1, 2, 3] on 2 hosts, 0.5\n' })
      expect(outcome.stderr).toContain('profile mpi4py')
      expect(readdirSync(place.directory).toSorted()).toEqual(['helper.py', 'program.py'])
      expect([place.files(), place.processes()]).toEqual([[], []])
    })
  },
)
