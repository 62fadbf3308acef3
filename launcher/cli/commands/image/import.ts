// `leet image import`: the base of OSv images.
import type { Command } from 'commander'
import { usageError } from '../../../../common/index.ts'
import { print } from '../shared.ts'

/** Adds `leet image import`. */
export function addImport(image: Command): void {
  image
    .command('import <kind> <dir>')
    .description('take what OSv’s own build left (kind: osv) as the base of OSv images')
    .action(async (kind: string, directory: string) => {
      if (kind !== 'osv') throw usageError(`"${kind}" cannot be imported`, 'leet image import osv DIR')
      const { importOsvBase, OSV_BUILD, osvStore } = await import('../../../images/osv/base.ts')
      const { base, lacks, remedies } = await importOsvBase(directory, { store: osvStore(process.env) })
      print(`${base.id}${base.version ? ` (OSv ${base.version})` : ''}`)
      for (const sentence of lacks) print(`  lacks: ${sentence}`)
      if (lacks.length === 0) return
      print('in OSv’s source tree this makes a base that lacks nothing:')
      for (const command of [...remedies, OSV_BUILD]) print(`  ${command}`)
    })
}
