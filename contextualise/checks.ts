// What names, addresses and paths may look like: small predicates for the border of this folder.
import { isIPv4 } from 'node:net'

/** One label or several joined by dots, each of RFC 1123: letters, digits and inner hyphens; 253 characters. */
export function isHostName(text: string): boolean {
  return (
    text.length <= 253 &&
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i.test(text)
  )
}

/** An absolute path in its shortest form: no `.`, `..`, doubled or trailing `/`, no control characters; not `/` itself. */
export function isAbsolutePath(path: string): boolean {
  return (
    path.length <= 1024 &&
    path.isWellFormed() &&
    !hasControl(path) &&
    path.startsWith('/') &&
    path
      .slice(1)
      .split('/')
      .every((part) => part !== '' && part !== '.' && part !== '..')
  )
}

/** Whether a string has C0 or C1 control characters, DEL, or Unicode's line and paragraph separators. */
export function hasControl(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  return /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(text)
}

/** A user or group name as useradd(8) takes it. */
export function isAccountName(text: string): boolean {
  return /^[a-z_][a-z0-9_.-]{0,31}$/i.test(text)
}

/** An interface name of the Linux kernel: at most 15 bytes, no `/`, no blank. */
export function isInterfaceName(text: string): boolean {
  return /^[a-z][a-z0-9_.-]{0,14}$/i.test(text)
}

/** A unicast MAC address in colon form. */
export function isMac(text: string): boolean {
  return /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(text)
}

/** The 32-bit value of a dotted quad, or undefined. */
export function ipv4Value(text: string): number | undefined {
  if (!isIPv4(text)) return undefined
  return text.split('.').reduce((value, byte) => value * 256 + Number(byte), 0)
}

/** `24` as `255.255.255.0`. */
export function netmask(prefix: number): string {
  const bits = prefix === 0 ? 0 : (0xffffffff << (32 - prefix)) >>> 0
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.')
}

/** Whether `path` is `folder` or lies under it; both absolute and in shortest form. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder === '/' ? '/' : `${folder}/`)
}
