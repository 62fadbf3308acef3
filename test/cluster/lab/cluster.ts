// The hosts of a lab and what all of its schedulers have in common: users, shared directories, commands, an NFS server,
// and a look at what is left behind. Needs root and Debian's packages, no systemd and no hardware virtualisation. Nothing
// of the machine is changed.
//
// On all hosts: /home (homes of root, alice, bob; exported as /export/home), /srv/project (a shared directory, exported
// as /export/project), /srv/leet (this checkout, read-only). All else that a host writes is its own and ends with it.
import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import {
  type CommandResult,
  Deadline,
  identify,
  type ProcessIdentity,
  poll,
  type WaitLimits,
} from '../../../common/index.ts'
import {
  enter,
  type HostCommandOptions,
  type HostPlan,
  type LabHost,
  type LabUser,
  labError,
  loginEnvironment,
  plug,
  ROOT,
  runOn,
  spawnOn,
  startHosts,
  startSite,
} from './hosts.ts'
import { type Finding, findingsOn, type HostProcess, processesOf } from './inspect.ts'
import { EXPORTS, ganeshaConf } from './nfs.ts'
import { type LabRecord, recordLab, removeLab } from './registry.ts'

/** What a lab has. */
export interface LabOptions {
  /** Number of nodes `node1`…, at most 9. */
  readonly nodes: number
  /** Whether the host `nfs` serves the shared directories. */
  readonly nfs?: boolean
}

/** Options of commands in the lab. Two minutes unless a deadline is told. */
export interface LabCommandOptions extends HostCommandOptions, Partial<WaitLimits> {
  readonly input?: string
}

/** A running lab. Hosts are named `head`, `node1`…, `nfs`. */
export interface Cluster {
  /** Names it on this machine. */
  readonly id: string
  readonly hosts: readonly LabHost[]
  readonly nodes: readonly string[]
  readonly users: { readonly root: LabUser; readonly alice: LabUser; readonly bob: LabUser }
  /** The checkout's own Node.js, as the hosts see it. */
  readonly node: string
  /** The machine's path of a shared path of the hosts (/home/…, /srv/project/…, /export/…). */
  path(shared: string): string
  /** Runs a command on a host to its end; a non-zero status is returned. */
  run(host: string, argv: readonly string[], options?: LabCommandOptions): Promise<CommandResult>
  /** The standard output of a command on the head that must succeed. */
  must(argv: readonly string[], options?: LabCommandOptions): Promise<string>
  /** argv and environment of a command on a host, for tests that spawn it themselves and signal it. */
  command(
    host: string,
    argv: readonly string[],
    options?: HostCommandOptions,
  ): { argv: [string, ...string[]]; env: NodeJS.ProcessEnv }
  /** Takes a host's cable out of the switch, or puts it back. */
  plug(host: string, plugged: boolean): Promise<void>
  processes(host: string): HostProcess[]
  /** Whatever is on the head or a node that was not there when the lab was ready. */
  leftovers(): Finding[]
  /** Waits until there are no leftovers (among those that matter); rejects with their list. */
  waitClean(limits?: Partial<WaitLimits>, matters?: (finding: Finding) => boolean): Promise<void>
  /** The NFS server, when there is one: `stop` kills it as a crash does. */
  readonly nfs?: { readonly address: string; stop(): Promise<void>; start(): Promise<void> }
  /** Ends and removes everything. */
  stop(): void
  [Symbol.dispose](): void
}

/** What a scheduler adds to the hosts. */
export interface ClusterScheduler {
  /** Files of a host in which it differs from the machine. */
  layHost(host: HostPlan, all: readonly HostPlan[], files: HostFiles): Promise<void>
  /** Starts its daemons; resolves when jobs can be submitted. */
  start(cluster: Cluster, service: StartService): Promise<void>
}

/** Puts files into a host's /etc before it starts. */
export interface HostFiles {
  put(file: string, content: string | Uint8Array, owner?: { user: LabUser; mode: number }): Promise<void>
}

/** Starts a daemon in the foreground on a host; what it says goes to the lab's logs. */
export type StartService = (
  host: string,
  argv: readonly string[],
  options?: Pick<HostCommandOptions, 'user' | 'env'>,
) => ChildProcess

const COMMAND_MS = 120_000
const START_MS = 120_000
const NETWORK = '10.77.0'
const ALICE: LabUser = { name: 'alice', uid: 2001, gid: 2001, home: '/home/alice' }
const BOB: LabUser = { name: 'bob', uid: 2002, gid: 2002, home: '/home/bob' }
const USERS = [ROOT, ALICE, BOB]

