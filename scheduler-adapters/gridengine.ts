// Grid Engine. Variables and PE_HOSTFILE: qsub(1), sge_pe(5); seen with Son of Grid Engine 8.1.9.
import { usageError } from '../common/index.ts'
import type { SchedulerAdapter } from './adapter.ts'
import { allocationError, countSlots, numberFrom, readNamedFile, scratchDir, submitDir } from './nodes.ts'
import { shellQuote } from './shell-quote.ts'

export const gridengine: SchedulerAdapter = {
  name: 'gridengine',
  title: 'Grid Engine',

  detect(env) {
    // JOB_ID alone is too common a name.
    return env.SGE_ROOT && env.JOB_ID && env.NSLOTS ? 'SGE_ROOT, JOB_ID and NSLOTS' : undefined
  },

  async allocation(inputs) {
    const { env, hostname } = inputs
    // A job without a parallel environment has no host file: its node is this one.
    const mentions: (readonly [string, number])[] = env.PE_HOSTFILE
      ? parsePeHostfile(await readNamedFile(inputs, 'PE_HOSTFILE'))
      : [[hostname, numberFrom(env.NSLOTS) ?? 1]]
    const from = env.PE_HOSTFILE ? `PE_HOSTFILE=${env.PE_HOSTFILE}` : 'this host: the job has no PE_HOSTFILE'
    const nodes = countSlots(mentions, 'PE_HOSTFILE')
    if (nodes.length === 0) throw allocationError('PE_HOSTFILE', `${env.PE_HOSTFILE} names no node`)
    return {
      scheduler: 'gridengine',
      jobId: env.JOB_ID,
      nodes,
      workDir: submitDir(inputs, 'SGE_O_WORKDIR'),
      scratchDir: scratchDir(env),
      origins: [
        { what: `${nodes.length} nodes`, from },
        { what: 'slots', from: env.PE_HOSTFILE ? 'second column of PE_HOSTFILE' : `NSLOTS=${env.NSLOTS}` },
      ],
    }
  },

  // -V sends our environment along, not in an argument vector. The command's words are joined and given to the login
  // shell (clients/qrsh/qrsh_starter.c). Needs `control_slaves TRUE` in the parallel environment.
  start: (_allocation, nodes, command) =>
    nodes.map(({ name }) => ({
      via: 'command',
      nodes: [name],
      argv: ['qrsh', '-inherit', '-nostdin', '-V', name, ...command(name).map(shellQuote)],
      env: {},
    })),
  // The shepherd tells it (sge_execd), and gives scripts a PATH without it.
  commandFolders: (env) => [env.SGE_BINARY_PATH],
  forwardsEnvironment: true,
  tellsExitStatus: true,

  atCancel:
    'qdel kills at once; a job submitted with -notify, as leet submit does, gets USR2 first, as long before as the queue says (60 s)',
}

/** Lines of sge_pe(5): `HOST SLOTS QUEUE PROCESSORS`; a host stands once per queue that it gives slots from. */
function parsePeHostfile(text: string): [string, number][] {
  return text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [name = '', count] = line.trim().split(/\s+/)
      const slots = numberFrom(count)
      if (!slots)
        throw usageError(`"${line.slice(0, 80)}" is not a host with its slots`, undefined, 'PE_HOSTFILE')
      return [name, slots]
    })
}
