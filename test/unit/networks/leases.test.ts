// Leases between real processes.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { Scope } from '../../../common/index.ts'
import { parseSubnet } from '../../../launcher/networks/addresses.ts'
import { leaseGuests } from '../../../launcher/networks/leases.ts'

// Two guests on each of three nodes; TEST-NET-3 of RFC 5737, so that no job is in the way.
const subnet = parseSubnet('203.0.113.64/28', 'test')
const jobs: Scope[] = []
const lease = async (node: number, count: number) => {
  const job = Scope.open({ name: 'the job', warn() {} })
  jobs.push(job)
  try {
    return { guests: await leaseGuests(subnet, node, count, job), end: () => job.end() }
  } catch (error) {
    await job.end()
    throw error
  }
}

afterEach(async () => {
  for (const job of jobs.splice(0)) await job.end()
})

describe('leaseGuests', () => {
  it('gives the lowest free numbers, each once', async () => {
    const first = await lease(0, 1)
    expect(first.guests).toEqual([0])
    expect((await lease(0, 1)).guests).toEqual([1])
    expect((await lease(1, 2)).guests).toEqual([0, 1])
    await first.end()
    expect((await lease(0, 1)).guests).toEqual([0])
  })

  it('says that other jobs have them, and keeps none', async () => {
    await lease(2, 1)
    await expect(lease(2, 2)).rejects.toThrow('other jobs on this node have 1 of them')
    expect((await lease(2, 1)).guests).toEqual([1])
  })

  it('gives back what a killed process had', async () => {
    const module = JSON.stringify(new URL('../../../launcher/networks/leases.ts', import.meta.url).href)
    const common = JSON.stringify(new URL('../../../common/index.ts', import.meta.url).href)
    const script = `
      const { leaseGuests } = await import(${module})
      const { Scope } = await import(${common})
      const job = Scope.open({ name: 'the job', warn() {} })
      await leaseGuests(${JSON.stringify(subnet)}, 0, 2, job)
      console.log('taken')
      setInterval(() => {}, 1000)`
    const holder = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(holder.stdout, 'data')
    await expect(lease(0, 1)).rejects.toThrow('other jobs on this node have 2 of them')
    holder.kill('SIGKILL')
    await once(holder, 'exit')
    expect((await lease(0, 2)).guests).toEqual([0, 1])
  })
})
