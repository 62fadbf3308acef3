// The pure parts of sessions: which one is meant, with what it ends, what a job takes from it, and the words of leet-rsh.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { identify } from '../../../common/index.ts'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { readSettings } from '../../../launcher/cli/settings.ts'
import type { InspectedProgram } from '../../../launcher/plan/plan.ts'
import { type JobPlan, planJob } from '../../../launcher/plan/plan.ts'
import { ESCAPE_KEY, untilEscape } from '../../../launcher/session/console.ts'
import {
  listSessions,
  named,
  type Session,
  sessionOfJob,
  theSession,
} from '../../../launcher/session/find.ts'
import { sessionFacts } from '../../../launcher/session/join.ts'
import { guestOf, readRecord, type SessionRecord, writeRecord } from '../../../launcher/session/record.ts'
import { parseRsh, rshCommand, sessionWith } from '../../../launcher/session/rsh.ts'
import { shellAmong } from '../../../launcher/session/shell.ts'
import { parseCommandWords } from '../../../mpi-bridge/index.ts'

const GIB = 2 ** 30
const node = { name: 'n0', slots: 4, cpus: 4, memory: 8 * GIB }
const user = { name: 'u', uid: 7, group: 'g', gid: 2, groups: [2], home: '/h', shell: '/bin/sh' }

function planOf(
  line: string,
  session?: { record: SessionRecord; programs: readonly InspectedProgram[] },
): JobPlan {
  const settings = readSettings(parseCommandWords(OPTIONS, line.split(' ')), {})
  return planJob(settings, {
    jobId: session ? 'job' : 'abc123',
    scheduler: 'local',
    nodes: [node],
    programs: settings.programs.map(({ argv, exports }) => ({
      argv,
      exports,
      inherits: true,
      workDir: '/w',
      mpi: 'none',
    })),
    user,
    planMounts: () => [{ kind: 'share', path: '/w' }],
    ...(session ? { session: sessionFacts(session.record, session.programs) } : {}),
  })
}

function recordOf(more: Partial<SessionRecord> = {}): SessionRecord {
  const plan = planOf('-n 4 --guests 2 a')
  return {
    version: '1',
    began: 5,
    shell: { pid: 11, startTime: 12 },
    plan,
    guests: plan.guests.map((_, index) => ({
      port: 1000 + index,
      serviceAddress: '10.0.2.2',
      address: `10.77.0.${index}`,
    })),
    access: { kind: 'linux', clientKey: { privateKey: 'k', publicKey: 'p' }, hostKey: { publicKey: 'h' } },
    ...more,
  }
}

const sessionOf = (more: Partial<SessionRecord> = {}): Session => ({
  directory: '/d',
  holder: { pid: 1, startTime: 1 },
  record: recordOf(more),
})

describe('which session is meant', () => {
  const shell = { pid: 11, startTime: 12 }
  const other = { pid: 21, startTime: 22 }
  it('is that of the batch job', () => {
    const own = sessionOf({ batchJob: '17' })
    const all = [sessionOf({ batchJob: '18' }), own, sessionOf()]
    expect(sessionOfJob(all, { batchJob: '17', ancestors: [shell] })).toBe(own)
    expect(sessionOfJob(all, { batchJob: '19', ancestors: [shell] })).toBeUndefined()
  })
  it('is that of the shell where there is no batch job', () => {
    const own = sessionOf()
    expect(
      sessionOfJob([sessionOf({ shell: other }), own], { batchJob: undefined, ancestors: [shell] }),
    ).toBe(own)
    // The number of a process is used again.
    const again = [{ ...shell, startTime: 13 }]
    expect(sessionOfJob([own], { batchJob: undefined, ancestors: again })).toBeUndefined()
    expect(
      sessionOfJob([sessionOf({ batchJob: '1' })], { batchJob: undefined, ancestors: [shell] }),
    ).toBeUndefined()
  })
  it('is the only one for commands that look at it, and the one that is named', () => {
    const only = sessionOf({ shell: other })
    const asker = { batchJob: undefined, ancestors: [shell] }
    expect(theSession([only], undefined, asker)).toBe(only)
    expect(theSession([only], 'abc', asker)).toBe(only)
    expect(() => theSession([only, only], undefined, asker)).toThrow(/no session is of this job/)
    expect(() => theSession([], undefined, asker)).toThrow(/no session is up/)
    expect(() => named([only], 'x')).toThrow(/begins with "x"/)
    expect(() => named([only, only], 'a')).toThrow(/several/)
  })
  it('ends with the nearest shell above it', () => {
    const names: Record<number, string> = { 5: 'time', 6: 'bash', 7: 'sshd' }
    const line = [5, 6, 7].map((pid) => ({ pid, startTime: 0 }))
    expect(shellAmong(line, (pid) => names[pid] ?? '').pid).toBe(6)
    expect(shellAmong(line, () => 'make').pid).toBe(5)
    expect(() => shellAmong([])).toThrow(/shell/)
  })
})

