/** @module-tag long */
// Every fault in every phase of a job on all nodes of a real Slurm: what is killed, stopped for a moment or told to end, on the
// bare nodes and in Linux guests. The job ends or goes on as it should, and leaves nothing.
import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, describe, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { useAllocations } from './allocations.ts'
import { BARE, beginOf, GUESTS, leetProcesses, submit, waitEvent } from './jobs.ts'
import { describeLab } from './lab/describe.ts'

/** Phases of a job, by the event that begins them. In `boot` guests are on their way. */
const PHASES = ['image', 'boot', 'launch', 'run', 'stop'] as const
type Phase = (typeof PHASES)[number]
/** Whom a fault befalls: the controller on the first node; agent, hypervisor and slurmd on the second; or Slurm cancels the job. */
type Victim = 'controller' | 'agent' | 'qemu' | 'slurmd' | 'the job'
type Blow = 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'scancel'

const BLOWS: Readonly<Record<Victim, readonly Blow[]>> = {
  controller: ['SIGKILL', 'SIGTERM', 'SIGSTOP'],
  agent: ['SIGKILL', 'SIGTERM', 'SIGSTOP'],
  qemu: ['SIGKILL', 'SIGTERM', 'SIGSTOP'],
  slurmd: ['SIGKILL', 'SIGTERM', 'SIGSTOP'],
  'the job': ['scancel'],
}
/** How the program ends that nothing befalls. */
const OWN = 3
/** How long a stopped process is left so, and how long an end may take after what ends it, in milliseconds. */
const STOPPED_MS = 2_000
const END_MS = 15_000

/** Whether there is such a victim in a phase. */
function isThere(victim: Victim, phase: Phase, guests: boolean): boolean {
  if (phase === 'image' || phase === 'boot') {
    if (!guests) return false
    return victim === 'controller' || victim === 'the job' || phase === 'boot'
  }
  return guests || victim !== 'qemu'
}

/** What the job may come to, as Slurm tells it: `STATE status signal`. */
function ends(victim: Victim, blow: Blow, phase: Phase): RegExp {
  const normal = `FAILED ${OWN} 0`
  if (livesThrough(victim, blow)) return new RegExp(`^${normal}$`)
  const theirs =
    victim === 'the job'
      ? 'CANCELLED \\d+ \\d+'
      : victim === 'controller'
        ? blow === 'SIGKILL'
          ? 'FAILED 0 9'
          : 'FAILED 143 0'
        : victim === 'agent' && blow === 'SIGTERM'
          ? 'FAILED 143 0'
          : 'FAILED 1 0'
  // What comes when all is over, or just before, is none of the job's business.
  return new RegExp(`^(${phase === 'stop' ? `${theirs}|${normal}` : theirs})$`)
}

/** Whether the job goes on: who is continued is only late, and what slurmd has started does not need it. */
const livesThrough = (victim: Victim, blow: Blow) => blow === 'SIGSTOP' || victim === 'slurmd'

describeLab('faults of a whole allocation', () => {
  const site = useAllocations()
  const took: number[] = []
  let survived = 0
  afterAll(() => {
    const longest = (Math.max(0, ...took) / 1000).toFixed(1)
    console.log(
      `${took.length} faults ended their job, within ${longest} s; ${survived} did not, as it should be`,
    )
  })

  for (const { kind, options, guests } of [
    { kind: 'on the bare nodes', options: BARE, guests: false },
    { kind: 'in Linux guests', options: GUESTS, guests: true },
  ]) {
    describe(kind, () => {
      const cases = PHASES.flatMap((phase) =>
        (Object.keys(BLOWS) as Victim[])
          .filter((victim) => isThere(victim, phase, guests))
          .flatMap((victim) => BLOWS[victim].map((blow) => ({ victim, blow, phase }))),
      )
      it.each(cases)('$blow for $victim in phase $phase', async ({ victim, blow, phase }) => {
        const { lab } = site
        const events = `${site.cases.alice}/events`
        rmSync(lab.path(events), { force: true })
        const words = [...options, '--events', events, '-n', '6', './share.mpich', '1', String(OWN)]
        const job = await submit(lab, words, { user: lab.users.alice, directory: site.cases.alice })
        const boots = phase === 'boot' && victim === 'qemu'
        await waitEvent(lab.path(events), boots ? /-g1","state":"booting"/ : beginOf(phase))
        const began = performance.now()
        if (blow === 'scancel') await lab.scancel(job.id)
        else await strike(victim, blow)
        if (!livesThrough(victim, blow)) {
          // Slurm frees the nodes a moment later, which is not the job's.
          const over = async () => !['RUNNING', 'PENDING'].includes((await lab.job(job.id)).state)
          const limits = { deadline: Deadline.after(END_MS) }
          await poll(async () => (await over()) || undefined, 100, limits, {
            what: `the end of job ${job.id}`,
          })
          took.push(performance.now() - began)
        } else survived++
        if (victim === 'slurmd' && blow !== 'SIGSTOP') {
          // The job does not need it, the node's next one does.
          const over = async () => (await lab.job(job.id)).state !== 'RUNNING' || undefined
          await poll(over, 100, { deadline: Deadline.after(120_000) }, { what: `the end of job ${job.id}` })
          await lab.restartSlurmd('node2')
        }
        const { state, exitStatus, signal } = await lab.waitJob(job.id)
        expect(`${state} ${exitStatus} ${signal}`, job.output()).toMatch(ends(victim, blow, phase))
        await site.reap('alice')
      })
    })
  }

  async function strike(victim: Victim, blow: Exclude<Blow, 'scancel'>): Promise<void> {
    const { lab } = site
    const { uid } = lab.users.alice
    const ofJob = (host: string, what: Parameters<typeof leetProcesses>[2]) =>
      leetProcesses(lab, host, what).filter((one) => one.uid === uid)
    const found =
      victim === 'slurmd'
        ? lab.slurmd('node2')
        : victim === 'controller'
          ? ofJob('node1', 'leet-mpirun')
          : ofJob('node2', victim === 'agent' ? 'leet-agent' : 'qemu')
    // It may just have ended by itself.
    for (const { pid } of found) {
      try {
        process.kill(pid, blow)
        if (blow !== 'SIGSTOP') continue
        await sleep(STOPPED_MS)
        process.kill(pid, 'SIGCONT')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
    }
  }
})
