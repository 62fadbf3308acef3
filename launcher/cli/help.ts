// The help text of leet-mpirun, from the table of options.
import { dashedFlag, type OptionSpec } from '../../mpi-bridge/index.ts'
import { describeOption } from '../config/row.ts'

const USAGE = `Usage: leet-mpirun [OPTIONS] PROGRAM [ARGUMENTS…] [: [OPTIONS] PROGRAM [ARGUMENTS…]]…

Runs an MPI program as mpirun does, with every rank in a virtual machine.
`

/** Help of all options, in groups; `width` is the terminal's. */
export function helpText(options: readonly OptionSpec[], width = 100): string {
  const without = options.filter(({ noEffect }) => noEffect !== undefined).flatMap(({ flags }) => flags)
  const accepted = wrap(without.map(dashedFlag).join(' '), Math.max(30, width - 2)).map((line) => `  ${line}`)
  return `${USAGE}\n${optionLines(options, width)}\n\nAccepted without effect (-v says why):\n${accepted.join('\n')}\n`
}

/** The options alone, in groups. */
export function optionLines(options: readonly OptionSpec[], width = 100): string {
  const shown = options.filter(({ noEffect, refused }) => noEffect === undefined && refused === undefined)
  const sections = [...Map.groupBy(shown, ({ group }) => group)].map(([group, own]) => {
    const rows = own.map((option) => helpRow(option, width))
    return `${group}:\n${rows.join('\n')}`
  })
  return sections.join('\n\n')
}

const COLUMN = 30

function helpRow(option: OptionSpec, width: number): string {
  const names = option.flags.map(dashedFlag)
  const words = [names.join(', '), ...option.takes].join(' ')
  const environment = option.environment ? ` [${option.environment}]` : ''
  const text = wrap(`${helpOf(option)}${environment}`, Math.max(30, width - COLUMN - 2))
  const first =
    words.length < COLUMN - 3
      ? `  ${words.padEnd(COLUMN - 2)}${text[0]}`
      : `  ${words}\n${' '.repeat(COLUMN)}${text[0]}`
  return [first, ...text.slice(1).map((line) => ' '.repeat(COLUMN) + line)].join('\n')
}

/** What an option is for; a shorter way to say another names that. */
function helpOf(option: OptionSpec): string {
  if (!option.means) return describeOption(option)
  const [key, ...words] = option.means
  return `--${key} ${words.join(' ').replaceAll(/%2?/g, 'N')}`
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const line = lines.at(-1) as string
    if (line.length + word.length + 1 > width && line !== '') lines.push(word)
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`
  }
  return lines
}
