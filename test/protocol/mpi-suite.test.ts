/** @module-tag long */
// Real MPI programs under leet-mpirun and under the launcher that comes with their MPI: what works there works here, with
// the same output and exit status. Needs nothing but the host; the same suite runs in guests in test/guest.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, runCommand } from '../../common/index.ts'
import { type CommandOutcome, leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeWith, hasCommand } from '../support/needs.ts'
import { buildPrograms, type ProgramName, type Programs } from './programs/build.ts'

type Command = readonly [string, ...string[]]

interface Library {
  readonly compiler: string
  /** Its own launcher. */
  readonly stock: Command
  /** Variables that it needs in order to find itself on this machine, under any launcher. */
  readonly env?: Readonly<Record<string, string>>
}

/** Not in Debian, so nobody must have it: see pmi-ch3.test.ts. */
const CH3 = 'mpicc.mpich-ch3'

const HYDRA: Command = ['mpiexec.hydra']
const LIBRARIES: readonly Library[] = [
  { compiler: 'mpicc.mpich', stock: HYDRA },
  {
    compiler: CH3,
    stock: HYDRA,
    env: { MPIR_CVAR_CH3_INTERFACE_HOSTNAME: '127.0.0.1' },
  },
  { compiler: 'mpicc.openmpi', stock: ['mpirun.openmpi', '--allow-run-as-root', '--oversubscribe'] },
]

const PROGRAMS: readonly ProgramName[] = ['suite', 'pmix-spawn', 'pmix-ports', 'names', 'end', 'hello']

const SPAWNED = [
  'child 0 of 3 command 0 app 0 text a b sum 5',
  'child 1 of 3 command 0 app 0 text a b sum 5',
  'child 2 of 3 command 1 app 1 text a b sum 5',
  'parent 0 of 2 sum 5 codes 0 0 0',
  'parent 1 of 2 sum 5 codes 0 0 0',
]

/** What ranks print comes in any order. */
const sorted = ({ status, stdout }: CommandOutcome) => ({ status, lines: stdout.split('\n').sort() })

for (const { compiler, stock, env = {} } of LIBRARIES) {
  if (compiler === CH3 && !hasCommand(CH3)) continue
  describeWith([compiler, stock[0]], `${compiler}: leet-mpirun and ${stock[0]}`, () => {
    let place: Playground
    let programs: Programs
    beforeAll(async () => {
      place = playground()
      programs = await buildPrograms(compiler, PROGRAMS)
    })
    afterAll(() => {
      programs?.remove()
      place.remove()
    })

    const words = (ranks: number, name: ProgramName, args: readonly string[]) => [
      '-n',
      String(ranks),
      programs.path(name),
      ...args,
    ]
    const underStock = (ranks: number, name: ProgramName, ...args: string[]): Promise<CommandOutcome> =>
      runCommand([...stock, ...words(ranks, name, args)], {
        deadline: Deadline.after(60_000),
        cwd: place.directory,
        env: { ...process.env, ...env },
      })
    const underLeet = (ranks: number, name: ProgramName, ...args: string[]) =>
      leetMpirun(['--guest', 'host', '--timeout', '170', ...words(ranks, name, args)], {
        cwd: place.directory,
        env: { ...place.env, ...env },
      })

    it.each([2, 3, 8])('pass the suite with %i ranks', async (ranks) => {
      const ours = await underLeet(ranks, 'suite')
      expect(ours).toMatchObject({ status: 0, stderr: '' })
      expect(sorted(ours)).toEqual(sorted(await underStock(ranks, 'suite')))
    })

    it.each([
      ['spawns', 'pmix-spawn', 2, SPAWNED],
      ['opens ports', 'pmix-ports', 4, [0, 1, 2, 3].map((rank) => `rank ${rank} remote 2 sum 4`)],
      ['publishes names', 'names', 3, ['found it missing 1 gone 1', 'twice refused 1']],
    ] as const)('%s if it can there', async (_, name, ranks, lines) => {
      const { status } = await underStock(ranks, name)
      const ours = await underLeet(ranks, name)
      // Debian's MPICH can neither spawn nor open ports; then all that is asked is a failure.
      if (status === 0) expect(sorted(ours)).toEqual({ status, lines: ['', ...lines] })
      else expect(ours.status).not.toBe(0)
    })

    // Debian's MPICH cannot spawn.
    const canSpawn = compiler === 'mpicc.openmpi'
    if (canSpawn)
      it('binds the ranks that are spawned, too', async () => {
        const bound = ['--bind-to', 'hwthread', '--report-bindings']
        const { status, stdout, stderr } = await leetMpirun(
          ['--guest', 'host', '--timeout', '170', ...bound, ...words(1, 'pmix-spawn', [])],
          { cwd: place.directory, env: place.env },
        )
        expect({ status, lines: stdout.split('\n').length }).toEqual({ status: 0, lines: 5 })
        const ranks = stderr.match(/MCW rank \d (?:bound to|is not bound)/g)?.map((text) => text.slice(0, 10))
        expect(ranks?.sort()).toEqual(['MCW rank 0', 'MCW rank 0', 'MCW rank 1', 'MCW rank 2'])
      })

    it.each([
      ['abort', '1', '42'],
      ['exit', '2', '3'],
    ])('end alike when a rank goes by %s', async (...args) => {
      const [ours, theirs] = [await underLeet(4, 'end', ...args), await underStock(4, 'end', ...args)]
      expect(ours.status).toBe(theirs.status)
    })

    it('end all when one aborts itself alone', async () => {
      const [ours, theirs] = [
        await underLeet(4, 'end', 'alone', '1', '42'),
        await underStock(4, 'end', 'alone', '1', '42'),
      ]
      // Hydra gives the status of whichever rank it saw end first: often that of one that it killed.
      expect(theirs.status).not.toBe(0)
      expect(ours.status).toBe(42)
    })

    describe('hello', () => {
      it.each([1, 16, 128])('from %i ranks', async (ranks) => {
        const { status, stdout } = await underLeet(ranks, 'hello')
        const sum = (ranks * (ranks - 1)) / 2
        const said = stdout.trimEnd().split('\n')
        expect({ status, said: said.map((line) => line.replace(/ universe .*/, '')).sort() }).toEqual({
          status: 0,
          said: Array.from(
            { length: ranks },
            (_, rank) => `rank ${rank} of ${ranks} sum ${sum} appnum 0`,
          ).sort(),
        })
      })
    })
  })
}
