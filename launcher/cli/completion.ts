// Bash completion of `leet-mpirun`, from the table of options. Pure.
import { dashedFlag, type OptionSpec } from '../../mpi-bridge/index.ts'
import { wordsOf } from '../config/row.ts'

/** A script for `source`; `table` has the options of leet-mpirun, `leet` the commands of leet. */
export function bashCompletion(table: readonly OptionSpec[], leet: readonly string[]): string {
  const options = table.filter(({ refused }) => refused === undefined)
  const flags = options.flatMap((option) => option.flags.map(dashedFlag))
  const taking = (kind: RegExp) =>
    options
      .filter(({ takes }) => takes.length > 0 && kind.test(takes[0] as string))
      .flatMap((option) => option.flags.map(dashedFlag))
  const offering = options
    .filter(({ takes }) => takes.length > 0)
    .filter((option) => wordsOf(option).length > 0)
  const values = offering.map(
    (option) => `    ${option.flags.map(dashedFlag).join('|')}) words='${wordsOf(option).join(' ')}' ;;`,
  )
  const files = taking(/FILE|IMAGE|SRC/)
  const folders = taking(/DIR/)
  const others = options
    .filter((option) => option.takes.length > 0 && !offering.includes(option))
    .flatMap((option) => option.flags.map(dashedFlag))
    .filter((flag) => !files.includes(flag) && !folders.includes(flag))
  return `# bash completion of LEET: source <(leet completion bash)
_leet_mpirun() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words=
  case $before in
${values.join('\n')}
    ${files.join('|')}) COMPREPLY=($(compgen -f -- "$word")); return ;;
    ${folders.join('|')}) COMPREPLY=($(compgen -d -- "$word")); return ;;
    ${others.join('|')}) return ;;
    *)
      case $word in
        -*) words='${flags.join(' ')}' ;;
        *) COMPREPLY=($(compgen -A command -A file -- "$word")); return ;;
      esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
_leet() {
  if [ "$COMP_CWORD" -eq 1 ]; then COMPREPLY=($(compgen -W '${leet.join(' ')}' -- "\${COMP_WORDS[1]}")); fi
}
complete -o bashdefault -F _leet_mpirun leet-mpirun
complete -o bashdefault -o default -F _leet leet
`
}
