// Rankfiles of Open MPI, `rank 0=host slot=0-1`, and which guest and processors they give to each rank. Pure.
// Source: mpirun(1) of Open MPI 4.1, "Rankfiles". Slots are cores, `1:0-2` those of a package.
import { parseCount, usageError } from '../../common/index.ts'

/** Where one rank goes. */
export interface RankPlace {
  /** A host, or `+nN` for the one of that number. */
  readonly host: string
  /** The cores, as the file has them; undefined: not said. */
  readonly slots?: string
}

/** The places of ranks 0, 1, 2 … in order; a refusal names the line. */
export function parseRankfile(text: string, file: string): RankPlace[] {
  const places = new Map<number, RankPlace>()
  for (const [index, raw] of text.split('\n').entries()) {
    const where = `${file}, line ${index + 1}`
    const line = raw.replace(/#.*/, '').trim()
    if (line === '') continue
    const [, number, host, slots] = /^rank\s+(\d+)\s*=\s*(\S+)(?:\s+slots?\s*=\s*(\S+))?$/.exec(line) ?? []
    if (number === undefined || host === undefined) {
      throw usageError(`"${line.slice(0, 40)}" is not the place of a rank`, 'rank N=HOST slot=CORES', where)
    }
    if (slots !== undefined && !SLOTS.test(slots)) {
      throw usageError(`"${slots}" is not a list of cores`, '0, 0-2, 0,3 or PACKAGE:CORES', where)
    }
    const rank = parseCount(number, where, 0)
    if (places.has(rank)) throw usageError(`rank ${rank} is there twice`, undefined, where)
    places.set(rank, { host, ...(slots === undefined ? {} : { slots }) })
  }
  return Array.from({ length: places.size }, (_, rank) => {
    const place = places.get(rank)
    if (!place) throw usageError(`rank ${rank} has no place`, 'the ranks from 0 on, without a gap', file)
    return place
  })
}

const SLOTS = /^(\d+:)?\d+(-\d+)?(,(\d+:)?\d+(-\d+)?)*$/

/** Ranks of each node; `names` has the names by which each node is known. */
export function placeRanks(
  places: readonly RankPlace[],
  ranks: number,
  names: readonly (readonly string[])[],
  where: string,
): number[][] {
  if (places.length < ranks)
    throw usageError(`has places for ${places.length} of ${ranks} ranks`, undefined, where)
  const placed: number[][] = names.map(() => [])
  for (const [rank, { host }] of places.slice(0, ranks).entries()) {
    const relative = /^\+n(\d+)$/i.exec(host)?.[1]
    const found =
      relative === undefined
        ? names.flatMap((own, node) => (own.includes(host) ? [node] : []))
        : [Number(relative)].filter((node) => node < names.length)
    if (found.length !== 1) {
      const what = found.length === 0 ? 'is none of the hosts of this job' : 'has several guests'
      throw usageError(`${host} ${what}`, '+n0, +n1 and so on for the guests of the job', where)
    }
    ;(placed[found[0] as number] as number[]).push(rank)
  }
  return placed
}
