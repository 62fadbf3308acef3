// A QEMU whose Linux guest says that it is ready and which ends when its SSH server is first spoken to: `dying-qemu.ts FILE
// ARGUMENTS`, with the arguments that LEET gives to QEMU. The port at which that was is written into FILE.
import { writeFileSync } from 'node:fs'
import { type AddressInfo, createServer, Socket } from 'node:net'
import { CONSOLE_FD, QMP_FD } from '../../launcher/machines/qemu-args.ts'
import { serveQmp, usernetText } from './qmp.ts'

const [file = '', ...argv] = process.argv.slice(2)
const forward = createServer(() => {
  writeFileSync(file, String((forward.address() as AddressInfo).port))
  process.exit(1)
})
await new Promise<void>((resolve) => forward.listen(0, '127.0.0.1', () => resolve()))
serveQmp(QMP_FD, usernetText(argv, (forward.address() as AddressInfo).port))
new Socket({ fd: CONSOLE_FD, readable: true, writable: true }).write('leet-init: ready ms=1\r\n')
