// A lab with a faithful fake of a PBS: MOMs on the nodes and `pbsdsh` (test/simulators/pbs), job scripts with the
// recorded environments. Torque gives the nodes in reverse and ends a job at once when it is deleted, of which only the
// first node gets a TERM; OpenPBS keeps the order, tells all nodes, and kills after ten seconds.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { Deadline, pause, poll } from '../../../common/index.ts'
import type { MomRequest } from '../../simulators/pbs/mom.ts'
import { type Cluster, type LabOptions, startCluster } from './cluster.ts'
import type { LabUser } from './hosts.ts'

export type PbsFlavour = 'torque' | 'openpbs'

/** A job of the lab. */
export interface PbsJob {
  /** Names of its node file. */
  readonly nodeFile: readonly string[]
  /** All that it printed so far. */
  output(): string
  /** Exit status of the script, 256+N when signal N ended it. */
  readonly ended: Promise<number>
  /** qdel. */
  delete(): Promise<void>
}

/** A running lab with a fake PBS. */
export interface PbsLab extends Cluster {
  /** qsub: runs a script on all nodes. */
  qsub(script: string, options: { readonly user: LabUser; readonly cwd: string }): Promise<PbsJob>
}

const SIMULATOR = '/srv/leet/test/simulators/pbs'
const START_MS = 30_000
const KILL_DELAY_MS = 10_000

/** Makes a lab with a PBS of that kind, whose jobs have two slots on every node unless told. */
export async function startPbs(
  flavour: PbsFlavour,
  { slots = 2, ...options }: LabOptions & { readonly slots?: number },
): Promise<PbsLab> {
  const cluster = await startCluster(options, {
    async layHost() {},
    async start({ nodes, node, run }, service) {
      for (const host of nodes) service(host, [node, `${SIMULATOR}/mom.ts`])
      const limits = { deadline: Deadline.after(START_MS) }
      for (const host of nodes) {
        const listens = async () => (await run(host, ['ss', '-tln'])).stdout.includes(':15003') || undefined
        await poll(listens, 50, limits, { what: 'the MOM to listen', where: host })
      }
    },
  })
  let last = 0
  const qsub: PbsLab['qsub'] = (script, submission) =>
    startJob(cluster, { flavour, slots, number: ++last }, script, submission)
  return { ...cluster, qsub }
}

async function startJob(
  lab: Cluster,
  { flavour, slots, number }: { flavour: PbsFlavour; slots: number; number: number },
  script: string,
  { user, cwd }: { readonly user: LabUser; readonly cwd: string },
): Promise<PbsJob> {
  const job = `${number}.head`
  const nodes = flavour === 'torque' ? lab.nodes.toReversed() : lab.nodes
  const [first] = nodes as [string, ...string[]]
  const nodeFile = nodes.flatMap((node) => Array<string>(slots).fill(node))
  const spool = `/var/spool/pbs-${job}`
  const put = async (file: string, content: string) => {
    await lab.run(
      first,
      ['sh', '-c', `mkdir -p ${spool} && cat >${spool}/${file} && chmod 755 ${spool}/${file}`],
      {
        input: content,
      },
    )
  }
  await put('nodes', `${nodeFile.join('\n')}\n`)
  await put('script', script)
  const output = `${cwd}/out.${job}`
  const ask = (host: string, request: MomRequest) => askOver(lab, host, request)
  const all = (hosts: readonly string[], signal: 'SIGTERM' | 'SIGKILL') =>
    Promise.all(hosts.map((host) => ask(host, { kind: 'signal', job, signal })))
  const ended = ask(first, {
    kind: 'start',
    job,
    argv: ['/bin/sh', `${spool}/script`],
    env: {
      ...recorded(flavour),
      PBS_JOBID: job,
      PBS_NODEFILE: `${spool}/nodes`,
      PBS_O_WORKDIR: cwd,
      PBS_O_HOME: user.home,
      PBS_FAKE_OUTPUT: output,
      PATH: `${SIMULATOR}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin`,
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
    nodeFile,
    // The MOM makes the file.
    output: () => (existsSync(lab.path(output)) ? readFileSync(lab.path(output), 'utf8') : ''),
    ended,
    async delete() {
      if (flavour === 'torque') {
        await all([first], 'SIGTERM')
        await all(nodes, 'SIGKILL')
        return
      }
      await all(nodes, 'SIGTERM')
      await Promise.race([ended, pause(KILL_DELAY_MS).then(() => all(nodes, 'SIGKILL'))])
    },
  }
}

/** Variables of a job script as they were recorded. */
function recorded(flavour: PbsFlavour): Record<string, string> {
  const file = fileURLToPath(
    new URL(`../../unit/scheduler-adapters/fixtures/${flavour}-script.env`, import.meta.url),
  )
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean)
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  )
}

async function askOver(lab: Cluster, host: string, request: MomRequest): Promise<number> {
  const { argv, env } = lab.command('head', [lab.node, `${SIMULATOR}/ask-mom.ts`, host])
  const child: ChildProcess = spawn(argv[0], argv.slice(1), { env, stdio: ['pipe', 'pipe', 'inherit'] })
  child.stdin?.end(JSON.stringify(request))
  return Number(await text(child.stdout as NonNullable<ChildProcess['stdout']>))
}
