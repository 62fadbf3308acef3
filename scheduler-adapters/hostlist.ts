// Hostlists, `n[01-03,7],login`: expanded and folded.
// Formats: RFC 29 of the Flux framework, and Slurm's (observed with `scontrol show hostnames` of 22.05.8). They differ
// in padding: in `a[01-02,7]` RFC 29 gives all ids the width of the first (a07), Slurm gives each range its own (a7).
import { usageError } from '../common/index.ts'

/** Whose rule for leading zeros holds. */
export type HostlistDialect = 'rfc29' | 'slurm'

/** Bounds that keep a short text from becoming a huge list. */
const TEXT_LIMIT = 1 << 20
export const HOST_LIMIT = 65_536
const DIGITS = 15

interface IdRange {
  readonly low: number
  readonly high: number
  /** Digits to pad to; 0 for none. */
  readonly width: number
}

type Part = string | readonly IdRange[]

/**
 * The names of a hostlist in order, repeated ones included. Several brackets in one expression give all combinations,
 * the leftmost changing slowest. Sizes are summed up before anything is made: more than `limit` names, and every
 * malformed text, are refused (`LEET_E_USAGE`, `where` names the source). The names are not checked.
 */
export function expandHostlist(
  text: string,
  dialect: HostlistDialect,
  where: string,
  limit = HOST_LIMIT,
): string[] {
  const expressions = splitExpressions(text, where).map((expression) =>
    parseExpression(expression, dialect, where),
  )
  let total = 0
  for (const parts of expressions) {
    total += parts.reduce((size, part) => (typeof part === 'string' ? size : size * sizeOf(part)), 1)
    if (!(total <= limit)) throw refusal(text, `it stands for more than ${limit} hosts`, where)
  }
  return expressions.flatMap(expandParts)
}

/** What stands between commas outside brackets; empty items stand for nothing. */
export function splitExpressions(text: string, where: string): string[] {
  if (text.length > TEXT_LIMIT) throw refusal(text, `longer than ${TEXT_LIMIT} characters`, where)
  const expressions: string[] = []
  let start = 0
  let open = false
  for (let i = 0; i <= text.length; i++) {
    const character = text[i]
    if (character === '[') {
      if (open) throw refusal(text, 'a bracket inside a bracket', where)
      open = true
    } else if (character === ']') {
      if (!open) throw refusal(text, 'a closing bracket without an opening one', where)
      open = false
    } else if (character === undefined || (character === ',' && !open)) {
      if (i > start) expressions.push(text.slice(start, i))
      start = i + 1
    }
  }
  if (open) throw refusal(text, 'a bracket is not closed', where)
  return expressions
}

function parseExpression(expression: string, dialect: HostlistDialect, where: string): Part[] {
  // RFC 29: prefix and suffix are printable ASCII without blanks.
  if (!/^[!-~]+$/.test(expression)) throw refusal(expression, 'a blank or a character outside ASCII', where)
  return expression
    .split(/(\[[^\]]*\])/)
    .filter((part) => part !== '')
    .map((part) => (part.startsWith('[') ? parseIds(part.slice(1, -1), expression, dialect, where) : part))
}

function parseIds(text: string, expression: string, dialect: HostlistDialect, where: string): IdRange[] {
  let first = 0
  return text.split(',').map((item, i) => {
    const match = /^(\d+)(?:-(\d+))?$/.exec(item)
    const [, low = '', high = low] = match ?? []
    if (!match || low.length > DIGITS || high.length > DIGITS) {
      throw refusal(expression, `"${item.slice(0, 40)}" is neither a number nor a range`, where)
    }
    if (Number(low) > Number(high)) throw refusal(expression, `the range ${item} runs backwards`, where)
    const width = low.length > 1 && low.startsWith('0') ? low.length : 0
    if (i === 0) first = width
    return { low: Number(low), high: Number(high), width: dialect === 'rfc29' ? first : width }
  })
}

function sizeOf(ranges: readonly IdRange[]): number {
  return ranges.reduce((size, { low, high }) => size + high - low + 1, 0)
}

function expandParts(parts: readonly Part[]): string[] {
  return parts.reduce<string[]>(
    (names, part) => {
      const tails = typeof part === 'string' ? [part] : part.flatMap(expandRange)
      return names.flatMap((name) => tails.map((tail) => name + tail))
    },
    [''],
  )
}

function expandRange({ low, high, width }: IdRange): string[] {
  return Array.from({ length: high - low + 1 }, (_, i) => String(low + i).padStart(width, '0'))
}

/**
 * A hostlist that expands to just these names in this order. Numbers at the end of names are folded
 * (`n1,n2,n4` as `n[1-2,4]`). Names must be without blanks, commas and brackets.
 */
export function foldHostlist(names: readonly string[], dialect: HostlistDialect): string {
  const expressions: string[] = []
  let prefix = ''
  let ranges: { low: number; high: number; width: number }[] = []
  const flush = () => {
    const ids = ranges.map(({ low, high, width }) => {
      const pad = (id: number) => String(id).padStart(width, '0')
      return low === high ? pad(low) : `${pad(low)}-${pad(high)}`
    })
    const [only] = ids
    if (only !== undefined) {
      expressions.push(ids.length === 1 && /^\d+$/.test(only) ? prefix + only : `${prefix}[${ids.join(',')}]`)
    }
    ranges = []
  }
  for (const name of names) {
    const match = new RegExp(`^(.*?)(\\d{1,${DIGITS}})$`).exec(name)
    const [, head = '', digits = ''] = match ?? []
    const previous = ranges.at(-1)
    const id = Number(digits)
    const fits = (width: number) => String(id).padStart(width, '0') === digits
    if (!match) {
      flush()
      expressions.push(name)
    } else if (previous && head === prefix && id === previous.high + 1 && fits(previous.width)) {
      previous.high = id
    } else {
      const own = digits.length > 1 && digits.startsWith('0') ? digits.length : 0
      const width = dialect === 'rfc29' && ranges[0] ? ranges[0].width : own
      if (head !== prefix || !fits(width)) flush()
      prefix = head
      ranges.push({ low: id, high: id, width: ranges.length === 0 ? own : width })
    }
  }
  flush()
  return expressions.join(',')
}

function refusal(text: string, why: string, where: string) {
  return usageError(
    `${JSON.stringify(text.slice(0, 80))} is not a list of hosts: ${why}`,
    'names separated by commas, with ranges such as node[01-16,20]',
    where,
  )
}
