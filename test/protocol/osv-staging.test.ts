// A directory carried into a simulated OSv guest and back: what comes back, and in how many requests, each of which costs an
// emulated guest a handshake.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Deadline } from '../../common/index.ts'
import { OsvRest } from '../../mpi-bridge/osv/rest.ts'
import { STAGE_ALL } from '../../mpi-bridge/osv/stage-filter.ts'
import { planStageIn, removeStaged, seedStage, stageIn, stageOut } from '../../mpi-bridge/osv/staging.ts'
import { OsvGuest } from '../simulators/osv/guest.ts'

const limits = () => ({ deadline: Deadline.after(20_000) })

describe('a directory carried into an OSv guest', () => {
  let folder: string
  /** What came back. */
  let copy: string
  let guest: OsvGuest
  let rest: OsvRest
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-osv-staging-'))
    copy = mkdtempSync(join(tmpdir(), 'leet-osv-results-'))
    guest = await OsvGuest.boot()
    rest = new OsvRest({ guest: 'g0', host: '127.0.0.1', port: guest.port })
  })
  afterEach(async () => {
    await guest.remove()
    for (const directory of [folder, copy]) rmSync(directory, { recursive: true })
  })
  const write = (path: string, content: string) => {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), content)
  }
  const carryIn = async () => stageIn(rest, await plan(), '/tmp/in', limits())
  const plan = () => planStageIn(folder, STAGE_ALL, limits())

  it('comes back with what is new or changed in it, whatever its names', async () => {
    const names = ['plain', 'a b/ä ö', 'a b/c/日本語', 'a-b/x', 'q&#%25+/🎉?*']
    for (const name of names) write(name, `${name}\n`)
    mkdirSync(join(folder, 'empty/inner'), { recursive: true })
    const staged = await carryIn()
    for (const name of names) {
      expect((await rest.readFile(`/tmp/in/${name}`, limits())).toString()).toBe(`${name}\n`)
    }
    await rest.makeDirectories(['/tmp/in/new/directory', '/tmp/in/new/other'], limits())
    await rest.writeFile('/tmp/in/a b/c/日本語', 'longer than before\n', true, limits())
    await rest.writeFile('/tmp/in/new/directory/ü', 'new\n', true, limits())
    const { changed, same, failed } = await stageOut(rest, staged, copy, STAGE_ALL, limits())
    expect(changed).toEqual(expect.arrayContaining(['a b/c/日本語', 'new/directory/ü']))
    expect([...changed, ...same].sort()).toEqual([...names, 'new/directory/ü'].sort())
    expect(failed).toEqual([])
    expect(readFileSync(join(copy, 'a b/c/日本語'), 'utf8')).toBe('longer than before\n')
    expect(readFileSync(join(copy, 'new/directory/ü'), 'utf8')).toBe('new\n')
    expect(existsSync(join(copy, 'new/other'))).toBe(true)
    await removeStaged(rest, '/tmp/in', limits())
    expect(await rest.listDirectory('/tmp', limits())).toEqual([])
    await removeStaged(rest, '/tmp/in', limits())
  })

  it('takes a request for each file, and few for its directories', async () => {
    for (let i = 0; i < 50; i++) write(`case/d${i}/inner/file`, `${i}`)
    const staged = await carryIn()
    expect(guest.requests).toBeLessThanOrEqual(50 + 7)
    const before = guest.requests
    await stageOut(rest, { ...staged, at: Number.POSITIVE_INFINITY }, copy, STAGE_ALL, limits())
    expect(guest.requests - before).toBeLessThanOrEqual(5)
    await removeStaged(rest, '/tmp/in', limits())
    expect(guest.requests - before).toBeLessThanOrEqual(15)
  })

  it('has short texts and directories told by the seed, and what is left carried', async () => {
    for (const name of ['a/text ä', 'a/b/long', 'binary', 'new\nline']) write(name, `${name}\n`)
    write('a/b/long', 'x'.repeat(10_000))
    writeFileSync(join(folder, 'binary'), Uint8Array.of(0xff, 0))
    mkdirSync(join(folder, 'empty'))
    const stage = await plan()
    const seeded = await seedStage(stage)
    expect(seeded).toEqual({ directories: ['a/b', 'empty'], files: new Map([['a/text ä', 'a/text ä\n']]) })
    // As the guest's cloud-init does.
    await rest.makeDirectories(['/tmp/in/a/b', '/tmp/in/empty'], limits())
    await rest.writeFile('/tmp/in/a/text ä', 'a/text ä\n', true, limits())
    const before = guest.requests
    const staged = await stageIn(rest, stage, '/tmp/in', limits(), seeded)
    expect(guest.requests - before).toBeLessThanOrEqual(3 + 4)
    expect([...staged.files.keys()].sort()).toEqual(['a/b/long', 'a/text ä', 'binary', 'new\nline'])
    expect(await rest.readFile('/tmp/in/binary', limits())).toEqual(Buffer.of(0xff, 0))
    await rest.writeFile('/tmp/in/a/text ä', 'changed\n', true, limits())
    const { changed } = await stageOut(rest, staged, copy, STAGE_ALL, limits())
    expect(changed).toContain('a/text ä')
    expect(readFileSync(join(copy, 'a/text ä'), 'utf8')).toBe('changed\n')
  })

  it('costs nothing when it is empty', async () => {
    const stage = await plan()
    const before = guest.requests
    const staged = await stageIn(rest, stage, '/tmp/in', limits(), await seedStage(stage))
    expect([staged.files.size, guest.requests - before]).toEqual([0, 0])
  })

  it('leaves directories that OSv could not list', async () => {
    write('what?/file', '')
    write('fine/what?', '')
    const { entries, left } = await plan()
    expect([entries.map(({ path }) => path), left]).toEqual([['fine', 'fine/what?'], ['what?']])
  })

  it('tells which path was refused', async () => {
    await expect(rest.listDirectories(['/tmp', '/tmp/nope'], limits())).rejects.toMatchObject({
      status: 404,
      message: "g0: OSv refused GET /file/tmp/nope (404): Not found: '/tmp/nope'",
    })
  })
})
