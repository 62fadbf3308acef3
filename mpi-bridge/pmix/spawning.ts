// PMIx_Spawn, which MPI_Comm_spawn and MPI_Comm_spawn_multiple become, in the words of the launcher.
import type { SpawnCommand, SpawnRequest } from '../spawn.ts'
import { Attribute } from './constants.ts'
import type { Request } from './requests.ts'
import { unicode } from './strings.ts'
import { type App, type Info, type Proc, text } from './values.ts'

/** PMIx's names of what MPI_Info says in MPI's words; the rest goes by its own name. */
const INFO_NAMES: Readonly<Record<string, string>> = {
  'pmix.host': 'host',
  'pmix.hostfile': 'hostfile',
  'pmix.addhost': 'add-host',
  'pmix.addhostfile': 'add-hostfile',
  'pmix.wdir': 'wdir',
  'pmix.prefix': 'prefix',
  'pmix.mapby': 'map_by',
  'pmix.rankby': 'rank_by',
  'pmix.bindto': 'bind_to',
  'pmix.ppr': 'ppr',
}

/** What `proc` asks the launcher to start. Directives of the whole job hold for each command that has none of its own. */
export function spawnRequestOf(proc: Proc, request: Extract<Request, { command: 'spawn' }>): SpawnRequest {
  const common = infoTexts(request.directives)
  return {
    job: proc.nspace,
    rank: proc.rank,
    commands: request.apps.map((app) => commandOf(app, common)),
    preput: [],
  }
}

function commandOf(app: App, common: Readonly<Record<string, string>>): SpawnCommand {
  const own = app.info.find((info) => info.key === Attribute.WORKING_DIRECTORY)
  const cwd = (own && text(own)) ?? app.cwd ?? undefined
  // Clients repeat the command as the first argument.
  const [name = '', ...rest] = app.argv
  return {
    argv: [unicode(app.command ?? name), ...rest.map(unicode)],
    maxprocs: app.maxprocs,
    ...(cwd === undefined ? {} : { cwd: unicode(cwd) }),
    env: Object.fromEntries(app.env.flatMap(variableOf)),
    info: { ...common, ...infoTexts(app.info) },
  }
}

function variableOf(words: string): [string, string][] {
  const equals = words.indexOf('=')
  return equals > 0 ? [[unicode(words.slice(0, equals)), unicode(words.slice(equals + 1))]] : []
}

function infoTexts(infos: readonly Info[]): Record<string, string> {
  return Object.fromEntries(
    infos.flatMap((info) => {
      const value = text(info)
      return value === undefined ? [] : [[INFO_NAMES[info.key] ?? info.key, unicode(value)] as const]
    }),
  )
}
