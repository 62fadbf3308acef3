// `leet image show`: all that is known of one image, base, or disk image.
import { statSync } from 'node:fs'
import type { Command } from 'commander'
import { formatSize } from '../../../../common/index.ts'
import type { StoredBase, StoredImage } from '../../../images/list.ts'
import { print } from '../shared.ts'

/** Adds `leet image show`. */
export function addShow(image: Command): void {
  image
    .command('show <image>')
    .description('an image by name or id, an OSv base, or a disk image: what guests would boot')
    .action(async (word: string) => {
      const { pickStored, storedBy } = await import('../../../images/list.ts')
      // As for jobs: of a name in the store and a file beside each other the name is meant.
      if (word.includes('/') || (await storedBy(word, process.env)).length === 0) {
        const stats = statSync(word, { throwIfNoEntry: false })
        if (stats?.isFile()) return showDisk(word)
        if (word.includes('/') || stats) return showDirectory(word)
      }
      const stored = await pickStored(word, process.env)
      print(stored.id)
      const rows = stored.guest === 'osv base' ? await rowsOfBase(stored) : await rowsOfImage(stored)
      for (const [name, text] of rows) print(`  ${name.padEnd(8)} ${text}`)
    })
}

type Rows = readonly (readonly [string, string])[]

async function showDisk(word: string): Promise<void> {
  const { openDiskImage } = await import('../../../images/disk-image.ts')
  const { path, format, size } = openDiskImage(word)
  print(`${path}\n  format ${format}\n  size   ${formatSize(size)}`)
}

async function showDirectory(word: string): Promise<void> {
  const { findLinuxImage } = await import('../../../images/find.ts')
  const { id, kernel, initrd, disk } = await findLinuxImage(word, process.env, process.cwd())
  print(`${id}\n  kernel ${kernel}\n  initrd ${initrd}\n  disk   ${disk}`)
}

async function rowsOfImage(image: StoredImage): Promise<Rows> {
  const { names, programs, kernel, initrd, disk, base, guest } = image
  const more: Rows = guest === 'osv' ? await rowsOfOsv(image) : []
  return [
    ['guest', guest],
    ['names', names.join(', ') || '-'],
    ...(programs.length === 0 ? [''] : programs).map((path) => ['program', path || '-'] as const),
    ...rowsOfBoth(image),
    ...(base === undefined ? [] : [['base', kernel === undefined ? `${base} (not there)` : base] as const]),
    ...(kernel === undefined ? [] : [['kernel', kernel] as const]),
    ...(initrd === undefined ? [] : [['initrd', initrd] as const]),
    ['disk', disk],
    ...more,
  ]
}

/** What it has besides its disk. */
async function rowsOfOsv({ id }: StoredImage): Promise<Rows> {
  const { findOsvImage } = await import('../../../images/osv/remembered.ts')
  const { facts } = await findOsvImage(id, process.env)
  if (!facts) return []
  return [
    ...facts.programs.map(({ guest }) => ['has', guest] as const),
    ...facts.links.map(({ path, target }) => ['link', `${path} -> ${target}`] as const),
    ...facts.mountPoints.map((path) => ['mounts', path] as const),
    ...(facts.compat ? [] : [['lacks', 'the compatibility library'] as const]),
  ]
}

async function rowsOfBase(stored: StoredBase): Promise<Rows> {
  const { openOsvBase, osvStore } = await import('../../../images/osv/base.ts')
  const { lacksOf } = await import('../../../images/osv/bases.ts')
  const base = await openOsvBase(osvStore(process.env), stored.id)
  return [
    ['guest', `${stored.guest}${stored.isDefault ? ', the default' : ''}`],
    ['version', stored.version ?? '-'],
    ...rowsOfBoth(stored),
    ['kernel', stored.kernel],
    ...stored.images.map((id) => ['image', id] as const),
    ...lacksOf(base).map((sentence) => ['lacks', sentence] as const),
  ]
}

function rowsOfBoth({ size, made, used }: StoredImage | StoredBase): Rows {
  return [
    ['size', formatSize(size)],
    ['made', made.toISOString()],
    ['used', used?.toISOString() ?? 'never'],
  ]
}
