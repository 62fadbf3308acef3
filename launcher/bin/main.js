// Starts a command of LEET with as little loaded as it needs; `--version` loads nothing at all.
import { existsSync, readFileSync } from 'node:fs'
import module from 'node:module'
import { join } from 'node:path'

const root = new URL('../../', import.meta.url)

/**
 * @param {string} command `leet` or `leet-mpirun`
 * @param {string[]} argv its arguments
 */
export async function run(command, argv) {
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')) {
    const { version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'))
    process.stdout.write(`${command} ${version}\n`)
    return
  }
  // Compiled code is kept between runs: it is a third of the start of a short job. Never where Node.js would by
  // itself, which is a directory of a predictable name in /tmp.
  const cache = cacheDirectory(process.env)
  if (cache !== undefined) module.enableCompileCache?.(cache)
  // A checkout has sources, the installed package only compiled files.
  const sources = existsSync(new URL('launcher/cli/index.ts', root))
  const { main } = await import(
    new URL(sources ? 'launcher/cli/index.ts' : 'dist/launcher/cli/index.js', root).href
  )
  process.exitCode = await main(command, argv)
}

/** @param {NodeJS.ProcessEnv} environment */
function cacheDirectory({ XDG_CACHE_HOME: given, HOME: home }) {
  if (given?.startsWith('/')) return join(given, 'leet', 'node')
  return home?.startsWith('/') ? join(home, '.cache', 'leet', 'node') : undefined
}
