import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { judgeHostKey, linesAbout, parseKnownHosts } from '../../../launcher/agents/known-hosts.ts'

const BLOB = 'AAAAC3NzaC1lZDI1NTE5AAAAIFePXRKuiIu0tGSZLtocKFmaT/CWJ8kwTkCldfkW00EX'
const KEY = Buffer.from(BLOB, 'base64')
const OTHER = Buffer.from(BLOB.replace('00EX', '00EY'), 'base64')
const ED25519 = `ssh-ed25519 ${BLOB}`

const about = (text: string, host: string, port = 22) => linesAbout(parseKnownHosts(text, 'kh'), host, port)
const knows = (names: string, host: string, port?: number) =>
  about(`${names} ${ED25519}`, host, port).length === 1

describe('known hosts', () => {
  it.each([
    ['node1', 'node1', 22, true],
    ['node1,10.0.0.1', '10.0.0.1', 22, true],
    ['NODE1', 'Node1', 22, true],
    ['node1', 'node10', 22, false],
    ['node?', 'node1', 22, true],
    ['node?', 'node', 22, false],
    ['*.site.org', 'n.site.org', 22, true],
    ['*.site.org', 'site.org', 22, false],
    ['n*1*z', 'n001001z', 22, true],
    ['*,!node2', 'node1', 22, true],
    ['*,!node2', 'node2', 22, false],
    ['node1', 'node1', 2222, false],
    ['[node1]:2222', 'node1', 2222, true],
    ['[node1]:2222', 'node1', 22, false],
  ])('%s is about %s port %i: %s', (names, host, port, expected) => {
    expect(knows(names, host, port)).toBe(expected)
  })

  // Made by `ssh-keygen -H` of OpenSSH 9.2p1 from node7.site.org and [login]:2222.
  it('are found by hashed names, as OpenSSH writes them', () => {
    const text = `|1|zC4eu8+QdLCtMcGKiUshh712VJY=|58LHMQxwpjtLVi3GoJQQlWpdyDE= ${ED25519}
|1|+NPKvk1oMtxSoenoLqKtzWYmi5E=|gtnTwkm2whN/H0PCtOa51cUS0tU= ${ED25519}
`
    const where = (host: string, port?: number) => about(text, host, port).map((line) => line.where)
    expect(where('Node7.site.org')).toEqual(['kh, line 1'])
    expect(where('login', 2222)).toEqual(['kh, line 2'])
    expect([...where('login'), ...where('node7')]).toEqual([])
  })

  it('are judged by all lines about a host', () => {
    const text = `# a comment
@cert-authority * ${ED25519}

node1 ssh-rsa AAAAB3NzaC1yc2E=
node1 ${ED25519} root@node1
@revoked node2 ${ED25519}
node3
`
    const judge = (host: string, key = KEY) => judgeHostKey(about(text, host), key)
    expect(judge('node1')).toEqual({ kind: 'known' })
    expect(judge('node1', OTHER)).toEqual({ kind: 'changed', where: 'kh, line 4' })
    expect(judge('node2')).toEqual({ kind: 'revoked', where: 'kh, line 6' })
    expect(judge('node2', OTHER)).toEqual({ kind: 'unknown' })
    expect(judge('node3')).toEqual({ kind: 'unknown' })
  })

  it('may hold anything', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'|1*?!,@# \n=aA[]:') }), fc.string(), (text, host) => {
        for (const line of about(`${text} ${ED25519}`, host)) expect(line.where).toMatch(/^kh, line \d+$/)
      }),
    )
  })

  it('with patterns of many stars do not take for ever', () => {
    expect(knows('*a'.repeat(200), 'a'.repeat(199))).toBe(false)
  })
})
