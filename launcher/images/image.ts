// What is asked of the composer of Linux images and what it gives. The composer itself is linux.ts.
import type { Environment } from './inspect.ts'
import type { MpiFacts } from './mpi.ts'

/** A file or directory of the user's for the image: `--file SRC[:DST]`. */
export interface ImageFile {
  /** Path on this host; relative ones are taken from the request's directory. */
  readonly source: string
  /** Absolute path in the guest; the source's own absolute path when absent. */
  readonly destination?: string
}

/** What an image is to be made of. */
export interface LinuxImageRequest {
  /** Programs as the user names them: paths, or names on PATH. */
  readonly programs: readonly string[]
  readonly files?: readonly ImageFile[]
  /** PATH, LD_LIBRARY_PATH, LD_PRELOAD and what MPI libraries take their directories from (OPAL_PREFIX, …) are read of it. */
  readonly env: Environment
  /** Working directory of the job: what relative names start from. */
  readonly directory: string
  /** The starter: a static program that becomes `/leet/starter` in the guest. */
  readonly starter: { readonly path: string }
  /** Kernel image and its modules (a directory with modules.dep, such as /lib/modules/6.1.0); found when absent. */
  readonly kernel?: { readonly file: string; readonly modules: string }
  /**
   * Directories that every guest gets by a mount at the same path. What lies below them is left out of the image, so
   * that a program compiled anew does not need a new image.
   */
  readonly shared?: readonly string[]
}

/** A program in an image. */
export interface ImageProgram {
  /** As in the request. */
  readonly name: string
  /** Absolute path in the guest. */
  readonly path: string
  readonly mpi: MpiFacts
}

/** An image on this node: three files that are never changed once they are there. */
export interface LinuxImage {
  /** SHA-256 of the content, hexadecimal. */
  readonly id: string
  /** Linux kernel for QEMU's `-kernel`. */
  readonly kernel: string
  /** Initial RAM file system for QEMU's `-initrd`, a few MiB. */
  readonly initrd: string
  /** Read-only root, a raw disk image to be given as a virtio-blk device to any number of guests. */
  readonly disk: string
  readonly programs: readonly ImageProgram[]
  /** The one MPI of the programs; `none` when they have none. */
  readonly mpi: MpiFacts
  /** Whether the image was made just now (false: it was there already). */
  readonly composed: boolean
}
