// How a working directory that is carried into a guest is found there under its own path: the image has a symbolic link in the
// place of one of its parents, which leads to where the guest has it, in memory or on a disk. That is the highest parent
// below which the image has nothing else, so that one image does for as many working directories as can be. Pure.

/** Where the disk with the working directories is mounted in a guest that has one. */
export const WORK_MOUNT = '/leet/work'

/** A symbolic link of the image. */
export interface StageLink {
  readonly path: string
  readonly target: string
}

/**
 * The links that lead from `directories` to where they are staged, below `root`. `used` are the paths that the image has for
 * other purposes. A directory in which such a path lies gets none.
 */
export function stageLinks(
  directories: readonly string[],
  used: readonly string[],
  root: string,
): readonly StageLink[] {
  const taken = new Set(used.flatMap(withParents))
  const links = directories.flatMap((directory) => {
    const path = withParents(directory).find((parent) => !taken.has(parent))
    return path === undefined ? [] : [path]
  })
  return [...new Set(links)].sort().map((path) => ({ path, target: `${root}${path}` }))
}

/** Whether a link is for directories that come on a disk. */
export function leadsToDisk({ target }: StageLink): boolean {
  return target.startsWith(`${WORK_MOUNT}/`)
}

/** Whether `path` is reached through one of the links. */
export function isLinked(links: readonly StageLink[], path: string): boolean {
  return links.some((link) => path === link.path || path.startsWith(`${link.path}/`))
}

/** Whether `path` is reached through one of the links on a disk. */
export function isOnDisk(links: readonly StageLink[], path: string): boolean {
  return isLinked(links.filter(leadsToDisk), path)
}

/** `/a`, `/a/b`, `/a/b/c` of `/a/b/c`. */
function withParents(path: string): string[] {
  const names = path.split('/').filter(Boolean)
  return names.map((_, index) => `/${names.slice(0, index + 1).join('/')}`)
}
