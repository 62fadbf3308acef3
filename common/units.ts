// Quantities as people write them: sizes (`512M`, `2G`), durations (`90`, `5m`, `1:30:00`), counts. Pure parsers.
import { usageError } from './errors.ts'

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }

/** Bytes of `2G`, `512M`, `512MiB`, `1.5g` or a bare number of bytes; `where` names the option in the refusal. */
export function parseSize(text: string, where: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim())
  const bytes = match
    ? Math.round(Number(match[1]) * (SIZE_UNITS[(match[2] as string).toLowerCase()] as number))
    : Number.NaN
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw usageError(`"${text}" is not a size`, 'a number with K, M, G or T, such as 2G', where)
  }
  return bytes
}

/** `2147483648` as `2.0 GiB`. */
export function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`
}

/** Milliseconds of `90` (seconds), `90s`, `5m`, `2h`, `30d`, `MM:SS` or `HH:MM:SS`. */
export function parseDuration(text: string, where: string): number {
  const clock = /^(?:(\d+):)?(\d+):(\d{2})$/.exec(text)
  if (clock) return (Number(clock[1] ?? 0) * 3600 + Number(clock[2]) * 60 + Number(clock[3])) * 1000
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text.trim())
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? 's'] as number
  const ms = match ? Math.round(Number(match[1]) * unit) : Number.NaN
  if (!Number.isSafeInteger(ms) || ms <= 0) {
    throw usageError(
      `"${text}" is not a duration`,
      'seconds, or a number with s, m, h or d, such as 5m',
      where,
    )
  }
  return ms
}

/** A whole number of at least `least` and at most `most`. */
export function parseCount(text: string, where: string, least = 1, most = 1_000_000): number {
  const value = /^\d{1,12}$/.test(text) ? Number(text) : Number.NaN
  if (!(value >= least && value <= most)) {
    throw usageError(`"${text}" is not a whole number from ${least} to ${most}`, undefined, where)
  }
  return value
}
