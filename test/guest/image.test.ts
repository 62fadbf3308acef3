// Images in real guests under emulation: everything that the seed says is there when init says so, and what cannot be
// is said in one line.
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { Deadline, silentLog, waitFor } from '../../common/index.ts'
import { makeSshKeyPair, type Seed, seedIso } from '../../contextualise/index.ts'
import type { LinuxImage } from '../../launcher/images/image.ts'
import { type InitLine, parseInitLine } from '../../launcher/images/init-lines.ts'
import { findKernel } from '../../launcher/images/kernel.ts'
import { composeLinuxImage, linuxCommandLine } from '../../launcher/images/linux.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { type Machine, startMachine } from '../../launcher/machines/machine.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import type { Disk, Nic } from '../../launcher/machines/spec.ts'
import { starterPath } from '../../mpi-bridge/index.ts'
import { describeWith } from '../support/needs.ts'
import { scopePerTest } from '../support/scope.ts'
import { runOverSsh, type SshLogin } from './ssh-command.ts'

const hasKernel = (() => {
  try {
    return Boolean(findKernel(undefined))
  } catch {
    return false
  }
})()
const NEEDS = ['qemu-system-x86_64', 'busybox', 'dropbear', 'mpicc.mpich']
const NIC: Nic = { id: 'n0', mac: '52:54:00:12:34:56', link: { kind: 'user', forwards: [22] } }
/** A guest, and what its init said. */
interface Booted {
  readonly lines: readonly InitLine[]
  readonly machine: Machine
}
const limits = () => ({ deadline: Deadline.after(60_000) })

