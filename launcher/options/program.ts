// Options on what to run: programs, how many ranks of them, and on which nodes.
import { parseCount } from '../../common/index.ts'
import { SCHEDULERS } from '../../scheduler-adapters/index.ts'
import { nonEmpty, oneOf, rowsOf } from '../config/row.ts'

const { list, value, wish } = rowsOf('What to run')

/** The rows, in the order of the help. */
export const PROGRAM = {
  ranks: wish({
    key: 'ranks',
    flags: 'n np c',
    takes: 'N',
    scope: 'program',
    help: 'number of ranks',
    default: { found: 'one per slot of the allocation' },
    parse: parseCount,
  }),
  ppn: wish({
    key: 'ppn',
    flags: 'ppn N npernode perhost',
    takes: 'N',
    help: 'ranks per guest; guests count as nodes',
    parse: parseCount,
  }),
  hostfile: wish({
    key: 'hostfile',
    flags: 'hostfile machinefile f',
    takes: 'FILE',
    help: 'hosts of the job, or which of the allocation to use',
    parse: nonEmpty,
  }),
  hosts: list({
    key: 'hosts',
    flags: 'H host hosts',
    takes: 'HOST[:SLOTS],…',
    replaces: true,
    help: 'the same on the command line',
    parse: ({ words }) => words,
  }),
  scheduler: wish({
    key: 'scheduler',
    flags: 'scheduler',
    takes: 'NAME',
    environment: 'LEET_SCHEDULER',
    help: 'take the nodes from this batch system, or `local`',
    default: { found: 'found out' },
    parse: oneOf(SCHEDULERS),
  }),
  appFile: wish({
    key: 'app-file',
    flags: 'app configfile',
    takes: 'FILE',
    commandLineOnly: true,
    help: 'read options and programs from FILE, one program a line',
    parse: nonEmpty,
  }),
  mpi: value({
    key: 'mpi',
    flags: 'mpi',
    takes: 'FLAVOUR',
    environment: 'LEET_MPI',
    help: 'auto, openmpi, mpich or none',
    default: { word: 'auto', note: 'from the libraries' },
    parse: oneOf(['auto', 'openmpi', 'mpich', 'none']),
  }),
}
