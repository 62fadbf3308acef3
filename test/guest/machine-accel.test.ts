// Whether an accelerator works is tried with a real QEMU; what was found is remembered.
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { Log } from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { chooseAccelerator, tryAccelerator } from '../../launcher/machines/accel.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import { describeWith, isMet } from '../support/needs.ts'

describeWith(['qemu-system-x86_64'], 'the accelerator', () => {
  let folder: string
  let journal: Journal
  let said: string[]

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
    journal = await Journal.open({ jobId: 'test', root: join(folder, 'root') })
    said = []
  })
  afterEach(async () => {
    await journal.close()
    rmSync(folder, { recursive: true })
  })

  const log: Log = { note() {}, warn() {}, detail: (line) => said.push(line) }
  const program = (script: string): string => {
    const path = join(folder, 'qemu')
    writeFileSync(path, `#!/bin/sh\n${script}\n`)
    chmodSync(path, 0o755)
    return path
  }

  it('works when the tiny guest gets through', async () => {
    expect(await tryAccelerator('tcg', 10_000, { journal, qemu: findQemu() })).toEqual({ works: true })
  })

  it('does not work when QEMU refuses, or the guest never arrives', async () => {
    const refusing = program('echo "failed to initialize kvm: No such device" >&2; exit 1')
    expect(await tryAccelerator('kvm', 10_000, { journal, qemu: refusing })).toEqual({
      works: false,
      why: 'failed to initialize kvm: No such device',
    })
    expect(await tryAccelerator('kvm', 10_000, { journal, qemu: program('exit 0') })).toEqual({
      works: false,
      why: 'a tiny guest did not get through',
    })
    expect(await tryAccelerator('kvm', 50, { journal, qemu: program('exec sleep 1000') })).toEqual({
      works: false,
      why: 'a tiny guest did not get through in 50 ms',
    })
  })

  it.runIf(isMet('a trial of KVM', '/dev/kvm', existsSync('/dev/kvm')))(
    'is tried once and then remembered',
    async () => {
      const tries = join(folder, 'tries')
      const qemu = program(`echo "$*" | grep -o 'accel [a-z]*' >> ${tries}; exit 65`)
      const cacheDirectory = join(folder, 'cache')
      const choose = () => chooseAccelerator({ journal, qemu, cacheDirectory, log })
      expect(await choose()).toBe('kvm')
      expect(await choose()).toBe('kvm')
      expect(readFileSync(tries, 'utf8')).toBe('accel tcg\naccel kvm\n')
      expect(said).toEqual(['guests run under KVM', 'guests run under KVM'])
      expect(readdirSync(join(cacheDirectory, 'accelerator'))).toHaveLength(1)
    },
  )
})
