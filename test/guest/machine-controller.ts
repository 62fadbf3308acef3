// A controller to be killed: starts two machines on a segment as a job does, says so on stdout, and waits.
import { Deadline, Scope, silentLog } from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { startMachine } from '../../launcher/machines/machine.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import { parseSubnet } from '../../launcher/networks/addresses.ts'
import { localNetwork } from '../../launcher/networks/guest-network.ts'
import { startLocalSegment } from '../../launcher/networks/local-segment.ts'

const [root, kernel] = process.argv.slice(2) as [string, string]
const limits = { deadline: Deadline.after(30_000) }
const journal = await Journal.open({ jobId: 'killed', root })
const scope = Scope.open({ name: 'the job', warn() {} })
const { socketDirectory } = await startLocalSegment({ journal, scope, guests: 2, ...limits })
const subnet = parseSubnet('10.77.0.0/16', 'subnet')
const machines = await Promise.all(
  [0, 1].map((guest) =>
    startMachine(
      {
        name: `g${guest}`,
        memory: 128 << 20,
        cpus: 1,
        machineType: 'q35',
        kernel: { image: kernel, commandLine: 'console=ttyS0' },
        disks: [],
        nics: localNetwork({ subnet, node: 0, guest, socketDirectory, controlPort: 22 }).nics,
        shares: [],
        consoleFile: journal.path(`g${guest}.console`),
      },
      { scope, journal, log: silentLog, qemu: findQemu(), accelerator: 'tcg', ...limits },
    ),
  ),
)
console.log(JSON.stringify({ directory: journal.directory, pids: machines.map(({ pid }) => pid) }))
