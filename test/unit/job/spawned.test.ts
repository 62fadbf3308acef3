// MPI_Comm_spawn: which programs its commands are, where their ranks go, and where the program is looked for.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { spawnedEnvironment, spawnedPlaces, spawnedPrograms } from '../../../launcher/job/spawned.ts'
import type { JobPlan, PlanProgram } from '../../../launcher/plan/plan.ts'
import type { SpawnCommand } from '../../../mpi-bridge/spawn.ts'

const command = (maxprocs: number, info: Record<string, string> = {}): SpawnCommand => ({
  argv: ['worker', 'a b'],
  maxprocs,
  env: { OWN: '1' },
  info,
})

const caller: PlanProgram = {
  argv: ['/bin/manager'],
  ranks: 4,
  workDir: '/work',
  exports: [],
  inherits: true,
  mpi: 'mpich',
}

// Two guests on node0, one on node1, with two slots each.
const plan = {
  nodes: [{ name: 'node0' }, { name: 'node1' }],
  guests: [0, 0, 1].map((node, index) => ({
    index,
    name: `guest${index}`,
    node,
    ranks: [2 * index, 2 * index + 1],
  })),
} as unknown as JobPlan

describe('spawned programs', () => {
  it('are like the caller, in the directory that is asked for', () => {
    expect(spawnedPrograms([command(2), command(1, { wdir: '/tmp' })], caller)).toEqual([
      { ...caller, argv: ['worker', 'a b'], ranks: 2 },
      { ...caller, argv: ['worker', 'a b'], ranks: 1, workDir: '/tmp' },
    ])
    expect(spawnedPrograms([command(1, { 'pmix.wdir': '/pmix' })], caller)[0]?.workDir).toBe('/pmix')
  })

  it.each([0, -1, 1_000_000])('are not started %i times', (count) => {
    expect(() => spawnedPrograms([command(count)], caller)).toThrow(/cannot start .* ranks of "worker"/)
  })

  it('are looked for in the directories of `path` first', () => {
    const path = (info: Record<string, string>, inherited: Record<string, string>) =>
      spawnedEnvironment(command(1, info), inherited)
    expect(path({ path: '/a:/b' }, { PATH: '/bin' })).toEqual({ OWN: '1', PATH: '/a:/b:/bin' })
    expect(path({ path: '/a' }, {})).toEqual({ OWN: '1', PATH: '/a' })
    expect(path({}, { PATH: '/bin' })).toEqual({ OWN: '1', PATH: '/bin' })
    const given = { ...command(1, { path: '/a' }), argv: ['./worker'] }
    expect(spawnedEnvironment(given, { PATH: '/bin' }).PATH).toBe('/bin')
  })
})

describe('places of spawned ranks', () => {
  it('are those of any job unless hosts are named', () => {
    expect(spawnedPlaces(plan, [command(3), command(1)])).toEqual([[0, 1], [2, 3], []])
  })

  it('are the guests, or the guests of the nodes, that a command names', () => {
    expect(spawnedPlaces(plan, [command(2, { host: 'guest2' }), command(1)])).toEqual([[2], [], [0, 1]])
    expect(spawnedPlaces(plan, [command(3, { 'pmix.host': 'node0' })])).toEqual([[0, 1], [2], []])
    expect(spawnedPlaces(plan, [command(4, { hosts: 'guest0,guest2' })])).toEqual([[0, 1], [], [2, 3]])
  })

  it('may be in a hostfile', () => {
    const folder = mkdtempSync(join(tmpdir(), 'leet-spawned-'))
    try {
      writeFileSync(join(folder, 'hosts'), '# one\nguest1 slots=2\n')
      const named = { ...command(2, { hostfile: 'hosts' }), cwd: folder }
      expect(spawnedPlaces(plan, [named])).toEqual([[], [0, 1], []])
      expect(() => spawnedPlaces(plan, [command(1, { hostfile: join(folder, 'none') })])).toThrow(
        /hostfile .* cannot be read/,
      )
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('that do not exist are a failure that names them', () => {
    expect(() => spawnedPlaces(plan, [command(1, { host: 'nowhere' })])).toThrow(
      /no guest of the job is called nowhere/,
    )
  })
})
