// Options of NFS that are asked for in OSv guests whose client does not know them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type OsvBase, unknownToNfs } from '../../../launcher/images/osv/base.ts'
import { checkOsvMounts } from '../../../launcher/job/osv-mounts.ts'
import type { PlanMount } from '../../../launcher/plan/mounts.ts'

let files: string
beforeAll(() => {
  files = mkdtempSync(join(tmpdir(), 'leet-base-'))
  writeFileSync(join(files, 'old'), 'code\0tcp-syncnt\0uid\0dircache\0not autoreconnect\0')
  writeFileSync(join(files, 'new'), 'code\0autoreconnect\0tcp-syncnt\0')
})
afterAll(() => rmSync(files, { recursive: true }))

const base = (file?: string): OsvBase => ({
  ...{ id: '0', kernel: '', tls: true, cloudInit: true, files },
  entries: [
    { guest: '/usr/lib', kind: 'directory' },
    ...(file ? [{ guest: '/usr/lib/libnfs.so.4.0.0', kind: 'file' as const, file }] : []),
  ],
})
const check = (from: OsvBase, ...mounts: readonly PlanMount[]) =>
  checkOsvMounts(mounts, { name: 'the base', unknown: (names) => unknownToNfs(from, names) })
const mount = (options: readonly string[], more: { readonly asked?: true } = { asked: true }): PlanMount => ({
  ...{ kind: 'nfs', server: 's', directory: '/d', path: '/data', version: 3, options },
  ...more,
})

describe('an option of NFS', () => {
  it('passes when the client has it', () => {
    check(base('old'), mount(['tcp-syncnt=3', 'uid=1', 'gid=2']), { kind: 'share', path: '/w' })
    check(base('new'), mount(['autoreconnect=1', 'hard']))
  })

  it.each([
    ['old', 'autoreconnect=1', 'autoreconnect'],
    ['new', 'rsize=8192', 'rsize'],
    [undefined, 'tcp-syncnt=3', 'tcp-syncnt'],
  ])('is refused when the client (%s) has not %s', (file, option, name) => {
    const message = expect.stringMatching(new RegExp(`the base: .*"${name}".*/data`))
    const refusal = expect.objectContaining({ code: 'LEET_E_OSV_BASE', exitCode: 2, message })
    expect(() => check(base(file), mount([option]))).toThrow(refusal)
  })

  it('that only the nodes have is not missed', () => {
    check(base('old'), mount(['autoreconnect=1', 'rsize=8192'], {}))
  })
})
