// The process manager on real sockets: who may connect, who may not, and what the controller hears of it.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { beforeEach, describe, expect, it } from 'vitest'
import { Deadline, poll, runCommand, silentLog } from '../../common/index.ts'
import type { ServiceAddress } from '../../mpi-bridge/context.ts'
import type { JobLayout, RankReport } from '../../mpi-bridge/job.ts'
import { createLocalExchange } from '../../mpi-bridge/local-exchange.ts'
import { openProcessManager, type ProcessManager } from '../../mpi-bridge/process-manager.ts'
import { isMet, isRoot } from '../support/needs.ts'
import { scopePerTest } from '../support/scope.ts'

const JOB: JobLayout = {
  id: 'leet-0123456789abcdef',
  size: 3,
  guests: [
    { guest: 0, name: 'a', agent: 0, ranks: [0, 1] },
    { guest: 1, name: 'b', agent: 0, ranks: [2] },
  ],
  appnums: [0, 0, 0],
}

/** A raw client: everything it receives until the connection ends. */
class Raw {
  readonly socket: Socket
  received = ''
  ended = false

  constructor({ host, port }: ServiceAddress) {
    this.socket = connect(port, host)
    this.socket.setEncoding('latin1')
    this.socket.on('data', (text: string) => {
      this.received += text
    })
    this.socket.on('error', () => {})
    this.socket.on('close', () => {
      this.ended = true
    })
  }

