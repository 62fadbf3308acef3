// What a base of OSv images can do, what it lacks, and what makes it useless, told from its files.
import { readFileSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { readElf, withFile } from '../formats/index.ts'
import type { OsvKernel } from './kernel.ts'

/** What a base can do for a guest. */
export interface BaseAbilities {
  /** The server has its TLS library: it can be started with `--ssl`. */
  readonly tls: boolean
  /** Seeds are applied: /usr/mgmt/cloud-init.so with /usr/bin/iso-read.so, started from /init. */
  readonly cloudInit: boolean
  /** How NFS is mounted; undefined: not at all. */
  readonly nfs?: 'mount-fs.so' | 'mount-nfs.so'
}

/** What a manifest stands for: contents by path in the guest. */
export type Content =
  | { readonly kind: 'directory' }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'file'; readonly host: string }

/** With which a base reads and writes ext4. */
export const LIBEXT = '/usr/lib/fs/libext.so'
const NFS = '/usr/lib/fs/nfs.so'
const REST_SERVER = '/libhttpserver-api.so'
const SEEDS = ['/usr/mgmt/cloud-init.so', '/usr/bin/iso-read.so']
const MOUNT_TOOLS = ['mount-fs.so', 'mount-nfs.so'] as const
const PLUGINS = '/usr/mgmt/plugins/libhttpserver-api_'

const NO_SEEDS = 'seeds are not applied, so guests get neither files nor mounts'
const NO_NFS =
  'NFS cannot be mounted: --mount is refused, and what the node has on NFS is carried into guests and back'
const NO_DISK = 'the working directory is carried into the memory of guests, file by file, and not on a disk'

const NO_TLS = 'the REST server cannot be protected by TLS, and jobs are refused without --insecure-guest-api'
const OF_TLS = /^lib(ssl|crypto)\.so/

/** What does not work without a file, or without a library that it needs. */
const COSTS: ReadonlyMap<string, string> = new Map([
  [REST_SERVER, 'the REST server does not start'],
  ...SEEDS.map((path) => [path, NO_SEEDS] as const),
  [NFS, NO_NFS],
  ...MOUNT_TOOLS.map((name) => [`/tools/${name}`, NO_NFS] as const),
  [LIBEXT, NO_DISK],
])

/** What a base is worth. */
export interface CheckedBase {
  readonly abilities: BaseAbilities
  /** In whole sentences, with what will not work for it. */
  readonly lacks: readonly string[]
  /** Commands in OSv's source tree that bring what its build does not, before it builds again. */
  readonly remedies: readonly string[]
  /** In whole sentences what makes it useless. */
  readonly fatal: readonly string[]
}

