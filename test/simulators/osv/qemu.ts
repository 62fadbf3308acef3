// A QEMU whose guest is a simulated OSv: `qemu.ts ARGUMENTS`, the arguments being those that LEET gives to QEMU. It speaks
// QMP and has the console where QEMU has them, leads a port of the host to the guest's REST server, and the guest has applied its
// seed. Programs and the gateway of its user-mode network are those of this machine. It has an empty directory /data, and then says what LEET_SIMULATED_LINE
// has. With LEET_SIMULATED_END=FILE it ends when its guest is first spoken to, and
// writes the port at which that was into FILE.
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, Socket } from 'node:net'
import { dirname } from 'node:path'
import { parse } from 'yaml'
import { CONSOLE_FD, QMP_FD } from '../../../launcher/machines/qemu-args.ts'
import { serveQmp, usernetText } from '../qmp.ts'
import { OsvGuest } from './guest.ts'

const argument = (pattern: RegExp) =>
  process.argv.map((word) => pattern.exec(word)?.[1]).find((found) => found !== undefined)

const console = new Socket({ fd: CONSOLE_FD, readable: true, writable: true })
const { LEET_SIMULATED_LINE: line, LEET_SIMULATED_END: end } = process.env
const { calls, mountsNfs } = readSeed()
const guest = await OsvGuest.boot({
  mountsNfs,
  onConsole: (data) => console.write(data),
  onEnd: () => process.exit(0),
  // What the simulated root has in a directory is not listed.
  files: { '/data/any': '' },
  ...{ compat: true, hidden: '/leet/hidden', addresses: { '10.0.2.2': '127.0.0.1' } },
})
for (const { method, path, query, body } of calls) {
  const url = `http://127.0.0.1:${guest.port}${path}?${new URLSearchParams(query)}`
  const answer = await fetch(url, { method, ...(body ? { body } : {}) })
  if (!answer.ok) throw new Error(`${method} ${path}: ${await answer.text()}`)
}
if (line) console.write(`${line}\n`)

interface SeedCall {
  readonly method: string
  readonly path: string
  readonly query: Record<string, string>
  readonly body?: FormData
}

/** What OSv's cloud-init makes of a seed: files first, then requests to its own REST server. */
function readSeed(): { readonly calls: readonly SeedCall[]; readonly mountsNfs: boolean } {
  const seed = argument(/"filename":"([^"]+\.seed\.iso)"/)
  if (seed === undefined) throw new Error('a guest without a seed')
  const text = execFileSync('isoinfo', ['-R', '-i', seed, '-x', '/user-data'], { encoding: 'utf8' })
  const { files = {}, run = [] } = parse(text) as {
    files?: Record<string, string>
    run?: Record<string, string>[]
  }
  const uploads = Object.entries(files).flatMap(([path, content]) => {
    const body = new FormData()
    body.append('file', new Blob([content]))
    // It makes the directories that lead there (modules/cloud-init/files-module.hh).
    const directory = { method: 'PUT', path: encodeURI(`/file${dirname(path)}`), query: { op: 'MKDIRS' } }
    return [directory, { method: 'POST', path: encodeURI(`/file${path}`), query: {}, body }]
  })
  // Programs that mount are not there: LEET_SIMULATED_LINE says what they would.
  const others = run.filter(({ PUT }) => PUT !== '/app/')
  const requests = others.map(({ PUT, POST, ...query }) => ({
    ...(PUT === undefined ? { method: 'POST', path: POST as string } : { method: 'PUT', path: PUT }),
    query,
  }))
  const asked = requests.map(({ path, ...more }) => ({ ...more, path: encodeURI(path) }))
  return { calls: [...uploads, ...asked], mountsNfs: others.length < run.length }
}

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
