// What the adapters share: nodes from counted names, numbers from variables, the refusal of a broken environment.
import { LeetError, usageError } from '../common/index.ts'
import type { AdapterInputs, AllocatedNode, NodeStart, SchedulerAdapter } from './adapter.ts'
import { checkHostName } from './host-name.ts'
import { HOST_LIMIT } from './hostlist.ts'

/** One node per name in order of first mention; `count` slots are added for each mention. */
export function countSlots(
  mentions: Iterable<readonly [name: string, count: number]>,
  where: string,
): AllocatedNode[] {
  const slots = new Map<string, number>()
  for (const [name, count] of mentions) {
    slots.set(checkHostName(name, where), (slots.get(name) ?? 0) + count)
    if (slots.size > HOST_LIMIT) throw usageError(`more than ${HOST_LIMIT} hosts`, undefined, where)
  }
  return [...slots].map(([name, count]) => ({ name, slots: count }))
}

/** A whole number of at most nine digits from a variable, or undefined. */
export function numberFrom(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined
}

/** Reads the file that a variable names; `LEET_E_ALLOCATION` when that cannot be done. */
export async function readNamedFile(inputs: AdapterInputs, variable: string): Promise<string> {
  const path = inputs.env[variable]
  if (!path) throw allocationError(variable, 'the variable is not set')
  try {
    return await inputs.readFile(path)
  } catch (cause) {
    throw allocationError(variable, `${path} cannot be read`, cause)
  }
}

/** An allocation that the scheduler describes in a way we cannot use. */
export function allocationError(where: string, why: string, cause?: unknown): LeetError {
  return new LeetError({
    code: 'LEET_E_ALLOCATION',
    what: 'the nodes of this job cannot be told',
    where,
    why,
    hint: 'is this the environment of a running job? `--hostfile` or `-H` with `--scheduler hostfile` goes without it',
    cause,
  })
}

/** The node's scratch directory: what the scheduler made for the job, else the usual place. */
export function scratchDir(env: AdapterInputs['env']): string {
  return env.TMPDIR?.startsWith('/') ? env.TMPDIR : '/tmp'
}

/** The directory the job was submitted from, when the named variable tells it. */
export function submitDir({ env, cwd }: AdapterInputs, variable: string): string {
  const told = env[variable]
  return told?.startsWith('/') ? told : cwd
}

/** The environment in which a start command finds itself and what it starts by. */
export function startEnvironment(
  adapter: Pick<SchedulerAdapter, 'commandFolders'>,
  start: NodeStart & { via: 'command' },
  env: NodeJS.ProcessEnv,
): NodeJS.ProcessEnv {
  const folders = (adapter.commandFolders?.(env) ?? []).filter((folder) => folder?.startsWith('/'))
  return { ...env, PATH: [env.PATH, ...folders].filter(Boolean).join(':'), ...start.env }
}

/** Starts by one command per node: `wrap` puts the scheduler's own words before the node's command. */
export function onePerNode(
  wrap: (node: AllocatedNode) => readonly [string, ...string[]],
): SchedulerAdapter['start'] {
  return (_allocation, nodes, command) =>
    nodes.map((node) => ({
      via: 'command',
      nodes: [node.name],
      argv: [...wrap(node), ...command(node.name)],
      env: {},
    }))
}
