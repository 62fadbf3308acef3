// Settings of nfs-ganesha for serving one directory, and what its log says when it cannot. Pure. Tried with nfs-ganesha 4.3.

/** What is served to whom. */
export interface GaneshaExport {
  /** The directory as it really is, and the path under which it is served. */
  readonly directory: string
  readonly path: string
  readonly port: number
  /** Addresses and networks of those who may use it. */
  readonly clients: readonly string[]
  /** As whom everything is read and written. */
  readonly uid: number
  readonly gid: number
  /** A directory of the server's own, for what it remembers of its clients. */
  readonly recovery: string
}

/** Whether a path can be said in the settings, in a mount's text and in LEET_MOUNTS. */
export function isServablePath(path: string): boolean {
  return /^\/[^\s:"\\]*$/u.test(path)
}

/**
 * The server's configuration. Version 4 alone: it needs one port and no rpcbind, so that it may stand beside a server of
 * the site. Guests behind their node use ports above 1023. Nobody is root there, nor anybody but the one user: whoever can
 * send from a client's address can say that he is anybody (AUTH_SYS, RFC 5531).
 */
export function ganeshaConfig({ directory, path, port, clients, uid, gid, recovery }: GaneshaExport): string {
  return [
    'NFS_Core_Param {',
    `  Protocols = 4; NFS_Port = ${port}; Enable_UDP = false; Enable_NLM = false; Enable_RQUOTA = false;`,
    '  mount_path_pseudo = false; fsid_device = true;',
    '}',
    // No client is there from before, so there is nothing to wait for.
    `NFSv4 { Graceless = true; RecoveryRoot = "${recovery}"; Only_Numeric_Owners = true; }`,
    // The directory is made even where Kerberos is off, by default outside of the job's own.
    `NFS_KRB5 { Active_krb5 = false; CCacheDir = "${recovery}"; }`,
    'EXPORT {',
    `  Export_Id = 1; Path = "${directory}"; Pseudo = "${path}"; Filesystem_id = 1.1; Protocols = 4;`,
    `  SecType = sys; PrivilegedPort = false; Squash = All_Squash; Anonymous_Uid = ${uid}; Anonymous_Gid = ${gid};`,
    '  Access_Type = None;',
    `  CLIENT { Clients = ${clients.join(', ')}; Protocols = 4; Access_Type = RW; }`,
    '  FSAL { Name = VFS; }',
    '}',
    '',
  ].join('\n')
}

/** Why the directory is not served, from the server's log; undefined when nothing speaks against it. */
export function ganeshaComplaint(log: string): string | undefined {
  const complaints = log.split('\n').flatMap((line) => {
    const match = /:(?:FSAL|EXPORT|CONFIG|NFS STARTUP) :(?:CRIT|FATAL|MAJ) :(.*)$/.exec(line)
    return match && !/krb5|Fatal errors/.test(line) ? [match[1] as string] : []
  })
  return complaints[0]
}
