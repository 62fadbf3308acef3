// QEMU as a foreground child of this process, with its monitor and console on inherited sockets.
import type { Duplex } from 'node:stream'
import { endOf } from '../../common/index.ts'
import type { MachineDriver } from './driver.ts'
import { CONSOLE_FD, QMP_FD, qemuArguments } from './qemu-args.ts'

const STDERR_LIMIT = 16 << 10

/** Launches QEMU directly. */
export const qemuDriver: MachineDriver = {
  async launch(spec, { journal, qemu, accelerator }) {
    const { others } = spec.placement ?? {}
    // All threads begin where the vCPUs are not; those are moved when QEMU tells which they are.
    const place = others ? ['taskset', '-c', others.join(',')] : []
    const argv = [...place, qemu, ...qemuArguments(spec, accelerator)] as [string, ...string[]]
    const { child, pid } = journal.spawn(argv, {
      what: `QEMU of guest ${spec.name}`,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'],
      cwd: '/',
    })
    let stderr = ''
    child.stderr?.on('data', (bytes: Buffer) => {
      stderr = (stderr + bytes.toString('utf8')).slice(-STDERR_LIMIT)
    })
    return {
      pid,
      qmp: child.stdio[QMP_FD] as Duplex,
      console: child.stdio[CONSOLE_FD] as Duplex,
      kill: () => void child.kill('SIGKILL'),
      ended: endOf(child).then((end) =>
        end.kind === 'signal' ? `QEMU ended by ${end.signal}` : `QEMU ended with status ${end.status}`,
      ),
      said: () => stderr,
      plugged: false,
      placed: false,
    }
  },
}
