// Why a guest could not mount an export, in words that lead to what to do about it. Pure.

/** What to say of a failed mount. */
export interface MountFailure {
  readonly why: string
  readonly hint: string
}

/** `reason` is the guest's: the system's error text with the call before it. `source` is `ADDRESS:/export`. */
export function explainNfsFailure(reason: string, source: string): MountFailure {
  const colon = source.indexOf(':')
  const [server, directory] = [source.slice(0, colon), source.slice(colon + 1)]
  // Linux: EACCES from version 3's mount service, EPERM from version 4. nfs-ganesha 4.3: EACCES from version 3 whether
  // the export is not there or not for this client, ENOENT from version 4 in both cases, which OSv says of version 3, too.
  const refused = /Permission denied|Operation not permitted/.test(reason)
  if (refused || /No such file or directory/.test(reason)) {
    const what = refused ? `the server refuses ${directory}` : `the server shows no export ${directory}`
    return {
      why: `${reason}: ${what} to this node, or only to ports below 1024, which guests cannot have behind it`,
      hint:
        `is it exported to this node (showmount -e ${server}), and with the option \`insecure\` ` +
        '(nfs-ganesha: PrivilegedPort = false)? Directories that the node has mounted itself can be shared with --share-by 9p',
    }
  }
  if (/Protocol not supported|Invalid argument/.test(reason)) {
    return {
      why: `${reason}: the server or the guest's kernel has not this version of NFS, or not these options`,
      hint: 'vers=3 or vers=4 among the options of the mount, and no others to begin with',
    }
  }
  return { why: reason, hint: `is the server ${server} up, and does it answer this node?` }
}
