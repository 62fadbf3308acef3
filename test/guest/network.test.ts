// Two real guests on a private segment, each reached by its control port.
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline, poll, silentLog } from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { startMachine } from '../../launcher/machines/machine.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import { parseSubnet } from '../../launcher/networks/addresses.ts'
import { type GuestNetwork, localNetwork } from '../../launcher/networks/guest-network.ts'
import { startLocalSegment } from '../../launcher/networks/local-segment.ts'
import { describeWith } from '../support/needs.ts'
import { bootScript } from './machine-payload.ts'

describeWith(['qemu-system-x86_64', 'vde_switch', 'busybox', 'cpio'], 'the network mode local', () => {
  let folder: string
  let journal: Journal

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
    journal = await Journal.open({ jobId: 'test', root: join(folder, 'root') })
  })
  afterEach(async () => {
    await journal.close()
    rmSync(folder, { recursive: true })
  })

  const limits = () => ({ deadline: Deadline.after(60_000) })

  // Brings the interfaces up as the seed would tell the guest to.
  const configure = ({ interfaces }: GuestNetwork): string =>
    interfaces
      .map(
        ({ name, ipv4 }) => `ip addr add ${ipv4.address}/${ipv4.prefix} dev ${name}; ip link set ${name} up`,
      )
      .join('\n')

  it('joins two guests that the node reaches, and that reach the node', async () => {
    const segment = await startLocalSegment({ journal, guests: 2, ...limits() })
    expect(statSync(segment.socketDirectory).mode & 0o777).toBe(0o700)
    const subnet = parseSubnet('10.77.0.0/16', 'subnet')
    const networks = [0, 1].map((guest) =>
      localNetwork({ subnet, node: 0, guest, socketDirectory: segment.socketDirectory, controlPort: 22 }),
    )
    const service = createServer((socket) => socket.end('the node serves\n'))
    await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve))
    const servicePort = (service.address() as { port: number }).port

    const lines: string[][] = [[], []]
    const machines = await Promise.all(
      networks.map((network, guest) => {
        const name = `g${guest}`
        const other = networks[1 - guest]?.address
        const script = [
          configure(network),
          `until ping -c 1 -W 1 ${other} >/dev/null; do :; done; echo "${name} reaches ${other}"`,
          `nc ${network.serviceAddress} ${servicePort} </dev/null`,
          `echo "${name} listens"; while true; do echo "this is ${name}" | nc -l -p 22; done`,
        ]
        return startMachine(
          {
            name,
            memory: 256 << 20,
            cpus: 1,
            machineType: 'q35',
            kernel: bootScript(folder, name, script.join('\n')),
            disks: [],
            nics: network.nics,
            shares: [],
            consoleFile: journal.path(`${name}.console`),
          },
          {
            journal,
            log: silentLog,
            qemu: findQemu(),
            accelerator: 'tcg',
            onConsoleLine: (line) => lines[guest]?.push(line),
            ...limits(),
          },
        )
      }),
    )
    for (const [guest, machine] of machines.entries()) {
      await poll(() => lines[guest]?.includes(`g${guest} listens`) || undefined, 20, limits(), {
        what: `guest g${guest} to listen`,
      })
      expect(lines[guest]).toContain(`g${guest} reaches 10.77.1.${2 - guest}`)
      expect(lines[guest]).toContain('the node serves')
      const { control } = networks[guest] as GuestNetwork
      expect(await greeting(machine.forwardedPort(control.nic, control.port))).toBe(`this is g${guest}\n`)
    }
    service.close()
  })

  it('says that the switch is gone', async () => {
    const segment = await startLocalSegment({ journal, guests: 2, ...limits() })
    await journal.close()
    expect((await segment.ended).message).toContain('the switch of the guests (vde_switch) ended by SIGKILL')
  })
})

function greeting(port: number): Promise<string> {
  return poll(
    () =>
      new Promise<string | undefined>((resolve) => {
        const socket = createConnection(port, '127.0.0.1')
        let text = ''
        socket.setTimeout(500, () => socket.destroy())
        socket.on('data', (data) => {
          text += data
        })
        socket.on('error', () => {})
        socket.on('close', () => resolve(text || undefined))
      }),
    50,
    { deadline: Deadline.after(60_000) },
    { what: 'the guest to answer' },
  )
}
