// Words for a POSIX shell.
import { usageError } from '../common/index.ts'

/** A word as the shell takes it literally; plain words stay as they are. */
export function shellQuote(word: string): string {
  if (word.includes('\0')) throw usageError('an argument with a NUL byte cannot be passed on')
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
