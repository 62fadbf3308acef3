// OSv's REST server as a client sees it (modules/httpserver-api, observed on v0.57.0-398-g0e34e4dc): HTTP/1.0, one request
// per connection, no authentication but a client certificate under TLS. Every request has a deadline and can be aborted;
// what OSv refuses comes as OsvRefusal with its own message.
import { openAsBlob } from 'node:fs'
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import {
  abortReason,
  LeetError,
  type LeetErrorDetails,
  messageOf,
  setTimer,
  type WaitLimits,
} from '../../common/index.ts'

/** Where a guest's REST server is. */
export interface OsvEndpoint {
  /** Name of the guest, for messages. */
  readonly guest: string
  /** Numeric address and port to connect to. */
  readonly host: string
  readonly port: number
  /** PEM texts of the job's CA and this client; without them the connection is plain. */
  readonly tls?: {
    readonly ca: string
    readonly cert: string
    readonly key: string
    /** Name that the server's certificate must have. */
    readonly serverName: string
  }
}

/** What does the transport; undici with a connection for each request unless told otherwise. */
export interface OsvTransport {
  /** For undici's `request`. */
  readonly dispatcher?: Dispatcher
  /** Used instead of undici. */
  readonly fetch?: typeof globalThis.fetch
}

/** A request that OSv answered with another status than 200. */
export class OsvRefusal extends LeetError {
  /** HTTP status. */
  readonly status: number

  constructor(status: number, details: LeetErrorDetails) {
    super(details)
    this.name = 'OsvRefusal'
    this.status = status
  }
}

/** A file or directory of the guest. `length` in bytes, times in seconds since 1970. */
export interface OsvFileStatus {
  readonly name: string
  readonly type: 'FILE' | 'DIRECTORY' | 'SYMLINK'
  readonly length: number
  readonly modified: number
}

/** What a guest shows of its set-up. */
export interface OsvLook {
  readonly hostname: string
  /** In the order in which they were asked for; one that is not there is empty. Times are in seconds, and 0 on the image. */
  readonly directories: readonly { readonly entries: readonly OsvFileStatus[]; readonly modified: number }[]
}

/** One call of a batch. Parameters of one call carry over to those after it: only the first may have any. */
export interface BatchCall {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly path: string
}

/** The answer to one call of a batch; `body` is parsed JSON, undefined when it was empty. */
export interface BatchAnswer {
  readonly status: number
  readonly body: unknown
}

/** Largest reply that is taken as text or JSON. */
const REPLY_LIMIT = 64 << 20
/** Calls in one request. */
const BATCH = 64
/** How long a connection may take, with its handshake: a busy, emulated guest takes seconds for one. */
const CONNECT_MS = 30_000
/** OSv closes the connection without a reply when it is told to power off. */
const EMPTY_REPLY = /other side closed|socket hang up|ECONNRESET|fetch failed|terminated/i

type Query = Readonly<Record<string, string>>

interface Reply {
  readonly status: number
  readonly body: AsyncIterable<Uint8Array>
}

/** A client of one guest's REST server. Nothing is kept open between two calls. */
export class OsvRest {
  readonly endpoint: OsvEndpoint
  readonly #transport: OsvTransport
  #own: Promise<{ request: typeof import('undici').request; agent: Dispatcher }> | undefined

  constructor(endpoint: OsvEndpoint, transport: OsvTransport = {}) {
    this.endpoint = endpoint
    this.#transport = transport
  }

