// Controller and agents over real TLS on loopback: who gets in, calls, ranks' input and output, the exchange, loss.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { createInterface } from 'node:readline'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { afterEach, describe, expect, it } from 'vitest'
import { Deadline, endOf, gatherText, LeetError, pause, poll, waitFor } from '../../../common/index.ts'
import { encodeInvitation, newJobKey } from '../../../launcher/agents/invitation.ts'
import { NODE_VARIABLE } from '../../../launcher/agents/main.ts'
import type { BootOrder, RankOrder } from '../../../launcher/node/worker.ts'
import { CONTROLLER, type JobLayout } from '../../../mpi-bridge/index.ts'
import { VERSION as PROCESS_VERSION } from '../../support/agent-process.ts'
import { connectAgent, connectedHub, limits, never, type ObservedHub, observedHub } from './hub.ts'

const hubs: ObservedHub[] = []
const track = <T extends { hub: ObservedHub }>(made: T): T => {
  hubs.push(made.hub)
  return made
}
afterEach(() => Promise.all(hubs.splice(0).map((hub) => hub.scope.end())))

const until = (what: string, holds: () => boolean) =>
  poll(() => (holds() ? true : undefined), 5, limits(), { what })
const bytes = (text: string) => Buffer.from(text)
const texts = (parts: readonly Uint8Array[]) => parts.map((part) => Buffer.from(part).toString())

describe('getting in', () => {
  it('takes the agents of all nodes by whatever name they know', async () => {
    const { hub } = track({ hub: await observedHub(['a', 'b.cluster', 'c']) })
    const agents = await Promise.all([
      connectAgent(hub, ['a.cluster', 'localhost']),
      connectAgent(hub, ['other', 'B']),
      connectAgent(hub, ['unknown'], { node: 2 }),
    ])
    await hub.ready(limits())
    expect(agents.map(({ worker }) => worker.context.exchange.agent)).toEqual([0, 1, 2])
  })

  it('names the nodes from which no agent came, and those from which one came instead', async () => {
    const { hub } = track({ hub: await observedHub(['a', 'b', 'c']) })
    await connectAgent(hub, ['b'])
    await expect(connectAgent(hub, ['x'])).rejects.toThrow(
      'x: an agent came from a node that is not of this job',
    )
    await expect(hub.ready({ deadline: Deadline.after(50) })).rejects.toThrow(
      /no agent came from a, c: agents came from x instead/,
    )
  })

  it('refuses another version and a second agent, saying so at both ends', async () => {
    const { hub } = track({ hub: await observedHub(['a', 'b']) })
    await connectAgent(hub, ['a'])
    await expect(connectAgent(hub, ['a'])).rejects.toThrow('a: the node has an agent already')
    await expect(connectAgent(hub, ['b'], { version: '0.9' })).rejects.toThrow(/LEET 0.9, this is LEET 1.2.3/)
    await expect(hub.ready(limits())).rejects.toThrow(/b: the agent is LEET 0.9/)
  })

  it('lets nobody in without the key, nor after all are there', async () => {
    const { hub } = track({ hub: await observedHub(['a']) })
    const { invitation } = hub
    await expect(
      connectAgent({ ...hub, invitation: { ...invitation, key: newJobKey() } }, ['a']),
    ).rejects.toThrow(/cannot be reached at port \d+: 127.0.0.1: .*bad record mac/)
    for (const options of [{}, { ciphers: 'ALL:@SECLEVEL=0' }]) {
      const stranger = connectTls({
        host: '127.0.0.1',
        port: invitation.port,
        rejectUnauthorized: false,
        ...options,
      })
      await expect(once(stranger, 'secureConnect')).rejects.toThrow(/handshake failure/)
    }
    const noise = connectTcp({ host: '127.0.0.1', port: invitation.port })
    noise.on('error', () => {})
    noise.write(Buffer.alloc(4096, 'GET / HTTP/1.1\r\n'))
    await once(noise, 'close')
    await connectAgent(hub, ['a'])
    await hub.ready(limits())
    await expect(connectAgent(hub, ['a'])).rejects.toThrow('ECONNREFUSED')
  })

  it('tries the addresses of the controller until one answers', async () => {
    const { hub } = track({ hub: await observedHub(['a']) })
    // TEST-NET-1 (RFC 5737) answers nowhere; ::1 is not listened on when there is no IPv6.
    const addresses = ['192.0.2.1', '127.0.0.1']
    await connectAgent({ ...hub, invitation: { ...hub.invitation, addresses } }, ['a'])
    await hub.ready(limits())
  })
})

