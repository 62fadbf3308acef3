// `leet image remove` and `prune`: room in the store.
import { resolve } from 'node:path'
import type { Command } from 'commander'
import { formatSize, parseDuration, usageError } from '../../../../common/index.ts'
import { log, print } from '../shared.ts'

/** Adds `leet image remove`. */
export function addRemove(image: Command): void {
  image
    .command('remove <image...>')
    .description('remove images and OSv bases from your store')
    .action(async (words: string[]) => {
      const { pickStored, shortId } = await import('../../../images/list.ts')
      const { removeStored } = await import('../../../images/remove.ts')
      // All are found before one is removed.
      const found = await Promise.all(
        words.map((word) => {
          // A directory of the user's own is an image, too.
          if (!word.includes('/')) return pickStored(word, process.env)
          throw usageError(`${resolve(word)} is not in your store`, 'leet image list', 'IMAGE')
        }),
      )
      const gone = [...new Map(found.map((stored) => [`${stored.guest} ${stored.id}`, stored])).values()]
      const freed = await removeStored(gone, process.env)
      const removed = new Set(gone.map(({ id }) => id))
      for (const stored of gone) {
        const names = stored.guest === 'osv base' ? [] : stored.names
        print([`removed ${stored.guest} ${shortId(stored.id)}`, ...names].join(' '))
        if (stored.guest !== 'osv base') continue
        const orphans = stored.images.filter((id) => !removed.has(id))
        if (orphans.length === 0) continue
        const many = orphans.length === 1 ? '1 image was' : `${orphans.length} images were`
        log.note(`${many} composed of it, and cannot be booted until it is imported again`)
      }
      print(`${formatSize(freed)} freed`)
    })
}

/** Adds `leet image prune`. */
export function addPrune(image: Command): void {
  image
    .command('prune')
    .description(
      'remove images without a name, but no OSv base: they are composed again when they are needed',
    )
    .option('--unused-for <time>', 'only what no job has taken for so long, such as 12h or 30d', (text) =>
      parseDuration(text, '--unused-for'),
    )
    .action(async ({ unusedFor = 0 }: { unusedFor?: number }) => {
      const { listImages } = await import('../../../images/list.ts')
      const { removeStored } = await import('../../../images/remove.ts')
      const latest = Date.now() - unusedFor
      const gone = (await listImages(process.env)).filter(
        ({ names, made, used }) =>
          names.length === 0 && (unusedFor === 0 || Math.max(made.getTime(), used?.getTime() ?? 0) <= latest),
      )
      const freed = await removeStored(gone, process.env)
      print(`${gone.length} removed, ${formatSize(freed)} freed`)
    })
}
