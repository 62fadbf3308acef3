// Flux, from its documentation (flux-environment(7), flux-exec(1), RFC 20, RFC 22): never run on the real thing.
import { LeetError } from '../common/index.ts'
import type { AllocatedNode, SchedulerAdapter } from './adapter.ts'
import { checkHostName } from './host-name.ts'
import { expandHostlist } from './hostlist.ts'
import { allocationError, numberFrom, onePerNode, scratchDir } from './nodes.ts'

export const flux: SchedulerAdapter = {
  name: 'flux',
  title: 'Flux',
  neverRun: true,

  // The script of `flux batch` and the shell of `flux alloc` have no other variable.
  detect: (env) => (env.FLUX_URI ? 'FLUX_URI' : undefined),

  refuseTask(env) {
    const tasks = numberFrom(env.FLUX_JOB_SIZE) ?? 1
    if (env.FLUX_TASK_RANK === undefined || tasks <= 1) return undefined
    return new LeetError({
      code: 'LEET_E_SEVERAL_TASKS',
      what: `flux run started this command ${tasks} times; it must run once and starts the ranks itself`,
      where: `Flux job ${env.FLUX_JOB_ID}`,
      hint: `leet-mpirun -n ${tasks} PROGRAM in a script of flux batch or under flux alloc`,
      exitCode: 2,
    })
  },

  async allocation({ env, cwd, query }) {
    const resources = await query(['flux', 'kvs', 'get', 'resource.R'])
    if (resources === undefined) throw allocationError('flux kvs get resource.R', 'the command failed')
    const { nodes, expiration } = parseResourceSet(resources)
    const jobId = (await query(['flux', 'getattr', 'jobid']))?.trim()
    return {
      scheduler: 'flux',
      ...(jobId && { jobId }),
      nodes,
      ...(expiration !== undefined && { deadline: expiration * 1000 }),
      workDir: cwd,
      scratchDir: scratchDir(env),
      origins: [{ what: `${nodes.length} nodes, slots by cores`, from: 'flux kvs get resource.R' }],
    }
  },

  start: onePerNode(({ index }) => ['flux', 'exec', '--noinput', '--rank', String(index)]),
  // The documentation does not promise it.
  forwardsEnvironment: false,
  tellsExitStatus: true,

  atCancel:
    'flux cancel and the time limit send TERM, KILL after kill-timeout (5 s unless the site says otherwise)',
}

/** A resource set of RFC 20, version 1: nodes by broker rank with their cores, and when they expire (seconds since 1970). */
function parseResourceSet(text: string): { nodes: AllocatedNode[]; expiration?: number } {
  const refuse = (why: string, cause?: unknown) => allocationError('flux kvs get resource.R', why, cause)
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch (cause) {
    throw refuse('it is not JSON', cause)
  }
  const execution = field(document, 'execution')
  const entries = field(execution, 'R_lite')
  const lists = field(execution, 'nodelist')
  if (!Array.isArray(entries) || !Array.isArray(lists))
    throw refuse('it has no R_lite or no nodelist (RFC 20)')
  const names = expandHostlist(lists.map(String).join(','), 'rfc29', 'nodelist')
  const ranks: { index: number; cores: number }[] = []
  for (const entry of entries) {
    const cores = idset(field(field(entry, 'children'), 'core')).length
    for (const index of idset(field(entry, 'rank'))) ranks.push({ index, cores })
    if (ranks.length > names.length) throw refuse('it has more ranks than names')
  }
  // The node list is in the order of ranks.
  ranks.sort((a, b) => a.index - b.index)
  if (ranks.length === 0 || ranks.length !== names.length)
    throw refuse('ranks and names do not match in number')
  if (new Set(names).size < names.length) throw refuse('several brokers share a node')
  const expiration = field(execution, 'expiration')
  return {
    nodes: ranks.map(({ index, cores }, i) => ({
      name: checkHostName(names[i] as string, 'nodelist'),
      slots: Math.max(1, cores),
      cpus: Math.max(1, cores),
      index,
    })),
    // 0 stands for no limit.
    ...(typeof expiration === 'number' && expiration > 0 && { expiration }),
  }
}

/** The ids of an idset of RFC 22, `0-3,7`: what is inside the brackets of a hostlist. */
function idset(text: unknown): number[] {
  if (typeof text !== 'string' || !/^[\d,-]+$/.test(text)) return []
  return expandHostlist(`[${text}]`, 'rfc29', 'idset').map(Number)
}

function field(object: unknown, name: string): unknown {
  return typeof object === 'object' && object !== null ? (object as Record<string, unknown>)[name] : undefined
}
