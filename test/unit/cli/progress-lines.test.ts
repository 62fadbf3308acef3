// What is shown of guests that boot, and that it fits on the terminal.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cutToWidth, LiveLines } from '../../../launcher/cli/live-lines.ts'
import { progressLines, type ShownGuest, type ShownJob } from '../../../launcher/cli/progress-lines.ts'
import { Screen } from '../../support/screen.ts'

const JOB: ShownJob = { guests: [], composing: false, launching: false, seconds: 14 }

function guest(index: number, more: Partial<ShownGuest> = {}): ShownGuest {
  return { name: `job-g${index}`, state: 'waiting', still: 3, ranks: 4, started: 0, ...more }
}

const guests = (count: number, more: (index: number) => Partial<ShownGuest>): ShownGuest[] =>
  Array.from({ length: count }, (_, index) => guest(index, more(index)))

describe('the lines of a job', () => {
  it('are one for each guest, with its stage and for how long it has been silent', () => {
    const shown = [
      guest(0, { state: 'ready', detail: 'mounts checked' }),
      guest(1, { state: 'booting', detail: 'REST answers' }),
      guest(10, { state: 'hung', detail: 'starting again', still: 120 }),
      guest(11),
    ]
    expect(progressLines({ ...JOB, guests: shown }, 24)).toEqual([
      'leet: job-g0   ready',
      'leet: job-g1   booting          3 s  REST answers',
      'leet: job-g10  hung           120 s  starting again',
      'leet: job-g11  waiting          3 s',
    ])
  })

  it('are a single one while the image is composed, and none without guests', () => {
    expect(progressLines({ ...JOB, guests: guests(3, () => ({})), composing: true }, 24)).toEqual([
      'leet: composing the image (14 s)',
    ])
    expect(progressLines({ ...JOB, composing: true, launching: true }, 24)).toEqual([])
  })

  it('tell how many ranks of each guest are started', () => {
    const shown = guests(2, (index) => ({ state: 'ready', started: index }))
    expect(progressLines({ ...JOB, guests: shown, launching: true }, 24)).toEqual([
      'leet: job-g0  0 of 4 ranks started',
      'leet: job-g1  1 of 4 ranks started',
    ])
  })

  it('are one with counts above sixteen guests', () => {
    const states = (index: number) => (index < 12 ? 'ready' : index < 38 ? 'booting' : 'hung')
    const shown = guests(40, (index) => ({ state: states(index) }))
    expect(progressLines({ ...JOB, guests: shown }, 100)).toEqual([
      'leet: 12 of 40 guests ready, 26 booting, 2 hung (14 s)',
    ])
    expect(progressLines({ ...JOB, guests: shown.slice(0, 16) }, 100)).toHaveLength(16)
    const ready = guests(40, () => ({ state: 'ready', started: 3 }))
    expect(progressLines({ ...JOB, guests: ready, launching: true }, 100)).toEqual([
      'leet: 40 guests ready, 120 of 160 ranks started (14 s)',
    ])
  })

  it('are one with counts where the terminal has too few rows', () => {
    const shown = guests(6, () => ({ state: 'starting' }))
    expect(progressLines({ ...JOB, guests: shown }, 6)).toEqual([
      'leet: 0 of 6 guests ready, 6 starting (14 s)',
    ])
    expect(progressLines({ ...JOB, guests: shown }, 7)).toHaveLength(6)
  })
})

describe('a line that is cut', () => {
  it.each([
    ['plain words', 5, 'plain'],
    ['plain words', 80, 'plain words'],
    ['日本語', 5, '日本'],
    ['a🚀b', 2, 'a'],
    ['\u001b[2Ja\u0007b', 80, ' [2Ja b'],
  ])('%j in %i columns', (line, columns, expected) => {
    expect(cutToWidth(line, columns)).toBe(expected)
  })
})

describe('lines on a terminal', () => {
  const lines = fc.array(fc.string({ unit: 'binary', maxLength: 60 }), { maxLength: 8 })

  it('take a row each, are replaced in their place, and leave nothing', () => {
    fc.assert(
      fc.property(fc.array(lines, { maxLength: 5 }), fc.integer({ min: 3, max: 40 }), (blocks, columns) => {
        const screen = new Screen(columns, 10)
        screen.write('$\n')
        const live = new LiveLines(screen)
        for (const block of blocks) {
          live.show(block)
          expect(screen.text.split('\n').length).toBeLessThanOrEqual(1 + block.length)
        }
        live.wipe()
        screen.write('ran\n')
        expect(screen.text).toBe('$\nran')
      }),
    )
  })

  it('never wipe what stood there before, though the terminal became narrower or wider', () => {
    const screen = new Screen(40, 10)
    screen.write('$ leet-mpirun\n')
    const resized = { columns: 40, rows: 10, write: (text: string) => screen.write(text) }
    const live = new LiveLines(resized)
    for (const columns of [40, 12, 100, 40]) {
      resized.columns = columns
      live.show(['one '.repeat(9), 'two'])
    }
    live.wipe()
    expect(screen.text.split('\n')[0]).toBe('$ leet-mpirun')
  })
})
