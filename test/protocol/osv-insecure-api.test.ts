// Commands that would boot OSv guests without TLS: refused before anything is started, unless they say that it is meant.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Playground, playground, startLeet } from '../support/leet.ts'

let place: Playground
beforeAll(() => {
  place = playground()
  // It looks as if it could boot.
  const disk = Buffer.alloc(4096)
  disk.writeUInt16LE(0xaa55, 510)
  writeFileSync(join(place.directory, 'osv.img'), disk)
})
afterAll(() => place.remove())
const run = (command: 'leet' | 'leet-mpirun', ...argv: string[]) =>
  startLeet(argv, { cwd: place.directory, env: place.env }, command).ended

const OSV = ['--guest', 'osv', '--image', 'osv.img']
const MPIRUN = [...OSV, '-n', '1']
const UP = ['up', ...OSV, '--reuse-guests', '-n', '1']

describe('OSv guests without TLS', () => {
  it.each([
    ['leet-mpirun', MPIRUN],
    ['leet-mpirun', [...MPIRUN, '--dry-run']],
    ['leet', UP],
    ['leet', [...UP, '--dry-run']],
  ] as const)('are refused by %s %s', async (command, argv) => {
    const { status, stdout, stderr } = await run(command, ...argv, 'true')
    expect(stderr).toMatch(/osv\.img: .*no TLS.*LEET_E_OSV_BASE[\s\S]*--insecure-guest-api/)
    expect({ status, stdout, files: place.files() }).toEqual({ status: 2, stdout: '', files: [] })
  })

  it.each([
    ['leet-mpirun', [...MPIRUN, '--dry-run']],
    ['leet', [...UP, '--dry-run']],
  ] as const)('are planned by %s where they are meant, with a note', async (command, argv) => {
    const { status, stdout, stderr } = await run(command, ...argv, '--insecure-guest-api', 'true')
    expect(stderr.match(/have no TLS/g)).toHaveLength(1)
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ guestKind: 'osv' })
  })
})
