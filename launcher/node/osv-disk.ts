// OSv disk images that boot by themselves, through the BIOS: what they are told at their start stands in the image itself, so
// each guest gets a layer of its own over it in which that is said.
// Source: arch/x64/boot16.S and scripts/imgedit.py of OSv: a text that a NUL ends, from byte 512 on.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname } from 'node:path'
import { LeetError, runCommand, type WaitLimits } from '../../common/index.ts'
import type { DiskImageFile } from './worker.ts'

const COMMAND_LINE_AT = 512
/** Of what OSv reads there, as much as LEET looks at and writes: OSv's own REST call takes no more. */
const COMMAND_LINE_BYTES = 1024

/**
 * What the image's own command line says of its root file system, `--rootfs=rofs`, as a list for another one. Pure.
 * `LEET_E_IMAGE` when there is no command line, so it is no OSv.
 */
export function rootWords(bytes: Uint8Array, where: string): string[] {
  const end = bytes.indexOf(0)
  const text = Buffer.from(bytes.subarray(0, end < 0 ? bytes.length : end)).toString('latin1')
  if (!/^[\x20-\x7e]+$/.test(text)) {
    throw new LeetError({
      code: 'LEET_E_IMAGE',
      where,
      what: 'is no OSv image: there is no command line at byte 512',
      hint: 'a disk image that OSv’s scripts/build made; without --guest osv it is taken for a Linux with cloud-init',
    })
  }
  return text.split(/ +/).filter((word) => /^--(rootfs|mount|nomount|preload-zfs-library)\b/.test(word))
}

/** Makes the layer of a guest at `path`; `commandLine` is given what `rootWords` finds. */
export async function makeOsvLayer(
  path: string,
  { disk, format }: DiskImageFile,
  commandLine: (root: readonly string[]) => string,
  limits: WaitLimits,
): Promise<void> {
  const run = async (argv: readonly [string, ...string[]], what: string) => {
    const { status, stderr } = await runCommand(argv, { ...limits, cwd: dirname(path) })
    if (status === 0) return
    throw new LeetError({ code: 'LEET_E_IMAGE', where: disk, what, why: stderr.trim().slice(-500) })
  }
  await run(
    ['qemu-img', 'create', '-q', '-f', 'qcow2', '-F', format, '-b', disk, path],
    'qemu-img cannot make a layer over the image',
  )
  const said = `${path}.command`
  const block = `bs=${COMMAND_LINE_AT}`
  const count = `count=${1 + COMMAND_LINE_BYTES / COMMAND_LINE_AT}`
  await run(
    ['qemu-img', 'dd', '-f', format, '-O', 'raw', block, count, `if=${disk}`, `of=${said}`],
    'qemu-img cannot read the image',
  )
  try {
    const head = readFileSync(said)
    const line = Buffer.alloc(COMMAND_LINE_BYTES)
    const text = commandLine(rootWords(head.subarray(COMMAND_LINE_AT), disk))
    if (line.write(text, 'latin1') >= COMMAND_LINE_BYTES) {
      throw new LeetError({
        code: 'LEET_E_OSV_BOOT',
        where: disk,
        what: 'the command line would be too long',
      })
    }
    writeFileSync(said, line)
    // A name without a directory: qemu-io splits its commands at blanks and knows no quotes.
    const write = `write -s ${basename(said)} ${COMMAND_LINE_AT} ${COMMAND_LINE_BYTES}`
    await run(['qemu-io', '-f', 'qcow2', '-c', write, path], 'qemu-io cannot write the command line')
  } finally {
    rmSync(said, { force: true })
  }
}
