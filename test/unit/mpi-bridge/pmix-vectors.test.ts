// Recorded runs of Open MPI 4.1.4 with libpmix 4.2.2, two ranks on two nodes, in both encodings and with described
// buffers. What the clients said is read and must mean what the recorder's log says it means; played to the server,
// it must give the bytes that the clients were content with.
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Frame, FrameReader } from '../../../mpi-bridge/pmix/frames.ts'
import { readHandshake } from '../../../mpi-bridge/pmix/handshake.ts'
import { decodeRequest, type Request } from '../../../mpi-bridge/pmix/requests.ts'
import { type Info, readKeyValue, Type } from '../../../mpi-bridge/pmix/values.ts'
import { type Format, formatOf, Reader } from '../../../mpi-bridge/pmix/wire.ts'
import { type Connection, flag, layoutOf, requestFrame, World } from './pmix-world.ts'

const FILES: readonly [string, Format][] = [
  ['pmix-v41.txt', formatOf(true, false)],
  ['pmix-v3.txt', formatOf(false, false)],
  ['pmix-desc.txt', formatOf(true, true)],
  ['pmix-abort.txt', formatOf(true, false)],
]

interface Line {
  readonly direction: '>' | '<'
  /** `hello` for handshakes and their answers. */
  readonly tag: number | 'hello'
  /** Rank of the job, unknown for answers to handshakes. */
  readonly rank: number
  /** What the recorder made of a request. */
  readonly words: string
  readonly bytes: Buffer
}

function readLog(file: string): { readonly nspace: string; readonly lines: Line[] } {
  const log = readFileSync(new URL(`vectors/${file}`, import.meta.url), 'latin1').split('\n')
  const nspace = /proc=(.*)\.\d+ version/.exec(log.join('\n'))?.[1] ?? ''
  const lines = log.flatMap((line): Line[] => {
    const hello = /> handshake hdr=(\w+) body=(\w+)/.exec(line)
    if (hello) {
      const bytes = Buffer.from(`${hello[1]}${hello[2]}`, 'hex')
      return [{ direction: '>', tag: 'hello', rank: -1, words: '', bytes }]
    }
    const answer = /< handshake-ack (\w+)/.exec(line)
    if (answer) {
      const bytes = Buffer.from(answer[1] as string, 'hex')
      return [{ direction: '<', tag: 'hello', rank: -1, words: '', bytes }]
    }
    const frame = /([<>]) \S+\.(\d+) tag=(\d+) (?:pindex=\d+ (.*) |len=\d+ )(\w+)$/.exec(line)
    if (!frame) return []
    const [, direction, rank, tag, words = '', hex] = frame as unknown as string[]
    return [
      {
        direction: direction as '>' | '<',
        tag: Number(tag),
        rank: Number(rank),
        words: words.trim(),
        bytes: Buffer.from(hex as string, 'hex'),
      },
    ]
  })
  return { nspace, lines }
}

/** A request in the words of the recorder. */
function inWords(request: Request): string {
  const proc = ({ nspace, rank }: { nspace: string; rank: number }) => `${nspace}.${rank | 0}`
  const infos = (all: readonly Info[]) => all.map((info) => ` ${info.key}=${info.data}`).join('')
  switch (request.command) {
    case 'jobInfo':
      return 'REQ'
    case 'finalize':
      return 'FINALIZE'
    case 'commit':
      return `COMMIT ${request.parts
        .flatMap(({ scope, format, bytes }) => {
          const reader = new Reader(format, bytes)
          const keys: string[] = []
          while (reader.remaining > 0) {
            reader.packOf(Type.KVAL)
            const { key, type } = readKeyValue(reader)
            keys.push(`${scope}:${key}(${type})`)
          }
          return keys
        })
        .join(' ')}`
    case 'fence':
      return `FENCENB procs=${request.procs.map(proc).join()}${infos(request.directives)}`
    case 'get':
      return `GETNB ${proc(request.proc)} key=${request.key}${infos(request.directives)}`
    case 'registerEvents':
      return `REGEVENTS codes=[${request.codes}]`
    case 'deregisterEvents':
      return 'DEREGEVENTS'
    case 'abort':
      return `ABORT status=${request.status} msg=${request.message} procs=[${request.procs.map(proc)}]`
    case 'other':
      return request.code === 18 ? 'JOB_CONTROL UNSUPPORTED' : `command ${request.code}`
    default:
      return request.command
  }
}