describe('the file of a session', () => {
  let root: string
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'leet-session-'))
  })
  afterEach(() => rmSync(root, { recursive: true }))

  it('is found while its keeper runs', () => {
    const { pid, startTime } = identify(process.pid) as { pid: number; startTime: number }
    const live = mkdtempSync(join(root, `${pid}.${startTime}.`))
    const dead = mkdtempSync(join(root, `${pid}.${startTime + 1}.`))
    expect(listSessions([root])).toEqual([])
    const record = recordOf()
    writeRecord(live, record)
    writeRecord(dead, record)
    writeFileSync(join(root, 'lease'), '')
    expect(listSessions([root])).toEqual([{ directory: live, holder: { pid, startTime }, record }])
    expect(readRecord(live)).toEqual(record)
  })

  it('knows its guests by name, by short name and by number', () => {
    const record = recordOf()
    const name = record.plan.guests[1]?.name as string
    expect([name, 'g1', '1'].map((word) => guestOf(record, word))).toEqual([1, 1, 1])
    expect(() => guestOf(record, 'g2')).toThrow(/no guest "g2"/)
  })
})

describe('a job in a session', () => {
  const program = (workDir: string, files: readonly string[]): InspectedProgram => ({
    facts: { path: '/w/a', kind: 'dynamic', mpi: { flavour: 'none' }, missing: [], files, interpreters: [] },
    plan: { argv: ['/w/a'], workDir, exports: [], inherits: true, mpi: 'none' },
  })
  const inSession = (line: string, record = recordOf()) =>
    planOf(line, { record, programs: [program('/w', ['/w/a', '/usr/bin/env'])] })

  it('fills the guests that are there, under its own name', () => {
    const plan = inSession('-n 3 a')
    expect(plan).toMatchObject({ jobId: 'job', session: { id: 'abc123' }, network: { mode: 'local' } })
    expect(plan.guests.map(({ name, ranks }) => [name, ranks])).toEqual([
      ['leet-abc123-g0', [0, 1]],
      ['leet-abc123-g1', [2]],
    ])
    expect(inSession('a').size).toBe(4)
    expect(inSession('-n 1 a').guests).toHaveLength(1)
    expect(inSession('-n 2 --guests 2 a').guests.map(({ ranks }) => ranks)).toEqual([[0], [1]])
    expect(() => inSession('-n 4 --guests 3 a')).toThrow(/2 guests, not 3/)
  })
  it('leaves out guests that are gone', () => {
    const { guests, ...rest } = recordOf()
    const [first, second] = guests as [SessionRecord['guests'][number], SessionRecord['guests'][number]]
    const plan = inSession('-n 3 a', { ...rest, guests: [{ ...first, lost: 'it panicked' }, second] })
    expect(plan.guests.map(({ name, index, ranks }) => [name, index, ranks])).toEqual([
      ['leet-abc123-g1', 0, [0, 1, 2]],
    ])
    const none = guests.map((guest) => ({ ...guest, lost: 'gone' }))
    expect(() => inSession('-n 1 a', { ...rest, guests: none })).toThrow(/no guest of the session/)
  })
  it('asks for what its programs need and no mount has', () => {
    expect(inSession('a').session?.needs.map(({ path }) => path)).toEqual(['/usr/bin/env'])
  })
  it('is refused in a directory that the guests do not have', () => {
    expect(() => sessionFacts(recordOf(), [program('/elsewhere', [])])).toThrow(/\/elsewhere is not in/)
  })
})

describe('leet-rsh', () => {
  it.each([
    [['g', 'true'], 'g', 'true'],
    [['-x', 'g', '"/usr/bin/hydra_pmi_proxy"', '--x', '1'], 'g', '"/usr/bin/hydra_pmi_proxy" --x 1'],
    [['-n', '-l', 'me', '-oBatchMode=yes', 'me@g', ' orted', '-mca', 'a', 'b'], 'g', ' orted -mca a b'],
  ])('takes %j as ssh does', (argv, host, command) => {
    expect(parseRsh(argv)).toEqual({ host, command })
  })
  it.each([[[]], [['g']], [['--strange', 'g', 'true']]])('refuses %j', (argv) => {
    expect(() => parseRsh(argv)).toThrow()
  })
  it('runs the command as the user, with what MPI needs there', () => {
    const { plan } = recordOf()
    expect(rshCommand({ plan }, { A: 'b c' }, 'echo "$A"')).toBe(
      `exec su -s /bin/sh u -c 'export A='\\''b c'\\''; echo "$A"'`,
    )
    const root = { plan: { ...plan, user: { ...user, uid: 0 } } }
    expect(rshCommand(root, {}, 'orted')).toBe('orted')
  })
  it('knows the session by the name of its guest', () => {
    const session = sessionOf()
    expect(sessionWith([session], 'leet-abc123-g1')).toBe(session)
    expect(() => sessionWith([session], 'other')).toThrow(/no session/)
  })
})

describe('the console', () => {
  it('ends at the escape key, whatever was typed', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (before, after) => {
        const typed = before.filter((byte) => byte !== ESCAPE_KEY)
        expect(untilEscape(typed)).toEqual({ before: typed, escaped: false })
        const whole = Uint8Array.from([...typed, ESCAPE_KEY, ...after])
        expect(untilEscape(whole)).toEqual({ before: typed, escaped: true })
      }),
    )
  })
})
