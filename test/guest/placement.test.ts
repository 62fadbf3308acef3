// Guests on processors of their own, as the kernel tells it of QEMU's threads; and guests that the job's cgroup has no
// room for.
import { spawn } from 'node:child_process'
import {
  accessSync,
  constants,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { nodeProcessors } from '../../launcher/node/processors.ts'
import { BIN, type Playground, playground, startLeet, watchCommand } from '../support/leet.ts'
import { describeWith, isMet } from '../support/needs.ts'

const GUEST = ['--guest', 'linux', '--guest-memory', '512M', '-n', '1']
const MEMORY_CGROUPS = '/sys/fs/cgroup/memory'

describeWith(['qemu-system-x86_64', 'busybox', 'dropbear', 'taskset'], 'the placement of guests', () => {
  let place: Playground
  beforeAll(() => {
    place = playground()
  })
  afterEach(() => {
    expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
  })
  afterAll(() => place.remove())
  const processors = nodeProcessors().map(({ id }) => id)
  const start = (...argv: string[]) => startLeet(argv, { cwd: place.directory, env: place.env })
  /** The processors that each thread of the guest's QEMU may use. */
  const threads = () => {
    const pid = place.processes().find((one) => read(`/proc/${one}/cmdline`).includes('guest=leet-'))
    return readdirSync(`/proc/${pid}/task`).map(
      (thread) => /^Cpus_allowed_list:\t(.*)$/m.exec(read(`/proc/${pid}/task/${thread}/status`))?.[1],
    )
  }

  it.runIf(isMet('a vCPU on its processor', 'two processors', processors.length === 2))(
    'has a vCPU alone on its processor',
    async () => {
      const [first, second] = processors.map(String)
      const words = [
        ...GUEST,
        '--guest-cpus',
        '1',
        '--guest-pin',
        'yes',
        '-v',
        'sh',
        '-c',
        'echo up; sleep 60',
      ]
      const running = start(...words)
      await running.saw(/^up$/m)
      const lists = threads()
      running.child.kill('SIGTERM')
      const { stderr } = await running.ended
      expect(stderr).toMatch(`starting (vCPUs on processors ${first}, other threads on ${second})`)
      expect(lists.filter((list) => list === first)).toHaveLength(1)
      expect(new Set(lists)).toEqual(new Set([first, second]))
    },
  )

  it.runIf(isMet('processors of the job', 'several processors', processors.length > 1))(
    'follows by itself from processors that the job has',
    async () => {
      const [, second] = processors.map(String)
      const words = [join(BIN, 'leet-mpirun'), ...GUEST, '-v', 'sh', '-c', 'echo up; sleep 60']
      const running = watchCommand(
        spawn('taskset', ['-c', second as string, ...words], {
          cwd: place.directory,
          env: { ...process.env, ...place.env },
        }),
      )
      await running.saw(/^up$/m)
      const lists = threads()
      running.child.kill('SIGTERM')
      expect((await running.ended).stderr).toMatch(`starting (vCPUs on processors ${second})\n`)
      expect(new Set(lists)).toEqual(new Set([second]))
    },
  )

  it('is refused when it was asked for and there are too few processors', async () => {
    const vcpus = ['--guest-cpus', String(processors.length + 1), '--guest-pin', 'yes']
    const { status, stderr } = await start(...GUEST, ...vcpus, 'true').ended
    expect({ status, stderr }).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/LEET_E_PLACEMENT/),
    })
  })

  it.runIf(isMet('memory of the job', MEMORY_CGROUPS, isWritable(MEMORY_CGROUPS)))(
    'is refused beyond the memory of the job’s cgroup',
    async () => {
      const group = `${MEMORY_CGROUPS}/leet-test-${process.pid}`
      mkdirSync(group)
      try {
        writeFileSync(`${group}/memory.limit_in_bytes`, String(640 << 20))
        const words = [join(BIN, 'leet-mpirun'), '-n', '1', '--guest-memory', '560M', 'true']
        const script = `echo $$ >${group}/cgroup.procs && exec "$0" "$@"`
        const running = watchCommand(
          spawn('sh', ['-c', script, ...words], {
            cwd: place.directory,
            env: { ...process.env, ...place.env },
          }),
        )
        const { status, stderr } = await running.ended
        expect(status, stderr).toBe(1)
        expect(stderr).toMatch(
          /a guest of 560 MiB.*make 624 MiB, and the job may use 640 MiB, of which \d+ MiB are in use/,
        )
        expect(stderr).toMatch(`${group}/memory.limit_in_bytes says so [LEET_E_MEMORY]`)
      } finally {
        rmdirSync(group)
      }
    },
  )
})

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}
