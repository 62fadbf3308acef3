// The one function that writes a command for `PUT /app/`, for OSv's own splitter (core/commands.cc, observed on
// v0.57.0-398-g0e34e4dc): words are separated by white space; only a double quote at the beginning of a word groups;
// \a \b \f \n \r \t \v \\ \' \" stand for characters, in quotes and out of them; `;` `&` `!` end a command; after the
// split everything from the first `$` of a word on is the name of a variable, whose value is not looked at again. Characters
// outside ASCII are refused ("Bad formatted command").
import { LeetError } from '../../common/index.ts'

/** A command as OSv takes it, and the variables that it must find in the environment while it is parsed. */
export interface QuotedCommand {
  readonly command: string
  readonly variables: Readonly<Record<string, string>>
}

/** Variables for words that cannot be written: `LEET_OSV_ARG0`, `LEET_OSV_ARG1`, … */
const ARGUMENT_PREFIX = 'LEET_OSV_ARG'

/**
 * `argv` so quoted that the program gets exactly it. Words with `$` or with characters outside ASCII travel as variables.
 * A NUL character, or an empty program, is `LEET_E_OSV_COMMAND`.
 */
export function quoteCommand(argv: readonly string[]): QuotedCommand {
  if (!argv[0]) throw commandError('names no program')
  const variables: Record<string, string> = {}
  const words = argv.map((word, index) => {
    if (word.includes('\0') || !word.isWellFormed()) {
      throw commandError(`has a character in argument ${index} that no argument can have`)
    }
    if (!/^\p{ASCII}*$/u.test(word) || word.includes('$')) {
      const name = `${ARGUMENT_PREFIX}${index}`
      variables[name] = word
      return `$${name}`
    }
    return `"${word.replace(/["\\]/g, '\\$&')}"`
  })
  return { command: words.join(' '), variables }
}

function commandError(what: string): LeetError {
  return new LeetError({ code: 'LEET_E_OSV_COMMAND', where: 'the command for a guest', what })
}
