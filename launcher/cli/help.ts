// The help text of leet-mpirun, from the table of options.
import type { OptionSpec } from '../../mpi-bridge/index.ts'

const USAGE = `Usage: leet-mpirun [OPTIONS] PROGRAM [ARGUMENTS…] [: [OPTIONS] PROGRAM [ARGUMENTS…]]…

Runs an MPI program as mpirun does, with every rank in a virtual machine.
`

/** Help of all options, in groups; `width` is the terminal's. */
export function helpText(options: readonly OptionSpec[], width = 100): string {
  const groups = [...new Set(options.map((option) => option.group))]
  const sections = groups.map((group) => {
    const rows = options.filter((option) => option.group === group).map((option) => helpRow(option, width))
    return `${group}:\n${rows.join('\n')}`
  })
  return `${USAGE}\n${sections.join('\n\n')}\n`
}

const COLUMN = 30

function helpRow(option: OptionSpec, width: number): string {
  const names = option.flags.map((flag) => `${flag.length <= 3 ? '-' : '--'}${flag}`)
  const words = [names.join(', '), ...option.takes].join(' ')
  const environment = option.environment ? ` [${option.environment}]` : ''
  const text = wrap(`${option.help}${environment}`, Math.max(30, width - COLUMN - 2))
  const first =
    words.length < COLUMN - 3
      ? `  ${words.padEnd(COLUMN - 2)}${text[0]}`
      : `  ${words}\n${' '.repeat(COLUMN)}${text[0]}`
  return [first, ...text.slice(1).map((line) => ' '.repeat(COLUMN) + line)].join('\n')
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
