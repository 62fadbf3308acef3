// Starts the agent of a node that no batch system gave us, over SSH, with what the user has for that: the keys of the
// SSH agent and unencrypted default keys, and the host keys that OpenSSH knows. The job's invitation goes over the
// encrypted channel into the standard input of the remote shell, so that no argument vector and no file has it.
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AnyAuthMethod, Client, ClientChannel, ServerHostKeyAlgorithm } from 'ssh2'
import { LeetError, messageOf, type WaitLimits, waitFor } from '../../common/index.ts'
import { shellQuote } from '../../scheduler-adapters/index.ts'
import { INVITATION_VARIABLE } from './invitation.ts'
import {
  type HostKeyVerdict,
  judgeHostKey,
  type KnownHost,
  linesAbout,
  parseKnownHosts,
  SSH_PORT,
} from './known-hosts.ts'

/** A host, as the user named it. */
export interface SshHost {
  readonly host: string
  /** SSH's own unless told. */
  readonly port?: number
  readonly user: string
}

/** What the user has to get in with, read once for all hosts. */
export interface SshIdentity {
  /** Socket of the SSH agent. */
  readonly agent?: string
  /** Unencrypted private keys. */
  readonly keys: readonly Buffer[]
  readonly known: readonly KnownHost[]
  /** For messages: what there was to get in with. */
  readonly tried: string
}

/** A process on another host; it has ended when its SSH channel has. */
export interface SshProcess {
  /** Resolves, when it is gone, with a few words on how it went. */
  readonly ended: Promise<string>
  /** Breaks the connection. The process sees the end of its standard input. */
  close(): void
}

const DEFAULT_KEYS = ['id_ed25519', 'id_ecdsa', 'id_rsa']
const SITE_KNOWN_HOSTS = '/etc/ssh/ssh_known_hosts'
/** A host that is silent for so long is gone; the agent's own link tells sooner. */
const KEEPALIVE_MS = 10_000
const KEEPALIVES = 3

/** Reads what the user of that home directory has. What is not there is left out. */
export async function readSshIdentity(env: NodeJS.ProcessEnv, home: string): Promise<SshIdentity> {
  // Node.js sees only some of the names that this CommonJS module exports.
  const { utils } = (await import('ssh2')).default
  const folder = join(home, '.ssh')
  const read = (path: string) => readFile(path).catch(() => undefined)
  const found = await Promise.all(
    DEFAULT_KEYS.map(async (name) => ({ name, key: await read(join(folder, name)) })),
  )
  const usable = found.flatMap(({ name, key }) =>
    key === undefined || utils.parseKey(key) instanceof Error ? [] : [{ name, key }],
  )
  const lists = [join(folder, 'known_hosts'), SITE_KNOWN_HOSTS]
  const known = await Promise.all(
    lists.map(async (path) => parseKnownHosts(`${(await read(path)) ?? ''}`, path)),
  )
  const agent = env.SSH_AUTH_SOCK
  return {
    ...(agent ? { agent } : {}),
    keys: usable.map(({ key }) => key),
    known: known.flat(),
    tried: [
      ...(agent ? ['the keys of the SSH agent'] : []),
      ...usable.map(({ name }) => `~/.ssh/${name}`),
    ].join(', '),
  }
}

/** The words for the remote login shell: the first line of standard input becomes a variable, then `argv` runs. */
export function remoteCommand(variable: string, argv: readonly string[]): string {
  const script = `read -r ${variable} && export ${variable} && exec "$@"`
  return ['sh', '-c', script, 'sh', ...argv].map(shellQuote).join(' ')
}

/**
 * Starts `argv` on a host with the job's invitation. Resolves when the host has taken the command; what it prints goes
 * to `onSaid`. Rejects with `LEET_E_SSH_HOST_KEY`, `LEET_E_SSH_AUTH` or `LEET_E_UNREACHABLE`, and at the deadline.
 */
export async function startOverSsh(
  target: SshHost,
  identity: SshIdentity,
  { argv, invitation }: { readonly argv: readonly string[]; readonly invitation: string },
  onSaid: (text: string) => void,
  limits: WaitLimits,
): Promise<SshProcess> {
  const { Client } = await import('ssh2')
  const client = new Client()
  try {
    const started = connect(client, target, identity).then(() =>
      execute(client, remoteCommand(INVITATION_VARIABLE, argv)),
    )
    const stream = await waitFor(started, limits, { what: 'SSH to start an agent', where: target.host })
    stream.write(`${invitation}\n`)
    for (const output of [stream, stream.stderr]) output.setEncoding('utf8').on('data', onSaid)
    let how = 'the SSH connection ended'
    client.on('error', (error) => {
      how = error.message
    })
    stream.on('exit', (status: number | null, signal?: string) => {
      how = signal ? `ended by ${signal}` : `ended with status ${status}`
    })
    const ended = new Promise<string>((resolve) => {
      stream.on('close', () => {
        client.end()
        resolve(how)
      })
    })
    return { ended, close: () => void client.destroy() }
  } catch (error) {
    client.destroy()
    throw error instanceof LeetError ? error : unreachable(target, error)
  }
}

