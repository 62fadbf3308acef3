// The switches of several nodes joined by cables: real switches and plugs on this machine, a stranger at the door, and what is
// told when a cable breaks.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline, type Scope, waitFor } from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { startLocalSegment } from '../../launcher/networks/local-segment.ts'
import { joinMesh, type MeshCentre, type MeshPart, openMeshCentre } from '../../launcher/networks/mesh.ts'
import { clientTls } from '../../launcher/networks/tls.ts'
import { describeWith } from '../support/needs.ts'
import { scopePerTest } from '../support/scope.ts'

const NODES = 3
const BROADCAST = 'ffffffffffff'

describeWith(['vde_switch', 'vde_plug'], 'a mesh', () => {
  const key = Buffer.alloc(32, 7)
  const limits = () => ({ deadline: Deadline.after(20_000) })
  let folder: string
  let journals: Journal[]
  let switches: string[]
  let centre: MeshCentre
  let parts: MeshPart[]
  /** Of the part of each node. */
  let own: Scope[]
  const scope = scopePerTest()
  const stations: ChildProcessWithoutNullStreams[] = []

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'lmesh-'))
    const nodes = Array.from({ length: NODES }, (_, node) => join(folder, String(node)))
    journals = await Promise.all(nodes.map((root) => Journal.open({ jobId: 'mesh', root })))
    const segments = journals.map((journal) =>
      startLocalSegment({ journal, scope: scope(), guests: NODES, ...limits() }),
    )
    switches = (await Promise.all(segments)).map(({ socketDirectory }) => socketDirectory)
    own = nodes.map((node) => scope().child(node))
    centre = await openMeshCentre(optionsOf(0), NODES - 1)
    const address = { addresses: ['127.0.0.1'], port: centre.port, node: 'node0' }
    parts = await Promise.all([1, 2].map((node) => joinMesh(address, optionsOf(node), limits())))
  })
  afterEach(async () => {
    for (const station of stations.splice(0)) station.kill('SIGKILL')
    await Promise.all(own.map((part) => part.end()))
    await Promise.all(journals.map((journal) => journal.close()))
    rmSync(folder, { recursive: true })
  })
  const optionsOf = (node: number) => ({
    scope: own[node] as Scope,
    journal: journals[node] as Journal,
    socketDirectory: switches[node] as string,
    key,
  })

  /** Something plugged into the switch of a node; frames as vde_plug has them, a length of two bytes before each. */
  const plug = (node: number) => {
    const station = spawn('vde_plug', [switches[node] as string])
    stations.push(station)
    let heard = Buffer.alloc(0)
    const waiting = new Set<() => void>()
    station.stdout.on('data', (bytes: Buffer) => {
      heard = Buffer.concat([heard, bytes])
      for (const look of waiting) look()
    })
    return {
      send(to: string, from: string, text: string) {
        const frame = Buffer.concat([
          Buffer.from(to + from, 'hex'),
          Buffer.from([0x88, 0xb5]),
          Buffer.from(text),
        ])
        station.stdin.write(Buffer.concat([Buffer.from([frame.length >> 8, frame.length & 0xff]), frame]))
      },
      hears: (text: string) =>
        waitFor(
          new Promise<void>((resolve) => {
            const look = () => {
              if (heard.includes(text)) resolve()
            }
            waiting.add(look)
            look()
          }),
          limits(),
          { what: text },
        ),
    }
  }

  it('carries frames between all nodes, whatever they are', async () => {
    const [first, second, third] = [plug(0), plug(1), plug(2)]
    const long = 'x'.repeat(1480)
    // A plug is not there before it is heard.
    const announce = async (one: typeof first, from: string, others: (typeof first)[]) => {
      const again = setInterval(() => one.send(BROADCAST, from, `here is ${from}`), 20)
      await Promise.all(others.map((other) => other.hears(`here is ${from}`)))
      clearInterval(again)
    }
    await announce(first, '020000000001', [second, third])
    await announce(second, '020000000002', [first, third])
    await announce(third, '020000000003', [first, second])
    second.send('020000000003', '020000000002', `${long} from 2 to 3`)
    await third.hears(`${long} from 2 to 3`)
    third.send('020000000001', '020000000003', 'from 3 to 1')
    await first.hears('from 3 to 1')
  })

  it('has no door for whoever lacks the key, nor for one node too many', async () => {
    const stranger = connect({ host: '127.0.0.1', port: centre.port, ...clientTls(Buffer.alloc(32, 8)) })
    await expect(
      new Promise((resolve, reject) => {
        stranger.once('secureConnect', resolve)
        stranger.once('error', reject)
      }),
    ).rejects.toThrow()
    const address = { addresses: ['127.0.0.1'], port: centre.port, node: 'node0' }
    await expect(joinMesh(address, optionsOf(1), limits())).rejects.toMatchObject({
      code: 'LEET_E_UNREACHABLE',
      message: expect.stringContaining('node0, the first node of the mesh'),
    })
  })

  it('tells both ends when a cable is gone', async () => {
    await own[1]?.end()
    const told = await waitFor(Promise.all([centre.ended, parts[0]?.ended]), limits(), { what: 'both ends' })
    expect(told).toEqual([
      expect.objectContaining({
        code: 'LEET_E_NETWORK',
        message: expect.stringMatching(/the cable from .*127/),
      }),
      expect.objectContaining({
        code: 'LEET_E_NETWORK',
        message: expect.stringMatching(/the cable to node0/),
      }),
    ])
  })
})
