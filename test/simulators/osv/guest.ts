// An OSv guest without a virtual machine: its REST server behaves as observed, quirks included, and starts programs as
// processes of this machine, so that real MPI ranks run through it. `/tmp` is a directory of this machine.
import { type ChildProcess, spawn } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import type { AddressInfo, Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { withParentDeathSignal } from '../../../common/index.ts'
import { type OsvReply, type OsvRequest, parameters, serve } from './http.ts'
import { splitCommands } from './splitter.ts'

/** How a request is answered: as OSv does, or in one of the ways in which guests fail. */
export type Mischief =
  /** The connection is closed without a reply. */
  | 'close'
  /** There is never a reply. */
  | 'hang'
  /** Bytes that are no answer to this. */
  | 'nonsense'
  /** The guest crashes. */
  | 'crash'
  /** Milliseconds before the answer. */
  | number

/** What a simulated guest is made with. */
export interface SimulatedGuest {
  /** Sees what the console writes. */
  readonly onConsole?: (data: Buffer) => void
  /** Called when the virtual machine would end. */
  readonly onEnd?: () => void
  /** Programs by their path in the guest; others are found at the same path of this machine. */
  readonly programs?: Readonly<Record<string, string>>
  /** Where the files of the image are that it hides under this path: on this machine, at the rest of theirs. */
  readonly hidden?: string
  /** It has mounted NFS, and its programs use it. */
  readonly mountsNfs?: boolean
  /** Addresses of the guest's networks, and those by which this machine has the same. */
  readonly addresses?: Readonly<Record<string, string>>
  /**
   * Whether programs have the compatibility library, which then takes the packed environment and tells the status.
   * Without it a status other than 0 counts as returned by main.
   */
  readonly compat?: boolean
  /** Asked for every request; undefined is good behaviour. */
  readonly mischief?: (request: OsvRequest) => Mischief | undefined
  /** Programs end at once with status 0 instead of being started: for many guests. */
  readonly pretend?: boolean
  /** Files of the read-only root beside /etc/hosts. */
  readonly files?: Readonly<Record<string, string>>
}

interface Program {
  readonly thread: number
  readonly child: ChildProcess
  /** Path of the pieces of its standard input, which the compatibility library looks for. */
  readonly input: string | undefined
  ended: boolean
}

const VERSION = 'v0.57.0-398-g0e34e4dc'
const MAX_STARTS = 31
const BOOTED = Date.now()

/** A guest that has booted. */
export class OsvGuest {
  readonly environment = new Map([
    ['OSV_VERSION', VERSION],
    ['OSV_CPUS', '1'],
    ['OSV_IP', '10.0.2.15'],
  ])
  /** Requests that were answered. */
  requests = 0
  starts = 0
  readonly #options: SimulatedGuest
  readonly #server: Server
  readonly #files: ReadonlyMap<string, string>
  readonly #programs: Program[] = []
  readonly #log: string[] = ['1 CPUs detected', 'Firmware vendor: SeaBIOS']
  #tmp: string | undefined
  #hostname = 'osv.local'
  #nextThread = 42
  #ended = false

  private constructor(options: SimulatedGuest) {
    this.#options = options
    this.#files = new Map(
      Object.entries({ '/etc/hosts': '127.0.0.1 localhost osv.local\n', ...options.files }),
    )
    this.#server = serve((request, socket) => this.#serve(request, socket))
  }

  static async boot(options: SimulatedGuest = {}): Promise<OsvGuest> {
    const guest = new OsvGuest(options)
    await new Promise((resolve) => guest.#server.once('listening', resolve))
    guest.#console('Rest API server running on port 8000')
    return guest
  }

  /** Port of 127.0.0.1. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Ends the guest as a crash does: all programs die, connections break, the port is closed. */
  crash(
    lines: readonly string[] = ['Aborted', '', '[backtrace]', '0x000000004039c95e <__libc_start_main+46>'],
  ): void {
    if (this.#ended) return
    for (const line of lines) this.#console(line)
    this.#end()
  }

  /** Ends the guest and removes what is left of it. */
  async remove(): Promise<void> {
    this.#end()
    await Promise.all(
      this.#programs.map(({ child }) =>
        child.exitCode === null && child.signalCode === null && child.pid !== undefined
          ? new Promise((resolve) => child.once('close', resolve))
          : undefined,
      ),
    )
    if (this.#tmp) rmSync(this.#tmp, { recursive: true, force: true })
  }

  #end(): void {
    if (this.#ended) return
    this.#ended = true
    for (const { child } of this.#programs) child.kill('SIGKILL')
    this.#server.close()
    this.#options.onEnd?.()
  }

  #console(line: string): void {
    this.#options.onConsole?.(Buffer.from(`${line}\r\n`))
  }

  async #serve(request: OsvRequest, socket: Socket): Promise<OsvReply> {
    this.requests++
    const mischief = this.#options.mischief?.(request)
    if (this.#ended || mischief === 'close') return undefined
    if (mischief === 'hang') return new Promise(() => {})
    if (mischief === 'crash') {
      this.crash()
      return undefined
    }
    if (mischief === 'nonsense') {
      socket.end('HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{"]:')
      return new Promise(() => {})
    }
    if (mischief !== undefined) await new Promise((resolve) => setTimeout(resolve, mischief))
    return this.#ended ? undefined : this.#answer(request)
  }

  #answer(request: OsvRequest): OsvReply {
    const { method } = request
    if (method === 'OPTIONS') return { status: 200 }
    const kind = method === 'HEAD' || method === 'PATCH' ? 'GET' : method
    const path = request.path.length > 1 ? request.path.replace(/\/$/, '') : request.path
    const route = `${kind} ${path}`
    const text = TEXTS[route]
    if (text !== undefined) return json(text)
    switch (route) {
      case 'GET /os/hostname':
        return json(this.#hostname)
      case 'POST /os/hostname':
        return this.#with(request, 'name', (name) => {
          this.#hostname = name
          return json('')
        })
      case 'GET /os/cmdline':
        return json('--rootfs=rofs /libhttpserver-api.so')
      case 'GET /os/date':
        return json(new Date().toUTCString())
      case 'GET /os/uptime':
        return json(Math.floor((Date.now() - BOOTED) / 1000))
      case 'GET /os/memory/total':
        return json(529_428_480)
      case 'GET /os/memory/free':
        return json(512_606_208)
      case 'GET /os/dmesg':
        return json(`${this.#log.join('\n')}\n`)
      case 'GET /os/threads':
        return json({ list: this.#programs.map(({ thread }) => ({ id: thread })), time_ms: Date.now() })
      case 'POST /os/poweroff':
      case 'POST /os/shutdown':
      case 'POST /os/reboot':
        this.#end()
        return undefined
      case 'GET /env':
        return json([...this.environment].map(([name, value]) => `${name}=${value}`))
      case 'PUT /app':
        return this.#with(request, 'command', (command) => this.#run(command, request))
      case 'GET /app/finished':
        return this.#with(request, 'tid', (tid) => this.#finished(tid))
      case 'GET /hardware/processor/count':
        return json(1)
      case 'POST /api/batch':
        return this.#batch(request.upload?.toString('utf8') ?? '')
    }
    if (path.startsWith('/env/')) return this.#variable(kind, path.slice('/env/'.length), request)
    if (/^\/fs\/df(\/.*)?$/.test(path) && kind === 'GET') return json(FILE_SYSTEMS)
    if (path === '/file' || path.startsWith('/file/')) return this.#file(kind, request)
    return NOT_FOUND
  }

  #with(request: OsvRequest, name: string, then: (value: string) => OsvReply): OsvReply {
    const value = request.query.find((parameter) => parameter.name === name)?.value
    return value ? then(value) : refuse(400, `Missing mandatory parameter '${name}'`)
  }

  #variable(method: string, name: string, request: OsvRequest): OsvReply {
    if (method === 'GET') {
      const value = this.environment.get(name)
      return value === undefined ? refuse(400, `No environment variable ${name}`) : json(value)
    }
    if (method === 'DELETE') {
      this.environment.delete(name)
      return json('')
    }
    if (method !== 'POST') return NOT_FOUND
    return this.#with(request, 'val', (value) => {
      this.environment.set(name, value)
      return json('')
    })
  }

  /** As in the original the parameters of one call carry over to those after it. */
  #batch(text: string): OsvReply {
    const carried: { name: string; value: string }[] = []
    let calls: { method: string; relative_url: string }[]
    try {
      calls = JSON.parse(text)
    } catch {
      return refuse(400, 'Bad batch request, missing entry')
    }
    const answers = calls.map(({ method, relative_url: url }) => {
      const question = url.indexOf('?')
      if (question >= 0) carried.push(...parameters(url.slice(question + 1)))
      const path = decodeURIComponent(question < 0 ? url : url.slice(0, question))
      const reply = this.#answer({ method, path, query: [...carried] })
      return `{ "code": ${reply?.status}, "body":${String(reply?.body ?? '')}}`
    })
    return { status: 200, body: `[${answers.join(',')}]`, type: 'application/json' }
  }

  #run(command: string, request: OsvRequest): OsvReply {
    const commands = splitCommands(command, Object.fromEntries(this.environment))
    if (!commands) return refuse(400, 'Bad formatted command')
    if (commands.some(({ terminator }) => terminator === ';')) {
      return refuse(400, 'The use of ; is not allowed, use & for multiple commands')
    }
    const isNew = request.query.find(({ name }) => name === 'new_program')?.value === 'true'
    const threads: number[] = []
    for (const { words } of commands) {
      const [path = '', ...args] = words
      // A program that uses NFS from a name space of its own aborts the guest.
      if (isNew && this.#options.mountsNfs) {
        this.crash([
          'Assertion failed: eo (libc/cxa_thread_atexit.cc: linked_destructor: 47)',
          '',
          '[backtrace]',
        ])
        return undefined
      }
      if (isNew && ++this.starts > MAX_STARTS) {
        this.crash(['application::new_program() out of namespaces.', 'Aborted', '', '[backtrace]'])
        return undefined
      }
      const host = this.#program(path)
      if (!host.startsWith('/') || !statSync(host, { throwIfNoEntry: false })?.isFile()) {
        this.#console(`exception was caught for /app/: Failed to load object: ${path}`)
        return refuse(500, `Failed to load object: ${path}`)
      }
      threads.push(this.#start(path, host, args))
    }
    return json(threads.join(' '))
  }

  #program(path: string): string {
    const { programs, hidden } = this.#options
    if (hidden !== undefined && path.startsWith(`${hidden}/`)) return path.slice(hidden.length)
    return programs?.[path] ?? (path.startsWith('/tmp/') ? this.#host(path) : path)
  }

  #start(path: string, host: string, args: readonly string[]): number {
    const env = Object.fromEntries(this.environment)
    const packed = this.#options.compat ? env.LEET_OSV_ENV : undefined
    if (packed !== undefined) {
      delete env.LEET_OSV_ENV
      for (const line of packed.split('\n')) {
        const equals = line.indexOf('=')
        env[line.slice(0, equals)] = line
          .slice(equals + 1)
          .replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
      }
    }
    for (const [own, here] of Object.entries(this.#options.addresses ?? {})) {
      for (const [name, value] of Object.entries(env)) env[name] = value.replaceAll(own, here)
    }
    const { LEET_OSV_CWD: directory = '/', LEET_OSV_NONCE: nonce, LEET_OSV_RANK: rank } = env
    const input = this.#options.compat ? env.LEET_OSV_INPUT : undefined
    if (this.#options.pretend) {
      setImmediate(() => this.#console(`leet-exit ${nonce} rank=${rank} status=0`))
      return this.#nextThread++
    }
    const [starter, ...words] = withParentDeathSignal([host, ...args]) as [string, ...string[]]
    const child = spawn(starter, words, {
      env,
      cwd: directory.startsWith('/tmp') ? this.#host(directory) : directory,
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    const program: Program = { thread: this.#nextThread++, child, input, ended: false }
    this.#programs.push(program)
    child.stdin?.on('error', () => {})
    const lines = { stdout: '', stderr: '' }
    for (const name of ['stdout', 'stderr'] as const) {
      child[name]?.on('data', (chunk: Buffer) => {
        const parts = (lines[name] + chunk.toString('utf8')).split('\n')
        lines[name] = parts.pop() as string
        for (const line of parts) this.#console(line)
      })
    }
    child.on('error', () => {})
    child.once('close', (status, signal) => {
      program.ended = true
      if (this.#ended) return
      const left = lines.stdout + lines.stderr
      if (signal)
        return this.crash([
          ...(left ? [left] : []),
          `Uncaught signal ${NUMBERS[signal] ?? 6} ("${signal}"). Powering off.`,
        ])
      if (this.#options.compat && nonce !== undefined) {
        this.#console(`${left}leet-exit ${nonce} rank=${rank} status=${status}`)
      } else if (left) this.#console(left)
      if (status) {
        this.#log.push(`program ${path} returned ${status}`)
        this.#console(`program ${path} returned ${status}`)
      }
    })
    return program.thread
  }

  #finished(tid: string): OsvReply {
    if (!/^\d/.test(tid)) return refuse(500, 'stol')
    const thread = Number.parseInt(tid, 10)
    // Threads of the kernel never end.
    const runs = thread < 40 || this.#programs.some((program) => program.thread === thread && !program.ended)
    return json(runs ? '0' : '1')
  }

  #file(method: string, request: OsvRequest): OsvReply {
    const path = join('/', request.path.slice('/file'.length)).replace(/(.)\/$/, '$1')
    if (method === 'POST') {
      writeFileSync(this.#host(path), request.upload ?? '')
      this.#feed(path)
      return { status: 200 }
    }
    return this.#with(request, 'op', (op) => {
      if (path === '/') return refuse(400, 'missing mandatory parameters')
      const option = (name: string) => request.query.find((parameter) => parameter.name === name)?.value ?? ''
      if (method === 'GET') return this.#read(path, op)
      if (method === 'PUT') return this.#write(path, op, option)
      if (method === 'DELETE' && op === 'DELETE') return this.#delete(path, option('recursive') === 'true')
      return refuse(400, `Bad op parameter ${op}`)
    })
  }

  /** As the compatibility library does with a piece of a program's standard input. */
  #feed(path: string): void {
    const stdin = this.#programs.find(({ input }) => input !== undefined && path.startsWith(`${input}.`))
      ?.child.stdin
    if (!stdin) return
    const bytes = readFileSync(this.#host(path)).subarray(8)
    unlinkSync(this.#host(path))
    if (bytes.length === 0) stdin.end()
    else stdin.write(bytes)
  }

  #read(path: string, op: string): OsvReply {
    const content = this.#contentOf(path)
    if (op === 'GET') {
      return content === undefined || content === 'directory'
        ? refuse(404, 'Page not found')
        : { status: 200, body: content, type: 'text/plain' }
    }
    if (op !== 'GETFILESTATUS' && op !== 'LISTSTATUS') return refuse(400, `Bad op parameter ${op}`)
    if (content === undefined) return refuse(404, `Not found: '${path}'`)
    if (op === 'GETFILESTATUS') return spaced(this.#status(path, basename(path)))
    const names = existsSync(this.#host(path)) ? readdirSync(this.#host(path)).sort() : []
    return {
      status: 200,
      body: `[${[
        this.#status(path, '.'),
        this.#status(dirname(path), '..'),
        ...names.map((name) => this.#status(`${path}/${name}`, name)),
      ]
        .map(withSpaces)
        .join(',')}]`,
      type: 'application/json',
    }
  }

  #write(path: string, op: string, option: (name: string) => string): OsvReply {
    if (!['MKDIRS', 'WRITE', 'COPY', 'RENAME'].includes(op)) return refuse(400, `Bad op parameter ${op}`)
    if (!isInTmp(path)) return refuse(500, 'basic_ios::clear: iostream error')
    const host = this.#host(path)
    const destination = option('destination')
    if (op === 'MKDIRS') mkdirSync(host, { recursive: true })
    else if (op === 'WRITE') {
      writeFileSync(host, option('content'), { flag: option('overwrite') === 'true' ? 'w' : 'a' })
    } else if (!existsSync(host)) return refuse(404, `Not found: '${path}'`)
    else if (op === 'COPY') copyFileSync(host, this.#host(destination))
    else renameSync(host, this.#host(destination))
    return { status: 200, body: '' }
  }

  #delete(path: string, recursive: boolean): OsvReply {
    const host = this.#host(path)
    const stats = isInTmp(path) ? statSync(host, { throwIfNoEntry: false }) : undefined
    if (!stats) return refuse(404, `Not found: '${path}'`)
    if (!stats.isDirectory()) unlinkSync(host)
    else if (recursive && readdirSync(host).length < 2) rmSync(host, { recursive: true })
    else {
      try {
        rmdirSync(host)
      } catch {
        return refuse(400, `Failed deleting boost::filesystem::remove: Directory not empty: "${path}"`)
      }
    }
    return { status: 200, body: '' }
  }

  #contentOf(path: string): Buffer | 'directory' | undefined {
    const file = this.#files.get(path)
    if (file !== undefined) return Buffer.from(file)
    if (path === '/' || [...this.#files.keys()].some((name) => name.startsWith(`${path}/`)))
      return 'directory'
    if (!isInTmp(path)) return undefined
    const stats = statSync(this.#host(path), { throwIfNoEntry: false })
    return stats?.isDirectory() ? 'directory' : stats ? readFileSync(this.#host(path)) : undefined
  }

  #status(path: string, name: string): Record<string, string | number> {
    const stats = isInTmp(path) ? statSync(this.#host(path)) : undefined
    const time = stats ? Math.floor(stats.mtimeMs / 1000) : 0
    const content = this.#contentOf(path)
    const isDirectory = content === 'directory' || path === '/'
    return {
      accessTime: time,
      blockSize: 512,
      group: 'osv',
      length: isDirectory ? 0 : (content as Buffer).length,
      modificationTime: time,
      owner: 'osv',
      pathSuffix: name,
      permission: stats ? '777' : '555',
      replication: 0,
      type: isDirectory ? 'DIRECTORY' : 'FILE',
    }
  }

  /** Where a path below /tmp is on this machine. */
  #host(path: string): string {
    this.#tmp ??= realpathSync(mkdtempSync(join(tmpdir(), 'leet-osv-guest-')))
    return join(this.#tmp, path.replace(/^\/tmp(?=\/|$)/, ''))
  }
}

const NUMBERS: Readonly<Record<string, number>> = { SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 }

const TEXTS: Readonly<Record<string, string>> = {
  'GET /os/name': 'OSv',
  'GET /os/version': VERSION,
  'GET /os/vendor': 'Cloudius Systems',
  'GET /hardware/processor/flags': 'sse3 ssse3 cmpxchg16b sse4.1 sse4.2 xsave avx rdrand',
  'GET /hardware/firmware/vendor': 'SeaBIOS',
  'GET /hardware/hypervisor': 'Unknown',
}

const FILE_SYSTEMS = [
  { filesystem: '/dev/vblk0.1', mount: '/', btotal: 25753, bfree: 0, ftotal: 67, ffree: 0, blocksize: 512 },
]

const NOT_FOUND = refuse(404, 'Not found')

function isInTmp(path: string): boolean {
  return path === '/tmp' || path.startsWith('/tmp/')
}

function json(value: unknown): OsvReply {
  return { status: 200, body: JSON.stringify(value), type: 'application/json' }
}

function spaced(value: Readonly<Record<string, string | number>>): OsvReply {
  return { status: 200, body: withSpaces(value), type: 'application/json' }
}

/** JSON as OSv's formatter writes an object. */
function withSpaces(value: Readonly<Record<string, string | number>>): string {
  return `{${Object.entries(value)
    .map(([name, item]) => `"${name}": ${JSON.stringify(item)}`)
    .join(', ')}}`
}

function refuse(status: 400 | 404 | 500, message: string): OsvReply {
  return { status, body: withSpaces({ message, code: status }), type: 'application/json' }
}
