// Reading ahead: clients keep all that the reply to a get holds, so whoever asks for one rank's data is given that of
// others at once. Ranks in the same guest: all that have committed, as shared memory transports ask for each of them.
// Ranks elsewhere: twice as many each time, so that a program that talks to all ranks asks a few times and one that
// talks to two is told little more. Without it, 128 ranks of one guest ask 16,000 times.
import type { JobInfo } from './job-info.ts'
import type { Modex, ReaderScope } from './modex.ts'
import type { Format } from './wire.ts'

/** Data of ranks that were not asked for, in one reply. */
const MAX_AHEAD_BYTES = 32 * 1024

/** What one client was given of the ranks of its own job. */
export class ReadAhead {
  private readonly job: JobInfo
  private readonly guest: number
  private readonly format: Format
  private readonly given: Uint8Array
  private readonly ahead: Record<ReaderScope, number> = { local: Number.POSITIVE_INFINITY, remote: 0 }

  /** `guest` and `format` are the client's. */
  constructor(job: JobInfo, guest: number, format: Format) {
    this.job = job
    this.guest = guest
    this.format = format
    this.given = new Uint8Array(job.job.size)
  }

  /** The ranks to give together with `asked`; they count as given. */
  next(modex: Modex, asked: number, scope: ReaderScope): number[] {
    // Whoever asks for what it was given does not keep it.
    if (this.given[asked]) this.ahead[scope] = 0
    this.given[asked] = 1
    const near = scope === 'local' ? (this.job.guestOf(asked)?.ranks ?? []) : undefined
    const size = near?.length ?? this.job.job.size
    const first = near?.indexOf(asked) ?? asked
    const chosen: number[] = []
    let bytes = 0
    for (let step = 1; step < size && chosen.length < this.ahead[scope]; step++) {
      const position = (first + step) % size
      const rank = near ? (near[position] as number) : position
      if (this.given[rank] || (!near && this.job.guestOf(rank)?.guest === this.guest)) continue
      const found = modex.bytesIn(this.format, rank, scope)
      if (found === 0 || bytes + found > MAX_AHEAD_BYTES) continue
      this.given[rank] = 1
      chosen.push(rank)
      bytes += found
    }
    this.ahead[scope] = this.ahead[scope] * 2 + 1
    return chosen
  }
}
