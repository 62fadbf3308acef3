// A script that stands before QEMU in PATH, for tests of what a hypervisor does that does not do its work.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { LeetOptions, Playground } from '../support/leet.ts'

/** Options with which QEMU is started through a script that does something, in words of sh, before each start of a guest. */
export function throughScript(place: Playground, name: string, before: string): LeetOptions {
  const folder = join(place.directory, name)
  mkdirSync(folder)
  const script = join(folder, 'qemu-system-x86_64')
  // The trial of KVM starts QEMU, too.
  const lines = ['#!/bin/sh', `PATH=\${PATH#*:}`, `case "$*" in *guest=*) ${before};; esac`]
  writeFileSync(script, [...lines, 'exec qemu-system-x86_64 "$@"', ''].join('\n'))
  chmodSync(script, 0o755)
  return { cwd: place.directory, env: { ...place.env, PATH: `${folder}:${process.env.PATH}` } }
}
