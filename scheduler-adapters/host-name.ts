// Host names as they come from schedulers, hostfiles and command lines: checked once, since they go on into argument
// vectors, SSH and file names.
import { usageError } from '../common/index.ts'

/** The name itself when it is one of RFC 1123 (letters, digits, inner hyphens, dots); a refusal that shows `where` otherwise. */
export function checkHostName(name: string, where: string): string {
  const label = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i
  if (name.length > 253 || !name.split('.').every((part) => label.test(part))) {
    throw usageError(
      `${JSON.stringify(name.slice(0, 80))} is not a host name`,
      'letters, digits and inner hyphens, in parts joined by dots (RFC 1123)',
      where,
    )
  }
  return name
}

/** Whether two names may mean one host: equal, or one the first label of the other. Case does not matter (RFC 4343). */
export function sameHost(a: string, b: string): boolean {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()]
  return x === y || x.startsWith(`${y}.`) || y.startsWith(`${x}.`)
}
