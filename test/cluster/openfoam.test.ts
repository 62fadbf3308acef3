/** @module-tag long */
// The OpenFOAM example as its README has it, in a batch job: divided on the head, submitted as it stands, solved in two guests
// that see the case by NFS, and joined on the head. The same scripts with `mpirun` for `leet-mpirun` give the same fields.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import { Deadline } from '../../common/index.ts'
import type { Results } from '../../launcher/bench/results.ts'
import { buildCheckout } from './jobs.ts'
import type { Cluster } from './lab/cluster.ts'
import { describeLab } from './lab/describe.ts'
import { startFake } from './lab/fakes.ts'
import { type Lab, startLab } from './lab/lab.ts'

const EXAMPLE = new URL('../../examples/openfoam/', import.meta.url)
/** What a site says once: its bridge and its directories. Guests are small, since all nodes are one machine here. */
const SITE = `network: bridge=br0
guest:
  memory: 1G
  cpus: 1
mounts:
  - nfs:/export/project:/srv/project
  - nfs:/export/home:/home
`
/** Enough for all fields to differ from those at the start. */
const ITERATIONS = '2'

/** The README's commands for a batch job, one a line. */
function commandsOfReadme(): string[] {
  const readme = readFileSync(new URL('README.md', EXAMPLE), 'utf8')
  const blocks = [...readme.matchAll(/^```(?:sh|text)\n(.*?)^```$/gms)].map(([, text]) => text as string)
  return (blocks.find((text) => text.includes('sbatch')) ?? '').trim().split('\n')
}

/** The README's line with that word. */
function command(word: string): string {
  const found = commandsOfReadme().filter((line) => line.includes(word))
  expect(found).toHaveLength(1)
  return found[0] as string
}

/** Gives every host what the package's installation and the site give it. */
async function setUp(lab: Cluster): Promise<void> {
  const install =
    'ln -s /srv/leet/launcher/bin/leet-mpirun /srv/leet/launcher/bin/leet /srv/leet/node_modules/.bin/node /usr/local/bin/'
  const write = `mkdir /etc/leet && cat >/etc/leet/leet.yaml && ${install}`
  for (const host of ['head', ...lab.nodes])
    expect(await lab.run(host, ['sh', '-c', write], { input: SITE })).toMatchObject({ status: 0 })
}

/** Runs a line of the README as alice on the head. */
async function type(lab: Cluster, line: string, cwd: string): Promise<string> {
  const env = { LEET: '/srv/leet', ITERATIONS }
  const argv = ['sh', '-ec', `${command('export')}\n${line}`]
  const result = await lab.run('head', argv, { user: lab.users.alice, cwd, env })
  expect(result.status, `${line}: ${result.stdout}${result.stderr}`).toBe(0)
  return result.stdout
}

/** Divides the case as the README says, has `submit` run a job there to its end, joins and draws the result. */
async function solve(lab: Cluster, name: string, submit: (cwd: string) => Promise<void>) {
  const above = `/srv/project/${name}`
  await lab.must(['mkdir', above], { user: lab.users.alice })
  await type(lab, command('prepare.sh'), above)
  await submit(`${above}/case`)
  await type(lab, command('reconstructPar'), `${above}/case`)
  const read = (file: string) => readFileSync(join(lab.path(`${above}/case`), file), 'utf8')
  expect(read('velocity.svg')).toContain('speed |U|')
  const names = readdirSync(lab.path(`${above}/case/${ITERATIONS}`)).filter((file) => file !== 'uniform')
  expect(names).toEqual(expect.arrayContaining(['U', 'epsilon', 'k', 'nut', 'p', 'phi']))
  return {
    fields: Object.fromEntries(names.map((file) => [file, read(`${ITERATIONS}/${file}`)])),
    log: read('log.simpleFoam'),
  }
}

/** What OpenFOAM says of its ranks when they are in two guests. */
const TWO_GUESTS = expect.stringMatching(/leet-\w+-g0[\s\S]*leet-\w+-g1[\s\S]*Finalising parallel run/)

/** Whether a finding is a job's, and not from setting up. */
const ofJobs = ({ what }: { what: string }) =>
  !what.startsWith('/etc/leet') && !what.startsWith('/usr/local/bin')

