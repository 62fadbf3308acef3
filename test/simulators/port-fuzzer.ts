// Somebody who should not be there: as a process of its own, floods ports with everything that is not a rank's secret.
// Forked with a rate and the ports as arguments; at the message `stop` it answers with a `FuzzReport` and ends. The rate is
// of connections a second, whatever becomes of them, so that two ports get the same traffic; 0 is as many as there can be.
import { connect, createServer } from 'node:net'

/** What the fuzzer did and saw. */
export interface FuzzReport {
  readonly connections: number
  /** Bytes that were sent. */
  readonly bytes: number
  /** Different replies, the first of them. */
  readonly replies: readonly string[]
}

const AT_A_TIME = 32
/** How often somebody with a rate looks whether it is time. */
const TICK_MS = 5
const MOST_REPLIES = 20

/** A small generator with a seed, so that a run can be had again (xorshift, Marsaglia 2003). */
function randomFrom(seed: number): (below: number) => number {
  let state = seed | 1
  return (below) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % below
  }
}

const random = randomFrom(20_261_123)
const noise = (length: number) => Buffer.from(Array.from({ length }, () => random(256)))
const id = () => random(2 ** 31)
const pmix = (payload: Buffer, length = payload.length) => {
  const header = Buffer.alloc(16, 0xff)
  header.writeUInt32LE(length >>> 0, 8)
  return Buffer.concat([header, payload])
}
const pmi2 = (text: string) => `${String(text.length).padStart(6)}${text}`

const attacks: readonly (() => Buffer | string)[] = [
  () => noise(1 + random(2000)),
  () => `cmd=initack pmiid=${id()}\n`,
  () => `cmd=initack pmiid=${id()}\ncmd=abort exitcode=1\n`,
  () => 'cmd=initack pmi',
  () => `cmd=${'x'.repeat(random(100_000))}`,
  () => `cmd=abort exitcode=9 message=${'x'.repeat(random(2000))}\n`,
  () => 'mcmd=spawn\nnprocs=1000000\nexecname=/bin/sh\ntotspawns=1\nspawnssofar=1\nendcmd\n',
  () => `cmd=init pmi_version=2 pmi_subversion=0\n${pmi2(`cmd=fullinit;pmirank=${id()};`)}`,
  () => `cmd=init pmi_version=2 pmi_subversion=0\n999999${'x'.repeat(random(5000))}`,
  () => `cmd=init pmi_version=2 pmi_subversion=0\n${pmi2('cmd=kvs-get;key=PMI_process_mapping;')}`,
  () => pmix(noise(random(300))),
  () => pmix(noise(20), random(2 ** 31)),
  () => pmix(Buffer.from('none\0\0\0\0\0\0leet-0\0\0\0\0\x004.2.2\0v41\0\x01hash\0')),
  () => Buffer.alloc(16, 0xff),
  () => '',
  () => 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n',
]

const rate = Number(process.argv[2])
let connections = 0
let sent = 0
let stopped = false
const replies = new Set<string>()

function attack(port: number): void {
  if (stopped) return
  connections++
  const socket = connect(port, '127.0.0.1')
  socket.setEncoding('latin1')
  socket.on('data', (text: string) => {
    if (replies.size < MOST_REPLIES) replies.add(text)
  })
  socket.on('error', () => {})
  if (rate === 0) socket.on('close', () => setImmediate(attack, port))
  const bytes = (attacks[random(attacks.length)] as () => Buffer | string)()
  sent += bytes.length
  socket.write(bytes)
  // Some close at once, some wait for an answer, some are silent for a while.
  if (random(3) === 0) socket.end()
  socket.setTimeout(20 + random(200), () => socket.destroy())
}

process.on('message', () => {
  stopped = true
  process.send?.({ connections, bytes: sent, replies: [...replies] } satisfies FuzzReport, () =>
    process.exit(0),
  )
})

const ports = process.argv.slice(3).map(Number)
if (ports.length === 0) {
  // Nobody's port, for comparison: takes what comes and closes.
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.destroy())
  })
  server.listen(0, '127.0.0.1', () => {
    const address = server.address()
    ports.push(typeof address === 'object' && address ? address.port : 0)
    start()
  })
} else {
  start()
}

function start(): void {
  const portOf = (nth: number) => ports[nth % ports.length] as number
  if (rate === 0) {
    for (let nth = 0; nth < AT_A_TIME; nth++) attack(portOf(nth))
  } else {
    const began = performance.now()
    setInterval(() => {
      const due = ((performance.now() - began) / 1000) * rate
      while (connections < due && !stopped) attack(portOf(connections))
    }, TICK_MS)
  }
  process.send?.('started')
}
