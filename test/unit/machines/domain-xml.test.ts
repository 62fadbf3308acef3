import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Deadline, runCommand } from '../../../common/index.ts'
import {
  type DomainContext,
  domainXml,
  parseSecurityModels,
} from '../../../launcher/machines/libvirt/domain-xml.ts'
import { explainRefusal } from '../../../launcher/machines/libvirt/driver.ts'
import { element, formatXml } from '../../../launcher/machines/libvirt/xml.ts'
import { describeWith } from '../../support/needs.ts'
import { cloud, linux, osv, placed } from './machines.ts'

const context: DomainContext = {
  jobId: '42',
  qemu: '/usr/bin/qemu-system-x86_64',
  accelerator: 'tcg',
  qmpSocket: '/run/user/1000/leet/1.2.abcdef/g0,1.qmp',
  consoleSocket: '/run/user/1000/leet/1.2.abcdef/g0,1.serial',
  marker: { variable: 'LEET_MARKER', value: '0123456789abcdef0123456789abcdef' },
  securityModels: ['none', 'apparmor', 'dac'],
  user: { uid: 1000, gid: 100 },
}
const domains = {
  'domain-linux-kvm.xml': domainXml(linux, { ...context, accelerator: 'kvm' }),
  'domain-osv-tcg.xml': domainXml(osv, { ...context, securityModels: [] }),
  'domain-cloud-tcg.xml': domainXml(cloud, context),
  'domain-placed-kvm.xml': domainXml(placed, { ...context, accelerator: 'kvm' }),
}

describe('domainXml', () => {
  it.each(Object.entries(domains))('says what it has always said: %s', async (file, xml) => {
    await expect(xml).toMatchFileSnapshot(`golden/${file}`)
  })

  it('refuses more devices than the bus has slots', () => {
    const share = { path: '/a', readonly: true, securityModel: 'none' } as const
    const shares = Array.from({ length: 28 }, (_, index) => ({ ...share, tag: `t${index}` }))
    expect(() => domainXml({ ...osv, shares }, context)).toThrow(/PCI bus/)
  })
})

describeWith(['virt-xml-validate', 'xmllint'], 'libvirt’s own schema', () => {
  it('takes every domain', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
    try {
      for (const [name, xml] of Object.entries(domains)) {
        const file = join(folder, name)
        writeFileSync(file, xml)
        const limits = { deadline: Deadline.after(20_000) }
        expect(await runCommand(['virt-xml-validate', file, 'domain'], limits)).toMatchObject({ status: 0 })
      }
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('formatXml', () => {
  it('lets no value become markup', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const [, attribute = '', content = ''] =
          /^<a b="([^"<>]*)"(?:>([^<>]*)<\/a>|\/>)\n$/.exec(formatXml(element('a', { b: text }, text))) ?? []
        const unescaped = (value: string) =>
          value.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(code))
        expect([unescaped(attribute), unescaped(content)]).toEqual([text, text])
      }),
    )
  })
})

describe('explainRefusal', () => {
  it('leaves out that it failed, and says what a site must do', () => {
    const said = [
      'error: Failed to create domain from /run/leet/g0.xml',
      'error: internal error: process exited while connecting to monitor: qemu-system-x86_64: Unable to read /var/lib/libvirt/qemu/domain-1-g0/master-key.aes: Failed to open file “/var/lib/libvirt/qemu/domain-1-g0/master-key.aes”: Permission denied',
      '',
      "error: failed to get domain 'g0'",
    ].join('\n')
    expect(explainRefusal(said)).toEqual({
      why: expect.stringMatching(/^process exited while connecting/),
      hint: expect.stringContaining('chmod o+x /var/lib/libvirt/qemu,'),
    })
    expect(explainRefusal('error: unsupported configuration: no\n')).toEqual({
      why: 'unsupported configuration: no',
    })
  })
})

describe('parseSecurityModels', () => {
  it('reads what libvirt 9.0 says', () => {
    const model = (name: string) =>
      `<secmodel>\n      <model>${name}</model>\n      <doi>0</doi>\n    </secmodel>`
    expect(
      parseSecurityModels(`<capabilities><host>${model('none')}${model('dac')}</host></capabilities>`),
    ).toEqual(['none', 'dac'])
    expect(parseSecurityModels('')).toEqual([])
  })
})
