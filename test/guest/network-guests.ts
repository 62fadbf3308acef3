// Two guests that find each other, for every network mode: each pings the other, reaches the node's service, and
// answers on its control port.
import { createConnection, createServer } from 'node:net'
import { Deadline, poll, type Scope, silentLog } from '../../common/index.ts'
import type { Journal } from '../../launcher/journal/journal.ts'
import { startMachine } from '../../launcher/machines/machine.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import type { GuestNetwork } from '../../launcher/networks/guest-network.ts'
import { bootableKernel, bootScript } from './machine-payload.ts'

/** What one guest did. */
export interface GuestReport {
  /** Its console lines. */
  readonly lines: readonly string[]
  /** What it answered on its control port. */
  readonly greeting: string
}

/** Boots a guest on each of the networks; resolves when all were heard. `nodes` are addresses to be reached besides. */
export async function meet(
  folder: string,
  scope: Scope,
  journal: Journal,
  networks: readonly GuestNetwork[],
  nodes: readonly string[] = [],
): Promise<GuestReport[]> {
  const kernel = await bootableKernel(folder)
  const service = createServer((socket) => socket.end('the node serves\n'))
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve))
  const servicePort = (service.address() as { port: number }).port
  const limits = { deadline: Deadline.after(120_000) }
  try {
    return await Promise.all(
      networks.map(async (network, index) => {
        const name = `g${index}`
        const others = [
          ...networks.filter((other) => other !== network).map(({ address }) => address),
          ...nodes,
        ]
        const script = [
          // As the seed would tell the guest.
          ...network.interfaces.map(
            ({ name: dev, ipv4, mtu }) =>
              `ip addr add ${ipv4.address}/${ipv4.prefix} dev ${dev}; ip link set ${dev} mtu ${mtu ?? 1500} up`,
          ),
          ...others.map(
            (other) => `until ping -c 1 -W 1 ${other} >/dev/null; do :; done; echo "reaches ${other}"`,
          ),
          `nc ${network.serviceAddress} ${servicePort} </dev/null`,
          `echo listens; while true; do echo "this is ${name}" | nc -l -p ${network.control.port}; done`,
        ]
        const lines: string[] = []
        const machine = await startMachine(
          {
            name,
            memory: 256 << 20,
            cpus: 1,
            machineType: 'q35',
            kernel: bootScript(folder, name, kernel, script.join('\n')),
            disks: [],
            nics: network.nics,
            shares: [],
            consoleFile: journal.path(`${name}.console`),
          },
          {
            ...{ scope, journal },
            log: silentLog,
            qemu: findQemu(),
            accelerator: 'tcg',
            onConsoleLine: (line) => lines.push(line),
            ...limits,
          },
        )
        await poll(() => lines.includes('listens') || undefined, 20, limits, {
          what: `guest ${name} to listen`,
        })
        const port = machine.forwardedPort(network.control.nic, network.control.port)
        const greeting = await poll(() => hear(port), 50, limits, { what: `guest ${name} to answer` })
        return { lines, greeting }
      }),
    )
  } finally {
    service.close()
  }
}

/** What is said on a port of this host; undefined when nothing is. */
export function hear(port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1')
    let text = ''
    socket.setTimeout(500, () => socket.destroy())
    socket.on('data', (data) => {
      text += data
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(text || undefined))
  })
}
