// The README's job script, as it stands there, submitted to a real Slurm: guests on all nodes, a real NFS export, programs
// of both MPI libraries.
import { copyFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { buildCheckout, hostsOfRanks, makeCase, submitScript } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type Lab, startLab } from './lab/lab.ts'

/** What the README has a site say once: where its directories are. Guests are small, since all nodes are one machine here. */
const SITE = `guest:
  memory: 384M
  cpus: 1
mounts:
  - nfs:/export/project:/srv/project
  - nfs:/export/home:/home
`

function scriptOfReadme(): string {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const blocks = [...readme.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, text]) => text as string)
  const scripts = blocks.filter((text) => text.includes('#SBATCH'))
  expect(scripts).toHaveLength(1)
  return scripts[0] as string
}

describeLab("the README's job script", () => {
  let lab: Lab
  let directory: string
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 3, nfs: true })
    directory = await makeCase(lab, 'alice', lab.users.alice)
    const write = ['sh', '-c', 'mkdir /etc/leet && cat >/etc/leet/leet.yaml']
    for (const node of lab.nodes)
      expect(await lab.run(node, write, { input: SITE })).toMatchObject({ status: 0 })
  })
  afterEach(() => lab.waitClean(undefined, ({ what }) => !what.startsWith('/etc/leet')))
  afterAll(() => lab?.stop())

  for (const mpi of ['mpich', 'openmpi'] as const) {
    const tags = mpi === 'mpich' ? ['long'] : []
    it(`runs a program of ${mpi} in guests of all nodes`, { tags }, async () => {
      copyFileSync(join(lab.path(directory), `share.${mpi}`), join(lab.path(directory), 'a.out'))
      const job = await submitScript(lab, scriptOfReadme(), {
        user: lab.users.alice,
        directory,
        env: { PATH: '/srv/leet/launcher/bin:/usr/local/bin:/usr/bin:/bin' },
      })
      const end = await lab.waitJob(job.id)
      expect({ ...end, output: job.output() }).toMatchObject({ state: 'COMPLETED', exitStatus: 0 })
      const [first, , second, , third] = hostsOfRanks(lab, directory, 'alice', 6) as [
        string,
        string,
        string,
        string,
        string,
      ]
      expect([first, second, third].map((host) => host.replace(/^leet-\w+-/, ''))).toEqual(['g0', 'g1', 'g2'])
    })
  }
})