  /** Loads what the first request needs: there is time for it while a guest boots. */
  prepare(): void {
    if (!this.#transport.fetch) this.#undici().catch(() => {})
  }

  /** The environment that programs started now get, as `NAME=VALUE`. */
  async environment(limits: WaitLimits): Promise<string[]> {
    return strings(await this.#json('GET', '/env/', {}, limits), () => this.#nonsense('GET /env/'))
  }

  /** A value of a variable; undefined when it is not set. */
  async variable(name: string, limits: WaitLimits): Promise<string | undefined> {
    try {
      return await this.#text('GET', variablePath(name), {}, limits)
    } catch (error) {
      if (error instanceof OsvRefusal && error.status === 400) return undefined
      throw error
    }
  }

  /** Sets a variable. OSv refuses an empty value. */
  async setVariable(name: string, value: string, limits: WaitLimits): Promise<void> {
    await this.#json('POST', variablePath(name), { val: value }, limits)
  }

  /** Also when it is not set. */
  async unsetVariable(name: string, limits: WaitLimits): Promise<void> {
    await this.#json('DELETE', variablePath(name), {}, limits)
  }

  /**
   * Starts what `command` (from `quoteCommand`) says. Gives the ids of the main threads. With `newProgram` the program has
   * its own copy of the environment; a guest takes 31 such starts from boot to boot, failed ones included.
   */
  async startProgram(command: string, newProgram: boolean, limits: WaitLimits): Promise<number[]> {
    const ids = await this.#text('PUT', '/app/', { command, new_program: String(newProgram) }, limits)
    if (!/^\d+( \d+)*$/.test(ids)) throw this.#nonsense('PUT /app/')
    return ids.split(' ').map(Number)
  }

  /** Whether a thread has ended, or never existed: OSv does not tell these apart. */
  async finished(thread: number, limits: WaitLimits): Promise<boolean> {
    return (await this.#text('GET', '/app/finished', { tid: String(thread) }, limits)) === '1'
  }

  async readFile(path: string, limits: WaitLimits, limit = REPLY_LIMIT): Promise<Buffer> {
    const { body } = await this.#ask('GET', filePath(path), { op: 'GET' }, limits)
    return this.#gather(body, limit, `GET ${path}`)
  }

  /** The bytes of a file as they arrive. */
  async downloadFile(path: string, limits: WaitLimits): Promise<AsyncIterable<Uint8Array>> {
    const { body } = await this.#ask('GET', filePath(path), { op: 'GET' }, limits)
    return body
  }

  async fileStatus(path: string, limits: WaitLimits): Promise<OsvFileStatus> {
    return this.#status(await this.#json('GET', filePath(path), { op: 'GETFILESTATUS' }, limits))
  }

  /** What is in a directory, without `.` and `..`. The root itself cannot be listed. */
  async listDirectory(path: string, limits: WaitLimits): Promise<OsvFileStatus[]> {
    return this.#list(await this.#json('GET', filePath(path), { op: 'LISTSTATUS' }, limits))
  }

  /** The guest's host name and these directories, in one request: what shows that a guest is set up. */
  async look(paths: readonly string[], limits: WaitLimits): Promise<OsvLook> {
    const [host, ...lists] = await this.batch(
      [
        { method: 'GET', path: '/os/hostname' },
        ...paths.map((path) => ({
          method: 'GET' as const,
          path: withQuery(filePath(path), { op: 'LISTSTATUS' }),
        })),
      ],
      limits,
    )
    if (typeof host?.body !== 'string') throw this.#nonsense('GET /os/hostname')
    const directories = lists.map(({ status, body }) =>
      status === 200
        ? { entries: this.#list(body), modified: this.#itself(body) }
        : { entries: [], modified: 0 },
    )
    return { hostname: host.body, directories }
  }

  /** Several directories, each with its parents, in few requests. */
  async makeDirectories(paths: readonly string[], limits: WaitLimits): Promise<void> {
    await this.#forEach('PUT', paths, 'MKDIRS', limits)
  }

  /** What is in each of several directories, as `listDirectory` says it, in few requests. */
  async listDirectories(paths: readonly string[], limits: WaitLimits): Promise<OsvFileStatus[][]> {
    return (await this.#forEach('GET', paths, 'LISTSTATUS', limits)).map((list) => this.#list(list))
  }

  /** Removes files and empty directories in this order, in few requests. */
  async deleteFiles(paths: readonly string[], limits: WaitLimits): Promise<void> {
    await this.#forEach('DELETE', paths, 'DELETE', limits)
  }

  /** Writes a short text, to the end of the file unless `overwrite`. */
  async writeFile(path: string, content: string, overwrite: boolean, limits: WaitLimits): Promise<void> {
    await this.#file('PUT', path, { op: 'WRITE', content, overwrite: String(overwrite) }, limits)
  }

  /** Sends bytes, or a file of this host, as a whole file. */
  async uploadFile(
    path: string,
    source: Uint8Array | { readonly host: string },
    limits: WaitLimits,
  ): Promise<void> {
    const content = source instanceof Uint8Array ? new Blob([copyOf(source)]) : await openAsBlob(source.host)
    const { type, body } = multipart(content)
    const { body: reply } = await this.#ask('POST', filePath(path), {}, limits, body, type)
    await this.#gather(reply, REPLY_LIMIT, `POST ${path}`)
  }

  async operatingSystem(
    what: 'name' | 'version' | 'vendor' | 'date' | 'hostname' | 'cmdline',
    limits: WaitLimits,
  ): Promise<string> {
    return this.#text('GET', `/os/${what}`, {}, limits)
  }

  /** Seconds since boot. */
  async uptime(limits: WaitLimits): Promise<number> {
    return this.#number('/os/uptime', limits)
  }

  /** The kernel log, where `program X returned N` stands also without --verbose. */
  async kernelLog(limits: WaitLimits): Promise<string> {
    return this.#text('GET', '/os/dmesg', {}, limits)
  }

  /** Ends the guest at once. OSv closes the connection without a reply; QEMU exits. */
  powerOff(limits: WaitLimits): Promise<void> {
    return this.#lastRequest('/os/poweroff', limits)
  }

  /** Stops all programs, unmounts the file systems and ends the guest. OSv closes the connection without a reply; QEMU exits. */
  shutDown(limits: WaitLimits): Promise<void> {
    return this.#lastRequest('/os/shutdown', limits)
  }

  async #lastRequest(path: string, limits: WaitLimits): Promise<void> {
    try {
      await this.#json('POST', path, {}, limits)
    } catch (error) {
      if (
        !(
          error instanceof LeetError &&
          error.code === 'LEET_E_OSV_UNREACHABLE' &&
          isEmptyReply(error.details.cause)
        )
      )
        throw error
    }
  }

  /** Several calls in one request, one after the other; one that is refused does not stop the others. */
  async batch(calls: readonly BatchCall[], limits: WaitLimits): Promise<BatchAnswer[]> {
    const list = calls.map(({ method, path }) => ({ method, relative_url: path }))
    const { type, body } = multipart(new Blob([JSON.stringify(list)]))
    const reply = await this.#ask('POST', '/api/batch', {}, limits, body, type)
    const text = (await this.#gather(reply.body, REPLY_LIMIT, 'POST /api/batch')).toString('utf8')
    // A call with an empty reply leaves `"body":}` behind.
    const answers = this.#parse(text.replaceAll('"body":}', '"body":null}'), 'POST /api/batch')
    if (!Array.isArray(answers) || answers.length !== calls.length) throw this.#nonsense('POST /api/batch')
    return answers.map(({ code, body: answer }) => ({ status: Number(code), body: answer ?? undefined }))
  }

  async #file(method: string, path: string, query: Query, limits: WaitLimits): Promise<void> {
    const { body } = await this.#ask(method, filePath(path), query, limits)
    await this.#gather(body, REPLY_LIMIT, `${method} ${path}`)
  }

  async #text(method: string, path: string, query: Query, limits: WaitLimits): Promise<string> {
    const value = await this.#json(method, path, query, limits)
    if (typeof value !== 'string') throw this.#nonsense(`${method} ${path}`)
    return value
  }

  async #number(path: string, limits: WaitLimits): Promise<number> {
    const value = Number(await this.#json('GET', path, {}, limits))
    if (!Number.isFinite(value)) throw this.#nonsense(`GET ${path}`)
    return value
  }

  async #json(method: string, path: string, query: Query, limits: WaitLimits): Promise<unknown> {
    const what = `${method} ${path}`
    const { body } = await this.#ask(method, path, query, limits)
    return this.#parse((await this.#gather(body, REPLY_LIMIT, what)).toString('utf8'), what)
  }

  #parse(text: string, what: string): unknown {
    try {
      return JSON.parse(text)
    } catch {
      throw this.#nonsense(what)
    }
  }

  /** One operation on many paths. Its only parameter is the same for all: in a batch it carries over. */
  async #forEach(
    method: BatchCall['method'],
    paths: readonly string[],
    op: string,
    limits: WaitLimits,
  ): Promise<unknown[]> {
    const bodies: unknown[] = []
    for (let from = 0; from < paths.length; from += BATCH) {
      const part = paths.slice(from, from + BATCH)
      const calls = part.map((path) => ({ method, path: withQuery(filePath(path), { op }) }))
      for (const [index, { status, body }] of (await this.batch(calls, limits)).entries()) {
        if (status !== 200) throw this.#refusal(status, `${method} ${filePath(part[index] as string)}`, body)
        bodies.push(body)
      }
    }
    return bodies
  }

