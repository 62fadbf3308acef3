// The cloud-config dialect: what is written, and whether the real cloud-init takes it.
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { cloudConfig } from '../../../contextualise/cloud-config.ts'
import { type Seed, seedIso } from '../../../contextualise/index.ts'
import { checkSeed } from '../../../contextualise/seed.ts'
import { describeWith } from '../../support/needs.ts'
import { anySeed, fullSeed, hostKey } from './a-seed.ts'

const userDataOf = (seed: Seed) => parse(cloudConfig(checkSeed(seed))['user-data'])

describe('cloudConfig', () => {
  it('writes the documents that README.md describes', async () => {
    const files = cloudConfig(fullSeed)
    const fixed = files['user-data']
      .replace(JSON.stringify(hostKey.private), '"HOST KEY"')
      .replaceAll(/AAAA[A-Za-z0-9+/=]+/g, 'KEY')
    await expect(fixed).toMatchFileSnapshot('golden/user-data')
    await expect(files['meta-data']).toMatchFileSnapshot('golden/meta-data')
    await expect(files['network-config']).toMatchFileSnapshot('golden/network-config')
  })

  it('is JSON below the first line, and the same document as YAML', () => {
    fc.assert(
      fc.property(anySeed, (seed) => {
        const { 'user-data': userData, ...others } = cloudConfig(checkSeed(seed))
        const [first, ...rest] = userData.split('\n')
        expect(first).toBe('#cloud-config')
        expect(parse(userData)).toEqual(JSON.parse(rest.join('\n')))
        for (const text of Object.values(others)) expect(parse(text)).toEqual(JSON.parse(text))
      }),
    )
  })

  it('carries the content of every file unchanged', () => {
    fc.assert(
      fc.property(anySeed, (seed) => {
        const written: { path: string; content: string; encoding?: string }[] = userDataOf(seed).write_files
        for (const { path, content } of seed.files) {
          const entry = written.findLast((file) => file.path === path)
          const bytes = Buffer.from(entry?.content ?? '', entry?.encoding === 'b64' ? 'base64' : 'utf8')
          expect(bytes.equals(Buffer.from(content as string))).toBe(true)
        }
      }),
    )
  })

  it('gives six fields without blanks per mount, which read back as fstab(5) says', () => {
    fc.assert(
      fc.property(anySeed, (seed) => {
        const rows: string[][] = userDataOf(seed).mounts ?? []
        const decode = (field: string) =>
          field.replace(/\\([0-7]{3})/g, (_, digits) => String.fromCharCode(Number.parseInt(digits, 8)))
        expect(rows.flat().every((field) => /^\S+$/.test(field))).toBe(true)
        expect(rows.map((row) => row.length)).toEqual(rows.map(() => 6))
        expect(rows.map((row) => decode(row[1] as string)).sort()).toEqual(
          seed.mounts.map((m) => m.path).sort(),
        )
      }),
    )
  })

  it('mounts a parent before its children', () => {
    const mount = { source: 'a:b', type: '9p', options: [], required: true }
    const mounts = ['/a/b/c', '/a', '/a/b'].map((path) => ({ ...mount, path }))
    const rows: string[][] = userDataOf({ ...fullSeed, mounts }).mounts
    expect(rows.map((row) => row[1])).toEqual(['/a', '/a/b', '/a/b/c'])
  })

  it('says nofail only for what the guest may do without', () => {
    const rows: string[][] = userDataOf(fullSeed).mounts
    expect(rows.map((row) => (row[3] as string).includes('nofail'))).toEqual([true, false])
  })

  it('makes nothing in a home that is mounted, and the home itself where a mount lies in it', () => {
    const mount = { source: 'leet:home', type: '9p', options: [], required: true }
    const inHome = userDataOf(fullSeed)
    expect(inHome.users[1].no_create_home).toBeUndefined()
    expect(inHome.bootcmd.flat()).toContain('1234:1300')
    const onHome = userDataOf({ ...fullSeed, mounts: [{ ...mount, path: '/home' }] })
    expect(onHome.users[1].no_create_home).toBe(true)
    expect(onHome.bootcmd.flat()).not.toContain('1234:1300')
  })

  it('gives keys to root alone', () => {
    const { users } = userDataOf(fullSeed)
    expect(users.map((user: object) => 'ssh_authorized_keys' in user)).toEqual([true, false])
  })

  it("lets the guest's own name resolve to an address that peers can reach", () => {
    const hosts = userDataOf({ ...fullSeed, hosts: [] }).write_files[0].content
    expect(hosts).toContain('\n10.77.1.1 leet-0.job4711 leet-0\n')
  })

  it('makes no account for root', () => {
    const root = {
      ...(fullSeed.user as NonNullable<Seed['user']>),
      name: 'root',
      group: 'root',
      uid: 0,
      gid: 0,
    }
    const data = userDataOf({ ...fullSeed, user: { ...root, home: '/root' }, mounts: [] })
    expect(data.users).toHaveLength(1)
    expect(data.bootcmd).toBeUndefined()
    expect(data.write_files.at(-1).owner).toBe('root:root')
  })

  it('refuses a 9p tag that cloud-init would take for a missing disk', () => {
    const mounts = [{ source: 'work', path: '/work', type: '9p', options: [], required: true }]
    expect(() => cloudConfig({ ...fullSeed, mounts })).toThrow(/drops it.*|colon/)
  })
})

