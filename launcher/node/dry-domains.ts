// What libvirt would be told of a job's guests, for --dry-run: the domains as they would be made, with words in capitals
// in the place of what is known only when the job runs.
import { OSV_REST_PORT } from '../images/osv/boot.ts'
import { cacheDirectory } from '../images/store.ts'
import { runtimeRoots } from '../journal/runtime-root.ts'
import { expectAccelerator } from '../machines/accel.ts'
import { domainXml } from '../machines/libvirt/domain-xml.ts'
import { findQemu } from '../machines/qemu-program.ts'
import type { MachineSpec } from '../machines/spec.ts'
import { parseSubnet } from '../networks/addresses.ts'
import { bridgeNetwork, type GuestNetwork, localNetwork, userNetwork } from '../networks/guest-network.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'
import { cloudMachine } from './cloud-guests.ts'
import { linuxMachine } from './linux-guests.ts'
import { osvMachine, osvSeedOf } from './osv-guests.ts'
import { SSH_PORT } from './ssh-guests.ts'
import type { GuestImage } from './worker.ts'

/** The description of each guest's domain, by the name of the guest; `image` is that which `--image` names. */
export function dryDomains(plan: JobPlan, image: GuestImage | undefined): Readonly<Record<string, string>> {
  const directory = `${runtimeRoots()[0]}/JOB`
  const system = plan.hypervisor.kind === 'libvirt' && plan.hypervisor.uri === 'qemu:///system'
  const qemu = findQemu()
  const accelerator = expectAccelerator({ qemu, cacheDirectory: cacheDirectory(process.env) })
  const guestOfNode = new Map<number, number>()
  return Object.fromEntries(
    plan.guests.map((guest) => {
      const index = guestOfNode.get(guest.node) ?? 0
      guestOfNode.set(guest.node, index + 1)
      const file = (kind: string) => `${directory}/${guest.name}.${kind}`
      const port = plan.guestKind === 'osv' ? OSV_REST_PORT : SSH_PORT
      const network = networkOf(plan, guest.node, index, directory, port)
      const spec = machineOf(plan, guest, network, directory, image)
      const xml = domainXml(spec, {
        jobId: plan.jobId,
        qemu,
        accelerator,
        qmpSocket: file('qmp'),
        consoleSocket: file('serial'),
        marker: { variable: 'LEET_MARKER', value: 'MARKER' },
        securityModels: system ? ['dac'] : [],
        user: plan.user,
      })
      return [guest.name, xml]
    }),
  )
}

function networkOf(
  { network }: JobPlan,
  node: number,
  guest: number,
  directory: string,
  controlPort: number,
): GuestNetwork {
  if (network.mode === 'none' || network.mode === 'user') return userNetwork(controlPort)
  // On a bridge the node's range follows from its address there, and other jobs may have the first guests of it.
  const place = { subnet: parseSubnet(network.subnet, 'network.subnet'), node, guest, controlPort }
  return network.mode !== 'bridge'
    ? localNetwork({ ...place, socketDirectory: `${directory}/segment` })
    : bridgeNetwork({ ...place, plug: { bridge: network.bridge as string, mtu: 1500, helper: undefined } })
}

function machineOf(
  plan: JobPlan,
  guest: GuestPlan,
  network: GuestNetwork,
  directory: string,
  image: GuestImage | undefined,
): MachineSpec {
  const file = (kind: string) => `${directory}/g${guest.index}.${kind}`
  const seed = file(plan.guestKind === 'osv' ? 'seed.iso' : 'cloud-config.iso')
  const files = { seed, console: file('console') }
  const composed = `${cacheDirectory(process.env)}/${plan.guestKind}/IMAGE`
  if (plan.guestKind === 'osv') {
    const about = { plan: { ...plan, mounts: [] }, addresses: plan.guests.map(() => network.address) }
    const said = osvSeedOf({ ...about, secrets: { kind: 'osv' } }, guest, network, [])
    const parts =
      image?.kind === 'osv'
        ? image
        : { kernel: `${composed}/KERNEL`, disk: `${composed}/DISK`, mountTool: undefined }
    return osvMachine(guest, network, parts, said, { ...files, layer: file('qcow2') })
  }
  if (image?.kind !== 'disk') {
    const made = { kernel: `${composed}/KERNEL`, initrd: `${composed}/INITRD`, disk: `${composed}/DISK` }
    return linuxMachine(plan, guest, network, image?.kind === 'linux' ? image : made, files)
  }
  const more = { overlay: file('qcow2'), configDrive: file('config-drive.iso') }
  return cloudMachine(plan, guest, network, image, { ...files, ...more })
}
