// Starts a command of LEET with as little loaded as it needs; `--version` loads nothing at all.
const { existsSync, readFileSync } = require('node:fs')
const module_ = require('node:module')
const { join } = require('node:path')
const { pathToFileURL } = require('node:url')

const root = join(__dirname, '../../')

/**
 * @param {string} command `leet`, `leet-mpirun` or `leet-rsh`, or `mpirun` or `mpiexec`, whose place leet-mpirun takes
 * @param {string[]} argv its arguments
 */
async function run(command, argv) {
  if (argv.length === 1 && /^--?(version|V|info)$/.test(String(argv[0]))) {
    const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
    process.stdout.write(
      command.startsWith('mpi')
        ? `${command} (LEET) ${version}\n\nTakes the options of mpirun (Open MPI) and of mpiexec (MPICH, HYDRA).\n`
        : `${command} ${version}\n`,
    )
    return
  }
  // Compiled code is kept between runs: it is a third of the start of a short job. Never where Node.js would by
  // itself, which is a directory of a predictable name in /tmp.
  const cache = cacheDirectory(process.env)
  if (cache !== undefined) module_.enableCompileCache?.(cache)
  const { main } = await load(cache)
  // Nothing is left to wait for by then; to take the heap apart as well costs milliseconds.
  process.once('beforeExit', () => process.exit())
  process.exitCode = await main(command, argv)
}

// The installed package has only the bundle. A checkout has sources, and runs them unless its bundle is of the same.
/** @param {string | undefined} cache */
async function load(cache) {
  const sources = `${root}launcher/cli/index.ts`
  const bundled = !existsSync(sources) || require('./bundle.cjs').bundleIsFresh(root)
  if (!bundled) return import(pathToFileURL(sources).href)
  return require('./chunks.cjs').chunkLoader(`${root}dist/bundle`, cache)('./index.cjs')
}

/** @param {NodeJS.ProcessEnv} environment */
function cacheDirectory({ XDG_CACHE_HOME: given, HOME: home }) {
  if (given?.startsWith('/')) return join(given, 'leet', 'node')
  return home?.startsWith('/') ? join(home, '.cache', 'leet', 'node') : undefined
}

module.exports = { run }
