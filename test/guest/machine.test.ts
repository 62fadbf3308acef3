// Real QEMU machines: started, followed, ended, and what is said when they end by themselves.

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { Deadline, identify, isRunning, type ProcessIdentity, poll, silentLog } from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import type { MachineContext } from '../../launcher/machines/driver.ts'
import { startMachine } from '../../launcher/machines/machine.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import type { MachineSpec, Nic } from '../../launcher/machines/spec.ts'
import { describeWith } from '../support/needs.ts'
import { scopePerTest } from '../support/scope.ts'
import { bootableKernel, bootScript } from './machine-payload.ts'

describeWith(['qemu-system-x86_64', 'busybox', 'cpio'], 'a machine', () => {
  let kernel: string
  let folder: string
  let journal: Journal
  let lines: string[]

  const kernelFolder = mkdtempSync(join(tmpdir(), 'leet-test-'))
  beforeAll(async () => {
    kernel = await bootableKernel(kernelFolder)
  })
  afterAll(() => rmSync(kernelFolder, { recursive: true }))

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
    journal = await Journal.open({ jobId: 'test', root: join(folder, 'root') })
    lines = []
  })
  afterEach(async () => {
    await journal.close()
    rmSync(folder, { recursive: true })
  })

  const scope = scopePerTest()
  const context = (): MachineContext => ({
    scope: scope(),
    journal,
    log: silentLog,
    qemu: findQemu(),
    accelerator: 'tcg',
    deadline: Deadline.after(30_000),
    onConsoleLine: (line) => lines.push(line),
  })
  const specOf = (script: string, nics: Nic[] = [], name = 'g0'): MachineSpec => ({
    name,
    memory: 256 << 20,
    cpus: 1,
    machineType: 'q35',
    kernel: bootScript(folder, name, kernel, script),
    disks: [],
    nics,
    shares: [],
    consoleFile: journal.path(`${name}.console`),
  })
  const limits = () => ({ deadline: Deadline.after(60_000) })
  const seen = (text: string) =>
    poll(() => (lines.some((line) => line.includes(text)) ? true : undefined), 20, limits(), {
      what: `the console line ${text}`,
    })
  const start = (spec: MachineSpec) => startMachine(spec, context())

  it('boots, tells its console lines and stops', async () => {
    const machine = await start(specOf('echo "up with $(nproc) processor"'))
    await seen('up with 1 processor')
    const qemu = identify(machine.pid) as ProcessIdentity
    const exit = await machine.stop(limits())
    expect(exit).toEqual({ reason: 'stopped', cause: 'it was stopped', error: undefined })
    expect(isRunning(qemu)).toBe(false)
    expect(await machine.exited).toBe(exit)
    await journal.close()
    expect(existsSync(journal.directory)).toBe(false)
  })

  it('forwards a port that nobody else can have taken', async () => {
    const nic: Nic = { id: 'control', mac: '02:4c:0a:4d:01:01', link: { kind: 'user', forwards: [2222, 80] } }
    const machine = await start(
      specOf(
        'ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; echo listening; while true; do echo hello from the guest | nc -l -p 2222; done',
        [nic],
      ),
    )
    const port = machine.forwardedPort('control', 2222)
    expect(port).not.toBe(machine.forwardedPort('control', 80))
    expect(() => machine.forwardedPort('control', 23)).toThrow(/port 23/)
    await seen('listening')
    const said = await poll(
      () =>
        new Promise<string | undefined>((resolve) => {
          const socket = createConnection(port, '127.0.0.1')
          let text = ''
          socket.setTimeout(500, () => socket.destroy())
          socket.on('data', (data) => {
            text += data
          })
          socket.on('error', () => {})
          socket.on('close', () => resolve(text || undefined))
        }),
      50,
      limits(),
      { what: 'the guest to answer' },
    )
    expect(said).toBe('hello from the guest\n')
  })

  it('says that the kernel panicked, with the last console lines', async () => {
    const machine = await start(specOf('echo all was well; echo c > /proc/sysrq-trigger'))
    const { reason, error } = await machine.exited
    expect(reason).toBe('panic')
    expect(error?.message).toMatch(/guest g0: ended unexpectedly: Kernel panic - not syncing: sysrq/)
    expect(error?.message).toContain('last lines of its console:\n')
  })

  it('tells a power-off from a reset', async () => {
    const exited = async (name: string) => (await start(specOf(`${name} -f`, [], name))).exited
    const [off, again] = await Promise.all([exited('poweroff'), exited('reboot')])
    expect(off.reason).toBe('shutdown')
    expect(again.reason).toBe('reset')
    expect(again.error?.message).toContain('it reset itself')
  })

  it('notices at once that QEMU was killed', async () => {
    const machine = await start(specOf('echo up'))
    await seen('up')
    process.kill(machine.pid, 'SIGKILL')
    const { reason, error } = await machine.exited
    expect(reason).toBe('qemu')
    expect(error?.message).toMatch(/QEMU ended by SIGKILL.*\| up/s)
  })

  it('says why QEMU refused', async () => {
    const spec = specOf('true')
    const disk = { serial: 'closure', path: join(folder, 'no,such.img'), readonly: true }
    await expect(startMachine({ ...spec, disks: [disk] }, context())).rejects.toMatchObject({
      code: 'LEET_E_MACHINE',
      message: expect.stringMatching(/QEMU says:\n.*Could not open.*no,such.img/),
    })
  })
})
