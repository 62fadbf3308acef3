// Options that mean nothing together with others: each rule of the table, and what is passed over instead.
import { describe, expect, it } from 'vitest'
import { leftOut } from '../../../launcher/bench/commands.ts'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { readSettings } from '../../../launcher/cli/settings.ts'
import { GUESTS } from '../../../launcher/options/guests.ts'
import { IMAGE } from '../../../launcher/options/image.ts'
import {
  type Circumstances,
  circumstancesOf,
  meaningless,
  notesOnMeaningless,
  RULES,
  ruleOfKind,
} from '../../../launcher/options/without-meaning.ts'
import { planJob } from '../../../launcher/plan/plan.ts'
import { parseCommandWords } from '../../../mpi-bridge/index.ts'

/** A job for which every option has a meaning but those of other kinds of guests. */
const job = (guest: Circumstances['guest'], more: Partial<Circumstances> = {}): Circumstances => ({
  guest,
  count: undefined,
  hypervisor: 'libvirt',
  givenImage: false,
  session: false,
  mirrored: true,
  joined: true,
  carried: true,
  stage: 'auto',
  nodes: 2,
  directory: '/w',
  ...more,
})
const flagsOf = (line: string) => parseCommandWords(OPTIONS, [...line.split(' '), 'a']).options
const outcomeOf = (line: string, circumstances: Circumstances) => {
  const rules = meaningless(flagsOf(line), circumstances)
  return rules.find(({ outcome }) => outcome === 'refuse')?.outcome ?? rules[0]?.outcome
}

/** A command line and a job for which a rule holds, and one for which it does not. */
type Case = readonly [line: string, outcome: 'refuse' | 'note', holds: Circumstances, not: Circumstances]

const linux = job('linux')
const osv = job('osv')
const host = job('host')
const sharing = job('linux', { mirrored: false })
const nothing = job('osv', { carried: false, stage: 'never' })
const inSession = { session: true }
const given = { givenImage: true }
const CASES: readonly Case[] = [
  ['--guest-memory 1G', 'note', host, linux],
  ['--guest-cpus 2', 'note', host, osv],
  ['--guest-pin yes', 'note', host, linux],
  ['--hypervisor libvirt', 'note', host, linux],
  ['--libvirt-uri qemu:///system', 'note', host, linux],
  ['--boot-timeout 1m', 'note', host, linux],
  ['--boot-patience 1m', 'note', host, osv],
  ['--boot-retries 1', 'note', host, osv],
  ['--network mesh', 'note', host, linux],
  ['--network-subnet 10.9.0.0/16', 'note', host, linux],
  ['--share-by 9p', 'note', host, linux],
  ['--kernel k', 'note', host, linux],
  ['--modules m', 'note', host, linux],
  ['--osv-base b', 'note', host, osv],
  ['--no-osv-compat', 'note', host, osv],
  ['--stage always', 'note', host, osv],
  ['--insecure-guest-api', 'note', host, osv],
  ['--stage-in f', 'note', host, osv],
  ['--stage-only f', 'note', host, osv],
  ['--stage-out f', 'note', host, osv],
  ['--guests 3', 'refuse', job('host', { count: 3 }), job('host', { count: 2 })],
  ['--mount s:/a:/a', 'refuse', host, linux],
  ['--image i', 'refuse', host, linux],
  ['--file f:/etc/f', 'refuse', host, linux],
  ['--file f:/w/g', 'refuse', host, osv],
  ['--reuse-guests', 'refuse', host, osv],
  ['--session s', 'refuse', host, job('linux', inSession)],
  ['-ppn 2', 'note', job('host', { nodes: 1 }), host],
  ['--pernode', 'note', job('host', { nodes: 1 }), job('linux', { nodes: 1 })],
  ['--osv-base b', 'refuse', linux, osv],
  ['--no-osv-compat', 'note', linux, osv],
  ['--stage auto', 'note', sharing, linux],
  ['--insecure-guest-api', 'note', linux, osv],
  ['--insecure-guest-api', 'note', job('osv', inSession), job('osv', given)],
  ['--stage-in f', 'refuse', sharing, linux],
  ['--stage-only f', 'refuse', sharing, linux],
  ['--stage-out f', 'refuse', sharing, linux],
  ['--kernel k', 'refuse', osv, linux],
  ['--modules m', 'refuse', osv, linux],
  ['--stage-in f', 'note', job('osv', { carried: false }), osv],
  ['--stage-only f', 'note', job('osv', { carried: false }), osv],
  ['--stage-in f', 'refuse', nothing, osv],
  ['--stage-only f', 'refuse', nothing, osv],
  ['--stage-out f', 'refuse', nothing, osv],
  ['--stage-out f', 'note', job('osv', { carried: false }), osv],
  ['--file f', 'refuse', job('linux', given), linux],
  ['--file f', 'refuse', job('osv', given), osv],
  ['--kernel k', 'refuse', job('linux', given), linux],
  ['--modules m', 'refuse', job('linux', given), linux],
  ['--osv-base b', 'refuse', job('osv', given), osv],
  ['--preload-files in,/etc/out', 'refuse', job('linux', given), linux],
  ['--no-osv-compat', 'note', job('osv', given), osv],
  ['--libvirt-uri qemu:///system', 'refuse', job('osv', { hypervisor: 'qemu' }), osv],
  ['--network-subnet 10.9.0.0/16', 'note', job('linux', { joined: false }), linux],
  ['--boot-timeout 1m', 'note', job('linux', inSession), linux],
  ['--boot-patience 1m', 'note', job('linux', inSession), linux],
  ['--boot-retries 1', 'note', job('osv', inSession), osv],
  ['--session s', 'refuse', linux, job('linux', inSession)],
  ['--nolocal', 'refuse', job('linux', inSession), linux],
  ['--map-by node:nolocal', 'refuse', job('linux', inSession), linux],
]

