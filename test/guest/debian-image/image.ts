// The Debian disk image of tests, made by build.sh and kept in the user's cache until its recipe changes.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Deadline, runCommand } from '../../../common/index.ts'
import { cacheDirectory } from '../../../launcher/images/store.ts'

/** Commands that the recipe needs. */
export const IMAGE_TOOLS = ['mmdebstrap', 'mke2fs', 'grub-mkimage', 'sfdisk', 'qemu-img']

const SYSTEM = ['systemd-sysv', 'linux-image-cloud-amd64', 'initramfs-tools', 'udev']
const SERVICES = ['cloud-init', 'openssh-server', 'nfs-common']
const BUILD_MS = 300_000

/** Path of a qcow2 image of Debian 12 with cloud-init, an NFS client and these packages; made when it is not there. */
export async function debianImage(packages: readonly string[]): Promise<string> {
  const recipe = join(import.meta.dirname, 'build.sh')
  const wanted = [...SYSTEM, ...SERVICES, ...packages]
  const key = createHash('sha256').update(readFileSync(recipe)).update(wanted.join(' ')).digest('hex')
  const folder = join(cacheDirectory(process.env), 'test-images')
  const image = join(folder, `${key.slice(0, 16)}.qcow2`)
  if (existsSync(image)) return image
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // Of an older recipe, or of a build that was killed.
  for (const name of readdirSync(folder)) rmSync(join(folder, name), { recursive: true })
  const { status, stderr } = await runCommand(['sh', recipe, image, ...wanted], {
    deadline: Deadline.after(BUILD_MS),
    env: process.env,
  })
  if (status !== 0) throw new Error(`${recipe}: ${stderr.slice(-2000)}`)
  return image
}
