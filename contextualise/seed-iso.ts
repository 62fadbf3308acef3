// A seed as the disk a guest finds it on: NoCloud's ISO, label `cidata`.
import { cloudConfig } from './cloud-config.ts'
import { writeIso } from './iso9660.ts'
import { type OsvMountTool, osvSeed } from './osv.ts'
import { checkSeed, type Seed } from './seed.ts'

/** In whose words a seed is written. */
export type SeedDialect =
  | { readonly kind: 'cloud-config' }
  | { readonly kind: 'osv'; readonly mountTool: OsvMountTool }

/**
 * The seed disk of one guest as bytes, checked. It holds a private host key: store it 0600 and delete it when the guest
 * is up. Throws `LEET_E_SEED` for a seed that cannot be told in that dialect.
 */
export function seedIso(seed: Seed, dialect: SeedDialect): Uint8Array {
  const checked = checkSeed(seed)
  const files: Readonly<Record<string, string>> =
    dialect.kind === 'osv'
      ? { 'user-data': osvSeed(checked, dialect.mountTool).userData }
      : { ...cloudConfig(checked) }
  return writeIso({
    label: 'cidata',
    // Root alone reads it in the guest as well.
    files: Object.entries(files).map(([path, content]) => ({ path, content, mode: 0o600 })),
  })
}
