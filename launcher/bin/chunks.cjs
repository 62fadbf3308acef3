// Runs the files of a bundle with the code that V8 made of them in earlier runs. Node.js keeps of a file what was
// compiled when it was loaded, which is next to nothing: a function is compiled when it is called. Compiling them anew was
// a fifth of what a short job costs; here the code is kept as it is when the command ends, functions and all.
const { createHash } = require('node:crypto')
const { mkdirSync, readFileSync, renameSync, writeFileSync } = require('node:fs')
const { createRequire } = require('node:module')
const { dirname, join } = require('node:path')
const { cachedDataVersionTag } = require('node:v8')
const { Script } = require('node:vm')

/** No two runs call the same functions: so many add what they compiled to what there is. */
const RUNS = 4
/** Of what stands before the code: the digest, and by how many runs it was made. */
const DIGEST_BYTES = 20
const HEAD_BYTES = DIGEST_BYTES + 1

/** What is to be done when the command ends, a file each. @type {(() => void)[]} */
const keepers = []

/**
 * A `require` for the files of a bundle, which name each other by `./NAME`.
 * @param {string} folder of the bundle
 * @param {string | undefined} cache a directory of this user alone, in which code is kept
 */
function chunkLoader(folder, cache) {
  const outside = createRequire(join(folder, 'index.cjs'))
  const codes = cache === undefined ? undefined : join(cache, `chunks-${cachedDataVersionTag().toString(16)}`)
  /** @type {Map<string, { exports: object }>} */
  const loaded = new Map()

  /** @param {string} name */
  const requireChunk = (name) => {
    if (!name.startsWith('./')) return outside(name)
    const before = loaded.get(name)
    if (before !== undefined) return before.exports
    const module = { exports: {} }
    loaded.set(name, module)
    const file = join(folder, name)
    const run = compile(file, codes && join(codes, name))
    run(module.exports, requireChunk, module, file, dirname(file))
    return module.exports
  }
  return requireChunk
}

/**
 * The file as the function that Node.js would make of it.
 * @param {string} file
 * @param {string | undefined} code where its code is kept
 */
function compile(file, code) {
  const source = readFileSync(file, 'utf8')
  const kept = code === undefined ? undefined : readCode(code, source)
  const script = new Script(`(function (exports, require, module, __filename, __dirname) {${source}\n})`, {
    filename: file,
    cachedData: kept?.data,
  })
  const runs = script.cachedDataRejected ? 0 : (kept?.runs ?? 0)
  if (code !== undefined && runs < RUNS) {
    keepers.push(() => writeCode(code, source, script.createCachedData(), runs + 1))
    if (keepers.length === 1) process.once('exit', keepAll)
  }
  return script.runInThisContext()
}

function keepAll() {
  for (const keep of keepers) keep()
}

/**
 * V8 believes what it is given, so the digest is of both: of another source, and what was damaged, nothing is used.
 * @param {string} source
 * @param {Uint8Array} data
 */
const digestOf = (source, data) => createHash('sha1').update(source).update(data).digest()

/**
 * @param {string} path
 * @param {string} source
 */
function readCode(path, source) {
  try {
    const bytes = readFileSync(path)
    const data = bytes.subarray(HEAD_BYTES)
    if (!digestOf(source, data).equals(bytes.subarray(0, DIGEST_BYTES))) return undefined
    return { data, runs: bytes[DIGEST_BYTES] ?? 0 }
  } catch {
    return undefined
  }
}

/**
 * Replaced as a whole: other runs read it meanwhile. Where nothing can be written there is no cache.
 * @param {string} path
 * @param {string} source
 * @param {Uint8Array} data
 * @param {number} runs
 */
function writeCode(path, source, data, runs) {
  const scratch = `${path}.${process.pid}`
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    writeFileSync(scratch, Buffer.concat([digestOf(source, data), Buffer.of(runs), data]), { mode: 0o600 })
    renameSync(scratch, path)
  } catch {}
}

module.exports = { chunkLoader }
