// What OSv's NFS client can be told: options of nfs(5) and the client's own, as arguments of the URL that it mounts. Pure.
// The client is libnfs, NFS version 3 over TCP (nfs_set_context_args in its lib/libnfs.c; arguments and their bounds in its
// README). OSv's build takes whatever libnfs is then: an older one does not hear what it does not know. libnfs has a word for
// `ro` too, but OSv opens each file for writing that anybody may write (nfs_op_open in modules/nfs/nfs_vnops.cc), so that told
// `readonly` it could not even be read.

/** Options in the client's words. */
export interface OsvNfsOptions {
  /** Arguments of the URL, such as `nfsport=2049`; the last of each name counts. */
  readonly arguments: readonly string[]
  /** Options that it has no word for. */
  readonly unknown: readonly string[]
}

/** Options of mount(8) that describe what the client does anyway. */
const IMPLIED: ReadonlySet<string> = new Set([
  'defaults',
  'rw',
  'hard',
  'tcp',
  'proto=tcp',
  'mountproto=tcp',
  'vers=3',
  'nfsvers=3',
  'nolock',
  'sec=sys',
])

/** Options that are arguments as they stand. A retransmission after less than 10 s the client refuses. */
const ARGUMENTS: readonly RegExp[] = [
  /^(uid|gid|nfsport|mountport|retrans|rsize|wsize|tcp-syncnt|debug|readahead|pagecache)=\d{1,10}$/,
  /^timeo=[1-9]\d{2,9}$/,
  /^(auto-traverse-mounts|dircache)=[01]$/,
  /^autoreconnect=(-1|\d{1,10})$/,
]

/** Says options in the client's words. */
export function osvNfsOptions(options: readonly string[]): OsvNfsOptions {
  const told = new Map<string, string>()
  const unknown: string[] = []
  for (const option of options) {
    if (IMPLIED.has(option)) continue
    const said = option.replace(/^port=/, 'nfsport=')
    if (ARGUMENTS.some((pattern) => pattern.test(said))) told.set(nameOf(said), said)
    else unknown.push(option)
  }
  return { arguments: [...told.values()], unknown }
}

/** The name of an argument, without what it is set to. */
export function nameOf(argument: string): string {
  return argument.split('=', 1)[0] as string
}
