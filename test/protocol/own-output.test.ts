// What the commands print of their own where nobody takes it.
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Playground, playground } from '../support/leet.ts'

const BIN = new URL('../../launcher/bin/', import.meta.url).pathname

let place: Playground
beforeAll(() => {
  place = playground()
})
afterAll(() => place.remove())

const shell = (script: string) =>
  spawnSync('sh', ['-c', script], {
    encoding: 'utf8',
    cwd: place.directory,
    env: { ...place.env, PATH: `${BIN}:${process.env.PATH}` },
  })

it.each([
  ['leet', 'leet config'],
  ['leet-mpirun', 'leet-mpirun --help'],
  ['leet-mpirun', 'leet-mpirun --guest host --dry-run -n 1 true'],
])('%s says that a disk is full: %s', (name, command) => {
  const { status, stderr } = shell(`${command} >/dev/full`)
  expect({ status, stderr }).toEqual({
    status: 1,
    stderr: `${name}: standard output cannot be written: no space left on device [LEET_E_OUTPUT]\n`,
  })
})

it('a reader that has seen enough is no error', () => {
  const { status, stderr } = shell('{ leet config --schema; echo "status $?" >&2; } | true')
  expect({ status, stderr }).toEqual({ status: 0, stderr: 'status 0\n' })
})
