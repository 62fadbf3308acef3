// Results that come back from a guest's copy of a directory: what is brought, what is left, and what is kept twice.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bringBack, digestOf, type FileBefore, isYoung } from '../../../launcher/node/bring-back.ts'

/** When all was written that the copy was made of, in seconds. */
const OLD = 1_700_000_000

let folder: string
let copy: string
let directory: string
const before = new Map<string, FileBefore>()

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-back-'))
  copy = join(folder, 'copy')
  directory = join(folder, 'case')
  mkdirSync(copy)
  mkdirSync(directory)
  before.clear()
})
afterEach(() => rmSync(folder, { recursive: true }))

function put(root: string, path: string, text: string, time?: number): void {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), text)
  if (time !== undefined) utimesSync(join(root, path), time, time)
}

/** A file of the directory, and the guest's copy of it. */
function carried(path: string, text: string): void {
  put(directory, path, text, OLD)
  put(copy, path, text, OLD)
  const { size, mtimeMs } = statSync(join(directory, path))
  before.set(path, { size, modified: mtimeMs })
}

const back = (
  guest = 'g0',
  wants: (path: string) => boolean = () => true,
  signal = new AbortController().signal,
) => bringBack(copy, directory, { before: { files: before }, guest, wants, signal })
const text = (path: string) => readFileSync(join(directory, path), 'utf8')

describe('what ranks made', () => {
  it('comes with its directories, its time and what it may be run as', async () => {
    put(copy, 'a/b/result', 'made', OLD + 100)
    put(copy, 'tool', '#!', OLD + 100)
    chmodSync(join(copy, 'tool'), 0o755)
    mkdirSync(join(copy, 'empty'))
    expect(await back()).toEqual({
      directory,
      brought: ['a/b/result', 'tool'],
      conflicts: [],
      removed: [],
      left: [],
      failed: [],
    })
    expect(text('a/b/result')).toBe('made')
    expect(statSync(join(directory, 'a/b/result')).mtimeMs).toBe((OLD + 100) * 1000)
    expect(statSync(join(directory, 'tool')).mode & 0o111).toBe(0o111)
    expect(existsSync(join(directory, 'empty'))).toBe(true)
  })

  it('comes as a link where it is one', async () => {
    symlinkSync('elsewhere', join(copy, 'latest'))
    expect((await back()).brought).toEqual(['latest'])
    expect(readlinkSync(join(directory, 'latest'))).toBe('elsewhere')
    expect((await back()).brought).toEqual([])
  })

  it('stays when it is a link that leads elsewhere, or may', async () => {
    mkdirSync(join(copy, 'a/b'), { recursive: true })
    const inside = { 'a/b/up': '../../x', 'a/b/here': './y', here: '.' }
    const outside = {
      'a/b/out': '../../../x',
      'a/b/root': '/etc',
      out: '..',
      by: 'here/..',
      far: 'a/../../x',
    }
    for (const [path, to] of Object.entries({ ...inside, ...outside })) symlinkSync(to, join(copy, path))
    const { brought, left } = await back()
    expect(brought).toEqual(Object.keys(inside).sort())
    expect(left).toEqual(Object.keys(outside).sort())
  })

  it('comes only if it is wanted', async () => {
    put(copy, 'result', 'made')
    put(copy, 'scratch', 'made')
    expect((await back('g0', (path) => path === 'result')).brought).toEqual(['result'])
    expect(readdirSync(directory)).toEqual(['result'])
  })
})

describe('what ranks were given', () => {
  it('stays as it is when nobody changed it, or only its time', async () => {
    carried('kept', 'as it was')
    carried('touched', 'as it was')
    utimesSync(join(copy, 'touched'), OLD + 50, OLD + 50)
    expect((await back()).brought).toEqual([])
    expect(statSync(join(directory, 'touched')).mtimeMs).toBe(OLD * 1000)
  })

  it('comes back changed, with the permissions that it had', async () => {
    carried('input', 'old')
    chmodSync(join(directory, 'input'), 0o640)
    put(copy, 'input', 'new', OLD + 50)
    expect((await back()).brought).toEqual(['input'])
    expect([text('input'), statSync(join(directory, 'input')).mode & 0o777]).toEqual(['new', 0o640])
  })

  it('comes back changed though size and time are those of before, if that was a moment ago', async () => {
    carried('young', 'old')
    before.set('young', { size: 3, modified: OLD * 1000, digest: await digestOf(join(copy, 'young')) })
    expect((await back()).brought).toEqual([])
    put(copy, 'young', 'new', OLD)
    expect((await back()).brought).toEqual(['young'])
    expect([isYoung(5_000, 6_000), isYoung(5_000, 9_000)]).toEqual([true, false])
  })

  it('comes back to where a link leads', async () => {
    put(folder, 'shared/mesh', 'old', OLD)
    symlinkSync(join(folder, 'shared/mesh'), join(directory, 'mesh'))
    const { size, mtimeMs } = statSync(join(directory, 'mesh'))
    before.set('mesh', { size, modified: mtimeMs })
    put(copy, 'mesh', 'new', OLD + 50)
    await back()
    expect(lstatSync(join(directory, 'mesh')).isSymbolicLink()).toBe(true)
    expect(readFileSync(join(folder, 'shared/mesh'), 'utf8')).toBe('new')
  })

  it('comes back to one file, and beside it, when two links lead there and ranks changed both', async () => {
    put(folder, 'shared/mesh', 'old', OLD)
    const { size, mtimeMs } = statSync(join(folder, 'shared/mesh'))
    for (const name of ['a', 'b']) {
      symlinkSync(join(folder, 'shared/mesh'), join(directory, name))
      before.set(name, { size, modified: mtimeMs })
      put(copy, name, `new ${name}`, OLD + 50)
    }
    const { brought, conflicts } = await back()
    expect([brought.length, conflicts.length]).toEqual([1, 1])
    const kept = readdirSync(join(folder, 'shared')).map((name) =>
      readFileSync(join(folder, 'shared', name), 'utf8'),
    )
    expect(kept.sort()).toEqual(['new a', 'new b'])
  })

  it('is told of, and stays, when ranks removed it', async () => {
    carried('in', 'put')
    rmSync(join(copy, 'in'))
    expect((await back()).removed).toEqual(['in'])
    expect(text('in')).toBe('put')
  })
})

