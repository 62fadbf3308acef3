// A host with a real libvirtd, as a site has it where ordinary users may use `qemu:///system`; their own `qemu:///session`
// libvirt starts when it is asked for. There is no systemd, no polkit and no cgroup in it.
import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { Deadline, poll } from '../../../common/index.ts'
import { acceleratorHere } from '../../support/accelerator.ts'
import { type Cluster, type LabCommandOptions, startCluster } from './cluster.ts'

/** One node with libvirt. */
export interface LibvirtLab extends Cluster {
  /** Names of the domains that a libvirtd knows. */
  domains(uri: string, options?: LabCommandOptions): Promise<string[]>
  /** Ends `qemu:///system` as a crash does. */
  killDaemon(): Promise<void>
  /** Starts it; resolves when it answers. */
  startDaemon(): Promise<void>
}

/** libvirt's directory of its QEMUs, through which those of ordinary users must pass. */
export const LIBVIRT_QEMU = '/var/lib/libvirt/qemu'

const START_MS = 60_000
/** Closed to libvirt's QEMU and to ordinary users: to libvirt there is no KVM then (virQEMUCapsIsValid, qemu_capabilities.c). */
const HIDE_KVM = 'install -m 600 /dev/null /run/no-kvm && mount --bind /run/no-kvm /dev/kvm'

const LIBVIRTD_CONF = ['auth_unix_rw = "none"', 'unix_sock_rw_perms = "0777"', ''].join('\n')
const QEMU_CONF = [
  'security_driver = "none"',
  'cgroup_controllers = []',
  'namespaces = []',
  // Without virtlogd.
  'stdio_handler = "file"',
  '',
].join('\n')

/** Makes a lab of one node on which libvirtd runs. */
export async function startLibvirtLab(): Promise<LibvirtLab> {
  // libvirtd has QEMU look at KVM, again at each call while that fails, and waits as long as it takes. A KVM that lets guests hang
  // may hang it, too; so it sees none.
  const noKvm = existsSync('/dev/kvm') && (await acceleratorHere()).accelerator !== 'kvm'
  let daemon: ChildProcess
  let startDaemon: () => Promise<void> = async () => {}
  const cluster = await startCluster(
    { nodes: 1 },
    {
      async layHost(_host, _all, files) {
        await files.put('libvirt/libvirtd.conf', LIBVIRTD_CONF)
        await files.put('libvirt/qemu.conf', QEMU_CONF)
      },
      async start({ run }, service) {
        await run('node1', ['chmod', 'o+x', LIBVIRT_QEMU])
        if (noKvm) await run('node1', ['sh', '-c', HIDE_KVM])
        const answers = async () => {
          const { status } = await run('node1', ['virsh', '-c', 'qemu:///system', 'list'])
          return status === 0 ? true : undefined
        }
        startDaemon = async () => {
          daemon = service('node1', ['libvirtd'])
          await poll(answers, 100, { deadline: Deadline.after(START_MS) }, { what: 'libvirtd to answer' })
        }
        await startDaemon()
      },
    },
  )
  return {
    ...cluster,
    async domains(uri, options = {}) {
      const list = ['virsh', '-c', uri, 'list', '--all', '--name']
      const { status, stdout, stderr } = await cluster.run('node1', list, options)
      if (status !== 0) throw new Error(stderr)
      return stdout.split('\n').filter(Boolean)
    },
    async killDaemon() {
      const ended = new Promise((resolve) => daemon.once('exit', resolve))
      daemon.kill('SIGKILL')
      await ended
    },
    startDaemon: () => startDaemon(),
  }
}