describe.each(FILES)('%s', (file, format) => {
  const { nspace, lines } = readLog(file)
  const requests = lines.filter((line) => line.direction === '>' && line.tag !== 'hello')

  it('says who the clients are', () => {
    const greetings = lines.filter((line) => line.direction === '>' && line.tag === 'hello')
    const read = greetings.map((line) => {
      const [frame] = new FrameReader('handshake').push(line.bytes) as [Frame]
      return readHandshake(frame.payload)
    })
    expect(read).toEqual(greetings.map((_, rank) => ({ nspace, rank, version: '4.2.2rc2', format })))
    expect(greetings).toHaveLength(2)
  })

  it('is understood', () => {
    expect(requests.length).toBeGreaterThan(15)
    expect(requests.map((line) => inWords(decodeRequest(line.bytes, format)))).toEqual(
      requests.map((line) => line.words),
    )
  })

  it('gets the same answers', () => {
    const world = new World()
    const job = layoutOf(nspace, [[0], [1]])
    world.addJob({ ...job, guests: job.guests.map((guest) => ({ ...guest, name: `leet-1-${guest.guest}` })) })
    const ranks: Connection[] = []
    const heard = new Map<number, Buffer[]>()
    for (const line of lines) {
      if (line.tag === 'hello' && line.direction === '>') {
        const connection = world.connect(ranks.length)
        connection.send(line.bytes)
        ranks.push(connection)
      } else if (line.direction === '>') {
        ranks[line.rank]?.send(requestFrame(line.tag as number, line.bytes))
      } else if (line.tag !== 'hello') {
        heard.set(line.rank, [...(heard.get(line.rank) ?? []), line.bytes])
      }
    }
    const acceptances = lines.filter((line) => line.direction === '<' && line.tag === 'hello')
    for (const [rank, connection] of ranks.entries()) {
      const expected = [acceptances[rank]?.bytes as Buffer, ...(heard.get(rank) as Buffer[])]
      expect(connection.take().toString('hex')).toBe(Buffer.concat(expected).toString('hex'))
    }
    const aborted = { kind: 'aborted', job: nspace, rank: 1, status: 42, message: 'N/A' }
    const finalised = [0, 1].map((rank) => ({ kind: 'finalised', job: nspace, rank }))
    const ended = world.agents.reports.filter(({ kind }) => kind !== 'initialised')
    if (file === 'pmix-abort.txt') expect(ended).toEqual([aborted])
    else expect(ended).toEqual(expect.arrayContaining(finalised))
  })

  it('survives with any bytes changed', () => {
    const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }))
    fc.assert(
      fc.property(fc.nat(), fc.array(change, { minLength: 1, maxLength: 4 }), (choice, changes) => {
        const world = new World()
        const job = layoutOf(nspace, [[0], [1]])
        world.addJob(job)
        const client = world.rank(job, 0, format)
        const { bytes } = requests[choice % requests.length] as Line
        const broken = Buffer.from(bytes)
        for (const [at, value] of changes) broken[at % broken.length] = value
        client.sendPayload(broken)
        expect(client.frames().length).toBeLessThanOrEqual(1)
        expect(world.lines.filter((line) => line.includes('failed:'))).toEqual([])
        // Whatever it was, the next request is served.
        client.get(client.proc, 'key', [flag('pmix.immediate')])
        expect(client.frames()).toHaveLength(1)
        world.service.close()
      }),
      { numRuns: 500 },
    )
  })
})