  #refusal(status: number, what: string, answer: unknown): OsvRefusal {
    return new OsvRefusal(status, {
      code: 'LEET_E_OSV_REST',
      where: this.endpoint.guest,
      what: `OSv refused ${what} (${status})`,
      why: messageIn(answer),
    })
  }

  #list(value: unknown): OsvFileStatus[] {
    if (!Array.isArray(value)) throw this.#nonsense('a directory')
    return value.map((entry) => this.#status(entry)).filter(({ name }) => name !== '.' && name !== '..')
  }

  /** When a directory itself was last changed. */
  #itself(value: unknown): number {
    const all = Array.isArray(value) ? value.map((entry) => this.#status(entry)) : []
    return all.find(({ name }) => name === '.')?.modified ?? 0
  }

  #status(value: unknown): OsvFileStatus {
    const entry = (value ?? {}) as Record<string, unknown>
    const { pathSuffix, type, length, modificationTime } = entry
    if (typeof pathSuffix !== 'string' || (type !== 'FILE' && type !== 'DIRECTORY' && type !== 'SYMLINK')) {
      throw this.#nonsense('a file’s status')
    }
    return { name: pathSuffix, type, length: Number(length), modified: Number(modificationTime) }
  }

  /** One request. Rejects with OsvRefusal for any status but 200. */
  async #ask(
    method: string,
    path: string,
    query: Query,
    limits: WaitLimits,
    body?: Blob,
    type?: string,
  ): Promise<Reply> {
    const { signal, expired, release } = signalOf(limits)
    const what = `${method} ${path}`
    let reply: Reply
    try {
      reply = await this.#send(method, withQuery(path, query), signal, body, type)
    } catch (error) {
      release()
      throw this.#failure(what, error, limits, expired())
    }
    const guarded: Reply = {
      status: reply.status,
      body: this.#guard(reply.body, what, limits, expired, release),
    }
    if (reply.status === 200) return guarded
    const text = (await this.#gather(guarded.body, 1 << 20, what)).toString('utf8')
    throw this.#refusal(reply.status, what, parsed(text) ?? text)
  }

  /** The body, with its errors told as those of the request. */
  async *#guard(
    body: AsyncIterable<Uint8Array>,
    what: string,
    limits: WaitLimits,
    expired: () => boolean,
    release: () => void,
  ): AsyncGenerator<Uint8Array> {
    try {
      yield* body
    } catch (error) {
      throw this.#failure(what, error, limits, expired())
    } finally {
      release()
    }
  }

  async #send(
    method: string,
    path: string,
    signal: AbortSignal,
    body: Blob | undefined,
    type: string | undefined,
  ): Promise<Reply> {
    const { host, port, tls } = this.endpoint
    const origin = `${tls ? 'https' : 'http'}://${host}:${port}`
    const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type }
    if (this.#transport.fetch) {
      const response = await this.#transport.fetch(`${origin}${path}`, { method, headers, body, signal })
      return { status: response.status, body: response.body ?? empty() }
    }
    const { request, agent } = await this.#undici()
    if (body !== undefined) headers['content-length'] = String(body.size)
    const response = await request(`${origin}${path}`, {
      method: method as Dispatcher.HttpMethod,
      headers,
      ...(body === undefined ? {} : { body: Readable.fromWeb(body.stream()) }),
      signal,
      dispatcher: agent,
      // OSv closes after each reply; said beforehand, undici does not try to use the connection again.
      reset: true,
    })
    return { status: response.statusCode, body: response.body }
  }

  #undici() {
    this.#own ??= Promise.all([import('undici'), import('node:tls')]).then(([undici, secure]) => {
      const { Agent, request } = undici
      const { tls } = this.endpoint
      const agent =
        this.#transport.dispatcher ??
        new Agent({
          pipelining: 0,
          headersTimeout: 0,
          bodyTimeout: 0,
          connect: {
            timeout: CONNECT_MS,
            // Made once: certificates are not read again for each connection.
            ...(tls ? { secureContext: secure.createSecureContext(tls), servername: tls.serverName } : {}),
          },
        })
      return { request, agent }
    })
    return this.#own
  }

  async #gather(body: AsyncIterable<Uint8Array>, limit: number, what: string): Promise<Buffer> {
    const chunks: Uint8Array[] = []
    let size = 0
    for await (const chunk of body) {
      size += chunk.length
      if (size > limit) throw this.#nonsense(what, `its reply is longer than ${limit} bytes`)
      chunks.push(chunk)
    }
    return Buffer.concat(chunks)
  }

  #failure(what: string, error: unknown, limits: WaitLimits, expired: boolean): Error {
    if (error instanceof LeetError) return error
    const { signal } = limits
    if (expired) {
      return new LeetError({
        code: 'LEET_E_DEADLINE',
        where: this.endpoint.guest,
        what: `${what} was not answered in time`,
        hint: 'see the console log of the guest',
      })
    }
    if (signal?.aborted) return abortReason(signal)
    return new LeetError({
      code: 'LEET_E_OSV_UNREACHABLE',
      where: this.endpoint.guest,
      what: `${what} failed`,
      why: reasonOf(error),
      cause: error,
    })
  }

  #nonsense(what: string, why = 'its reply is not what OSv’s REST server says'): LeetError {
    return new LeetError({
      code: 'LEET_E_OSV_REST',
      where: this.endpoint.guest,
      what: `${what} was not understood`,
      why,
    })
  }
}

