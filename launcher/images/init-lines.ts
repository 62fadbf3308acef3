// The console lines of LEET's own guest init: one line for each step of a guest's start, read by the launcher to know
// that a guest is ready, or why not. The console carries other text too, and a guest's programs can write to it:
// a line is a report, never an instruction.

/** What init says in one line. */
export type InitLine =
  | {
      readonly kind: 'step'
      /** Such as `seed`, `network`, `mount`, `user`, `ssh`. */
      readonly step: string
      readonly ok: boolean
      /** Of a step that failed: whether the guest goes on without it. */
      readonly fatal: boolean
      /** What the step was about: path, interface, device; and `reason` with the error's text when it failed. */
      readonly fields: Readonly<Record<string, string>>
    }
  /** A step begins that may take long, and has a limit of its own. */
  | { readonly kind: 'begin'; readonly step: string; readonly fields: Readonly<Record<string, string>> }
  /** SSH listens and every required mount answers. */
  | { readonly kind: 'ready'; readonly fields: Readonly<Record<string, string>> }
  /** The guest ends: by request, or because of a fatal failure. */
  | { readonly kind: 'off'; readonly fields: Readonly<Record<string, string>> }

const PREFIX = 'leet-init: '
const MAX_LINE = 4096

/**
 * Reads one console line: `leet-init: step=mount path=/x status=ok`, `leet-init: step=mount path=/x status=failed
 * reason="No such device"`, `… status=begin`, `leet-init: ready ms=1432`, `leet-init: off reason="…"`. Values with blanks are quoted,
 * with `\"`, `\\` and `\xNN` inside. Anything else is undefined; kernel messages may stand before it on the line.
 */
export function parseInitLine(line: string): InitLine | undefined {
  if (line.length > MAX_LINE) return undefined
  const at = line.indexOf(PREFIX)
  if (at < 0) return undefined
  const words = splitFields(line.slice(at + PREFIX.length).trimEnd())
  if (!words) return undefined
  const [first, ...rest] = words
  if (first === undefined) return undefined
  const fields = Object.fromEntries(rest.map(({ key, value }) => [key, value ?? '']))
  if (first.value === undefined) {
    return first.key === 'ready' || first.key === 'off' ? { kind: first.key, fields } : undefined
  }
  if (first.key !== 'step') return undefined
  const { status, ...others } = fields
  if (status === 'begin') return { kind: 'begin', step: first.value, fields: others }
  if (status !== 'ok' && status !== 'failed' && status !== 'fatal') return undefined
  return {
    kind: 'step',
    step: first.value,
    ok: status === 'ok',
    fatal: status === 'fatal',
    fields: others,
  }
}

interface Field {
  readonly key: string
  /** Absent for a word without `=`. */
  readonly value?: string
}

const FIELD = /\s*([a-z][a-z0-9-]*)(?:=(?:"((?:[^"\\]|\\["\\]|\\x[0-9a-f]{2})*)"|([^\s"]*)))?(?=\s|$)/y

function splitFields(text: string): Field[] | undefined {
  const fields: Field[] = []
  FIELD.lastIndex = 0
  while (FIELD.lastIndex < text.length) {
    const match = FIELD.exec(text)
    if (!match) return undefined
    const [, key, quoted, bare] = match
    fields.push({ key: key as string, value: quoted === undefined ? bare : unquote(quoted) })
  }
  return fields
}

/** Escaped bytes that stand together are UTF-8. */
function unquote(text: string): string {
  return text.replace(/\\(["\\])|(?:\\x[0-9a-f]{2})+/g, (bytes, plain?: string) => {
    return plain ?? Buffer.from(bytes.replaceAll('\\x', ''), 'hex').toString('utf8')
  })
}
