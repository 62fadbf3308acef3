// OpenFOAM's own tutorials: their scripts `Allrun` as Debian ships them, with LEET's mpirun first in PATH. They start
// parallel programs by `mpirun -n N PROGRAM -parallel`, through functions of OpenFOAM's that Debian leaves out; the
// few that these scripts need stand below.
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Deadline, runCommand } from '../../common/index.ts'
import { type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const TUTORIALS = '/usr/share/doc/openfoam-examples/examples'
const AS_MPIRUN = new URL('../../launcher/bin/as-mpirun', import.meta.url).pathname
const FUNCTIONS = `export FOAM_TUTORIALS=$WM_PROJECT_DIR/tutorials
isParallel() { case " $* " in *" -parallel "*) return 0 ;; *) return 1 ;; esac; }
getApplication() { foamDictionary -entry application -value system/controlDict; }
restore0Dir() { cp -R 0.orig 0; }
runApplication() {
  suffix=
  if [ "$1" = -s ]; then suffix=.$2; shift 2; fi
  "$@" >"log.$1$suffix" 2>&1
}
runParallel() {
  ranks=$(foamDictionary -entry numberOfSubdomains -value system/decomposeParDict)
  program=$1
  shift
  mpirun -n "$ranks" "$program" -parallel "$@" </dev/null >"log.$program" 2>&1
}
`

describeWith(['sonicFoam', 'foamDictionary', TUTORIALS], 'Allrun of OpenFOAM’s tutorials', () => {
  let place: Playground
  beforeAll(() => {
    place = playground()
    const project = join(place.directory, 'openfoam')
    mkdirSync(join(project, 'bin/tools'), { recursive: true })
    symlinkSync('/usr/share/openfoam/etc', join(project, 'etc'))
    symlinkSync(TUTORIALS, join(project, 'tutorials'))
    writeFileSync(join(project, 'bin/tools/RunFunctions'), FUNCTIONS)
  })
  afterAll(() => place.remove())

  it.each([
    {
      tutorial: 'compressible/sonicFoam/RAS/nacaAirfoil',
      options: ['-parallel'],
      program: 'sonicFoam',
      ranks: 6,
    },
    {
      tutorial: 'compressible/rhoPimpleAdiabaticFoam/rutlandVortex2D',
      options: [],
      program: 'rhoPimpleAdiabaticFoam',
      ranks: 3,
    },
  ])('$tutorial', async ({ tutorial, options, program, ranks }) => {
    const directory = join(place.directory, program)
    cpSync(join(TUTORIALS, tutorial), directory, { recursive: true, dereference: true })
    const environment = {
      ...process.env,
      ...place.env,
      WM_PROJECT_DIR: join(place.directory, 'openfoam'),
      PATH: `${AS_MPIRUN}:${process.env.PATH}`,
      LEET_GUEST: 'host',
      PWD: directory,
    }
    const run = (argv: readonly [string, ...string[]]) =>
      runCommand(argv, { env: environment, cwd: directory, deadline: Deadline.after(150_000) })
    // Two steps of the many.
    const step = await run(['foamDictionary', 'system/controlDict', '-entry', 'deltaT', '-value'])
    const end = String(2 * Number(step.stdout))
    await run(['foamDictionary', 'system/controlDict', '-entry', 'endTime', '-set', end])
    const { status, stderr } = await run(['sh', './Allrun', ...options])
    const log = readFileSync(join(directory, `log.${program}`), 'utf8')
    expect({ status, stderr }, log.slice(-2000)).toMatchObject({ status: 0 })
    expect(log).toMatch(new RegExp(`^nProcs +: ${ranks}$`, 'm'))
    expect(log).toContain('Finalising parallel run')
    expect(readdirSync(directory).filter((name) => name.startsWith('processor'))).toHaveLength(ranks)
    expect(place.processes()).toEqual([])
  })
})
