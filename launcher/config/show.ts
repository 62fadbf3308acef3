// What `leet config` prints: each option with its value and where that came from. Pure.
import type { OptionSpec } from '../../mpi-bridge/index.ts'
import { configurable } from './file.ts'
import { defaultOf } from './row.ts'
import { isNegated, type OptionSources, whatWasSaid } from './sources.ts'

/** One line per value, in the order of the table; `files` are all that are looked for, the strongest first. */
export function showConfig(
  table: readonly OptionSpec[],
  sources: OptionSources,
  files: readonly string[],
): string[] {
  const rows = configurable(table).flatMap((spec) => rowsOf(spec, sources))
  const width = (column: 0 | 1) => Math.max(...rows.map((row) => row[column].length))
  const [keys, values] = [width(0), width(1)]
  const read = new Set(sources.files.map(({ path }) => path))
  return [
    ...rows.map(([key, value, origin]) => `${key.padEnd(keys)}  ${value.padEnd(values)}  ${origin}`),
    '',
    'files, from strong to weak:',
    ...files.map((path) => `  ${path}${read.has(path) ? '' : ' (not there)'}`),
  ]
}

type Row = readonly [key: string, value: string, origin: string]

function rowsOf(spec: OptionSpec, sources: OptionSources): Row[] {
  const said = whatWasSaid(spec, sources)
  if (spec.takes.length === 0) {
    const off = sources.files.find(({ options }) => options.has(spec.key))?.path
    return [[spec.key, String(said.length > 0 !== isNegated(spec)), said[0]?.where ?? off ?? 'default']]
  }
  if (said.length === 0) return [[spec.key, defaultOf(spec) ?? '-', 'default']]
  return said.map(({ words, where }) => [spec.key, words.join('='), where])
}
