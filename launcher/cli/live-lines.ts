// Lines on a terminal that are written anew in their place, and can be wiped so that something else can be written there.

/** Something to write progress to, such as `process.stderr`. */
export interface ProgressStream {
  readonly isTTY?: boolean
  readonly columns?: number
  readonly rows?: number
  write(text: string): unknown
}

/** Of a terminal that does not know its size: it says 0. */
const COLUMNS = 80
const ROWS = 24

/** The size of a terminal at this moment. */
export function sizeOf({ columns, rows }: ProgressStream): {
  readonly columns: number
  readonly rows: number
} {
  return { columns: columns || COLUMNS, rows: rows || ROWS }
}

/** A block of lines. The cursor stands below it, so that what others write unasked begins a line of its own. */
export class LiveLines {
  readonly #stream: ProgressStream
  /** Lines that stand on the terminal. */
  #shown = 0

  constructor(stream: ProgressStream) {
    this.#stream = stream
  }

  /** Shows these lines in place of those before. */
  show(lines: readonly string[]): void {
    // The last column stays free: some terminals begin a new row as soon as it is written.
    const width = sizeOf(this.#stream).columns - 1
    const text = lines.map((line) => `${cutToWidth(line, width)}\u001b[K\n`).join('')
    this.#stream.write(`${this.#back()}${text}\u001b[J`)
    this.#shown = lines.length
  }

  /** Takes the block away. */
  wipe(): void {
    if (this.#shown > 0) this.#stream.write(`${this.#back()}\u001b[J`)
    this.#shown = 0
  }

  // A terminal that became narrower may show a line in several rows, or cut it; each has at least the one that is gone back.
  // So a rest of the block may stay, but nothing that others wrote is ever wiped.
  #back(): string {
    return this.#shown > 0 ? `\r\u001b[${this.#shown}A` : '\r'
  }
}

/** The first character that may take two columns (Unicode Standard Annex 11, EastAsianWidth.txt): Hangul Jamo. */
const FIRST_WIDE = 0x1100

/**
 * The beginning of a line that surely fits into so many columns. Some characters count as two columns that take one: then it
 * is shorter than it could be. Control characters, which a guest may have written, become blanks.
 */
export function cutToWidth(line: string, columns: number): string {
  let used = 0
  let text = ''
  for (const character of line) {
    const code = character.codePointAt(0) as number
    const width = code < FIRST_WIDE ? 1 : 2
    if (used + width > columns) break
    used += width
    text += code < 0x20 || (code >= 0x7f && code < 0xa0) ? ' ' : character
  }
  return text
}
