// The disk of a guest's working directories, made and read by real e2fsprogs, which also write on it in the place of a guest.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline, type Scope } from '../../../common/index.ts'
import { Journal } from '../../../launcher/journal/journal.ts'
import { WorkDisk } from '../../../launcher/node/work-disk.ts'
import { planStageIn } from '../../../mpi-bridge/index.ts'
import { STAGE_ALL } from '../../../mpi-bridge/osv/stage-filter.ts'
import { describeWith } from '../../support/needs.ts'
import { openScope } from '../../support/scope.ts'

const { TMPDIR } = process.env
const limits = () => ({ deadline: Deadline.after(60_000) })
const all = () => () => true

describeWith(['mke2fs', 'debugfs', 'e2fsck'], 'a disk of working directories', () => {
  let folder: string
  let directory: string
  let journal: Journal
  let scope: Scope

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-disk-'))
    directory = join(folder, 'a case')
    mkdirSync(join(directory, 'system'), { recursive: true })
    writeFileSync(join(directory, 'system/controlDict'), 'endTime 10;')
    writeFileSync(join(directory, 'é'), 'name')
    process.env.TMPDIR = join(folder, 'tmp')
    mkdirSync(process.env.TMPDIR)
    journal = await Journal.open({ jobId: 'disk', root: join(folder, 'root') })
    scope = openScope()
  })
  afterEach(async () => {
    await scope.end()
    await journal.close()
    if (TMPDIR === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = TMPDIR
    rmSync(folder, { recursive: true })
  })

  const make = async () =>
    WorkDisk.make(
      [await planStageIn(directory, STAGE_ALL, limits())],
      { journal, scope, guest: 'g0' },
      limits(),
    )
  /** Does to the disk what a guest would. */
  const guest = (disk: WorkDisk, ...commands: string[]) => {
    const script = join(folder, 'script')
    writeFileSync(script, `cd "${directory}"\n${commands.join('\n')}\n`)
    execFileSync('debugfs', ['-w', '-f', script, disk.path], { stdio: 'ignore' })
  }

  it('has each file at its own path, with its time, and takes no more room than they do', async () => {
    const disk = await make()
    const shown = execFileSync('debugfs', ['-R', `stat "${directory}/system/controlDict"`, disk.path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    const seconds = Math.floor(statSync(join(directory, 'system/controlDict')).mtimeMs / 1000)
    expect(shown).toContain(`mtime: 0x${seconds.toString(16)}`)
    expect(statSync(disk.path).blocks * 512).toBeLessThan(32 << 20)
    expect(statSync(disk.path).mode & 0o077).toBe(0)
  })

  it('gives back what was made and changed on it, and is gone with its scope', async () => {
    const disk = await make()
    const result = join(folder, 'result')
    writeFileSync(result, 'U 1 2 3\n')
    guest(disk, `write ${result} "0.5 U"`, 'rm é')
    const [back] = await disk.bringBack(all, true, limits())
    expect(back).toMatchObject({ directory, brought: ['0.5 U'], conflicts: [], removed: ['é'] })
    expect(readFileSync(join(directory, '0.5 U'), 'utf8')).toBe('U 1 2 3\n')
    await scope.end()
    expect([disk.path, disk.keptAt].map((path) => existsSync(path))).toEqual([false, false])
  })

  it('is put in order first when its guest was killed', async () => {
    const disk = await make()
    writeFileSync(join(folder, 'result'), 'whole')
    // Free blocks and inodes that nobody counted.
    guest(disk, `write ${join(folder, 'result')} result`, 'freei result', 'set_super_value state 0')
    const [back] = await disk.bringBack(all, false, limits())
    expect(back?.brought).toEqual(['result'])
    expect(readFileSync(join(directory, 'result'), 'utf8')).toBe('whole')
  })

  it('stays, with all that is on it, when that cannot be brought back', async () => {
    const disk = await make()
    writeFileSync(join(folder, 'result'), 'made')
    guest(disk, `write ${join(folder, 'result')} result`)
    rmSync(directory, { recursive: true })
    writeFileSync(directory, 'no directory any more')
    const [back] = await disk.bringBack(all, true, limits())
    expect(back).toMatchObject({
      brought: [],
      failed: expect.arrayContaining([expect.stringMatching(/^result: EEXIST/)]),
    })
    await scope.end()
    expect(existsSync(disk.path)).toBe(false)
    const listed = execFileSync('debugfs', ['-R', `ls -p "${directory}"`, disk.keptAt], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    expect(listed).toContain('/result/')
  })

  it('is refused where it has no room', async () => {
    const plan = await planStageIn(directory, STAGE_ALL, limits())
    const huge = { ...plan, entries: [{ path: 'huge', kind: 'file' as const, size: 2 ** 60 }] }
    const made = WorkDisk.make([huge], { journal, scope, guest: 'g0' }, limits())
    await expect(made).rejects.toMatchObject({ code: 'LEET_E_STAGING', message: /has no room/ })
  })
})
