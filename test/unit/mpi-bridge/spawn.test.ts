// Spawn requests between agents: what is sent is what arrives, and nothing else is believed.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Deadline, LeetError } from '../../../common/index.ts'
import type { Exchange } from '../../../mpi-bridge/exchange.ts'
import { answerSpawn, askSpawn, type SpawnRequest } from '../../../mpi-bridge/spawn.ts'
import { createExchangeNet } from '../../simulators/exchange-net.ts'

const request: SpawnRequest = {
  job: 'leet-0',
  rank: 1,
  commands: [
    { argv: ['/bin/a', 'b c'], maxprocs: 2, cwd: '/tmp', env: { A: 'b=c' }, info: { host: 'n1' } },
    { argv: ['d'], maxprocs: 1, env: {}, info: {} },
  ],
  preput: [{ key: 'PARENT_ROOT_PORT_NAME', value: 'tag#0$\xff' }],
}

it('carries a spawn request to the controller and the result back', async () => {
  const [controller, agent] = createExchangeNet(2, () => {}) as [Exchange, Exchange]
  const requests: SpawnRequest[] = []
  answerSpawn(controller, async (request) => {
    requests.push(request)
    return { job: 'leet-1', errcodes: [0, 0] }
  })
  expect(await askSpawn(agent, request, { deadline: Deadline.never })).toEqual({
    job: 'leet-1',
    errcodes: [0, 0],
  })
  expect(requests).toEqual([request])
})

it('believes nothing that is malformed', async () => {
  const [controller, agent] = createExchangeNet(2, () => {}) as [Exchange, Exchange]
  answerSpawn(controller, async () => ({ job: 'leet-1', errcodes: [] }))
  const paths = fc.constantFrom(
    ...[['job'], ['rank'], ['commands'], ['preput']],
    ...[
      ['commands', '0'],
      ['commands', '0', 'argv'],
      ['commands', '0', 'argv', '1'],
      ['commands', '0', 'maxprocs'],
      ['commands', '0', 'cwd'],
      ['commands', '1', 'env'],
      ['commands', '0', 'env', 'A'],
      ['commands', '0', 'info'],
    ],
    ...[
      ['preput', '0'],
      ['preput', '0', 'key'],
    ],
  )
  const wrong = fc.constantFrom<unknown[]>(null, true, 1.5, 'NaN', [null], { ranks: 1 })
  await fc.assert(
    fc.asyncProperty(paths, wrong, async (path, value) => {
      const copy = structuredClone(request)
      let at = copy as unknown as Record<string, unknown>
      for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>
      const last = path.at(-1) as string
      if (typeof at[last] === 'string' && typeof value === 'string') return
      at[last] = value
      await expect(askSpawn(agent, copy, { deadline: Deadline.never })).rejects.toThrow(LeetError)
    }),
  )
})
