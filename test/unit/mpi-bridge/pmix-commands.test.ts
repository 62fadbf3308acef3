// The commands of PMIx one by one, by their numbers: every request of clients 3.2 to 6, in each encoding, and what each
// is answered (src/include/pmix_globals.h and src/client of OpenPMIx 4.2.2 and 5.0.8).
import { describe, expect, it } from 'vitest'
import { Status } from '../../../mpi-bridge/pmix/constants.ts'
import {
  type Info,
  RANK_WILDCARD,
  readProc,
  Type,
  writeInfo,
  writeProc,
} from '../../../mpi-bridge/pmix/values.ts'
import { type Format, formats, Reader, Writer } from '../../../mpi-bridge/pmix/wire.ts'
import { flag, layoutOf, packInfos, statusOf, turn, World } from './pmix-world.ts'

const JOB = 'leet-job'
const text = (key: string, data: string): Info => ({ key, flags: 0, type: Type.STRING, data })
const user = (writer: Writer) => writer.pack(Type.UINT32).u32(0)
const everybody = (writer: Writer) => {
  writer.pack(Type.SIZE).size(1).pack(Type.PROC)
  writeProc(writer, { nspace: JOB, rank: RANK_WILDCARD })
  packInfos(writer, [])
}
const keys = (writer: Writer) => {
  user(writer).pack(Type.SIZE).size(1).pack(Type.STRING).string('name')
  packInfos(writer, [])
}
const get = (rank: number, key: string) => (writer: Writer) => {
  writer.pack(Type.STRING).string(JOB).pack(Type.PROC_RANK).u32(rank)
  packInfos(writer, [flag('pmix.immediate')])
  writer.pack(Type.STRING).string(key)
}
const commit = (writer: Writer) => {
  const data = new Writer(writer.format).pack(Type.KVAL).string('key').u16(Type.STRING).string('value')
  writer.pack(Type.SCOPE).u8(1).pack(Type.BUFFER)
  writer.u8(writer.format.described ? 2 : 1).sized(data.result())
}

/** What a reply begins with: a status, the job's name, or nothing at all. */
type Answer = number | typeof JOB | 'none'
/** What follows the status. */
type Rest = (reader: Reader) => unknown

const noMore: Rest = (reader) => reader.remaining

