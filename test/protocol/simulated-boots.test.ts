// Guests whose hypervisor hangs are booted again, with name, address and seed of before; those whose hypervisor ends are asked
// nothing any more. QEMU is a simulated one, so that there need be neither an OSv nor a kernel.
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline, silentLog } from '../../common/index.ts'
import { makeSshKeyPair } from '../../contextualise/index.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import { userNetwork } from '../../launcher/networks/guest-network.ts'
import { linuxGuests } from '../../launcher/node/linux-guests.ts'
import type { GuestControl } from '../../launcher/node/node-network.ts'
import { osvGuests } from '../../launcher/node/osv-guests.ts'
import { thisUser } from '../../launcher/plan/facts.ts'
import type { PlanMount } from '../../launcher/plan/mounts.ts'
import type { GuestPlan, JobPlan } from '../../launcher/plan/plan.ts'
import { startNullServer } from '../simulators/nfs-null.ts'
import { describeWith } from '../support/needs.ts'
import { openScope } from '../support/scope.ts'

const OSV_IMAGE = {
  ...{ kernel: '/kernel', disk: '/disk', compat: false, tls: false, mountTool: 'mount-fs.so' as const },
  ...{ programs: {}, links: [] },
}
const LINUX_IMAGE = { kernel: '/kernel', initrd: '/initrd', disk: '/disk' }
const PAIR = makeSshKeyPair('test')
const KEY = { privateKey: PAIR.private, publicKey: PAIR.public }

