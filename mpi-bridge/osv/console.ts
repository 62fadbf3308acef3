// What a guest's serial console says, line by line: the end of a rank told by the compatibility library, crashes, seeds
// that were not applied, and what the kernel and the servers say of themselves, which is no output of a rank. Observed on
// v0.57.0-398-g0e34e4dc. Pure.

/** What one console line is. */
export type ConsoleLine =
  /** A rank ended. `before` is what it wrote on the same line, without a newline. */
  | { readonly kind: 'exit'; readonly rank: number; readonly status: number; readonly before: string }
  /** Without the compatibility library: the program called exit, and the whole guest powers off. */
  | { readonly kind: 'power-off'; readonly status: number }
  /** A program did not handle a signal: the whole guest powers off. */
  | { readonly kind: 'signal'; readonly signal: number; readonly text: string }
  /** The first line of a crash, or one of those that follow it. */
  | { readonly kind: 'crash'; readonly text: string }
  | { readonly kind: 'seed-failed'; readonly text: string }
  | { readonly kind: 'ready' }
  /** Of the boot, before any rank, or of the end: else it is output like any other. */
  | { readonly kind: 'boot' }
  /** The kernel says what a program returned. */
  | { readonly kind: 'returned'; readonly path: string }
  /** A program could not be started, which the REST server's answer says too. */
  | { readonly kind: 'not-started' }
  /** The guest powers off. */
  | { readonly kind: 'off' }
  /** A line of the kernel or of a server that may come at any time. */
  | { readonly kind: 'chatter' }
  /** Anything else: a rank's, as far as one can tell. */
  | { readonly kind: 'output'; readonly text: string }

const CRASH: readonly RegExp[] = [
  /^Assertion failed: /,
  /^Aborted$/,
  /^\[backtrace\]$/,
  /^0x[0-9a-f]{16} </,
  /^page fault outside application/,
  /^\[registers\]$/,
  /^R(IP|FL|AX|SI|9|12|13): +0x[0-9a-f]{16} /,
  /^trap \d+ at /,
  /^general protection fault$/,
  /failed looking up symbol /,
  /^application::new_program\(\) out of namespaces/,
  /^Out of memory: /,
]

const BOOT: readonly RegExp[] = [/^VFS: /, /^ROFS: /, /^random: /, /^\[[IDWE]\/\d+ dhcp\]: /, /^httpserver: /]

// modules/httpserver-api/routes.cc and core/elf.cc
const NOT_STARTED: readonly RegExp[] = [/^exception was caught for \//, /^could not load \S/]

/** tools/mount/mount-fs.cc */
const MOUNTED = /^Mounted nfs:\/\/\S+ at (\/\S*)$/

// In this order: the random generator has gathered enough; somebody who is not of the job knocked at the server; a static
// program or its C library asked the kernel for what it does not have (linux.cc), and was told the same; mount-fs.so, which
// the seed started, tells of a mount, which may be in use by then.
const CHATTER: readonly RegExp[] = [
  /^random: device unblocked\.$/,
  /^handshake with \S+ failed: /,
  /^syscall\(\): unimplemented system call \d+$/,
  MOUNTED,
]

// tools/mount/mount-fs.cc is started by cloud-init, which does not wait for it. Where the kernel knows why a mount fails (fs/nfs,
// nfs_null_vfsops.cc), the tool has no word for it.
const MOUNT_FAILED = /^Error in mount\(\): /
const SEED_FAILED: readonly RegExp[] = [
  /^cloud-init failed when handling '/,
  /^The nfs module is in-active/,
  MOUNT_FAILED,
]

/** Whether a line says that the seed, or a part of it, was not applied. */
export function isSeedFailure(line: string): boolean {
  return readConsoleLine(line, '').kind === 'seed-failed'
}

/** Whether a line says that a file system could not be mounted, and why. */
export function isMountFailure(line: string): boolean {
  return MOUNT_FAILED.test(line)
}

/** Whether a line says that the REST server is there; by then the seed was handled. */
export function isServing(line: string): boolean {
  return readConsoleLine(line, '').kind === 'ready'
}

/** Where a file system of an NFS server has been mounted, when a line says so. */
export function mountedAt(line: string): string | undefined {
  return MOUNTED.exec(line)?.[1]
}

/** Says what a line is. `nonce` is the job's, as given to the compatibility library. */
export function readConsoleLine(line: string, nonce: string): ConsoleLine {
  const mark = `leet-exit ${nonce} `
  const at = nonce === '' ? -1 : line.lastIndexOf(mark)
  if (at >= 0) {
    const match = /^rank=(\d{1,9}) status=(\d{1,3})$/.exec(line.slice(at + mark.length))
    if (match) {
      return { kind: 'exit', rank: Number(match[1]), status: Number(match[2]), before: line.slice(0, at) }
    }
  }
  const powerOff = /^program exited with status (\d{1,10})$/.exec(line)
  if (powerOff) return { kind: 'power-off', status: Number(powerOff[1]) & 255 }
  const uncaught = /^Uncaught signal (\d{1,2}) \(/.exec(line)
  if (uncaught) return { kind: 'signal', signal: Number(uncaught[1]), text: line }
  if (SEED_FAILED.some((pattern) => pattern.test(line))) return { kind: 'seed-failed', text: line }
  if (/^Rest API server running on port \d+$/.test(line)) return { kind: 'ready' }
  if (CRASH.some((pattern) => pattern.test(line))) return { kind: 'crash', text: line }
  const returned = /^program (.*) returned -?\d{1,10}$/.exec(line)
  if (returned) return { kind: 'returned', path: returned[1] as string }
  if (line === 'Powering off.') return { kind: 'off' }
  if (CHATTER.some((pattern) => pattern.test(line))) return { kind: 'chatter' }
  if (NOT_STARTED.some((pattern) => pattern.test(line))) return { kind: 'not-started' }
  if (BOOT.some((pattern) => pattern.test(line))) return { kind: 'boot' }
  return { kind: 'output', text: line }
}

/** Statuses that `program PATH returned N` tells in a kernel log, in its order. */
export function returnedStatuses(kernelLog: string, path: string): number[] {
  const prefix = `program ${path} returned `
  return kernelLog.split('\n').flatMap((line) => {
    if (!line.startsWith(prefix)) return []
    const status = line.slice(prefix.length)
    return /^-?\d{1,10}$/.test(status) ? [Number(status) & 255] : []
  })
}