/** In an order in which they make sense: what is published is there to be looked up. */
const rows: readonly (readonly [
  code: number,
  name: string,
  body: (writer: Writer) => void,
  answer: Answer,
  rest?: readonly [Rest, unknown],
])[] = [
  [0, 'REQ', () => {}, JOB],
  [2, 'COMMIT', commit, Status.SUCCESS, [noMore, 0]],
  [3, 'FENCENB', everybody, Status.SUCCESS, [noMore, 0]],
  [4, 'GETNB of a rank', get(0, 'key'), Status.SUCCESS],
  [4, 'GETNB of what is not there', get(RANK_WILDCARD, 'pmix.hwlocxml2'), Status.NOT_FOUND, [noMore, 0]],
  [7, 'LOOKUPNB of what is not there', keys, Status.NOT_FOUND],
  [
    6,
    'PUBLISHNB',
    (writer) => {
      user(writer)
      packInfos(writer, [text('name', 'value')])
    },
    Status.SUCCESS,
    [noMore, 0],
  ],
  [
    7,
    'LOOKUPNB',
    keys,
    Status.SUCCESS,
    [
      (reader) => {
        reader.packOf(Type.SIZE)
        const count = reader.size()
        reader.packOf(Type.PDATA, count)
        return [count, readProc(reader), reader.string(), reader.u16(), reader.string()]
      },
      [1, { nspace: JOB, rank: 0 }, 'name', Type.STRING, 'value'],
    ],
  ],
  [8, 'UNPUBLISHNB', keys, Status.SUCCESS, [noMore, 0]],
  [
    9,
    'SPAWNNB',
    (writer) => {
      packInfos(writer, [])
      writer.pack(Type.SIZE).size(1).pack(Type.APP).string('/child').int(1).string('child')
      writer.i32(0).string('/').int(1).size(0)
    },
    Status.SUCCESS,
    [
      (reader) => {
        reader.packOf(Type.STRING)
        return reader.string()
      },
      'leet-child',
    ],
  ],
  // Of one job alone: nobody else is told of.
  [10, 'CONNECTNB', everybody, Status.SUCCESS, [noMore, 0]],
  [11, 'DISCONNECTNB', everybody, Status.SUCCESS, [noMore, 0]],
  [
    12,
    'NOTIFY',
    (writer) => {
      writer.pack(Type.STATUS).i32(-400).pack(Type.DATA_RANGE).u8(3)
      packInfos(writer, [])
    },
    Status.SUCCESS,
    [noMore, 0],
  ],
  [
    13,
    'REGEVENTS',
    (writer) => {
      writer.pack(Type.SIZE).size(2).pack(Type.STATUS, 2).i32(-147).i32(-200)
      packInfos(writer, [])
    },
    Status.SUCCESS,
    [noMore, 0],
  ],
  [
    13,
    'REGEVENTS of the default handler',
    (writer) => [0, 0].map((n) => writer.pack(Type.SIZE).size(n)),
    Status.SUCCESS,
  ],
  [14, 'DEREGEVENTS', (writer) => writer.pack(Type.STATUS).i32(-147), 'none'],
  [
    16,
    'LOG',
    (writer) => {
      writer.pack(Type.TIME).u64(0n).pack(Type.SIZE).size(1).pack(Type.INFO)
      writeInfo(writer, text('pmix.log.stderr', 'said'))
      packInfos(writer, [])
    },
    Status.SUCCESS,
    [noMore, 0],
  ],
  // QUERY, ALLOC, JOB_CONTROL, MONITOR, credentials, forwarded streams, groups, fabric, RESOLVE_PEERS and RESOLVE_NODE: the
  // client then answers by itself, or does without. And numbers that nobody has yet.
  ...[15, 17, 18, 19, ...Array.from({ length: 19 }, (_, nth) => 20 + nth), 39, 200].map(
    (code) => [code, `command ${code}`, () => {}, Status.NOT_SUPPORTED, [noMore, 0]] as const,
  ),
  [
    1,
    'ABORT',
    (writer) => writer.pack(Type.STATUS).i32(42).pack(Type.STRING).string('N/A').pack(Type.SIZE).size(0),
    Status.SUCCESS,
    [noMore, 0],
  ],
  [5, 'FINALIZE', () => {}, Status.SUCCESS, [noMore, 0]],
]

describe.each(formats)('in format %o', (format: Format) => {
  it('each command is answered once, as its table says', async () => {
    const world = new World({ spawn: async () => ({ job: 'leet-child', errcodes: [0] }) })
    const job = layoutOf(JOB, [[0]])
    world.addJob(job)
    const client = world.rank(job, 0, format)
    const said: unknown[] = []
    for (const [code, name, body, expected, rest] of rows) {
      const tag = client.send(code, body)
      await turn()
      const frames = client.frames()
      expect(
        frames.map((frame) => frame.tag),
        name,
      ).toEqual(expected === 'none' ? [] : [tag])
      const [frame] = frames
      if (!frame) {
        said.push([name, 'none'])
        continue
      }
      const reader = new Reader(format, frame.payload)
      if (expected === JOB) reader.packOf(Type.STRING)
      said.push([name, expected === JOB ? reader.string() : statusOf(reader), rest?.[0](reader)])
    }
    expect(said).toEqual(
      rows.map(([, name, , expected, rest]) =>
        expected === 'none' ? [name, expected] : [name, expected, rest?.[1]],
      ),
    )
    expect(world.lines).toContain('rank 0: said')
    expect(world.agents.reports).toContainEqual({
      kind: 'aborted',
      job: JOB,
      rank: 0,
      status: 42,
      message: 'N/A',
    })
  })
})
