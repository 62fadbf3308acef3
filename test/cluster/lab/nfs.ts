// A real NFS server: nfs-ganesha on a host of its own, for guests to mount. Its settings are those that work in a
// namespace without systemd, dbus and Kerberos.

/** A directory that the server exports under its own path. */
export interface LabExport {
  readonly path: string
  /** Whether clients must come from a port below 1024, which guests behind user networking cannot. */
  readonly privilegedPort: boolean
}

/** What the lab exports: the homes, the project directory, and one that refuses unprivileged ports. */
export const EXPORTS: readonly LabExport[] = [
  { path: '/export/home', privilegedPort: false },
  { path: '/export/project', privilegedPort: false },
  { path: '/export/guarded', privilegedPort: true },
]

/** /etc/ganesha/ganesha.conf. */
export function ganeshaConf(exports: readonly LabExport[]): string {
  return [
    'NFS_Core_Param {',
    '  Protocols = 3,4; NFS_Port = 2049; MNT_Port = 20048; NLM_Port = 32803; Rquota_Port = 20049;',
    '  Enable_RQUOTA = false; mount_path_pseudo = false; fsid_device = true;',
    '}',
    'NFSv4 {',
    '  Graceless = true; Grace_Period = 5; RecoveryRoot = "/var/lib/nfs/ganesha"; Only_Numeric_Owners = true;',
    '}',
    'NFS_KRB5 { Active_krb5 = false; }',
    ...exports.map(({ path, privilegedPort }, index) =>
      [
        'EXPORT {',
        `  Export_Id = ${index + 1}; Path = ${path}; Pseudo = ${path}; Filesystem_id = ${index + 1}.${index + 1};`,
        '  Access_Type = RW; Squash = No_Root_Squash; SecType = sys;',
        `  PrivilegedPort = ${privilegedPort};`,
        '  FSAL { Name = VFS; }',
        '}',
      ].join('\n'),
    ),
    '',
  ].join('\n')
}
