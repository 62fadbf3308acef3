// What Linux tells of the processors that ranks may use.
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { nodeProcessors, parseCpuList } from '../../../launcher/node/processors.ts'

let root: string
beforeAll(() => {
  root = `${mkdtempSync(join(tmpdir(), 'leet-test-'))}/`
  mkdirSync(`${root}proc/self`, { recursive: true })
  writeFileSync(`${root}proc/self/status`, 'Name:\tx\nCpus_allowed_list:\t0-2,5\n')
  for (const [id, [core, socket]] of Object.entries({ 0: [0, 1], 1: [0, 0], 2: [1, 0], 5: [0, 0] })) {
    const folder = `${root}sys/devices/system/cpu/cpu${id}`
    mkdirSync(`${folder}/topology`, { recursive: true })
    writeFileSync(`${folder}/topology/core_id`, `${core}\n`)
    writeFileSync(`${folder}/topology/physical_package_id`, `${socket}\n`)
    symlinkSync('../../node', `${folder}/node${socket}`)
  }
})
afterAll(() => rmSync(root, { recursive: true }))

it('reads those that this process may use, with their cores together', () => {
  expect(nodeProcessors(root)).toEqual([
    { id: 1, core: 0, package: 0, numa: 0 },
    { id: 5, core: 0, package: 0, numa: 0 },
    { id: 2, core: 1, package: 0, numa: 0 },
    { id: 0, core: 0, package: 1, numa: 1 },
  ])
})
it('reads lists of processors', () => {
  expect(parseCpuList('0-2,5')).toEqual([0, 1, 2, 5])
  expect(parseCpuList('')).toEqual([])
})
it('finds some on this machine', () => {
  expect(nodeProcessors().length).toBeGreaterThan(0)
})
