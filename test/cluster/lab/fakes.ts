// A lab with a faithful fake of a batch system. PBS: MOMs on the nodes and `pbsdsh` (test/simulators/pbs), job scripts with the
// recorded environments. Torque gives the nodes in reverse and ends a job at once when it is deleted, of which only the
// first node gets a TERM; OpenPBS keeps the order, tells all nodes, and kills after ten seconds.
// LSF and Flux are faked by their documentation with the same daemons (test/simulators/lsf and flux).
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Deadline, pause, poll } from '../../../common/index.ts'
import type { JobSignal, MomRequest } from '../../simulators/pbs/mom.ts'
import { type Cluster, type LabOptions, startCluster } from './cluster.ts'
import type { LabUser } from './hosts.ts'

/** Batch systems that are not in Debian. */
export type FakeName = 'torque' | 'openpbs' | 'lsf' | 'flux'

/** A job of the lab. */
export interface FakeJob {
  /** A node for each slot, in the order in which the system gives them. */
  readonly slots: readonly string[]
  /** All that it printed so far. */
  output(): string
  /** Exit status of the script, 256+N when signal N ended it. */
  readonly ended: Promise<number>
  /** qdel, bkill, flux cancel. */
  delete(): Promise<void>
}

/** A running lab with a fake batch system. */
export interface FakeLab extends Cluster {
  /** Runs a script on all nodes. */
  submit(script: string, options: { readonly user: LabUser; readonly cwd: string }): Promise<FakeJob>
}

const SIMULATORS = '/srv/leet/test/simulators'
const START_MS = 30_000

/** What a job script is started with, besides the variables of its user. */
interface ScriptFacts {
  readonly job: string
  readonly slots: readonly string[]
  /** Where its files are on its node. */
  readonly spool: string
  readonly cwd: string
  readonly home: string
}

interface System {
  readonly isReversed?: true
  /** Files of the job on its first node. */
  readonly files: (facts: ScriptFacts) => Readonly<Record<string, string>>
  readonly env: (facts: ScriptFacts) => Readonly<Record<string, string>>
  /** Folder of its commands. */
  readonly commands: string
  /** Signals of a job that is deleted, in their order, and how long before the next. */
  readonly deletion: readonly { readonly signal: JobSignal; readonly firstOnly?: true; readonly ms: number }[]
}

const pbs = (flavour: 'torque' | 'openpbs'): Omit<System, 'deletion'> => ({
  files: ({ slots }) => ({ nodes: `${slots.join('\n')}\n` }),
  env: ({ job, spool, cwd, home }) => ({
    ...recorded(flavour),
    PBS_JOBID: job,
    PBS_NODEFILE: `${spool}/nodes`,
    PBS_O_WORKDIR: cwd,
    PBS_O_HOME: home,
  }),
  commands: 'pbs',
})

const SYSTEMS: Readonly<Record<FakeName, System>> = {
  torque: {
    ...pbs('torque'),
    isReversed: true,
    deletion: [
      { signal: 'SIGTERM', firstOnly: true, ms: 0 },
      { signal: 'SIGKILL', ms: 0 },
    ],
  },
  openpbs: {
    ...pbs('openpbs'),
    deletion: [
      { signal: 'SIGTERM', ms: 10_000 },
      { signal: 'SIGKILL', ms: 0 },
    ],
  },
  lsf: {
    files: () => ({}),
    env: ({ job, slots, cwd }) => ({
      LSB_JOBID: job,
      LSB_MCPU_HOSTS: [...Map.groupBy(slots, (slot) => slot)]
        .map(([node, own]) => `${node} ${own.length}`)
        .join(' '),
      LS_SUBCWD: cwd,
    }),
    commands: 'lsf',
    // JOB_TERMINATE_INTERVAL.
    deletion: [
      { signal: 'SIGINT', ms: 10_000 },
      { signal: 'SIGTERM', ms: 10_000 },
      { signal: 'SIGKILL', ms: 0 },
    ],
  },
  flux: {
    files: ({ slots }) => ({ resources: JSON.stringify(resourceSet(slots)) }),
    env: ({ job, spool }) => ({
      FLUX_URI: `local://${spool}/local-0`,
      FAKE_JOB: job,
      FAKE_RESOURCES: `${spool}/resources`,
    }),
    commands: 'flux',
    // kill-timeout.
    deletion: [
      { signal: 'SIGTERM', ms: 5_000 },
      { signal: 'SIGKILL', ms: 0 },
    ],
  },
}

