// Host keys that the user or the site knows: the files that OpenSSH keeps them in (sshd(8), SSH_KNOWN_HOSTS FILE
// FORMAT), with plain and hashed names, patterns, `[host]:port` and revoked keys. Keys of certificate authorities are
// passed over: a host that shows such a certificate shows a key of its own too.
import { createHmac, timingSafeEqual } from 'node:crypto'

/** One line of a file. */
export interface KnownHost {
  /** Its names as they stand: patterns joined by commas, or one hashed name. */
  readonly names: string
  /** Such as `ssh-ed25519`. */
  readonly type: string
  /** The key in SSH's wire form. */
  readonly key: Buffer
  readonly revoked: boolean
  /** `FILE, line N` */
  readonly where: string
}

/** What is known of a key that a host has shown. */
export type HostKeyVerdict =
  | { readonly kind: 'known' }
  | { readonly kind: 'unknown' }
  /** The host is known by another key, or this one is revoked. */
  | { readonly kind: 'changed' | 'revoked'; readonly where: string }

/** The lines of a file that can be read; others are passed over, as OpenSSH does. */
export function parseKnownHosts(text: string, file: string): KnownHost[] {
  return text.split('\n').flatMap((line, index) => {
    const words = line.trim().split(/\s+/)
    const marker = words[0]?.startsWith('@') ? words.shift() : undefined
    const [names = '', type = '', base64 = ''] = words
    if (names.startsWith('#') || base64 === '') return []
    if (marker !== undefined && marker !== '@revoked') return []
    const key = Buffer.from(base64, 'base64')
    return [{ names, type, key, revoked: marker !== undefined, where: `${file}, line ${index + 1}` }]
  })
}

/** The lines about a host, by the name that the user gave it. */
export function linesAbout(lines: readonly KnownHost[], host: string, port: number): KnownHost[] {
  const name = port === SSH_PORT ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`
  return lines.filter(({ names }) => (names.startsWith('|') ? isHashOf(names, name) : isAbout(names, name)))
}

/** Judges the key that a host has shown by the lines about it. */
export function judgeHostKey(about: readonly KnownHost[], key: Buffer): HostKeyVerdict {
  const same = about.filter((line) => line.key.equals(key))
  const revoked = same.find((line) => line.revoked)
  if (revoked) return { kind: 'revoked', where: revoked.where }
  if (same.length > 0) return { kind: 'known' }
  const other = about.find((line) => !line.revoked)
  return other ? { kind: 'changed', where: other.where } : { kind: 'unknown' }
}

/** SSH's own port, for which names stand without one. */
export const SSH_PORT = 22

function isAbout(names: string, name: string): boolean {
  const patterns = names.split(',')
  const isOneOf = (some: readonly string[]) => some.some((pattern) => matches(pattern.toLowerCase(), name))
  const denied = patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => pattern.slice(1))
  return !isOneOf(denied) && isOneOf(patterns.filter((pattern) => !pattern.startsWith('!')))
}

// `*` stands for any characters, `?` for one. Without regular expressions: a hostile pattern must not take for ever.
function matches(pattern: string, name: string): boolean {
  let [p, n, star, resume] = [0, 0, -1, 0]
  while (n < name.length) {
    if (pattern[p] === '*') [star, resume, p] = [p, n, p + 1]
    else if (pattern[p] === '?' || pattern[p] === name[n]) [p, n] = [p + 1, n + 1]
    else if (star >= 0) [p, n, resume] = [star + 1, resume + 1, resume + 1]
    else return false
  }
  return /^\**$/.test(pattern.slice(p))
}

// `|1|SALT|HASH`, both in base64: HMAC-SHA1 of the name with the salt as key.
function isHashOf(names: string, name: string): boolean {
  const [, version, salt = '', hash = ''] = names.split('|')
  if (version !== '1') return false
  const wanted = Buffer.from(hash, 'base64')
  const found = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest()
  return wanted.length === found.length && timingSafeEqual(wanted, found)
}