/** Makes a lab: its hosts in under a second, scheduler and NFS ready a moment later. */
export async function startCluster(options: LabOptions, scheduler: ClusterScheduler): Promise<Cluster> {
  const directory = await mkdtemp(join(tmpdir(), 'leet-lab-'))
  let record: LabRecord = {
    id: basename(directory),
    owner: identify(process.pid) as ProcessIdentity,
    directory,
  }
  recordLab(record)
  // A signal that ends this process ends the hosts through their parent-death signal; clean.ts removes the files.
  const remove = () => removeLab(record)
  process.once('exit', remove)
  const stop = () => {
    process.off('exit', remove)
    removeLab(record)
  }
  try {
    const plans = planHosts(options)
    await layShared(directory)
    await Promise.all(plans.map((plan) => layHost(directory, plan, plans, scheduler)))
    const site = await startSite(directory)
    record = { ...record, site }
    recordLab(record)
    const hosts = await startHosts(directory, site, plans)
    return await startServices(directory, site, hosts, scheduler, stop)
  } catch (error) {
    stop()
    throw error
  }
}

/** The hosts of a lab: 10.77.0.10 is the head, 10.77.0.(10+n) node n, 10.77.0.2 the NFS server. */
function planHosts({ nodes, nfs }: LabOptions): HostPlan[] {
  return [
    { name: 'head', address: `${NETWORK}.10` },
    ...Array.from({ length: nodes }, (_, i) => ({ name: `node${i + 1}`, address: `${NETWORK}.${11 + i}` })),
    ...(nfs ? [{ name: 'nfs', address: `${NETWORK}.2` }] : []),
  ]
}

async function layShared(directory: string): Promise<void> {
  const shared = join(directory, 'shared')
  await chmod(directory, 0o755)
  await mkdir(join(directory, 'log'))
  for (const folder of ['home', 'project', 'guarded']) await mkdir(join(shared, folder), { recursive: true })
  await chmod(join(shared, 'project'), 0o1777)
  await chmod(join(shared, 'guarded'), 0o1777)
  for (const user of USERS) {
    const home = join(directory, 'shared', user.home)
    await mkdir(home, { mode: 0o700 })
    await chown(home, user.uid, user.gid)
  }
}

/** The files in which a host differs from the machine, as a tree that is laid over it. */
async function layHost(
  directory: string,
  host: HostPlan,
  all: readonly HostPlan[],
  scheduler: ClusterScheduler,
): Promise<void> {
  const accounts = await readFile('/etc/passwd', 'utf8')
  const groups = await readFile('/etc/group', 'utf8')
  const files: HostFiles = {
    async put(file, content, owner) {
      const path = join(directory, 'rootfs', host.name, 'etc', file)
      await mkdir(join(path, '..'), { recursive: true })
      await writeFile(path, content)
      if (!owner) return
      await chmod(path, owner.mode)
      // The folder is the daemon's too, as packages make it.
      for (const one of [path, join(path, '..')]) await chown(one, owner.user.uid, owner.user.gid)
    },
  }
  const lines = (text: string, keyField: number) =>
    text.split('\n').filter((line) => {
      const id = Number(line.split(':')[keyField])
      return line !== '' && !USERS.some((user) => user.uid === id || line.startsWith(`${user.name}:`))
    })
  const account = ({ name, uid, gid, home }: LabUser) => `${name}:x:${uid}:${gid}::${home}:/bin/bash`
  await files.put('hostname', `${host.name}\n`)
  await files.put('hosts', `127.0.0.1 localhost\n${all.map((h) => `${h.address} ${h.name}\n`).join('')}`)
  await files.put('passwd', [...USERS.map(account), ...lines(accounts, 2), ''].join('\n'))
  await files.put('group', [...USERS.map((u) => `${u.name}:x:${u.gid}:`), ...lines(groups, 2), ''].join('\n'))
  await files.put('qemu/bridge.conf', 'allow br0\n')
  await files.put('ganesha/ganesha.conf', ganeshaConf(EXPORTS))
  await scheduler.layHost(host, all, files)
}

/** An account of the machine, as packages make them for daemons. */
export async function machineAccount(name: string): Promise<LabUser> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  const fields = lines.find((line) => line[0] === name)
  if (!fields) throw labError(`there is no account ${name}: is its package installed?`)
  return { name, uid: Number(fields[2]), gid: Number(fields[3]), home: '/' }
}

