// The guest's kernel: found among the host's own, turned into the form that boots fastest.
// Debian's cloud kernel has no 9p: linux-image-amd64 has.
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { EXIT_USAGE, LeetError, type Log, messageOf, type WaitLimits } from '../../common/index.ts'
import { decompress } from './decompress.ts'
import { isElf } from './formats/index.ts'
import { loadOrder, type ModuleIndex, readModuleIndex } from './modules.ts'

/** A kernel and its modules. */
export interface Kernel {
  readonly file: string
  /** Directory with modules.dep. */
  readonly modules: string
  readonly index: ModuleIndex
}

/** Where kernels are looked for: a new one in either is found at the next compose. */
export const KERNEL_DIRECTORIES = ['/boot', '/lib/modules']

/** Modules a guest cannot be without: the root disk, the writable root, the network, the working directory. */
export const ROOT_MODULES = ['virtio_pci', 'virtio_blk', 'erofs', 'overlay']
const NETWORK_MODULES = ['virtio_net']
/** Built into many kernels: the socket of DHCP clients, random numbers, the seed's file system. */
const OTHER_MODULES = ['af_packet', 'virtio_rng', 'isofs']
const SHARE_MODULES = ['9p', '9pnet_virtio']

/**
 * The sets of modules on the disk, by the names that the guest's init asks for. When a module is missing, the mount that
 * needs it fails, and init says so.
 */
export const MODULE_SETS: Readonly<Record<string, readonly string[]>> = {
  base: [...NETWORK_MODULES, ...OTHER_MODULES],
  '9p': SHARE_MODULES,
  virtiofs: ['virtiofs'],
  nfs: ['nfs', 'nfsv3'],
  nfs4: ['nfs', 'nfsv4'],
}

/** The kernel given by hand, or the newest of the host's that can be read and has what guests need. */
export function findKernel(given: { readonly file: string; readonly modules: string } | undefined): Kernel {
  if (given) {
    checkReadable(given.file)
    const missing = unusable(given.modules)
    if (missing) throw kernelError(given.modules, missing)
    return { ...given, index: readModuleIndex(given.modules) }
  }
  const reasons: string[] = []
  for (const version of installedVersions()) {
    const modules = `/lib/modules/${version}`
    const file = [`/boot/vmlinuz-${version}`, `${modules}/vmlinuz`].find(existsSync)
    if (!file) continue
    const why = isReadable(file) ? unusable(modules) : 'cannot be read by this user'
    if (!why) return { file, modules, index: readModuleIndex(modules) }
    reasons.push(`${file}: ${why}`)
  }
  throw new LeetError({
    code: 'LEET_E_KERNEL',
    exitCode: EXIT_USAGE,
    what: 'no kernel for Linux guests was found below /boot and /lib/modules',
    why: reasons.join('; ') || undefined,
    hint: 'install linux-image-amd64 (not the cloud kernel), or give --kernel FILE --modules DIR',
  })
}

function installedVersions(): string[] {
  try {
    // By number where there are numbers: 6.1.0-56 is newer than 6.1.0-9.
    return readdirSync('/lib/modules').sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))
  } catch {
    return []
  }
}

/** Why guests cannot use these modules; undefined when they can. */
function unusable(modules: string): string | undefined {
  if (!isReadable(join(modules, 'modules.dep'))) return 'modules.dep cannot be read'
  const { unknown } = loadOrder(readModuleIndex(modules), [
    ...ROOT_MODULES,
    ...NETWORK_MODULES,
    ...SHARE_MODULES,
    'isofs',
  ])
  return unknown.length > 0 ? `the kernel has no ${unknown.join(', ')}` : undefined
}

/**
 * The kernel's bytes for QEMU's `-kernel`: an uncompressed ELF image with a PVH entry point where one is inside
 * (its decompression takes longer than all the rest of the boot under emulation), else the file as it is.
 */
export async function readKernel(file: string, log: Log, limits: WaitLimits): Promise<Buffer> {
  const bytes = await readFile(file)
  if (isElf(bytes)) return bytes
  const payload = kernelPayload(bytes)
  if (!payload) throw kernelError(file, 'is not a Linux kernel for x86-64')
  try {
    const kernel = await decompress(payload, file, limits)
    if (isElf(kernel) && hasPvhEntry(kernel)) return kernel
    log.detail(`${file}: has no PVH entry point, guests will decompress it`)
  } catch (error) {
    log.detail(`${messageOf(error)}; guests will decompress it, which is slow under emulation`)
  }
  return bytes
}

/** The compressed kernel in a bzImage (Documentation/x86/boot.rst, payload_offset); undefined when it is none. */
export function kernelPayload(image: Buffer): Buffer | undefined {
  if (image.length < 0x250 || image.toString('latin1', 0x202, 0x206) !== 'HdrS') return undefined
  if (image.readUInt16LE(0x206) < 0x208) return undefined
  const setupSectors = image.readUInt8(0x1f1) || 4
  const start = (setupSectors + 1) * 512 + image.readUInt32LE(0x248)
  const end = start + image.readUInt32LE(0x24c)
  if (end > image.length || end - start < 16) return undefined
  // The build appends the uncompressed size to what is not gzip; gzip ends with it anyway.
  return image.subarray(start, image.readUInt16BE(start) === 0x1f8b ? end : end - 4)
}

/** Whether an ELF kernel has the note that tells QEMU its PVH entry point (XEN_ELFNOTE_PHYS32_ENTRY). */
export function hasPvhEntry(kernel: Buffer): boolean {
  const note = Buffer.alloc(16)
  note.writeUInt32LE(4, 0) // length of the name
  note.writeUInt32LE(18, 8) // XEN_ELFNOTE_PHYS32_ENTRY
  note.write('Xen\0', 12, 'latin1')
  for (const size of [4, 8]) {
    note.writeUInt32LE(size, 4)
    if (kernel.includes(note)) return true
  }
  return false
}

function checkReadable(file: string): void {
  if (!isReadable(file)) throw kernelError(file, 'cannot be read')
}

function isReadable(file: string): boolean {
  try {
    accessSync(file, constants.R_OK)
    return true
  } catch {
    return false
  }
}

function kernelError(where: string, what: string): LeetError {
  return new LeetError({
    code: 'LEET_E_KERNEL',
    exitCode: EXIT_USAGE,
    where,
    what,
    hint: `give --kernel FILE --modules DIR of a kernel with ${[...ROOT_MODULES, ...SHARE_MODULES].map((m) => basename(m)).join(', ')}`,
  })
}
