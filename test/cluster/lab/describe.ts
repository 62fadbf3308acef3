// `describe` for tests that need the cluster lab: its commands, and root for the namespaces.
import { describeAsRoot } from '../../support/needs.ts'

const COMMANDS = [
  'unshare',
  'nsenter',
  'ip',
  'munged',
  'slurmctld',
  'slurmd',
  'ganesha.nfsd',
  'rpcbind',
  'nfs-cat',
]

export function describeLab(name: string, body: () => void, more: readonly string[] = []): void {
  describeAsRoot([...COMMANDS, ...more], name, body)
}
