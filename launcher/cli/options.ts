// The table of leet-mpirun's options. Flags, help, defaults, environment variables and keys of leet.yaml come from its rows alone,
// and `settings.ts` reads no option but by its row.
import type { OptionSpec } from '../../mpi-bridge/index.ts'
import { GUESTS } from '../options/guests.ts'
import { IMAGE } from '../options/image.ts'
import { OUTPUT } from '../options/output.ts'
import { PLACEMENT } from '../options/placement.ts'
import { PROGRAM } from '../options/program.ts'
import { RANKS } from '../options/ranks.ts'
import { SHORTER } from '../options/shorter.ts'
import { SURROUNDINGS } from '../options/surroundings.ts'
import { REFUSED, WITHOUT_EFFECT } from '../options/without-effect.ts'

/** Every option of leet-mpirun, in the order of the help. */
export const OPTIONS: readonly OptionSpec[] = [
  ...[PROGRAM, PLACEMENT, OUTPUT, RANKS, GUESTS, SURROUNDINGS, IMAGE].flatMap((rows) => Object.values(rows)),
  ...SHORTER,
  ...WITHOUT_EFFECT,
  ...REFUSED,
]