describe('what somebody else changed', () => {
  it('is never overwritten: both are kept', async () => {
    carried('log', 'old')
    put(directory, 'log', 'of the node')
    put(copy, 'log', 'of the guest', OLD + 50)
    put(directory, 'new', 'of the node')
    put(copy, 'new', 'of the guest')
    const { brought, conflicts } = await back()
    expect(brought).toEqual([])
    expect(conflicts).toEqual(['log', 'new'].map((path) => ({ path, kept: join(directory, `${path}.g0`) })))
    expect([text('log'), text('log.g0')]).toEqual(['of the node', 'of the guest'])
    expect([text('new'), text('new.g0')]).toEqual(['of the node', 'of the guest'])
  })

  it('stays as it is when ranks left theirs alone, however young that was', async () => {
    carried('young', 'old')
    const modified = before.get('young')?.modified as number
    before.set('young', { size: 3, modified, digest: await digestOf(join(copy, 'young')) })
    put(directory, 'young', 'of another guest')
    expect(await back()).toMatchObject({ brought: [], conflicts: [] })
    expect(text('young')).toBe('of another guest')
  })

  it('is none when both made the same', async () => {
    put(directory, 'log', 'alike')
    put(copy, 'log', 'alike')
    expect(await back()).toMatchObject({ brought: [], conflicts: [] })
  })

  it('may be another guest: the first’s is there, the second’s beside it, under a name that nothing has', async () => {
    carried('both', 'old')
    put(copy, 'both', 'of the first', OLD + 50)
    expect((await back('g0')).brought).toEqual(['both'])
    rmSync(copy, { recursive: true })
    put(copy, 'both', 'of the second', OLD + 51)
    put(directory, 'both.g1', 'of the user')
    expect((await back('g1')).conflicts).toEqual([{ path: 'both', kept: join(directory, 'both.g1.1') }])
    expect([text('both'), text('both.g1'), text('both.g1.1')]).toEqual([
      'of the first',
      'of the user',
      'of the second',
    ])
    expect(readdirSync(directory).filter((name) => name.endsWith('.part'))).toEqual([])
  })

  it('may be a link that leads elsewhere', async () => {
    symlinkSync('theirs', join(directory, 'latest'))
    put(directory, 'latest.g0', 'of the user')
    symlinkSync('ours', join(copy, 'latest'))
    expect((await back()).conflicts).toEqual([{ path: 'latest', kept: join(directory, 'latest.g0.1') }])
    expect(['latest', 'latest.g0.1'].map((name) => readlinkSync(join(directory, name)))).toEqual([
      'theirs',
      'ours',
    ])
    expect(text('latest.g0')).toBe('of the user')
  })

  it('may be a file in the place of a directory: what cannot come is named, all else comes', async () => {
    put(directory, 'processor0', 'no directory')
    put(copy, 'processor0/U', 'made')
    put(copy, 'result', 'made')
    const { brought, failed } = await back()
    expect(brought).toEqual(['result'])
    expect(failed).toEqual([
      expect.stringMatching(/^processor0\/U: (ENOTDIR|EEXIST)/),
      expect.stringMatching(/^processor0: EEXIST/),
    ])
    expect(text('processor0')).toBe('no directory')
  })

  it('may be a directory in the place of a file', async () => {
    mkdirSync(join(directory, 'out'))
    put(copy, 'out', 'a file')
    expect((await back()).conflicts).toEqual([{ path: 'out', kept: join(directory, 'out.g0') }])
  })
})

it('ends between two files when nobody waits for it any more', async () => {
  const ended = new AbortController()
  for (let i = 0; i < 40; i++) put(copy, `result ${i}`, 'made')
  put(directory, 'result 0', 'theirs')
  const wants = () => {
    ended.abort(new Error('ended again'))
    return true
  }
  await expect(back('g0', wants, ended.signal)).rejects.toThrow('ended again')
  expect(readdirSync(directory)).toEqual(['result 0'])
})
