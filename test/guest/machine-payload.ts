// The least that boots: Debian's kernel with an initramfs of busybox, the virtio network modules and a script.
import { execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Deadline, silentLog } from '../../common/index.ts'
import { readKernel } from '../../launcher/images/kernel.ts'
import type { DirectKernel } from '../../launcher/machines/spec.ts'

const MODULES = ['kernel/drivers/virtio/virtio_pci.ko', 'kernel/drivers/net/virtio_net.ko']

/** Debian's kernel, decompressed into `folder`: under emulation that is done faster once here than at every boot. */
export async function bootableKernel(folder: string): Promise<string> {
  const path = join(folder, 'vmlinux')
  writeFileSync(path, await readKernel(kernelImage(), silentLog, { deadline: Deadline.after(60_000) }))
  return path
}

/** A kernel that runs `script` (busybox sh) as its init; `folder` takes the initramfs. */
export function bootScript(folder: string, name: string, image: string, script: string): DirectKernel {
  const release = kernelRelease()
  const root = join(folder, `${name}.root`)
  for (const directory of ['bin', 'dev', 'proc', 'sys', 'modules']) {
    mkdirSync(join(root, directory), { recursive: true })
  }
  copyFileSync('/bin/busybox', join(root, 'bin/busybox'))
  const modules = withDependencies(release, MODULES).map((module) => {
    copyFileSync(`/lib/modules/${release}/${module}`, join(root, 'modules', basename(module)))
    return `insmod /modules/${basename(module)}`
  })
  const init = [
    '#!/bin/busybox sh',
    '/bin/busybox --install -s /bin',
    'mount -t devtmpfs dev /dev; mount -t proc proc /proc; mount -t sysfs sys /sys',
    'exec >/dev/console 2>&1',
    ...modules,
    'ip link set lo up',
    script,
    'sleep 1000000',
  ]
  writeFileSync(join(root, 'init'), `${init.join('\n')}\n`)
  chmodSync(join(root, 'init'), 0o755)
  const initrd = join(folder, `${name}.cpio`)
  execFileSync('sh', ['-c', 'find . | cpio -o -H newc --quiet > "$0"', initrd], { cwd: root })
  return {
    image,
    initrd,
    commandLine:
      'console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on tsc=reliable no_timer_check ipv6.disable=1',
  }
}

/** Debian's kernel. */
export function kernelImage(): string {
  return `/boot/vmlinuz-${kernelRelease()}`
}

// Each line of modules.dep is `MODULE: DEPENDENCIES`, those to be loaded first at the end.
function withDependencies(release: string, modules: readonly string[]): string[] {
  const lines = readFileSync(`/lib/modules/${release}/modules.dep`, 'utf8').split('\n')
  const all = modules.flatMap((module) => {
    const line = lines.find((candidate) => candidate.startsWith(`${module}:`)) ?? ''
    return [
      module,
      ...line
        .slice(module.length + 1)
        .trim()
        .split(' '),
    ]
      .filter(Boolean)
      .toReversed()
  })
  return [...new Set(all)]
}

function kernelRelease(): string {
  const releases = readdirSync('/lib/modules').filter((name) =>
    readdirSync('/boot').includes(`vmlinuz-${name}`),
  )
  if (releases[0] === undefined) throw new Error('no kernel with modules: install linux-image-amd64')
  return releases[0]
}
