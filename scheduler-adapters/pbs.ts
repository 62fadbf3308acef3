// The PBS family: Torque and OpenPBS, with PBS Professional as OpenPBS's twin. Variables seen with Torque 6.1.3 and
// OpenPBS 23.06; qsub(1B), pbsdsh(1B).
import { LeetError } from '../common/index.ts'
import type { AdapterInputs, Allocation, SchedulerAdapter } from './adapter.ts'
import {
  allocationError,
  countSlots,
  numberFrom,
  onePerNode,
  readNamedFile,
  scratchDir,
  submitDir,
} from './nodes.ts'

/** Torque says so itself; its own variables are the second sign. */
function isTorque(env: AdapterInputs['env']): boolean {
  return env.PBS_VERSION?.startsWith('TORQUE') === true || env.PBS_NUM_PPN !== undefined
}

function detect(env: AdapterInputs['env'], torqueWanted: boolean): string | undefined {
  if (!env.PBS_JOBID || !env.PBS_NODEFILE || isTorque(env) !== torqueWanted) return undefined
  return 'PBS_JOBID and PBS_NODEFILE'
}

/** Lines of the node file: one per slot, a host once or several times, together or apart. */
export function parseNodeFile(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
}

async function allocation(inputs: AdapterInputs, scheduler: 'torque' | 'openpbs'): Promise<Allocation> {
  const { env } = inputs
  const lines = parseNodeFile(await readNamedFile(inputs, 'PBS_NODEFILE'))
  const nodes = countSlots(
    lines.map((line) => [line, 1]),
    'PBS_NODEFILE',
  )
  if (nodes.length === 0) throw allocationError('PBS_NODEFILE', `${env.PBS_NODEFILE} names no node`)
  const walltime = numberFrom(env.PBS_WALLTIME)
  return {
    scheduler,
    jobId: env.PBS_JOBID,
    nodes: nodes.map((node) => ({ ...node, index: lines.indexOf(node.name) })),
    workDir: submitDir(inputs, 'PBS_O_WORKDIR'),
    scratchDir: scratchDir(env),
    origins: [
      { what: `${nodes.length} nodes`, from: `PBS_NODEFILE=${env.PBS_NODEFILE}` },
      { what: 'slots', from: 'how often PBS_NODEFILE names a node' },
      ...(walltime === undefined
        ? []
        : [
            {
              what: 'time limit, counted from a start that PBS does not tell',
              from: `PBS_WALLTIME=${walltime} s`,
            },
          ]),
    ],
  }
}

/**
 * `pbsdsh -n INDEX` counts slots in the order of the node file. Its exit status is 0 even when the task's is not (seen
 * in both; it only prints `task … exit status N`), and the task has the environment of its PBS daemon, not ours
 * (src/cmds/pbsdsh.c of both spawns it with none).
 */
const family = {
  // PBS_EXEC of pbs.conf(8) and where both install themselves unless told; Torque's job scripts have PBS_O_PATH at best.
  commandFolders: (env: AdapterInputs['env']) => [
    env.PBS_EXEC && `${env.PBS_EXEC}/bin`,
    '/opt/pbs/bin',
    '/usr/local/bin',
    '/opt/torque/bin',
  ],
  start: onePerNode(({ index }) => ['pbsdsh', '-n', String(index), '--']),
  forwardsEnvironment: false,
  tellsExitStatus: false,
  statusFrom: taskStatus,
}

/**
 * The largest of the statuses that pbsdsh tells: Torque `pbsdsh: task 0 exit status 5` on standard error, OpenPBS
 * `pbsdsh: task 0x00000000 exit status 5` on standard output; tasks that ended with 0 have no line. A task that could not
 * be started has none either, but `error N on spawn` or `spawn failed on node N`.
 */
export function taskStatus(said: string): number {
  const ended = [...said.matchAll(/\btask \S+ exit status (\d+)/g)].map(([, status]) => Number(status))
  return Math.max(/\berror -?\d+ on spawn|\bspawn failed\b/.test(said) ? 1 : 0, ...ended)
}

/** A task that pbsdsh started has a node number but no node file in Torque, and a task number beyond 1 in both. */
function refuseTask(env: AdapterInputs['env']): LeetError | undefined {
  if (!env.PBS_JOBID || (env.PBS_TASKNUM ?? '1') === '1') return undefined
  return new LeetError({
    code: 'LEET_E_SEVERAL_TASKS',
    what: 'pbsdsh started this command; it must run once, from the job script, and starts the ranks itself',
    where: `PBS job ${env.PBS_JOBID}, task ${env.PBS_TASKNUM}`,
    hint: 'leet-mpirun PROGRAM, without pbsdsh, in the job script',
    exitCode: 2,
  })
}

export const torque: SchedulerAdapter = {
  name: 'torque',
  title: 'Torque',
  detect: (env) => detect(env, true),
  refuseTask,
  ...family,
  allocation: (inputs) => allocation(inputs, 'torque'),
  atCancel:
    'qdel was seen to send TERM to the first node only, KILL following at once; agents elsewhere notice that the controller is gone',
}

export const openpbs: SchedulerAdapter = {
  name: 'openpbs',
  title: 'OpenPBS',
  detect: (env) => detect(env, false),
  refuseTask,
  ...family,
  allocation: (inputs) => allocation(inputs, 'openpbs'),
  atCancel:
    'qdel sends TERM to the script and to tasks on all nodes, KILL after kill_delay (10 s unless the site says otherwise; a job was seen to run on for 13 s)',
}
