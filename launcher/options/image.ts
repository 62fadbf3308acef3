// Options on what guests boot and what is in it: the image, its kernel, its files; and what OSv guests are carried.

import { relative, resolve } from 'node:path'
import { nonEmpty, oneOf, rowsOf } from '../config/row.ts'
import type { Said } from '../config/sources.ts'
import { GUEST_GROUP } from './guests.ts'

const { flag, list, value, wish } = rowsOf(GUEST_GROUP)

/** The rows, in the order of the help. */
export const IMAGE = {
  name: wish({
    key: 'image',
    flags: 'image',
    takes: 'IMAGE',
    environment: 'LEET_IMAGE',
    help: 'image by name, id or directory, or a disk image with cloud-init, or of OSv',
    default: { found: 'composed from the program' },
    parse: nonEmpty,
  }),
  profiles: list({
    key: 'profile',
    flags: 'profile',
    takes: 'NAME,…',
    environment: 'LEET_PROFILE',
    help: 'what programs of some code need besides libraries: openfoam, mpi4py, generic, a file, none',
    default: { found: 'auto, by the program' },
    words: ['auto', 'openfoam', 'mpi4py', 'generic', 'none'],
    parse: parseList,
  }),
  files: list({
    key: 'file',
    flags: 'file',
    takes: 'SRC[:DST]',
    help: 'one more file or directory in the composed image',
    parse: ({ words }) => words,
  }),
  preload: list({
    key: 'preload-files',
    flags: 'preload-files',
    takes: 'FILE,…',
    help: 'files that programs read by their paths: what lies outside of the working directory goes into the image',
    parse: parseList,
  }),
  kernel: wish({
    key: 'kernel',
    flags: 'kernel',
    takes: 'FILE',
    environment: 'LEET_KERNEL',
    help: 'Linux kernel to boot',
    default: { found: 'the newest installed' },
    parse: nonEmpty,
  }),
  modules: wish({
    key: 'modules',
    flags: 'modules',
    takes: 'DIR',
    environment: 'LEET_MODULES',
    help: 'its modules, such as /lib/modules/VERSION',
    parse: nonEmpty,
  }),
  osvBase: wish({
    key: 'osv.base',
    flags: 'osv-base',
    takes: 'BASE',
    environment: 'LEET_OSV_BASE',
    help: 'OSv base by id or directory',
    default: { found: 'the one imported last' },
    parse: nonEmpty,
  }),
  osvCompat: flag({
    key: 'osv.compat',
    flags: 'no-osv-compat',
    help: 'leave the compatibility library out of OSv images',
  }),
  stage: value({
    key: 'osv.stage',
    flags: 'stage',
    takes: 'WHEN',
    environment: 'LEET_STAGE',
    help: 'carry the working directory into OSv guests and to nodes that lack it, and results back: auto, where they cannot have it otherwise; always; never',
    default: { word: 'auto' },
    parse: oneOf(['auto', 'always', 'never']),
  }),
  stageIn: list({
    key: 'osv.stage-in',
    flags: 'stage-in',
    takes: 'PATH',
    environment: 'LEET_STAGE_IN',
    replaces: true,
    help: 'carry this file or directory, too, from anywhere on the node',
    parse: parsePath,
  }),
  stageOnly: list({
    key: 'osv.stage-only',
    flags: 'stage-only',
    takes: 'PATTERN',
    environment: 'LEET_STAGE_ONLY',
    replaces: true,
    help: 'carry only this of the working directory; `none`: nothing',
    default: { found: 'all of it' },
    parse: parsePath,
  }),
  stageOut: list({
    key: 'osv.stage-out',
    flags: 'stage-out',
    takes: 'PATTERN',
    environment: 'LEET_STAGE_OUT',
    replaces: true,
    help: 'carry only this back; `none`: nothing',
    default: { found: 'all that the ranks made or changed' },
    parse: parsePath,
  }),
  finalizeRescue: flag({
    key: 'finalize-rescue',
    flags: 'no-finalize-rescue',
    help: 'do not rescue MPICH 4.0 over UCX from its hang in MPI_Finalize',
  }),
}

/** Whether a file lies outside of a directory; what lies in it is in every guest as it is, if the directory is. */
export function isOutside(directory: string, file: string): boolean {
  return relative(directory, resolve(directory, file)).startsWith('..')
}

function parseList({ words: [list = ''] }: Said): string[] {
  return list.split(',').filter(Boolean)
}

function parsePath({ words: [text = ''], where }: Said): string[] {
  return [nonEmpty(text, where)]
}
