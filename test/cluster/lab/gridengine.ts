// A lab with a real Grid Engine (Debian's Son of Grid Engine 8.1.9): sge_qmaster on the head, sge_execd on the nodes, one
// queue `all.q` and a parallel environment `mpi` that deals slots out in turn and lets a job start tasks by `qrsh -inherit`; `mpi-tasks` is the same, but
// accounts each of these tasks by itself.
import { Deadline, poll, type WaitLimits } from '../../../common/index.ts'
import {
  type Cluster,
  type LabCommandOptions,
  type LabOptions,
  machineAccount,
  startCluster,
} from './cluster.ts'

/** A running lab with Grid Engine. */
export interface GridEngineLab extends Cluster {
  /** Submits a batch script from the head; `options` are qsub's. Resolves with the job's number. */
  qsub(
    script: string,
    options?: LabCommandOptions & { readonly options?: readonly string[] },
  ): Promise<number>
  /** State letters of a job as qstat tells them (`qw`, `r`, `dr`, …); undefined when it is over. */
  state(id: number): Promise<string | undefined>
  /** Waits until a job is over; resolves with its exit status from the accounting. */
  waitJob(id: number, limits?: Partial<WaitLimits>): Promise<number>
  qdel(id: number): Promise<void>
  /** The records of a job: one when it is over, or with the parallel environment `mpi-tasks` one more for each of its tasks. */
  accounting(id: number): Promise<readonly JobRecord[]>
}

/** What Grid Engine has accounted to a job, or to one of its tasks. */
export interface JobRecord {
  readonly job: number
  /** Names a task of the job on one of its nodes, which `qrsh -inherit` started; the job itself has none. */
  readonly task?: string
  readonly host: string
  readonly status: number
  /** Seconds of processor time. */
  readonly cpu: number
}

/** Slots of each node. */
export const NODE_SLOTS = 4

const ROOT_DIR = '/var/lib/gridengine'
const SPOOL = '/var/spool/gridengine'
const START_MS = 120_000
const JOB_MS = 120_000
const environment = { SGE_ROOT: ROOT_DIR, SGE_CELL: 'default' }

/** Makes a lab with Grid Engine. */
export async function startGridEngine(options: LabOptions): Promise<GridEngineLab> {
  const admin = await machineAccount('sgeadmin')
  const cluster = await startCluster(options, {
    async layHost() {},
    async start({ nodes, run, must }, service) {
      const own = { user: admin, cwd: '/', env: environment }
      const limits = { deadline: Deadline.after(START_MS) }
      const prepare = [
        `printf 'head\\n' >${ROOT_DIR}/default/common/act_qmaster`,
        `install -d -o ${admin.uid} -g ${admin.gid} /run/gridengine ${SPOOL} ${SPOOL}/execd`,
        `chown -R ${admin.uid}:${admin.gid} ${ROOT_DIR}/default ${SPOOL}`,
        // What the machine's own installation may have made of it.
        `rm -rf ${SPOOL}/spooldb/*`,
      ].join(' && ')
      for (const host of ['head', ...nodes]) await run(host, ['sh', '-c', prepare])
      const initialise = '/usr/share/gridengine/scripts/init_cluster'
      await must([initialise, ROOT_DIR, 'default', `${SPOOL}/spooldb`, admin.name], own)
      await must(['/usr/lib/gridengine/spooldefaults', 'managers', 'root'], own)
      const foreground = { env: { ...environment, SGE_ND: '1' } }
      service('head', ['sge_qmaster'], foreground)
      const answers = async () => ((await run('head', ['qconf', '-sm'])).status === 0 ? true : undefined)
      await poll(answers, 50, limits, { what: 'sge_qmaster' })
      await must(['sh', '-ec', configuration(nodes)])
      for (const node of nodes) service(node, ['sge_execd'], foreground)
      const ready = async () => {
        const { stdout } = await run('head', ['qstat', '-f', '-q', 'all.q'])
        // A queue whose daemon was not heard of has the state `au` at the end of its line.
        const lines = stdout.split('\n').filter((line) => line.startsWith('all.q@'))
        return lines.length === nodes.length && lines.every((line) => /lx-\w+\s*$/.test(line))
          ? true
          : undefined
      }
      await poll(ready, 100, limits, { what: 'Grid Engine to see all nodes' })
    },
  })
  const { run, must } = cluster
  const state: GridEngineLab['state'] = async (id) => {
    const line = (await must(['qstat', '-u', '*']))
      .split('\n')
      .find((one) => Number(one.trim().split(/\s+/)[0]) === id)
    return line?.trim().split(/\s+/)[4]
  }
  const accounting: GridEngineLab['accounting'] = async (id) => {
    // There is no file before the first job has ended.
    const { stdout } = await run('head', ['cat', `${ROOT_DIR}/default/common/accounting`])
    return recordsIn(stdout).filter(({ job }) => job === id)
  }
  return {
    ...cluster,
    state,
    qsub: async (script, submission = {}) => {
      const argv = ['qsub', '-terse', '-cwd', '-j', 'y', ...(submission.options ?? [])]
      return Number(await must(argv, { ...submission, input: script }))
    },
    waitJob: async (id, wanted) => {
      const limits = { deadline: wanted?.deadline ?? Deadline.after(JOB_MS), signal: wanted?.signal }
      const subject = { what: `job ${id}` }
      await poll(async () => ((await state(id)) === undefined ? true : undefined), 200, limits, subject)
      // The accounting is written a moment later.
      const status = async () => (await accounting(id)).find(({ task }) => task === undefined)?.status
      return poll(status, 200, limits, { what: `the accounting of job ${id}` })
    },
    qdel: async (id) => {
      await must(['qdel', `${id}`])
    },
    accounting,
  }
}

