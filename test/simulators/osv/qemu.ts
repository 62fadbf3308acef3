// A QEMU whose guest is a simulated OSv: `qemu.ts ARGUMENTS`, the arguments being those that LEET gives to QEMU. It speaks
// QMP and has the console where QEMU has them, leads a port of the host to the guest's REST server, and the guest has
// applied the part of its seed that is its host name. It has an empty directory /data, and then says what LEET_SIMULATED_LINE
// has. With LEET_SIMULATED_END=FILE it ends when its guest is first spoken to, and
// writes the port at which that was into FILE.
import { writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { CONSOLE_FD, QMP_FD } from '../../../launcher/machines/qemu-args.ts'
import { serveQmp, usernetText } from '../qmp.ts'
import { OsvGuest } from './guest.ts'

const argument = (pattern: RegExp) =>
  process.argv.map((word) => pattern.exec(word)?.[1]).find((found) => found !== undefined)
const name = argument(/^guest=([\w-]+)/)

const console = new Socket({ fd: CONSOLE_FD, readable: true, writable: true })
const { LEET_SIMULATED_LINE: line, LEET_SIMULATED_END: end } = process.env
const guest = await OsvGuest.boot({
  onConsole: (data) => console.write(data),
  onEnd: () => process.exit(0),
  // What the simulated root has in a directory is not listed.
  files: { '/data/any': '' },
})
const named = await fetch(`http://127.0.0.1:${guest.port}/os/hostname?name=${name}`, { method: 'POST' })
if (!named.ok) throw new Error(await named.text())
if (line) console.write(`${line}\n`)

const forward = createServer((socket) => socket.pipe(connect(guest.port, '127.0.0.1')).pipe(socket))
await new Promise<void>((resolve) => forward.listen(0, '127.0.0.1', () => resolve()))
const hostPort = (forward.address() as AddressInfo).port
if (end) {
  forward.on('connection', () => {
    writeFileSync(end, String(hostPort))
    process.exit(1)
  })
}

serveQmp(QMP_FD, usernetText(process.argv, hostPort))
