// What is read of a guest with real cloud-init: its console, the result that cloud-init writes, what mount(8) and the
// loader of programs say.
import type { Log } from '../../common/index.ts'
import type { RankListener } from '../../mpi-bridge/index.ts'
import { explainNfsFailure } from '../nfs/failures.ts'

/** Whether a console line says that cloud-init finished without having found any seed. */
export function isWithoutSeed(line: string): boolean {
  return /Cloud-init v\. \S+ finished at .*Datasource DataSourceNone/.test(line)
}

/** What cloud-init failed at, by its result.json; undefined when at nothing. */
export function cloudInitFailure(text: string): string | undefined {
  let errors: unknown
  try {
    errors = JSON.parse(text)?.v1?.errors
  } catch {
    return `its result cannot be read: ${text.slice(0, 200)}`
  }
  if (!Array.isArray(errors)) return `its result cannot be read: ${text.slice(0, 200)}`
  // A mount that fails is told of by name afterwards.
  const others = errors.map(String).filter((error) => !/'mounts'|\(mounts\)|\bmounts\b/.test(error))
  return others.length === 0 ? undefined : others.join('; ').slice(0, 1000)
}

/** Why a mount failed, and what to try. `said` is what mount(8) wrote. */
export function mountFailure(
  said: string,
  { type, source, path }: { readonly type: string; readonly source: string; readonly path: string },
): { readonly why: string; readonly hint: string } {
  const why = said || 'no reason given'
  if (type === '9p') {
    return {
      why: /unknown filesystem type|wrong fs type|special device .* does not exist/.test(said)
        ? `the image's kernel has no 9p: ${why}`
        : why,
      hint: `an image whose kernel has 9p (Debian's cloud kernel has not), --mount SERVER:/export:${path}, or as root \`leet export ${path} -- leet-mpirun …\``,
    }
  }
  if (/helper program|mount\.nfs/.test(said) && !/Permission|Connection|timed out|No such file/.test(said)) {
    return { why, hint: 'install the NFS client in the image (nfs-common, nfs-utils)' }
  }
  return explainNfsFailure(why, source)
}

const LOADER = /error while loading shared libraries: (\S+): cannot open shared object file/g
/** Longer than any of the loader's sentences about one library. */
const KEPT = 1000

/** Finds, in what ranks write to stderr, the libraries that the loader did not find; each is told once. */
export class MissingLibraries {
  readonly #found: (library: string) => void
  readonly #told = new Set<string>()
  /** Of each rank the end of what it wrote: a sentence may come in pieces. */
  readonly #tails = new Map<number, string>()

  constructor(found: (library: string) => void) {
    this.#found = found
  }

  push(rank: number, data: Uint8Array): void {
    const text = (this.#tails.get(rank) ?? '') + Buffer.from(data).toString('latin1')
    for (const [, library] of text.matchAll(LOADER)) {
      if (library === undefined || this.#told.has(library)) continue
      this.#told.add(library)
      this.#found(library)
    }
    this.#tails.set(rank, text.slice(-KEPT))
  }
}

/** A rank says itself what it lacks; that it is the image that lacks it is not plain from a loader's sentence, and is told. */
export function explainingMissing(listener: RankListener, where: string, log: Log): RankListener {
  const missing = new MissingLibraries((library) =>
    log.warn(
      `${where}: the image has no ${library}: install its package in the image, or have the library in a shared directory and on LD_LIBRARY_PATH`,
    ),
  )
  return (event) => {
    if (event.kind === 'output' && event.stream === 'stderr') missing.push(event.rank, event.data)
    listener(event)
  }
}
