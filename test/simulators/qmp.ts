// QEMU's monitor as simulated QEMUs have it: it greets, answers every command, tells where ports of the host lead, and ends
// the process with `quit` or with its own connection.
import { Socket } from 'node:net'

/** QEMU's own text of `info usernet`, as launcher/machines/usernet.ts reads it, for a port of this host and the one that `argv` forwards. */
export function usernetText(argv: readonly string[], hostPort: number): string {
  const argument = (pattern: RegExp) =>
    argv.map((word) => pattern.exec(word)?.[1]).find((found) => found !== undefined)
  const nic = argument(/^user,id=(\w+).*hostfwd=/)
  const guestPort = argument(/hostfwd=tcp:127\.0\.0\.1:0-[\d.]*:(\d+)/)
  return `Hub -1 (${nic}):\r\n  TCP[HOST_FORWARD]  10       127.0.0.1 ${hostPort}       10.0.2.15  ${guestPort}     0     0\r\n`
}

/** Serves the monitor at an inherited socket. */
export function serveQmp(fd: number, usernet: string): void {
  const qmp = new Socket({ fd, readable: true, writable: true })
  const say = (message: object) => qmp.write(`${JSON.stringify(message)}\r\n`)
  let text = ''
  qmp.setEncoding('utf8').on('data', (bytes: string) => {
    text += bytes
    const lines = text.split('\n')
    text = lines.pop() as string
    for (const { execute, id } of lines
      .filter((line) => line.trim() !== '')
      .map((line) => JSON.parse(line))) {
      say({ return: execute === 'human-monitor-command' ? usernet : {}, id })
      if (execute === 'quit') qmp.end(() => process.exit(0))
    }
  })
  qmp.on('close', () => process.exit(0))
  say({ QMP: { version: {}, capabilities: [] } })
}
