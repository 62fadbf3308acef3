/** @module-tag long */
// OpenFOAM's solvers on small tutorials of Debian's: what two ranks write under LEET, on the bare host and in two guests, against
// what they write under the stock mpirun, bit for bit. The README of the example has the figures as a table.
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, runCommand } from '../../common/index.ts'
import { BIN, type Playground, playground } from '../support/leet.ts'
import { describeWith, isOsvHere, osvBuild } from '../support/needs.ts'

const TUTORIALS = '/usr/share/doc/openfoam-examples/examples'
const README = new URL('../../examples/openfoam/README.md', import.meta.url)
const NEEDS = ['simpleFoam', 'm4', 'mpirun.openmpi', 'qemu-system-x86_64', 'vde_switch', TUTORIALS]
/** For one run: emulated guests are slow. */
const PATIENCE = 500_000

/** A solver, the tutorial that it solves, and how many steps of it. */
interface Solver {
  readonly solver: string
  readonly tutorial: string
  readonly steps: number
  readonly options?: readonly string[]
  /** What makes the mesh smaller, for sed(1). */
  readonly coarser?: string
}

const COARSER = '/simpleGrading/s/ 20 20 *)/ 10 10)/'
const SOLVERS: readonly Solver[] = [
  { solver: 'simpleFoam', tutorial: 'incompressible/simpleFoam/pitzDaily', steps: 3 },
  { solver: 'pimpleFoam', tutorial: 'incompressible/pimpleFoam/RAS/TJunction', steps: 3 },
  { solver: 'pisoFoam', tutorial: 'incompressible/pisoFoam/RAS/cavity', steps: 20 },
  {
    ...{ solver: 'porousSimpleFoam', tutorial: 'incompressible/porousSimpleFoam/angledDuct/implicit' },
    ...{ steps: 5, coarser: COARSER },
  },
  {
    ...{ solver: 'potentialFoam', tutorial: 'basic/potentialFoam/pitzDaily' },
    ...{ steps: 1, options: ['-writePhi', '-writep'] },
  },
  {
    // The implicit one has code to be compiled, which OpenFOAM refuses to root.
    ...{ solver: 'rhoPorousSimpleFoam', tutorial: 'compressible/rhoPorousSimpleFoam/angledDuct/explicit' },
    ...{ steps: 5, coarser: COARSER },
  },
  {
    ...{ solver: 'rhoSimpleFoam', tutorial: 'compressible/rhoSimpleFoam/squareBend' },
    ...{ steps: 3, coarser: `${COARSER}; s/(200 /(60 /` },
  },
]

/** Does what a tutorial's `Allrun` does before its solver, but for less cells and steps, and divides the case in two. */
const PREPARE = `
cp -RL "$TUTORIAL" "$CASE"
common=$TUTORIAL/../common
[ ! -d "$common" ] || cp -RL "$common/." "$CASE"
cd "$CASE"
[ ! -d 0.orig ] || mv 0.orig 0
[ ! -f system/blockMeshDict.m4.gz ] || gzip -dc system/blockMeshDict.m4.gz | m4 >system/blockMeshDict
sed -i "$COARSER" system/blockMeshDict
set_entry() { foamDictionary system/controlDict -entry "$1" -set "$2"; }
step=$(foamDictionary system/controlDict -entry deltaT -value)
set_entry endTime "$(awk "BEGIN { print $STEPS * $step }")"
set_entry writeControl timeStep
set_entry writeInterval "$STEPS"
set_entry adjustTimeStep no
# All bits of a number, not six digits of it.
set_entry writeFormat binary
cat >system/decomposeParDict <<END
FoamFile { version 2.0; format ascii; class dictionary; object decomposeParDict; }
numberOfSubdomains 2;
method simple;
simpleCoeffs { n (2 1 1); delta 0.001; }
END
blockMesh
decomposePar
`

