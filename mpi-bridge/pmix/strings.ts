// Strings of the wire hold one byte per character; this is how they become text for people and for other parts.

/** A string of the wire as Unicode text. */
export function unicode(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8')
}

/** Text of a rank that may go to a terminal or a log: control characters but line ends and tabs become `?`. */
export function printable(bytes: string): string {
  return unicode(bytes).replace(/[^\P{Cc}\n\t]/gu, '?')
}
