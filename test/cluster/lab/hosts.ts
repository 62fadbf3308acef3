// Hosts made of namespaces on this one machine, joined by a switch: each with its own processes, network, host name,
// file system and users. The site (the switch's namespace) is the init of all of them: when it ends, so do they.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type CommandResult,
  Deadline,
  identify,
  LeetError,
  type ProcessIdentity,
  runCommand,
  type WaitLimits,
  waitFor,
  withParentDeathSignal,
} from '../../../common/index.ts'

/** An account of the lab's hosts. Its home is the same directory on all of them. */
export interface LabUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
}

/** A host to make. */
export interface HostPlan {
  readonly name: string
  /** IPv4 address of its br0 in 10.77.0.0/16. */
  readonly address: string
}

/** A running host: `init` is its first process, as the machine sees it. */
export interface LabHost extends HostPlan {
  readonly init: ProcessIdentity
}

/** How a command runs on a host. */
export interface HostCommandOptions {
  /** root unless told. */
  readonly user?: LabUser
  /** Added to a login's environment. */
  readonly env?: Readonly<Record<string, string>>
  /** The user's home unless told. */
  readonly cwd?: string
}

const here = (file: string) => fileURLToPath(new URL(file, import.meta.url))
const PROJECT = here('../../..').replace(/\/$/, '')
const START_MS = 60_000
export const ROOT: LabUser = { name: 'root', uid: 0, gid: 0, home: '/home/root' }

/** Starts the site: `LAB/layers` becomes its tmpfs. */
export async function startSite(lab: string): Promise<ProcessIdentity> {
  await mkdir(join(lab, 'layers'))
  return await startInit([
    ...['unshare', '--net', '--pid', '--mount', '--fork', '--kill-child=KILL', '--propagation', 'private'],
    ...['sh', here('site.sh'), join(lab, 'layers')],
  ])
}

/** Starts the hosts, all at once, and plugs them into the switch. `LAB/rootfs/NAME` and `LAB/shared` exist. */
export async function startHosts(
  lab: string,
  site: ProcessIdentity,
  plans: readonly HostPlan[],
): Promise<LabHost[]> {
  const hosts = await Promise.all(
    plans.map(async (plan) => ({
      ...plan,
      init: await startInit([
        ...['nsenter', '-t', `${site.pid}`, '-m', '-n', '-p'],
        ...['unshare', '--net', '--uts', '--ipc', '--pid', '--mount', '--fork', '--kill-child=KILL'],
        ...['--propagation', 'private', 'sh', here('host.sh'), plan.name, lab, PROJECT],
      ]),
    })),
  )
  await ip(
    site,
    hosts.flatMap((host, port) => [
      `link add port${port} type veth peer name eth0 netns ${host.init.pid}`,
      `link set port${port} master br0 up`,
    ]),
  )
  await Promise.all(
    hosts.map((host) =>
      ip(host.init, [
        'link add br0 type bridge forward_delay 0 stp_state 0',
        'link set eth0 master br0 up',
        `address add ${host.address}/16 brd + dev br0`,
        'link set br0 up',
      ]),
    ),
  )
  return hosts
}

/** Takes a host's cable out of the switch, or puts it back: its connections are not closed, nothing arrives any more. */
export function plug(site: ProcessIdentity, port: number, plugged: boolean): Promise<void> {
  return ip(site, [`link set port${port} ${plugged ? 'up' : 'down'}`])
}

/** argv that runs `argv` on a host, to be spawned on the machine. The command dies with the process that it becomes. */
export function enter(
  host: LabHost,
  argv: readonly string[],
  options: HostCommandOptions = {},
): [string, ...string[]] {
  const user = options.user ?? ROOT
  const become = ['--reuid', `${user.uid}`, '--regid', `${user.gid}`, '--init-groups']
  const namespaces = ['-t', `${host.init.pid}`, '-m', '-u', '-i', '-n', '-p']
  return [
    ...(['nsenter', ...namespaces, `--wdns=${options.cwd ?? user.home}`] as const),
    ...['setpriv', '--pdeathsig', 'KILL', ...(user.uid === 0 ? [] : become), '--', ...argv],
  ]
}

/** The environment of a login on a host. */
export function loginEnvironment({ user = ROOT, env = {} }: HostCommandOptions): NodeJS.ProcessEnv {
  return {
    PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin',
    LANG: 'C.UTF-8',
    HOME: user.home,
    USER: user.name,
    LOGNAME: user.name,
    SHELL: '/bin/sh',
    XDG_RUNTIME_DIR: `/run/user/${user.uid}`,
    ...env,
  }
}

/** Runs a command on a host to its end. */
export function runOn(
  host: LabHost,
  argv: readonly string[],
  options: HostCommandOptions & WaitLimits & { readonly input?: string },
): Promise<CommandResult> {
  const { deadline, signal, input } = options
  return runCommand(enter(host, argv, options), { deadline, signal, input, env: loginEnvironment(options) })
}

/** Starts a command on a host without waiting for it; it dies with this process. */
export function spawnOn(
  host: LabHost,
  argv: readonly string[],
  options: HostCommandOptions,
  stdio: 'pipe' | ['ignore', number, number],
): ChildProcess {
  const [command, ...args] = withParentDeathSignal(enter(host, argv, options))
  return spawn(command as string, args, { stdio, env: loginEnvironment(options) })
}

async function startInit(argv: readonly string[]): Promise<ProcessIdentity> {
  const [command, ...args] = withParentDeathSignal(argv)
  const child = spawn(command as string, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  // The child lives as long as the lab; it must not keep a finished test process from exiting.
  child.unref()
  let output = ''
  let complaint = ''
  child.stderr.on('data', (chunk) => {
    complaint += chunk
  })
  const ready = new Promise<number>((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      output += chunk
      const match = /^ready (\d+)\n/m.exec(output)
      if (match) resolve(Number(match[1]))
    })
    once(child, 'close').then(() => reject(labError(`a host could not be made: ${complaint.trim()}`)), reject)
  })
  const limits = { deadline: Deadline.after(START_MS) }
  const pid = await waitFor(ready, limits, { what: 'a host made of namespaces' })
  child.stdout.destroy()
  child.stderr.destroy()
  const init = identify(pid)
  if (!init) throw labError(`a host ended at once: ${complaint.trim()}`)
  return init
}

/** Runs ip-commands in the network namespace of a process. */
async function ip({ pid }: ProcessIdentity, lines: readonly string[]): Promise<void> {
  const result = await runCommand(['nsenter', '-t', `${pid}`, '-n', 'ip', '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    deadline: Deadline.after(START_MS),
  })
  if (result.status !== 0) throw labError(`the lab's network could not be made: ${result.stderr.trim()}`)
}

/** The lab itself failed; no verdict on what it tests. */
export function labError(what: string): LeetError {
  return new LeetError({ code: 'LEET_E_LAB', what, where: 'cluster lab' })
}