/** How OpenFOAM's own MPI runs a case on the bare host, also of root and on a single processor. */
const MPIRUN = ['mpirun.openmpi', '--oversubscribe', '--bind-to', 'none'] as const
const AS_ROOT = { OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' }
/**
 * glibc has other code of exp, log and pow for processors with FMA, with other last bits (sysdeps/x86_64/fpu/multiarch). OSv's
 * own are the same functions, of musl 1.2.1, without.
 */
const WITHOUT_FMA = { GLIBC_TUNABLES: 'glibc.cpu.hwcaps=-FMA,-FMA4' }
const GUESTS = ['--guests', '2', '--guest-memory', '1G']

/** All files below a directory, by their paths. */
function filesOf(directory: string): Map<string, Buffer> {
  const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((file) =>
    file.isFile(),
  )
  return new Map(
    files.map(({ parentPath, name }) => {
      const path = join(parentPath, name)
      return [relative(directory, path), readFileSync(path)]
    }),
  )
}

/** Whether both have this file, with the same bytes. */
function isEqual(name: string, a: ReadonlyMap<string, Buffer>, b: ReadonlyMap<string, Buffer>): boolean {
  const bytes = a.get(name)
  return bytes !== undefined && b.get(name)?.equals(bytes) === true
}

/** The cells of the README's row on a solver. */
function rowOfReadme(solver: string): string[] {
  const row = new RegExp(`^\\| \`${solver}\` \\|(.*)\\|$`, 'm').exec(readFileSync(README, 'utf8'))
  return (row?.[1] ?? '').split('|').map((cell) => cell.trim())
}

describeWith(NEEDS, 'OpenFOAM’s solvers', () => {
  let place: Playground
  beforeAll(() => {
    place = playground()
  })
  afterAll(() => place.remove())
  const isOsv = isOsvHere('OpenFOAM’s solvers in OSv')

  describe.each(SOLVERS)('$solver', ({ solver, tutorial, steps, options = [], coarser = '' }) => {
    const above = () => join(place.directory, solver)
    const original = () => join(above(), 'original')

    async function run(argv: readonly [string, ...string[]], cwd: string, env: NodeJS.ProcessEnv) {
      const all = { ...process.env, ...place.env, WM_PROJECT_DIR: '/usr/share/openfoam', ...env }
      const result = await runCommand(argv, { env: all, cwd, deadline: Deadline.after(PATIENCE) })
      expect(result.status, `${result.stdout.slice(-2000)}\n${result.stderr}`).toBe(0)
      return result.stdout
    }

    /** Solves a copy of the case; resolves to the files that are new or changed, and how long it took in seconds. */
    async function solve(where: string, launcher: readonly [string, ...string[]], env = {}) {
      const directory = join(above(), where)
      cpSync(original(), directory, { recursive: true })
      const before = filesOf(directory)
      const began = performance.now()
      const log = await run([...launcher, '-n', '2', solver, '-parallel', ...options], directory, env)
      const took = (performance.now() - began) / 1000
      expect(log).toMatch(/^nProcs +: 2$/m)
      expect(log).toContain('Finalising parallel run')
      expect(place.processes()).toEqual([])
      const after = filesOf(directory)
      const files = new Map([...after].filter(([name]) => !isEqual(name, before, after)))
      expect([...files.keys()]).toContainEqual(expect.stringMatching(/^processor1\/.*\/U$/))
      return { took, files }
    }

    let stock: Awaited<ReturnType<typeof solve>>
    let cells: string | undefined
    beforeAll(async () => {
      mkdirSync(above())
      const variables = { TUTORIAL: join(TUTORIALS, tutorial), STEPS: `${steps}`, COARSER: coarser }
      await run(['sh', '-euc', PREPARE], above(), { ...variables, CASE: original() })
      const owner = readFileSync(join(original(), 'constant/polyMesh/owner'), 'latin1')
      cells = /nCells: *(\d+)/.exec(owner)?.[1]
      stock = await solve('stock', MPIRUN, AS_ROOT)
    })

    /** Solves the case in that kind of guests; resolves to how many files are equal of all, as the README has it. */
    async function compare(kind: string, words: readonly string[] = [], reference = stock): Promise<string> {
      const { took, files } = await solve(kind, [join(BIN, 'leet-mpirun'), '--guest', kind, ...words])
      const names = [...new Set([...reference.files.keys(), ...files.keys()])]
      const unequal = names.filter((name) => !isEqual(name, reference.files, files))
      const equal = `${names.length - unequal.length} of ${names.length}`
      const times = `${took.toFixed(1)} s, mpirun ${reference.took.toFixed(1)} s`
      console.log(`${solver}, ${cells} cells, ${steps} steps, ${kind}: ${equal} files equal (${times})`)
      expect(unequal).toEqual([])
      return equal
    }

    it('writes on the bare host what it writes under mpirun', async () => {
      await compare('host')
    })

    it('writes in Linux guests what it writes under mpirun', async () => {
      const equal = await compare('linux', GUESTS)
      const row = [`\`${tutorial}\``, cells, `${steps}`, equal]
      expect(rowOfReadme(solver).slice(0, 4)).toEqual(row)
    })

    it.runIf(isOsv)('writes in OSv what it writes under mpirun on a processor without FMA', async () => {
      const reference = await solve('stock-without-fma', MPIRUN, { ...AS_ROOT, ...WITHOUT_FMA })
      const equal = await compare('osv', ['--osv-base', `${osvBuild}`, ...GUESTS], reference)
      expect(rowOfReadme(solver)[4]).toBe(equal)
    })
  })
})
