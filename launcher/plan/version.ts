// The version, from package.json, which lies two levels up in a checkout and three in the compiled package.
import { readFileSync } from 'node:fs'

/** Version of LEET, such as `0.1.0`. */
export function version(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      return JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8')).version
    } catch {}
  }
  return 'unknown'
}