/** Says what a base can do, what it lacks, and what makes it useless. */
export function checkBase(contents: ReadonlyMap<string, Content>, kernel: OsvKernel): CheckedBase {
  const follow = (path: string): Content | undefined => {
    const content = contents.get(path)
    return content?.kind === 'symlink' ? contents.get(resolve(dirname(path), content.target)) : content
  }
  const has = (path: string) => follow(path) !== undefined
  const fatal: string[] = []
  const lacks: string[] = []
  const remedies: string[] = []
  const need = (list: string[], path: string, then: string) => {
    if (!has(path)) list.push(`${path} is missing: ${then}`)
  }
  need(fatal, REST_SERVER, 'there is no REST server, and nothing can be started in a guest')
  need(fatal, `${PLUGINS}app.so`, 'the REST server cannot start programs')
  need(fatal, `${PLUGINS}env.so`, 'ranks cannot be given an environment')
  need(fatal, '/libenviron.so', 'programs cannot have an environment of their own (new_program=true)')
  need(lacks, `${PLUGINS}file.so`, 'no files can be copied into guests or back, and mounts cannot be checked')
  need(lacks, `${PLUGINS}os.so`, 'guests cannot be asked to power off, and their kernel log cannot be read')
  need(lacks, `${PLUGINS}fs.so`, 'GET /fs/df does not work')
  need(lacks, `${PLUGINS}network.so`, 'GET /network does not work')
  need(lacks, `${PLUGINS}hardware.so`, 'GET /hardware does not work')

  for (const path of SEEDS) need(lacks, path, NO_SEEDS)
  const starters = [...contents].filter(
    ([path, content]) => path.startsWith('/init/') && content.kind === 'file',
  )
  const started = starters.some(([, content]) => isMentioned('cloud-init.so', content))
  if (!started) lacks.push('nothing in /init starts cloud-init: seeds are not applied')
  const cloudInit = started && SEEDS.every(has)

  const mountTool = MOUNT_TOOLS.find((name) => has(`/tools/${name}`))
  need(lacks, NFS, NO_NFS)
  if (!mountTool) {
    lacks.push(`neither /tools/mount-fs.so nor /tools/mount-nfs.so is there: ${NO_NFS}`)
    // Its build has no part for that in images with ROFS.
    remedies.push(
      'make build/release.x64/tools/mount/mount-fs.so',
      "echo '/tools/mount-fs.so: tools/mount/mount-fs.so' >>build/last/append.manifest",
    )
  }

  const needed = new Map(
    [...contents].map(([path, content]) => [path, content.kind === 'file' ? neededBy(content.host) : []]),
  )
  const libraries = missingLibraries(needed, kernel, has)
  const lame = lameFiles(contents, needed, libraries)
  for (const { path, name } of libraries) {
    const costs = [...COSTS].flatMap(([file, cost]) => (lame.get(file)?.has(name) ? [cost] : []))
    const then = OF_TLS.test(name) ? NO_TLS : [...new Set(costs)].join('; ') || `${path} does not work`
    lacks.push(`${name}, which ${path} needs, is missing: ${then}`)
  }
  remedies.push(
    ...new Set(
      libraries.map(({ name }) => `scripts/manifest_from_host.sh -l ${name} >>build/last/append.manifest`),
    ),
  )
  const server = follow(REST_SERVER)
  const hasSsl = server?.kind === 'file' && neededBy(server.host).some((name) => /^libssl\.so/.test(name))
  if (!hasSsl) lacks.push(`OSv was built without libssl: ${NO_TLS}`)
  const tls = hasSsl && !libraries.some(({ name }) => OF_TLS.test(name))
  const mountsNfs = has(NFS) && !lame.has(NFS) && !lame.has(`/tools/${mountTool}`)
  const nfs = mountsNfs ? mountTool : undefined
  need(lacks, LIBEXT, NO_DISK)
  return { abilities: { tls, cloudInit, ...(nfs === undefined ? {} : { nfs }) }, lacks, remedies, fatal }
}

/** The files that need a missing library, or something that does: which are missing for each. */
function lameFiles(
  contents: ReadonlyMap<string, Content>,
  needed: ReadonlyMap<string, readonly string[]>,
  libraries: readonly { path: string; name: string }[],
): ReadonlyMap<string, ReadonlySet<string>> {
  const lame = new Map<string, Set<string>>()
  const add = (path: string, name: string): void => {
    const names = lame.get(path) ?? new Set()
    if (names.has(name)) return
    lame.set(path, names.add(name))
    for (const [other, content] of contents) {
      const leads = content.kind === 'symlink' && resolve(dirname(other), content.target) === path
      const needs = SEARCHED.test(path) && needed.get(other)?.includes(basename(path))
      if (leads || needs) add(other, name)
    }
  }
  for (const { path, name } of libraries) add(path, name)
  return lame
}

function isMentioned(word: string, content: Content): boolean {
  return content.kind === 'file' && readFileSync(content.host, 'latin1').includes(word)
}

/** What lies where OSv looks for libraries: in / and /usr/lib. */
const SEARCHED = /^\/(usr\/lib\/)?[^/]+$/

/** Libraries that files of the base need and that neither the kernel nor OSv's search path has. */
function missingLibraries(
  needed: ReadonlyMap<string, readonly string[]>,
  kernel: OsvKernel,
  has: (path: string) => boolean,
): { path: string; name: string }[] {
  return [...needed].flatMap(([path, names]) =>
    names
      .filter((name) => !kernel.libraries.has(name) && !has(`/${name}`) && !has(`/usr/lib/${name}`))
      .map((name) => ({ path, name })),
  )
}

function neededBy(host: string): readonly string[] {
  return withFile(host, (source) => {
    const head = source.read(0, 4)
    if (head.toString('latin1') !== '\x7fELF') return []
    return readElf(source, host).needed
  })
}