/** The slots of whole nodes as RFC 20 has them. */
function resourceSet(slots: readonly string[]) {
  const nodes = [...new Set(slots)]
  const cores = slots.length / nodes.length
  return {
    version: 1,
    execution: {
      R_lite: [{ rank: `0-${nodes.length - 1}`, children: { core: `0-${cores - 1}` } }],
      nodelist: nodes,
      starttime: 0,
      expiration: 0,
    },
  }
}

/** Makes a lab with a batch system of that kind, whose jobs have two slots on every node unless told. */
export async function startFake(
  name: FakeName,
  { slots = 2, ...options }: LabOptions & { readonly slots?: number },
): Promise<FakeLab> {
  const cluster = await startCluster(options, {
    async layHost() {},
    async start({ nodes, node, run }, service) {
      for (const host of nodes) service(host, [node, `${SIMULATORS}/pbs/mom.ts`])
      const limits = { deadline: Deadline.after(START_MS) }
      for (const host of nodes) {
        const listens = async () => (await run(host, ['ss', '-tln'])).stdout.includes(':15003') || undefined
        await poll(listens, 50, limits, { what: 'the MOM to listen', where: host })
      }
    },
  })
  let last = 0
  const submit: FakeLab['submit'] = (script, submission) =>
    startJob(cluster, { system: SYSTEMS[name], slots, number: ++last }, script, submission)
  return { ...cluster, submit }
}

async function startJob(
  lab: Cluster,
  { system, slots: perNode, number }: { system: System; slots: number; number: number },
  script: string,
  { user, cwd }: { readonly user: LabUser; readonly cwd: string },
): Promise<FakeJob> {
  const job = `${number}.head`
  const nodes = system.isReversed ? lab.nodes.toReversed() : lab.nodes
  const [first] = nodes as [string, ...string[]]
  const slots = nodes.flatMap((node) => Array<string>(perNode).fill(node))
  const spool = `/var/spool/job-${job}`
  const facts = { job, slots, spool, cwd, home: user.home }
  const put = async (file: string, content: string) => {
    await lab.run(
      first,
      ['sh', '-c', `mkdir -p ${spool} && cat >${spool}/${file} && chmod 755 ${spool}/${file}`],
      {
        input: content,
      },
    )
  }
  for (const [file, content] of Object.entries({ ...system.files(facts), script })) await put(file, content)
  const output = `${cwd}/out.${job}`
  const ask = (host: string, request: MomRequest) => askOver(lab, host, request)
  const all = (hosts: readonly string[], signal: JobSignal) =>
    Promise.all(hosts.map((host) => ask(host, { kind: 'signal', job, signal })))
  const ended = ask(first, {
    kind: 'start',
    job,
    argv: ['/bin/sh', `${spool}/script`],
    env: {
      ...system.env(facts),
      FAKE_OUTPUT: output,
      PATH: `${SIMULATORS}/${system.commands}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin`,
      HOME: user.home,
      USER: user.name,
      LOGNAME: user.name,
    },
    cwd: user.home,
    uid: user.uid,
    gid: user.gid,
    output,
  }).then(async (status) => {
    // What is left of a job whose script has ended is killed on every node.
    await all(nodes, 'SIGKILL')
    await lab.run(first, ['rm', '-r', spool])
    return status
  })
  return {
    slots,
    // The MOM makes the file.
    output: () => (existsSync(lab.path(output)) ? readFileSync(lab.path(output), 'utf8') : ''),
    ended,
    async delete() {
      const over = ended.then(() => true)
      for (const { signal, firstOnly, ms } of system.deletion) {
        await all(firstOnly ? [first] : nodes, signal)
        if (ms > 0 && (await Promise.race([over, pause(ms).then(() => false)]))) return
      }
    },
  }
}

/** Variables of a job script as they were recorded. */
function recorded(flavour: 'torque' | 'openpbs'): Record<string, string> {
  const file = fileURLToPath(
    new URL(`../../unit/scheduler-adapters/fixtures/${flavour}-script.env`, import.meta.url),
  )
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean)
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
}

async function askOver(lab: Cluster, host: string, request: MomRequest): Promise<number> {
  const { argv, env } = lab.command('head', [lab.node, `${SIMULATORS}/pbs/ask-mom.ts`, host])
  const child: ChildProcess = spawn(argv[0], argv.slice(1), { env, stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin?.end(JSON.stringify(request))
  return Number(await text(child.stdout as NonNullable<ChildProcess['stdout']>))
}
