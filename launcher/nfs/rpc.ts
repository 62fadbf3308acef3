// Whether an NFS server answers: one call of procedure NULL over TCP, which every server answers to everybody.
// RFC 5531 (ONC RPC version 2: call, reply, record marking), RFC 1813 and RFC 8881 (programs of NFS).
import { createConnection } from 'node:net'
import { LeetError, type WaitLimits, waitFor } from '../../common/index.ts'

/** Program number of NFS. */
const NFS_PROGRAM = 100_003
const RPC_VERSION = 2
const CALL = 0
const REPLY = 1
/** A reply to NULL has 24 bytes, with a verifier of at most 400; more is not an RPC server. */
const LONGEST_REPLY = 1024

/** What a server said to procedure NULL. */
export type NullReply =
  | { readonly kind: 'ok' }
  /** It has the program in other versions. */
  | { readonly kind: 'versions'; readonly low: number; readonly high: number }
  | { readonly kind: 'refused'; readonly why: string }

/** A call of procedure NULL of NFS without credentials, with its record mark. */
export function encodeNullCall(xid: number, version: number): Buffer {
  // xid, call, RPC version, program, version, procedure; then flavour AUTH_NONE and length 0, twice.
  const words = [xid, CALL, RPC_VERSION, NFS_PROGRAM, version, 0, 0, 0, 0, 0]
  const bytes = Buffer.alloc(4 + 4 * words.length)
  bytes.writeUInt32BE(0x8000_0000 + 4 * words.length, 0)
  for (const [index, word] of words.entries()) bytes.writeUInt32BE(word >>> 0, 4 + 4 * index)
  return bytes
}

/** Reads the reply to call `xid` from all bytes so far; undefined when there are more to come. */
export function parseNullReply(bytes: Buffer, xid: number): NullReply | undefined {
  const nonsense = { kind: 'refused', why: 'what answers there is no RPC server' } as const
  if (bytes.length < 4) return undefined
  const mark = bytes.readUInt32BE(0)
  const length = mark & 0x7fff_ffff
  // Nobody cuts so short a reply into several fragments.
  if (mark < 0x8000_0000 || length < 12 || length > LONGEST_REPLY) return nonsense
  if (bytes.length < 4 + length) return undefined
  const reply = bytes.subarray(4, 4 + length)
  const word = (at: number) => (at + 4 <= reply.length ? reply.readUInt32BE(at) : undefined)
  if (word(0) !== xid >>> 0 || word(4) !== REPLY) return nonsense
  if (word(8) === 1) return { kind: 'refused', why: 'the server denies calls without credentials' }
  const verifier = word(16)
  if (word(8) !== 0 || verifier === undefined) return nonsense
  const status = 20 + verifier + ((4 - (verifier % 4)) % 4)
  switch (word(status)) {
    case 0:
      return { kind: 'ok' }
    case 1:
      return { kind: 'refused', why: 'the RPC server there does not serve NFS' }
    case 2:
      return { kind: 'versions', low: word(status + 4) ?? 0, high: word(status + 8) ?? 0 }
    default:
      return nonsense
  }
}

/** Where an NFS server is to answer. */
export interface NfsEndpoint {
  /** IPv4 address. */
  readonly address: string
  readonly port: number
  readonly version: 3 | 4
}

/** Resolves when the server answers; else rejects with what came instead: the system's error, or one of ours. */
export async function askNfsServer(
  { address, port, version }: NfsEndpoint,
  limits: WaitLimits,
): Promise<void> {
  const xid = Math.floor(Math.random() * 2 ** 32)
  const socket = createConnection({ host: address, port })
  const reply = new Promise<NullReply>((resolve, reject) => {
    let bytes = Buffer.alloc(0)
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the server closed the connection')))
    socket.once('connect', () => socket.write(encodeNullCall(xid, version)))
    socket.on('data', (data) => {
      bytes = Buffer.concat([bytes, data])
      const said = parseNullReply(bytes, xid)
      if (said) resolve(said)
    })
  })
  try {
    const said = await waitFor(reply, limits, { what: 'an answer', where: `${address}:${port}` })
    if (said.kind === 'ok') return
    const why =
      said.kind === 'refused'
        ? said.why
        : `it serves NFS versions ${said.low} to ${said.high}, not ${version}`
    throw new LeetError({ code: 'LEET_E_NFS_SERVER', what: why })
  } finally {
    socket.destroy()
    reply.catch(() => {})
  }
}
