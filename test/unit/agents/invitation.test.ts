import { chmodSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LeetError } from '../../../common/index.ts'
import {
  decodeInvitation,
  encodeInvitation,
  type Invitation,
  newJobKey,
  takeInvitation,
  writeInvitation,
} from '../../../launcher/agents/invitation.ts'

const invitation: Invitation = { addresses: ['10.77.0.11', 'fd00::1'], port: 4711, key: newJobKey() }
const same = (found: Invitation) => {
  expect(found).toMatchObject({ addresses: invitation.addresses, port: invitation.port })
  expect(Buffer.compare(Buffer.from(found.key), Buffer.from(invitation.key))).toBe(0)
}

describe('the invitation of an agent', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'invitation-'))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  it('comes back as it was written', () => {
    same(decodeInvitation(encodeInvitation(invitation)))
    const env = { LEET_AGENT: encodeInvitation(invitation), PATH: '/bin' }
    same(takeInvitation(env))
    expect(env).toEqual({ PATH: '/bin' })
  })

  it('is refused when it is anything else, without telling what it was', () => {
    const word = encodeInvitation(invitation)
    const [addresses, port, key] = word.split('/') as [string, string, string]
    const bad = ['', '//', `host/${port}/${key}`, `${addresses}/0/${key}`, `${addresses}/70000/${key}`]
    for (const text of [...bad, `${addresses}/${port}/${key.slice(1)}`, `${word}/x`, `${word}?`]) {
      expect(() => decodeInvitation(text), text).toThrow(LeetError)
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          decodeInvitation(text)
          return false
        } catch (error) {
          return error instanceof LeetError && (text.length < 4 || !error.message.includes(text))
        }
      }),
    )
    expect(() => takeInvitation({})).toThrow(/not started by leet-mpirun/)
  })

  it('may be in a file that is the user’s alone', () => {
    const path = join(folder, 'invitation')
    writeInvitation(path, invitation)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const env = { LEET_AGENT_FILE: path }
    same(takeInvitation(env))
    expect(env).toEqual({})
    expect(() => writeInvitation(path, invitation)).toThrow('EEXIST')

    symlinkSync(path, join(folder, 'link'))
    expect(() => takeInvitation({ LEET_AGENT_FILE: join(folder, 'link') })).toThrow(/ELOOP/)
    chmodSync(path, 0o640)
    expect(() => takeInvitation({ LEET_AGENT_FILE: path })).toThrow(/this user alone/)
    expect(() => takeInvitation({ LEET_AGENT_FILE: folder })).toThrow(/this user alone/)
    writeFileSync(join(folder, 'large'), 'x'.repeat(5000), { mode: 0o600 })
    expect(() => takeInvitation({ LEET_AGENT_FILE: join(folder, 'large') })).toThrow(/too large/)
    expect(() => takeInvitation({ LEET_AGENT_FILE: join(folder, 'none') })).toThrow(/ENOENT/)
  })
})
