// At which addresses other nodes may find this one.
import { networkInterfaces } from 'node:os'

/** More than these are not told to others. */
export const MOST_ADDRESSES = 16

/** This node's addresses that other nodes may reach, IPv4 first. */
export function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  const usable = all.filter(({ internal, address }) => !internal && !/^fe80:/i.test(address))
  const byFamily = (family: string) =>
    usable.filter((one) => one.family === family).map(({ address }) => address)
  return [...byFamily('IPv4'), ...byFamily('IPv6')].slice(0, MOST_ADDRESSES)
}
