// Spawn requests and job announcements between agents: what is sent is what arrives, and nothing else is believed.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Deadline, LeetError } from '../../../common/index.ts'
import type { Exchange } from '../../../mpi-bridge/exchange.ts'
import {
  answerSpawn,
  askSpawn,
  decodeJob,
  encodeJob,
  JOB_TOPIC,
  type JobAnnouncement,
  type SpawnRequest,
} from '../../../mpi-bridge/spawn.ts'
import { createExchangeNet } from '../../simulators/exchange-net.ts'
import { layoutOf } from './pmi-sessions.ts'

const announcement: JobAnnouncement = {
  layout: layoutOf('leet-1', [[0, 2], [1]], { universeSize: 8, spawnedBy: { job: 'leet-0', rank: 3 } }),
  preput: [{ key: 'PARENT_ROOT_PORT_NAME', value: 'tag#0$\xff' }],
}

it('announces a job to agents', () => {
  expect(JOB_TOPIC).toBe('job')
  expect(decodeJob(encodeJob(announcement))).toEqual(announcement)
  const plain = { layout: layoutOf('leet-2', [[0]]), preput: [] }
  expect(decodeJob(encodeJob(plain))).toEqual(plain)
})

it('carries a spawn request to the controller and the result back', async () => {
  const [controller, agent] = createExchangeNet(2, () => {}) as [Exchange, Exchange]
  const requests: SpawnRequest[] = []
  answerSpawn(controller, async (request) => {
    requests.push(request)
    return { job: 'leet-1', errcodes: [0, 0] }
  })
  const request: SpawnRequest = {
    job: 'leet-0',
    rank: 1,
    commands: [
      { argv: ['/bin/a', 'b c'], maxprocs: 2, cwd: '/tmp', env: { A: 'b=c' }, info: { host: 'n1' } },
      { argv: ['d'], maxprocs: 1, env: {}, info: {} },
    ],
    preput: announcement.preput,
  }
  expect(await askSpawn(agent, request, { deadline: Deadline.never })).toEqual({
    job: 'leet-1',
    errcodes: [0, 0],
  })
  expect(requests).toEqual([request])
})

it('believes nothing that is malformed', () => {
  const good = JSON.parse(Buffer.from(encodeJob(announcement)).toString()) as Record<string, unknown>
  const paths = fc.constantFrom(
    ...[
      ['layout'],
      ['preput'],
      ['layout', 'id'],
      ['layout', 'size'],
      ['layout', 'guests'],
      ['layout', 'appnums'],
    ],
    ...[
      ['layout', 'guests', '0'],
      ['layout', 'guests', '0', 'ranks'],
      ['layout', 'guests', '1', 'agent'],
    ],
    ...[
      ['layout', 'spawnedBy'],
      ['preput', '0'],
      ['preput', '0', 'key'],
      ['layout', 'universeSize'],
    ],
  )
  const wrong = fc.constantFrom<unknown[]>(null, true, 1.5, 'NaN', [null], { ranks: 1 })
  fc.assert(
    fc.property(paths, wrong, (path, value) => {
      const copy = structuredClone(good)
      let at = copy as Record<string, unknown>
      for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>
      const last = path.at(-1) as string
      if (typeof at[last] === 'string' && typeof value === 'string') return
      at[last] = value
      expect(() => decodeJob(Buffer.from(JSON.stringify(copy)))).toThrow(LeetError)
    }),
  )
  expect(() => decodeJob(Buffer.from('{'))).toThrow(LeetError)
})