describeWith(['sh', 'sed'], 'the boot command for the group', () => {
  it('gives the group its gid and touches no other', () => {
    const script: string[] = userDataOf(fullSeed).bootcmd[0]
    const folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
    try {
      const groups = join(folder, 'group')
      writeFileSync(groups, 'root:x:0:\ncfd.users:x:7:bob\ncfdxusers:x:8:\n')
      const [command, ...args] = script.map((word) => word.replaceAll('/etc/group', groups))
      execFileSync(command as string, args)
      expect(readFileSync(groups, 'utf8')).toBe('root:x:0:\ncfdxusers:x:8:\ncfd.users:x:1300:\n')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describeWith(['cloud-init', 'xorriso'], 'the real cloud-init', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('finds user-data valid by its schema', () => {
    const file = join(folder, 'user-data')
    writeFileSync(file, cloudConfig(checkSeed(fullSeed))['user-data'])
    const report = execFileSync('cloud-init', ['schema', '-c', file], { encoding: 'utf8', timeout: 30_000 })
    expect(report).toContain('Valid cloud-config')
    expect(report.toLowerCase()).not.toContain('deprecat')
  }, 40_000)

  it('makes systemd-networkd units for the interfaces by their real names', () => {
    const file = join(folder, 'network-config')
    const out = join(folder, 'networkd')
    mkdirSync(out)
    writeFileSync(file, cloudConfig(checkSeed(fullSeed))['network-config'])
    const argv = [
      'devel',
      'net-convert',
      '-p',
      file,
      '-k',
      'yaml',
      '-d',
      out,
      '-D',
      'debian',
      '-O',
      'networkd',
    ]
    execFileSync('cloud-init', argv, { timeout: 30_000, stdio: 'pipe' })
    const units = join(out, 'etc/systemd/network')
    const texts = readdirSync(units)
      .sort()
      .map((name) => readFileSync(join(units, name), 'utf8'))
    expect(texts[0]).toContain('Name=eth0')
    expect(texts[0]).toContain('MACAddress=52:54:00:4d:01:01')
    expect(texts[0]).toContain('Address=10.77.1.1/16')
    expect(texts[0]).toContain('Gateway=10.77.0.1')
    expect(texts[0]).toContain('MTUBytes=1400')
    expect(texts[1]).toContain('DHCP=ipv4')
  }, 40_000)

  it('reads the configuration drive: the same user data, names and addresses', () => {
    const drive = join(folder, 'config-2')
    const image = `${drive}.iso`
    writeFileSync(image, seedIso(fullSeed, { kind: 'config-drive' }))
    execFileSync('xorriso', ['-osirrox', 'on', '-indev', image, '-extract', '/', drive], { stdio: 'pipe' })
    const script = `import json, sys
from cloudinit.net.network_state import parse_net_config_data
from cloudinit.sources.DataSourceConfigDrive import read_config_drive
from cloudinit.sources.helpers.openstack import convert_net_json
read = read_config_drive(sys.argv[1])
network = convert_net_json(read["networkdata"], known_macs={})
json.dump({
  "version": read["version"],
  "uuid": read["metadata"]["uuid"],
  "hostname": read["metadata"]["hostname"],
  "userdata": read["userdata"].decode(),
  "interfaces": list(parse_net_config_data(network).iter_interfaces()),
}, sys.stdout)`
    const text = execFileSync('/usr/bin/python3', ['-c', script, drive], {
      encoding: 'utf8',
      timeout: 30_000,
    })
    const { interfaces, ...read } = JSON.parse(text)
    expect(read).toEqual({
      version: 2,
      uuid: fullSeed.instanceId,
      hostname: fullSeed.hostname,
      userdata: cloudConfig(fullSeed)['user-data'],
    })
    expect(interfaces).toMatchObject([
      {
        name: 'eth0',
        mac_address: '52:54:00:4d:01:01',
        mtu: 1400,
        subnets: [{ address: '10.77.1.1', prefix: 16, routes: [{ prefix: 0, gateway: '10.77.0.1' }] }],
      },
      { name: 'eth1', mac_address: '52:54:00:4d:01:02', subnets: [{ type: 'dhcp4' }] },
    ])
  }, 40_000)
})
