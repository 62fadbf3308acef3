// `npm run bench [-- NAME…]`: the rows of SPEC.md, each with its spread, measured on this machine in this run: all of them, which
// takes most of an hour, or the benches that are named. Nothing else should run meanwhile.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** In the order of what they take. */
const BENCHES = ['pmi', 'scale', 'start', 'fuzz', 'osv', 'cluster', 'launch'] as const

const asked = process.argv.slice(2)
const unknown = asked.find((name) => !BENCHES.some((bench) => bench === name))
if (unknown !== undefined) {
  console.error(`there is no bench ${unknown}, only ${BENCHES.join(', ')}`)
  process.exit(2)
}
for (const bench of BENCHES.filter((name) => asked.length === 0 || asked.includes(name))) {
  console.log(`\n== ${bench}`)
  const program = fileURLToPath(new URL(`${bench}.ts`, import.meta.url))
  const { status } = spawnSync(process.execPath, [program], { stdio: 'inherit' })
  // The others are measured all the same.
  if (status !== 0) {
    console.error(`the bench ${bench} failed`)
    process.exitCode = 1
  }
}
