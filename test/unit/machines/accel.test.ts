// What a trial of an accelerator is taken to mean, and for how long what it found is believed.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  FAILURE_KEPT_MS,
  type Finding,
  type FindingPlace,
  recallFinding,
  rememberFinding,
} from '../../../launcher/machines/accel-findings.ts'
import { type Look, type Sight, STILL_LOOKS, verdictOf } from '../../../launcher/machines/accel-trial.ts'
import { PROBE_STATUS } from '../../../launcher/machines/probe-guest.ts'

const LIMIT = 500
const verdict = (sight: Partial<Sight>) =>
  verdictOf({ looks: [], end: undefined, complaint: '', late: false, ...sight }, LIMIT)
const looks = (count: number, look: (index: number) => Look): Look[] =>
  Array.from({ length: count }, (_, index) => look(index))
const still = (count: number): Look[] => looks(count, () => ({ cpuMs: 60, active: false }))

describe('a trial', () => {
  it('is told by its end alone, whatever was seen before', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ cpuMs: fc.nat(2 * LIMIT), active: fc.boolean() })),
        fc.boolean(),
        (seen, late) => {
          const of = (end: Sight['end']) => verdict({ looks: seen, late, end })
          expect(of({ kind: 'exit', status: PROBE_STATUS })).toBe('works')
          expect(of({ kind: 'exit', status: 0 })).toBe('fails')
          expect(of({ kind: 'signal', signal: 'SIGABRT' })).toBe('fails')
        },
      ),
    )
  })

  it('fails when the guest has used more CPU time than it can need, and not before', () => {
    const at = (cpuMs: number) => verdict({ looks: [{ cpuMs, active: true }] })
    expect([at(LIMIT), at(LIMIT + 10)]).toEqual([undefined, 'fails'])
  })

  it('goes on for a guest that waits for a processor, however long', () => {
    expect(verdict({ looks: looks(10_000, () => ({ cpuMs: 60, active: true })) })).toBeUndefined()
  })

  it('goes on for a guest that works between the looks', () => {
    const now = (index: number) => Math.floor(index / (STILL_LOOKS - 1))
    const slow = looks(40 * STILL_LOOKS, (index) => ({ cpuMs: 10 * now(index), active: false }))
    expect(verdict({ looks: slow })).toBeUndefined()
  })

  it('is not clear when the guest does nothing for a row of looks, or has had its time', () => {
    expect(verdict({ looks: still(STILL_LOOKS) })).toBeUndefined()
    expect(verdict({ looks: still(STILL_LOOKS + 1) })).toBe('unclear')
    expect(verdict({ looks: [...still(100), { cpuMs: 60, active: true }] })).toBeUndefined()
    expect(verdict({ looks: [{ cpuMs: 60, active: true }], late: true })).toBe('unclear')
    expect(verdict({ late: true })).toBe('unclear')
  })
})

describe('what a trial found', () => {
  const NOW = 1_000_000_000
  const works: Finding = { works: true }
  const fails: Finding = { works: false, why: 'no' }
  let place: FindingPlace
  beforeEach(() => {
    place = { qemu: '/usr/bin/qemu', cacheDirectory: mkdtempSync(join(tmpdir(), 'leet-test-')) }
  })
  afterEach(() => rmSync(place.cacheDirectory, { recursive: true }))

  const file = () => {
    const folder = join(place.cacheDirectory, 'accelerator')
    return join(folder, readdirSync(folder)[0] as string)
  }

  it('is believed for ever when KVM works, for minutes when not', async () => {
    await rememberFinding(place, works, NOW)
    expect(recallFinding(place, NOW)).toEqual(works)
    expect(recallFinding(place, NOW + 1000 * FAILURE_KEPT_MS)).toEqual(works)
    await rememberFinding(place, fails, NOW)
    expect(recallFinding(place, NOW + FAILURE_KEPT_MS - 1)).toEqual(fails)
    expect(recallFinding(place, NOW + FAILURE_KEPT_MS)).toBeUndefined()
  })

  it.each([works, fails])(
    'is not believed from the future, without a time, or of another QEMU: %j',
    async (finding) => {
      await rememberFinding(place, finding, NOW)
      expect(recallFinding(place, NOW - 1)).toBeUndefined()
      expect(recallFinding({ ...place, qemu: '/opt/qemu' }, NOW)).toBeUndefined()
      const { at: _, ...timeless } = JSON.parse(readFileSync(file(), 'utf8'))
      writeFileSync(file(), JSON.stringify(timeless))
      expect(recallFinding(place, NOW)).toBeUndefined()
    },
  )

  it('is nothing when nothing was remembered, or not as LEET writes it', async () => {
    expect(recallFinding(place, NOW)).toBeUndefined()
    await rememberFinding(place, works, NOW)
    for (const text of ['', '{', 'null', `{"qemu":"${place.qemu}","at":${NOW}}`]) {
      writeFileSync(file(), text)
      expect(recallFinding(place, NOW)).toBeUndefined()
    }
  })
})
