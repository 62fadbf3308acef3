// Copies of the working directories on nodes that lack them: what they get, what comes back, and what is kept when that fails.
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
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Deadline, type Scope, silentLog } from '../../../common/index.ts'
import { serveMirrors } from '../../../launcher/job/mirrors.ts'
import { Journal } from '../../../launcher/journal/journal.ts'
import { Mirror } from '../../../launcher/node/mirror.ts'
import { decodeWords, encodeWords, parseParcel, spansOf } from '../../../launcher/node/parcel.ts'
import type { JobPlan } from '../../../launcher/plan/plan.ts'
import type { Exchange } from '../../../mpi-bridge/index.ts'
import { createExchangeNet } from '../../simulators/exchange-net.ts'
import { openScope } from '../../support/scope.ts'

const limits = () => ({ deadline: Deadline.after(60_000) })
const OLD = new Date('2020-01-02T03:04:05Z')

describe('a copy of the working directory', () => {
  let folder: string
  let work: string
  let scope: Scope
  let journal: Journal
  let mirrors: (staging?: Partial<JobPlan['staging']>) => Promise<unknown[]>
  let notes: string[]

  const write = (path: string, text: string) => writeFileSync(join(work, path), text)
  const read = (path: string) => readFileSync(join(work, path), 'utf8')

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-mirror-'))
    work = join(folder, 'case')
    vi.stubEnv('TMPDIR', join(folder, 'tmp'))
    for (const path of ['tmp', 'case/0', 'case/empty']) mkdirSync(join(folder, path), { recursive: true })
    write('0/U', 'velocity')
    write('big', 'b'.repeat(3 << 20))
    write('none', '')
    write('run', '#!/bin/sh\n')
    chmodSync(join(work, 'run'), 0o755)
    for (const path of ['0/U', 'big', 'run']) utimesSync(join(work, path), OLD, OLD)
    scope = openScope()
    journal = await Journal.open({ jobId: 'mirror', root: join(folder, 'root') })
    notes = []
    const log = { ...silentLog, note: (line: string) => void notes.push(line) }
    mirrors = async (staging = {}) => {
      const exchanges = createExchangeNet(3, () => {})
      const nodes = ['here', 'n1', 'n2'].map((name) => ({ name, slots: 1, cpus: 1, memory: 1 }))
      const plan = {
        ...{ nodes, staging: { when: 'auto' as const, add: [], ...staging } },
        mirrored: { directories: [work], except: 0 },
      }
      const [home, ...others] = exchanges
      serveMirrors({ plan, exchange: home as Exchange, journal, log, scope })
      const fetched = others.map((exchange, index) =>
        Mirror.fetch({ exchange, journal, scope, node: `n${index + 1}` }, limits()),
      )
      const own = await Promise.all(fetched)
      for (const mirror of own) await mirror.inUse()
      return [...own, home]
    }
  })
  afterEach(async () => {
    await scope.end()
    await journal.close()
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true })
  })

  /** The copies of two nodes, and the controller's exchange. */
  const two = async (staging?: Partial<JobPlan['staging']>) =>
    (await mirrors(staging)) as [Mirror, Mirror, Exchange]

  it('has all files with their bytes, permissions and times, and empty directories', async () => {
    const [mirror] = await two()
    const copy = mirror.at(work)
    expect(readdirSync(copy, { recursive: true }).sort()).toEqual(['0', '0/U', 'big', 'empty', 'none', 'run'])
    expect(readFileSync(join(copy, 'big'), 'utf8')).toBe(read('big'))
    expect(statSync(join(copy, 'run')).mode & 0o777).toBe(0o755)
    expect(statSync(join(copy, '0/U')).mtime).toEqual(OLD)
  })

  it('brings back what ranks of all nodes made and changed, and nothing else', async () => {
    const [one, other] = await two()
    mkdirSync(join(one.at(work), '1'))
    writeFileSync(join(one.at(work), '1/U'), 'new')
    symlinkSync('1/U', join(one.at(work), 'latest'))
    // Of the same size, and with its time set back.
    writeFileSync(join(other.at(work), '0/U'), 'VELOCITY')
    utimesSync(join(other.at(work), '0/U'), OLD, OLD)
    const before = statSync(join(work, 'big')).ino
    for (const mirror of [one, other]) await mirror.bringBack(limits())
    expect([read('1/U'), read('0/U'), readlinkSync(join(work, 'latest'))]).toEqual(['new', 'VELOCITY', '1/U'])
    expect(statSync(join(work, 'big')).ino).toBe(before)
    await scope.end()
    expect(readdirSync(join(folder, 'tmp'))).toEqual([])
  })

  it('keeps both when two nodes changed the same, and says so', async () => {
    const [one, other] = await two()
    writeFileSync(join(one.at(work), '0/U'), 'of one')
    writeFileSync(join(other.at(work), '0/U'), 'of the other')
    await one.bringBack(limits())
    await expect(other.bringBack(limits())).rejects.toMatchObject({ code: 'LEET_E_RESULTS' })
    expect([read('0/U'), read('0/U.n2')]).toEqual(['of one', 'of the other'])
    await scope.end()
    expect(readdirSync(join(folder, 'tmp'))).toEqual([])
  })

  it('does not overwrite what the user changed meanwhile', async () => {
    const [mirror] = await two()
    write('0/U', 'by hand')
    writeFileSync(join(mirror.at(work), '0/U'), 'by a rank')
    await expect(mirror.bringBack(limits())).rejects.toMatchObject({ code: 'LEET_E_RESULTS' })
    expect([read('0/U'), read('0/U.n1')]).toEqual(['by hand', 'by a rank'])
  })

  it('lists what ranks removed, and keeps it', async () => {
    const [mirror] = await two()
    rmSync(join(mirror.at(work), 'run'))
    await mirror.bringBack(limits())
    expect(existsSync(join(work, 'run'))).toBe(true)
    expect(notes.join()).toMatch(/n1: removed by its ranks, kept in .*run/)
  })

  it('carries and brings back what the options say', async () => {
    const [mirror] = await two({ only: ['0'], out: ['1'] })
    expect(readdirSync(mirror.at(work))).toEqual(['0'])
    mkdirSync(join(mirror.at(work), '1'))
    for (const path of ['1/U', 'log']) writeFileSync(join(mirror.at(work), path), path)
    await mirror.bringBack(limits())
    expect([existsSync(join(work, '1/U')), existsSync(join(work, 'log'))]).toEqual([true, false])
  })

  it('writes nothing through a link that a rank made', async () => {
    const [mirror] = await two()
    mkdirSync(join(folder, 'outside'))
    symlinkSync('../outside', join(mirror.at(work), 'way'))
    await mirror.bringBack(limits())
    expect(notes.join()).toContain('way')
    expect(existsSync(join(work, 'way'))).toBe(false)
  })

  it('is kept, with what ranks wrote, when the controller cannot have it', async () => {
    const [mirror] = await two()
    writeFileSync(join(mirror.at(work), 'result'), 'precious')
    rmSync(work, { recursive: true })
    writeFileSync(work, 'no directory any more')
    await expect(mirror.bringBack(limits())).rejects.toMatchObject({ code: 'LEET_E_STAGING' })
    await scope.end()
    const kept = readdirSync(join(folder, 'tmp')).map((name) => join(folder, 'tmp', name))
    const found = kept.flatMap((path) =>
      readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('result')),
    )
    expect(found).toHaveLength(1)
  })

  it('is named with where its results are when nobody waits for them', async () => {
    const [mirror, , exchange] = await two()
    writeFileSync(join(mirror.at(work), 'result'), 'precious')
    const impatient = new AbortController()
    exchange.answer('mirror.merge', () => {
      impatient.abort(new Error('ended again'))
      return new Promise(() => {})
    })
    await expect(mirror.bringBack({ ...limits(), signal: impatient.signal })).rejects.toMatchObject({
      code: 'LEET_E_STAGING',
      details: { where: 'n1', hint: expect.stringMatching(/in \/.*results/) },
    })
    await scope.end()
    const kept = readdirSync(join(folder, 'tmp')).find((name) => name.endsWith('.results')) ?? ''
    expect(readFileSync(join(folder, 'tmp', kept, work, 'result'), 'utf8')).toBe('precious')
  })

  it('is not made of a file that becomes shorter on the way', async () => {
    const size = lstatSync(join(work, 'big')).size
    const exchange = createExchangeNet(1, () => {})[0] as ReturnType<typeof createExchangeNet>[0]
    const list = {
      directory: work,
      folders: [],
      links: [],
      files: [{ path: 'big', size, mode: 0o644, modified: 0 }],
    }
    exchange.answer('mirror.directories', async () => encodeWords([list]))
    exchange.answer('mirror.piece', async () => new Uint8Array(7))
    await expect(Mirror.fetch({ exchange, journal, scope, node: 'n1' }, limits())).rejects.toThrow(
      '7 bytes came instead of 1048576',
    )
  })
})

