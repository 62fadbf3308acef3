// What a guest is told at first boot: one typed seed, its two dialects (cloud-config for Linux, OSv's own), the NoCloud
// disk that carries it, the job's SSH keys, and the NFS mounts that make paths mean the same in a guest as on its node.
export { type CloudConfigFiles, cloudConfig } from './cloud-config.ts'
export { type IsoFile, type IsoOptions, writeIso } from './iso9660.ts'
export {
  type MountInfo,
  mountOf,
  type NfsMount,
  nfsMountOf,
  nfsSeedMount,
  parseMountInfo,
  parseNfsMount,
} from './nfs.ts'
export { type OsvMountTool, type OsvSeed, osvSeed } from './osv.ts'
export {
  checkSeed,
  type HostsEntry,
  type Ipv4Address,
  type Seed,
  type SeedFile,
  type SeedInterface,
  type SeedMount,
  type SeedSsh,
  type SeedUser,
} from './seed.ts'
export { type SeedDialect, seedIso } from './seed-iso.ts'
export { makeSshKeyPair, type SshKeyPair } from './ssh-keys.ts'
