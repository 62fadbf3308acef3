// What cgroups say of a job's memory, in the trees that batch systems make, and what does not fit into it.
import { afterEach, describe, expect, it } from 'vitest'
import { checkMemory, memoryLimit } from '../../../launcher/plan/job-memory.ts'
import { type FakeRoot, fakeRoot } from '../node/tree.ts'

const GIB = 2 ** 30
const JOB = '/system.slice/slurmstepd.scope/job_42'

describe('memoryLimit', () => {
  let tree: FakeRoot | undefined
  afterEach(() => tree?.remove())
  const limitIn = (files: Readonly<Record<string, string>>) => {
    tree = fakeRoot(files)
    return memoryLimit(tree.root)
  }

  it('is that of the job, when Slurm has put it above steps and tasks (cgroup v2)', () => {
    const files = {
      'proc/self/mountinfo':
        '24 1 0:22 / / rw - ext4 /dev/sda1 rw\n35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n',
      'proc/self/cgroup': `0::${JOB}/step_batch/user/task_0\n`,
      [`sys/fs/cgroup${JOB}/step_batch/user/task_0/memory.max`]: 'max\n',
      [`sys/fs/cgroup${JOB}/step_batch/memory.max`]: 'max\n',
      [`sys/fs/cgroup${JOB}/memory.max`]: `${4 * GIB}\n`,
      [`sys/fs/cgroup${JOB}/memory.stat`]: `anon ${GIB}\nfile ${2 * GIB}\n`,
      'sys/fs/cgroup/system.slice/memory.max': 'max\n',
    }
    expect(limitIn(files)).toEqual({ bytes: 4 * GIB, used: GIB, from: `/sys/fs/cgroup${JOB}/memory.max` })
  })

  it('is the least of several (cgroup v1)', () => {
    const files = {
      'proc/self/mountinfo':
        '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n36 31 0:33 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n',
      'proc/self/cgroup': '9:cpuset:/torque/7\n4:memory:/torque/7\n0::/\n',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      'sys/fs/cgroup/memory/torque/memory.limit_in_bytes': `${8 * GIB}\n`,
      'sys/fs/cgroup/memory/torque/7/memory.stat': 'cache 8\nrss 0\ntotal_rss 4096\n',
      'sys/fs/cgroup/memory/torque/7/memory.limit_in_bytes': `${2 * GIB}\n`,
    }
    expect(limitIn(files)).toEqual({
      bytes: 2 * GIB,
      used: 4096,
      from: '/sys/fs/cgroup/memory/torque/7/memory.limit_in_bytes',
    })
  })

  it('is found in a container that sees its own part of the hierarchy', () => {
    const files = {
      'proc/self/mountinfo': '35 31 0:32 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw\n',
      'proc/self/cgroup': '0::/docker/abc/init\n',
      'sys/fs/cgroup/memory.max': `${GIB}\n`,
      'sys/fs/cgroup/init/memory.max': 'max\n',
    }
    expect(limitIn(files)).toEqual({ bytes: GIB, used: 0, from: '/sys/fs/cgroup/memory.max' })
  })

  it('is none where nobody set one', () => {
    expect(limitIn({ 'proc/self/cgroup': '0::/\n', 'proc/self/mountinfo': '' })).toBeUndefined()
  })
})

describe('checkMemory', () => {
  const limit = { bytes: 2 * GIB, used: 0, from: '/sys/fs/cgroup/job/memory.max' }

  it('refuses guests that are more than the limit, with the figures', () => {
    expect(() => checkMemory([{ memory: GIB }, { memory: GIB }], limit, 'node1')).toThrow(
      expect.objectContaining({
        code: 'LEET_E_MEMORY',
        message: expect.stringMatching(
          /node1: 2 guests of 1024 MiB.*make 2176 MiB.*may use 2048 MiB.*memory\.max/s,
        ),
        details: expect.objectContaining({ hint: expect.stringContaining('--guest-memory 960M') }),
      }),
    )
  })

  it('lets what fits pass, and what has no limit', () => {
    expect(() => checkMemory([{ memory: GIB }], limit, 'node1')).not.toThrow()
    expect(() => checkMemory([{ memory: 64 * GIB }], undefined, 'node1')).not.toThrow()
    const inUse = { ...limit, used: 1.5 * GIB }
    expect(() => checkMemory([{ memory: GIB }], inUse, 'node1')).toThrow(/of which 1536 MiB are in use/)
    expect(() => checkMemory([], { ...limit, bytes: 0 }, 'node1')).not.toThrow()
  })
})
