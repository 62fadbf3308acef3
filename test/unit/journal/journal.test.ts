// Journal and reaper with real child processes and real directories.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  Deadline,
  endOf,
  environmentOf,
  identify,
  isRunning,
  type ProcessIdentity,
  poll,
  silentLog,
} from '../../../common/index.ts'
import { Journal, thisPlace } from '../../../launcher/journal/journal.ts'
import { controllerOf, reap } from '../../../launcher/journal/reaper.ts'
import {
  formatRecord,
  type JournalHead,
  type JournalRecord,
  type OpenResource,
  type Place,
  parseJournal,
  RESULTS_MARK,
} from '../../../launcher/journal/records.ts'
import { removeResource } from '../../../launcher/journal/removal.ts'
import { runtimeRoots } from '../../../launcher/journal/runtime-root.ts'
import { hasCommand } from '../../support/needs.ts'

let folder: string
let root: string
const strangers: ChildProcess[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
  root = join(folder, 'root')
})
afterEach(() => {
  for (const child of strangers.splice(0)) child.kill('SIGKILL')
  rmSync(folder, { recursive: true, force: true })
})

const limits = () => ({ deadline: Deadline.after(5000) })
const contentOf = (journal: Journal) => parseJournal(readFileSync(join(journal.directory, 'journal'), 'utf8'))

/** A process that no journal started, with or without a marker. */
function stranger(marker?: string): ProcessIdentity {
  const env = marker === undefined ? {} : { LEET_MARKER: marker }
  const child = spawn('sleep', ['1000'], { stdio: 'ignore', env: { PATH: process.env.PATH, ...env } })
  strangers.push(child)
  return identify(child.pid as number) as ProcessIdentity
}

/** Waits until exec has put the environment in place: before that a child shows that of its parent. */
function hasMarker({ pid }: ProcessIdentity, marker: string): Promise<true> {
  return poll(() => environmentOf(pid).includes(`LEET_MARKER=${marker}`) || undefined, 1, limits(), {
    what: 'the environment of a child',
  })
}

const markerOf = (resource: OpenResource | undefined) =>
  resource?.intent.kind === 'process' ? resource.intent.marker : ''
const DEAD: ProcessIdentity = { pid: 2 ** 22 + 1, startTime: 1 }
const MARKER = '0123456789abcdef0123456789abcdef'

/** What a job leaves behind when its controller was killed. */
function leftover(records: readonly JournalRecord[], place: Place = thisPlace(), controller = DEAD): string {
  mkdirSync(root, { mode: 0o700, recursive: true })
  const directory = join(root, `${controller.pid}.${controller.startTime}.abcdef`)
  mkdirSync(join(directory, 'segment'), { recursive: true, mode: 0o700 })
  writeFileSync(join(directory, 'seed.iso'), 'seed')
  const head: JournalHead = { version: 1, jobId: 'old', controller, place }
  writeFileSync(join(directory, 'journal'), [{ head }, ...records].map(formatRecord).join(''))
  return directory
}