describe('calls', () => {
  const layout = { id: 'job', size: 1, guests: [], appnums: [0] } satisfies JobLayout
  const plan = { guests: ['á'] } as unknown as BootOrder['plan']

  it('reach the worker of their node with their arguments', async () => {
    const { hub, agents } = track(await connectedHub(2))
    const secrets = {} as BootOrder['secrets']
    const orders = [0, 1].map((node) => ({ plan, node, image: undefined, secrets }))
    await Promise.all(hub.workers.map((worker, node) => worker.boot(orders[node] as BootOrder, never)))
    const ranks = [{ task: 3, argv: ['x', 'ü'], environment: { A: '' } }] as unknown as RankOrder[]
    await hub.workers[1]?.openJob(layout, [{ key: 'k', value: 'v' }])
    await hub.workers[1]?.start('job', ranks)
    hub.workers[1]?.signal('SIGUSR1', [3])
    hub.workers[1]?.signal('SIGTERM', 'all')
    await hub.workers[1]?.stop()
    expect(agents[0]?.worker.calls).toEqual([{ method: 'boot', args: [orders[0]] }])
    expect(agents[1]?.worker.calls).toEqual([
      { method: 'boot', args: [orders[1]] },
      { method: 'openJob', args: [layout, [{ key: 'k', value: 'v' }]] },
      { method: 'start', args: ['job', ranks] },
      { method: 'signal', args: ['SIGUSR1', [3]] },
      { method: 'signal', args: ['SIGTERM', 'all'] },
      { method: 'stop', args: [] },
    ])
  })

  it('fail as the worker fails, with the node', async () => {
    const { hub, agents } = track(await connectedHub(1))
    const details = { code: 'LEET_E_QEMU', what: 'QEMU ended', hint: 'look', exitCode: 5 } as const
    ;(agents[0] as (typeof agents)[0]).worker.answers.boot = () => Promise.reject(new LeetError(details))
    const boot = hub.workers[0]?.boot({ plan } as BootOrder, never)
    await expect(boot).rejects.toMatchObject({ details: { ...details, where: 'n0' } })
  })

  it('are cancelled on the node when their signal fires, with its reason', async () => {
    const { hub, agents } = track(await connectedHub(1))
    const { worker } = agents[0] as (typeof agents)[0]
    let started: () => void = () => {}
    const began = new Promise<void>((resolve) => {
      started = resolve
    })
    worker.answers.boot = async (signal) => {
      started()
      await once(signal, 'abort')
      throw signal.reason
    }
    const abort = new AbortController()
    const boot = hub.workers[0]?.boot({ plan } as BootOrder, abort.signal)
    await began
    // The reason came from elsewhere: no node that only obeys it is named.
    const reason = { code: 'LEET_E_CANCELLED', where: 'node7', what: 'got SIGTERM', exitCode: 143 } as const
    abort.abort(new LeetError(reason))
    await expect(boot).rejects.toMatchObject({ details: reason })
    await expect(hub.workers[0]?.boot({ plan } as BootOrder, abort.signal)).rejects.toThrow('SIGTERM')
  })
})

