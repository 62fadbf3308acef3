// The three commands of flux(1) that a job script needs, as the documentation has them: `flux kvs get resource.R` (RFC 20),
// `flux getattr jobid`, and `flux exec --noinput --rank N COMMAND`, which runs a command under a broker: with the broker's
// environment, of which nothing is promised, and it ends with the command's status. The broker is PBS's daemon, which starts
// tasks in the same way.
import { readFileSync } from 'node:fs'
import { askMom } from '../pbs/ask-mom.ts'

const [command, ...words] = process.argv.slice(2)
const env = process.env as Record<string, string>

if (command === 'kvs') process.stdout.write(readFileSync(env.FAKE_RESOURCES as string))
else if (command === 'getattr') console.log(env.FAKE_JOB)
else if (command === 'exec') {
  const rank = Number(words[words.indexOf('--rank') + 1])
  const argv = words.slice(words.indexOf('--rank') + 2)
  const resources = JSON.parse(readFileSync(env.FAKE_RESOURCES as string, 'utf8'))
  const { status } = await askMom(resources.execution.nodelist[rank], {
    kind: 'start',
    job: env.FAKE_JOB as string,
    argv,
    env: {
      FLUX_URI: env.FLUX_URI as string,
      HOME: env.HOME as string,
      USER: env.USER as string,
      PATH: '/bin:/usr/bin',
    },
    cwd: '/',
    uid: process.getuid?.() as number,
    gid: process.getgid?.() as number,
    output: env.FAKE_OUTPUT as string,
  })
  process.exitCode = status > 256 ? 128 + status - 256 : status
} else {
  console.error(`flux: ${command} is not faked`)
  process.exitCode = 1
}
