// Removes the labs whose owner is gone, with `--all` every lab: `node test/cluster/lab/clean.ts [--all]`.
// CI calls it before and after its tests. Says what it removed; nothing else is touched.
import { isRunning } from '../../../common/index.ts'
import { recordedLabs, removeLab } from './registry.ts'

const all = process.argv.includes('--all')
for (const record of recordedLabs()) {
  if (!all && isRunning(record.owner)) continue
  removeLab(record)
  console.log(`removed the cluster lab ${record.id} (${record.directory})`)
}
