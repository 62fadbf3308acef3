// Linux guests as domains of a real libvirtd, of the system and of an ordinary user: a job runs as it does under QEMU
// itself, and nothing is left of it, whoever dies.
import { spawn } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { buildCheckout } from '../cluster/jobs.ts'
import { describeLab } from '../cluster/lab/describe.ts'
import { LIBVIRT_QEMU, type LibvirtLab, startLibvirtLab } from '../cluster/lab/libvirt.ts'
import { buildPrograms, type Programs } from '../protocol/programs/build.ts'
import { startLeet, watchCommand } from '../support/leet.ts'
import { isOsvHere, osvBuild } from '../support/needs.ts'

const NEEDS = [
  'libvirtd',
  'virsh',
  'virt-xml-validate',
  'xmllint',
  'qemu-system-x86_64',
  'vde_switch',
  'busybox',
  'mpicc.mpich',
]
const JOB_MS = 300_000
const GONE_MS = 20_000
const CASE = '/srv/project/case'
const LEET = '/srv/leet/launcher/bin/'
const SYSTEM = 'qemu:///system'

describeLab(
  'guests of libvirt',
  () => {
    let lab: LibvirtLab
    let programs: Programs
    beforeAll(async () => {
      await buildCheckout()
      programs = await buildPrograms('mpicc.mpich', ['work', 'neighbours'])
      lab = await startLibvirtLab()
      mkdirSync(lab.path(CASE))
      for (const name of ['work', 'neighbours'] as const) {
        copyFileSync(programs.path(name), join(lab.path(CASE), name))
      }
      writeFileSync(join(lab.path(CASE), 'input'), 'from the node')
      const { uid, gid } = lab.users.alice
      await lab.run('node1', ['chown', '-R', `${uid}:${gid}`, CASE])
    })
    // A domain whose start was cut short libvirtd ends by itself, a moment after the virsh that asked for it.
    const noDomains = () =>
      poll(
        async () => ((await lab.domains(SYSTEM)).length === 0 ? true : undefined),
        100,
        { deadline: Deadline.after(GONE_MS) },
        { what: 'the domains to be gone' },
      )
    afterEach(async () => {
      await noDomains()
      // libvirt keeps a log of every domain; a user's own libvirtd stays for a while.
      await lab.waitClean(undefined, ({ kind, what }) => kind !== 'file' && !/libvirtd|virtlogd/.test(what))
      expect(lab.leftovers().filter(({ what }) => what.includes('/leet'))).toEqual([])
    })
    afterAll(() => {
      lab?.stop()
      programs?.remove()
    })

    const words = (uri: string, argv: readonly string[]) => [
      `${LEET}leet-mpirun`,
      ...['--hypervisor', 'libvirt', '--libvirt-uri', uri, '--guests', '2', '--guest-memory', '384M'],
      ...argv,
    ]
    const asAlice = () => ({ user: lab.users.alice, cwd: CASE })
    const run = (uri: string, ...argv: string[]) =>
      lab.run('node1', words(uri, argv), { ...asAlice(), deadline: Deadline.after(JOB_MS) })
    /** A job of which both ranks are at work until somebody ends it. */
    const start = async (uri: string, ...more: string[]) => {
      const { argv, env } = lab.command(
        'node1',
        words(uri, [...more, '-n', '2', 'sh', '-c', 'echo up; sleep 600']),
        asAlice(),
      )
      const running = watchCommand(spawn(argv[0], argv.slice(1), { env, stdio: ['pipe', 'pipe', 'pipe'] }))
      await running.saw(/up\n(.*\n)*up\n/)
      return running
    }
    const leetProcess = () => {
      const found = lab.processes('node1').find(({ argv }) => argv.includes('leet-mpirun'))
      if (!found) throw new Error('leet-mpirun does not run')
      return found.pid
    }

    describe.each(['qemu:///system', 'qemu:///session'])('under %s', (uri) => {
      const tags = uri === SYSTEM ? [] : ['long']
      it('run an MPI job as guests of QEMU do', { tags }, async () => {
        const { status, stdout, stderr } = await run(uri, '-n', '4', './neighbours')
        expect(
          {
            status,
            stdout: stdout
              .split('\n')
              .filter((line) => line.includes(' with '))
              .sort(),
          },
          stderr,
        ).toEqual({
          status: 0,
          stdout: ['rank 0 with 0', 'rank 1 with 0', 'rank 2 with 2', 'rank 3 with 2'],
        })
      })
    })

    it.runIf(isOsvHere('OSv guests of libvirt', 'usr.img'))(
      'run OSv, composed and from a disk of its own',
      async () => {
        // The host's /tmp is its own, where a build may lie.
        const cache = '/srv/project/cache'
        copyFileSync(join(osvBuild as string, 'usr.img'), lab.path('/srv/project/osv.img'))
        copyFileSync('/bin/true', join(lab.path(CASE), 'true'))
        const env = { ...process.env, XDG_CACHE_HOME: lab.path(cache) }
        const imported = await startLeet(['image', 'import', 'osv', osvBuild as string], { env }, 'leet')
          .ended
        expect(imported).toMatchObject({ status: 0 })
        const { uid, gid } = lab.users.alice
        await lab.run('node1', ['chown', '-R', `${uid}:${gid}`, cache])
        for (const image of [[], ['--insecure-guest-api', '--image', '/srv/project/osv.img']]) {
          const argv = words(SYSTEM, ['--guest', 'osv', ...image, '-n', '2', './true'])
          const outcome = await lab.run('node1', argv, {
            ...asAlice(),
            env: { XDG_CACHE_HOME: cache },
            deadline: Deadline.after(JOB_MS),
          })
          expect(outcome.status, `${image}: ${outcome.stderr}`).toBe(0)
        }
      },
    )

    it('are described by --dry-run, as libvirt’s schema has it', async () => {
      const { stdout } = await run(SYSTEM, '-n', '2', '--dry-run', './work')
      const { domains, guests } = JSON.parse(stdout) as {
        domains: Record<string, string>
        guests: { name: string }[]
      }
      expect(Object.keys(domains)).toEqual(guests.map(({ name }) => name))
      for (const xml of Object.values(domains)) {
        writeFileSync(join(lab.path(CASE), 'domain.xml'), xml)
        const checked = await lab.run('node1', ['virt-xml-validate', `${CASE}/domain.xml`, 'domain'])
        expect(checked).toMatchObject({ status: 0 })
      }
    })

    it('are transient domains with the job in their metadata', async () => {
      const running = await start(SYSTEM, '--guest-cpus', '1', '--guest-pin', 'yes')
      const domains = (await lab.domains(SYSTEM)).sort()
      expect(domains).toEqual([
        expect.stringMatching(/^leet-\w+-g0$/),
        expect.stringMatching(/^leet-\w+-g1$/),
      ])
      const [name = ''] = domains
      const xml = await lab.run('node1', ['virsh', '-c', SYSTEM, 'dumpxml', name])
      expect(xml.stdout).toMatch(
        new RegExp(`<leet:job xmlns:leet="[^"]+" id="${name.split('-')[1]}" guest="${name}"/>`),
      )
      const { stdout } = await lab.run('node1', ['virsh', '-c', SYSTEM, 'dominfo', name])
      expect(stdout).toMatch(/Persistent: +no/)
      const pins = domains.map((domain) => lab.run('node1', ['virsh', '-c', SYSTEM, 'vcpupin', domain]))
      const processors = (await Promise.all(pins)).map((pin) => /^ 0 +(\d+)$/m.exec(pin.stdout)?.[1])
      expect(new Set(processors).size).toBe(2)
      process.kill(leetProcess(), 'SIGTERM')
      expect(await running.ended).toMatchObject({ status: 143 })
    })

    it('end with a leet-mpirun that is killed', async () => {
      const running = await start(SYSTEM)
      process.kill(leetProcess(), 'SIGKILL')
      await running.ended
      await noDomains()
      await lab.run('node1', [`${LEET}leet`, 'reap'], asAlice())
    })

    it('end when libvirtd dies, which is what the job is ended for', async () => {
      const running = await start(SYSTEM)
      await lab.killDaemon()
      const outcome = await running.ended
      await lab.startDaemon()
      expect(outcome.status).toBe(1)
      expect(outcome.stderr).toMatch(/leet-\w+-g[01]: .*libvirtd is gone/s)
    })

    it('are lost with a sentence when somebody destroys one', { tags: ['long'] }, async () => {
      const running = await start(SYSTEM)
      const [, name = ''] = (await lab.domains(SYSTEM)).sort()
      await lab.run('node1', ['virsh', '-c', SYSTEM, 'destroy', name])
      const outcome = await running.ended
      expect(outcome.status).toBe(1)
      expect(outcome.stderr).toMatch(new RegExp(`${name}: .*its libvirt domain was stopped: Destroyed`, 's'))
    })

    it('are refused with what the site must do where QEMU of a user cannot run', async () => {
      await lab.run('node1', ['chmod', 'o-x', LIBVIRT_QEMU])
      const { status, stderr } = await run(SYSTEM, '-n', '2', 'true')
      await lab.run('node1', ['chmod', 'o+x', LIBVIRT_QEMU])
      expect(status).toBe(1)
      expect(stderr).toMatch(/Permission denied \[LEET_E_LIBVIRT\].*chmod o\+x \/var\/lib\/libvirt\/qemu,/s)
    })

    it('are refused with a hint when no libvirtd answers', async () => {
      await lab.killDaemon()
      const { status, stderr } = await run(SYSTEM, '-n', '2', 'true')
      await lab.startDaemon()
      expect(status).toBe(1)
      expect(stderr).toMatch(/does not answer at qemu:\/\/\/system.*\[LEET_E_LIBVIRT\].*start libvirtd/s)
    })
  },
  NEEDS,
)
