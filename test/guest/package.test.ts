// The package that `npm pack` makes, installed where no checkout is: its commands do what those of the checkout do.
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { type CommandResult, Deadline, runCommand } from '../../common/index.ts'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import { type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const NEEDS = ['npm', 'musl-gcc', 'qemu-system-x86_64', 'vde_switch', 'busybox', 'dropbear', 'mpicc.mpich']

describeWith(NEEDS, 'the installed package', () => {
  let folder: string
  let programs: Programs
  let place: Playground
  // A checkout brings a Node.js; the package takes that of PATH.
  const path = `${ROOT}/node_modules/node/bin:${process.env.PATH}`
  const limits = () => ({ deadline: Deadline.after(400_000) })
  const must = async (argv: readonly [string, ...string[]], cwd: string) => {
    const result = await runCommand(argv, { ...limits(), cwd })
    if (result.status !== 0) throw new Error(`${argv.join(' ')}: ${result.stdout}${result.stderr}`)
    return result.stdout
  }

  beforeAll(async () => {
    place = playground()
    programs = await buildPrograms('mpicc.mpich', ['neighbours'])
    copyFileSync(programs.path('neighbours'), join(place.directory, 'neighbours'))
    folder = mkdtempSync(join(tmpdir(), 'leet package '))
    const packed = await must(['npm', 'pack', '--json', '--pack-destination', folder], ROOT)
    // What the build says comes first.
    const [{ filename }] = JSON.parse(packed.slice(packed.indexOf('[\n')))
    mkdirSync(join(folder, 'site'))
    const quiet = ['--no-audit', '--no-fund', '--prefer-offline', '--omit=dev']
    await must(['npm', 'install', ...quiet, '--prefix', '.', join(folder, filename)], join(folder, 'site'))
  })
  afterEach(() => {
    expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
  })
  afterAll(() => {
    programs?.remove()
    place?.remove()
    if (folder) rmSync(folder, { recursive: true })
  })

  const run = (command: string, ...argv: string[]): Promise<CommandResult> =>
    runCommand([join(folder, 'site/node_modules/.bin', command), ...argv], {
      ...limits(),
      cwd: place.directory,
      env: { ...process.env, ...place.env, PATH: path },
    })

  it('says its version', async () => {
    const { stdout } = await run('leet', '--version')
    expect(stdout).toMatch(/^leet \d+\.\d+\.\d+\n$/)
    expect((await run('leet-mpirun', '--version')).stdout).toMatch(/^leet-mpirun \d/)
  })

  it('finds this node as fit as the checkout does', async () => {
    const { stdout } = await run('leet', 'doctor')
    expect(stdout).toMatch(/^good +QEMU /m)
    expect(stdout).not.toMatch(/^bad /m)
  })

  it.each([
    ['on the bare host', ['--guest', 'host'], 0],
    ['in two guests', ['--guests', '2', '--guest-memory', '512M'], 1],
  ])('runs an MPI program %s', async (_where, options, second) => {
    const { status, stdout, stderr } = await run('leet-mpirun', ...options, '-n', '2', './neighbours')
    expect(status, stderr).toBe(0)
    const said = stdout.split('\n').filter((line) => line.includes(' with '))
    expect(said.sort()).toEqual(['rank 0 with 0', `rank 1 with ${second}`])
  })

  it('has what leet compiles and reads when it runs', async () => {
    expect(await run('leet-mpirun', '--profile', 'openfoam', '-n', '1', '--dry-run', 'true')).toMatchObject({
      status: 0,
    })
    expect((await run('leet', 'submit', '--scheduler', 'slurm', '--print', '--', 'true')).stdout).toMatch(
      /^#SBATCH /m,
    )
  })
})
