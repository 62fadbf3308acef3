// The OSv kernel as a library: which names of libraries it answers to, and which symbols it offers to programs.

import { LeetError } from '../../../common/index.ts'
import { dynamicSymbols, MACHINE_X86_64, readElf, withFile } from '../formats/index.ts'

/** What programs can have from a kernel. */
export interface OsvKernel {
  /** Names of its dynamic symbol table. Versions do not count in OSv. */
  readonly symbols: ReadonlySet<string>
  /** Libraries that it stands for: they must not be in the image. */
  readonly libraries: ReadonlySet<string>
  /** Such as `v0.57.0-398-g0e34e4dc`, where it tells. */
  readonly version?: string
}

/**
 * Names that OSv's kernels have answered to (`supplied_modules` in core/elf.cc of several releases). Which of them this
 * one knows is read from its bytes: libstdc++, for one, is there only when the kernel shows its symbols.
 */
const SUPPLIED = [
  'ld-linux-x86-64.so.2',
  'ld-musl-x86_64.so.1',
  'libaio.so.1',
  'libboost_system.so.1.55.0',
  'libc.musl-x86_64.so.1',
  'libc.so.6',
  'libcrypt.so.1',
  'libdl.so.2',
  'libm.so.6',
  'libpthread.so.0',
  'libresolv.so.2',
  'librt.so.1',
  'libstdc++.so.6',
  'libutil.so',
  'libxenstore.so.3.0',
]

/** Reads a kernel (`loader-stripped.elf` or `loader.elf`). What is none is `LEET_E_OSV_BASE`. */
export function readOsvKernel(path: string): OsvKernel {
  return withFile(path, (source) => {
    const elf = readElf(source, path)
    const symbols = new Set(
      dynamicSymbols(source, elf, path).flatMap(({ name, defined }) => (defined ? [name] : [])),
    )
    if (elf.machine !== MACHINE_X86_64 || !symbols.has('osv_version')) {
      throw new LeetError({
        code: 'LEET_E_OSV_BASE',
        where: path,
        what: 'is not an OSv kernel for x86-64',
        why: elf.machine === MACHINE_X86_64 ? 'it has no symbol osv_version' : `machine ${elf.machine}`,
      })
    }
    const bytes = source.read(0, source.size)
    return {
      symbols,
      libraries: new Set(SUPPLIED.filter((name) => bytes.includes(`${name}\0`))),
      version: /\0(v\d+\.\d+(?:\.\d+)?(?:-\d+-g[0-9a-f]{7,40})?)\0/.exec(bytes.toString('latin1'))?.[1],
    }
  })
}
