// leet-mpirun over all nodes of a real Grid Engine, and the lab that it runs in.
import { readFileSync, rmSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import {
  BARE,
  beginOf,
  buildCheckout,
  GUESTS,
  hostsOfRanks,
  jobThatWrites,
  killOne,
  type LabJob,
  LEET_MPIRUN,
  leetProcesses,
  type Mpi,
  makeCase,
  reapAll,
  waitEvent,
} from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type GridEngineLab, startGridEngine } from './lab/gridengine.ts'

const COMMANDS = ['sge_qmaster', 'sge_execd', 'qsub', 'qrsh']

/** For guests on all nodes, on a busy machine. */
const PATIENCE_MS = 180_000
const limits = () => ({ deadline: Deadline.after(PATIENCE_MS) })
/** How a job ends whose controller was killed: 128 and the signal. */
const KILLED = 137
/** Five slots are dealt out to three nodes. */
const RANKS = 5
const NO_END = ['./share.mpich', '600']
/** Takes all of a processor until it gets a USR1. */
const BUSY = ['sh', '-c', 'trap "exit 3" USR1; echo busy; while :; do :; done']
/** How much of a processor each node has given to a job before its accounting is looked at, in seconds. */
const ENOUGH_S = 2

describeLab(
  'an allocation of Grid Engine',
  () => {
    let lab: GridEngineLab
    let directory: string
    let events: string
    beforeAll(async () => {
      await buildCheckout()
      lab = await startGridEngine({ nodes: 3, nfs: true })
      directory = await makeCase(lab, 'alice', lab.users.alice)
      events = `${directory}/events`
    })
    afterEach(() => lab.waitClean({ deadline: Deadline.after(20_000) }))
    afterAll(() => lab?.stop())

    const outputOf = (id: number) => lab.path(`${directory}/job.${id}`)
    const jobOf = (id: number): LabJob =>
      jobThatWrites(id, outputOf(id), async () => (await lab.state(id)) === undefined)
    const submit = async (script: string, options: readonly string[] = [], environment = 'mpi') =>
      jobOf(
        await lab.qsub(script, {
          user: lab.users.alice,
          cwd: directory,
          options: ['-pe', environment, `${RANKS}`, '-o', `${directory}/job.$JOB_ID`, ...options],
        }),
      )
    const mpirun = (words: readonly string[], options?: readonly string[], environment?: string) => {
      rmSync(lab.path(events), { force: true })
      const line = [LEET_MPIRUN, '--events', events, ...words].map((word) => `'${word}'`).join(' ')
      return submit(`exec ${line}`, options, environment)
    }
    const runShare = async (options: readonly string[], mpi: Mpi) => {
      const job = await mpirun([...options, `./share.${mpi}`, '0', '3'])
      const status = await lab.waitJob(job.id, limits())
      expect({ status, output: job.output() }).toMatchObject({ status: 3 })
      expect(new Set(hostsOfRanks(lab, directory, 'alice', RANKS)).size).toBe(3)
    }
    /** The node whose queue runs the job's script, and the others. */
    const nodesOf = () => {
      const has = (node: string) => leetProcesses(lab, node, 'leet-mpirun').length > 0
      const first = lab.nodes.filter(has)
      expect(first).toHaveLength(1)
      return { first: first[0] as string, others: lab.nodes.filter((node) => !has(node)) }
    }

    it('deals slots out in turn and lets jobs start tasks on their nodes', async () => {
      const job = await submit(
        'cut -d" " -f1,2 "$PE_HOSTFILE"; for h in $(cut -d" " -f1 "$PE_HOSTFILE"); do qrsh -inherit $h hostname; done; exit 5',
      )
      expect(await lab.waitJob(job.id)).toBe(5)
      const lines = job.output().trim().split('\n')
      expect(lines.slice(0, 3).map((line) => line.split(' ')[1])).toEqual(['2', '2', '1'])
      expect(lines.slice(3)).toEqual(lines.slice(0, 3).map((line) => line.split(' ')[0]))
    })

    it('runs ranks on all nodes', async () => {
      await runShare(BARE, 'mpich')
    })

    for (const mpi of ['openmpi', 'mpich'] as const) {
      it(`runs ${mpi} in Linux guests on all nodes`, { tags: ['long'] }, async () => {
        await runShare(GUESTS, mpi)
      })
    }

    it('takes a job of leet submit', { tags: ['long'] }, async () => {
      const words = [
        ...['submit', '--scheduler', 'gridengine', '--nodes', '3', '--tasks-per-node', '2', '--time', '10m'],
        ...['--name', 'shared', '--queue', 'all.q', '--parallel-environment', 'mpi'],
        ...['--output', `${directory}/job.$JOB_ID`, '--error', `${directory}/errors`],
        ...['--', LEET_MPIRUN, ...BARE, './share.mpich', '0', '3'],
      ]
      const argv = ['/srv/leet/launcher/bin/leet', ...words]
      const result = await lab.run('head', argv, { user: lab.users.alice, cwd: directory })
      expect(result).toMatchObject({ status: 0, stderr: '' })
      const id = Number(/^Your job (\d+) \("shared"\) has been submitted/.exec(result.stdout)?.[1])
      expect({ status: await lab.waitJob(id), output: jobOf(id).output() }).toMatchObject({ status: 3 })
      expect(new Set(hostsOfRanks(lab, directory, 'alice', 6)).size).toBe(3)
    })

    for (const { kind, options, phases } of [
      { kind: 'on the bare nodes', options: BARE, phases: ['launch'] },
      { kind: 'in Linux guests', options: GUESTS, phases: ['image', 'boot', 'launch'] },
    ] as const) {
      describe(`with ranks ${kind}`, () => {
        it.each(phases)(
          'leaves nothing when it is deleted in phase %s',
          { tags: ['long'] },
          async (phase) => {
            const job = await mpirun([...options, ...NO_END])
            await waitEvent(lab.path(events), beginOf(phase))
            await lab.qdel(job.id)
            expect(await lab.waitJob(job.id)).toBe(KILLED)
            // It kills what it started, which may have no time to remove its own files.
            await reapAll(lab, lab.users.alice)
          },
        )

        it('leaves nothing when it is deleted while ranks are at work', {
          tags: options === BARE ? [] : ['long'],
        }, async () => {
          const job = await mpirun([...options, ...NO_END])
          await job.says(/all ranks are at work/)
          await lab.qdel(job.id)
          expect(await lab.waitJob(job.id)).toBe(KILLED)
          await reapAll(lab, lab.users.alice)
        })

        it('ends in order when it is told before that it is deleted', { tags: ['long'] }, async () => {
          const job = await mpirun([...options, ...NO_END], ['-notify'])
          await job.says(/all ranks are at work/)
          await lab.qdel(job.id)
          expect(await lab.waitJob(job.id)).toBe(128 + 12)
          expect(job.output()).toMatch(/SIGUSR2/)
        })

        it('ends when its controller is killed', { tags: ['long'] }, async () => {
          const job = await mpirun([...options, ...NO_END])
          await job.says(/all ranks are at work/)
          killOne(lab, lab.users.alice, nodesOf().first, 'leet-mpirun')
          expect(await lab.waitJob(job.id)).toBe(KILLED)
          await reapAll(lab, lab.users.alice)
        })

        it('names the node whose agent is killed', { tags: ['long'] }, async () => {
          const job = await mpirun([...options, ...NO_END])
          await job.says(/all ranks are at work/)
          const [other] = nodesOf().others as [string, string]
          killOne(lab, lab.users.alice, other, 'leet-agent')
          expect(await lab.waitJob(job.id)).toBe(1)
          expect(job.output()).toContain(`${other}: the agent of this node is gone`)
          await reapAll(lab, lab.users.alice)
        })

        it.each([
          ['in one record', 'mpi'],
          ['for each task', 'mpi-tasks'],
        ])(
          'has the processor time of all its nodes accounted %s',
          {
            tags: ['long'],
          },
          async (_, environment) => {
            const job = await mpirun([...options, ...BUSY], [], environment)
            await job.says(/(busy\s+){5}/)
            const look = () => {
              const times = lab.nodes.map((host) => ({ host, cpu: processorTime(host) }))
              return times.every(({ cpu }) => cpu > ENOUGH_S) ? times : undefined
            }
            // It only grows: what the nodes gave to the job until now must be in the records.
            const seen = await poll(look, 100, limits(), { what: 'every node to work' })
            const [controller] = leetProcesses(lab, nodesOf().first, 'leet-mpirun')
            process.kill(controller?.pid as number, 'SIGUSR1')
            expect(await lab.waitJob(job.id)).toBe(3)
            const records = await lab.accounting(job.id)
            if (environment === 'mpi') {
              expect(records).toHaveLength(1)
              expect(sum(records)).toBeGreaterThan(sum(seen))
            } else {
              for (const { host, cpu } of seen)
                expect(sum(records.filter((record) => record.host === host))).toBeGreaterThan(cpu)
            }
          },
        )
      })
    }

    /** Seconds that the processors of a node have given to what alice's job runs there. */
    function processorTime(node: string): number {
      return lab
        .processes(node)
        .filter(({ uid }) => uid === lab.users.alice.uid)
        .map(({ pid }) => {
          // Fields after proc(5), behind the name: 14 utime, 15 stime, in hundredths.
          const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /s, '').split(' ')
          return (Number(fields[11]) + Number(fields[12])) / 100
        })
        .reduce((all, seconds) => all + seconds, 0)
    }
  },
  COMMANDS,
)

/** The processor time of several. */
function sum(all: readonly { readonly cpu: number }[]): number {
  return all.reduce((seconds, { cpu }) => seconds + cpu, 0)
}
