// The control channel of a Linux guest: leet-starter over one SSH connection with one session, which carries all ranks
// of the guest. The guest's host key is known beforehand; nothing else is accepted.
import { timingSafeEqual } from 'node:crypto'
import { Socket } from 'node:net'
import type { Client, ClientChannel, ConnectConfig, ServerHostKeyAlgorithm } from 'ssh2'
import { LeetError, messageOf, pause, type WaitLimits, waitFor } from '../../common/index.ts'
import type { ControlChannel, RankListener } from './channel.ts'
import { openStarterChannel } from './starter.ts'

/** Where a guest answers, and with which keys. */
export interface SshChannelOptions {
  /** The guest, as the user knows it. */
  readonly where: string
  readonly host: string
  readonly port: number
  readonly username: string
  /** Private key of the job in OpenSSH or PEM form, without a passphrase. */
  readonly privateKey: string
  /** The guest's host key as in `known_hosts` after the name: `ssh-ed25519 AAAA… [comment]`. */
  readonly hostKey: string
  /** What starts the starter in the guest: words for the guest's shell. */
  readonly command: string
  readonly listener: RankListener
}

/** A server that says nothing for so long after it has accepted is tried again: QEMU accepts before its guest does. */
const GREETING_MS = 5_000
const RETRY_MS = 100
/** A guest that does not answer seven of these in a row is gone. Emulated guests may be busy for long. */
const KEEPALIVE_MS = 10_000
const KEEPALIVES = 6

/**
 * Connects, again and again until the guest answers or the deadline passes, starts the starter and waits until it is
 * ready. A wrong host key (`LEET_E_SSH_HOST_KEY`) or a refused client key (`LEET_E_SSH_AUTH`) ends it at once.
 */
export async function openSshChannel(
  options: SshChannelOptions,
  limits: WaitLimits,
): Promise<ControlChannel> {
  const { where, command, listener } = options
  const client = await connect(options, limits)
  let last = 'the connection ended'
  client.on('error', (error) => {
    last = error.message
  })
  let stream: ClientChannel
  try {
    stream = await waitFor(execute(client, command), limits, {
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
  const ended = new Promise<string>((resolve) => {
    stream.on('exit', (status: number | null, signal?: string) => {
      last = signal ?? `exit status ${status}`
    })
    stream.on('close', () => {
      client.end()
      resolve(last)
    })
  })
  const transport = {
    where,
    input: stream,
    output: stream,
    errors: stream.stderr,
    ended,
    destroy: () => void client.destroy(),
  }
  return openStarterChannel(transport, listener, limits)
}

function execute(client: Client, command: string): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, stream) => (error ? reject(error) : resolve(stream)))
  })
}

async function connect(options: SshChannelOptions, limits: WaitLimits): Promise<Client> {
  const { where, host, port } = options
  let problem: unknown
  while (!limits.deadline.expired) {
    limits.signal?.throwIfAborted()
    try {
      return await attempt(options, limits)
    } catch (error) {
      if (error instanceof LeetError && error.code !== 'LEET_E_DEADLINE') throw error
      problem = error
    }
    await pause(Math.min(RETRY_MS, limits.deadline.remaining()), limits.signal)
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
async function attempt(options: SshChannelOptions, limits: WaitLimits): Promise<Client> {
  const { where, host, port } = options
  const socket = new Socket()
  try {
    await waitFor(
      greeted(socket, host, port),
      { ...limits, deadline: limits.deadline.within(GREETING_MS) },
      { what: 'a greeting', where },
    )
    const { Client } = await import('ssh2')
    const client = new Client()
    return await waitFor(authenticated(client, socket, options), limits, { what: 'an SSH session', where })
  } catch (error) {
    socket.destroy()
    throw error
  }
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

function authenticated(client: Client, socket: Socket, options: SshChannelOptions): Promise<Client> {
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
