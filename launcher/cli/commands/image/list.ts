// `leet image list`: what is in the store, for people or as JSON.
import type { Command } from 'commander'
import { log, print } from '../shared.ts'

/** Adds `leet image list`. */
export function addList(image: Command): void {
  image
    .command('list')
    .description('the images of your store, the newest first, and the bases of OSv images')
    .option('--json', 'as an array of objects, with whole ids, paths, bytes and times')
    .action(async ({ json }: { json?: boolean }) => {
      const { listBases, listImages } = await import('../../../images/list.ts')
      const { baseTable, imageTable, storedJson } = await import('../../image-table.ts')
      const images = await listImages(process.env)
      const bases = await listBases(process.env, images)
      if (images.length + bases.length === 0) {
        log.note('there is no image yet: leet image compose PROGRAM… makes one, and so does leet-mpirun')
      }
      if (json) return print(JSON.stringify([...images, ...bases].map(storedJson), undefined, 2))
      const now = new Date()
      const tables = [
        ...(images.length > 0 ? [imageTable(images, now)] : []),
        ...(bases.length > 0 ? [baseTable(bases, now)] : []),
      ]
      for (const [index, lines] of tables.entries()) print([...(index > 0 ? [''] : []), ...lines].join('\n'))
    })
}
