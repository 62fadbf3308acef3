// NFS servers as a node asks them: before guests boot, and while ranks run.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Deadline, type Log, poll } from '../../common/index.ts'
import { findNfsServers, watchNfsServers } from '../../launcher/nfs/servers.ts'
import type { PlanMount } from '../../launcher/plan/mounts.ts'
import { type NullServer, startNullServer } from '../simulators/nfs-null.ts'
import { openScope } from '../support/scope.ts'

let server: NullServer
beforeEach(async () => {
  server = await startNullServer()
})
afterEach(() => server.close())

const mount = (name: string, options: string[]): PlanMount => ({
  kind: 'nfs',
  server: name,
  directory: '/e',
  path: '/d',
  version: 4,
  options,
})
const find = (mounts: PlanMount[], ms = 5_000) => findNfsServers(mounts, { deadline: Deadline.after(ms) })

describe('the servers of a job', () => {
  it('are looked up and asked once each', async () => {
    const port = `port=${server.port}`
    const found = await find([
      mount('localhost', [port]),
      mount('localhost', ['ro', port]),
      { kind: 'share', path: '/w' },
    ])
    expect(found).toEqual([{ name: 'localhost', address: '127.0.0.1', port: server.port, version: 4 }])
    expect(server.calls).toBe(1)
  })
  it('are named with address and port when they refuse', async () => {
    await server.close()
    await expect(find([mount('localhost', [`port=${server.port}`])])).rejects.toMatchObject({
      code: 'LEET_E_NFS_SERVER',
      message: expect.stringMatching(
        new RegExp(`localhost \\(127.0.0.1:${server.port}\\): .*/d.*ECONNREFUSED`),
      ),
    })
  })
  it('are an error at the deadline when they are silent', async () => {
    server.answers = false
    await expect(find([mount('127.0.0.1', [`port=${server.port}`])], 200)).rejects.toMatchObject({
      code: 'LEET_E_NFS_SERVER',
      message: expect.stringMatching(/waited .* for an answer/),
    })
  })
  it('must have an address', async () => {
    await expect(find([mount('no-such-host.invalid', [])])).rejects.toMatchObject({
      code: 'LEET_E_NFS_ADDRESS',
      message: expect.stringContaining('no-such-host.invalid'),
    })
  })
})

describe('while ranks run', () => {
  it('the user is told when a server falls silent and when it is back, once each', async () => {
    const said: string[] = []
    const log: Log = { note: (line) => said.push(line), warn: (line) => said.push(line), detail() {} }
    const found = await find([mount('localhost', [`port=${server.port}`])])
    const scope = openScope()
    watchNfsServers(found, log, scope, 20)
    const saw = (count: number) =>
      poll(
        () => said.length >= count || undefined,
        5,
        { deadline: Deadline.after(5_000) },
        { what: 'a line' },
      )
    try {
      await server.close()
      await saw(1)
      server = await startNullServer(server.port)
      await saw(2)
      await poll(
        () => server.calls > 3 || undefined,
        5,
        { deadline: Deadline.after(5_000) },
        { what: 'calls' },
      )
    } finally {
      await scope.end()
    }
    expect(said).toEqual([
      expect.stringMatching(/localhost .*does not answer .*wait/),
      expect.stringMatching(/localhost .*answers again/),
    ])
  })
})
