import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { remoteCommand } from '../../../launcher/agents/ssh-start.ts'

/** What a login shell makes of it, with a program that prints its arguments and the variable. */
function run(argv: readonly string[], secret: string): unknown {
  const print = 'console.log(JSON.stringify([process.argv.slice(1), process.env.SECRET]))'
  const command = remoteCommand('SECRET', [process.execPath, '-e', print, '--', ...argv])
  expect(command).not.toContain(secret)
  const { stdout, stderr } = spawnSync('/bin/sh', ['-c', command], {
    input: `${secret}\nmore`,
    env: {},
    encoding: 'utf8',
  })
  return stdout === '' ? stderr : JSON.parse(stdout)
}

describe('the command for a remote shell', () => {
  it('takes a secret from its standard input, and words as they are', () => {
    const words = ["it's", '"$HOME"', '`id`', 'a  b', '', 'line\nline', '\\', '!!', 'ä', '-e', '*']
    expect(run(words, '10.0.0.1/4711/c2VjcmV0')).toEqual([words, '10.0.0.1/4711/c2VjcmV0'])
  })

  it('passes any words on', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: fc.constantFrom(...'\'"\\$` ;&|<>ab') })), (words) => {
        const echoed = spawnSync('/bin/sh', ['-c', remoteCommand('V', ['printf', '%s\\n', ...words])], {
          input: 'x\n',
          encoding: 'utf8',
        }).stdout
        expect(echoed).toBe(words.length === 0 ? '\n' : words.map((word) => `${word}\n`).join(''))
      }),
      { numRuns: 20 },
    )
  })
})