describe('an option', () => {
  it.each(CASES)('%s: %s where it means nothing', (line, outcome, holds, not) => {
    expect(outcomeOf(line, holds)).toBe(outcome)
    expect(outcomeOf(line, not)).toBeUndefined()
  })

  it.each([
    ['--file f', host],
    ['--file /opt/f:/opt/f', host],
    ['--preload-files /etc/f', host],
    ['--preload-files here', job('linux', given)],
    ['--profile mpi4py', host],
    ['--session none', host],
    ['--session none', linux],
    ['--no-finalize-rescue', host],
    ['--map-by node', job('linux', inSession)],
  ])('%s is heeded all the same, or asks for what is so anyway', (line, circumstances) => {
    expect(outcomeOf(line, circumstances)).toBeUndefined()
  })

  it('has a case here for each of its rules', () => {
    const held = new Set(CASES.flatMap(([line, , holds]) => meaningless(flagsOf(line), holds)))
    expect(RULES.filter((rule) => !held.has(rule))).toEqual([])
  })

  it('is refused as a usage error with what to do instead', () => {
    for (const rule of RULES) expect(rule.instead !== undefined).toBe(rule.outcome === 'refuse')
    expect(() => notesOnMeaningless(flagsOf('--guest-memory 1G --mount s:/a:/a'), host)).toThrow(
      expect.objectContaining({
        code: 'LEET_E_USAGE',
        exitCode: 2,
        details: expect.objectContaining({ where: '--mount', hint: expect.any(String) }),
      }),
    )
  })

  it('is noted in one line with others for the same reason', () => {
    expect(notesOnMeaningless(flagsOf('--guest-memory 1G --guest-cpus 2'), host)).toEqual([
      '--guest-memory, --guest-cpus have no effect: there are no guests on the bare host',
    ])
    expect(notesOnMeaningless(flagsOf('--guest-memory 1G'), linux)).toEqual([])
  })
})

it('what variables and files say is passed over', () => {
  const environment = { LEET_GUEST_MEMORY: '1G', LEET_MOUNTS: 's:/a:/a', LEET_IMAGE: 'i', LEET_GUESTS: '3' }
  const words = parseCommandWords(OPTIONS, ['--guest', 'host', '-n', '1', 'a'])
  const settings = readSettings(words, environment)
  const plan = planJob(settings, {
    jobId: 'abc',
    scheduler: 'none',
    nodes: [{ name: 'n0', slots: 1, cpus: 1, memory: 2 ** 30 }],
    programs: settings.programs.map((program) => ({ ...program, workDir: '/w', mpi: 'none' })),
    user: { name: 'u', uid: 1, group: 'g', gid: 2, groups: [2], home: '/h', shell: '/bin/sh' },
    planMounts: () => [],
  })
  const circumstances = circumstancesOf(settings, plan, { nodes: 1, directory: '/w' })
  expect(circumstances).toMatchObject({ guest: 'host', count: 3, givenImage: true, joined: false })
  expect(notesOnMeaningless(words.options, circumstances)).toEqual([])
})

describe('leet bench', () => {
  it('leaves out what means nothing with a kind, and keeps what does', () => {
    expect(ruleOfKind(GUESTS.memory, 'host')).toBeDefined()
    expect(ruleOfKind(GUESTS.memory, 'linux')).toBeUndefined()
    expect(ruleOfKind(IMAGE.kernel, 'osv')).toBeDefined()
    expect(ruleOfKind(IMAGE.stageIn, 'osv')).toBeUndefined()
    expect(ruleOfKind(IMAGE.files, 'linux')).toBeUndefined()
    expect(ruleOfKind(IMAGE.osvCompat, 'osv')).toBeUndefined()
  })
  it('says what ranks of a kind will look for in vain', () => {
    const parts = { table: OPTIONS, options: flagsOf('--mount s:/a:/a --guest-memory 1G') }
    const names = (kind: 'host' | 'linux' | 'mpirun') => leftOut(parts, kind).map(({ option }) => option.key)
    expect([names('host'), names('linux'), names('mpirun')]).toEqual([['mounts'], [], []])
  })
})