async function startServices(
  directory: string,
  site: ProcessIdentity,
  hosts: readonly LabHost[],
  scheduler: ClusterScheduler,
  stop: () => void,
): Promise<Cluster> {
  const host = (name: string): LabHost => {
    const found = hosts.find((one) => one.name === name)
    if (!found) throw labError(`there is no host ${name}`)
    return found
  }
  const limitsOf = (limits: Partial<WaitLimits> | undefined): WaitLimits => ({
    deadline: limits?.deadline ?? Deadline.after(COMMAND_MS),
    signal: limits?.signal,
  })
  // By host and command: one that is started again is none that was left behind.
  const services = new Set<string>()
  const service: StartService = (name, argv, options = {}) => {
    services.add(`${name} ${argv.join(' ')}`)
    const log = openSync(join(directory, 'log', `${name}.${basename(argv[0] as string)}`), 'a')
    const child = spawnOn(host(name), argv, { ...options, cwd: '/' }, ['ignore', log, log])
    child.unref()
    closeSync(log)
    return child
  }
  const run: Cluster['run'] = (name, argv, options = {}) =>
    runOn(host(name), argv, { ...options, ...limitsOf(options) })
  const must = async (argv: readonly string[], options: LabCommandOptions = {}) => {
    const result = await run('head', argv, options)
    if (result.status !== 0) throw labError(`${argv.join(' ')}: ${result.stderr.trim() || result.status}`)
    return result.stdout
  }

  const baseline = new Set<string>()
  const key = ({ host: name, kind, what }: Finding) => `${name} ${kind} ${what}`
  // Jobs do not run on the NFS server, which tests stop and start.
  const watched = hosts.filter(({ name }) => name !== 'nfs')
  const layer = (name: string) => `/proc/${site.pid}/root${join(directory, 'layers', name, 'upper')}`
  const findings = () => watched.flatMap((one) => findingsOn(one, layer(one.name)))
  const isService = ({ host: name, command }: Finding) => services.has(`${name} ${command}`)
  const leftovers: Cluster['leftovers'] = () =>
    findings().filter((finding) => !baseline.has(key(finding)) && !isService(finding))

  const nodes = hosts.map(({ name }) => name).filter((name) => name.startsWith('node'))
  const nfs = hosts.some(({ name }) => name === 'nfs') ? nfsService(host('nfs'), service, run) : undefined
  const cluster: Cluster = {
    id: basename(directory),
    hosts,
    nodes,
    users: { root: ROOT, alice: ALICE, bob: BOB },
    node: '/srv/leet/node_modules/.bin/node',
    path: (shared) => join(directory, 'shared', shared.replace(/^\/export|^\/srv(?=\/project)/, '')),
    run,
    must,
    command: (name, argv, options = {}) => ({
      argv: enter(host(name), argv, options),
      env: loginEnvironment(options),
    }),
    plug: (name, plugged) => plug(site, hosts.indexOf(host(name)), plugged),
    processes: (name) => processesOf(host(name)),
    leftovers,
    waitClean: async (limits = { deadline: Deadline.after(10_000) }, matters = () => true) => {
      const left = () => leftovers().filter(matters)
      const clean = () => (left().length === 0 ? true : undefined)
      await poll(clean, 100, limitsOf(limits), { what: 'clean hosts' }).catch(() => {
        const list = left().map((finding) => `  ${key(finding)}`)
        if (list.length > 0) throw labError(`left behind:\n${list.join('\n')}`)
      })
    },
    nfs,
    stop,
    [Symbol.dispose]: stop,
  }
  await Promise.all([nfs?.start(), scheduler.start(cluster, service)])
  for (const finding of findings()) baseline.add(key(finding))
  return cluster
}

function nfsService(host: LabHost, service: StartService, run: Cluster['run']): NonNullable<Cluster['nfs']> {
  service(host.name, ['rpcbind', '-f', '-w', '-i'])
  let ganesha: ChildProcess | undefined
  return {
    address: host.address,
    async start() {
      ganesha = service(host.name, [
        ...['ganesha.nfsd', '-F', '-f', '/etc/ganesha/ganesha.conf', '-L', '/dev/stdout'],
        ...['-p', '/run/ganesha.pid', '-N', 'NIV_EVENT'],
      ])
      const registered = async () => {
        const { status } = await run(host.name, ['rpcinfo', '-t', '127.0.0.1', 'mountd', '3'])
        return status === 0 ? true : undefined
      }
      const limits = { deadline: Deadline.after(START_MS) }
      await poll(registered, 100, limits, { what: 'the NFS server', where: host.name })
    },
    async stop() {
      const child = ganesha
      if (!child || child.exitCode !== null || child.signalCode !== null) return
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await ended
    },
  }
}
