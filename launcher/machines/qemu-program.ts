// Where QEMU is.
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { LeetError } from '../../common/index.ts'

/** Path of the QEMU for x86-64 guests: on PATH, or where Red Hat keeps it. `LEET_E_COMMAND_MISSING` when there is none. */
export function findQemu(env: NodeJS.ProcessEnv = process.env): string {
  const folders = (env.PATH ?? '').split(delimiter).filter(Boolean)
  const candidates = [
    ...folders.map((folder) => join(folder, 'qemu-system-x86_64')),
    ...folders.map((folder) => join(folder, 'qemu-kvm')),
    '/usr/libexec/qemu-kvm',
  ]
  const found = candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
  if (found !== undefined) return found
  throw new LeetError({
    code: 'LEET_E_COMMAND_MISSING',
    what: 'QEMU for x86-64 guests (qemu-system-x86_64) is not on PATH',
    hint: 'apt-get install qemu-system-x86 (Debian), or load the site’s module for QEMU',
  })
}
