// HTTP as OSv's REST server speaks it: HTTP/1.0, one request per connection, a reply of at most two headers, and
// nothing more read after the first request.
import { createServer, type Server, type Socket } from 'node:net'
import { unescape as decodeEscapes } from 'node:querystring'

/** A request as it came. Parameters in the order of OSv: those of a form before those of the query. */
export interface OsvRequest {
  readonly method: string
  /** Decoded, without query. */
  readonly path: string
  readonly query: readonly { readonly name: string; readonly value: string }[]
  /** Content of a multipart upload. */
  readonly upload?: Buffer
}

/** A reply; `undefined` closes the connection without one. */
export type OsvReply =
  | {
      readonly status: 200 | 400 | 404 | 500
      /** Without a body neither header is sent. */
      readonly body?: Buffer | string
      readonly type?: string
    }
  | undefined

const REASONS = { 200: 'OK', 400: 'Bad Request', 404: 'Not Found', 500: 'Internal Server Error' } as const

/** Serves on a free port of 127.0.0.1. `handle` may take its time; a socket that the client closed is forgotten. */
export function serve(handle: (request: OsvRequest, socket: Socket) => Promise<OsvReply>): Server {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    const chunks: Buffer[] = []
    let size = 0
    /** Bytes of the whole request, once its head has come: a large body is not joined again and again. */
    let wanted = 0
    socket.on('data', (chunk: Buffer) => {
      if (wanted < 0) return
      chunks.push(chunk)
      size += chunk.length
      if (size < wanted) return
      const all = chunks.length === 1 ? chunk : Buffer.concat(chunks, size)
      const headEnd = all.indexOf('\r\n\r\n')
      if (headEnd < 0) return
      const [line, ...rest] = all.toString('latin1', 0, headEnd).split('\r\n')
      const headers = new Map(
        rest.map((header) => {
          const colon = header.indexOf(':')
          return [header.slice(0, colon).toLowerCase(), header.slice(colon + 1).trim()]
        }),
      )
      wanted = headEnd + 4 + Number(headers.get('content-length') ?? 0)
      if (size < wanted) return
      const request = readRequest(line as string, headers, all.subarray(headEnd + 4, wanted))
      wanted = -1
      if (!request) return void socket.end('HTTP/1.0 400 Bad Request\r\n\r\n')
      void handle(request, socket).then((reply) => {
        if (!socket.destroyed) answer(socket, request.method, reply)
      })
    })
  })
  server.listen(0, '127.0.0.1')
  return server
}

function answer(socket: Socket, method: string, reply: OsvReply): void {
  if (!reply) return void socket.destroy()
  const { status, body, type } = reply
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const lines = [`HTTP/1.0 ${status} ${REASONS[status]}`]
  if (bytes) lines.push(`Content-Length: ${bytes.length}`)
  if (type !== undefined) lines.push(`Content-Type: ${type}`)
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`)
  socket.end(bytes && method !== 'HEAD' ? Buffer.concat([head, bytes]) : head)
}

function readRequest(
  line: string,
  headers: ReadonlyMap<string, string>,
  content: Buffer,
): OsvRequest | undefined {
  const [method, target] = line.split(' ')
  if (!method || !target?.startsWith('/')) return undefined
  const question = target.indexOf('?')
  const path = decode(question < 0 ? target : target.slice(0, question))
  if (path.includes('..')) return undefined
  const type = headers.get('content-type') ?? ''
  const form = type.startsWith('application/x-www-form-urlencoded')
    ? parameters(content.toString('latin1'))
    : []
  const boundary = /^multipart\/form-data;.*boundary=(.*)$/.exec(type)?.[1]
  const upload = boundary === undefined ? undefined : partOf(content, boundary)
  return {
    method,
    path,
    query: [...form, ...(question < 0 ? [] : parameters(target.slice(question + 1)))],
    ...(upload ? { upload } : {}),
  }
}

/** `%XX` and `+` as OSv decodes them. */
function decode(text: string): string {
  return decodeEscapes(text.replaceAll('+', ' '))
}

export function parameters(text: string): { name: string; value: string }[] {
  return text
    .split('&')
    .filter((word) => word !== '')
    .map((word) => {
      const equals = word.indexOf('=')
      return equals < 0
        ? { name: word, value: '' }
        : { name: word.slice(0, equals), value: decode(word.slice(equals + 1)) }
    })
}

/** The one part that OSv reads: after the first boundary and the header lines, up to the closing boundary. */
function partOf(content: Buffer, boundary: string): Buffer {
  const start = content.indexOf('\r\n\r\n') + 4
  const end = content.lastIndexOf(`\r\n--${boundary}--`)
  return content.subarray(start, Math.max(start, end))
}
