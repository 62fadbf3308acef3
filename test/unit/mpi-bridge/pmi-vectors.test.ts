// Recorded sessions of real MPI libraries, played again: what the clients sent goes in, and what comes out must be
// what the clients were content with.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { type Client, layoutOf, turn, World } from './pmi-sessions.ts'

interface Line {
  readonly from: 'client' | 'server'
  readonly rank: string
  readonly text: string
}

function readVector(name: string): Line[] {
  const log = readFileSync(new URL(`vectors/${name}`, import.meta.url), 'latin1')
  return log.split('\n').flatMap((line) => {
    const match = /^ *\d+ ([<>]) \[(\d+|\?)\] (.*)$/.exec(line)
    if (!match) return []
    const [, direction, rank, text] = match as unknown as [string, string, string, string]
    return [{ from: direction === '>' ? ('client' as const) : ('server' as const), rank, text }]
  })
}

/** What each rank was told, in order. */
function told(lines: readonly Line[]): Record<string, string[]> {
  const ranks: Record<string, string[]> = {}
  for (const { from, rank, text } of lines) {
    if (from !== 'server' || rank === '?') continue
    ranks[rank] ??= []
    ranks[rank].push(text)
  }
  return ranks
}

async function replay(lines: readonly Line[], world: World): Promise<Record<string, string[]>> {
  const clients = new Map<string, Client>()
  for (const { from, rank, text } of lines) {
    if (from !== 'client') continue
    const id = /^cmd=initack pmiid=(\d+)$/.exec(text)?.[1]
    if (id !== undefined) clients.set(id, world.connect(1))
    clients.get(id ?? rank)?.send(`${text}\n`)
    await turn()
  }
  return Object.fromEntries([...clients].map(([rank, client]) => [rank, client.take().trimEnd().split('\n')]))
}

it.each([
  ['pmi1-mpich402-hello.txt', 'kvs_19535_1', [[0, 1, 2, 3]], 4],
  ['pmi1-mpich402-abort.txt', 'kvs_19641_1', [[0, 1, 2, 3]], 0],
  ['pmi1-mpich321-work.txt', 'kvs_2716_1', [[0], [1], [2], [3]], 4],
  ['pmi1-mpich321-names.txt', 'kvs_3542_1', [[0], [1]], 2],
])('%s', async (file, kvs, guests, finalised) => {
  const lines = readVector(file)
  const world = new World()
  world.addJob(layoutOf(kvs, guests))
  expect(await replay(lines, world)).toEqual(told(lines))
  expect(world.reports.filter(({ kind }) => kind === 'finalised')).toHaveLength(finalised)
  expect(world.reports.filter(({ kind }) => kind === 'aborted')).toEqual(
    finalised === 0 ? [{ kind: 'aborted', job: kvs, rank: 1, status: 42, message: '' }] : [],
  )
})

it('pmi1-mpich321-spawn.txt', async () => {
  const lines = readVector('pmi1-mpich321-spawn.txt')
  const world: World = new World({
    async spawn(request) {
      expect(request).toEqual({
        job: 'kvs_3269_1',
        rank: 0,
        commands: [
          {
            argv: ['/opt/app/spawn', 'child', 'arg two'],
            maxprocs: 2,
            cwd: '/tmp',
            env: {},
            info: { wdir: '/tmp' },
          },
        ],
        preput: [
          { key: 'PARENT_ROOT_PORT_NAME', value: 'tag#0$description#vm$port#34677$ifname#192.0.2.2$' },
        ],
      })
      const spawnedBy = { job: request.job, rank: request.rank }
      world.addJob(layoutOf('kvs_3269_2', [[0], [1]], { spawnedBy }), 2, request.preput.slice())
      return { job: 'kvs_3269_2', errcodes: [0, 0] }
    },
  })
  world.addJob(layoutOf('kvs_3269_1', [[0], [1]]))
  expect(await replay(lines, world)).toEqual(told(lines))
})

it('pmi2.txt', async () => {
  const frame = (text: string) => `${String(text.length).padStart(6)}${text}`
  const lines = readVector('pmi2.txt')
  const world = new World()
  world.addJob(layoutOf('kvs_8172_1', [[0], [1], [2]], { universeSize: 3 }))
  const greeted: Client[] = []
  const clients = new Map<string, Client>()
  for (const { from, rank, text } of lines) {
    if (from !== 'client') continue
    if (text.startsWith('cmd=init ')) {
      const client = world.connect(2)
      client.send(`${text}\n`)
      expect(client.take()).toBe('cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n')
      greeted.push(client)
      continue
    }
    const id = /^2:cmd=fullinit;pmirank=(\d+);$/.exec(text)?.[1]
    if (id !== undefined) clients.set(id, greeted.shift() as Client)
    clients.get(id ?? rank)?.send(frame(text.slice(2)))
  }
  for (const [rank, texts] of Object.entries(told(lines))) {
    expect(clients.get(rank)?.take()).toBe(texts.map((text) => frame(text.slice(2))).join(''))
  }
})
