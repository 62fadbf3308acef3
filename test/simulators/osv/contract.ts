// What a guest's REST server was seen to answer, as a contract that the simulator and a real guest must keep: the
// transcript beside this file, recorded with curl on OSv v0.57.0-398-g0e34e4dc.
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'

/** One exchange of the transcript. */
export interface Exchange {
  /** Method and target. */
  readonly request: string
  /** A form as curl -d sends it. */
  readonly form?: string
  /** The content of a file as curl -F sends it. */
  readonly upload?: string
  readonly status: number
  /** Content-Type and Content-Length; absent when they were not sent. */
  readonly type?: string
  readonly length?: number
  readonly reply?: string
}

/** The exchanges, in order: later ones depend on what earlier ones did. */
export function readTranscript(): Exchange[] {
  return JSON.parse(readFileSync(new URL('transcripts.json', import.meta.url), 'utf8'))
}

/** What a server answers to one exchange of the transcript, in the transcript's form. */
export async function exchangeWith(port: number, asked: Exchange): Promise<Exchange> {
  const { request, form, upload } = asked
  const boundary = '------------------------ddada6e0a1bffc1e'
  const content = form ?? (upload === undefined ? '' : partFor(boundary, upload))
  const type =
    form !== undefined ? 'application/x-www-form-urlencoded' : `multipart/form-data; boundary=${boundary}`
  const lines = [`${request} HTTP/1.1`, `Host: 127.0.0.1:${port}`, 'User-Agent: curl/7.88.1', 'Accept: */*']
  if (content !== '') lines.push(`Content-Length: ${content.length}`, `Content-Type: ${type}`)
  const text = await talk(port, `${lines.join('\r\n')}\r\n\r\n${content}`)
  const [head = '', ...body] = text.split('\r\n\r\n')
  const header = (name: string) => new RegExp(`^${name}: (.*)$`, 'mi').exec(head)?.[1]?.trim()
  const length = header('Content-Length')
  const reply = body.join('\r\n\r\n')
  return {
    request,
    ...(form === undefined ? {} : { form }),
    ...(upload === undefined ? {} : { upload }),
    status: Number(/^HTTP\/1\.0 (\d{3})/.exec(head)?.[1]),
    ...(header('Content-Type') === undefined ? {} : { type: header('Content-Type') }),
    ...(length === undefined ? {} : { length: Number(length) }),
    ...(reply === '' || /^(HEAD|OPTIONS)/.test(request) ? {} : { reply }),
  }
}

/** An exchange without what differs between guests and from moment to moment. */
export function comparable(exchange: Exchange): Exchange {
  const { length, reply, ...rest } = exchange
  const differs = /^\w+ \/(os\/(uptime|memory|cmdline)|hardware|fs\/df)/.test(exchange.request)
  if (differs) return rest
  const same = reply
    ?.replace(/"(accessTime|modificationTime)": \d+/g, '"$1": 0')
    .replace(/"length": \d+(?=[^}]*"type": "DIRECTORY")/g, '"length": 0')
    .replace(/"OSV_(VERSION|CPUS|IP)=[^"]*"/g, '"OSV_$1="')
  const sized = same === reply && length !== undefined ? { length } : {}
  return { ...rest, ...sized, ...(same === undefined ? {} : { reply: same }) }
}

/** Sends bytes, and gives all that comes back until the server closes. */
export function talk(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', reject)
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('utf8')))
  })
}

function partFor(boundary: string, content: string): string {
  return [
    `--${boundary}`,
    'Content-Disposition: form-data; name="filename"; filename="up.txt"',
    'Content-Type: text/plain',
    '',
    content,
    `--${boundary}--`,
    '',
  ].join('\r\n')
}
