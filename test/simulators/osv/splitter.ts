// A model of how OSv splits a command (core/commands.cc, a Boost.Spirit grammar; observed on v0.57.0-398-g0e34e4dc), with
// its oddities: what a failed quoted word has consumed stays in the word, and only ASCII is let through.

/** One command of a line. */
export interface SplitCommand {
  readonly words: readonly string[]
  /** What ended it: `;` `&` `&!` `!`, or the end of the line. */
  readonly terminator: string
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  "'": "'",
  '"': '"',
}

/** The commands of a line; undefined where OSv says `Bad formatted command`. */
export function splitCommands(
  line: string,
  env: Readonly<Record<string, string | undefined>>,
): SplitCommand[] | undefined {
  if (/^[ \f\n\r\t\v;]*$/.test(line)) return []
  const bytes = Buffer.from(line).toString('latin1')
  const commands: SplitCommand[] = []
  for (let at = 0; ; ) {
    const parsed = parseCommand(bytes, at)
    if (!parsed) break
    const words = parsed.words.map((word) => expand(Buffer.from(word, 'latin1').toString('utf8'), env))
    commands.push({ words, terminator: parsed.terminator })
    at = parsed.end
    if (skip(bytes, at) >= bytes.length) break
  }
  return commands.length === 0 ? undefined : commands
}

/** Everything from the first `$` of a word is the name of a variable. */
function expand(word: string, env: Readonly<Record<string, string | undefined>>): string {
  const at = word.indexOf('$')
  return at < 0 ? word : word.slice(0, at) + (env[word.slice(at + 1)] ?? '')
}

function parseCommand(text: string, start: number) {
  const words: string[] = []
  let at = start
  for (let from = skip(text, at); ; from = skip(text, at)) {
    const word = parseWord(text, from)
    if (!word) break
    words.push(word.text)
    at = word.end
  }
  if (words.length === 0) return undefined
  const end = skip(text, at)
  const terminator = end >= text.length ? '' : /^(;|&!|&|!)/.exec(text.slice(end))?.[0]
  return terminator === undefined ? undefined : { words, terminator, end: end + terminator.length }
}

function parseWord(text: string, start: number): { text: string; end: number } | undefined {
  let word = ''
  if (text[start] === '"') {
    const quoted = take(text, start + 1, (char) => char !== '"')
    word = quoted.text
    if (text[quoted.end] === '"') return { text: word, end: quoted.end + 1 }
  }
  const plain = take(text, start, (char) => !' ;&!'.includes(char))
  return plain.end === start ? undefined : { text: word + plain.text, end: plain.end }
}

function take(text: string, start: number, allowed: (char: string) => boolean) {
  let at = start
  let taken = ''
  for (; at < text.length; ) {
    const char = text[at] as string
    const escaped = char === '\\' ? ESCAPES[text[at + 1] ?? ''] : undefined
    if (escaped !== undefined) {
      taken += escaped
      at += 2
    } else if (allowed(char) && char < '\x80') {
      taken += char
      at++
    } else break
  }
  return { text: taken, end: at }
}

function skip(text: string, start: number): number {
  let at = start
  while (at < text.length && /[ \f\n\r\t\v]/.test(text[at] as string)) at++
  return at
}
