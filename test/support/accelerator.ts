// What guests of this machine run under, found out as leet-mpirun does.
import { silentLog } from '../../common/index.ts'
import { cacheDirectory } from '../../launcher/images/store.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { type AcceleratorChoice, chooseAccelerator } from '../../launcher/machines/accel.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'

/** Tries it, or recalls what a trial found. */
export async function acceleratorHere(qemu = findQemu()): Promise<AcceleratorChoice> {
  const journal = await Journal.open({ jobId: 'trial' })
  try {
    return await chooseAccelerator({
      ...{ journal, qemu, log: silentLog },
      cacheDirectory: cacheDirectory(process.env),
    })
  } finally {
    await journal.close()
  }
}
