// Which MPI a program uses, read from what the program links: the library's own symbols and version strings decide,
// not its file name, because libmpi.so.12 may be MPICH, Intel MPI or MVAPICH and libmpi.so.40 any Open MPI since 2.
import { basename } from 'node:path'
import { LeetError } from '../../common/index.ts'
import { definesSymbol, textOfSymbol, withFile } from './formats/index.ts'
import type { LinkMap, LoadedObject } from './loader.ts'

/** The MPI of a program. */
export interface MpiFacts {
  readonly flavour: 'mpich' | 'openmpi' | 'none'
  /** Path of the MPI library; the program itself when MPI is linked statically. */
  readonly library?: string
  /** Such as `4.0.2` or `4.1.4`, where the library tells. */
  readonly version?: string
  /** MPICH's device, such as `ch4:ucx` or `ch3:nemesis`, where the library tells. */
  readonly device?: string
}

/** Whether MPI_Init fails in OSv, also of a single rank: UCX lists interfaces in /sys/class/net, which OSv does not have. */
export function failsInOsv({ device }: MpiFacts): boolean {
  return device?.includes('ucx') ?? false
}

/** The MPI of what is mapped in a program's process. */
export function findMpi(map: LinkMap): MpiFacts {
  for (const object of map.objects) {
    // Every MPI calls its library libmpi or libmpich, with suffixes for the vendor or compiler.
    if (!/^libmpi/.test(basename(object.path))) continue
    const facts = mpiOfLibrary(object)
    if (facts) return facts
  }
  return mpiInside(map.program.path)
}

/**
 * The one MPI of the programs of an image: with different ones none could talk to the others, which is `LEET_E_LIBRARY`.
 * Programs without any are no matter.
 */
export function mpiOfAll(programs: readonly { readonly path: string; readonly mpi: MpiFacts }[]): MpiFacts {
  const [first, ...others] = programs.filter(({ mpi }) => mpi.flavour !== 'none')
  if (!first) return { flavour: 'none' }
  const other = others.find(({ mpi }) => mpi.flavour !== first.mpi.flavour)
  if (!other) return first.mpi
  throw new LeetError({
    code: 'LEET_E_LIBRARY',
    what: 'the programs use different MPI libraries',
    why: `${first.path}: ${first.mpi.flavour}, ${other.path}: ${other.mpi.flavour}`,
  })
}

/** The MPI that this library is; undefined for Fortran or C++ wrappers and anything else. */
function mpiOfLibrary({ path, elf }: LoadedObject): MpiFacts | undefined {
  return withFile(path, (source) => {
    const text = (name: string) => textOfSymbol(source, elf, name, path) || undefined
    const has = (name: string) => definesSymbol(source, elf, name, path)
    if (!has('MPI_Init')) return undefined
    // ompi/runtime/params.c and version.c of Open MPI 1.3 to 5; src/mpi/errhan or init/initinfo.c of MPICH.
    if (has('ompi_mpi_init') || has('ompi_mpi_comm_world')) {
      return { flavour: 'openmpi', library: path, version: text('ompi_version_string') }
    }
    return {
      flavour: 'mpich',
      library: path,
      version: text('MPII_Version_string') ?? text('MPIR_Version_string'),
      device: text('MPII_Version_device') ?? text('MPIR_Version_device'),
    }
  })
}

/** A program that contains its MPI: names that every MPI_Init of that library refers to are among its bytes. */
function mpiInside(program: string): MpiFacts {
  return withFile(program, (source) => {
    const marks = { mpich: Buffer.from('MPIR_CVAR_'), openmpi: Buffer.from('ompi_mpi_init') }
    const overlap = 16
    for (let at = 0; at < source.size; at += CHUNK - overlap) {
      const bytes = source.read(at, Math.min(CHUNK, source.size - at))
      if (bytes.includes(marks.mpich)) return { flavour: 'mpich', library: program }
      if (bytes.includes(marks.openmpi)) return { flavour: 'openmpi', library: program }
      if (bytes.length <= overlap) break
    }
    return { flavour: 'none' }
  })
}
const CHUNK = 4 << 20
