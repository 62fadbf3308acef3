// `leet export`: serves a directory of this node to the guests of a job by nfs-ganesha, for as long as a command runs or
// until it is told to stop. The server is a foreground child that goes with this process in any case.
import type { ChildProcess } from 'node:child_process'
import { lookup } from 'node:dns/promises'
import { mkdirSync, readFileSync, realpathSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { hostname, networkInterfaces, constants as osConstants } from 'node:os'
import { resolve } from 'node:path'
import {
  type ChildEnd,
  Deadline,
  endOf,
  LeetError,
  type Log,
  messageOf,
  poll,
  usageError,
  waitFor,
} from '../../common/index.ts'
import { Journal } from '../journal/journal.ts'
import { checkMountPoint } from '../plan/plan-mounts.ts'
import { ganeshaComplaint, ganeshaConfig, isServablePath } from './ganesha.ts'
import { askNfsServer } from './rpc.ts'

/** What to serve to whom. */
export interface ExportOrder {
  readonly directory: string
  /** Names of the job's nodes: behind them are the guests. */
  readonly nodes: readonly string[]
  /** The network that joins guests: `10.77.0.0/16`. */
  readonly subnet: string
  /** Further addresses and networks. */
  readonly allow: readonly string[]
  /** What to run meanwhile; empty: until a signal. */
  readonly command: readonly string[]
  readonly log: Log
  /** Takes the text of the mount when there is no command. */
  readonly print: (line: string) => void
}

const READY_MS = 20_000
/** CAP_DAC_READ_SEARCH of capabilities(7): files are opened by their handles, open_by_handle_at(2). */
const READ_SEARCH = 1n << 2n

/** Serves; resolves to the exit status of the command, or 0 after a signal. `LEET_E_EXPORT` when it cannot be. */
export async function exportDirectory(order: ExportOrder): Promise<number> {
  const { log, command } = order
  const path = resolve(order.directory)
  checkServable(path)
  for (const client of order.allow) checkClient(client)
  checkPrivilege()
  const journal = await Journal.open({ jobId: 'export' })
  const signals = watchSignals()
  try {
    const local = order.nodes.every((node) => shortName(node) === shortName(hostname()))
    const clients = local ? ['127.0.0.1', ...order.allow] : await clientsOf(order)
    const { uid, gid } = statSync(path)
    const port = await freePort()
    const recovery = journal.path('recovery')
    mkdirSync(recovery, { mode: 0o700 })
    const config = ganeshaConfig({ directory: realpathSync(path), path, port, clients, uid, gid, recovery })
    const server = await startGanesha(journal, config, port, path)
    const mount = `${local ? 'localhost' : await ownAddress()}:${path}:${path}:port=${port}`
    log.note(`${path} is served to ${clients.join(', ')}; everything there is done as uid ${uid}`)
    if (command.length === 0) {
      order.print(mount)
      await Promise.race([signals.first, server.ended.then((error) => Promise.reject(error))])
      return 0
    }
    return await runMeanwhile(journal, command, mount, server, signals)
  } finally {
    signals.stop()
    await journal.close()
  }
}

function checkServable(path: string): void {
  if (!statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    throw usageError(`${path} is not a directory`, undefined, 'leet export')
  }
  if (!isServablePath(path)) {
    throw usageError(`${path} has a blank, colon, quote or backslash in it`, undefined, 'leet export')
  }
  checkMountPoint(path, 'leet export')
}

function checkClient(text: string): void {
  if (/^\d{1,3}(\.\d{1,3}){3}(\/\d{1,2})?$/.test(text)) return
  throw usageError(`"${text}" is not an IPv4 address or network`, '10.1.2.3 or 10.1.0.0/16', '--allow')
}

function checkPrivilege(): void {
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  if (process.getuid?.() === 0 && (BigInt(`0x${capabilities}`) & READ_SEARCH) !== 0n) return
  throw new LeetError({
    code: 'LEET_E_EXPORT',
    what: 'only root can serve a directory',
    why: 'nfs-ganesha opens files by their handles, which needs CAP_DAC_READ_SEARCH',
    hint: 'a directory that an NFS server has already: leet-mpirun --mount SERVER:/export:/path; or guests on this node alone, which need no server',
  })
}

interface RunningServer {
  /** Resolves with the reason when the server is gone. */
  readonly ended: Promise<LeetError>
}

async function startGanesha(
  journal: Journal,
  config: string,
  port: number,
  path: string,
): Promise<RunningServer> {
  const [configFile, logFile] = [journal.path('ganesha.conf'), journal.path('ganesha.log')]
  writeFileSync(configFile, config, { mode: 0o600, flag: 'wx' })
  writeFileSync(logFile, '', { mode: 0o600, flag: 'wx' })
  const refusal = (what: string, why: string | undefined) =>
    new LeetError({ code: 'LEET_E_EXPORT', where: path, what, ...(why ? { why } : {}) })
  const complaint = () => ganeshaComplaint(readFileSync(logFile, 'utf8'))
  const child = spawnGanesha(journal, ['-F', '-f', configFile, '-L', logFile, '-N', 'EVENT'])
  const ended = endOf(child).then((end) =>
    refusal(
      `nfs-ganesha ended ${end.kind === 'signal' ? `by ${end.signal}` : `with status ${end.status}`}`,
      complaint(),
    ),
  )
  const limits = { deadline: Deadline.after(READY_MS) }
  const answers = poll(
    () =>
      askNfsServer({ address: '127.0.0.1', port, version: 4 }, limits).then(
        () => true,
        () => undefined,
      ),
    50,
    limits,
    { what: 'nfs-ganesha to answer', where: path },
  )
  await Promise.race([answers, ended.then((error) => Promise.reject(error))])
  // It answers all the same when it could not make the export.
  const why = complaint()
  if (why !== undefined) throw refusal('nfs-ganesha cannot serve it', why)
  return { ended }
}

function spawnGanesha(journal: Journal, argv: readonly string[]): ChildProcess {
  // Servers are not on everybody's PATH, not even on that of root in a batch job.
  const env = { ...process.env, PATH: `${process.env.PATH ?? ''}:/usr/sbin:/usr/bin` }
  const pidFile = journal.path('ganesha.pid')
  try {
    return journal.spawn(['ganesha.nfsd', ...argv, '-p', pidFile], {
      what: 'nfs-ganesha',
      stdio: 'ignore',
      cwd: '/',
      env,
    }).child
  } catch (cause) {
    if (!(cause instanceof LeetError && cause.code === 'LEET_E_COMMAND_MISSING')) throw cause
    throw new LeetError({
      code: 'LEET_E_COMMAND_MISSING',
      what: 'nfs-ganesha, which serves the directory, is not installed on this node',
      hint: 'apt-get install nfs-ganesha nfs-ganesha-vfs (Debian)',
      cause,
    })
  }
}

// The command finds the mount in its environment, as leet-mpirun looks for it.
async function runMeanwhile(
  journal: Journal,
  command: readonly string[],
  mount: string,
  server: RunningServer,
  signals: Signals,
): Promise<number> {
  const mounts = [process.env.LEET_MOUNTS, mount].filter(Boolean).join(' ')
  const { child } = journal.spawn(command as [string, ...string[]], {
    what: command[0] as string,
    stdio: 'inherit',
    env: { ...process.env, LEET_MOUNTS: mounts },
  })
  signals.forward((signal) => child.kill(signal))
  let lost: LeetError | undefined
  void server.ended.then((error) => {
    lost = error
    // What waits for a server that is gone waits for ever.
    child.kill('SIGTERM')
  })
  const end = await endOf(child)
  if (lost) throw lost
  return statusOf(end)
}

function statusOf(end: ChildEnd): number {
  return end.kind === 'exit' ? end.status : 128 + osConstants.signals[end.signal]
}

/** Addresses behind which guests are: the job's nodes, this one by all its names, and the guests' own network. */
async function clientsOf({ nodes, subnet, allow }: ExportOrder): Promise<string[]> {
  const limits = { deadline: Deadline.after(READY_MS) }
  const found = await Promise.all(
    nodes.map(async (node) => {
      try {
        const addresses = await waitFor(lookup(node, { family: 4, all: true }), limits, {
          what: `the address of ${node}`,
        })
        return addresses.map(({ address }) => address)
      } catch (cause) {
        throw new LeetError({
          code: 'LEET_E_EXPORT',
          what: `the node ${node} has no IPv4 address here`,
          why: messageOf(cause),
          hint: `getent ahostsv4 ${node}`,
          cause,
        })
      }
    }),
  )
  return [...new Set(['127.0.0.1', ...found.flat(), ...ownAddresses(), subnet, ...allow])]
}

function ownAddresses(): string[] {
  return Object.values(networkInterfaces())
    .flat()
    .flatMap((one) => (one && one.family === 'IPv4' && !one.internal ? [one.address] : []))
}

/** The address of this node for others: that of its name, unless it is one of 127.0.0.0/8 (Debian's /etc/hosts). */
async function ownAddress(): Promise<string> {
  const named = await lookup(hostname(), { family: 4, all: true }).catch(() => [])
  const address = [...named.map((one) => one.address), ...ownAddresses()].find(
    (one) => !one.startsWith('127.'),
  )
  if (address !== undefined) return address
  throw new LeetError({
    code: 'LEET_E_EXPORT',
    what: 'this node has no address that other nodes could reach',
  })
}

/** A port that nobody uses at the moment. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

interface Signals {
  readonly first: Promise<NodeJS.Signals>
  forward(listener: (signal: NodeJS.Signals) => void): void
  stop(): void
}

function watchSignals(): Signals {
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
  const listeners: ((signal: NodeJS.Signals) => void)[] = []
  const onSignal = (signal: NodeJS.Signals) => {
    for (const listener of listeners) listener(signal)
  }
  for (const signal of signals) process.on(signal, onSignal)
  return {
    first: new Promise((resolve) => listeners.push(resolve)),
    forward: (listener) => void listeners.push(listener),
    stop() {
      for (const signal of signals) process.off(signal, onSignal)
    },
  }
}

function shortName(host: string): string {
  return (host.split('.')[0] as string).toLowerCase()
}
