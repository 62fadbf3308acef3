// What ranks find in their environment besides the words of the process manager, from weak to strong: what their MPI
// library needs in that guest, the user's own variables, what the guest decides, what -x and its like say,
// and the edits of --set-env and its like.
import {
  type ExplainedVariable,
  exportedVariables,
  forwardEnvironment,
  mpiSettings,
  osvSettings,
} from '../../mpi-bridge/index.ts'
import { isMounted } from './mounts.ts'
import { surroundingsOf } from './network.ts'
import type { JobPlan, PlanProgram } from './plan.ts'

/** What the MPI library of a program needs in a guest, and why; `addresses` has that of each guest by its index. */
export function settingsFor(
  plan: JobPlan,
  { mpi }: PlanProgram,
  addresses: readonly string[],
  guest: number,
  devices: boolean,
): ExplainedVariable[] {
  const where = surroundingsOf(plan, addresses, guest, devices)
  if (plan.guestKind !== 'osv') return mpiSettings(mpi, where)
  const address = addresses[guest] as string
  return osvSettings({ mpi, address, ...(where.segment ? { cidr: where.segment.cidr } : {}) })
}

/** The variables of a program's ranks. `user` are the user's own that may be passed on. */
export function environmentOf(
  plan: JobPlan,
  program: PlanProgram,
  settings: readonly ExplainedVariable[],
  user: Readonly<Record<string, string>>,
  environment: NodeJS.ProcessEnv,
): Record<string, string> {
  const variables: Record<string, string> = {}
  for (const { name, value } of settings) variables[name] = value
  if (program.inherits) Object.assign(variables, user)
  if (plan.guestKind !== 'host') {
    // The home is there, made by the guest; a temporary directory of the node is there only if it is shared.
    variables.HOME = plan.user.home
    for (const name of ['TMPDIR', 'TMP', 'TEMP']) {
      const folder = variables[name]
      if (folder !== undefined && !isMounted(plan, folder)) variables[name] = '/tmp'
    }
  }
  Object.assign(variables, { PWD: program.workDir }, exportedVariables(program.exports, environment))
  return editedVariables(variables, plan.environmentEdits)
}

function editedVariables(
  variables: Readonly<Record<string, string>>,
  edits: JobPlan['environmentEdits'],
): Record<string, string> {
  let edited = { ...variables }
  for (const edit of edits) {
    const { how, name } = edit
    const before = edited[name]
    if (how === 'unset') {
      const fits = (known: string) =>
        name.endsWith('*') ? known.startsWith(name.slice(0, -1)) : known === name
      edited = Object.fromEntries(Object.entries(edited).filter(([known]) => !fits(known)))
    } else if (how === 'set' || before === undefined || before === '') edited[name] = edit.value
    else if (how === 'prepend') edited[name] = `${edit.value}${edit.separator}${before}`
    else edited[name] = `${before}${edit.separator}${edit.value}`
  }
  return edited
}

/**
 * The table that `--display env` shows: what LEET sets for the MPI of each program in the first guest, with the reason
 * or with the user's own value that wins, and what is left out of the user's environment.
 */
export function describeEnvironment(
  plan: JobPlan,
  environment: NodeJS.ProcessEnv,
  devices: boolean,
): string[] {
  const { variables, denied } = forwardEnvironment(environment, plan.guestKind !== 'host')
  const addresses = plan.guests.map(() => ADDRESS)
  const [guest] = plan.guests
  if (!guest) return []
  const tables = plan.programs.flatMap((program, index) => {
    const settings = settingsFor(plan, program, addresses, guest.index, devices)
    const result = environmentOf(plan, program, settings, variables, environment)
    const rows = settings.map(({ name, value, why }): [string, string] => {
      const won = result[name] === value
      return [`${name}=${result[name]}`, won ? why : `yours; LEET’s would be ${value}: ${why}`]
    })
    const width = Math.max(0, ...rows.map(([text]) => text.length))
    return [
      `program ${index} (${program.argv[0]}, MPI: ${program.mpi}) in ${guest.name}:`,
      ...rows.map(([text, why]) => `  ${text.padEnd(width)}  # ${why}`),
    ]
  })
  const names = Map.groupBy(denied, ({ why }) => why)
  return [
    ...tables,
    ...[...names].map(
      ([why, left]) => `not given to the ranks (${why}): ${left.map(({ name }) => name).join(', ')}`,
    ),
  ]
}

/** Stands for what is known only when guests have their addresses. */
const ADDRESS = '<address>'
