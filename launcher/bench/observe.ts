// What the events of one leet-mpirun tell of it: its figures and its timeline. The parts of the time are those of
// `--timings`, folded by the same code. Pure.
import type { ResidentMemory } from '../../common/index.ts'
import type { JobEvent } from '../job/events.ts'
import { Timings } from '../job/timings.ts'
import type { Measurement, ScalarName, Span, Timeline } from './results.ts'

/** An event with its time in milliseconds since the epoch. */
export type TimedEvent = JobEvent & { readonly at: number }

/** What was seen of one run. */
export interface Observation {
  readonly measurements: readonly Measurement[]
  readonly timeline: Timeline
  readonly accelerator?: string
}

/** Reads the lines of an events file; a line that is none is left out. */
export function readEvents(text: string): TimedEvent[] {
  return text.split('\n').flatMap((line) => {
    try {
      const { time, ...event } = JSON.parse(line)
      return typeof time === 'number' ? [{ ...event, at: time * 1000 } as TimedEvent] : []
    } catch {
      return []
    }
  })
}

/** What the events of a run tell; `begun` is when its command was started, in milliseconds since the epoch. */
export function observe(events: readonly TimedEvent[], begun: number): Observation {
  const timings = new Timings()
  for (const event of events) timings.add(event, event.at)
  const of = <K extends JobEvent['event']>(kind: K) =>
    events.filter((event): event is TimedEvent & Extract<JobEvent, { event: K }> => event.event === kind)
  const resident = Map.groupBy(of('resident'), ({ guest }) => guest)
  const machines = of('machine')
  const launched = timings.begun('launch')
  const ran = timings.begun('run')
  const run = timings.took('run')
  // Of the largest guest; what is told in the end is no second time what was told when it was ready.
  const atReady = [...resident.values()].flatMap(([first]) => first ?? [])
  const atEnd = [...resident.values()].flatMap(([, ...later]) => later.at(-1) ?? [])
  const shares = (told: readonly ResidentMemory[]) => told.flatMap(({ proportional }) => proportional ?? [])
  const most = (values: readonly number[]) => (values.length > 0 ? Math.max(...values) : undefined)
  const figures: [ScalarName, number | undefined][] = [
    ['boot', machines.length > 0 ? seconds(timings.took('boot')) : undefined],
    ['launch-first', seconds(timings.firstConnected)],
    ['launch-last', seconds(timings.lastInitialised)],
    [
      'program',
      launched === undefined || ran === undefined || run === undefined
        ? undefined
        : seconds(ran + run - launched),
    ],
    ['memory-ready', most(atReady.map(({ now }) => now))],
    ['memory-peak', most(atEnd.map(({ peak }) => peak))],
    ['memory-share-ready', most(shares(atReady))],
    ['memory-share-end', most(shares(atEnd))],
    ['image', of('image')[0]?.bytes],
  ]
  const accelerator = machines[0]?.accelerator
  return {
    measurements: figures.flatMap(([metric, value]) => (value === undefined ? [] : [{ metric, value }])),
    timeline: { job: jobSpans(timings, events, begun), guests: guestStages(of('guest'), begun) },
    ...(accelerator === undefined ? {} : { accelerator }),
  }
}

function seconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1000
}

const PHASE_NAMES = { image: 'image', boot: 'boot', launch: 'launch', run: 'run', stop: 'clean-up' } as const

function jobSpans(timings: Timings, events: readonly TimedEvent[], begun: number): Span[] {
  const first = events[0]
  const before = first ? [{ name: 'start', from: 0, to: (first.at - begun) / 1000 }] : []
  const spans = Object.entries(PHASE_NAMES).flatMap(([phase, name]) => {
    const at = timings.begun(phase as keyof typeof PHASE_NAMES)
    const took = timings.took(phase as keyof typeof PHASE_NAMES)
    if (at === undefined || took === undefined) return []
    return [{ name, from: (at - begun) / 1000, to: (at + took - begun) / 1000 }]
  })
  return [...before, ...spans]
}

/** Stages of a guest, by the event that begins each; the one of `ready` ends the last. */
export const GUEST_STAGES = ['hypervisor', 'kernel', 'set-up', 'control'] as const

// A guest says `booting` when its hypervisor runs, and again when its own software speaks first.
function guestStages(
  told: readonly (TimedEvent & Extract<JobEvent, { event: 'guest' }>)[],
  begun: number,
): Timeline['guests'] {
  return [...Map.groupBy(told, ({ guest }) => guest)].map(([guest, all]) => {
    // A guest that hung was booted anew.
    const own = all.slice(all.findLastIndex(({ state }) => state === 'hung') + 1)
    const starting = own.find(({ state }) => state === 'starting')?.at
    const [hypervisor, speaks] = own.filter(({ state }) => state === 'booting')
    const contextualised = own.find(({ state }) => state === 'contextualised')?.at
    const ready = own.find(({ state }) => state === 'ready')?.at
    const marks = [starting, hypervisor?.at, speaks?.at, contextualised, ready]
    const stages = GUEST_STAGES.flatMap((name, index): Span[] => {
      const from = marks[index]
      // A stage that a guest does not tell is part of the one before it.
      const to = marks.slice(index + 1).find((mark) => mark !== undefined)
      if (from === undefined || to === undefined) return []
      return [{ name, from: (from - begun) / 1000, to: (to - begun) / 1000 }]
    })
    return { guest, stages }
  })
}