describe('a list of what is sent', () => {
  const parse = (more: object) =>
    parseParcel(decodeWords(encodeWords([{ directory: '/w', folders: [], files: [], links: [], ...more }])))

  it.each([
    { folders: ['..'] },
    { folders: ['/etc'] },
    { folders: ['a/../b'] },
    { folders: [''] },
    { folders: ['a\0b'] },
    { directory: 'w' },
    { files: [{ path: 'a', size: -1, mode: 0, modified: 0 }] },
    { files: [{ path: '../a', size: 1, mode: 0, modified: 0 }] },
    { links: [{ path: 'a', to: '' }] },
    { files: 'many' },
  ])('is refused when it says %j', (more) => {
    expect(() => parse(more)).toThrow(expect.objectContaining({ code: 'LEET_E_STAGING' }))
  })

  it('is taken when all stays in its directory', () => {
    expect(parse({ folders: ['a/..b', '...'] })[0]?.folders).toEqual(['a/..b', '...'])
  })
})

describe('pieces of a stream of files', () => {
  it.each([
    [[3, 0, 4], 0, 7, ['0:0+3', '2:0+4']],
    [[3, 0, 4], 2, 3, ['0:2+1', '2:0+2']],
    [[3, 4], 3, 4, ['1:0+4']],
    [[10], 4, 2, ['0:4+2']],
    [[1, 1, 1], 1, 1, ['1:0+1']],
    [[2], 2, 5, []],
  ])('of sizes %j, from %i on %i bytes', (sizes, offset, length, expected) => {
    expect(spansOf(sizes, offset, length).map((one) => `${one.file}:${one.from}+${one.length}`)).toEqual(
      expected,
    )
  })
})
