// `leet doctor`: is this node, or are all nodes of the job, fit for guests; and what to do about what is not.
import { hostname } from 'node:os'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import type { Command } from 'commander'
import { endOf, LeetError, waitFor } from '../../../common/index.ts'
import type { AllocatedNode, Allocation, NodeStart } from '../../../scheduler-adapters/index.ts'
import type { Finding } from '../../doctor/checks.ts'
import { OPTIONS } from '../options.ts'
import { print, settingsHere } from './shared.ts'

interface DoctorFlags {
  readonly allNodes?: true
  readonly json?: true
  readonly asOneOf?: true
}

/** Adds `leet doctor`. */
export function addDoctor(program: Command): void {
  program
    .command('doctor')
    .description('check this node, or all nodes of the job, and say what to mend')
    .option('--all-nodes', 'each node of the job, through the batch system')
    .option('--json', 'one JSON object a finding')
    .option('--as-one-of', 'this node as one of several of a job; lines begin with its name')
    .action(async ({ allNodes, json, asOneOf }: DoctorFlags) => {
      const { findAllocation, thisUser } = await import('../../plan/facts.ts')
      const { nodeOfThisProcess } = await import('../../../scheduler-adapters/index.ts')
      const settings = await settingsHere()
      // A task that the batch system started on a node is none that may ask for the job's nodes.
      const wishes = asOneOf ? ({ scheduler: 'local' } as const) : settings.allocation
      const allocation = await findAllocation(wishes, process.env)
      if (allNodes) {
        process.exitCode = await onAllNodes(allocation, json === true)
        return
      }
      const { checkNode, checkupLimits } = await import('../../doctor/checks.ts')
      const here = nodeOfThisProcess(allocation, { env: process.env, hostname: hostname() })?.name
      const findings = await checkNode({
        ...checkupLimits(),
        env: process.env,
        settings,
        allocation,
        several: asOneOf === true || allocation.nodes.length > 1,
        user: thisUser(process.env),
        workDir: process.cwd(),
        here,
      })
      const node = here ?? hostname()
      for (const finding of findings) {
        if (json) print(JSON.stringify({ node, ...finding }))
        else for (const line of linesOf(finding)) print(asOneOf ? `${node}: ${line}` : line)
      }
      if (findings.some(({ state }) => state === 'bad')) process.exitCode = 1
    })
}

/** What a check-up's outcome depends on, as words for env(1): none of it is secret. */
function settingVariables(env: NodeJS.ProcessEnv): string[] {
  const names = OPTIONS.flatMap(({ environment }) => environment ?? [])
  return ['PATH', 'LD_LIBRARY_PATH', 'XDG_CACHE_HOME', ...new Set(names)].flatMap((name) =>
    env[name] === undefined ? [] : [`${name}=${env[name]}`],
  )
}

/** Findings stand in columns, what to do about them below. */
function linesOf({ state, subject, what, fix }: Finding): string[] {
  const head = `${state.padEnd(5)} ${subject.padEnd(SUBJECT_WIDTH)} `
  const lines = what.split('\n')
  return [
    `${head}${lines[0]}`,
    ...lines.slice(1).map((line) => `${' '.repeat(head.length)}${line}`),
    ...(fix === undefined ? [] : [`${' '.repeat(head.length)}try: ${fix}`]),
  ]
}

const SUBJECT_WIDTH = 28
const SAID_LIMIT = 64 << 10
const NODES_AT_ONCE = 16

// Each node prints for itself: not every batch system brings output of its tasks back, but all put it into the job's.
// Each is started by itself: one start for all may mix their output within a line, as srun's does.
async function onAllNodes(allocation: Allocation, json: boolean): Promise<number> {
  const { adapterOf, startEnvironment } = await import('../../../scheduler-adapters/index.ts')
  const { checkupLimits } = await import('../../doctor/checks.ts')
  const { Journal } = await import('../../journal/journal.ts')
  const command = [
    process.execPath,
    process.argv[1] as string,
    'leet',
    'doctor',
    '--as-one-of',
    ...(json ? ['--json'] : []),
  ]
  const adapter = adapterOf(allocation.scheduler)
  const startsOn = (node: AllocatedNode) =>
    adapter.start(allocation, [node], () => [
      '/usr/bin/env',
      // Tasks of some have neither the directory nor the variables from which settings come.
      ...(adapter.forwardsEnvironment ? [] : ['-C', process.cwd()]),
      ...settingVariables(process.env),
      ...command,
    ])
  const journal = await Journal.open({ jobId: 'doctor' })
  const checkUp = async (start: NodeStart): Promise<number> => {
    if (start.via === 'ssh') {
      throw new LeetError({
        code: 'LEET_E_USAGE',
        what: 'nodes of a hostfile are reached by SSH, for which `leet doctor` has no words',
        hint: `ssh ${start.nodes[0]} leet doctor`,
        exitCode: 2,
      })
    }
    const what = `the check-up of ${start.nodes.join(', ')}`
    const env = startEnvironment(adapter, start, process.env)
    const { child } = journal.spawn(start.argv, { what, stdio: ['inherit', 'pipe', 'pipe'], env })
    let said = ''
    for (const stream of ['stdout', 'stderr'] as const) {
      createInterface({ input: child[stream] as Readable }).on('line', (line) => {
        process[stream].write(`${line}\n`)
        said = `${said}${line}\n`.slice(-SAID_LIMIT)
      })
    }
    const end = await waitFor(endOf(child), checkupLimits(), { what })
    if (end.kind !== 'exit') return 1
    return Math.max(end.status, adapter.statusFrom?.(said) ?? 0)
  }
  const { limitFunction } = await import('p-limit')
  const checkUpSome = limitFunction(checkUp, { concurrency: NODES_AT_ONCE })
  const statuses = await Promise.all(
    allocation.nodes.flatMap(startsOn).map((start) => checkUpSome(start)),
  ).finally(() => journal.close())
  if (!adapter.tellsExitStatus && !adapter.statusFrom) {
    process.stderr.write(
      `leet: ${adapter.title} does not tell how check-ups ended: see their lines that begin with "bad"\n`,
    )
  }
  return Math.max(...statuses)
}
