// What a file system holds before it is written: directories, files and symbolic links, without their paths.
import type { Stats } from 'node:fs'
import { LeetError } from '../../../common/index.ts'

/** Where the bytes of a file come from. A host file is known by what stat(2) said when it was added. */
export type FileContent =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'host'
      readonly path: string
      /** Device, inode, size, mtime and ctime: equal while the content is. */
      readonly stamp: string
    }

/** One entry of a tree. Modes are permission bits. */
export type TreeEntry =
  | { readonly kind: 'directory'; readonly mode: number }
  | {
      readonly kind: 'file'
      readonly mode: number
      readonly size: number
      /** Seconds since 1970; of files made here 0. */
      readonly mtime: number
      readonly content: FileContent
    }
  | { readonly kind: 'symlink'; readonly target: string }

/** What tells whether a file has changed, without reading it. */
export function stampOf(stats: Stats): string {
  return `${stats.dev}:${stats.ino}:${stats.size}:${stats.mtimeMs}:${stats.ctimeMs}`
}

/** What is said of a file that is not what it was when it was listed. */
export function changedFile(path: string): LeetError {
  return new LeetError({
    code: 'LEET_E_IMAGE_CHANGED',
    where: path,
    what: 'changed while the image was made of it',
    hint: 'start again when nothing writes to it',
  })
}
