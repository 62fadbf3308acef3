// SSH keys: OpenSSH, dropbear and ssh2 read what we write.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import ssh2 from 'ssh2'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { makeSshKeyPair } from '../../../contextualise/index.ts'
import { describeWith } from '../../support/needs.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
  file = join(folder, 'key')
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('makeSshKeyPair', () => {
  it('makes a new key each time', () => {
    expect(makeSshKeyPair('a').public).not.toBe(makeSshKeyPair('a').public)
  })

  it.each(['', 'a', 'ab', 'abc', 'leet-job-4711', 'x'.repeat(60)])(
    'is read by ssh2, with the same public key, for the comment "%s"',
    (comment) => {
      const pair = makeSshKeyPair(comment)
      const parsed = ssh2.utils.parseKey(pair.private)
      if (parsed instanceof Error) throw parsed
      expect(parsed.getPublicSSH().equals(Buffer.from(pair.publicBlob))).toBe(true)
      expect(parsed.comment).toBe(comment)
      const publicKey = ssh2.utils.parseKey(pair.public)
      if (publicKey instanceof Error) throw publicKey
      const data = Buffer.from('signed')
      expect(publicKey.verify(data, parsed.sign(data))).toBe(true)
    },
  )
})

describeWith(['ssh-keygen'], 'OpenSSH', () => {
  it('derives the same public key and fingerprint', () => {
    const pair = makeSshKeyPair('leet-job-4711')
    writeFileSync(file, pair.private, { mode: 0o600 })
    const keygen = (...argv: string[]) => execFileSync('ssh-keygen', argv, { encoding: 'utf8' }).trim()
    expect(keygen('-y', '-P', '', '-f', file)).toBe(pair.public)
    expect(keygen('-l', '-f', file)).toContain(pair.fingerprint)
  })
})

describeWith(['dropbearconvert'], 'dropbear', () => {
  it('converts the host key and finds the same public key in it', () => {
    const pair = makeSshKeyPair('leet-job-4711')
    writeFileSync(file, pair.private, { mode: 0o600 })
    execFileSync('dropbearconvert', ['openssh', 'dropbear', file, `${file}.db`], { stdio: 'pipe' })
    const shown = execFileSync('dropbearkey', ['-y', '-f', `${file}.db`], { encoding: 'utf8' })
    expect(shown).toContain((pair.public.split(' ')[1] as string) ?? 'no key')
  })
})
