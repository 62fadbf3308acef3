// A terminal's screen, as far as progress lines need one: what stands on it after all that was written.

const ESCAPE = '\u001b'
/** A control sequence with at most one number, or a character. */
const PART = new RegExp(`${ESCAPE}\\[\\d*[A-Z]|.`, 'gsu')

/** Rows of text, the cursor, and the few control sequences that are used. */
export class Screen {
  readonly columns: number
  readonly rows: number
  readonly isTTY = true
  /** All that was ever written: a screen has room for as many lines as there are, but its cursor never leaves the last `rows`. */
  readonly #lines: string[][] = [[]]
  #row = 0
  #column = 0

  constructor(columns: number, rows: number) {
    this.columns = columns
    this.rows = rows
  }

  write(text: string): void {
    for (const [part] of text.matchAll(PART)) this.#take(part)
  }

  /** What stands there, without blank rows at the end. */
  get text(): string {
    return this.#lines
      .map((line) =>
        Array.from(line, (character) => character ?? ' ')
          .join('')
          .trimEnd(),
      )
      .join('\n')
      .trimEnd()
  }

  #take(part: string): void {
    if (part === '\r') this.#column = 0
    else if (part === '\n') this.#newRow()
    else if (part.startsWith(ESCAPE)) this.#control(part)
    else {
      // The widest that any terminal shows it.
      const width = (part.codePointAt(0) as number) < 0x1100 ? 1 : 2
      if (this.#column + width > this.columns) this.#newRow()
      const line = this.#lines[this.#row] as string[]
      line[this.#column] = part
      if (width === 2) line[this.#column + 1] = ''
      this.#column += width
    }
  }

  #newRow(): void {
    this.#column = 0
    this.#row += 1
    this.#lines[this.#row] ??= []
  }

  #control(sequence: string): void {
    const line = this.#lines[this.#row] as string[]
    const count = Number(sequence.slice(2, -1) || 1)
    const top = Math.max(0, this.#lines.length - this.rows)
    if (sequence.endsWith('A')) this.#row = Math.max(top, this.#row - count)
    else if (sequence.endsWith('K')) line.length = Math.min(line.length, this.#column)
    else if (sequence.endsWith('J')) {
      line.length = Math.min(line.length, this.#column)
      for (const below of this.#lines.slice(this.#row + 1)) below.length = 0
    } else throw new Error(`a control sequence that this screen does not know: ${JSON.stringify(sequence)}`)
  }
}
