// The reference page of leet-mpirun's options, from the table. Pure; OPTIONS.md is what it gives, and a test sees to that.
import { dashedFlag, type OptionSpec } from '../../mpi-bridge/index.ts'
import { describeOption } from '../config/row.ts'

/** Markdown with every option: spellings, words, variable, key in leet.yaml, and what it is for. */
export function referencePage(options: readonly OptionSpec[], configurable: readonly OptionSpec[]): string {
  const inFiles = new Set(configurable.map(({ key }) => key))
  const shown = options.filter(
    ({ noEffect, refused, means }) => noEffect === undefined && refused === undefined && !means,
  )
  const sections = [...Map.groupBy(shown, ({ group }) => group)].map(([group, own]) =>
    table(
      `## ${group}`,
      ['option', 'for', 'variable', 'key in leet.yaml'],
      own.map((option) => [
        spelled(option),
        describeOption(option),
        option.environment ? code(option.environment) : '',
        inFiles.has(option.key) ? code(option.key) : '',
      ]),
    ),
  )
  const short = options.flatMap((option) => {
    const { means } = option
    if (!means) return []
    const [key, ...words] = means
    const other = options.find((one) => one.key === key) as OptionSpec
    const said = [dashedFlag(other.flags[0] as string), ...words.map((word) => word.replaceAll(/%2?/g, 'N'))]
    return [[spelled(option), code(said.join(' '))]]
  })
  const without = options.flatMap((option) =>
    option.noEffect === undefined ? [] : [[spelled(option), option.noEffect]],
  )
  const refused = options.flatMap((option) =>
    option.refused === undefined ? [] : [[spelled(option), option.refused]],
  )
  return `${[
    '# Options of leet-mpirun',
    'Made from the table in `options.ts` by `leet completion markdown`; not written by hand. Options come before the program, with one dash or two, and `--option=WORD` is `--option WORD`. Between programs stands `:`; options marked with * may differ between them.',
    ...sections,
    table('## Shorter ways to say the same', ['option', 'stands for'], short),
    table('## Accepted without effect', ['option', 'why'], without),
    table('## Of other launchers, and refused', ['option', 'instead'], refused),
  ].join('\n\n')}\n`
}

function spelled({ flags, takes, scope }: OptionSpec): string {
  const words = takes.length > 0 ? ` ${takes.join(' ')}` : ''
  return `${flags.map((flag) => code(`${dashedFlag(flag)}${words}`)).join(', ')}${scope === 'program' ? ' *' : ''}`
}

function code(text: string): string {
  return `\`${text.replaceAll('|', '\\|')}\``
}

function table(heading: string, columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replace(/(?<!\\)\|/g, '\\|')).join(' | ')} |`
  return [heading, '', line(columns), line(columns.map(() => '---')), ...rows.map(line)].join('\n')
}
