// Which directories are carried into guests, and what of them, as the staging options say it.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stageRoots } from '../../../launcher/node/stage-roots.ts'
import type { JobPlan } from '../../../launcher/plan/plan.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-roots-'))
  for (const name of ['case/0', 'case/system', 'mesh/fine', 'other']) {
    mkdirSync(join(folder, name), { recursive: true })
  }
  for (const name of ['mesh/points', 'case/0/U']) writeFileSync(join(folder, name), '')
})
afterEach(() => rmSync(folder, { recursive: true }))

const roots = (staging: Partial<JobPlan['staging']>, ...workDirs: string[]) =>
  stageRoots({
    programs: (workDirs.length === 0 ? ['case'] : workDirs).map((name) => ({ workDir: join(folder, name) })),
    staging: { when: 'auto', add: [], ...staging },
  })
const names = (list: ReturnType<typeof roots>) =>
  list.map(({ directory }) => directory.slice(folder.length + 1))

describe('what is carried', () => {
  it('is the working directory, and everything in it', () => {
    const [root, ...others] = roots({})
    expect(others).toEqual([])
    expect(root).toMatchObject({ directory: join(folder, 'case'), added: false })
    expect([root?.carried.wants('0/U'), root?.returned.wants('new')]).toEqual([true, true])
  })

  it('is nothing with --stage never', () => {
    expect(roots({ when: 'never' })).toEqual([])
  })

  it('is what --stage-only leaves, and what --stage-in adds again', () => {
    const [root] = roots({ only: ['system'], add: ['0/U'] })
    expect(['system/x', '0/U', '0/p'].map((path) => root?.carried.wants(path))).toEqual([true, true, false])
    const [none] = roots({ only: ['none'] })
    expect([none?.carried.wants('0/U'), none?.returned.wants('0/U')]).toEqual([false, true])
  })

  it('is what --stage-in names elsewhere: a directory, a file, a pattern', () => {
    expect(names(roots({ add: ['../mesh/fine'] }))).toEqual(['case', 'mesh/fine'])
    const [, mesh] = roots({ add: [join(folder, 'mesh/points')] })
    expect(mesh).toMatchObject({ directory: join(folder, 'mesh'), added: true })
    expect([mesh?.carried.wants('points'), mesh?.carried.wants('fine')]).toEqual([true, false])
    const [, some] = roots({ add: ['../mesh/f*'] })
    expect([some?.carried.wants('points'), some?.carried.wants('fine')]).toEqual([false, true])
  })

  it('has each file once, however directories lie in each other', () => {
    expect(names(roots({}, 'case', 'case/0', 'other'))).toEqual(['case', 'other'])
    const [root, ...others] = roots({ add: ['..'] })
    expect(others).toEqual([])
    expect(root).toMatchObject({ directory: folder, added: false })
  })

  it('comes back as --stage-out says, which may name what was added', () => {
    const [root, mesh] = roots({ add: ['../mesh'], out: ['out*', '../mesh/log'] })
    expect([root?.returned.wants('out.1'), root?.returned.wants('0/U')]).toEqual([true, false])
    expect([mesh?.returned.wants('log'), mesh?.returned.wants('points')]).toEqual([true, false])
    expect(roots({ out: ['none'] })[0]?.returned.wants('out')).toBe(false)
  })

  it.each<[string, Partial<JobPlan['staging']>]>([
    ['narrows what is not carried', { only: ['../other'] }],
    ['brings back what is not carried', { out: ['../other/x'] }],
    ['names what is not there', { add: ['nowhere/at/all'] }],
    ['names what every guest has itself', { add: ['/proc/self'] }],
    ['names everything', { add: ['/'] }],
  ])('is refused when it %s', (_, staging) => {
    expect(() => roots(staging)).toThrow(expect.objectContaining({ code: 'LEET_E_USAGE' }))
  })
})
