// blaunch(1) of LSF as its documentation has it: runs a command on a host of the job. Nothing is promised of the task's
// environment nor of the status that blaunch ends with; so a task gets that of its daemon, and blaunch always returns 0. What
// it prints comes out of blaunch. The daemon is PBS's, which starts tasks in the same way.
import { askMom } from '../pbs/ask-mom.ts'

const words = process.argv.slice(2)
if (words[0] === '-no-shell') words.shift()
const [host, ...argv] = words as [string, ...string[]]
const env = process.env as Record<string, string>
const kept = ['LSB_JOBID', 'HOME', 'LOGNAME', 'USER'].map((name) => [name, env[name] as string] as const)

await askMom(host, {
  kind: 'start',
  job: env.LSB_JOBID as string,
  argv,
  env: { ...Object.fromEntries(kept), PATH: '/bin:/usr/bin' },
  cwd: env.HOME as string,
  uid: process.getuid?.() as number,
  gid: process.getgid?.() as number,
  output: env.FAKE_OUTPUT as string,
})
