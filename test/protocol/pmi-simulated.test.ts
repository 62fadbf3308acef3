// Ranks without an MPI library, as processes of their own, over PMI-1 and PMI-2: what Debian's MPICH cannot do here,
// spawn and ports, on one node and on several.
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createExchangeNet } from '../simulators/exchange-net.ts'
import { linesOf, runLocalJob } from './local-job.ts'

const RANK = fileURLToPath(new URL('../simulators/pmi-rank.ts', import.meta.url))

describe.each([
  ['PMI-1 on one node', 1, 1],
  ['PMI-1 on three nodes', 1, 3],
  ['PMI-2 on one node', 2, 1],
  ['PMI-2 on three nodes', 2, 3],
])('%s', (_, version, nodes) => {
  const run = async (args: readonly string[], guests: readonly (readonly number[])[]) => {
    const end = await runLocalJob({
      argv: [process.execPath, RANK, String(version), ...args],
      guests,
      env: {},
      exchanges: nodes === 1 ? undefined : (report) => createExchangeNet(nodes, report),
    })
    const ends = [...end.ranks, ...end.spawned.flat()]
    expect(ends.map(({ stderr }) => stderr).join('')).toBe('')
    return end
  }

  it('passes addresses around', async () => {
    const end = await run(['exchange'], [[0, 1], [2], [3]])
    expect(linesOf(end)).toEqual(['rank 0 heard 3', 'rank 1 heard 0', 'rank 2 heard 1', 'rank 3 heard 2'])
  })

  it('spawns ranks that find their parent', async () => {
    const end = await run(['spawn', '2'], [[0], [1], [2]])
    const cwd = process.cwd()
    expect(linesOf(end)).toEqual([
      'child 0 of 3 in /',
      'child 1 of 3 in /',
      `child 2 of 3 in ${cwd} second; one`,
    ])
    expect([...end.ranks, ...end.spawned.flat()].map(({ status }) => status)).toEqual([0, 0, 0, 0, 0, 0])
    expect(end.reports.filter(({ kind }) => kind === 'finalised')).toHaveLength(6)
  })

  it('publishes ports', async () => {
    const end = await run(['names'], [[0], [1, 2]])
    expect(linesOf(end)).toEqual([
      'heard rank 2, withdrawn true',
      'published true, twice false',
      'then undefined',
    ])
  })

  it('reports an abort', async () => {
    const end = await runLocalJob({
      argv: [process.execPath, RANK, String(version), 'abort', '7'],
      guests: [[0], [1]],
      env: {},
      exchanges: nodes === 1 ? undefined : (report) => createExchangeNet(nodes, report),
    })
    expect(end.reports).toContainEqual(
      expect.objectContaining({ kind: 'aborted', status: 7, message: 'because' }),
    )
  })
})
