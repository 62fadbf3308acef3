// Why a guest could not mount an export, in words that lead to what to do about it. Pure.

/** What to say of a failed mount. */
export interface MountFailure {
  readonly why: string
  readonly hint: string
}

/** `reason` is the guest's: the system's error text with the call before it. `source` is `ADDRESS:/export`. */
export function explainNfsFailure(reason: string, source: string): MountFailure {
  const [server, directory] = [source.slice(0, source.indexOf(':')), source.slice(source.indexOf(':') + 1)]
  // EACCES comes from version 3's mount service, EPERM from version 4.
  if (/Permission denied|Operation not permitted/.test(reason)) {
    return {
      why: `${reason}; the server sees this node and a port above 1023, which it takes only for exports with \`insecure\``,
      hint: `the option \`insecure\` for ${directory} on ${server} (nfs-ganesha: PrivilegedPort = false) and this node among its clients, or --share-by 9p for what this node has mounted itself`,
    }
  }
  if (/No such file or directory/.test(reason)) {
    return {
      why: `${reason}; the server has no export ${directory}, or none for this node`,
      hint: `showmount -e ${server} lists what it exports by version 3`,
    }
  }
  if (/Protocol not supported|Invalid argument/.test(reason)) {
    return {
      why: `${reason}; the server or the guest's kernel has not this version of NFS, or not these options`,
      hint: 'vers=3 or vers=4 among the options of the mount, and no others to begin with',
    }
  }
  return { why: reason, hint: `is the server ${server} up, and does it answer the guest's node?` }
}
