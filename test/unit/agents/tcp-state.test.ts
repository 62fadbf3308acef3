import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { endianness, networkInterfaces } from 'node:os'
import { describe, expect, it } from 'vitest'
import { isUnanswered, retransmissions } from '../../../launcher/agents/tcp-state.ts'
import { isMet } from '../../support/needs.ts'

// Recorded on x86; the addresses of other machines are written in another order of bytes.
const littleEndian = it.runIf(isMet('tables of /proc/net', 'the byte order of x86', endianness() === 'LE'))

const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1472 1 00000000fa59c472 100 0 0 10 0
   1: 0B004D0A:9D03 0C004D0A:B7B0 01 0000005C:00000000 01:00000010 00000005     0        0 5619131 3 00000000866eed11 20 4 25 13 -1
   2: 0B004D0A:9D03 0D004D0A:B7B0 01 00000000:00000000 00:00000000 00000000     0        0 5619132 3 00000000866eed12 20 4 25 13 -1
`
const TCP6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:9D03 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5619129 1 000000008b728932 100 0 0 10 0
   1: 0000000000000000FFFF00000B004D0A:9D03 0000000000000000FFFF00000C004D0A:B7B0 01 0000005C:00000000 01:00000010 00000003     0        0 5619131 3 00000000866eed11 20 4 25 13 -1
   2: 000000FD000000000000000001000000:9D03 000000FD000000000000000002000000:B7B0 01 0000005C:00000000 01:00000010 0000000A     0        0 5619133 3 00000000866eed13 20 4 25 13 -1
`

describe('what the kernel knows of a connection', () => {
  const ends = (localAddress: string, remoteAddress: string) => ({
    localAddress,
    localPort: 0x9d03,
    remoteAddress,
    remotePort: 0xb7b0,
  })

  littleEndian('is found by the two ends', () => {
    expect(retransmissions(TCP, ends('10.77.0.11', '10.77.0.12'))).toBe(5)
    expect(retransmissions(TCP, ends('10.77.0.11', '10.77.0.13'))).toBe(0)
    expect(retransmissions(TCP, ends('10.77.0.11', '10.77.0.14'))).toBeUndefined()
    expect(retransmissions(TCP6, ends('::ffff:10.77.0.11', '::ffff:10.77.0.12'))).toBe(3)
    expect(retransmissions(TCP6, ends('fd00::1', 'fd00::2'))).toBe(10)
    expect(retransmissions(TCP6, ends('fd00::1', 'fd00::3'))).toBeUndefined()
  })

  it('is found for connections of this process, whose other end answers', async () => {
    const server = createServer()
    const own = Object.values(networkInterfaces()).flatMap((list) => list?.map(({ address }) => address))
    for (const host of ['127.0.0.1', '::1'].filter((one) => own.includes(one))) {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen(0, host, resolve)
      })
      const { port } = server.address() as AddressInfo
      const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
      const client = connect(port, host)
      await once(client, 'connect')
      const sockets = [client, await accepted]
      const tables = ['tcp', 'tcp6'].map((name) => readFileSync(`/proc/self/net/${name}`, 'latin1')).join('')
      for (const socket of sockets) {
        expect(retransmissions(tables, socket)).toBe(0)
        expect(isUnanswered(socket)).toBe(false)
        socket.destroy()
      }
      await new Promise((resolve) => server.close(resolve))
    }
  })
})
