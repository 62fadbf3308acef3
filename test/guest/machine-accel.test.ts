// Whether an accelerator works is tried with a real QEMU, on a busy node as on an idle one; what was found is remembered.
import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { endOf, type Log, withParentDeathSignal } from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { chooseAccelerator } from '../../launcher/machines/accel.ts'
import { FAILURE_KEPT_MS } from '../../launcher/machines/accel-findings.ts'
import { tryAccelerator } from '../../launcher/machines/accel-trial.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import { describeWith } from '../support/needs.ts'

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

  /** More CPU time than the tiny guest can need. */
  const AMPLE_MS = 10_000
  const options = (qemu: string) => ({ journal, qemu })

  it('works when the tiny guest gets through', async () => {
    expect(await tryAccelerator('tcg', AMPLE_MS, options(findQemu()))).toEqual({ works: true })
  })

  describe('beside processes that take all processors', () => {
    const LOOPS = 2 * availableParallelism()
    let busy: ChildProcess[]
    beforeEach(() => {
      busy = Array.from({ length: LOOPS }, () => {
        const [command, ...args] = withParentDeathSignal(['sh', '-c', 'while :; do :; done'])
        return spawn(command as string, args, { stdio: 'ignore' })
      })
    })
    afterEach(async () => {
      const ends = busy.map(endOf)
      for (const one of busy) one.kill('SIGKILL')
      await Promise.all(ends)
    })

    it('works all the same', async () => {
      expect(await tryAccelerator('tcg', AMPLE_MS, options(findQemu()))).toEqual({ works: true })
    })

    it('does not work all the same when the guest only uses CPU time, or does nothing', async () => {
      const looping = program('while :; do :; done')
      expect(await tryAccelerator('kvm', 200, options(looping))).toEqual({
        works: false,
        why: 'a tiny guest did not get through under KVM',
      })
      expect(await tryAccelerator('kvm', AMPLE_MS, options(program('exec sleep 1000')))).toEqual({
        works: false,
        why: 'a tiny guest did nothing under KVM in 3 tries',
      })
    })
  })

  it('does not work when QEMU refuses, or ends without the guest', async () => {
    const refusing = program('echo "failed to initialize kvm: No such device" >&2; exit 1')
    expect(await tryAccelerator('kvm', AMPLE_MS, options(refusing))).toEqual({
      works: false,
      why: 'failed to initialize kvm: No such device',
    })
    expect(await tryAccelerator('kvm', AMPLE_MS, options(program('exit 0')))).toEqual({
      works: false,
      why: 'a tiny guest did not get through under KVM',
    })
  })

  it('works when the guest does nothing once, and gets through at the next try', async () => {
    const once = join(folder, 'once')
    const late = program(`[ -e ${once} ] && exit 65; : > ${once}; exec sleep 1000`)
    expect(await tryAccelerator('kvm', AMPLE_MS, options(late))).toEqual({ works: true })
  })

  describe('of this node', () => {
    const tries = () => readFileSync(join(folder, 'tries'), 'utf8').split('\n').filter(Boolean)
    const ending = (status: number) =>
      program(`echo "$*" | grep -o 'accel [a-z]*' >> ${join(folder, 'tries')}; exit ${status}`)
    const cacheDirectory = () => join(folder, 'cache')
    /** As on a node with such a device, whether this one has it or not: the QEMUs are none. */
    const choose = (qemu: string) => {
      const device = join(folder, 'kvm')
      writeFileSync(device, '')
      return chooseAccelerator({ journal, qemu, cacheDirectory: cacheDirectory(), log, device })
    }

    it('is tried once and then remembered', async () => {
      const qemu = ending(65)
      expect(await choose(qemu)).toEqual({ accelerator: 'kvm' })
      expect(await choose(qemu)).toEqual({ accelerator: 'kvm' })
      expect(tries()).toEqual(['accel tcg', 'accel kvm'])
      expect(said).toEqual(['guests run under KVM', 'guests run under KVM'])
      expect(readdirSync(join(cacheDirectory(), 'accelerator'))).toHaveLength(1)
    })

    it('is tried again when it did not work some minutes ago', async () => {
      const why = 'a tiny guest did not get through under KVM (tried again after 10 minutes)'
      expect(await choose(ending(1))).toEqual({ accelerator: 'tcg', why })
      expect(await choose(ending(65))).toEqual({ accelerator: 'tcg', why })
      expect(tries()).toEqual(['accel tcg', 'accel kvm'])
      const accelerators = join(cacheDirectory(), 'accelerator')
      const file = join(accelerators, readdirSync(accelerators)[0] as string)
      const kept = JSON.parse(readFileSync(file, 'utf8'))
      writeFileSync(file, JSON.stringify({ ...kept, at: kept.at - FAILURE_KEPT_MS }))
      expect(await choose(ending(65))).toEqual({ accelerator: 'kvm' })
      expect(tries()).toHaveLength(4)
    })
  })
})
