// The way into a Linux guest: one SSH connection, on which commands prepare the guest, where its init does not, and
// leet-starter carries all ranks over one session. The guest's host key is known beforehand; nothing else is accepted.
import { timingSafeEqual } from 'node:crypto'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Client, ClientChannel, ConnectConfig, ServerHostKeyAlgorithm } from 'ssh2'
import {
  gatherText,
  LeetError,
  messageOf,
  pause,
  type Scope,
  type WaitLimits,
  waitFor,
} from '../../common/index.ts'
import type { ChannelOptions, ControlChannel } from './channel.ts'
import { openStarterChannel } from './starter.ts'

/** Where a guest answers, and with which keys. */
export interface SshOptions {
  /** The guest, as the user knows it. */
  readonly where: string
  readonly host: string
  readonly port: number
  readonly username: string
  /** Private key of the job in OpenSSH or PEM form, without a passphrase. */
  readonly privateKey: string
  /** The guest's host key as in `known_hosts` after the name: `ssh-ed25519 AAAA… [comment]`. */
  readonly hostKey: string
  /**
   * The guest starts its SSH server before it has read its seed. Until then the server has another host key and refuses
   * the key of the job, and is tried again.
   */
  readonly mayChange?: boolean
  /** Another guest, through which this one is reached where it cannot be reached directly. */
  readonly through?: SshOptions
}

/** What an SSH channel is opened with. */
export interface SshChannelOptions extends SshOptions, ChannelOptions {
  /** What starts the starter in the guest: words for the guest's shell. */
  readonly command: string
}

/** How a command over SSH ended, with the first MiB that it wrote to each stream. */
export interface SshResult {
  /** undefined when a signal ended it. */
  readonly status: number | undefined
  readonly stdout: string
  readonly stderr: string
}

/** A connection to a guest. */
export interface SshSession {
  /** Runs a command of the guest's shell to its end. `LEET_E_SSH` when the connection ends before. */
  run(command: string, limits: WaitLimits, input?: string | Uint8Array): Promise<SshResult>
  /** Starts the starter; the session ends with the channel. */
  openChannel(command: string, options: ChannelOptions, limits: WaitLimits): Promise<ControlChannel>
}

/** QEMU accepts connections before its guest does: one on which nothing is said for so long is given up, and tried again. */
const GREETING_MS = 5_000
const RETRY_MS = 100
/** Servers slow down whoever fails to log in often. */
const CHANGE_MS = 1_000
/** A guest that does not answer seven of these in a row is gone. Emulated guests may be busy for long. */
const KEEPALIVE_MS = 10_000
const KEEPALIVES = 6

/** Connects, starts the starter and waits until it is ready. */
export async function openSshChannel(
  { command, listener, scope, ...options }: SshChannelOptions,
  limits: WaitLimits,
): Promise<ControlChannel> {
  const session = await openSshSession(options, scope, limits)
  return session.openChannel(command, { scope, listener }, limits)
}

/** A connection on which commands run and the starter is started; it ends with `scope`. */
export async function openSshSession(
  options: SshOptions,
  scope: Scope,
  limits: WaitLimits,
): Promise<SshSession> {
  const { where } = options
  const client = await connectSsh(options, limits)
  scope.onEnd(`the connection to ${where}`, () => void client.destroy())
  let last = 'the connection ended'
  client.on('error', (error) => {
    last = error.message
  })
  return {
    run: (command, runLimits, input) => runOver(client, where, command, runLimits, input),
    openChannel: (command, channel, channelLimits) =>
      starterOver(client, where, () => last, command, channel, channelLimits),
  }
}