/** Runs a line that submits to Slurm as alice on the head, and waits for its job. */
async function runJob(lab: Lab, line: string, cwd: string): Promise<void> {
  const id = Number(/^Submitted batch job (\d+)$/m.exec(await type(lab, line, cwd))?.[1])
  const end = await lab.waitJob(id, { deadline: Deadline.after(500_000) })
  const said = readFileSync(lab.path(`${cwd}/slurm-${id}.out`), 'utf8')
  expect(end, said).toMatchObject({ state: 'COMPLETED', exitStatus: 0 })
}

describeLab('the OpenFOAM example in a batch job', () => {
  beforeAll(() => buildCheckout())

  it('has the fields of bare mpirun under Slurm', async () => {
    using lab = await startLab({ nodes: 2, nfs: true })
    await setUp(lab)
    const submit = (line: string) => (cwd: string) => runJob(lab, line, cwd)
    const script = readFileSync(new URL('slurm.sh', EXAMPLE), 'utf8')
    const onNodes = await solve(
      lab,
      'bare',
      submit(`sbatch <<'END'\n${script.replace('leet-mpirun', 'mpirun')}END`),
    )
    const inGuests = await solve(lab, 'guests', submit(command('sbatch')))
    expect(onNodes.log).toContain('node1')
    expect(inGuests).toMatchObject({ fields: onNodes.fields, log: TWO_GUESTS })
    await lab.waitClean(undefined, ofJobs)
  })

  it('is compared by leet bench on the nodes of a Slurm job', async () => {
    using lab = await startLab({ nodes: 2, nfs: true })
    await setUp(lab)
    await lab.must(['mkdir', '/srv/project/bench'], { user: lab.users.alice })
    await type(lab, command('prepare.sh'), '/srv/project/bench')
    const readme = readFileSync(new URL('README.md', EXAMPLE), 'utf8')
    const words = (/^leet bench .*$/m.exec(readme) as RegExpExecArray)[0]
    const once = words.replace('--guests 2', '-r 1 --warmup 0 --no-micro --out report')
    const script = readFileSync(new URL('slurm.sh', EXAMPLE), 'utf8').replace(/^leet-mpirun.*$/m, once)
    const cwd = '/srv/project/bench'
    await runJob(lab, `sbatch <<'END'\n${script}END`, cwd)
    const read = (file: string) => readFileSync(lab.path(`${cwd}/report/${file}`), 'utf8')
    const results: Results = JSON.parse(read('results.json'))
    expect(results).toMatchObject({
      guests: 2,
      environment: { scheduler: 'slurm', nodes: ['node1', 'node2'] },
    })
    const kinds = ['linux', 'host', 'mpirun']
    expect(results.runs.map(({ failure }) => failure)).toEqual(Array(4).fill(undefined))
    const solved = results.runs.filter(({ workload }) => workload === 'program')
    expect(solved.map(({ kind }) => kind)).toEqual(expect.arrayContaining(kinds))
    expect(solved.map(({ iterations }) => iterations)).toEqual(Array(3).fill(Number(ITERATIONS)))
    expect(results.fields).toEqual(kinds.map((kind) => ({ kind, files: results.fields?.[0]?.files })))
    expect(results.fields?.[0]?.files).toBeGreaterThan(5)
    expect(read('report.html')).toContain('which is faster?')
    await lab.waitClean(undefined, ofJobs)
  })

  it('has the fields of a run on the nodes under Torque', async () => {
    using lab = await startFake('torque', { nodes: 2, nfs: true, slots: 1 })
    await setUp(lab)
    const submit = (script: string) => async (cwd: string) => {
      const job = await lab.submit(script, { user: lab.users.alice, cwd })
      const status = await job.ended
      expect(status, job.output()).toBe(0)
    }
    const script = readFileSync(new URL('torque.sh', EXAMPLE), 'utf8')
    expect(command('qsub')).toBe('qsub $LEET/examples/openfoam/torque.sh')
    // Debian's mpirun knows no Torque; it would need SSH.
    const onNodes = await solve(lab, 'bare', submit(script.replace('leet-mpirun', '$& --guest host')))
    const inGuests = await solve(lab, 'guests', submit(script))
    expect(onNodes.log).toContain('node1')
    expect(inGuests).toMatchObject({ fields: onNodes.fields, log: TWO_GUESTS })
    await lab.waitClean(undefined, ofJobs)
  })
}, ['simpleFoam'])
