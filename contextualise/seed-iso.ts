// A seed as the disk a guest finds it on: NoCloud's ISO, label `cidata`, or OpenStack's configuration drive, `config-2`.
import { cloudConfig } from './cloud-config.ts'
import { configDrive } from './config-drive.ts'
import { writeIso } from './iso9660.ts'
import { type OsvMountTool, osvSeed } from './osv.ts'
import { checkSeed, type Seed } from './seed.ts'

/** In whose words a seed is written. */
export type SeedDialect =
  | { readonly kind: 'cloud-config' }
  | { readonly kind: 'config-drive' }
  | { readonly kind: 'osv'; readonly mountTool: OsvMountTool }

/**
 * The seed disk of one guest as bytes, checked. It holds a private host key: store it 0600 and delete it when the guest
 * is up. Throws `LEET_E_SEED` for a seed that cannot be told in that dialect.
 */
export function seedIso(seed: Seed, dialect: SeedDialect): Uint8Array {
  const checked = checkSeed(seed)
  const files = filesOf(checked, dialect)
  return writeIso({
    label: dialect.kind === 'config-drive' ? 'config-2' : 'cidata',
    // Root alone reads it in the guest as well.
    files: Object.entries(files).map(([path, content]) => ({ path, content, mode: 0o600 })),
  })
}

function filesOf(seed: Seed, dialect: SeedDialect): Readonly<Record<string, string>> {
  if (seed.directories && dialect.kind !== 'osv') throw new Error('directories are for OSv alone')
  switch (dialect.kind) {
    case 'cloud-config':
      return { ...cloudConfig(seed) }
    case 'config-drive':
      return configDrive(seed)
    case 'osv':
      return { 'user-data': osvSeed(seed, dialect.mountTool).userData }
  }
}
