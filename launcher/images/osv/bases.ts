// The bases of a store: all that there are, what one lacks, and how one is removed.
import { join } from 'node:path'
import { bytesIn, type ImageStore, statsOf, USED } from '../store.ts'
import { BASES, DEFAULT, type OsvBase, openOsvBase } from './base.ts'
import { type Content, checkBase } from './base-check.ts'
import { readOsvKernel } from './kernel.ts'

/** A base as it is listed. */
export interface KnownBase {
  readonly id: string
  /** undefined where it does not tell, or was imported by another version of LEET. */
  readonly version: string | undefined
  /** Whether it is taken where none is named. */
  readonly isDefault: boolean
  readonly size: number
  readonly made: Date
  readonly used: Date | undefined
  readonly kernel: string
}

/** All bases, the one imported last first. */
export async function listOsvBases(store: ImageStore): Promise<KnownBase[]> {
  const usual = await store.recall(DEFAULT, 'base')
  const found = store.names(BASES).map(async (id): Promise<KnownBase[]> => {
    const made = statsOf(store.path(BASES, id, 'base.json'))?.mtime
    if (!made) return []
    const version = await openOsvBase(store, id).then(
      (base) => base.version,
      () => undefined,
    )
    return [
      {
        ...{ id, version, made },
        isDefault: id === usual,
        size: bytesIn(store.path(BASES, id)),
        used: store.touched(USED, id),
        kernel: store.path(BASES, id, 'kernel.elf'),
      },
    ]
  })
  return (await Promise.all(found)).flat().sort((a, b) => b.made.getTime() - a.made.getTime())
}

/** What a base lacks, in whole sentences, as its import said it. */
export function lacksOf({ entries, files, kernel }: OsvBase): readonly string[] {
  const contents = entries.map((entry): [string, Content] => [
    entry.guest,
    entry.kind === 'file' ? { kind: 'file', host: join(files, entry.file) } : entry,
  ])
  return checkBase(new Map(contents), readOsvKernel(kernel)).lacks
}

/** Removes a base, and nothing that was composed of it; gives the bytes. The one imported before is the default then. */
export async function removeOsvBase(store: ImageStore, id: string): Promise<number> {
  const size = await store.discard(BASES, id)
  await store.forget(USED, id)
  if ((await store.recall(DEFAULT, 'base')) !== id) return size
  const [next] = await listOsvBases(store)
  if (next) await store.remember(DEFAULT, 'base', next.id)
  else await store.forget(DEFAULT, 'base')
  return size
}
