// `describe` for tests that need the cluster lab: its commands, and root for the namespaces.
import { describe } from 'vitest'
import { describeWith } from '../../support/needs.ts'

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
  if (process.getuid?.() === 0) {
    describeWith([...COMMANDS, ...more], name, body)
  } else {
    console.warn(`skipped: ${name} (needs root)`)
    describe.skip(name, body)
  }
}
