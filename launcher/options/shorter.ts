// Shorter ways of other launchers to say what an option says. They have no settings of their own: each stands for words of a row.
import type { OptionSpec } from '../../mpi-bridge/index.ts'
import { OUTPUT } from './output.ts'
import { PLACEMENT } from './placement.ts'
import { PROGRAM } from './program.ts'
import { RANKS } from './ranks.ts'

// `%` and `%2` in the words are those that it takes itself.
const short = (flags: string, takes: string, { key }: OptionSpec, ...words: string[]): OptionSpec => ({
  key: flags.replace(/ .*/, ''),
  flags: flags.split(' '),
  takes: takes === '' ? [] : takes.split(' '),
  scope: 'job',
  group: 'Shorter ways to say the same',
  help: '',
  means: [key, ...words],
})

/** The ways, in the order of the help. */
export const SHORTER: readonly OptionSpec[] = [
  short('display-map display-devel-map', '', OUTPUT.display, 'map'),
  short('display-allocation', '', OUTPUT.display, 'allocation'),
  short('bynode', '', PLACEMENT.mapBy, 'node'),
  short('byslot', '', PLACEMENT.mapBy, 'slot'),
  short('cpus-per-proc cpus-per-rank', 'N', PLACEMENT.mapBy, 'slot:pe=%'),
  short('bycore', '', PLACEMENT.mapBy, 'core'),
  short('bysocket', '', PLACEMENT.mapBy, 'package'),
  short('bind-to-core', '', PLACEMENT.bindTo, 'core'),
  short('bind-to-socket', '', PLACEMENT.bindTo, 'package'),
  short('bind-to-none', '', PLACEMENT.bindTo, 'none'),
  short('pernode', '', PROGRAM.ppn, '1'),
  short('npersocket', 'N', PLACEMENT.mapBy, 'ppr:%:package'),
  short('rr', '', PLACEMENT.mapBy, 'node'),
  short('print-rank-map', '', OUTPUT.display, 'map'),
  short('unset-env', 'NAME', RANKS.edits, 'unset', '%'),
  short('envexcl', 'NAME,…', RANKS.edits, 'unset', '%'),
  short('prepend-env', 'NAME[C] VALUE', RANKS.edits, 'prepend', '%', '%2'),
  short('append-env', 'NAME[C] VALUE', RANKS.edits, 'append', '%', '%2'),
]
