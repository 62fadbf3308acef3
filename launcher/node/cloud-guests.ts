// Linux guests of a distribution's own disk image: it boots by itself and real cloud-init reads the seed. LEET has nothing
// in it; what it needs comes over SSH once cloud-init has finished, and the mounts of the job are looked into by hand.
import { readFile } from 'node:fs/promises'
import { LeetError, runCommand, type WaitLimits } from '../../common/index.ts'
import type { Seed } from '../../contextualise/index.ts'
import { openSshSession, type SshSession, starterPath } from '../../mpi-bridge/index.ts'
import { busyboxPath } from '../images/guest-root.ts'
import { isProgress } from '../machines/boot-watch.ts'
import type { MachineSpec } from '../machines/spec.ts'
import type { GuestNetwork } from '../networks/guest-network.ts'
import { machineShares } from '../nfs/seed-mounts.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'
import { cloudInitFailure, explainingMissing, isWithoutSeed, mountFailure } from './cloud-words.ts'
import type { NodeGuests } from './node-guests.ts'
import { type SshGuestsContext, sshAccess, sshGuests } from './ssh-guests.ts'
import type { DiskImageFile } from './worker.ts'

/** The guests of this node; nothing is started yet. */
export function cloudGuests(context: SshGuestsContext & { readonly image: DiskImageFile }): NodeGuests {
  const { plan, image, secrets, mirror, journal, log } = context
  let tools: GuestTools | undefined
  return sshGuests(context, {
    seeds: ['cloud-config', 'config-drive'],
    async prepare(limits) {
      tools = { starter: await starterPath(limits), busybox: busyboxPath() }
    },
    async machine({ guest, network, limits }, { seeds: [seed = '', configDrive = ''], console }) {
      const overlay = journal.path(`g${guest.index}.qcow2`)
      await makeOverlay(overlay, image, limits)
      return cloudMachine(plan, guest, network, image, { overlay, seed, configDrive, console }, mirror?.at)
    },
    watch({ guest: { name }, seed, scope, limits, onState, watch }) {
      const prepare = async (port: number): Promise<SshSession> => {
        const access = { ...sshAccess(name, port, secrets), mayChange: true }
        const session = await openSshSession(access, scope, limits)
        onState('contextualised', 'SSH answers with the seed’s key')
        // A guest that answers does not hang; what cloud-init still does may take long.
        watch.stop()
        await waitForCloudInit(session, name, limits)
        await checkMounts(session, name, seed, limits)
        await putTools(session, name, tools as GuestTools, limits)
        return session
      }
      return {
        onLine(line) {
          if (isProgress(line)) watch.progress()
          if (isWithoutSeed(line)) scope.fail(withoutSeed(name))
        },
        async ready(port) {
          const session = await prepare(port)
          return (heard, within) => {
            const listener = explainingMissing(heard, name, log)
            return session.openChannel('/leet/starter', { scope, listener }, within)
          }
        },
      }
    },
  })
}

/** The virtual machine of such a guest. Its disk is a layer of its own over the image, which nobody writes. */
export function cloudMachine(
  plan: JobPlan,
  guest: GuestPlan,
  network: GuestNetwork,
  image: DiskImageFile,
  files: {
    readonly overlay: string
    readonly seed: string
    readonly configDrive: string
    readonly console: string
  },
  placeOf?: (path: string) => string,
): MachineSpec {
  return {
    name: guest.name,
    memory: guest.memory,
    cpus: guest.cpus,
    machineType: 'q35',
    disks: [
      {
        serial: 'leet-root',
        path: files.overlay,
        format: 'qcow2',
        base: { path: image.disk, format: image.format },
        readonly: false,
        bootIndex: 0,
      },
      // cloud-init takes the one that its image is set up for; NoCloud when it may choose.
      { serial: 'leet-seed', path: files.seed, readonly: true },
      { serial: 'leet-config', path: files.configDrive, readonly: true },
    ],
    nics: network.nics,
    shares: machineShares(plan.mounts, placeOf),
    consoleFile: files.console,
  }
}

/** Programs of this node that the guest gets, by their names in its /leet. */
type GuestTools = Readonly<Record<'starter' | 'busybox', string>>

async function makeOverlay(path: string, { disk, format }: DiskImageFile, limits: WaitLimits): Promise<void> {
  const { status, stderr } = await runCommand(
    ['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', format, '-b', disk, path],
    limits,
  )
  if (status === 0) return
  throw new LeetError({
    code: 'LEET_E_IMAGE',
    where: disk,
    what: 'qemu-img cannot make a layer over the image',
    why: stderr.trim().slice(-500),
  })
}

/** Waits until cloud-init has finished and refuses what it failed at, with its own words. */
async function waitForCloudInit(session: SshSession, where: string, limits: WaitLimits): Promise<void> {
  // The link comes with the last stage of this boot, as one step (cloudinit/cmd/main.py, status_wrapper).
  const command =
    'until [ -e /run/cloud-init/result.json ]; do sleep 1; done; cat /run/cloud-init/result.json'
  const { stdout, stderr } = await session.run(command, limits)
  const failure = cloudInitFailure(stdout)
  if (failure === undefined) return
  throw new LeetError({
    code: 'LEET_E_GUEST_INIT',
    where,
    what: 'cloud-init of the image did not apply all of its seed',
    why: failure || stderr.trim(),
    hint: 'its console, and /var/log/cloud-init.log of the image booted by hand',
  })
}

/** cloud-init goes on without a mount that failed: each is looked for, and tried once more for the reason. */
async function checkMounts(
  session: SshSession,
  where: string,
  { mounts }: Seed,
  limits: WaitLimits,
): Promise<void> {
  for (const { path, type, source, required } of mounts) {
    const quoted = `'${path.replaceAll("'", `'\\''`)}'`
    const { status, stdout, stderr } = await session.run(`mountpoint -q ${quoted} || mount ${quoted}`, limits)
    if (status === 0 || !required) continue
    throw new LeetError({
      code: 'LEET_E_GUEST_INIT',
      where,
      what: `cannot be used: mount ${path} ${type} ${source} failed`,
      ...mountFailure(`${stdout}${stderr}`.trim(), { type, source, path }),
    })
  }
}

/** What starts the ranks, and what proves that the guest reaches what they need. */
async function putTools(
  session: SshSession,
  where: string,
  tools: GuestTools,
  limits: WaitLimits,
): Promise<void> {
  for (const [name, path] of Object.entries(tools)) {
    const { status, stderr } = await session.run(
      `mkdir -p /leet && cat >/leet/${name} && chmod 755 /leet /leet/${name}`,
      limits,
      await readFile(path),
    )
    if (status === 0) continue
    throw new LeetError({
      code: 'LEET_E_GUEST_INIT',
      where,
      what: `the guest does not take /leet/${name}`,
      why: stderr.trim().slice(-500),
    })
  }
}

function withoutSeed(where: string): LeetError {
  return new LeetError({
    code: 'LEET_E_GUEST_INIT',
    where,
    what: 'cloud-init of the image did not find its seed',
    hint: 'the image must look for NoCloud or ConfigDrive (datasource_list in /etc/cloud)',
  })
}
