// The disk of a guest's working directories, made and read by real e2fsprogs, which also write on it in the place of a guest.
import { execFileSync } from 'node:child_process'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Deadline, LeetError, type Scope, silentLog } from '../../../common/index.ts'
import { Journal } from '../../../launcher/journal/journal.ts'
import { mergeResults } from '../../../launcher/node/results.ts'
import { WorkDisk } from '../../../launcher/node/work-disk.ts'
import { planStageIn } from '../../../mpi-bridge/index.ts'
import { STAGE_ALL } from '../../../mpi-bridge/osv/stage-filter.ts'
import { describeWith } from '../../support/needs.ts'
import { openScope } from '../../support/scope.ts'

const AGAIN = new LeetError({ code: 'LEET_E_CANCELLED', what: 'ended again' })
const limits = () => ({ deadline: Deadline.after(60_000) })

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
    mkdirSync(join(folder, 'tmp'))
    vi.stubEnv('TMPDIR', join(folder, 'tmp'))
    journal = await Journal.open({ jobId: 'disk', root: join(folder, 'root') })
    scope = openScope()
  })
  afterEach(async () => {
    await scope.end()
    await journal.close()
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true })
  })

  const plan = async () => ({
    ...(await planStageIn(directory, STAGE_ALL, limits())),
    returned: STAGE_ALL,
  })
  const make = async () => WorkDisk.make([await plan()], { journal, scope, guest: 'g0' }, limits())
  /** Does to the disk what a guest would. */
  const guest = (disk: WorkDisk, ...commands: string[]) => {
    const script = join(folder, 'script')
    writeFileSync(script, `cd "${directory}"\n${commands.join('\n')}\n`)
    execFileSync('debugfs', ['-w', '-f', script, disk.path], { stdio: 'ignore' })
  }

  /** Merges what is on the disk; gives what was said of it. */
  const mergeBack = async (disk: WorkDisk, clean: boolean, signal = new AbortController().signal) => {
    const said: string[] = []
    const log = { ...silentLog, note: (line: string) => void said.push(line) }
    await mergeResults(await disk.fetch(clean, limits()), { guest: 'g0', log }, signal)
    return said
  }
  /** Disks that are left. */
  const disks = () => readdirSync(process.env.TMPDIR as string)

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

  it('is made without a change of the files, be they old or just written', async () => {
    const old = join(directory, 'system/controlDict')
    utimesSync(old, 1_700_000_000, 1_700_000_000)
    const [link, young] = [join(directory, 'link'), join(directory, 'é')]
    symlinkSync('system/controlDict', link)
    const stats = () =>
      [old, young].map((path) => statSync(path)).map(({ mode, mtimeMs, nlink }) => ({ mode, mtimeMs, nlink }))
    const before = stats()
    const disk = await make()
    expect(stats()).toEqual(before)
    guest(disk, 'rm é')
    await mergeBack(disk, true)
    await scope.end()
    expect(stats()).toEqual(before)
    expect(readFileSync(link, 'utf8')).toBe('endTime 10;')
  })

  it('gives back what was made and changed on it, and is gone with its scope', async () => {
    const disk = await make()
    const result = join(folder, 'result')
    writeFileSync(result, 'U 1 2 3\n')
    guest(disk, `write ${result} "0.5 U"`, 'rm é')
    expect(await mergeBack(disk, true)).toEqual([`g0: removed by its ranks, kept in ${directory}: é`])
    expect(readFileSync(join(directory, '0.5 U'), 'utf8')).toBe('U 1 2 3\n')
    await scope.end()
    expect(disks()).toEqual([])
  })

  it('is put in order first when its guest was killed', async () => {
    const disk = await make()
    writeFileSync(join(folder, 'result'), 'whole')
    // Free blocks and inodes that nobody counted.
    guest(disk, `write ${join(folder, 'result')} result`, 'freei result', 'set_super_value state 0')
    await mergeBack(disk, false)
    expect(readFileSync(join(directory, 'result'), 'utf8')).toBe('whole')
  })

  it('stays, with all that is on it, when that cannot be brought back', async () => {
    const disk = await make()
    writeFileSync(join(folder, 'result'), 'made')
    guest(disk, `write ${join(folder, 'result')} result`)
    rmSync(directory, { recursive: true })
    writeFileSync(directory, 'no directory any more')
    const failed = { code: 'LEET_E_STAGING', message: /result: EEXIST/, details: { hint: /debugfs/ } }
    await expect(mergeBack(disk, true)).rejects.toMatchObject(failed)
    await scope.end()
    expect(disk.kept).toContain(disks()[0])
    const kept = join(process.env.TMPDIR as string, disks()[0] as string)
    const listed = execFileSync('debugfs', ['-R', `ls -p "${directory}"`, kept], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    expect(listed).toContain('/result/')
  })

  it('stays, and is named, when its job is ended while results are brought back', async () => {
    const disk = await make()
    writeFileSync(join(folder, 'result'), 'made')
    guest(disk, `write ${join(folder, 'result')} result`)
    await expect(mergeBack(disk, true, AbortSignal.abort(AGAIN))).rejects.toMatchObject({
      ...{ code: 'LEET_E_STAGING', message: 'g0: results were not all brought back: ended again' },
      details: { hint: `they are ${disk.kept}` },
    })
    expect(readdirSync(directory)).not.toContain('result')
    await scope.end()
    expect(disk.kept).toContain(disks()[0])
  })

  it('stays when its job is ended while it is read', async () => {
    const disk = await make()
    const ended = { ...limits(), signal: AbortSignal.abort(AGAIN) }
    await expect(disk.fetch(true, ended)).rejects.toThrow('ended again')
    await scope.end()
    expect(disk.kept).toContain(disks()[0])
  })

  it('is refused where it has no room', async () => {
    const huge = { ...(await plan()), entries: [{ path: 'huge', kind: 'file' as const, size: 2 ** 60 }] }
    const made = WorkDisk.make([huge], { journal, scope, guest: 'g0' }, limits())
    await expect(made).rejects.toMatchObject({ code: 'LEET_E_STAGING', message: /has no room/ })
  })
})