describeWith(hasKernel ? NEEDS : ['linux-image-amd64'], 'a Linux guest', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'leet-image-')))
  const work = join(folder, 'work')
  const hostKey = makeSshKeyPair('host')
  const clientKey = makeSshKeyPair('client')
  let image: LinuxImage
  let journal: Journal
  const scope = scopePerTest()

  beforeAll(async () => {
    mkdirSync(work, { mode: 0o777 })
    writeFileSync(join(work, 'mpi.c'), '#include <mpi.h>\nint main(void) { return MPI_Init(0, 0); }')
    execFileSync('mpicc.mpich', ['-o', join(folder, 'mpi'), join(work, 'mpi.c')])
    image = await composeLinuxImage(
      {
        programs: [join(folder, 'mpi')],
        env: { PATH: '/usr/bin:/bin' },
        directory: folder,
        starter: { path: await starterPath(limits()) },
        shared: [work],
      },
      { ...limits(), log: silentLog, cacheDir: join(folder, 'cache') },
    )
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  beforeEach(async () => {
    journal = await Journal.open({ jobId: 'test', root: mkdtempSync(join(folder, 'root-')) })
  })
  afterEach(async () => {
    await scope().end()
    await journal.close()
  })

  const seedOf = (more: Partial<Seed> = {}): Seed => ({
    instanceId: 'test-0',
    hostname: 'guest-0.example.org',
    hosts: [{ address: '10.77.0.2', names: ['other'] }],
    interfaces: [
      {
        name: 'eth0',
        mac: NIC.mac,
        ipv4: { address: '10.0.2.15', prefix: 24 },
        gateway: '10.0.2.2',
        mtu: 1400,
      },
    ],
    user: {
      name: 'alice',
      uid: 1234,
      gid: 2345,
      group: 'users2',
      groups: [],
      home: '/home/alice',
      shell: '/bin/zsh',
    },
    ssh: {
      hostKey: { private: hostKey.private, public: hostKey.public },
      authorizedKeys: [clientKey.public],
    },
    mounts: [mountOf('leet_work', work)],
    files: [
      { path: '/etc/leet/a b', content: 'grüße\n', mode: 0o640, owner: 'user' },
      { path: '/opt/bytes', content: Uint8Array.of(0, 255, 10, 0), mode: 0o755, owner: 'root' },
    ],
    commands: [],
    ...more,
  })
  const mountOf = (tag: string, path: string, required = true) => ({
    // Real cloud-init wants a colon in it; QEMU's side of it is checked by the machine's specification.
    source: `leet:${tag}`,
    path,
    type: '9p',
    options: ['trans=virtio', 'version=9p2000.L', 'msize=131072', 'cache=mmap'],
    required,
  })

  /** Boots, and resolves with the guest, and what init said until it was ready or off. */
  async function boot(seed: Uint8Array | undefined, name = 'g0'): Promise<Booted> {
    const lines: InitLine[] = []
    const disks: Disk[] = [{ serial: 'image', path: image.disk, readonly: true }]
    if (seed) {
      const file = journal.path(`${name}.iso`)
      writeFileSync(file, seed, { mode: 0o600 })
      disks.push({ serial: 'seed', path: file, readonly: true })
    }
    let finish = () => {}
    const finished = new Promise<void>((resolve) => {
      finish = resolve
    })
    const machine = await startMachine(
      {
        name,
        memory: 512 << 20,
        cpus: 1,
        machineType: 'q35',
        kernel: { image: image.kernel, initrd: image.initrd, commandLine: linuxCommandLine() },
        disks,
        nics: [NIC],
        shares: [{ tag: 'leet:leet_work', path: work, readonly: false, securityModel: 'none' }],
        consoleFile: journal.path(`${name}.console`),
      },
      {
        ...limits(),
        scope: scope(),
        journal,
        log: silentLog,
        qemu: findQemu(),
        accelerator: 'tcg',
        onConsoleLine: (line) => {
          const said = parseInitLine(line)
          if (!said) return
          lines.push(said)
          if (said.kind === 'ready' || said.kind === 'off') finish()
        },
      },
    )
    await waitFor(Promise.race([finished, machine.exited]), limits(), {
      what: 'the guest',
      hint: machine.console.tail(5).join('\n'),
    })
    return { lines, machine }
  }
  const steps = (lines: readonly InitLine[]) =>
    lines.map((line) => {
      if (line.kind === 'begin') return `${line.step} begins`
      return line.kind === 'step'
        ? `${line.step} ${line.ok ? 'ok' : line.fatal ? 'fatal' : 'failed'}`
        : line.kind
    })
  const login = ({ machine }: Booted): SshLogin => ({
    port: machine.forwardedPort('n0', 22),
    username: 'root',
    privateKey: clientKey.private,
    hostKey: hostKey.publicBlob,
  })

  it('is as its seed says when it is ready', async () => {
    const guest = await boot(seedIso(seedOf(), { kind: 'cloud-config' }))
    expect(steps(guest.lines)).toEqual([
      ...['root ok', 'seed ok', 'network ok', 'user ok', 'user ok'],
      ...['mount begins', 'mount ok', 'ssh ok', 'ready'],
    ])
    const run = (command: string) => runOverSsh(login(guest), command, limits())
    const ask = async (command: string) => {
      const { status, stdout } = await run(command)
      expect(status, command).toBe(0)
      return stdout.trim()
    }
    expect(await ask('hostname; cat /etc/hostname')).toBe('guest-0\nguest-0')
    expect(await ask('cat /etc/hosts')).toContain('10.77.0.2 other')
    expect(await ask('ip -4 addr show eth0')).toMatch(/mtu 1400[\s\S]*inet 10\.0\.2\.15\/24/)
    expect(await ask('ip route')).toContain('default via 10.0.2.2')
    expect(await ask('ip link show lo')).toContain('LOOPBACK,UP')
    expect(await ask('grep alice /etc/passwd; grep users2 /etc/group')).toBe(
      'alice:x:1234:2345:alice:/home/alice:/bin/sh\nusers2:x:2345:',
    )
    expect(await ask("stat -c '%u %g %a %n' /home/alice '/etc/leet/a b' /opt/bytes /tmp /dev/shm")).toBe(
      '1234 2345 755 /home/alice\n1234 2345 640 /etc/leet/a b\n0 0 755 /opt/bytes\n0 0 1777 /tmp\n0 0 1777 /dev/shm',
    )
    expect(await ask("cat '/etc/leet/a b'; od -An -tx1 /opt/bytes")).toBe('grüße\n 00 ff 0a 00')
    expect(await ask('ls /dev/pts/ptmx /dev/fd/0 && ulimit -l')).toContain('unlimited')
    // The image reads back as it was written; the program's loader finds all it needs in it.
    const program = join(folder, 'mpi')
    for (const path of [program, '/lib/x86_64-linux-gnu/libmpich.so.12', '/lib64/ld-linux-x86-64.so.2']) {
      const digest = createHash('sha256').update(readFileSync(path)).digest('hex')
      expect(await ask(`sha256sum ${path}`)).toContain(digest)
    }
    const loaded = await ask(`LD_TRACE_LOADED_OBJECTS=1 ${program}`)
    expect(loaded).toMatch(/libmpich\.so\.12 => \/\S+ \(0x/)
    expect(loaded).not.toContain('not found')
    // The shared directory, as the user.
    writeFileSync(join(work, 'from-host'), 'hello')
    await ask(
      `chmod 777 ${work}; cat ${work}/from-host; su alice -s /bin/sh -c 'echo answer > ${work}/from-guest'`,
    )
    expect(readFileSync(join(work, 'from-guest'), 'utf8')).toBe('answer\n')
    if (process.getuid?.() === 0) expect(statSync(join(work, 'from-guest')).uid).toBe(1234)
    // What is written elsewhere stays in the guest's memory.
    await ask('echo x > /usr/lib/new && rm -rf /usr/share')
    // Nothing is left of the seed, and nobody else can read the host key.
    expect(await ask('ls -A /leet; stat -c %a /run/leet/hostkey')).not.toContain('seed')
    // It ends when told to.
    void run('poweroff').catch(() => {})
    expect((await guest.machine.exited).reason).toBe('shutdown')
  })

  it('lets in nobody without the key, and proves who it is', async () => {
    const own = login(await boot(seedIso(seedOf({ mounts: [] }), { kind: 'cloud-config' })))
    const other = makeSshKeyPair('other')
    await expect(runOverSsh({ ...own, privateKey: other.private }, 'id', limits())).rejects.toThrow(
      /authentication/,
    )
    await expect(runOverSsh({ ...own, hostKey: other.publicBlob }, 'id', limits())).rejects.toThrow(/[Hh]ost/)
    await expect(runOverSsh({ ...own, privateKey: undefined, password: '' }, 'id', limits())).rejects.toThrow(
      /authentication/,
    )
    expect((await runOverSsh(own, 'exit 7', limits())).status).toBe(7)
  })

  it('asks for an address when its seed has none, and keeps its keys out of a home that is the node’s', async () => {
    const dhcp = { name: 'eth0', mac: NIC.mac, ipv4: 'dhcp' } as const
    const root = { name: 'root', uid: 0, gid: 0, group: 'root', groups: [], home: '/root', shell: '/bin/sh' }
    const guest = await boot(
      seedIso(
        seedOf({ user: root, files: [], interfaces: [dhcp], mounts: [mountOf('leet_work', '/root')] }),
        {
          kind: 'cloud-config',
        },
      ),
    )
    expect(guest.lines.at(-1)?.kind).toBe('ready')
    expect((await runOverSsh(login(guest), 'cat /root/mpi.c', limits())).stdout).toContain('MPI_Init')
    expect(readdirSync(work)).not.toContain('.ssh')
    const { stdout } = await runOverSsh(
      login(guest),
      'ip -4 addr show eth0; ip route; cat /etc/resolv.conf',
      limits(),
    )
    expect(stdout).toMatch(/inet 10\.0\.2\.15\/24[\s\S]*default via 10\.0\.2\.2[\s\S]*nameserver 10\.0\.2\.3/)
  })

  it('ends, and says why, when a required mount fails or it has no seed; goes on without a mount that is not required', async () => {
    const seedWith = (...mounts: Seed['mounts']) => seedIso(seedOf({ mounts }), { kind: 'cloud-config' })
    const [without, failing, unseeded] = await Promise.all([
      boot(seedWith(mountOf('nobody', '/data', false), mountOf('leet_work', work)), 'g0'),
      boot(seedWith(mountOf('nobody', '/data')), 'g1'),
      boot(undefined, 'g2'),
    ])
    expect(steps(without.lines)).toContain('mount failed')
    expect(without.lines.at(-1)?.kind).toBe('ready')
    expect(failing.lines.slice(-2)).toEqual([
      {
        kind: 'step',
        step: 'mount',
        ok: false,
        fatal: true,
        fields: {
          path: '/data',
          type: '9p',
          source: 'leet:nobody',
          reason: 'mount: No such file or directory',
        },
      },
      { kind: 'off', fields: { reason: 'mount: No such file or directory' } },
    ])
    expect(unseeded.lines.at(-1)).toEqual({ kind: 'off', fields: { reason: 'no disk is labelled cidata' } })
    for (const { machine } of [failing, unseeded]) expect((await machine.exited).reason).toBe('shutdown')
  })
})