/** A signal for one request, and whether it was the deadline that aborted it. */
function signalOf({ deadline, signal }: WaitLimits) {
  const controller = new AbortController()
  let late = false
  const timer = setTimer(deadline.remaining(), () => {
    late = true
    controller.abort()
  })
  const onAbort = () => controller.abort()
  if (signal?.aborted) controller.abort()
  signal?.addEventListener('abort', onAbort, { once: true })
  return {
    signal: controller.signal,
    expired: () => late,
    release: () => {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
    },
  }
}

function withQuery(path: string, query: Query): string {
  const words = Object.entries(query).map(([name, value]) => {
    if (!value.isWellFormed()) throw restError(`a value of ${name} is not well-formed text`)
    return `${name}=${encodeURIComponent(value)}`
  })
  return words.length === 0 ? path : `${path}?${words.join('&')}`
}

function variablePath(name: string): string {
  if (!/^[^=/\0]+$/.test(name) || !name.isWellFormed())
    throw restError(`"${name}" is not a name of a variable`)
  return `/env/${encodeURIComponent(name)}`
}

function filePath(path: string): string {
  // OSv refuses `..` anywhere in a request, also within a name.
  if (!path.startsWith('/') || path.includes('..') || path.includes('\0') || !path.isWellFormed()) {
    throw restError(`${JSON.stringify(path)} cannot be said to OSv: an absolute path without ".." is needed`)
  }
  return `/file${path.split('/').map(encodeURIComponent).join('/')}`
}