describe('the journal', () => {
  it('makes a directory for this user alone, and leaves nothing', async () => {
    const journal = await Journal.open({ jobId: 'j', root })
    expect(statSync(root).mode & 0o777).toBe(0o700)
    expect(statSync(journal.directory).mode & 0o777).toBe(0o700)
    expect(statSync(join(journal.directory, 'journal')).mode & 0o777).toBe(0o600)
    expect(contentOf(journal).head).toMatchObject({ jobId: 'j', controller: identify(process.pid) })
    writeFileSync(journal.path('g0.console'), 'x')
    await journal.close()
    await journal.close()
    expect(existsSync(root)).toBe(false)
  })

  it('removes a file elsewhere when it is told, when it closes, and after a kill', async () => {
    const [told, left, lost] = ['told', 'left', 'lost'].map((name) => join(root, `invitation.${name}`))
    const journal = await Journal.open({ jobId: 'j', root })
    const first = journal.expectFile(told as string, 'an invitation')
    journal.expectFile(left as string, 'an invitation')
    for (const path of [told, left, lost]) writeFileSync(path as string, 'secret')
    first.gone()
    expect(existsSync(told as string)).toBe(false)
    expect(contentOf(journal).open).toMatchObject([{ intent: { kind: 'file', path: left } }])
    await journal.close()
    expect(existsSync(left as string)).toBe(false)
    expect(
      await removeResource({ id: 1, intent: { kind: 'file', what: 'x', path: lost as string } }, limits()),
    ).toEqual(['removed x'])
    expect(existsSync(lost as string)).toBe(false)
  })

  it('puts aside what is to be kept of a directory, once that has results', async () => {
    const journal = await Journal.open({ jobId: 'j', root })
    const disk = (name: string) => {
      const path = join(root, name)
      journal.expectFile(path, 'a disk', 'disk.ext4')
      mkdirSync(path)
      writeFileSync(join(path, 'disk.ext4'), name)
      return path
    }
    const [empty, used] = [disk('empty'), disk('used')]
    writeFileSync(join(used, RESULTS_MARK), '')
    const { open } = contentOf(journal)
    expect(await Promise.all(open.map((resource) => removeResource(resource, limits())))).toEqual([
      ['removed a disk'],
      [`kept a disk as ${used}.disk.ext4`],
    ])
    expect(readFileSync(`${used}.disk.ext4`, 'utf8')).toBe('used')
    expect([existsSync(empty), existsSync(used)]).toEqual([false, false])
    rmSync(`${used}.disk.ext4`)
    await journal.close()
  })

  it('keeps the root while another job is in it', async () => {
    const [first, second] = [
      await Journal.open({ jobId: 'a', root }),
      await Journal.open({ jobId: 'b', root }),
    ]
    await first.close()
    expect(readdirSync(root)).toHaveLength(1)
    await second.close()
    expect(existsSync(root)).toBe(false)
  })

  it('knows a child by marker, pid and start time, and forgets it when it has ended', async () => {
    const journal = await Journal.open({ jobId: 'j', root })
    const { child, pid } = journal.spawn(['cat'], { what: 'a cat', stdio: 'pipe' })
    const [entry] = contentOf(journal).open
    expect(entry).toMatchObject({ intent: { kind: 'process', what: 'a cat' }, made: identify(pid) })
    await hasMarker({ pid, startTime: 0 }, markerOf(entry))
    child.stdin?.end()
    expect(await endOf(child)).toEqual({ kind: 'exit', status: 0 })
    expect(contentOf(journal).open).toEqual([])
    await journal.close()
  })

  it('ends its children when it closes, and starts no more', async () => {
    const journal = await Journal.open({ jobId: 'j', root })
    const { pid } = journal.spawn(['sleep', '1000'], { what: 'a sleeper', stdio: 'ignore' })
    const sleeper = identify(pid) as ProcessIdentity
    await journal.close()
    expect(isRunning(sleeper)).toBe(false)
    expect(() => journal.spawn(['true'], { what: 'late', stdio: 'ignore' })).toThrow('the job is ending')
  })

  it.skipIf(!hasCommand('prlimit'))('does not fail when it cannot write that a child has ended', async () => {
    const journal = await Journal.open({ jobId: 'j', root })
    const { child } = journal.spawn(['cat'], { what: 'a cat', stdio: 'pipe' })
    // To this process the limit of a file's size is what a full file system is.
    const prlimit = (...words: string[]) =>
      execFileSync('prlimit', ['--pid', `${process.pid}`, ...words], { encoding: 'utf8' }).trim()
    const before = prlimit('--fsize', '--output=SOFT', '--noheadings')
    const uncaught = Promise.withResolvers<unknown>()
    process.on('uncaughtException', uncaught.resolve)
    prlimit(`--fsize=${statSync(join(journal.directory, 'journal')).size}:`)
    try {
      child.stdin?.end()
      expect(await Promise.race([endOf(child), uncaught.promise])).toEqual({ kind: 'exit', status: 0 })
    } finally {
      prlimit(`--fsize=${before}:`)
      process.off('uncaughtException', uncaught.resolve)
    }
    expect(contentOf(journal).open).toHaveLength(1)
    await journal.close(limits())
    expect(existsSync(journal.directory)).toBe(false)
  })

  it('names a command that is missing, before anything is written', async () => {
    const journal = await Journal.open({ jobId: 'j', root })
    expect(() => journal.spawn(['no-such-command'], { what: 'nothing', stdio: 'ignore' })).toThrow(
      expect.objectContaining({ code: 'LEET_E_COMMAND_MISSING' }),
    )
    expect(contentOf(journal).open).toEqual([])
    await journal.close()
  })

  it('gives its child argv, environment, folder and descriptors unchanged', async () => {
    const journal = await Journal.open({ jobId: 'j', root })
    const script = 'printf "%s|%s|%s|%s" "$1" "$2" "$LEET_TEST" "$PWD"; echo three >&3'
    const { child } = journal.spawn(['sh', '-c', script, 'sh', 'a b', '$HOME "'], {
      what: 'a shell',
      stdio: ['ignore', 'pipe', 'inherit', 'pipe'],
      cwd: '/',
      env: { PATH: process.env.PATH, LEET_TEST: 'x=y' },
    })
    let out = ''
    let three = ''
    child.stdout?.on('data', (data) => {
      out += data
    })
    child.stdio[3]?.on('data', (data) => {
      three += data
    })
    await endOf(child)
    expect(out).toBe('a b|$HOME "|x=y|/')
    expect(three).toBe('three\n')
    await journal.close()
  })

  it('refuses a root that is not this user’s alone', async () => {
    const open = () => Journal.open({ jobId: 'j', root })
    mkdirSync(root)
    chmodSync(root, 0o755)
    await expect(open()).rejects.toMatchObject({ code: 'LEET_E_RUNTIME_DIR' })
    rmSync(root, { recursive: true })
    mkdirSync(join(folder, 'elsewhere'), { mode: 0o700 })
    symlinkSync(join(folder, 'elsewhere'), root)
    await expect(open()).rejects.toThrow('symbolic link')
    rmSync(root)
    writeFileSync(root, '')
    await expect(open()).rejects.toThrow('not a directory')
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual([])
  })

  it('has paths for plain names only', async () => {
    const journal = await Journal.open({ jobId: 'j', root })
    for (const name of ['../x', 'a/b', '', '.', '..', '.hidden', 'a\0b']) {
      expect(() => journal.path(name)).toThrow(RangeError)
    }
    // A UNIX socket's path has 107 bytes (unix(7)), and a switch appends the name of its socket.
    expect(
      Buffer.byteLength(`/run/user/4294967294/leet/${'4194304.999999999999.abcdef'}/segment/ctl`),
    ).toBeLessThan(108)
    await journal.close()
  })
})

