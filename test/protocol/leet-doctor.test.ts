// `leet doctor` on this node: what it says of a node that lacks something, for people and for programs.
import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Playground, playground, startLeet } from '../support/leet.ts'

let place: Playground
beforeAll(() => {
  place = playground()
  // A PATH with all that leet itself needs, and no QEMU.
  mkdirSync(join(place.directory, 'bin'))
  for (const name of ['sh', 'env', 'dirname', 'setpriv', 'uname', 'readlink']) {
    const path = execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim()
    symlinkSync(path, join(place.directory, 'bin', name))
  }
})
afterAll(() => place.remove())

const doctor = (argv: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  startLeet(['doctor', ...argv], { cwd: place.directory, env: { ...place.env, ...env } }, 'leet').ended

describe('leet doctor', () => {
  it('names what is missing and what brings it, with status 1', async () => {
    const { status, stdout } = await doctor([], { PATH: join(place.directory, 'bin') })
    expect(status).toBe(1)
    expect(stdout).toMatch(/^bad +QEMU +.*qemu-system-x86_64.*\n +try: apt-get install qemu-system-x86/m)
    expect(stdout).toMatch(/^note +several guests on one node +vde_switch is not on PATH/m)
    expect(stdout).toMatch(/^good +runtime directory /m)
  })

  it('says that a bridge of the settings is not there', async () => {
    const { status, stdout } = await doctor([], { LEET_NETWORK: 'bridge=none0' })
    expect(status).toBe(1)
    expect(stdout).toMatch(/^bad +guests on several nodes +.*there is no such bridge on this node/m)
  })

  it('gives one JSON object a finding', async () => {
    const { stdout } = await doctor(['--json'])
    const findings = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(findings.map(({ subject }) => subject)).toContain('batch system')
    for (const finding of findings) expect(['good', 'note', 'bad']).toContain(finding.state)
  })
})
