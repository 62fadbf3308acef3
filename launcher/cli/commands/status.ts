// `leet status`: the sessions of this user on this machine and their guests.
import type { Command } from 'commander'
import { formatSize, usageError } from '../../../common/index.ts'
import type { Session } from '../../session/find.ts'
import { print } from './shared.ts'

/** Adds `leet status`. */
export function addStatus(program: Command): void {
  program
    .command('status')
    .description('the sessions of `leet up` here, and their guests')
    .option('--session <name>', 'this session alone')
    .option('--hostfile <mpi>', 'the guests as a hostfile for the mpirun of openmpi, or the mpiexec of mpich')
    .action(async (flags: { session?: string; hostfile?: string }) => {
      const { listSessions, named } = await import('../../session/find.ts')
      const { thisSession } = await import('./session.ts')
      if (flags.hostfile !== undefined) {
        for (const line of hostfile(await thisSession(flags.session), flags.hostfile)) print(line)
        return
      }
      const all = listSessions()
      const shown = flags.session === undefined ? all : [named(all, flags.session)]
      if (shown.length === 0) print('no session is up')
      for (const session of shown) for (const line of describe(session)) print(line)
    })
}

function describe({ record, holder }: Session): string[] {
  const { plan, guests, began, batchJob, shell } = record
  const ends =
    batchJob === undefined ? `with the shell ${shell.pid}` : `with the shell ${shell.pid} of job ${batchJob}`
  return [
    `session ${plan.jobId}, up since ${new Date(began).toLocaleString('sv')}, kept by process ${holder.pid}, ends ${ends}`,
    ...plan.guests.map(({ name, node, cpus, memory, index }) => {
      const { address, lost } = guests[index] as (typeof guests)[number]
      const about = [
        plan.nodes[node]?.name,
        address,
        `${cpus} vCPU${cpus === 1 ? '' : 's'}`,
        formatSize(memory),
      ]
      return `  ${name}  ${about.join('  ')}  ${lost === undefined ? 'ready' : `gone: ${lost.split('\n')[0]}`}`
    }),
  ]
}

function hostfile({ record: { plan, guests } }: Session, mpi: string): string[] {
  if (mpi !== 'openmpi' && mpi !== 'mpich') {
    throw usageError(`"${mpi}" is neither openmpi nor mpich`, undefined, '--hostfile')
  }
  if (plan.guestKind === 'osv') {
    throw usageError('stock launchers cannot start anything in OSv guests', 'leet-mpirun', '--hostfile')
  }
  return plan.guests
    .filter(({ index }) => guests[index]?.lost === undefined)
    .map(({ name, ranks }) =>
      mpi === 'openmpi' ? `${name} slots=${ranks.length}` : `${name}:${ranks.length}`,
    )
}
