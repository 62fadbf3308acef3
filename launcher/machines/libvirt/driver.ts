// Machines as transient domains of libvirt, by its command virsh. The virsh that creates a domain stays connected, as a
// foreground child: `--autodestroy` makes libvirtd end the domain when that connection ends, however this process does.
// When libvirtd itself dies QEMU would live on; then virsh ends, and this driver ends QEMU. QEMU connects to sockets of
// this process for its console and for a monitor beside libvirt's own, and is followed through them as any other.
import { rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import {
  atMost,
  endOf,
  isRunning,
  LeetError,
  type ProcessIdentity,
  pause,
  poll,
  runCommand,
  type WaitLimits,
  waitFor,
} from '../../../common/index.ts'
import { MARKER_VARIABLE, processesWithMarker } from '../../journal/removal.ts'
import type { LaunchedMachine, MachineContext, MachineDriver } from '../driver.ts'
import type { MachineSpec } from '../spec.ts'
import { domainXml, parseSecurityModels } from './domain-xml.ts'

/** How long libvirtd may take to tell how a domain ended, in milliseconds. */
const LAST_WORDS_MS = 500
const POLL_MS = 5
const SAID_LIMIT = 16 << 10

/** The driver for the libvirtd at `uri`, which must answer; `LEET_E_LIBVIRT` says why it does not. */
export async function libvirtDriver(uri: string, limits: WaitLimits): Promise<MachineDriver> {
  const { status, stdout, stderr } = await runCommand(['virsh', '-c', uri, 'capabilities'], {
    ...limits,
    env: english(),
  })
  if (status !== 0) {
    throw new LeetError({
      code: 'LEET_E_LIBVIRT',
      what: `libvirt does not answer at ${uri}`,
      why: lastLine(stderr),
      hint: 'start libvirtd, join the group libvirt, try --libvirt-uri qemu:///session, or --hypervisor qemu',
    })
  }
  const securityModels = parseSecurityModels(stdout)
  return { launch: (spec, context) => launchDomain(spec, context, uri, securityModels) }
}

async function launchDomain(
  spec: MachineSpec,
  context: MachineContext,
  uri: string,
  securityModels: readonly string[],
): Promise<LaunchedMachine> {
  const { journal, qemu, accelerator } = context
  const file = (kind: string) => journal.path(`${spec.name}.${kind}`)
  const [qmpSocket, consoleSocket, description] = [file('qmp'), file('serial'), file('xml')]
  const listeners = await Promise.all([qmpSocket, consoleSocket].map((path) => awaitConnection(path)))
  try {
    const expected = journal.expect(`QEMU of the libvirt domain ${spec.name}`)
    const xml = domainXml(spec, {
      ...{ jobId: journal.jobId, qemu, accelerator, qmpSocket, consoleSocket, securityModels },
      marker: { variable: MARKER_VARIABLE, value: expected.marker },
      user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    })
    writeFileSync(description, xml, { mode: 0o600, flag: 'wx' })
    // No name in it needs quoting: checkMachineSpec has seen it.
    const { child } = journal.spawn(
      [
        ...(['virsh', '-c', uri] as const),
        `create ${description} --autodestroy; event --domain ${spec.name} --event lifecycle --loop`,
      ],
      {
        what: `libvirt's watch over ${spec.name}`,
        stdio: ['ignore', 'pipe', 'pipe'],
        cwd: '/',
        env: english(),
      },
    )
    let said = ''
    const stopped = Promise.withResolvers<void>()
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        said = (said + bytes.toString('utf8')).slice(-SAID_LIMIT)
        if (/': Stopped /.test(said)) stopped.resolve()
      })
    }
    const watch = endOf(child)
    let hypervisor: ProcessIdentity | undefined
    const kill = () => {
      if (hypervisor && isRunning(hypervisor)) process.kill(hypervisor.pid, 'SIGKILL')
      else if (!hypervisor) child.kill('SIGKILL')
    }
    const refused = watch.then(() => Promise.reject(refusal(spec, said)))
    refused.catch(() => {})
    try {
      const [qmp, console] = await waitFor(
        Promise.race([Promise.all(listeners.map(({ connected }) => connected)), refused]),
        context,
        { what: `libvirt to start the domain ${spec.name}`, where: uri },
      )
      hypervisor = await poll(() => processesWithMarker(expected.marker)[0], POLL_MS, context, {
        what: `the QEMU of the domain ${spec.name} in the process table`,
        hint: 'libvirtd must run in this pid namespace and run QEMU as this user',
      })
      expected.made(hypervisor)
      const { pid } = hypervisor
      const closed = new Promise<void>((resolve) => (qmp as Socket).once('close', () => resolve()))
      const ended = Promise.race([closed, watch]).then(async () => {
        const byLibvirt = child.exitCode !== null || child.signalCode !== null
        if (byLibvirt) kill()
        else await atMost(LAST_WORDS_MS, Promise.race([stopped.promise, watch]), undefined)
        child.kill('SIGKILL')
        while (hypervisor && isRunning(hypervisor)) await pause(POLL_MS)
        expected.gone()
        return byLibvirt ? `libvirtd is gone (${lastLine(said)})` : endTold(said)
      })
      return {
        pid,
        qmp: qmp as Socket,
        console: console as Socket,
        kill,
        ended,
        said: () => '',
        plugged: true,
        placed: true,
      }
    } catch (error) {
      kill()
      child.kill('SIGKILL')
      throw error
    }
  } finally {
    for (const { close } of listeners) close()
    rmSync(description, { force: true })
  }
}

interface Listener {
  readonly connected: Promise<Socket>
  close(): void
}

/** Takes one connection; the socket is in the job's directory, which is closed to others. */
function awaitConnection(path: string): Promise<Listener> {
  const first = Promise.withResolvers<Socket>()
  const server = createServer((socket) => first.resolve(socket))
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () =>
      resolve({
        connected: first.promise,
        close() {
          server.close()
          rmSync(path, { force: true })
        },
      }),
    )
  })
}

// virsh's words are read, so they must not be translated.
function english(): NodeJS.ProcessEnv {
  return { ...process.env, LC_ALL: 'C.UTF-8' }
}

function refusal(spec: MachineSpec, said: string): LeetError {
  return new LeetError({
    code: 'LEET_E_LIBVIRT',
    where: `guest ${spec.name}`,
    what: 'libvirt did not start its domain',
    ...explainRefusal(said),
  })
}

/** Why `virsh create` failed, in libvirt's words without those that say that it failed; and what a site must do. */
export function explainRefusal(said: string): { readonly why: string; readonly hint?: string } {
  const errors = said
    .split('\n')
    .flatMap((line) => /^error: (?!failed to (?:create|get) domain)(.*)/i.exec(line)?.[1] ?? [])
  const why = errors[0]?.replace(/^internal error: /, '') ?? lastLine(said)
  const closed = /(\/\S*\/libvirt\/qemu)\/\S*: Permission denied/.exec(said)?.[1]
  if (closed === undefined) return { why }
  return {
    why,
    // libvirt makes its QEMUs' directories there and gives them to whom QEMU runs as; upstream's mode is 0751, Debian's 0750.
    hint: `as root: chmod o+x ${closed}, through which QEMU of other users than libvirt’s own must pass; or --libvirt-uri qemu:///session`,
  }
}

function endTold(said: string): string {
  const how = /event 'lifecycle' for domain '[^']*': Stopped (.*)/.exec(said)?.[1]
  return how === undefined ? 'its QEMU ended' : `its libvirt domain was stopped: ${how}`
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? ''
}