function execute(client: Client, command: string): Promise<ClientChannel> {
  return new Promise((resolve, reject) => {
    client.exec(command, (error, stream) => (error ? reject(error) : resolve(stream)))
  })
}

function connect(client: Client, target: SshHost, identity: SshIdentity): Promise<void> {
  const { host, port = SSH_PORT, user } = target
  const about = linesAbout(identity.known, host, port)
  let verdict: HostKeyVerdict | undefined
  let shown: Buffer = Buffer.alloc(0)
  return new Promise((resolve, reject) => {
    const fail = (error: Error & { level?: string }) => {
      // An SSH agent that does not answer: the keys are tried next.
      if (error.level === 'agent') return
      if (verdict && verdict.kind !== 'known') reject(strangeKey(target, verdict, shown))
      else if (error.level === 'client-authentication') reject(refused(target, identity))
      else reject(error)
    }
    client.once('ready', resolve)
    client.on('error', fail)
    client.once('close', () => fail(new Error('the connection was closed')))
    client.connect({
      host,
      port,
      username: user,
      authHandler: methods(user, identity),
      algorithms: { serverHostKey: algorithmsFor(about) },
      hostVerifier: (key: Buffer) => {
        shown = key
        verdict = judgeHostKey(about, key)
        return verdict.kind === 'known'
      },
      readyTimeout: 0, // the caller has a deadline
      keepaliveInterval: KEEPALIVE_MS,
      keepaliveCountMax: KEEPALIVES,
    })
  })
}

function methods(username: string, { agent, keys }: SshIdentity): AnyAuthMethod[] {
  return [
    ...(agent ? [{ type: 'agent' as const, username, agent }] : []),
    ...keys.map((key) => ({ type: 'publickey' as const, username, key })),
  ]
}

// A host has keys of several types; it is asked first for those by which it is known. RSA keys are presented under the
// names of RFC 8332.
function algorithmsFor(about: readonly KnownHost[]): ServerHostKeyAlgorithm[] {
  const types = new Set(about.filter(({ revoked }) => !revoked).map(({ type }) => type))
  const isKnown = (name: string) => types.has(name.startsWith('rsa-') ? 'ssh-rsa' : name)
  return [...HOST_KEYS.filter(isKnown), ...HOST_KEYS.filter((name) => !isKnown(name))]
}

const HOST_KEYS: readonly ServerHostKeyAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
]

function strangeKey(
  { host, port = SSH_PORT, user }: SshHost,
  verdict: Exclude<HostKeyVerdict, { kind: 'known' }>,
  shown: Buffer,
): LeetError {
  // As OpenSSH prints it.
  const fingerprint = `SHA256:${createHash('sha256').update(shown).digest('base64').replace(/=+$/, '')}`
  const name = port === SSH_PORT ? host : `[${host}]:${port}`
  const login = `ssh ${port === SSH_PORT ? '' : `-p ${port} `}${user}@${host} true`
  const said: Record<typeof verdict.kind, readonly [what: string, hint: string]> = {
    unknown: [
      'its host key is not known',
      `connect once by hand and compare the key: \`${login}\`, or have the site list it in ${SITE_KNOWN_HOSTS}`,
    ],
    changed: [
      'it does not have the host key by which it is known',
      `somebody may be in between; if the host has a new key indeed, \`ssh-keygen -R '${name}'\` and \`${login}\``,
    ],
    revoked: ['its host key is revoked', 'ask who revoked it'],
  }
  const [what, hint] = said[verdict.kind]
  return new LeetError({
    code: 'LEET_E_SSH_HOST_KEY',
    what: `no agent is started: ${what}`,
    where: name,
    why: `it shows a key ${fingerprint}${verdict.kind === 'unknown' ? '' : `; see ${verdict.where}`}`,
    hint,
  })
}

function refused({ host, user }: SshHost, { tried }: SshIdentity): LeetError {
  return new LeetError({
    code: 'LEET_E_SSH_AUTH',
    what: `${user} may not log in there`,
    where: host,
    why: tried === '' ? 'there is neither an SSH agent nor an unencrypted default key' : `tried: ${tried}`,
    hint: 'start an SSH agent (`eval $(ssh-agent); ssh-add`) with a key that is in ~/.ssh/authorized_keys of the hosts',
  })
}

function unreachable({ host, port = SSH_PORT }: SshHost, cause: unknown): LeetError {
  return new LeetError({
    code: 'LEET_E_UNREACHABLE',
    what: `no agent can be started by SSH at port ${port}`,
    where: host,
    why: messageOf(cause),
    hint: 'is the host up, its name right, and does it run an SSH server?',
    cause,
  })
}
