// Two real guests on a network of each mode.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Deadline } from '../../common/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { parseSubnet } from '../../launcher/networks/addresses.ts'
import { localNetwork } from '../../launcher/networks/guest-network.ts'
import { startLocalSegment } from '../../launcher/networks/local-segment.ts'
import { describeWith, isMet, isRoot } from '../support/needs.ts'
import { scopePerTest } from '../support/scope.ts'
import { type GuestReport, meet } from './network-guests.ts'

describeWith(['qemu-system-x86_64', 'vde_switch', 'busybox', 'cpio'], 'the network mode local', () => {
  const scope = scopePerTest()
  let folder: string
  let journal: Journal

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
    journal = await Journal.open({ jobId: 'test', root: join(folder, 'root') })
  })
  afterEach(async () => {
    await journal.close()
    rmSync(folder, { recursive: true })
  })

  const limits = () => ({ deadline: Deadline.after(60_000) })

  it('joins two guests that the node reaches, and that reach the node', async () => {
    const { socketDirectory } = await startLocalSegment({ journal, scope: scope(), guests: 2, ...limits() })
    expect(statSync(socketDirectory).mode & 0o777).toBe(0o700)
    const subnet = parseSubnet('10.77.0.0/16', 'subnet')
    const networks = [0, 1].map((guest) =>
      localNetwork({ subnet, node: 0, guest, socketDirectory, controlPort: 22 }),
    )
    expectToHaveMet(await meet(folder, scope(), journal, networks), ['10.77.1.1', '10.77.1.2'])
  })

  it('says that the switch is gone', async () => {
    const segment = await startLocalSegment({ journal, scope: scope(), guests: 2, ...limits() })
    await journal.close()
    expect((await segment.ended).message).toContain('the switch of the guests (vde_switch) ended by SIGKILL')
  })
})

describeWith(
  ['qemu-system-x86_64', 'unshare', 'ip', 'setpriv', 'busybox', 'cpio'],
  'the network mode bridge',
  () => {
    // The bridge, the helper's rights and its configuration exist in namespaces of the test only.
    describe.runIf(isMet('guests on a bridge', 'root', isRoot()))('on a bridge of root', () => {
      const users = [
        { user: 'root', uid: 0, tags: ['long'] },
        { user: 'an ordinary user', uid: 65_534, tags: [] },
      ]
      for (const { user, uid, tags } of users) {
        it(`joins guests of ${user} with each other and the node`, { tags }, () => {
          const folder = mkdtempSync(join(tmpdir(), 'leet-test-'))
          try {
            const output = execFileSync(
              'unshare',
              [
                ...['--net', '--mount', '--pid', '--fork', '--kill-child=KILL', '--propagation', 'private'],
                ...['sh', join(import.meta.dirname, 'network-bridge.sh'), folder, String(uid)],
                ...[process.execPath, join(import.meta.dirname, 'network-bridge.ts'), folder],
              ],
              { encoding: 'utf8', timeout: 240_000 },
            )
            const { reports, taps, left } = JSON.parse(output) as {
              reports: GuestReport[]
              taps: number[]
              left: string[]
            }
            expectToHaveMet(reports, ['10.77.11.1', '10.77.11.2'])
            // Their own and, for both, the node's address on the bridge.
            expect(taps).toHaveLength(2)
            expect(left).toEqual([])
          } finally {
            rmSync(folder, { recursive: true })
          }
        })
      }
    })
  },
)

function expectToHaveMet(reports: readonly GuestReport[], addresses: readonly [string, string]): void {
  for (const [index, { lines, greeting }] of reports.entries()) {
    expect(lines).toContain(`reaches ${addresses[1 - index]}`)
    expect(lines).toContain('the node serves')
    expect(greeting).toBe(`this is g${index}\n`)
  }
}