describeWith(['qemu-system-x86_64'], 'a guest that does not come up', () => {
  let folder: string
  let journal: Journal
  const { PATH, XDG_RUNTIME_DIR } = process.env
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leet-osv-again-'))
    process.env.XDG_RUNTIME_DIR = folder
    journal = await Journal.open({ jobId: 'again' })
  })
  afterEach(async () => {
    await journal.close()
    process.env.PATH = PATH
    if (XDG_RUNTIME_DIR === undefined) delete process.env.XDG_RUNTIME_DIR
    else process.env.XDG_RUNTIME_DIR = XDG_RUNTIME_DIR
    rmSync(folder, { recursive: true })
  })

  /** Puts the simulated QEMU before the real one, which still serves the trial of KVM; `before` is done before each guest. */
  const simulate = (before: string, simulator = 'osv/qemu.ts') => {
    const path = new URL(`../simulators/${simulator}`, import.meta.url).pathname
    const guest = `case "$*" in *guest=*) ${before}; exec ${process.execPath} ${path} "$@";; esac`
    const script = join(folder, 'qemu-system-x86_64')
    writeFileSync(script, `#!/bin/sh\n${guest}\nexec ${findQemu()} "$@"\n`)
    chmodSync(script, 0o755)
    process.env.PATH = `${folder}:${PATH}`
  }
  const boot = async (retries: number, kind: 'osv' | 'linux' = 'osv', mounts: readonly PlanMount[] = []) => {
    const one: GuestPlan = { index: 0, name: 'leet-again-g0', node: 0, cpus: 1, memory: 2 ** 28, ranks: [0] }
    const plan = {
      jobId: 'again',
      guests: [one],
      nodes: [{ name: 'localhost' }],
      mounts,
      programs: [],
      staging: { when: 'auto', add: [] },
      network: { mode: 'user' },
      hypervisor: { kind: 'qemu' },
      user: thisUser(process.env),
      limits: { boot: 60_000, run: undefined, patience: 2_000, retries },
    } as unknown as JobPlan
    const states: string[] = []
    const context = {
      plan,
      guests: [one],
      network: {
        addresses: ['10.0.2.15'],
        open: async ({ port }: GuestControl) => ({ guests: [userNetwork(port)], ended: undefined }),
      },
      ...{ placements: [], addresses: ['10.0.2.15'], journal, log: silentLog },
    }
    const guests =
      kind === 'osv'
        ? osvGuests({ ...context, secrets: { kind: 'osv' }, image: OSV_IMAGE, keep: true })
        : linuxGuests({
            ...context,
            secrets: { kind: 'linux', clientKey: KEY, hostKey: KEY },
            image: LINUX_IMAGE,
          })
    const scope = openScope()
    try {
      const booted = await guests.boot(
        scope,
        (_, state, detail) => states.push([state, detail].filter(Boolean).join(' ')),
        {
          deadline: Deadline.after(60_000),
        },
      )
      return { names: booted.map(({ index }) => index), states }
    } finally {
      await scope.end(Deadline.after(10_000))
    }
  }

  it('is booted again', async () => {
    simulate(`mkdir ${folder}/first 2>/dev/null && kill -STOP $$`)
    const { names, states } = await boot(2)
    expect(names).toEqual([0])
    expect(states).toEqual([
      'starting',
      expect.stringMatching(
        /^hung made no progress for \d+ s in the start of its hypervisor: booted again \(1 of 2\)$/,
      ),
      'starting',
      'booting',
      'booting REST answers',
      'contextualised',
      'ready',
    ])
  })

  it('is one whose mount failed, and not one that has mounted an empty export', async () => {
    const server = await startNullServer()
    try {
      const mount = { server: '127.0.0.1', directory: '/export', path: '/data', version: 3 } as const
      const bootWith = (line: string) => {
        simulate(`export LEET_SIMULATED_LINE='${line}'`)
        return boot(0, 'osv', [{ kind: 'nfs', ...mount, options: [`port=${server.port}`] }])
      }
      const { states } = await bootWith('Mounted nfs://10.0.2.2/export/?uid=0&gid=0 at /data')
      expect(states.at(-1)).toBe('ready mounts checked')
      await expect(bootWith('Error in mount(): Bad address(14)')).rejects.toMatchObject({
        code: 'LEET_E_OSV_GUEST',
        message: expect.stringContaining('Error in mount(): Bad address(14)'),
      })
      await expect(bootWith('Error in mount(): No such file or directory(2)')).rejects.toMatchObject({
        message: expect.stringContaining('(2): the server shows no export /export to this node'),
        details: { hint: expect.stringContaining('showmount -e 127.0.0.1') },
      })
    } finally {
      await server.close()
    }
  })

  it('is an error when it hangs each time', async () => {
    simulate('kill -STOP $$')
    await expect(boot(1)).rejects.toMatchObject({
      code: 'LEET_E_GUEST_HUNG',
      message: expect.stringMatching(/hung in each of 2 boots/),
    })
  })

  /** What still asks for a guest finds this in its place; gives how often that was while another guest tried to boot. */
  const askedAt = async (port: number, another: () => Promise<unknown>) => {
    let asked = 0
    const server = createServer((socket) => {
      asked++
      socket.destroy()
    })
    const listening = once(server, 'listening')
    server.listen(port, '127.0.0.1')
    await listening
    await another()
    server.close()
    return asked
  }
  const gone = expect.objectContaining({ code: 'LEET_E_MACHINE' })

  it('is not asked over REST any more when its hypervisor has ended', async () => {
    const file = join(folder, 'port')
    simulate(`[ -e ${file} ] || export LEET_SIMULATED_END=${file}`)
    await expect(boot(0)).rejects.toEqual(gone)
    const port = Number(readFileSync(file, 'utf8'))
    expect(await askedAt(port, () => boot(0))).toBe(0)
  })

  it('is not asked over SSH any more when its hypervisor has ended', async () => {
    const [first, second] = [join(folder, 'first'), join(folder, 'second')]
    const end = (file: string) => simulate(`set -- ${file} "$@"`, 'dying-qemu.ts')
    end(first)
    await expect(boot(0, 'linux')).rejects.toEqual(gone)
    end(second)
    const port = Number(readFileSync(first, 'utf8'))
    const another = () => expect(boot(0, 'linux')).rejects.toEqual(gone)
    expect(await askedAt(port, another)).toBe(0)
  })
})