/** Records as in accounting(5), which also tells those of tasks from the job's, as qacct(1) does not. */
function recordsIn(text: string): JobRecord[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'))
    .map((fields) => ({
      job: Number(fields[5]),
      host: fields[1] ?? '',
      status: Number(fields[12]),
      cpu: Number(fields[36]),
      ...(fields[41] === 'NONE' ? {} : { task: fields[41] ?? '' }),
    }))
}

/** A shell script that tells the queue master of the nodes, a queue and a parallel environment. */
function configuration(nodes: readonly string[]): string {
  const file = (name: string, fields: Readonly<Record<string, string>>) =>
    `cat >"$d/${name}" <<'END'\n${Object.entries(fields)
      .map(([field, value]) => `${field} ${value}\n`)
      .join('')}END`
  return [
    'd=$(mktemp -d)',
    ...nodes.map((node) => `qconf -ah ${node}`),
    ...['head', ...nodes].map((host) => `qconf -as ${host}`),
    ...nodes.flatMap((node) => [file(node, { hostname: node, ...EXECUTION_HOST }), `qconf -Ae "$d/${node}"`]),
    file('hosts', { group_name: '@allhosts', hostlist: nodes.join(' ') }),
    'qconf -Ahgrp "$d/hosts"',
    ...PARALLEL_ENVIRONMENTS.flatMap((one) => [file(one.pe_name, one), `qconf -Ap "$d/${one.pe_name}"`]),
    file('queue', QUEUE),
    'qconf -Aq "$d/queue"',
    // A configuration is named by its file. Root and system users may run jobs; accounting is written at once.
    "qconf -sconf | sed -e 1d -e 's/^min_\\([ug]\\)id.*/min_\\1id 0/' -e 's/ flush_time=[0-9:]*/ accounting_flush_time=00:00:00 flush_time=00:00:01/' >\"$d/global\"",
    'qconf -Mconf "$d/global"',
    // Jobs are looked at once a second, and whenever one comes or goes.
    "qconf -ssconf | sed -e 's/^\\(schedule_interval\\).*/\\1 0:0:1/' -e 's/^\\(flush_[a-z]*_sec\\).*/\\1 1/' >\"$d/schedule\"",
    'qconf -Msconf "$d/schedule"',
    'rm -r "$d"',
  ].join('\n')
}

const none = (...fields: string[]) => Object.fromEntries(fields.map((field) => [field, 'NONE']))
const infinite = (...fields: string[]) => Object.fromEntries(fields.map((field) => [field, 'INFINITY']))

const EXECUTION_HOST = none(
  ...['load_scaling', 'complex_values', 'user_lists', 'xuser_lists', 'projects', 'xprojects'],
  ...['usage_scaling', 'report_variables'],
)

const PARALLEL_ENVIRONMENT = {
  slots: '999',
  ...none('user_lists', 'xuser_lists', 'start_proc_args', 'stop_proc_args'),
  allocation_rule: '$round_robin',
  control_slaves: 'TRUE',
  job_is_first_task: 'FALSE',
  urgency_slots: 'min',
  ...none('qsort_args'),
}

const PARALLEL_ENVIRONMENTS = [
  // One record for a job, in which those of its tasks on other nodes are summed up.
  { pe_name: 'mpi', ...PARALLEL_ENVIRONMENT, accounting_summary: 'TRUE' },
  { pe_name: 'mpi-tasks', ...PARALLEL_ENVIRONMENT, accounting_summary: 'FALSE' },
]

const QUEUE = {
  qname: 'all.q',
  hostlist: '@allhosts',
  seq_no: '0',
  ...none('load_thresholds', 'suspend_thresholds'),
  nsuspend: '1',
  suspend_interval: '00:05:00',
  priority: '0',
  min_cpu_interval: '00:05:00',
  processors: 'UNDEFINED',
  qtype: 'BATCH INTERACTIVE',
  ...none('ckpt_list'),
  pe_list: 'mpi mpi-tasks',
  rerun: 'FALSE',
  slots: `${NODE_SLOTS}`,
  tmpdir: '/tmp',
  shell: '/bin/sh',
  ...none('prolog', 'epilog'),
  shell_start_mode: 'unix_behavior',
  ...none('starter_method', 'suspend_method', 'resume_method', 'terminate_method'),
  // How long after its USR2 a job is killed.
  notify: '00:01:00',
  ...none('owner_list', 'user_lists', 'xuser_lists', 'subordinate_list', 'complex_values'),
  ...none('projects', 'xprojects', 'calendar'),
  initial_state: 'default',
  ...infinite(
    's_rt',
    'h_rt',
    's_cpu',
    'h_cpu',
    's_fsize',
    'h_fsize',
    's_data',
    'h_data',
    's_stack',
    'h_stack',
  ),
  ...infinite('s_core', 'h_core', 's_rss', 'h_rss', 's_vmem', 'h_vmem'),
}
