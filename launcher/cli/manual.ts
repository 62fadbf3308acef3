// The manual page leet-mpirun(1), from the table of options, in man(7)'s macros. Pure.
import { dashedFlag, type OptionSpec } from '../../mpi-bridge/index.ts'
import { describeOption } from '../config/row.ts'

/** The page for `man`; `version` is LEET's. */
export function manualPage(table: readonly OptionSpec[], version: string): string {
  const options = table.filter(({ refused }) => refused === undefined)
  const shown = options.filter(({ noEffect }) => noEffect === undefined)
  const sections = [...Map.groupBy(shown, ({ group }) => group)].map(([group, own]) =>
    [`.SS ${text(group)}`, ...own.map(paragraph)].join('\n'),
  )
  const accepted = options
    .filter(({ noEffect }) => noEffect !== undefined)
    .flatMap(({ flags }) => flags.map((flag) => `\\fB${text(dashedFlag(flag))}\\fR`))
  const environment = shown
    .filter((option) => option.environment !== undefined)
    .map((option) =>
      tagged(bold(option.environment as string), `as ${dashedFlag(option.flags[0] as string)}`),
    )
  return `${[
    `.TH LEET-MPIRUN 1 "" "LEET ${text(version)}"`,
    '.SH NAME',
    'leet-mpirun \\- run an MPI program with every rank in a virtual machine',
    '.SH SYNOPSIS',
    '.B leet-mpirun',
    '[\\fIOPTIONS\\fR] \\fIPROGRAM\\fR [\\fIARGUMENTS\\fR] [: [\\fIOPTIONS\\fR] \\fIPROGRAM\\fR [\\fIARGUMENTS\\fR]]...',
    '.SH DESCRIPTION',
    'Does what \\fBmpirun\\fR and \\fBmpiexec\\fR do, on the nodes of the batch job in which it runs; ranks live in guests: Linux',
    'virtual machines, OSv unikernels, or the bare host.',
    '.PP',
    'Options come before the program, with one dash or two; \\fB\\-\\-option=WORD\\fR is \\fB\\-\\-option WORD\\fR.',
    '.SH OPTIONS',
    ...sections,
    '.SS Accepted without effect',
    `${accepted.join(',\n')}.`,
    '.SH ENVIRONMENT',
    ...environment,
    '.SH EXIT STATUS',
    'That of the first rank that failed, 128+N when signal N ended it, the argument of MPI_Abort; 2 for a refused command line,',
    '124 after \\fB\\-\\-timeout\\fR, 127 when a program or one of its libraries cannot be found, 1 when a guest was lost.',
    '.SH FILES',
    tagged(
      '\\fI/etc/leet/leet.yaml\\fR, \\fI~/.config/leet/leet.yaml\\fR, \\fIleet.yaml\\fR',
      'settings; see \\fBleet config\\fR',
    ),
    '.SH SEE ALSO',
    '\\fBmpirun\\fR(1), \\fBmpiexec\\fR(1), \\fBleet \\-\\-help\\fR, \\fBleet explain\\fR, \\fBleet doctor\\fR',
  ].join('\n')}\n`
}

function paragraph(option: OptionSpec): string {
  const { flags, takes, means } = option
  const words = takes.map((word) => ` \\fI${text(word)}\\fR`).join('')
  const names = flags.map((flag) => `\\fB${text(dashedFlag(flag))}\\fR`).join(', ')
  if (!means) return tagged(`${names}${words}`, text(describeOption(option)))
  const [key, ...others] = means
  const meant = others.map((word) => word.replaceAll(/%2?/g, 'N')).join(' ')
  return tagged(`${names}${words}`, text(`as --${key} ${meant}`))
}

function tagged(term: string, body: string): string {
  return `.TP\n${term}\n${body}`
}

function bold(word: string): string {
  return `\\fB${text(word)}\\fR`
}

// A backslash begins an escape and a hyphen is no minus; a dot or quote in the first column begins a request.
function text(words: string): string {
  return words
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&')
}