describe('ranks', () => {
  it('have their events told in order, errors with their node', async () => {
    const { hub, agents } = track(await connectedHub(1))
    const emit = agents[0]?.worker.context.emit
    const error = new LeetError({ code: 'LEET_E_GUEST', what: 'it panicked' })
    emit?.({ kind: 'guest', guest: 0, state: 'ready', detail: 'in 2 s' })
    emit?.({ kind: 'began', task: 4, pid: 17 })
    emit?.({ kind: 'output', task: 4, stream: 'stderr', data: bytes('é\0') })
    emit?.({ kind: 'ended', task: 4, end: { kind: 'exit', status: 3 } })
    emit?.({ kind: 'guest-lost', guest: 0, error })
    await until('events', () => hub.events.length === 5)
    expect(hub.events.map(({ event }) => event)).toEqual([
      { kind: 'guest', guest: 0, state: 'ready', detail: 'in 2 s' },
      { kind: 'began', task: 4, pid: 17 },
      { kind: 'output', task: 4, stream: 'stderr', data: bytes('é\0') },
      { kind: 'ended', task: 4, end: { kind: 'exit', status: 3 } },
      { kind: 'guest-lost', guest: 0, error: expect.objectContaining({ message: 'n0: it panicked' }) },
    ])
  })

  it('cannot fill memory with output that nobody takes, and lose none of it', async () => {
    const { hub, agents } = track(await connectedHub(1))
    const { worker } = agents[0] as (typeof agents)[0]
    hub.workers[0]?.holdOutput(true)
    const chunk = Buffer.alloc(64 * 1024, 'x')
    let [given, taken] = [0, 0]
    // As a rank does: it writes whenever it is not held back.
    const write = () => {
      for (let i = 0; i < 8 && !worker.held && given < 400; i++, given++) {
        worker.context.emit({ kind: 'output', task: 0, stream: 'stdout', data: chunk })
      }
      if (given === 400) worker.context.emit({ kind: 'ended', task: 0, end: { kind: 'exit', status: 0 } })
      else setImmediate(write)
    }
    write()
    await until('the rank to be held back', () => worker.held)
    expect(given * chunk.length).toBeLessThan(2 * 2 ** 20)
    // What is not output still gets through: the node answers, and its fences too.
    await hub.workers[0]?.openJob({ id: 'job', size: 1, guests: [], appnums: [] }, [])
    hub.workers[0]?.holdOutput(false)
    await until('the end of the rank', () => hub.events.at(-1)?.event.kind === 'ended')
    for (const { event } of hub.events) if (event.kind === 'output') taken += event.data.length
    expect(taken).toBe(400 * chunk.length)
  })

  it('get their input no faster than they take it', async () => {
    const { hub, agents } = track(await connectedHub(1))
    const { worker } = agents[0] as (typeof agents)[0]
    const waiting: (() => void)[] = []
    let arrived = 0
    worker.takeInput = (_task, data) => {
      arrived += data.length
      return new Promise((resolve) => waiting.push(resolve))
    }
    const chunk = Buffer.alloc(64 * 1024)
    let written = 0
    const writer = (async () => {
      for (; written < 32; written++) await hub.workers[0]?.write(0, chunk)
      hub.workers[0]?.endInput(0)
    })()
    await until('the window to be full', () => waiting.length === 4)
    expect(written).toBe(3)
    worker.takeInput = async (_task, data) => {
      arrived += data.length
    }
    for (const resolve of waiting) resolve()
    await writer
    await until('the end of the input', () => worker.input.get(0)?.ended === true)
    expect(arrived).toBe(32 * chunk.length)
  })

  it('that are told to the controller by a signal of their agent', async () => {
    const { hub, agents } = track(await connectedHub(2))
    agents[1]?.agent.signalled('SIGTERM')
    await until('the signal', () => hub.signals.length > 0)
    expect(hub.signals).toEqual([{ node: 1, signal: 'SIGTERM' }])
  })
})

