// Reading ahead: clients keep all that the reply to a get holds, so whoever asks for one rank's data is given that of
// others at once. With the first rank of its own guest come some more, as shared memory transports ask for each of them.
// After that, whoever asks for the next rank that it was not given gets twice as many each time, and whoever jumps
// about gets what it asks for. Without it, 128 ranks of one guest ask 16,000 times.
import type { JobInfo } from './job-info.ts'
import type { Modex, ReaderScope } from './modex.ts'
import type { Format } from './wire.ts'

/** Data of ranks that were not asked for, in the first reply. A rank of Open MPI 4 has 4 kB for its neighbours. */
const FIRST_AHEAD_BYTES = 32 * 1024
/** The same in the replies after it. */
const MAX_AHEAD_BYTES = 2 ** 20

interface Habit {
  /** Ranks to give with the next one, if it is asked for. */
  ahead: number
  /** The next rank that was not given; undefined before the first. */
  next: number | undefined
}

/** What one client was given of the ranks of its own job. */
export class ReadAhead {
  private readonly job: JobInfo
  private readonly guest: number
  private readonly format: Format
  private readonly given: Uint8Array
  private readonly habits: Readonly<Record<ReaderScope, Habit>>

  /** `guest` and `format` are the client's. */
  constructor(job: JobInfo, guest: number, format: Format) {
    this.job = job
    this.guest = guest
    this.format = format
    this.given = new Uint8Array(job.job.size)
    this.habits = { local: { ahead: job.job.size, next: undefined }, remote: { ahead: 0, next: undefined } }
  }

  /** The ranks to give together with `asked`; they count as given. */
  next(modex: Modex, asked: number, scope: ReaderScope): number[] {
    const habit = this.habits[scope]
    const first = habit.next === undefined
    if (!first && habit.next !== asked) habit.ahead = 0
    this.given[asked] = 1
    const chosen: number[] = []
    let left = first ? FIRST_AHEAD_BYTES : MAX_AHEAD_BYTES
    for (const rank of this.after(asked, scope)) {
      if (chosen.length >= habit.ahead || left <= 0) break
      const found = modex.bytesIn(this.format, rank, scope)
      if (found === 0) continue
      chosen.push(rank)
      left -= found
    }
    for (const rank of chosen) this.given[rank] = 1
    habit.ahead = Math.max(chosen.length, first ? 0 : habit.ahead) * 2 + 1
    habit.next = this.after(asked, scope).next().value ?? asked
    return chosen
  }

  /** Ranks of that scope that were not given, beginning after `rank`. */
  private *after(rank: number, scope: ReaderScope): Generator<number, undefined> {
    const near = scope === 'local' ? (this.job.guestOf(rank)?.ranks ?? []) : undefined
    const size = near?.length ?? this.job.job.size
    const first = near?.indexOf(rank) ?? rank
    for (let step = 1; step < size; step++) {
      const position = (first + step) % size
      const other = near ? (near[position] as number) : position
      if (this.given[other] || (!near && this.job.guestOf(other)?.guest === this.guest)) continue
      yield other
    }
    return undefined
  }
}