  write(text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  /** Waits until something is true of this client. */
  async until(what: string, test: (raw: this) => boolean): Promise<this> {
    await poll(() => test(this) || undefined, 2, { deadline: Deadline.after(10_000) }, { what })
    return this
  }

  async answer(): Promise<string> {
    await this.until('an answer', ({ received }) => received.endsWith('\n'))
    const text = this.received
    this.received = ''
    return text
  }
}

describe('the process manager', () => {
  let reports: RankReport[]
  const scope = scopePerTest()
  let manager: ProcessManager
  let addresses: ServiceAddress[]
  const open = async (options: { handshakeMs?: number; uids?: number[]; peer?: string } = {}) => {
    const { peer, ...rest } = options
    manager = openProcessManager({
      scope: scope(),
      exchange: createLocalExchange((report) => reports.push(report)),
      log: silentLog,
      ...rest,
    })
    manager.addJob(JOB)
    addresses = [
      await manager.listen(0, '127.0.0.1', { peer }),
      await manager.listen(1, '127.0.0.1', { peer }),
    ]
  }
  beforeEach(() => {
    reports = []
  })

  const port = (guest: number) => addresses[guest] as ServiceAddress
  const hello = (rank: number, address = port(0)) =>
    `cmd=initack pmiid=${manager.environment(JOB.id, rank, address).PMI_ID}\n`
  const heard = (what: Partial<RankReport>) =>
    poll(
      () =>
        reports.find((report) =>
          Object.entries(what).every(([key, value]) => Reflect.get(report, key) === value),
        ),
      2,
      { deadline: Deadline.after(10_000) },
      { what: `report ${JSON.stringify(what)}` },
    )

  it('gives each rank its own secret and the address that the guest sees', async () => {
    await open()
    const seen = { host: '10.0.2.2', port: 4711 }
    const ids = [0, 1, 2].map((rank) => {
      const { PMI_PORT, PMI_ID, PMI_SPAWNED, PMIX_NAMESPACE, PMIX_RANK } = manager.environment(
        JOB.id,
        rank,
        seen,
      )
      expect({ PMI_PORT, PMI_SPAWNED, PMIX_NAMESPACE, PMIX_RANK }).toEqual({
        PMI_PORT: '10.0.2.2:4711',
        PMIX_NAMESPACE: JOB.id,
        PMIX_RANK: String(rank),
      })
      return Number(PMI_ID)
    })
    expect(new Set(ids).size).toBe(3)
    for (const id of ids) expect(id > 0 && id < 2 ** 31).toBe(true)
    expect(() => manager.environment(JOB.id, 3, seen)).toThrow('rank 3')
  })

  it('tells a spawned rank that it was spawned', async () => {
    await open()
    const spawned = { ...JOB, id: 'leet-child', spawnedBy: { job: JOB.id, rank: 0 } }
    manager.addJob(spawned, [{ key: 'PARENT', value: 'port' }])
    const { PMI_SPAWNED, PMI_ID } = manager.environment(spawned.id, 2, port(1))
    expect(PMI_SPAWNED).toBe('1')
    const client = new Raw(port(1)).write(`cmd=initack pmiid=${PMI_ID}\n`)
    expect(await client.answer()).toContain('cmd=set rank=2\n')
    client.write(`cmd=get kvsname=${spawned.id} key=PARENT\n`)
    expect(await client.answer()).toBe('cmd=get_result rc=0 msg=success value=port\n')
  })

  it('serves PMI-1 and PMI-2 on one port', async () => {
    await open()
    const one = new Raw(port(0)).write(hello(0))
    expect(await one.answer()).toBe('cmd=initack\ncmd=set size=3\ncmd=set rank=0\ncmd=set debug=0\n')
    const two = new Raw(port(0)).write('cmd=init pmi_version=2 pmi_subversion=0\n')
    expect(await two.answer()).toBe('cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n')
    const { PMI_ID } = manager.environment(JOB.id, 1, port(0))
    const init = `cmd=fullinit;pmirank=${PMI_ID};`
    two.write(`${String(init.length).padStart(6)}${init}`)
    await two.until('fullinit-response', ({ received }) => received.includes(';rank=1;size=3;'))
  })

  it('reports what becomes of a rank', async () => {
    await open()
    const client = new Raw(port(0)).write(hello(0))
    await heard({ kind: 'connected', rank: 0 })
    client.write('cmd=init pmi_version=1 pmi_subversion=1\n')
    await heard({ kind: 'initialised', rank: 0 })
    client.write('cmd=finalize\n')
    await heard({ kind: 'finalised', rank: 0 })
    client.socket.destroy()
    const other = new Raw(port(0)).write(hello(1))
    await heard({ kind: 'connected', rank: 1 })
    other.socket.destroy()
    await heard({ kind: 'lost', rank: 1, why: 'its connection ended before MPI_Finalize' })
    expect(reports.map(({ kind, rank }) => `${kind} ${rank}`)).toEqual([
      'connected 0',
      'initialised 0',
      'finalised 0',
      'connected 1',
      'lost 1',
    ])
  })

  it('knows whether a guest has ranks that will end by themselves', async () => {
    await open()
    const first = new Raw(port(0)).write(hello(0))
    await first.answer()
    expect(manager.endRanks(0)).toBe(false)
    first.write('cmd=finalize\n')
    await heard({ kind: 'finalised', rank: 0 })
    expect([manager.endRanks(0), manager.endRanks(1)]).toEqual([true, false])
    first.socket.destroy()
  })

  it('reports an abort once, and nobody lost by it', async () => {
    await open()
    const client = new Raw(port(0)).write(`${hello(0)}cmd=abort exitcode=42 message=it is over\n`)
    await client.until('the end', ({ ended }) => ended)
    await heard({ kind: 'aborted', rank: 0, status: 42, message: 'it is over' })
    await scope().end()
    expect(reports.map(({ kind }) => kind)).toEqual(['connected', 'aborted'])
  })

  it('refuses a second connection of a rank while the first lives', async () => {
    await open()
    const first = new Raw(port(0)).write(hello(0))
    await first.answer()
    const second = new Raw(port(0)).write(hello(0))
    await second.until('the end', ({ ended }) => ended)
    expect(second.received).toBe('')
    first.write('cmd=get_appnum\n')
    expect(await first.answer()).toBe('cmd=appnum appnum=0\n')
  })

  it('lets a rank connect again after it has finalised, even beside the old connection', async () => {
    await open()
    const first = new Raw(port(0)).write(`${hello(0)}cmd=finalize\n`)
    await first.until('finalize_ack', ({ received }) => received.includes('finalize_ack'))
    const second = new Raw(port(0)).write(hello(0))
    expect(await second.answer()).toContain('cmd=set rank=0\n')
    await first.until('the end', ({ ended }) => ended)
  })

  it.each([
    ['another guest', () => hello(2)],
    ['nobody', () => 'cmd=initack pmiid=1\n'],
    ['no protocol', () => 'GET / HTTP/1.1\r\n\r\n'],
    ['a PMI without an id', () => 'cmd=init pmi_version=1 pmi_subversion=1\n'],
    ['PMIx of an unknown namespace', () => `\xff\xff\xff\xff\xff\xff\xff\xff${'\0'.repeat(200)}`],
  ])('closes a connection of %s', async (_, first) => {
    await open()
    const client = new Raw(port(0)).write(first())
    await client.until('the end', ({ ended }) => ended)
    expect(client.received).not.toContain('rank')
    expect(reports).toEqual([])
  })

  it('closes connections that do not say who they are in time', async () => {
    await open({ handshakeMs: 50 })
    const silent = new Raw(port(0))
    const slow = new Raw(port(0)).write('cmd=initack ')
    const rank = new Raw(port(0)).write(hello(0))
    await Promise.all([silent, slow].map((client) => client.until('the end', ({ ended }) => ended)))
    expect(await rank.answer()).toContain('cmd=set rank=0\n')
    expect(rank.ended).toBe(false)
  })

  it('makes room for ranks among silent connections', async () => {
    await open()
    const silent = Array.from({ length: 800 }, () => new Raw(port(0)))
    await Promise.all(silent.map(({ socket }) => once(socket, 'connect')))
    const rank = new Raw(port(0)).write(hello(0))
    expect(await rank.answer()).toContain('cmd=set rank=0\n')
    await poll(
      () => silent.filter(({ ended }) => ended).length >= 250 || undefined,
      5,
      { deadline: Deadline.after(10_000) },
      { what: 'silent connections to be closed' },
    )
    for (const { socket } of silent) socket.destroy()
  })

  it('closes connections from elsewhere than the guest', async () => {
    await open({ peer: '192.0.2.1' })
    const client = new Raw(port(0)).write(hello(0))
    await client.until('the end', ({ ended }) => ended)
    expect(client.received).toBe('')
  })

  it.runIf(isMet('connections of other users', 'root', isRoot()))(
    'closes connections of other users of this machine',
    async () => {
      await open()
      const talk = (uid: number) =>
        runCommand(
          [
            ...['setpriv', `--reuid=${uid}`, '--clear-groups', 'bash', '-c'],
            `exec 3<>/dev/tcp/127.0.0.1/$1; printf '%s\\n' "$2" >&3; head -n 1 <&3`,
            ...['-', String(port(0).port), hello(0).trimEnd()],
          ] as [string, ...string[]],
          { deadline: Deadline.after(10_000) },
        )
      expect((await talk(65_534)).stdout).toBe('')
      expect(reports).toEqual([])
      expect((await talk(0)).stdout).toBe('cmd=initack\n')
    },
  )

  it('does not let a client that reads nothing fill the memory', async () => {
    await open()
    const client = new Raw(port(0)).write(hello(0))
    await client.answer()
    client.socket.pause()
    const request = `cmd=get kvsname=${JOB.id} key=PMI_process_mapping\n`.repeat(1000)
    let sent = 0
    // Our own buffer fills up when the other side stops reading: 200 MB of requests would make 300 MB of replies.
    while (client.socket.writableLength < 2 ** 20 && sent < 200 * 2 ** 20) {
      client.write(request)
      sent += request.length
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(sent).toBeLessThan(200 * 2 ** 20)
    client.socket.resume()
    client.socket.destroy()
  })

  it('says which address it cannot have', async () => {
    await open()
    await expect(manager.listen(0, '192.0.2.1')).rejects.toMatchObject({ code: 'LEET_E_SERVICE_ADDRESS' })
  })
})
