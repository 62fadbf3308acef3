// Run on a terminal by a test: guests that only seem to boot, shown as in a job, and a rank that writes while others are still
// being handed over.
import { lineLog } from '../../common/index.ts'
import { clearing, Progress } from '../../launcher/cli/progress.ts'
import type { GuestState } from '../../launcher/node/worker.ts'
import { RankOutput } from '../../mpi-bridge/index.ts'

const { stderr } = process
let onWrite = () => {}
const progress = new Progress(
  {
    isTTY: stderr.isTTY,
    columns: stderr.columns,
    rows: stderr.rows,
    write(text) {
      stderr.write(text)
      onWrite()
    },
  },
  false,
)
const log = clearing(
  lineLog((text) => process.stderr.write(text), 'leet: ', false),
  progress,
)
const output = new RankOutput({
  stdout: process.stdout,
  stderr: process.stderr,
  prefix: undefined,
  ranks: 2,
  hold() {},
  onBroken() {},
})
/** Resolves when the lines are shown next. */
const shown = () =>
  new Promise<void>((resolve) => {
    onWrite = resolve
  })
// Nobody waits for progress by itself.
const busy = setInterval(() => {}, 1_000)
const tell = (guest: string, state: GuestState, detail = '') =>
  progress.listener({ event: 'guest', guest, state, detail })

progress.expect([
  { name: 'g0', ranks: [0] },
  { name: 'g1', ranks: [1] },
])
progress.listener({ event: 'phase', phase: 'boot', state: 'begin' })
tell('g0', 'booting', `mounts ${'/a/long/way/'.repeat(20)}`)
tell('g1', 'booting', '日本語'.repeat(30))
await shown()
log.warn('said')
await shown()
tell('g0', 'ready')
tell('g1', 'ready')
progress.listener({ event: 'phase', phase: 'boot', state: 'end' })
progress.listener({ event: 'phase', phase: 'launch', state: 'begin' })
await shown()
progress.end()
output.write({ job: 0, rank: 0, guest: 0 }, 'stdout', Buffer.from('output of a rank\n'))
progress.listener({ event: 'rank', job: 0, rank: 1, guest: 'g1', state: 'started' })
await output.flush()
clearInterval(busy)