describe('the exchange', () => {
  it('gives each participant of a fence what all gave, in their order', async () => {
    const { agents } = track(await connectedHub(4))
    const fence = (node: number, id: string, nodes: number[], data: string) =>
      agents[node]?.worker.context.exchange.fence(id, nodes, bytes(data), limits()) ?? []
    const all = [0, 1, 2, 3].map((node) => fence(node, 'all', [0, 1, 2, 3], `of ${node}`))
    const some = [3, 1].map((node) => fence(node, 'some', [1, 3], node === 3 ? '' : 'one'))
    const alone = fence(2, 'alone', [2], 'mine')
    for (const met of await Promise.all(all)) expect(texts(met)).toEqual(['of 0', 'of 1', 'of 2', 'of 3'])
    for (const met of await Promise.all(some)) expect(texts(met)).toEqual(['one', ''])
    expect(texts(await alone)).toEqual(['mine'])
  })

  it('carries fences of many megabytes while other messages pass', async () => {
    const { hub, agents } = track(await connectedHub(4))
    const gifts = agents.map((_, node) => Buffer.alloc(3 * 2 ** 20, node + 1))
    const met = agents.map(({ worker }, node) =>
      worker.context.exchange.fence('big', [0, 1, 2, 3], gifts[node] as Buffer, limits()),
    )
    await hub.workers[2]?.openJob({ id: 'job', size: 1, guests: [], appnums: [] }, [])
    for (const parts of await Promise.all(met)) {
      expect(parts.every((part, node) => Buffer.compare(part, gifts[node] as Buffer) === 0)).toBe(true)
    }
  })

  it('carries fences along a tree of agents', async () => {
    const { agents } = track(await connectedHub(9, 2))
    const exchanges = agents.map(({ worker }) => worker.context.exchange)
    for (const nodes of [
      [0, 1, 2, 3, 4, 5, 6, 7, 8],
      [3, 6, 7],
      [8, 0],
    ]) {
      const id = `of ${nodes}`
      const met = nodes.map((node) => exchanges[node]?.fence(id, nodes, bytes(`${id}: ${node}`), limits()))
      for (const parts of await Promise.all(met)) {
        expect(texts(parts ?? [])).toEqual(nodes.map((node) => `${id}: ${node}`))
      }
    }
    const apart = [3, 6].map((node) => exchanges[node]?.fence('apart', [3, 6, node - 1], bytes(''), limits()))
    for (const one of apart) await expect(one).rejects.toThrow(/do not agree who takes part/)
  })

  it('breaks fences whose participants disagree', async () => {
    const { agents } = track(await connectedHub(3))
    const [a, b] = agents.map(({ worker }) => worker.context.exchange)
    const met = [a?.fence('f', [0, 1], bytes(''), limits()), b?.fence('f', [1, 2], bytes(''), limits())]
    for (const one of met) await expect(one).rejects.toThrow(/do not agree who takes part/)
  })

  it('passes questions between nodes and controller', async () => {
    const { hub, agents } = track(await connectedHub(3))
    const exchanges = agents.map(({ worker }) => worker.context.exchange)
    const everybody = [hub.exchange, ...exchanges]
    for (const own of everybody) {
      own.answer('who', async (request, from) => bytes(`${own.agent} to ${from}: ${Buffer.from(request)}`))
      own.answer('fail', async () => {
        throw new LeetError({ code: 'LEET_E_NAMES', what: 'unknown name', exitCode: 7 })
      })
    }
    for (const own of everybody) {
      for (const { agent: to } of everybody) {
        const answer = await own.ask(to, 'who', bytes('?'), limits())
        expect(Buffer.from(answer).toString()).toBe(`${to} to ${own.agent}: ?`)
        const failure = own.ask(to, 'fail', bytes(''), limits())
        await expect(failure).rejects.toMatchObject({ code: 'LEET_E_NAMES', exitCode: 7 })
        await expect(own.ask(to, 'nothing', bytes(''), limits())).rejects.toThrow(/nobody answers/)
      }
      await expect(own.ask(9, 'who', bytes(''), limits())).rejects.toThrow(/no node 9/)
    }
  })

  it('spreads broadcasts to all agents and brings reports to the controller', async () => {
    const { hub, agents } = track(await connectedHub(3))
    const heard: string[] = []
    for (const { worker } of agents) {
      const { exchange } = worker.context
      exchange.answer('news', async (message, from) => {
        heard.push(`${exchange.agent} from ${from}: ${Buffer.from(message)}`)
        return new Uint8Array()
      })
    }
    agents[1]?.worker.context.exchange.broadcast('news', bytes('x'))
    await until('all to hear', () => heard.length === 3)
    expect(heard.sort()).toEqual(['0 from 1: x', '1 from 1: x', '2 from 1: x'])
    hub.exchange.broadcast('news', bytes('y'))
    await until('all to hear', () => heard.length === 6)
    expect(heard.slice(3).sort()).toEqual([0, 1, 2].map((n) => `${n} from ${CONTROLLER}: y`))
    agents[2]?.worker.context.exchange.report({ kind: 'initialised', job: 'job', rank: 5 })
    await until('the report', () => hub.reports.length > 0)
    expect(hub.reports).toEqual([{ kind: 'initialised', job: 'job', rank: 5 }])
  })
})

