// Hosts that the user names: hostfiles of Open MPI and Hydra, and `-H`; and the two sources of nodes without a batch
// system, a hostfile (by SSH) and this host alone.
// Forms: mpirun(1) of Open MPI 4 and 5 (`slots=`, `max_slots=`, `user@host`, `host:n`), Hydra's `host:n`, RFC 29 ranges.
import { usageError } from '../common/index.ts'
import type { AllocatedNode, SchedulerAdapter } from './adapter.ts'
import { checkHostName } from './host-name.ts'
import { expandHostlist, HOST_LIMIT, splitExpressions } from './hostlist.ts'
import { scratchDir } from './nodes.ts'

/** One host as the user names it; mentions of one host are added up. */
export interface NamedHost {
  readonly name: string
  /** undefined when no count is given. */
  readonly slots?: number
  readonly maxSlots?: number
  readonly user?: string
}

/** Counts beyond this are typing errors. */
const SLOT_LIMIT = 100_000

/**
 * Parses `-H a:2,b,n[01-04]:8`, and its repetitions joined by commas. A host without a count counts once per mention
 * if it is named more than once, and leaves its slots open if it is named once.
 */
export function parseHostOption(text: string, where = '-H'): NamedHost[] {
  return addMentions(
    splitExpressions(text, where).flatMap((item) =>
      item.trim() === '' ? [] : parseHost(item.trim(), {}, where),
    ),
    where,
  )
}

/** Parses a hostfile; comments begin with `#`. A refusal names the line. */
export function parseHostfile(text: string, file: string): NamedHost[] {
  const mentions = text.split('\n').flatMap((line, i) => {
    const where = `${file}, line ${i + 1}`
    const [host, ...words] = line.replace(/#.*/, '').trim().split(/\s+/)
    if (!host) return []
    const settings: { slots?: number; maxSlots?: number; user?: string } = {}
    // Open MPI takes blanks around `=`.
    for (const word of words.join(' ').replace(/ *= */g, '=').split(' ').filter(Boolean)) {
      const [key = '', value = ''] = word.split('=', 2)
      if (/^(slots|count|cpus?)$/.test(key)) settings.slots = count(value, where)
      else if (/^(max[_-]slots|slots[_-]max|count[_-]max)$/.test(key)) settings.maxSlots = count(value, where)
      else if (/^user(name)?$/.test(key)) settings.user = userName(value, where)
      else throw usageError(`"${word.slice(0, 40)}" is not known`, 'slots=, max_slots= and user= are', where)
    }
    return parseHost(host, settings, where)
  })
  return addMentions(mentions, file)
}

/** The hosts of a hostfile that was read before, one for each line, for `--map-by seq`. */
export function parseHostSequence(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [host] = line.replace(/#.*/, '').trim().split(/\s+/)
    return host ? [host.replace(/^[^@]*@/, '').replace(/:.*/, '')] : []
  })
}

function parseHost(text: string, settings: Omit<NamedHost, 'name'>, where: string): NamedHost[] {
  const match = /^(?:([^@]*)@)?([^:@]+)(?::(.*))?$/.exec(text)
  if (!match)
    throw usageError(`${JSON.stringify(text.slice(0, 80))} is not a host`, 'HOST or HOST:SLOTS', where)
  const [, user, hosts = '', slots] = match
  return expandHostlist(hosts, 'rfc29', where).map((name) => ({
    ...settings,
    name: checkHostName(name, where),
    ...(slots !== undefined && { slots: count(slots, where) }),
    ...(user !== undefined && { user: userName(user, where) }),
  }))
}

function count(text: string, where: string): number {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0
  if (value < 1 || value > SLOT_LIMIT) {
    throw usageError(`"${text.slice(0, 40)}" is not a number of slots`, 'a whole number from 1', where)
  }
  return value
}

function userName(text: string, where: string): string {
  if (!/^[a-z_][a-z0-9_.-]{0,31}$/i.test(text)) {
    throw usageError(`${JSON.stringify(text.slice(0, 40))} is not a login name`, undefined, where)
  }
  return text
}

function addMentions(mentions: readonly NamedHost[], where: string): NamedHost[] {
  const hosts = new Map<string, NamedHost>()
  for (const mention of mentions) {
    const known = hosts.get(mention.name)
    const slots = known ? (known.slots ?? 1) + (mention.slots ?? 1) : mention.slots
    const maxSlots = mention.maxSlots ?? known?.maxSlots
    hosts.set(mention.name, {
      ...known,
      ...mention,
      ...(slots !== undefined && { slots }),
      ...(maxSlots !== undefined && { maxSlots }),
    })
    if (hosts.size > HOST_LIMIT) throw usageError(`more than ${HOST_LIMIT} hosts`, undefined, where)
  }
  for (const { name, slots, maxSlots } of hosts.values()) {
    if (slots !== undefined && maxSlots !== undefined && maxSlots < slots) {
      throw usageError(`${name} has max_slots=${maxSlots}, fewer than its ${slots} slots`, undefined, where)
    }
  }
  return [...hosts.values()]
}

/** Nodes that a hostfile or `-H` gives without a batch system; processes are started there over SSH. */
export const hostfile: SchedulerAdapter = {
  name: 'hostfile',
  title: 'a list of hosts',
  detect: () => undefined,
  allocation: ({ env, cwd }) => Promise.resolve(bare('hostfile', [], cwd, scratchDir(env))),
  start: (_allocation, nodes, command) =>
    nodes.map(({ name, user }) => ({
      via: 'ssh',
      nodes: [name],
      ...(user && { user }),
      argv: command(name),
    })),
  forwardsEnvironment: false,
  tellsExitStatus: true,
  atCancel: 'nothing but the user ends such a job; a closed SSH connection tells the other nodes',
}

/** This host alone: no batch system, no list of hosts. */
export const local: SchedulerAdapter = {
  name: 'local',
  title: 'this host',
  detect: () => undefined,
  allocation: ({ env, cwd, hostname, cpus }) => {
    // A host that has no proper name still is one.
    const node: AllocatedNode = { name: properName(hostname), slots: cpus, cpus }
    const origins = [{ what: 'slots', from: `${cpus} CPUs that this process may use` }]
    return Promise.resolve({ ...bare('local', [node], cwd, scratchDir(env)), origins })
  },
  start: () => [],
  forwardsEnvironment: true,
  tellsExitStatus: true,
  atCancel: 'nothing but the user ends such a job',
}

/** The host's own name, or `localhost` when it is none that others could use. */
function properName(hostname: string): string {
  try {
    return checkHostName(hostname, 'hostname')
  } catch {
    return 'localhost'
  }
}

function bare(scheduler: 'hostfile' | 'local', nodes: AllocatedNode[], workDir: string, scratch: string) {
  return { scheduler, nodes, workDir, scratchDir: scratch, origins: [] }
}
