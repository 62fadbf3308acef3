// What a guest is told at first boot: one typed seed, its two dialects (cloud-config for Linux, OSv's own), the NoCloud
// disk that carries it, the job's SSH keys, and the NFS mounts that make paths mean the same in a guest as on its node.
export {
  type MountInfo,
  mountOf,
  type NfsClient,
  type NfsMount,
  nfsMountOf,
  nfsSeedMount,
  parseMountInfo,
  parseNfsMount,
} from './nfs.ts'
export { type OsvMountTool, type OsvSeed, osvSeed } from './osv.ts'
export { nameOf, type OsvNfsOptions, osvNfsOptions } from './osv-nfs.ts'
export type {
  HostsEntry,
  Ipv4Address,
  Seed,
  SeedFile,
  SeedInterface,
  SeedMount,
  SeedSsh,
  SeedUser,
} from './seed.ts'
export { type SeedDialect, seedIso } from './seed-iso.ts'
export { makeSshKeyPair, type SshKeyPair } from './ssh-keys.ts'