async function runOver(
  client: Client,
  where: string,
  command: string,
  limits: WaitLimits,
  input: string | Uint8Array = '',
): Promise<SshResult> {
  const finished = execute(
    client,
    command,
    (stream) =>
      new Promise<SshResult>((resolve, reject) => {
        const stdout = gatherText(stream)
        const stderr = gatherText(stream.stderr)
        let ended: { readonly status: number | undefined } | undefined
        stream.on('exit', (status: number | null) => {
          ended = { status: status ?? undefined }
        })
        stream.on('close', () => {
          if (ended) resolve({ ...ended, stdout: stdout(), stderr: stderr() })
          else reject(lostCommand(where, command))
        })
        // A command that does not read its input is not an error of ours.
        stream.on('error', () => {})
        stream.end(input)
      }),
  )
  const what = `the guest to run ${shortened(command)}`
  return waitFor(finished, limits, { what, where }).catch((error) => {
    throw error instanceof LeetError ? error : lostCommand(where, command, error)
  })
}

function shortened(command: string): string {
  const [line = ''] = command.split('\n')
  return line.length > 60 ? `${line.slice(0, 60)}…` : line
}

function lostCommand(where: string, command: string, cause?: unknown): LeetError {
  return new LeetError({
    code: 'LEET_E_SSH',
    what: `the connection to the guest ended while it ran ${shortened(command)}`,
    where,
    why: cause === undefined ? undefined : messageOf(cause),
    cause,
  })
}

async function starterOver(
  client: Client,
  where: string,
  lastError: () => string,
  command: string,
  channel: ChannelOptions,
  limits: WaitLimits,
): Promise<ControlChannel> {
  let started: { readonly stream: ClientChannel; readonly ended: Promise<string> }
  try {
    const watch = (stream: ClientChannel) => ({ stream, ended: endOfStream(client, stream, lastError) })
    started = await waitFor(execute(client, command, watch), limits, {
      what: 'the guest to run the starter of ranks',
      where,
      hint: 'the console of the guest may tell why it does not',
    })
  } catch (error) {
    client.destroy()
    if (error instanceof LeetError) throw error
    throw new LeetError({
      code: 'LEET_E_STARTER_LOST',
      what: `the guest does not run ${command}`,
      where,
      why: messageOf(error),
      cause: error,
    })
  }
  const { stream, ended } = started
  const transport = {
    where,
    input: stream,
    output: stream,
    errors: stream.stderr,
    ended,
    destroy: () => void client.destroy(),
  }
  return openStarterChannel(transport, channel, limits)
}

// Resolves with how the command ended, and closes the connection with it.
function endOfStream(client: Client, stream: ClientChannel, lastError: () => string): Promise<string> {
  return new Promise((resolve) => {
    let exit: string | undefined
    stream.on('exit', (status: number | null, signal?: string) => {
      exit = signal ?? `exit status ${status}`
    })
    stream.on('close', () => {
      client.end()
      resolve(exit ?? lastError())
    })
  })
}

// `use` is called before more is read from the connection. Else a command that ends at once would tell its status before
// anybody listens.
function execute<T>(
  client: Client,
  command: string,
  use: (stream: ClientChannel) => T | Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, stream) => (error ? reject(error) : resolve(use(stream))))
  })
}

/**
 * Connects, again and again until the guest answers or the deadline passes. A wrong host key (`LEET_E_SSH_HOST_KEY`) or
 * a refused client key (`LEET_E_SSH_AUTH`) ends it at once, unless it may change.
 */
export async function connectSsh(options: SshOptions, limits: WaitLimits): Promise<Client> {
  const { where, host, port } = options
  let problem: unknown
  let wait = RETRY_MS
  while (!limits.deadline.expired) {
    limits.signal?.throwIfAborted()
    try {
      return await attempt(options, limits)
    } catch (error) {
      const refused = error instanceof LeetError && error.code !== 'LEET_E_DEADLINE'
      if (refused && !options.mayChange) throw error
      problem = error
      wait = refused ? CHANGE_MS : RETRY_MS
    }
    await pause(Math.min(wait, limits.deadline.remaining()), limits.signal)
  }
  throw new LeetError({
    code: 'LEET_E_DEADLINE',
    what: `waited for SSH to answer at ${host} port ${port}`,
    where,
    why: problem === undefined ? undefined : messageOf(problem),
    hint: 'a longer boot time, or look at the console of the guest',
    cause: problem,
  })
}

