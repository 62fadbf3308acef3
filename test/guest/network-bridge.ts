// Runs in the namespaces that network-bridge.sh has made, as root or as an ordinary user; prints what it saw as JSON.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Scope } from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { parseSubnet } from '../../launcher/networks/addresses.ts'
import { inspectBridge } from '../../launcher/networks/bridge.ts'
import { bridgeNetwork } from '../../launcher/networks/guest-network.ts'
import { leaseGuests } from '../../launcher/networks/leases.ts'
import { meet } from './network-guests.ts'

const folder = process.argv[2] as string
const journal = await Journal.open({ jobId: 'bridge', root: join(folder, 'root') })
const subnet = parseSubnet('10.77.0.0/16', 'subnet')
const { plug, node, address } = inspectBridge('br0', subnet)
const scope = Scope.open({ name: 'the job', warn() {} })
const leased = await leaseGuests(subnet, node, 2, scope)
const networks = leased.map((guest) => bridgeNetwork({ subnet, node, guest, plug, controlPort: 22 }))
const portsOf = () => readdirSync('/sys/class/net/br0/brif')
const reports = await meet(folder, scope, journal, networks, [address])
const taps = portsOf().map((tap) => Number(readFileSync(`/sys/class/net/${tap}/mtu`, 'utf8')))
await scope.end()
await journal.close()
console.log(JSON.stringify({ reports, taps, left: portsOf() }))
