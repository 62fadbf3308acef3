// Whether the bundle of a checkout is of its sources as they are: it must never be older than they.
const { readFileSync, statSync } = require('node:fs')

/**
 * What a file is like: it changes with every change of the file.
 * @param {string} file
 */
function stampOf(file) {
  const { size, mtimeMs, ino } = statSync(file)
  return `${size} ${mtimeMs} ${ino}`
}

/**
 * Whether dist/bundle is there, and none of the sources that it was made of has changed. A new source is seen by the
 * change of another, which imports it.
 * @param {string} root of the checkout, with a slash at its end
 */
function bundleIsFresh(root) {
  try {
    /** @type {Record<string, string>} */
    const stamps = JSON.parse(readFileSync(`${root}dist/bundle/sources.json`, 'utf8'))
    for (const file in stamps) if (stampOf(root + file) !== stamps[file]) return false
    return true
  } catch {
    return false
  }
}

module.exports = { bundleIsFresh, stampOf }
