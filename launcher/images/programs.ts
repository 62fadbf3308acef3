// The programs that Linux images were composed of. An image knows none of them: those in directories that guests mount are not
// even in it, and several programs may come to the same image.
import { ABOUT, type ImageStore } from './store.ts'

/** More are not remembered: of an image without programs of its own every new one would be one more. */
const MOST = 16

/** Remembers that an image was composed of these programs, too; the last are first. */
export async function rememberPrograms(
  store: ImageStore,
  id: string,
  programs: readonly string[],
): Promise<void> {
  const before = await programsOf(store, id)
  const all = [...new Set([...programs, ...before])].slice(0, MOST)
  if (all.join('\0') !== before.join('\0')) await store.remember(ABOUT, id, JSON.stringify(all))
}

/** What an image was composed of; nothing where that was not remembered. */
export async function programsOf(store: ImageStore, id: string): Promise<readonly string[]> {
  const text = await store.recall(ABOUT, id)
  try {
    const programs: unknown = JSON.parse(text ?? '[]')
    return Array.isArray(programs) ? programs.filter((program) => typeof program === 'string') : []
  } catch {
    return []
  }
}