describe('runtimeRoots', () => {
  it('prefers XDG_RUNTIME_DIR where it exists and is the user’s own', () => {
    const uid = process.getuid?.() as number
    chmodSync(folder, 0o700)
    expect(runtimeRoots({ XDG_RUNTIME_DIR: folder }, uid)).toEqual([join(folder, 'leet'), `/tmp/leet-${uid}`])
    expect(runtimeRoots({ XDG_RUNTIME_DIR: join(folder, 'none') }, uid)).toEqual([`/tmp/leet-${uid}`])
    expect(runtimeRoots({ XDG_RUNTIME_DIR: 'relative' }, uid)).toEqual([`/tmp/leet-${uid}`])
    expect(runtimeRoots({}, uid)).toEqual([`/tmp/leet-${uid}`])
    chmodSync(folder, 0o755)
    expect(runtimeRoots({ XDG_RUNTIME_DIR: folder }, uid)).toEqual([`/tmp/leet-${uid}`])
  })
})

describe('the reaper', () => {
  const run = () => reap({ log: silentLog, roots: [root], limits: limits() })
  const intend: JournalRecord = { intend: 1, intent: { kind: 'process', what: 'a sleeper', marker: MARKER } }
  const made = ({ pid, startTime }: ProcessIdentity): JournalRecord => ({
    made: 1,
    as: { kind: 'process', pid, startTime },
  })

  it('ends a process that matches in all, and removes the directory', async () => {
    const process = stranger(MARKER)
    await hasMarker(process, MARKER)
    const directory = leftover([intend, made(process)])
    expect(await run()).toEqual([
      {
        jobId: 'old',
        directory,
        done: [`ended a sleeper (pid ${process.pid})`, `removed ${directory}`],
        failures: [],
      },
    ])
    expect(isRunning(process)).toBe(false)
    expect(existsSync(root)).toBe(false)
  })

  it('finds a process of which only the intent was written', async () => {
    const process = stranger(MARKER)
    await hasMarker(process, MARKER)
    leftover([intend])
    await run()
    expect(isRunning(process)).toBe(false)
  })

  it('spares a process whose pid, start time or marker is another', async () => {
    const [unmarked, otherMarker, laterStart] = [stranger(), stranger('f'.repeat(32)), stranger(MARKER)]
    await hasMarker(otherMarker, 'f'.repeat(32))
    await hasMarker(laterStart, MARKER)
    for (const process of [unmarked, otherMarker, { ...laterStart, startTime: laterStart.startTime - 1 }]) {
      leftover([intend, made(process)])
      expect((await run())[0]?.failures).toEqual([])
    }
    expect([unmarked, otherMarker, laterStart].map(isRunning)).toEqual([true, true, true])
  })

  it('touches neither jobs that run nor what is no job', async () => {
    const journal = await Journal.open({ jobId: 'live', root })
    const { pid } = journal.spawn(['sleep', '1000'], { what: 'a sleeper', stdio: 'ignore' })
    const sleeper = identify(pid) as ProcessIdentity
    for (const name of ['notes', '1.2', '0.1.abcdef', '12.34.abcdef.more', '-5.1.abcdef'])
      mkdirSync(join(root, name))
    symlinkSync(folder, join(root, `${DEAD.pid}.7.symbol`))
    expect(await run()).toEqual([])
    expect(readdirSync(root)).toHaveLength(7)
    expect(isRunning(sleeper)).toBe(true)
    await journal.close()
  })

  it('leaves jobs of other hosts and pid namespaces alone, and ends nothing of an earlier boot', async () => {
    const process = stranger(MARKER)
    await hasMarker(process, MARKER)
    const records = [intend, made(process)]
    const here = thisPlace()
    for (const place of [
      { ...here, host: 'another' },
      { ...here, pidNamespace: 'pid:[1]' },
    ]) {
      const directory = leftover(records, place)
      expect(await run()).toEqual([])
      rmSync(directory, { recursive: true })
    }
    const directory = leftover(records, { ...here, boot: 'earlier' })
    expect(await run()).toEqual([{ jobId: 'old', directory, done: [`removed ${directory}`], failures: [] }])
    expect(isRunning(process)).toBe(true)
  })

  it('removes a directory whose journal was never begun or is not one', async () => {
    for (const spoil of [
      (file: string) => rmSync(file),
      (file: string) => writeFileSync(file, '\0\xff{"head":'),
      (file: string) => {
        rmSync(file)
        symlinkSync('/etc/passwd', file)
      },
    ]) {
      const directory = leftover([])
      spoil(join(directory, 'journal'))
      expect(await run()).toMatchObject([{ jobId: undefined, failures: [] }])
      expect(existsSync(directory)).toBe(false)
    }
    expect(existsSync('/etc/passwd')).toBe(true)
  })

  it('may run where there has never been a job, and twice at once', async () => {
    expect(await run()).toEqual([])
    leftover([])
    const both = await Promise.all([run(), run()])
    expect(both.flat().flatMap(({ failures }) => failures)).toEqual([])
    expect(existsSync(root)).toBe(false)
  })
})

describe('controllerOf', () => {
  it('reads the names of job directories and of nothing else', () => {
    expect(controllerOf('12.34.aB3xYz')).toEqual({ pid: 12, startTime: 34 })
    for (const name of ['12.34', '0.34.abcdef', '12.34.abc', '12.34.abcdef/..', '12.x.abcdef']) {
      expect(controllerOf(name)).toBeUndefined()
    }
  })
})
