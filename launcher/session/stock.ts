// What the stock launchers of MPI need in the guests of a session, where they start their daemons by leet-rsh.
import { LeetError } from '../../common/index.ts'
import { findProgram } from '../images/inspect.ts'
import { binOf } from '../job/own-command.ts'
import type { MpiFlavour } from '../plan/plan.ts'

/** The daemon that the launcher of an MPI starts on every node: orted of Open MPI 4, the proxy of Hydra. */
const DAEMONS: Readonly<Record<MpiFlavour, readonly string[]>> = {
  openmpi: ['orted'],
  mpich: ['hydra_pmi_proxy'],
  none: [],
}

/**
 * Files of the image, `SRC:DST`, besides the daemons. orted ends at once where it does not find the command by which it
 * might start others (plm_rsh_agent), though up to 64 daemons are all started by mpirun.
 */
export function agentFiles(daemons: readonly string[]): string[] {
  if (!daemons.some((path) => path.endsWith('/orted'))) return []
  const agent = binOf('leet-rsh')
  return [`${agent}:/usr/bin/leet-rsh`, `${agent}:/usr/bin/ssh`]
}

/** Paths of the daemons of these MPIs; those that this node does not have are left out. */
export function daemonsOf(flavours: readonly MpiFlavour[]): string[] {
  return [...new Set(flavours)].flatMap((flavour) =>
    DAEMONS[flavour].flatMap((name) => {
      try {
        return [findProgram(name, process.env, '/')]
      } catch (error) {
        if (error instanceof LeetError) return []
        throw error
      }
    }),
  )
}
