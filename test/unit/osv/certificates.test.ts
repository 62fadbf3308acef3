// The certificates, judged by others: Node's own reader, a TLS handshake, and openssl where it is.
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { Deadline } from '../../../common/index.ts'
import { makeJobCertificates } from '../../../mpi-bridge/osv/certificates.ts'
import { OsvRest } from '../../../mpi-bridge/osv/rest.ts'
import { hasCommand, isMet } from '../../support/needs.ts'

const limits = () => ({ deadline: Deadline.after(5000) })

describe('the certificates of a job', () => {
  const job = makeJobCertificates()

  it('are what Node reads', () => {
    const ca = new X509Certificate(job.ca)
    const server = new X509Certificate(job.server('leet-1-g0').cert)
    const client = new X509Certificate(job.client.cert)
    expect([ca.ca, server.ca, client.ca]).toEqual([true, false, false])
    for (const each of [ca, server, client]) {
      expect(each.verify(ca.publicKey)).toBe(true)
      expect(each.checkIssued(ca)).toBe(true)
    }
    expect(server.checkHost('leet-1-g0')).toBe('leet-1-g0')
    expect(server.checkHost('leet-1-g1')).toBeUndefined()
    expect(new Date(server.validTo).getTime()).toBeGreaterThan(Date.now())
    expect(new Set([ca, server, client].map(({ serialNumber }) => serialNumber)).size).toBe(3)
  })

  it('say their dates after 2049 too', () => {
    const late = new X509Certificate(makeJobCertificates(new Date('2050-06-01T00:00:00Z')).ca)
    expect(late.validTo).toContain('2051')
  })

  it.runIf(isMet('certificates for openssl', 'openssl', hasCommand('openssl')))(
    'are what openssl accepts for their purpose, and for no other',
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'leet-certificates-'))
      try {
        writeFileSync(join(folder, 'ca.pem'), job.ca)
        writeFileSync(join(folder, 'server.pem'), job.server('g0').cert)
        writeFileSync(join(folder, 'client.pem'), job.client.cert)
        const verify = (purpose: string, name: string) =>
          execFileSync(
            'openssl',
            ['verify', '-x509_strict', '-CAfile', 'ca.pem', '-purpose', purpose, name],
            {
              cwd: folder,
              encoding: 'utf8',
              stdio: 'pipe',
            },
          )
        expect(verify('sslserver', 'server.pem')).toBe('server.pem: OK\n')
        expect(verify('sslclient', 'client.pem')).toBe('client.pem: OK\n')
        expect(() => verify('sslclient', 'server.pem')).toThrow()
        expect(() => verify('sslserver', 'client.pem')).toThrow()
      } finally {
        rmSync(folder, { recursive: true })
      }
    },
  )

  describe('in a handshake', () => {
    let server: Server | undefined
    afterEach(() => server?.close())
    const serve = async (name: string) => {
      server = createServer(
        { ...job.server(name), ca: job.ca, requestCert: true, rejectUnauthorized: true },
        (_, response) => response.end('5'),
      )
      await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
      return (server.address() as AddressInfo).port
    }
    const ask = (port: number, tls: { ca: string; cert: string; key: string; serverName: string }) =>
      new OsvRest({ guest: 'g0', host: '127.0.0.1', port, tls }).uptime(limits())

    it('let leet in, and nobody else', async () => {
      const port = await serve('g0')
      const mine = { ca: job.ca, ...job.client, serverName: 'g0' }
      expect(await ask(port, mine)).toBe(5)
      const other = makeJobCertificates()
      await expect(ask(port, { ...mine, ...other.client })).rejects.toThrow(/GET \/os\/uptime failed/)
      await expect(ask(port, { ...mine, ca: other.ca })).rejects.toThrow(/GET \/os\/uptime failed/)
      await expect(ask(port, { ...mine, serverName: 'g1' })).rejects.toThrow(/altnames/)
      await expect(new OsvRest({ guest: 'g0', host: '127.0.0.1', port }).uptime(limits())).rejects.toThrow()
    })
  })
})