function restError(what: string): LeetError {
  return new LeetError({ code: 'LEET_E_OSV_REST', what })
}

/**
 * The one form that OSv's parser takes (connection.cc): one part with two header lines, as curl sends it. The parser gets
 * the length of the content from Content-Length, less what it expects around the content.
 */
function multipart(content: Blob): { type: string; body: Blob } {
  const boundary = `leet${crypto.randomUUID().replaceAll('-', '')}`
  const head = [
    `--${boundary}`,
    'Content-Disposition: form-data; name="filename"; filename="file"',
    'Content-Type: application/octet-stream',
    '',
    '',
  ].join('\r\n')
  return {
    type: `multipart/form-data; boundary=${boundary}`,
    body: new Blob([head, content, `\r\n--${boundary}--\r\n`]),
  }
}

// A Blob does not take views of shared memory.
function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes)
}

function strings(value: unknown, otherwise: () => LeetError): string[] {
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) throw otherwise()
  return value
}

/** Undefined for OSv's own HTML pages, which answer malformed requests. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function messageIn(answer: unknown): string {
  const message = (answer as { message?: unknown } | null | undefined)?.message
  if (typeof message === 'string') return message
  return (typeof answer === 'string' && answer.slice(0, 200).trim()) || 'it gave no reason'
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return messageOf(cause) || String((cause as { code?: unknown }).code)
}

function isEmptyReply(error: unknown): boolean {
  const { code } = error as { code?: unknown }
  return EMPTY_REPLY.test(`${String(code)} ${messageOf(error)} ${reasonOf(error)}`)
}

async function* empty(): AsyncGenerator<Uint8Array> {}
