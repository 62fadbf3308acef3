import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { inspectProgram, openProgram } from '../../../launcher/images/inspect.ts'
import { hostLoaderSettings } from '../../../launcher/images/loader.ts'
import { loadPlugins } from '../../../launcher/images/plugins.ts'
import { describeWith } from '../../support/needs.ts'

const SOURCE = '#include <mpi.h>\nint main(int c, char **v) { MPI_Init(&c, &v); return MPI_Finalize(); }'

describeWith(['mpicc.mpich', 'mpicc.openmpi', 'gcc'], 'the MPI of a program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'leet-mpi-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const at = (name: string) => join(folder, name)
  writeFileSync(at('mpi.c'), SOURCE)
  writeFileSync(at('plain.c'), 'int main(void) { return 0; }')
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  run('mpicc.mpich', '-o', 'mpich', 'mpi.c')
  run('mpicc.openmpi', '-o', 'openmpi', 'mpi.c')
  run('gcc', '-o', 'plain', 'plain.c')
  const mpiOf = async (name: string) => (await inspectProgram(at(name), {}, '/')).mpi

  it('is MPICH with its version and device', async () => {
    const [version, device] = ['version', 'device'].map(
      (word) => run('mpichversion').match(new RegExp(`MPICH ${word}:\\s+(\\S+)`, 'i'))?.[1],
    )
    expect(await mpiOf('mpich')).toMatchObject({ flavour: 'mpich', version, device })
    expect(version).toMatch(/^\d+\.\d+/)
  })

  it('is Open MPI with its version', async () => {
    const version = run('ompi_info', '--version').match(/v(\S+)/)?.[1]
    expect(await mpiOf('openmpi')).toMatchObject({ flavour: 'openmpi', version })
    expect(version).toMatch(/^\d+\.\d+/)
  })

  it('is none of a program without', async () => {
    expect(await mpiOf('plain')).toEqual({ flavour: 'none' })
  })

  it('is found behind a library of the application', async () => {
    run('mpicc.mpich', '-shared', '-fPIC', '-o', 'libapp.so', 'mpi.c')
    run('gcc', '-o', 'indirect', 'plain.c', '-Wl,--no-as-needed', '-L.', '-lapp', `-Wl,-rpath,${folder}`)
    expect(await mpiOf('indirect')).toMatchObject({ flavour: 'mpich' })
  })

  it('is found inside a program that contains it', async () => {
    run('mpicc.mpich', '-c', '-o', 'mpi.o', 'mpi.c')
    const library = '/usr/lib/x86_64-linux-gnu/libmpich.a'
    run('gcc', '-o', 'inside', 'mpi.o', library, '-lhwloc', '-lucp', '-lucs', '-lm', '-lpthread')
    expect(await mpiOf('inside')).toEqual({ flavour: 'mpich', library: at('inside') })
  })

  it('brings what it loads by name', () => {
    const opened = openProgram(at('openmpi'), {}, hostLoaderSettings({}, '/'))
    const { data, leftOut } = loadPlugins(opened.map, {})
    const names = new Set(opened.map.objects.map(({ path }) => basename(path)))
    // One each of Open MPI's components, of what those bring, of OpenPMIx's and of UCX's.
    for (const name of ['mca_btl_tcp.so', 'mca_pmix_ext3x.so', 'libpmix.so.2', 'libmca_common_sm.so.40']) {
      expect(names).toContain(name)
    }
    expect(names).toContain('pmix_mca_pcompress_zlib.so')
    expect(names).toContain('libuct_cma.so.0')
    expect(data).toContain('/usr/share/openmpi')
    expect(data).toContain('/etc/openmpi/openmpi-mca-params.conf')
    expect(leftOut).toEqual([])
  })

  it.each([
    ['openmpi', 'mpirun.openmpi'],
    ['mpich', 'mpiexec.mpich'],
  ])('brings everything that a run of %s maps', (name, launcher) => {
    const opened = openProgram(at(name), {}, hostLoaderSettings({}, '/'))
    loadPlugins(opened.map, {})
    const ours = new Set(opened.map.objects.map(({ path }) => realpathSync(path)))
    execFileSync(launcher, ['-n', '1', at(name)], {
      // The loader itself says what it maps. hwloc's plug-ins look for devices and are left out on purpose.
      env: {
        ...process.env,
        OMPI_ALLOW_RUN_AS_ROOT: '1',
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1',
        LD_DEBUG: 'files',
        LD_DEBUG_OUTPUT: at('trace'),
        HWLOC_PLUGINS_PATH: '/none',
      },
      stdio: 'ignore',
    })
    const traces = readdirSync(folder)
      .filter((file) => file.startsWith('trace.'))
      .map((file) => readFileSync(at(file), 'utf8'))
    const ranks = traces.filter((text) => text.includes(`initialize program: ${at(name)}`))
    expect(ranks).toHaveLength(1)
    const mapped = [...(ranks[0] as string).matchAll(/calling init: (\/\S+)/g)].map(([, path]) =>
      realpathSync(path as string),
    )
    expect(mapped.length).toBeGreaterThan(5)
    expect(mapped.filter((path) => !ours.has(path))).toEqual([])
  })
})
