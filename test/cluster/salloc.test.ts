// leet-mpirun under salloc, which runs it on the submit host, where it has no ranks: with ranks on the bare nodes and in
// guests, for an ordinary user; and what ends it.
import { spawn } from 'node:child_process'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, endOf, waitFor } from '../../common/index.ts'
import { BARE, buildCheckout, GUESTS, hostsOfRanks, LEET_MPIRUN, leetProcesses, makeCase } from './jobs.ts'
import { describeLab } from './lab/describe.ts'
import { type Lab, startLab } from './lab/lab.ts'

const LIMIT_MS = 200_000
const NO_END = '600'

/** What a job waits to say, whose it is, how long its ranks work, and more options of salloc. */
interface JobChoices {
  readonly says?: RegExp
  readonly user?: 'alice' | 'bob'
  readonly seconds?: string
  readonly sallocOptions?: readonly string[]
}

describeLab('an allocation by salloc', () => {
  let lab: Lab
  let directory: string
  let other: string
  beforeAll(async () => {
    await buildCheckout()
    lab = await startLab({ nodes: 2, nfs: true })
    directory = await makeCase(lab, 'bob', lab.users.bob)
    other = await makeCase(lab, 'alice', lab.users.alice)
  })
  afterEach(() => lab.waitClean())
  afterAll(() => lab?.stop())

  const sallocArgv = (argv: readonly string[]) => [
    ...['salloc', '-Q', '-N2', '--ntasks-per-node=1', '--time=10'],
    ...argv,
  ]
  const limits = () => ({ deadline: Deadline.after(LIMIT_MS) })
  const salloc = (argv: readonly string[]) =>
    lab.run('head', sallocArgv(argv), { user: lab.users.bob, cwd: directory, ...limits() })

  /** A job that would run for minutes unless told, once it has said what is waited for. */
  const startJob = async (
    options: readonly string[],
    { says = /at work/, user = 'bob', seconds = NO_END, sallocOptions = [] }: JobChoices = {},
  ) => {
    const cwd = user === 'bob' ? directory : other
    const words = [...sallocOptions, LEET_MPIRUN, ...options, './share.mpich', seconds]
    const { argv, env } = lab.command('head', sallocArgv(words), { user: lab.users[user], cwd })
    const child = spawn(argv[0], argv.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const end = endOf(child)
    let output = ''
    const heard = (pattern: RegExp) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>()
      const look = () => {
        if (pattern.test(output)) resolve()
      }
      for (const stream of [child.stdout, child.stderr]) stream.on('data', look)
      look()
      end.then(() => reject(new Error(`ended without ${pattern}:\n${output}`)), reject)
      return waitFor(promise, limits(), { what: `${pattern} in the output` })
    }
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text
      })
    }
    await heard(says)
    return { end, heard, output: () => output }
  }
  const kill = (
    host: string,
    what: Parameters<typeof leetProcesses>[2],
    signal: NodeJS.Signals = 'SIGKILL',
  ) => {
    const victims = leetProcesses(lab, host, what).filter(({ uid }) => uid === lab.users.bob.uid)
    expect(victims).toHaveLength(1)
    for (const { pid } of victims) process.kill(pid, signal)
  }
  /** What was killed leaves the files of its job directory, which `leet reap` removes; nothing else. */
  const reap = async () => {
    await lab.waitClean(undefined, ({ kind }) => kind !== 'file')
    for (const host of ['head', ...lab.nodes]) {
      const { status, stderr } = await lab.run(host, ['/srv/leet/launcher/bin/leet', 'reap'], {
        user: lab.users.bob,
      })
      expect({ host, status, stderr }).toEqual({ host, status: 0, stderr: '' })
    }
  }

  it('is explained: where its nodes come from, and why slots are what they are', async () => {
    const { status, stdout } = await salloc(['/srv/leet/launcher/bin/leet', 'explain', 'allocation'])
    expect({ status, stdout }).toMatchObject({ status: 0 })
    expect(stdout).toMatch(/^nodes +2, 2 slots$/m)
    expect(stdout).toContain('2 nodes: SLURM_JOB_NODELIST=node[1-2]')
    expect(stdout).toContain('slots: SLURM_TASKS_PER_NODE=1(x2)')
  })

  it('has each of its nodes looked at by leet doctor', async () => {
    const leet = '/srv/leet/launcher/bin/leet'
    const { status, stdout } = await salloc([leet, 'doctor', '--all-nodes', '--json'])
    const found = stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
    const about = (node: string) => found.filter((one) => one.node === node)
    for (const node of ['node1', 'node2']) {
      expect(about(node).map(({ subject }) => subject)).toContain('QEMU')
      expect(about(node).filter(({ state }) => state === 'bad')).toEqual([])
      // No site has named a bridge.
      expect(about(node)).toContainEqual(
        expect.objectContaining({
          subject: 'guests on several nodes',
          what: expect.stringContaining('mesh'),
        }),
      )
    }
    expect(status).toBe(0)
  })

  it.each([
    { kind: 'the bare nodes', options: BARE, hosts: ['node1', 'node2'] },
    {
      kind: 'guests on them',
      options: GUESTS,
      hosts: [expect.stringMatching(/-g0$/), expect.stringMatching(/-g1$/)],
    },
  ])('has its ranks on $kind', async ({ options, hosts }) => {
    expect(await salloc([LEET_MPIRUN, ...options, './share.openmpi', '0', '3'])).toMatchObject({ status: 3 })
    expect(hostsOfRanks(lab, directory, 'bob', 2)).toEqual(hosts)
  })

  describe('with guests', () => {
    it('ends in order when it is interrupted', async () => {
      const job = await startJob(GUESTS)
      kill('head', 'leet-mpirun', 'SIGINT')
      expect(await job.end).toEqual({ kind: 'exit', status: 130 })
      expect(job.output()).toMatch(/ended by SIGINT/)
    })

    it.each([
      ['they boot', /booting/],
      ['their ranks are launched', /guests ready after/],
      ['their ranks are at work', /at work/],
    ])('ends in order when it is cancelled while %s', async (_, says) => {
      const job = await startJob([...GUESTS, '-v'], { says })
      await lab.must(['scancel', '--user=bob'])
      await job.end
      expect(job.output()).toMatch(/ended by SIG|the agent got SIGTERM/)
    })

    it('ends in order at its time limit, and says that this is why', async () => {
      // The shortest that Slurm knows.
      const job = await startJob(GUESTS, { sallocOptions: ['--time=1'] })
      await job.end
      expect(job.output()).toMatch(/the time limit of the job is reached/)
    })

    it('ends by itself, and leaves nothing on its nodes, when its controller is killed', async () => {
      const job = await startJob(GUESTS)
      kill('head', 'leet-mpirun')
      await job.end
      await reap()
    })

    it('names the node whose agent is killed', async () => {
      const job = await startJob(GUESTS)
      kill('node2', 'leet-agent')
      expect(await job.end).toEqual({ kind: 'exit', status: 1 })
      expect(job.output()).toMatch(/node2: the agent of this node is gone/)
      await reap()
    })

    it('shares its nodes, and one that loses a guest says so while the other goes on', async () => {
      const unlucky = await startJob(GUESTS)
      const lucky = await startJob([...GUESTS, '-v'], { user: 'alice', seconds: '0', says: /booting/ })
      kill('node2', 'qemu')
      expect(await unlucky.end).toEqual({ kind: 'exit', status: 1 })
      expect(unlucky.output()).toMatch(/guest leet-\w+-g1 on node2: ended unexpectedly/)
      expect({ end: await lucky.end, output: lucky.output() }).toMatchObject({
        end: { kind: 'exit', status: 0 },
      })
    })

    it('says that its NFS server is dead, and can be interrupted meanwhile', async () => {
      const job = await startJob(GUESTS)
      await lab.nfs?.stop()
      try {
        await job.heard(/the NFS server nfs \(10\.77\.0\.2:2049\) does not answer/)
        kill('head', 'leet-mpirun', 'SIGINT')
        expect(await job.end).toEqual({ kind: 'exit', status: 130 })
        // Their ranks cannot even be killed while they wait for the server.
        expect(job.output()).toMatch(/ended by SIGINT/)
      } finally {
        await lab.nfs?.start()
      }
    })
  })
})
