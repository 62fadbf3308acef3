// What a user is shown of guests that boot and of ranks that are handed over, as text. Pure: from what is known of them and
// the room that there is.
import type { GuestState } from '../node/worker.ts'

/** A guest as it is shown. */
export interface ShownGuest {
  readonly name: string
  /** `waiting`: it has not told anything yet. `hung`: it did so before, and is not ready since. */
  readonly state: GuestState | 'waiting' | 'lost'
  readonly detail?: string | undefined
  /** Whole seconds since it told something last. */
  readonly still: number
  /** How many ranks it is to have, and has. */
  readonly ranks: number
  readonly started: number
}

/** All that is shown. */
export interface ShownJob {
  readonly guests: readonly ShownGuest[]
  /** The image of the guests is being composed: nothing else happens. */
  readonly composing: boolean
  /** Ranks are being handed over. */
  readonly launching: boolean
  /** Whole seconds since the command began. */
  readonly seconds: number
}

/** More guests than this are counted. */
const MOST_LINES = 16
/** In which order states are counted: the next to be ready first, what needs attention last. */
const ORDER: readonly ShownGuest['state'][] = [
  'contextualised',
  'booting',
  'starting',
  'waiting',
  'stopped',
  'hung',
  'lost',
]

/** A line for each guest, or a single one with counts where they are many or the terminal is low. */
export function progressLines(job: ShownJob, rows: number): string[] {
  const { guests, composing, launching } = job
  if (guests.length === 0) return []
  if (composing) return [`leet: composing the image (${job.seconds} s)`]
  // Below the lines stands the cursor.
  if (guests.length > MOST_LINES || guests.length >= rows) return [countLine(job)]
  const names = Math.max(...guests.map(({ name }) => name.length))
  return guests.map((guest) => {
    const words = launching && guest.state === 'ready' ? ranksOf([guest]) : stateOf(guest)
    return `leet: ${guest.name.padEnd(names)}  ${words}`
  })
}

function stateOf({ state, detail, still }: ShownGuest): string {
  const told = detail ? `  ${detail}` : ''
  // Of one that is ready nothing more is to come.
  return state === 'ready'
    ? state
    : `${state.padEnd('contextualised'.length)} ${`${still} s`.padStart(5)}${told}`
}

function countLine({ guests, launching, seconds }: ShownJob): string {
  const count = (wanted: ShownGuest['state']) => guests.filter(({ state }) => state === wanted).length
  const ready = count('ready')
  const parts = [
    ready === guests.length ? `${ready} guests ready` : `${ready} of ${guests.length} guests ready`,
    ...ORDER.flatMap((state) => (count(state) > 0 ? [`${count(state)} ${state}`] : [])),
    ...(launching ? [ranksOf(guests)] : []),
  ]
  return `leet: ${parts.join(', ')} (${seconds} s)`
}

function ranksOf(guests: readonly ShownGuest[]): string {
  const ranks = guests.reduce((sum, guest) => sum + guest.ranks, 0)
  const started = guests.reduce((sum, guest) => sum + guest.started, 0)
  return `${started} of ${ranks} ranks started`
}
