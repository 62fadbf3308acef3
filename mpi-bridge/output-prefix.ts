// What begins each line of output, and into which files output goes: the tags of Open MPI, the patterns of both MPIs. Pure.
// Sources: mpirun(1) of Open MPI 4.1 and 5.0 (--tag-output, --timestamp-output, --output), Hydra's -prepend-pattern,
// -outfile-pattern and -errfile-pattern; what both print was compared with Open MPI 4.1.4 and MPICH 4.0.2.
import { usageError } from '../common/index.ts'

/** A line, or a stream, of a rank. */
export interface OutputOrigin {
  /** 0, or the number of the spawned job. */
  readonly job: number
  readonly rank: number
  readonly stream: 'stdout' | 'stderr'
  /** Number and host name of the guest; on the bare host, of the node. */
  readonly guest: number
  readonly host: string
  /** The ranks of the guest write to one console, and cannot be told apart: lines are the guest's. */
  readonly together?: boolean
}

/** What tells lines apart. */
export interface LineTags {
  /** `[job,rank]<stream>:` of Open MPI; `host`: with `[host]` before the stream. */
  readonly tag: boolean | 'host'
  /** The date before that. */
  readonly timestamp: boolean
  /** Hydra's pattern; `[%r] ` for -prepend-rank. */
  readonly pattern: string | undefined
}

/** What begins a line; undefined when nothing does. */
export function linePrefix(tags: LineTags, now: () => Date): ((origin: OutputOrigin) => string) | undefined {
  const { tag, timestamp, pattern } = tags
  if (pattern !== undefined) return (origin) => expandPattern(pattern, origin)
  if (!tag && !timestamp) return undefined
  return (origin) => {
    const place = tag
      ? `[${origin.job + 1},${writer(origin)}]${tag === 'host' ? `[${origin.host}]` : ''}`
      : ''
    return `${timestamp ? clock(now()) : ''}${place}<${origin.stream}>:`
  }
}

/** Whom a line is from, as far as one can tell. */
function writer({ rank, host, together }: OutputOrigin): string {
  return together ? host : String(rank)
}

// As ctime(3), which Open MPI uses.
function clock(time: Date): string {
  const [day, month, date, year] = time.toDateString().split(' ')
  return `${day} ${month} ${String(Number(date)).padStart(2)} ${time.toTimeString().slice(0, 8)} ${year}`
}

/** `%r` rank, `%g` job, `%n` job from 1, `%p` guest, `%h` host, `%R` rank, `%%`. */
function expandPattern(pattern: string, origin: OutputOrigin): string {
  const { job, guest, host } = origin
  const values: Readonly<Record<string, string>> = {
    r: writer(origin),
    R: writer(origin),
    g: String(job),
    n: String(job + 1),
    p: String(guest),
    h: host,
    '%': '%',
  }
  return pattern.replace(CONVERSION, (_, letter: string) => values[letter] as string)
}

const CONVERSION = /%([rRgnph%])/g

/** A pattern that can be expanded; anything else behind a `%` is a usage error. */
export function checkPattern(pattern: string, where: string): string {
  const left = pattern.replace(CONVERSION, '')
  if (left.includes('%') || pattern === '' || pattern.includes('\0')) {
    throw usageError(
      `"${pattern}" is not a pattern`,
      '%r for the rank, %h for the host, %n for the job, %p for the guest, %% for a percent sign',
      where,
    )
  }
  return pattern
}

/** Where output goes besides, or instead of, the user's streams. */
export interface OutputFiles {
  /** `directory`: DIR/JOB/rank.N/stdout; `file`: FILE.N.out and FILE.N.err; `patterns`: one of each stream. */
  readonly form:
    | { readonly kind: 'directory'; readonly path: string; readonly withJob: boolean }
    | { readonly kind: 'file'; readonly path: string }
    | { readonly kind: 'patterns'; readonly stdout: string | undefined; readonly stderr: string | undefined }
  /** The user's streams have it too. */
  readonly copy: boolean
}

/** The file for a stream of a rank of a job of `size` ranks; undefined when it has none. */
export function outputPath({ form }: OutputFiles, origin: OutputOrigin, size: number): string | undefined {
  const { job, rank, stream } = origin
  switch (form.kind) {
    case 'directory': {
      const padded = String(rank).padStart(String(size - 1).length, '0')
      const base = expandPattern(form.path, origin)
      return `${base}/${form.withJob ? `${job + 1}/` : ''}rank.${padded}/${stream}`
    }
    case 'file':
      // A pattern names the files of the ranks by itself.
      return `${expandPattern(form.path, origin)}${form.path.includes('%') ? '' : `.${rank}`}.${stream === 'stdout' ? 'out' : 'err'}`
    case 'patterns': {
      const pattern = form[stream]
      return pattern === undefined ? undefined : expandPattern(pattern, origin)
    }
  }
}

/** What `--output` says, in the words of Open MPI 5. */
export interface OutputWords {
  readonly tag: LineTags['tag']
  readonly timestamp: boolean
  readonly merge: boolean
  readonly files: OutputFiles | undefined
}

/** Reads `tag,timestamp,dir=DIR:nocopy,merge-stderr-to-stdout`. */
export function parseOutput(text: string, where: string): OutputWords {
  const [list = '', ...qualifiers] = text.split(':')
  const words = [...list.split(','), ...qualifiers.flatMap((field) => field.split(','))]
  let said: OutputWords = { tag: false, timestamp: false, merge: false, files: undefined }
  let copy = true
  for (const word of words) {
    const [name = '', value] = [word.replace(/=.*/s, ''), /=(.+)/s.exec(word)?.[1]]
    switch (name.toLowerCase()) {
      case 'tag':
      case 'tag-fullname':
        said = { ...said, tag: said.tag || true }
        break
      // Open MPI 5 has the process's number there too, which is one of the guest.
      case 'tag-detailed':
        said = { ...said, tag: 'host' }
        break
      case 'timestamp':
        said = { ...said, timestamp: true }
        break
      case 'merge-stderr-to-stdout':
      case 'merge':
        said = { ...said, merge: true }
        break
      case 'dir':
      case 'directory':
        said = {
          ...said,
          files: { form: { kind: 'directory', path: pathOf(value, where), withJob: true }, copy },
        }
        break
      case 'file':
        said = { ...said, files: { form: { kind: 'file', path: pathOf(value, where) }, copy } }
        break
      case 'nocopy':
        copy = false
        break
      case 'copy':
      case 'raw':
      case 'pattern':
        break
      default:
        throw usageError(
          `"${word}" is not known`,
          'tag, tag-detailed, timestamp, merge-stderr-to-stdout, dir=DIR, file=FILE, and behind a colon nocopy',
          where,
        )
    }
  }
  return { ...said, files: said.files && { ...said.files, copy } }
}

function pathOf(value: string | undefined, where: string): string {
  return checkPattern(value ?? '', where)
}

/** Reads `--output-filename DIR[:nojobid,nocopy]` of Open MPI 4. */
export function parseOutputFilename(text: string, where: string): OutputFiles {
  const [path = '', ...fields] = text.split(':')
  const words = fields.flatMap((field) => field.toLowerCase().split(','))
  const unknown = words.find((word) => !['jobid', 'nojobid', 'copy', 'nocopy'].includes(word))
  if (unknown !== undefined) throw usageError(`"${unknown}" is not known`, 'nojobid and nocopy are', where)
  return {
    form: { kind: 'directory', path: pathOf(path, where), withJob: !words.includes('nojobid') },
    copy: !words.includes('nocopy'),
  }
}