/** One try. Rejects with a LeetError other than `LEET_E_DEADLINE` when another try would fail in the same way. */
async function attempt(options: SshOptions, limits: WaitLimits): Promise<Client> {
  const { where, host, port, through } = options
  const socket = through ? await tunnel(through, host, port, limits) : new Socket()
  try {
    if (socket instanceof Socket) {
      await waitFor(
        greeted(socket, host, port),
        { ...limits, deadline: limits.deadline.within(GREETING_MS) },
        { what: 'a greeting', where },
      )
    }
    const { Client } = await import('ssh2')
    const client = new Client()
    return await waitFor(authenticated(client, socket, options), limits, { what: 'an SSH session', where })
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/**
 * A connection that begins in another guest. The SSH server there forwards none, so a program is started that passes bytes
 * between the connection and its own streams.
 */
async function tunnel(through: SshOptions, host: string, port: number, limits: WaitLimits): Promise<Duplex> {
  const client = await connectSsh(through, limits)
  client.on('error', () => {})
  const command = `exec /leet/busybox nc ${host} ${port}`
  const stream = await execute(client, command, (opened) => opened)
  stream.once('close', () => client.destroy())
  return stream
}

/** Resolves when the server has sent something, which stays in the socket. */
function greeted(socket: Socket, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject)
    socket.once('readable', () => {
      if (socket.readableLength > 0) resolve()
      else reject(new Error('the connection was closed before a greeting'))
    })
    socket.setNoDelay(true)
    socket.connect(port, host)
  })
}

function authenticated(client: Client, socket: Duplex, options: SshOptions): Promise<Client> {
  const { where, username, privateKey } = options
  const hostKey = parseHostKey(options.hostKey)
  let presented: Buffer | undefined
  const config: ConnectConfig = {
    sock: socket,
    username,
    privateKey,
    authHandler: ['publickey'],
    algorithms: { serverHostKey: hostKey.algorithms },
    hostVerifier: (key: Buffer) => {
      presented = key
      return key.length === hostKey.blob.length && timingSafeEqual(key, hostKey.blob)
    },
    readyTimeout: 0, // the caller has a deadline
    keepaliveInterval: KEEPALIVE_MS,
    keepaliveCountMax: KEEPALIVES,
  }
  return new Promise((resolve, reject) => {
    const fail = (error: Error & { level?: string }) => {
      if (error.level === 'client-authentication') reject(refusedKey(where, username, error))
      else if (presented && !presented.equals(hostKey.blob)) reject(strangeKey(where, error))
      else reject(error)
    }
    client.once('ready', () => resolve(client))
    client.on('error', fail)
    client.once('close', () => fail(new Error('the connection was closed during the handshake')))
    try {
      client.connect(config)
    } catch (error) {
      reject(
        new LeetError({
          code: 'LEET_E_SSH_AUTH',
          what: 'the SSH keys of the job cannot be used',
          where,
          why: messageOf(error),
        }),
      )
    }
  })
}

function refusedKey(where: string, username: string, cause: Error): LeetError {
  return new LeetError({
    code: 'LEET_E_SSH_AUTH',
    what: `the guest does not let ${username} in with the key of the job`,
    where,
    hint: 'the image must take its authorised keys from the seed',
    cause,
  })
}

function strangeKey(where: string, cause: Error): LeetError {
  return new LeetError({
    code: 'LEET_E_SSH_HOST_KEY',
    what: 'who answers does not have the host key that the guest was given',
    where,
    hint: 'another server may have the port, or the image does not take its host key from the seed',
    cause,
  })
}

/** A host key as `known_hosts` has it. RSA keys are presented under the names of RFC 8332. */
function parseHostKey(text: string): { blob: Buffer; algorithms: ServerHostKeyAlgorithm[] } {
  const [type = '', base64 = ''] = text.trim().split(/\s+/)
  const algorithms = type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type]
  return { blob: Buffer.from(base64, 'base64'), algorithms: algorithms as ServerHostKeyAlgorithm[] }
}
