// /etc/ld.so.cache: the index of libraries that ldconfig(8) makes and ld.so reads (glibc sysdeps/generic/dl-cache.h).
// Read to find libraries as the loader would, and written for the guest with only what its image has.
import { LeetError } from '../../common/index.ts'

/** One library of the cache, in the cache's order (ld.so takes the first that fits). */
export interface CachedLibrary {
  readonly name: string
  readonly path: string
  /** Kind of library and architecture (FLAG_ELF_LIBC6 | FLAG_X8664_LIB64 = 0x0303). */
  readonly flags: number
}

const OLD_MAGIC = 'ld.so-1.7.0\0'
const NEW_MAGIC = 'glibc-ld.so.cache1.1'
const OLD_ENTRY = 12
const HEADER = 48
const ENTRY = 24

/**
 * The libraries of a cache in the format of glibc 2.2 or newer, alone or behind the old one.
 * Entries for special CPUs (hwcaps) are left out: a guest's CPU is not the host's. Nonsense is `LEET_E_LDCACHE`.
 */
export function parseLdCache(bytes: Uint8Array, where: string): CachedLibrary[] {
  const { entries, library } = openLdCache(bytes, where)
  return entries.map(library)
}

/**
 * Gives a function that finds the paths of a library in a cache, in the cache's order. A cache has thousands of libraries,
 * and a program is looked at before every start: only what is asked for is read.
 */
export function searchLdCache(bytes: Uint8Array, where: string): (name: string) => string[] {
  const { cache, entries, library } = openLdCache(bytes, where)
  const byName = Map.groupBy(entries, (at) => cache.readUInt32LE(at + 4))
  return (name) => {
    const wanted = Buffer.from(`${name}\0`)
    const found: number[] = []
    for (let at = cache.indexOf(wanted); at >= 0; at = cache.indexOf(wanted, at + 1)) {
      found.push(...(byName.get(at) ?? []))
    }
    return found.sort((a, b) => a - b).map((at) => library(at).path)
  }
}

/** The entries of a cache by where they are, and how one is read. */
function openLdCache(bytes: Uint8Array, where: string) {
  const all = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let start = 0
  if (all.toString('latin1', 0, OLD_MAGIC.length) === OLD_MAGIC) {
    if (all.length < 16) throw cacheError(where, 'it is cut short')
    // The new cache follows the old one's entries, aligned to its own alignment of 8.
    start = Math.ceil((16 + all.readUInt32LE(12) * OLD_ENTRY) / 8) * 8
  }
  const cache = all.subarray(start)
  if (cache.toString('latin1', 0, NEW_MAGIC.length) !== NEW_MAGIC) {
    throw cacheError(where, 'its format is unknown')
  }
  if (cache.length < HEADER) throw cacheError(where, 'it is cut short')
  const count = cache.readUInt32LE(20)
  if (HEADER + count * ENTRY > cache.length) throw cacheError(where, 'it is cut short')
  const textAt = (offset: number) => {
    const end = offset < cache.length ? cache.indexOf(0, offset) : -1
    if (end < 0) throw cacheError(where, 'a name lies outside it')
    return cache.toString('utf8', offset, end)
  }
  const entries: number[] = []
  for (let at = HEADER; at < HEADER + count * ENTRY; at += ENTRY) {
    if (cache.readUInt32LE(at + 16) === 0 && cache.readUInt32LE(at + 20) === 0) entries.push(at)
  }
  const library = (at: number): CachedLibrary => ({
    flags: cache.readUInt32LE(at),
    name: textAt(cache.readUInt32LE(at + 4)),
    path: textAt(cache.readUInt32LE(at + 8)),
  })
  return { cache, entries, library }
}

/** A cache of these libraries, which must be in the order of the cache they come from. */
export function writeLdCache(libraries: readonly CachedLibrary[]): Buffer {
  const strings: Buffer[] = []
  let next = HEADER + libraries.length * ENTRY
  const place = (text: string) => {
    const bytes = Buffer.from(`${text}\0`)
    const at = next
    strings.push(bytes)
    next += bytes.length
    return at
  }
  const head = Buffer.alloc(HEADER + libraries.length * ENTRY)
  head.write(NEW_MAGIC, 'latin1')
  head.writeUInt32LE(libraries.length, 20)
  head.writeUInt8(2, 28) // cache_file_new_flags_endian_little
  libraries.forEach(({ flags, name, path }, i) => {
    const at = HEADER + i * ENTRY
    head.writeUInt32LE(flags, at)
    head.writeUInt32LE(place(name), at + 4)
    head.writeUInt32LE(place(path), at + 8)
  })
  head.writeUInt32LE(next - head.length, 24)
  return Buffer.concat([head, ...strings])
}

function cacheError(where: string, why: string): LeetError {
  return new LeetError({ code: 'LEET_E_LDCACHE', what: 'cannot be read as a loader cache', where, why })
}
