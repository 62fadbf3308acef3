// Lines for the user: what LEET itself has to say goes to stderr, the programs' output is never mixed with it.

/** Where a part of LEET says what it does. Lines are without the trailing newline. */
export interface Log {
  /** Something the user should know even when all goes well. */
  note(line: string): void
  /** Something that may explain a later failure. */
  warn(line: string): void
  /** Shown under `-v` only. */
  detail(line: string): void
}

/** A log that says nothing, for tests and libraries. */
export const silentLog: Log = { note() {}, warn() {}, detail() {} }

/** A log that writes plain lines, each begun by `prefix`. */
export function lineLog(write: (line: string) => void, prefix: string, verbose: boolean): Log {
  return {
    note: (line) => write(`${prefix}${line}\n`),
    warn: (line) => write(`${prefix}warning: ${line}\n`),
    detail: (line) => {
      if (verbose) write(`${prefix}${line}\n`)
    },
  }
}
