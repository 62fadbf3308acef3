// A seed as OpenStack's configuration drive, for images whose cloud-init looks there alone: the same user data as on a
// NoCloud disk, with metadata and network in OpenStack's words (nova's metadata.rst and network-data.json, version
// 2018-08-27, as read by cloud-init's DataSourceConfigDrive).
import { netmask } from './checks.ts'
import { cloudConfig } from './cloud-config.ts'
import type { Seed, SeedInterface } from './seed.ts'

/** A checked seed as files by their paths on the drive; `LEET_E_SEED` when cloud-config has no way to say something. */
export function configDrive(seed: Seed): Record<string, string> {
  const metaData = { uuid: seed.instanceId, hostname: seed.hostname, name: seed.hostname }
  return {
    'openstack/latest/meta_data.json': json(metaData),
    'openstack/latest/user_data': cloudConfig(seed)['user-data'],
    'openstack/latest/network_data.json': json(networkData(seed.interfaces)),
  }
}

function networkData(interfaces: readonly SeedInterface[]): object {
  return {
    links: interfaces.map(({ name, mac, mtu }) => ({
      id: name,
      // Not in OpenStack's schema, but taken by cloud-init for the name that the interface shall have.
      name,
      type: 'phy',
      ethernet_mac_address: mac.toLowerCase(),
      ...(mtu !== undefined && { mtu }),
    })),
    networks: interfaces.map(({ name, ipv4, gateway }) => ({
      id: `network-${name}`,
      link: name,
      ...(ipv4 === 'dhcp'
        ? { type: 'ipv4_dhcp' }
        : { type: 'ipv4', ip_address: ipv4.address, netmask: netmask(ipv4.prefix) }),
      routes: gateway === undefined ? [] : [{ network: '0.0.0.0', netmask: '0.0.0.0', gateway }],
    })),
    services: [],
  }
}

function json(document: object): string {
  return `${JSON.stringify(document, undefined, 2)}\n`
}
