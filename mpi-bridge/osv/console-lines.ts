// The bytes of a guest's serial console as lines, without changing what programs wrote: the console ends lines with CR LF.
// A line that grows too long to be one of OSv's own is passed on in parts, so that memory is bounded and nothing is cut.

/** A piece of console output. */
export interface ConsolePiece {
  /** Without the end of the line. */
  readonly bytes: Buffer
  /** Whether the line ends here. */
  readonly ended: boolean
  /** Whether the line began in an earlier piece. */
  readonly continued: boolean
}

/** No line of OSv's own, nor the compatibility library's, is longer. */
const TAIL = 4096
const LONGEST = 4 * TAIL
const NEWLINE = 0x0a
const RETURN = 0x0d

/** Cuts a stream of bytes into pieces. */
export class ConsoleLines {
  #partial: Buffer = Buffer.alloc(0)
  #continued = false

  push(data: Uint8Array): ConsolePiece[] {
    const pieces: ConsolePiece[] = []
    let all = Buffer.concat([this.#partial, data])
    for (let end = all.indexOf(NEWLINE); end >= 0; end = all.indexOf(NEWLINE)) {
      const length = end > 0 && all[end - 1] === RETURN ? end - 1 : end
      pieces.push(this.#piece(all.subarray(0, length), true))
      all = all.subarray(end + 1)
    }
    if (all.length > LONGEST) {
      pieces.push(this.#piece(all.subarray(0, all.length - TAIL), false))
      all = all.subarray(all.length - TAIL)
    }
    this.#partial = Buffer.from(all)
    return pieces
  }

  /** What stands there without the end of its line. */
  flush(): ConsolePiece | undefined {
    const rest = this.#partial
    this.#partial = Buffer.alloc(0)
    return rest.length === 0 ? undefined : this.#piece(rest, false)
  }

  #piece(bytes: Buffer, ended: boolean): ConsolePiece {
    const piece = { bytes, ended, continued: this.#continued }
    this.#continued = !ended
    return piece
  }
}
