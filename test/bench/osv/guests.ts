// `node guests.ts N`: simulated OSv guests in one process, for the benchmark of many. Their programs are pretended.
import { OsvGuest } from '../../simulators/osv/guest.ts'
import type { FromGuests } from './run.ts'

const count = Number(process.argv[2])
const tell = (message: FromGuests) => process.send?.(message)
let lines: [number, string][] = []

const guests = await Promise.all(
  Array.from({ length: count }, (_, index) =>
    OsvGuest.boot({
      compat: true,
      pretend: true,
      onConsole: (data) => {
        if (lines.push([index, data.toString('latin1')]) > 1) return
        // Many at once, as a console socket would give them.
        setImmediate(() => {
          tell({ kind: 'lines', lines })
          lines = []
        })
      },
    }),
  ),
)
tell({ kind: 'ports', ports: guests.map(({ port }) => port) })
process.once('disconnect', () => process.exit())
