// Files with the programs of a job, one a line: `--app FILE` of Open MPI and `-configfile FILE` of Hydra. Pure but for the
// reader that is given.
import { usageError } from '../../common/index.ts'
import { countOfWords, type OptionSpec } from './grammar.ts'

/** Key of the option in the table. */
const APP_FILE = 'app-file'

/** Puts the lines of a file that is named before the first program in its place, with `:` between them. */
export function expandAppFile(
  table: readonly OptionSpec[],
  argv: readonly string[],
  read: (path: string) => string,
): string[] {
  const byFlag = new Map(table.flatMap((option) => option.flags.map((flag) => [flag, option] as const)))
  for (let at = 0; at < argv.length; ) {
    const word = argv[at] as string
    if (!word.startsWith('-') || word === '-' || word === '--') break
    const option = byFlag.get(word.replace(/^--?/, '').replace(/=.*/s, ''))
    const inline = word.startsWith('--') && word.includes('=')
    const length = 1 + (inline || !option ? 0 : countOfWords(option, argv[at + 1]))
    if (option?.key === APP_FILE) {
      const path = inline ? word.slice(word.indexOf('=') + 1) : argv[at + 1]
      if (path === undefined) throw usageError('names no file', `${word} FILE`, word)
      const rest = argv.slice(at + length)
      if (rest.length > 0) throw usageError(`comes last, and "${rest[0]}" follows`, undefined, word)
      const programs = parseAppFile(read(path), path)
      return [
        ...argv.slice(0, at),
        ...programs.flatMap((words, index) => (index > 0 ? [':', ...words] : words)),
      ]
    }
    at += length
  }
  return [...argv]
}

/** The words of each program; empty lines and what follows a `#` at the beginning of a word are left out. */
function parseAppFile(text: string, path: string): string[][] {
  const programs = text
    .replaceAll('\\\n', ' ')
    .split('\n')
    .map((line, index) => splitWords(line, `${path}, line ${index + 1}`))
    .filter((words) => words.length > 0)
  if (programs.length === 0) throw usageError(`${path} names no program`)
  // Hydra takes a colon at the end of a line too.
  return programs.map((words) => (words.at(-1) === ':' ? words.slice(0, -1) : words))
}

/** As a shell splits a line, with quotes and backslashes and nothing else. */
function splitWords(line: string, where: string): string[] {
  const words: string[] = []
  let word: string | undefined
  for (let at = 0; at < line.length; at++) {
    const character = line[at] as string
    if (character === '#' && word === undefined) break
    if (/\s/.test(character)) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (character === "'" || character === '"') {
      const end = line.indexOf(character, at + 1)
      if (end < 0) throw usageError(`a quote is not closed: ${line.slice(at, at + 40)}`, undefined, where)
      word = (word ?? '') + line.slice(at + 1, end)
      at = end
    } else if (character === '\\' && at + 1 < line.length) word = (word ?? '') + line[++at]
    else word = (word ?? '') + character
  }
  return word === undefined ? words : [...words, word]
}
