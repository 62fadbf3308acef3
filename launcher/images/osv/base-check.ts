// What a base of OSv images can do, what it lacks, and what makes it useless, told from its files.
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
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
const REST_SERVER = '/libhttpserver-api.so'
const PLUGINS = '/usr/mgmt/plugins/libhttpserver-api_'

/** Says what a base can do, what it lacks, and what makes it useless. */
export function checkBase(
  contents: ReadonlyMap<string, Content>,
  kernel: OsvKernel,
): { abilities: BaseAbilities; lacks: string[]; fatal: string[] } {
  const follow = (path: string): Content | undefined => {
    const content = contents.get(path)
    return content?.kind === 'symlink' ? contents.get(resolve(dirname(path), content.target)) : content
  }
  const has = (path: string) => follow(path) !== undefined
  const fatal: string[] = []
  const lacks: string[] = []
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

  const seeds = ['/usr/mgmt/cloud-init.so', '/usr/bin/iso-read.so']
  for (const path of seeds) need(lacks, path, 'seeds are not applied, so guests get neither files nor mounts')
  const starters = [...contents].filter(
    ([path, content]) => path.startsWith('/init/') && content.kind === 'file',
  )
  const started = starters.some(([, content]) => isMentioned('cloud-init.so', content))
  if (!started) lacks.push('nothing in /init starts cloud-init: seeds are not applied')
  const cloudInit = started && seeds.every(has)

  const mountTool = (['mount-fs.so', 'mount-nfs.so'] as const).find((name) => has(`/tools/${name}`))
  need(lacks, '/usr/lib/fs/nfs.so', 'NFS cannot be mounted')
  if (!mountTool) {
    lacks.push(
      'neither /tools/mount-fs.so nor /tools/mount-nfs.so is there: NFS cannot be mounted (a line `/tools/mount-fs.so: tools/mount/mount-fs.so` in usr_rofs.manifest.skel brings it)',
    )
  }

  const libraries = missingLibraries(contents, kernel, has)
  lacks.push(
    ...libraries.map(({ path, name }) => `${name}, which ${path} needs, is missing: ${path} does not work`),
  )
  const server = follow(REST_SERVER)
  const tls =
    server?.kind === 'file' &&
    neededBy(server.host).some((name) => /^libssl\.so/.test(name)) &&
    !libraries.some(({ name }) => /^lib(ssl|crypto)\.so/.test(name))
  if (!tls) lacks.push('libssl is missing: the REST server cannot be protected by TLS')
  const nfs = has('/usr/lib/fs/nfs.so') ? mountTool : undefined
  need(
    lacks,
    LIBEXT,
    'the working directory is carried into the memory of guests, file by file, and not on a disk',
  )
  return { abilities: { tls, cloudInit, ...(nfs === undefined ? {} : { nfs }) }, lacks, fatal }
}

function isMentioned(word: string, content: Content): boolean {
  return content.kind === 'file' && readFileSync(content.host, 'latin1').includes(word)
}

/** Libraries that files of the base need and that neither the kernel nor OSv's search path (/, /usr/lib) has. */
function missingLibraries(
  contents: ReadonlyMap<string, Content>,
  kernel: OsvKernel,
  has: (path: string) => boolean,
): { path: string; name: string }[] {
  return [...contents].flatMap(([path, content]) =>
    content.kind !== 'file'
      ? []
      : neededBy(content.host)
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
