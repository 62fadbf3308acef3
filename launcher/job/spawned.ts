// What a rank asks for with MPI_Comm_spawn, as programs of its job and their places in its guests. The keys of MPI_Info
// are those of the MPI standard (10.3.4): `wdir`, `path`, `host`, and what MPI libraries add: `hosts` and `hostfile`.
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { LeetError } from '../../common/index.ts'
import { mapRanks, type SpawnCommand } from '../../mpi-bridge/index.ts'
import { parseHostfile, parseHostOption } from '../../scheduler-adapters/index.ts'
import type { GuestPlan, JobPlan, PlanProgram } from '../plan/plan.ts'

/** A spawn of more than this is a mistake or an attack, not a job. */
const MOST_SPAWNED = 65_536

/** The commands as programs, which are in all else like the job's first. */
export function spawnedPrograms(commands: readonly SpawnCommand[], caller: PlanProgram): PlanProgram[] {
  return commands.map((command): PlanProgram => {
    const [path, ...rest] = command.argv
    if (!path || command.maxprocs < 1 || command.maxprocs > MOST_SPAWNED) {
      throw refused(`cannot start ${command.maxprocs} ranks of "${path ?? ''}"`)
    }
    return {
      ...caller,
      argv: [path, ...rest],
      ranks: command.maxprocs,
      workDir: infoOf(command, 'wdir') ?? command.cwd ?? caller.workDir,
    }
  })
}

/** Ranks of each guest of the plan: where the commands want them, else as the job's own ranks were placed. */
export function spawnedPlaces(plan: JobPlan, commands: readonly SpawnCommand[]): number[][] {
  const slots = (guest: GuestPlan) => ({ slots: guest.ranks.length })
  const wanted = commands.map((command) => hostsOf(command))
  if (wanted.every((hosts) => hosts === undefined)) {
    return mapRanks({ programs: commands.map(({ maxprocs }) => maxprocs), nodes: plan.guests.map(slots) })
  }
  const places: number[][] = plan.guests.map(() => [])
  let first = 0
  for (const [index, { maxprocs }] of commands.entries()) {
    const guests = guestsNamed(plan, wanted[index])
    const mapped = mapRanks({ programs: [maxprocs], nodes: guests.map(slots) })
    for (const [nth, ranks] of mapped.entries()) {
      places[(guests[nth] as GuestPlan).index]?.push(...ranks.map((rank) => first + rank))
    }
    first += maxprocs
  }
  return places
}

/**
 * The variables of a command's ranks: `path` names directories in which the program is looked for before those of PATH.
 */
export function spawnedEnvironment(
  command: SpawnCommand,
  inherited: Readonly<Record<string, string>>,
): Record<string, string> {
  const variables = { ...inherited, ...command.env }
  const path = infoOf(command, 'path')
  if (path === undefined || command.argv[0]?.includes('/')) return variables
  return { ...variables, PATH: variables.PATH ? `${path}:${variables.PATH}` : path }
}

/** PMIx clients put a prefix before the keys that they know. */
function infoOf({ info }: SpawnCommand, key: string): string | undefined {
  return info[key] ?? info[`pmix.${key}`]
}

/** Hosts that the command names; undefined when it names none. */
function hostsOf(command: SpawnCommand): string[] | undefined {
  const hosts = infoOf(command, 'host') ?? infoOf(command, 'hosts')
  if (hosts !== undefined) return parseHostOption(hosts, 'host of MPI_Info').map(({ name }) => name)
  const file = infoOf(command, 'hostfile')
  if (file === undefined) return undefined
  return parseHostfile(readHostfile(resolve(command.cwd ?? '', file)), file).map(({ name }) => name)
}

function readHostfile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw refused(`the hostfile ${path} of MPI_Info cannot be read`, cause)
  }
}

/** Guests by their own names or those of their nodes. */
function guestsNamed({ guests, nodes }: JobPlan, hosts: readonly string[] | undefined): readonly GuestPlan[] {
  if (hosts === undefined) return guests
  const named = guests.filter(
    ({ name, node }) => hosts.includes(name) || hosts.includes(nodes[node]?.name ?? ''),
  )
  // This node goes by another name, too.
  if (named.length === 0 && nodes.length === 1 && hosts.includes('localhost')) return guests
  if (named.length === 0) throw refused(`no guest of the job is called ${hosts.join(' or ')}`)
  return named
}

function refused(what: string, cause?: unknown): LeetError {
  return new LeetError({ code: 'LEET_E_COMM_SPAWN', what, cause })
}
