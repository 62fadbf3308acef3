// usr.manifest, the list of files that OSv's build puts into an image: `GUEST: HOST` lines (scripts/manifest_common.py).
// HOST is a path relative to the manifest, `->TARGET` for a symbolic link, `!PATH` for a file whose own links are kept;
// `/&/` and `/**` stand for the same path on both sides and for a whole directory; `%(NAME)s` is a variable of the build.
import { LeetError } from '../../../common/index.ts'

/** One line of a manifest. `host` may hold variables. */
export type ManifestEntry =
  | { readonly guest: string; readonly kind: 'copy'; readonly host: string }
  | { readonly guest: string; readonly kind: 'tree'; readonly host: string }
  | { readonly guest: string; readonly kind: 'symlink'; readonly target: string }

/** More than any real manifest has. */
const MAX_ENTRIES = 100_000

/** The entries of a manifest, in its order. A line that is none is `LEET_E_OSV_BASE`; `where` names the file. */
export function parseManifest(text: string, where: string): ManifestEntry[] {
  const entries: ManifestEntry[] = []
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trimEnd()
    if (/^[ \t]*(#.*|\[manifest\])?$/.test(line)) continue
    const separator = line.indexOf(': ')
    const guest = line.slice(0, separator).trim()
    const host = line.slice(separator + 2).trim()
    if (separator < 0 || !guest.startsWith('/') || host === '' || entries.length >= MAX_ENTRIES) {
      throw new LeetError({
        code: 'LEET_E_OSV_BASE',
        where: `${where}:${index + 1}`,
        what: 'is not a line of a manifest',
        why: JSON.stringify(line.slice(0, 200)),
      })
    }
    entries.push(entryOf(guest, host))
  }
  return entries
}

function entryOf(guest: string, host: string): ManifestEntry {
  if (host.startsWith('->')) return { guest, kind: 'symlink', target: host.slice(2) }
  const path = host.replace(/^!/, '')
  if (guest.endsWith('/**') && path.endsWith('/**')) {
    return { guest: guest.slice(0, -3) || '/', kind: 'tree', host: path.slice(0, -3) || '/' }
  }
  const same = guest.indexOf('/&/')
  if (same >= 0 && path.endsWith('/&')) {
    const rest = guest.slice(same + 3)
    return { guest: `${guest.slice(0, same)}/${rest}`, kind: 'copy', host: path.slice(0, -1) + rest }
  }
  return { guest, kind: 'copy', host: path }
}

/** A path with its variables put in; undefined when it has one that is not given. */
export function expandVariables(
  path: string,
  variables: Readonly<Record<string, string>>,
): string | undefined {
  let unknown = false
  const expanded = path.replace(/%\((\w+)\)s/g, (_, name: string) => {
    const value = Object.hasOwn(variables, name) ? variables[name] : undefined
    unknown ||= value === undefined
    return value ?? ''
  })
  return unknown ? undefined : expanded
}
