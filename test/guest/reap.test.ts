// The controller of real machines is killed with SIGKILL: its processes go with it, its files with the reaper.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline, environmentOf, poll, silentLog } from '../../common/index.ts'
import { reap } from '../../launcher/journal/reaper.ts'
import { parseJournal } from '../../launcher/journal/records.ts'
import { describeWith } from '../support/needs.ts'
import { kernelImage } from './machine-payload.ts'

describeWith(['qemu-system-x86_64', 'vde_switch', 'setpriv'], 'kill -9 of the controller', () => {
  let root: string
  let controller: ChildProcess

  beforeEach(() => {
    root = join(mkdtempSync(join(tmpdir(), 'leet-test-')), 'root')
    controller = spawn(
      process.execPath,
      [join(import.meta.dirname, 'machine-controller.ts'), root, kernelImage()],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
  })
  afterEach(() => {
    controller.kill('SIGKILL')
    rmSync(join(root, '..'), { recursive: true })
  })

  const limits = () => ({ deadline: Deadline.after(20_000) })
  const killController = async () => {
    const ended = new Promise((resolve) => controller.once('exit', resolve))
    controller.kill('SIGKILL')
    await ended
  }

  it('leaves no process while the machines run, and no file after the reaper', async () => {
    const line = await new Promise<string>((resolve) => {
      controller.stdout?.once('data', (data) => resolve(String(data)))
    })
    const { directory, pids } = JSON.parse(line) as { directory: string; pids: number[] }
    const markers = markersIn(directory)
    expect(markers).toHaveLength(3)
    expect(processesWith(markers)).toEqual(expect.arrayContaining(pids))
    expect(await reap({ log: silentLog, roots: [root] })).toEqual([])

    await killController()
    await poll(() => processesWith(markers).length === 0 || undefined, 10, limits(), { what: 'QEMU to go' })
    expect(existsSync(directory)).toBe(true)
    expect(await reap({ log: silentLog, roots: [root] })).toEqual([
      { jobId: 'killed', directory, done: [`removed ${directory}`], failures: [] },
    ])
    expect(existsSync(root)).toBe(false)
  })

  it('leaves nothing when it comes while they are being started', async () => {
    await poll(() => (existsSync(root) && readdirSync(root).length > 0) || undefined, 1, limits(), {
      what: 'the job directory',
    })
    const directory = join(root, readdirSync(root)[0] as string)
    await poll(
      () => (existsSync(join(directory, 'journal')) && markersIn(directory).length > 1) || undefined,
      1,
      limits(),
      {
        what: 'the first machine to be journalled',
      },
    )
    const markers = markersIn(directory)
    await killController()
    await poll(() => processesWith(markers).length === 0 || undefined, 10, limits(), { what: 'QEMU to go' })
    await reap({ log: silentLog, roots: [root] })
    expect(existsSync(root)).toBe(false)
  })
})

function markersIn(directory: string): string[] {
  const { open } = parseJournal(readFileSync(join(directory, 'journal'), 'utf8'))
  return open.flatMap(({ intent }) => (intent.kind === 'process' ? `LEET_MARKER=${intent.marker}` : []))
}

function processesWith(markers: readonly string[]): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => environmentOf(pid).some((variable) => markers.includes(variable)))
}