describe('loss', () => {
  const program = fileURLToPath(new URL('../../support/agent-process.ts', import.meta.url))
  const children: ChildProcess[] = []
  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })
  const start = (args: string[], env: NodeJS.ProcessEnv = {}) => {
    const child = spawn(process.execPath, [program, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.push(child)
    const lines: string[] = []
    const warnings = gatherText(child.stderr)
    const reader = createInterface(child.stdout)
    reader.on('line', (line) => lines.push(line))
    return { child, lines, warnings, end: endOf(child) }
  }
  const agentProcess = (invitation: string, node: number) =>
    start(['agent'], { LEET_AGENT: invitation, [NODE_VARIABLE]: `${node}` })

  it('of an agent is told with its node, and fails all that waits for it', async () => {
    const { hub } = track({ hub: await observedHub(['a', 'b', 'c']) })
    const victim = agentProcess(encodeInvitation(hub.invitation), 2)
    const agents = await Promise.all([connectAgent(hub, ['a']), connectAgent(hub, ['b'])])
    await hub.ready(limits())
    expect(PROCESS_VERSION).toBe('1.2.3')
    const [a, b] = agents.map(({ worker }) => worker.context.exchange)
    const fences = [a, b].map((one) => one?.fence('f', [0, 1, 2], bytes(''), limits()))
    // Once it has answered it has all that was sent before; what comes later is lost with it.
    await expect(a?.ask(2, 'who', bytes(''), limits())).rejects.toThrow(/nobody answers/)
    victim.child.kill('SIGSTOP')
    const call = hub.workers[2]?.openJob({ id: 'job', size: 1, guests: [], appnums: [] }, [])
    const question = a?.ask(2, 'who', bytes(''), limits())
    const failures = [...fences, call, question].map((wait) =>
      expect(wait).rejects.toThrow('c: the agent of this node is gone'),
    )
    victim.child.kill('SIGKILL')
    await Promise.all(failures)
    expect(hub.lost.map(({ node, error }) => [node, error.code])).toEqual([[2, 'LEET_E_AGENT_LOST']])
    await expect(b?.fence('g', [1, 2], bytes(''), limits())).rejects.toThrow('c: the agent')
    await expect(hub.workers[2]?.openJob({ id: 'x', size: 1, guests: [], appnums: [] }, [])).rejects.toThrow(
      'c: ',
    )
    await hub.workers[2]?.stop()
    // The others go on.
    const rest = [a, b].map((one) => one?.fence('h', [0, 1], bytes('h'), limits()))
    for (const met of await Promise.all(rest)) expect(texts(met ?? [])).toEqual(['h', 'h'])
  })

  it('of an agent above others in the tree is told as its own, and breaks what goes through it', async () => {
    const { hub } = track({ hub: await observedHub(['a', 'b', 'c', 'd'], 1) })
    const victim = agentProcess(encodeInvitation(hub.invitation), 1)
    const agents = await Promise.all(['a', 'c', 'd'].map((name) => connectAgent(hub, [name])))
    await hub.ready(limits())
    const [a, c, d] = agents.map(({ worker }) => worker.context.exchange)
    // b is between a and these two: once this has met, all links of the tree are there.
    const first = [a, c, d].map((one) => one?.fence('first', [0, 2, 3], bytes('1'), limits()))
    for (const met of await Promise.all(first)) expect(texts(met ?? [])).toEqual(['1', '1', '1'])
    const fences = [a, d].map((one) => one?.fence('second', [0, 2, 3], bytes('2'), limits()))
    const failures = fences.map((one) => expect(one).rejects.toThrow('b: the agent of this node is gone'))
    victim.child.kill('SIGKILL')
    await Promise.all(failures)
    expect(hub.lost.map(({ node }) => node)).toEqual([1])
    await expect(c?.fence('third', [0, 2], bytes(''), limits())).rejects.toThrow('b: the agent')
    const below = [c, d].map((one) => one?.fence('below', [2, 3], bytes('x'), limits()))
    for (const one of below) await expect(one).rejects.toThrow('b: the agent')
  })

  it('of the controller ends its agents within 5 s', async () => {
    const controller = start(['controller', 'a', 'b'])
    await until('the invitation', () => controller.lines.length > 0)
    const agents = [0, 1].map((node) => agentProcess(controller.lines[0] as string, node))
    await until('the agents', () => agents.every(({ lines }) => lines.includes('working')))
    controller.child.kill('SIGKILL')
    const ends = Promise.all(agents.map(({ end }) => end))
    await waitFor(ends, { deadline: Deadline.after(5_000) }, { what: 'the agents to end' })
    for (const { lines } of agents) expect(lines).toEqual(['working', 'stopped', 'status 1'])
  })

  it('is not what the suspension of a process is', async () => {
    const controller = start(['controller', 'a'])
    await until('the invitation', () => controller.lines.length > 0)
    const agent = agentProcess(controller.lines[0] as string, 0)
    await until('the agent', () => agent.lines.includes('working'))
    controller.child.kill('SIGSTOP')
    // Longer than an agent waits for a controller whose host does not answer.
    await pause(5_000)
    controller.child.kill('SIGCONT')
    agent.child.kill('SIGUSR1')
    await until('the signal', () => controller.lines.includes('signal 0 SIGUSR1'))
    expect(agent.lines).toEqual(['working'])
  })

  it('is what the suspension of a process is when it lasts too long', async () => {
    const controller = start(['controller', 'a'], { PATIENCE_MS: '1000' })
    await until('the invitation', () => controller.lines.length > 0)
    const agent = agentProcess(controller.lines[0] as string, 0)
    await until('the agent', () => agent.lines.includes('working'))
    controller.child.kill('SIGSTOP')
    await agent.end
    expect(agent.lines).toEqual(['working', 'stopped', 'status 1'])
    expect(agent.warnings()).toMatch(/the controller of the job is gone.*no sign of life for 1 s/s)
  })

  it('is none when the job has ended in order', async () => {
    const hub = await observedHub(['a'])
    const { child, lines, end } = agentProcess(encodeInvitation(hub.invitation), 0)
    await hub.ready(limits())
    child.kill('SIGTERM')
    await until('the signal', () => hub.signals.length > 0)
    await hub.workers[0]?.stop()
    await hub.scope.end()
    expect(await end).toEqual({ kind: 'exit', status: 0 })
    expect(lines).toEqual(['working', 'stopped', 'status 0'])
    expect(hub.lost).toEqual([])
  })
})
