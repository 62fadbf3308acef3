// The C of the guest's init, part by part, under the compiler's address and undefined-behaviour checks.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, it } from 'vitest'
import { makeSshKeyPair } from '../../../contextualise/index.ts'
import { readElf } from '../../../launcher/images/formats/index.ts'
import { parseInitLine } from '../../../launcher/images/init-lines.ts'
import { bufferSource } from '../../support/byte-source.ts'
import { describeWith } from '../../support/needs.ts'

describeWith(['gcc'], "the guest's init", () => {
  const folder = mkdtempSync(join(tmpdir(), 'leet-init-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const driver = join(folder, 'driver')
  const source = join(import.meta.dirname, '../../../launcher/guest-init')
  execFileSync('gcc', [
    ...['-std=gnu17', '-g', '-Wall', '-Wextra', '-fsanitize=address,undefined', '-fno-sanitize-recover'],
    ...['-o', driver, join(import.meta.dirname, 'guest-init-driver.c')],
    ...['report.c', 'files.c', 'json.c', 'hostkey.c'].map((name) => join(source, name)),
    '-lm',
  ])
  const run = (args: string[]) =>
    execFileSync(driver, args, { encoding: 'utf8', env: { ASAN_OPTIONS: 'detect_leaks=0' } })
  const parse = (documents: readonly string[]) => {
    const file = join(folder, 'documents')
    writeFileSync(file, documents.map((text) => `${text}\n`).join(''))
    return run(['json', file]).split('\n').slice(0, -1)
  }

  it('reads JSON as JSON.parse does', () => {
    const documents = fc.sample(fc.json({ maxDepth: 8, noUnicodeString: false }), 500)
    // Objects with a key twice: the first one counts here, the last one there; NUL cannot be in a C string.
    const usable = documents.filter((text) => !text.includes('\\u0000') && !text.includes('__proto__'))
    const lines = parse(usable)
    usable.forEach((text, i) => {
      expect(JSON.parse(lines[i] as string)).toEqual(JSON.parse(text))
    })
    expect(lines).toHaveLength(usable.length)
  })

  it('puts escapes in', () => {
    const text = JSON.stringify({ a: [1, { b: 'é 😀 \\u00e9' }], c: null })
    expect(parse([text.replace('é 😀', '\\u00e9 \\ud83d\\ude00')])).toEqual([text])
  })

  it('refuses what is not JSON, without touching memory that is not its own', () => {
    const valid = fc.sample(fc.json({ maxDepth: 5 }), 300)
    const damaged = valid.map((text, i) => {
      const at = (i * 7) % (text.length + 1)
      return `${text.slice(0, at)}${['"', '\\', '{', ']', 'u', ',', '\\u12', '\x01'][i % 8]}${text.slice(at + (i % 3))}`
    })
    const refused = [
      '',
      '{',
      '[1,]',
      '{"a"}',
      '"\\ud800"',
      '"\\u0000"',
      '"\\x"',
      'nul',
      '[1 2]',
      '1 2',
      '['.repeat(100),
    ]
    const lines = parse([...refused, ...damaged])
    expect(lines.slice(0, refused.length)).toEqual(refused.map(() => 'refused'))
    damaged.forEach((text, i) => {
      const line = lines[refused.length + i]
      let expected: unknown = 'refused'
      try {
        expected = JSON.parse(text, (_, value) => {
          if (value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY)
            throw new Error('too large')
          return value
        })
      } catch {}
      expect(line === 'refused' ? line : JSON.parse(line as string)).toEqual(expected)
    })
  })

  it('writes lines that the launcher reads, whatever is in them', () => {
    const values = [
      ...fc.sample(fc.string({ unit: 'binary', maxLength: 60 }), 60),
      '',
      ' ',
      '"',
      '\\',
      'a=b',
      'é\n\t',
    ]
    for (const value of values.filter((text) => !text.includes('\0') && text.isWellFormed())) {
      const [ok, failed, ready] = run(['report', value]).split('\n').map(parseInitLine)
      expect(ok).toMatchObject({ kind: 'step', step: 'mount', ok: true, fields: { path: value, type: '9p' } })
      expect(failed).toMatchObject({
        kind: 'step',
        ok: false,
        fatal: false,
        fields: { path: '/x', reason: value },
      })
      expect(ready).toEqual({ kind: 'ready', fields: { ms: '12' } })
    }
  })

  it('shortens a value rather than losing the end of its line', () => {
    const [ok] = run(['report', '\x01'.repeat(5000)]).split('\n')
    expect(ok?.length).toBeLessThan(4096)
  })

  it('converts host keys', () => {
    const key = makeSshKeyPair('test')
    const [pem, out] = [join(folder, 'pem'), join(folder, 'out')]
    writeFileSync(pem, key.private)
    expect(run(['hostkey', pem, out])).toBe('ok\n')
    const made = readFileSync(out)
    expect(made.length).toBe(4 + 11 + 4 + 64)
    expect(made.toString('latin1', 4, 15)).toBe('ssh-ed25519')
    expect(made.subarray(-32)).toEqual(Buffer.from(key.publicBlob).subarray(-32))
  })

  it('refuses damaged host keys', () => {
    const key = makeSshKeyPair('test').private
    const [pem, out] = [join(folder, 'pem'), join(folder, 'out')]
    const body = Buffer.from(key.split('\n').slice(1, -2).join(''), 'base64')
    const wrap = (bytes: Buffer) =>
      `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`
    const cases = [
      '',
      key.slice(0, 200),
      wrap(Buffer.alloc(2000)),
      ...[15, 40, 60, 90, 150].map((n) => wrap(body.subarray(0, n))),
    ]
    // Lengths that lead out of the key.
    for (const at of [15, 23, 31, 35, 39, 94, 110, 125]) {
      const bytes = Buffer.from(body)
      bytes.writeUInt32BE(0xffff_fff0, at)
      cases.push(wrap(bytes))
    }
    for (const text of cases) {
      writeFileSync(pem, text)
      expect(run(['hostkey', pem, out])).toMatch(/^the host key is not|^ok/)
    }
    writeFileSync(pem, wrap(body.subarray(0, 100)))
    expect(run(['hostkey', pem, out])).toMatch(/^the host key is not/)
  })
})

describeWith(['dropbearconvert', 'gcc'], 'host keys', () => {
  it('are what dropbearconvert makes', () => {
    const folder = mkdtempSync(join(tmpdir(), 'leet-key-'))
    try {
      const source = join(import.meta.dirname, '../../../launcher/guest-init')
      const driver = join(folder, 'driver')
      execFileSync('gcc', [
        ...['-o', driver, join(import.meta.dirname, 'guest-init-driver.c')],
        ...['report.c', 'files.c', 'json.c', 'hostkey.c'].map((name) => join(source, name)),
        '-lm',
      ])
      writeFileSync(join(folder, 'pem'), makeSshKeyPair('x').private, { mode: 0o600 })
      execFileSync(driver, ['hostkey', 'pem', 'ours'], { cwd: folder })
      execFileSync('dropbearconvert', ['openssh', 'dropbear', 'pem', 'theirs'], {
        cwd: folder,
        stdio: 'pipe',
      })
      expect(readFileSync(join(folder, 'ours'))).toEqual(readFileSync(join(folder, 'theirs')))
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describeWith(['musl-gcc'], 'the binary', () => {
  it('is the same each time it is built, static and small', { timeout: 60_000 }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'leet-build-'))
    try {
      const script = join(import.meta.dirname, '../../../launcher/guest-init/build.sh')
      const [one, other] = ['a', 'b/c'].map((name) => {
        execFileSync('sh', [script, join(folder, name)], { stdio: 'pipe' })
        return readFileSync(join(folder, name, 'init'))
      }) as [Buffer, Buffer]
      expect(one.equals(other)).toBe(true)
      expect(readElf(bufferSource(one), 'init')).toMatchObject({ interpreter: undefined, dynamic: false })
      expect(one.length).toBeLessThan(200_000)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
