// `leet-mpirun --guest osv` as a user calls it, from the import of a base to the results. The guest is simulated: its QEMU stands
// before the real one in PATH, and what it is given has been composed, seeded and carried as for a real one.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import { startNullServer } from '../simulators/nfs-null.ts'
import { type Case, makeCase, RESULTS } from '../support/case.ts'
import { butForEmulation, leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'
import { makeOsvBuild } from '../support/osv-build.ts'
import { buildPrograms, type Programs } from './programs/build.ts'

const SIMULATED = new URL('../simulators/osv/qemu.ts', import.meta.url).pathname

describeWith(['qemu-system-x86_64', 'cc', 'isoinfo', 'mpicc.openmpi'], 'leet-mpirun --guest osv', () => {
  let place: Playground
  let build: string
  let programs: Programs
  let ofTest: Case
  let env: NodeJS.ProcessEnv
  beforeAll(async () => {
    place = playground()
    const folder = (name: string) => {
      mkdirSync(join(place.directory, name))
      return join(place.directory, name)
    }
    // The simulated guest speaks no TLS, and mounts no disk.
    build = makeOsvBuild(folder('osv'), { without: ['libssl', 'libext'] })
    programs = await buildPrograms('mpicc.openmpi', ['results'])
    const bin = folder('bin')
    const simulated = `case "$*" in *guest=*) exec ${process.execPath} ${SIMULATED} "$@";; esac`
    writeFileSync(join(bin, 'qemu-system-x86_64'), `#!/bin/sh\n${simulated}\nexec ${findQemu()} "$@"\n`)
    chmodSync(join(bin, 'qemu-system-x86_64'), 0o755)
    env = { ...place.env, PATH: `${bin}:${process.env.PATH}`, XDG_CACHE_HOME: folder('cache') }
  })
  beforeEach(() => {
    ofTest = makeCase(place.directory)
    return ofTest.remove
  })
  afterAll(() => {
    programs?.remove()
    place?.remove()
  })

  const runWith = (options: readonly string[], words: readonly string[], more: NodeJS.ProcessEnv = {}) => {
    const guest = ['--guest', 'osv', '--osv-base', build, '--insecure-guest-api', '--guest-memory', '128M']
    const argv = [...guest, '-n', '2', ...options, programs.path('results'), ...words]
    return leetMpirun(argv, { cwd: ofTest.directory, env: { ...env, ...more } })
  }
  const run = (...words: string[]) => runWith([], words)

  it('runs ranks and brings their results back', async () => {
    const { status, stdout, stderr } = await run('well')
    expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: '' })
    // Beside what the simulated kernel lacks.
    expect(butForEmulation(stderr).replace(/^leet: warning: .* refers to .*\n/gm, '')).toMatch(
      /^leet: the REST servers of the guests have no TLS: .*\n$/,
    )
    expect(ofTest.files()).toEqual(RESULTS)
    expect([place.files(), place.processes()]).toEqual([[], []])
  })

  it('mounts NFS for guests of one rank, whose programs can use it', async () => {
    const server = await startNullServer()
    try {
      const mount = ['--mount', `127.0.0.1:/export:/data:port=${server.port}`]
      const said = { LEET_SIMULATED_LINE: 'Mounted nfs://10.0.2.2/export/?uid=0&gid=0 at /data' }
      const { status, stderr } = await runWith(['--guests', '2', ...mount], ['well'], said)
      expect(status, stderr).toBe(0)
      const refused = await runWith(mount, ['well'], said)
      expect(refused.status, refused.stderr).toBe(2)
      expect(refused.stderr).toContain('could not be used: in OSv NFS is for the only program of a guest')
    } finally {
      await server.close()
    }
    expect([place.files(), place.processes()]).toEqual([[], []])
  })

  it('ends as MPI_Abort says', async () => {
    const { status, stderr } = await run('abort')
    expect(status, stderr).toBe(42)
    expect([place.files(), place.processes()]).toEqual([[], []])
  })
})
