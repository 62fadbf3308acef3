// `leet image …` as a user gives it, on a store of its own: with images of Linux, and with those of OSv made of a build that looks
// like OSv's.
import { mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findKernel } from '../../launcher/images/kernel.ts'
import { type CommandOutcome, startLeet } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'
import { makeOsvBuild } from '../support/osv-build.ts'

const hasKernel = (() => {
  try {
    return Boolean(findKernel(undefined))
  } catch {
    return false
  }
})()

const TRUE = '/bin/true'
const FALSE = '/bin/false'

/** Commands of one store, which goes with the tests. */
function storeCommands() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'leet-image-')))
  const run = (command: string, ...argv: string[]): Promise<CommandOutcome> =>
    startLeet(argv, { cwd: folder, env: { XDG_CACHE_HOME: folder, HOME: folder } }, command).ended
  const image = (...argv: string[]) => run('leet', 'image', ...argv)
  const must = async (...argv: string[]) => {
    const { status, stdout, stderr } = await image(...argv)
    if (status !== 0) throw new Error(stderr)
    return stdout
  }
  const json = async () => JSON.parse(await must('list', '--json'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  return { folder, run, image, must, json, remove }
}

const NEEDS = ['gcc', 'busybox', 'dropbear', 'xz']
describeWith(hasKernel ? NEEDS : ['linux-image-amd64'], 'leet image with Linux images', () => {
  const { folder, image, must, json, remove } = storeCommands()
  afterAll(remove)

  it('says how to get one when there is none', async () => {
    const { status, stdout, stderr } = await image('list')
    expect([status, stdout]).toEqual([0, ''])
    expect(stderr).toMatch(/^leet: there is no image yet: leet image compose .*\n$/)
    expect(await json()).toEqual([])
    expect(await must('prune')).toBe('0 removed, 0 B freed\n')
  })

  it('lists, shows, prunes and removes', async () => {
    await must('compose', '--name', 'mine', TRUE)
    await must('compose', FALSE)
    const [newest, named] = await json()
    expect(newest).toMatchObject({ guest: 'linux', names: [], programs: [FALSE], used: null })
    expect(named).toMatchObject({ names: ['mine'], programs: [TRUE], size: statSync(named.disk).size })
    expect(named.id).toMatch(/^[0-9a-f]{64}$/)
    expect(new Date(named.made).getTime()).toBeLessThanOrEqual(new Date(newest.made).getTime())
    const lines = (await must('list')).trimEnd().split('\n')
    expect(lines[0]).toMatch(/^NAME {2,}ID {2,}GUEST {2,}PROGRAMS {2,}SIZE {2,}AGE {2,}LAST USED$/)
    expect(lines[1]).toMatch(/^- .* linux {2,}false .* never$/)
    expect(lines[2]).toMatch(/^mine {2}[0-9a-f]{12} {2}linux {2,}true .* MiB {2,}\d+ (s|min) {2,}never$/)
    const short = (lines[2] as string).split(/ +/)[1] as string
    expect(await must('show', short)).toContain(`${named.id}\n`)
    expect(await must('show', 'mine')).toMatch(/ {2}program {2}\/bin\/true\n/)

    expect(await must('prune', '--unused-for', '1h')).toBe('0 removed, 0 B freed\n')
    const racing = await Promise.all([image('prune'), image('prune'), image('list')])
    expect(racing.map(({ status }) => status)).toEqual([0, 0, 0])
    expect(await json()).toMatchObject([{ names: ['mine'] }])

    const absent = await image('remove', 'mine', 'absent')
    expect([absent.status, absent.stderr]).toEqual([2, expect.stringContaining('no image "absent"')])
    expect(await must('compose', '--store', join(folder, 'other'), TRUE)).toContain(`${folder}/other/linux/`)
    expect((await image('compose', '--store', 'other', '--name', 'two', TRUE)).status).toBe(2)
    expect(await json()).toHaveLength(1)
    expect(await must('remove', short, 'mine')).toMatch(
      /^removed linux [0-9a-f]{12} mine\n[\d.]+ MiB freed\n$/,
    )
    expect(await json()).toEqual([])
  })
})

describeWith(['cc'], 'leet image with OSv images', () => {
  const { folder, run, image, must, json, remove } = storeCommands()
  const dryRun = (...argv: string[]) => run('leet-mpirun', '--guest', 'osv', '--dry-run', ...argv)
  beforeAll(async () => {
    makeOsvBuild(folder)
    await must('import', 'osv', 'build')
    await must('compose', '--guest', 'osv', '--name', 'mine', TRUE)
  })
  afterAll(remove)

  it('lists images and bases, and shows both', async () => {
    const [made, base] = await json()
    expect(made).toMatchObject({ guest: 'osv', names: ['mine'], programs: [TRUE], base: base.id })
    expect(base).toMatchObject({ guest: 'osv base', version: 'v0.99.0-1-gabcdef1', images: [made.id] })
    const [images, bases] = (await must('list')).split('\n\n')
    expect(images).toMatch(/\nmine {2}[0-9a-f]{12} {2}osv {2,}true /)
    expect(bases).toMatch(/^OSV BASE .*\n[0-9a-f]{12} {2}v0\.99\.0-1-gabcdef1 \(default\) {2}1 /)
    expect(await must('show', 'mine')).toMatch(/ {2}has {6}\/bin\/true\n/)
    expect(await must('show', base.id.slice(0, 12))).toMatch(/ {2}version {2}v0\.99/)
  })

  it('tells jobs which image they would boot', async () => {
    const [{ id, disk }] = await json()
    for (const word of ['mine', id.slice(0, 12)]) {
      const { stdout } = await dryRun('-n', '2', '--image', word, TRUE)
      expect(JSON.parse(stdout).image).toMatchObject({ id, kind: 'osv', disk, programs: { [TRUE]: TRUE } })
    }
    const other = await dryRun('--image', 'mine', FALSE)
    expect([other.status, other.stderr]).toEqual([127, expect.stringContaining('[LEET_E_PROGRAM]')])
    const none = await dryRun('--image', 'absent', TRUE)
    expect([none.status, none.stderr]).toEqual([2, expect.stringContaining('no OSv image "absent"')])
  })

  it('keeps bases and named images, and says what a base was needed for', async () => {
    expect(await must('prune')).toMatch(/^0 removed/)
    const [{ base }] = await json()
    const removed = await image('remove', base.slice(0, 12))
    expect(removed.stdout).toMatch(/^removed osv base [0-9a-f]{12}\n.* freed\n$/)
    expect(removed.stderr).toMatch(/1 image was composed of it/)
    expect(await json()).toMatchObject([{ names: ['mine'] }])
    const job = await dryRun('--image', 'mine', TRUE)
    expect(job.stderr).toContain('[LEET_E_OSV_BASE]')
    // The same build is the same base.
    await must('import', 'osv', 'build')
    expect((await dryRun('--image', 'mine', TRUE)).status).toBe(0)
  })
})
