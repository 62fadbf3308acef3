// pbsdsh(1B) as seen in Torque 6.1.3 and OpenPBS 23.06: runs a command once per slot, on one slot (-n), or once per node
// (-u). A task gets the environment of its MOM and none of ours; it prints into the job's output. A task's status
// other than 0 is only told, by Torque on stderr and by OpenPBS on stdout: pbsdsh itself returns 0. When it is killed its tasks run on.
import { readFileSync } from 'node:fs'
import { askMom } from './ask-mom.ts'

// Words of its own end where the command begins, or at `--`.
const words = process.argv.slice(2)
const slotOf = words[0] === '-n' ? Number(words.splice(0, 2)[1]) : undefined
const perNode = words[0] === '-u' && words.shift() !== undefined
if (words[0] === '--') words.shift()

const env = process.env as Record<string, string>
const lines = readFileSync(env.PBS_NODEFILE as string, 'utf8')
  .trim()
  .split('\n')
const nodes = [...new Set(lines)]
const slots = perNode ? nodes.map((node) => lines.indexOf(node)) : lines.map((_, slot) => slot)

/** What a MOM adds to its own environment for a task; a task has no node file in Torque. */
function taskEnvironment(slot: number): Record<string, string> {
  const kept = Object.entries(env).filter(
    ([name]) => name.startsWith('PBS_') && (name !== 'PBS_NODEFILE' || env.PBS_VERSION === undefined),
  )
  return {
    ...Object.fromEntries(kept),
    PBS_NODENUM: `${nodes.indexOf(lines[slot] as string)}`,
    PBS_TASKNUM: env.PBS_VERSION === undefined ? `${20_000_000 + slot + 1}` : `${slot + 2}`,
    PATH: '/bin:/usr/bin',
    HOME: env.HOME as string,
    LOGNAME: env.LOGNAME as string,
    USER: env.USER as string,
  }
}

// src/cmds/pbsdsh.c of both.
function tellStatus(task: number, status: number): void {
  if (env.PBS_VERSION !== undefined) console.error(`pbsdsh: task ${task} exit status ${status}`)
  else console.log(`pbsdsh: task 0x${task.toString(16).toUpperCase().padStart(8, '0')} exit status ${status}`)
}

await Promise.all(
  (slotOf === undefined ? slots : [slotOf]).map(async (slot, task) => {
    const host = lines[slot]
    if (host === undefined) throw new Error(`there is no slot ${slot}`)
    const { status } = await askMom(host, {
      kind: 'start',
      job: env.PBS_JOBID as string,
      argv: words,
      env: taskEnvironment(slot),
      cwd: env.HOME as string,
      uid: process.getuid?.() as number,
      gid: process.getgid?.() as number,
      output: env.FAKE_OUTPUT as string,
    })
    if (status !== 0) tellStatus(task, status)
  }),
)
