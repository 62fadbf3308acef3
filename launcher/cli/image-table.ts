// The images and bases of the store as tables for people, and as JSON for programs. Pure.
import { basename } from 'node:path'
import { formatSize } from '../../common/index.ts'
import { type StoredBase, type StoredImage, shortId } from '../images/list.ts'

/** Programs that are named; of more it is said how many. */
const NAMED = 3

/** Lines with a heading, one for each image. */
export function imageTable(images: readonly StoredImage[], now: Date): string[] {
  return aligned([
    ['NAME', 'ID', 'GUEST', 'PROGRAMS', 'SIZE', 'AGE', 'LAST USED'],
    ...images.map(({ names, id, guest, programs, size, made, used }) => [
      names.join(',') || '-',
      shortId(id),
      guest,
      programNames(programs),
      formatSize(size),
      formatAge(made, now),
      used ? formatAge(used, now) : 'never',
    ]),
  ])
}

/** Lines with a heading, one for each base of OSv images. */
export function baseTable(bases: readonly StoredBase[], now: Date): string[] {
  return aligned([
    ['OSV BASE', 'VERSION', 'IMAGES', 'SIZE', 'AGE', 'LAST USED'],
    ...bases.map(({ id, version = '-', isDefault, images, size, made, used }) => [
      shortId(id),
      isDefault ? `${version} (default)` : version,
      String(images.length),
      formatSize(size),
      formatAge(made, now),
      used ? formatAge(used, now) : 'never',
    ]),
  ])
}

/** An image or base with its full id, in bytes and ISO times. */
export function storedJson(stored: StoredImage | StoredBase): object {
  return { ...stored, made: stored.made.toISOString(), used: stored.used?.toISOString() ?? null }
}

/** How long ago something was: `40 s`, `3 min`, `5 h`, `2 d`. */
export function formatAge(then: Date, now: Date): string {
  // Clocks of nodes differ: nothing is made in the future.
  const seconds = Math.max(0, Math.floor((now.getTime() - then.getTime()) / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

/** `a.out,solver,+2` */
function programNames(programs: readonly string[]): string {
  const named = programs.slice(0, NAMED).map((path) => basename(path))
  const more = programs.length > NAMED ? [`+${programs.length - NAMED}`] : []
  return [...named, ...more].join(',') || '-'
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  return rows.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}
