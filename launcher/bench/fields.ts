// Whether the kinds computed the same: the files that their runs wrote, compared bit by bit. Of each run they are noted in
// the format of sha256sum(1). Pure.
import { type Fields, KIND_PLACES, type Kind, type Run } from './results.ts'

/** Digests of files by their paths. */
export type Digests = ReadonlyMap<string, string>

/** What is new or changed, in lines of sha256sum. */
export function writtenText(before: Digests, after: Digests): string {
  const written = [...after].filter(([path, digest]) => before.get(path) !== digest)
  return written
    .sort(([a], [b]) => inOrder(a, b))
    .map(([path, digest]) => `${digest}  ${path}\n`)
    .join('')
}

/** Reads such lines. */
export function readWritten(text: string): Digests {
  return new Map(
    [...text.matchAll(/^([0-9a-f]{64}) {2}(.+)$/gm)].map(
      ([, digest, path]) => [path, digest] as [string, string],
    ),
  )
}

/** Times of a solver are names of folders: 9 comes before 10. */
const { compare: inOrder } = new Intl.Collator('en', { numeric: true })

/** The first file that only one of them has, or that has other bytes. */
function firstDifference(a: Digests, b: Digests): string | undefined {
  const paths = [...new Set([...a.keys(), ...b.keys()])]
  return paths.sort(inOrder).find((path) => a.get(path) !== b.get(path))
}

/** What the program's runs of each kind wrote, against the first run of the baseline; nothing when that has none. */
export function compareFields(
  runs: readonly Run[],
  kinds: readonly Kind[],
  baseline: Kind,
  writtenOf: (run: Run) => Digests,
): Fields[] {
  const whole = runs.filter(({ workload, failure }) => workload === 'program' && failure === undefined)
  const first = whole.find(({ kind }) => kind === baseline)
  if (!first) return []
  const reference = writtenOf(first)
  return kinds.flatMap((kind): Fields[] => {
    const written = whole.filter((run) => run.kind === kind).map(writtenOf)
    if (written.length === 0) return []
    const differs = written.map((each) => firstDifference(reference, each)).find((path) => path !== undefined)
    return [{ kind, files: written[0]?.size ?? 0, ...(differs === undefined ? {} : { differs }) }]
  })
}

/** The same in sentences. */
export function fieldSentences(fields: readonly Fields[], baseline: Kind): string[] {
  const reference = fields.find(({ kind }) => kind === baseline)
  if (!reference) return []
  if (reference.files === 0) return ['Nothing was written that could be compared.']
  if (reference.differs !== undefined)
    return [
      `What is written ${KIND_PLACES[baseline]} is not the same in each run, first ${reference.differs}: fields cannot be compared.`,
    ]
  return fields
    .filter(({ kind }) => kind !== baseline)
    .map(({ kind, differs }) =>
      differs === undefined
        ? `Fields are equal ${KIND_PLACES[kind]}: all ${reference.files} files have the bits that they have ${KIND_PLACES[baseline]}.`
        : `Fields are not equal ${KIND_PLACES[kind]}: the first file with other bits than ${KIND_PLACES[baseline]} is ${differs}.`,
    )
}
