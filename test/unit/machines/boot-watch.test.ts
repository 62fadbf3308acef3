// Whether a machine hangs: by what its hypervisor uses and by what the guest says, not by how long it takes.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { HangDetector, type HypervisorUse, isProgress } from '../../../launcher/machines/boot-watch.ts'

const LIMIT = 10_000
const LOOK = 500
const detector = () => new HangDetector(LIMIT, LIMIT)

describe('a machine', () => {
  it('hangs when it used much processor time without progress', () => {
    const hangs = detector()
    const at = Array.from({ length: 30 }, (_, look) => hangs.look({ ms: look * LOOK, active: true }, LOOK))
    expect(at.findIndex(Boolean)).toBe(LIMIT / LOOK)
    expect(at.find(Boolean)).toEqual({ took: LIMIT, idle: false })
  })

  it('hangs when it used no processor for long though it could have', () => {
    const hangs = detector()
    const at = Array.from({ length: 30 }, () => hangs.look({ ms: 700, active: false }, LOOK))
    expect(at.findIndex(Boolean)).toBe(LIMIT / LOOK)
    expect(at.find(Boolean)).toEqual({ took: LIMIT, idle: true })
  })

  it('does not hang on a node that gives it next to nothing, however long that takes', () => {
    const looks = fc.array(fc.record({ used: fc.nat(30), active: fc.boolean() }), { maxLength: 300 })
    fc.assert(
      fc.property(looks, (seen) => {
        const hangs = detector()
        let ms = 0
        for (const { used, active } of seen) {
          ms += used
          // A thread that got no time waits for some.
          const use: HypervisorUse = { ms, active: active || used === 0 }
          if (hangs.look(use, LOOK)) return ms >= LIMIT
        }
        return true
      }),
    )
  })

  it('does not hang when it comes forward before its limits', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: LIMIT / LOOK - 1 }), { maxLength: 50 }), (pauses) => {
        const hangs = detector()
        let ms = 0
        return pauses.every((looks, index) => {
          hangs.progress()
          return Array.from({ length: looks }).every(() => {
            ms += index % 2 === 0 ? LOOK : 0
            return hangs.look({ ms, active: false }, LOOK) === undefined
          })
        })
      }),
    )
  })
})

describe('isProgress', () => {
  it.each([
    '[    0.000000] Linux version 6.1.0-18-amd64',
    'leet-init: step=seed device=/dev/vdb status=ok',
    '[   12.3] cloud-init[412]: Cloud-init v. 22.4.2 running',
    'OSv v0.57.0-398-g0e34e4dc',
    'eth0: 10.77.1.1',
  ])('%s', (line) => expect(isProgress(line)).toBe(true))

  // As a guest of QEMU 7.2 said that hung.
  it.each([
    '',
    '   ',
    '[   26.1] rcu: INFO: rcu_preempt self-detected stall on CPU',
    '[   26.1] rcu: \t0-....: (5250 ticks this GP) idle=b1d4/1/0x4000000000000000 softirq=36/36 fqs=2625',
    '[   26.1] \t(t=5250 jiffies g=-1171 q=4 ncpus=2)',
    '[   48.2] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [swapper/0:1]',
    '[   48.2] Modules linked in:',
    '[   48.2] CPU: 1 PID: 1 Comm: swapper/0 Not tainted 6.1.0-18-amd64 #1  Debian 6.1.76-1',
    '[   48.2] Hardware name: QEMU Standard PC (Q35 + ICH9, 2009)',
    '[   48.2] RIP: 0010:smp_call_function_many_cond+0x12c/0x3b0',
    '[   48.2] Code: 24 8b 75 00 48 63 d6 be ff ff ff ff',
    '[   48.2] RSP: 0000:ffffa0b740013c50 EFLAGS: 00000202',
    '[   48.2] RAX: 0000000000000011 RBX: 0000000000000001 RCX: ffff',
    '[   48.2] FS:  0000000000000000(0000) GS:ffff9f8b3ec80000(0000)',
    '[   48.2] CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033',
    '[   48.2] CR2: ffff9f8b3fdff000 CR3: 000000003f810000 CR4: 00000000000006e0',
    '[   48.2] Call Trace:',
    '[   48.2]  <IRQ>',
    '[   48.2]  ? watchdog_timer_fn+0x1a4/0x200',
    '[  242.8] INFO: task swapper/0:1 blocked for more than 120 seconds.',
  ])('is not: %s', (line) => expect(isProgress(line)).toBe(false))
})
