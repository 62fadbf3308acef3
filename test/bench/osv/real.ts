// With the real OSv: boot by leet-mpirun against the same QEMU lines by hand, and composition against a plain copy.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { Deadline, poll, silentLog } from '../../../common/index.ts'
import { seedIso } from '../../../contextualise/index.ts'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { readSettings } from '../../../launcher/cli/settings.ts'
import { importOsvBase } from '../../../launcher/images/osv/base.ts'
import { OSV_REST_PORT } from '../../../launcher/images/osv/boot.ts'
import { composeOsvImage } from '../../../launcher/images/osv/compose.ts'
import { ImageStore } from '../../../launcher/images/store.ts'
import { CONSOLE_FD, qemuArguments } from '../../../launcher/machines/qemu-args.ts'
import { findQemu } from '../../../launcher/machines/qemu-program.ts'
import { DEFAULT_SUBNET, guestAddress, parseSubnet } from '../../../launcher/networks/addresses.ts'
import { localNetwork, userNetwork } from '../../../launcher/networks/guest-network.ts'
import { osvMachine, osvSeedOf } from '../../../launcher/node/osv-guests.ts'
import type { OsvSecrets } from '../../../launcher/node/worker.ts'
import { thisUser } from '../../../launcher/plan/facts.ts'
import { planJob } from '../../../launcher/plan/plan.ts'
import { parseCommandWords } from '../../../mpi-bridge/index.ts'
import { makeJobCertificates } from '../../../mpi-bridge/osv/certificates.ts'
import { OsvRest } from '../../../mpi-bridge/osv/rest.ts'
import { acceleratorHere } from '../../support/accelerator.ts'
import { type Ratio, ratioOf } from '../pairs.ts'

const PAIRS = 7
const LIMIT_MS = 300_000
const TRY_MS = 8_000
const MIB = 2 ** 20
const leetMpirun = new URL('../../../launcher/bin/leet-mpirun', import.meta.url).pathname
const base = process.env.LEET_OSV_BASE as string

/** Image of a program with 300 MB of files, written to a new store, against `cp` of the same and `sync`. */
export async function benchOsvCompose(work: string): Promise<Ratio> {
  const files = join(work, 'closure')
  mkdirSync(files)
  // As many and as large as a solver's libraries.
  for (let i = 0; i < 60; i++) writeFileSync(join(files, `lib${i}.so`), randomBytes(5 * MIB))
  const found = await importOsvBase(base, { store: new ImageStore(join(work, 'bases')) })
  const compose = async (index: number) => {
    const store = new ImageStore(join(work, `store.${index}`))
    const begin = performance.now()
    await composeOsvImage(
      {
        programs: ['/bin/true'],
        files: [{ source: files, destination: '/closure' }],
        env: process.env,
        directory: work,
        base: found.base,
      },
      { store, log: silentLog },
    )
    const took = performance.now() - begin
    rmSync(join(work, `store.${index}`), { recursive: true })
    return took
  }
  const copy = () => {
    const to = join(work, 'copy')
    const begin = performance.now()
    execFileSync('cp', ['-r', files, to])
    execFileSync('sync', ['-f', to])
    const took = performance.now() - begin
    rmSync(to, { recursive: true })
    return took
  }
  await compose(-1)
  copy()
  const times: [number, number][] = []
  for (let index = 0; index < PAIRS; index++) times.push([await compose(index), copy()])
  rmSync(files, { recursive: true })
  return ratioOf(times)
}

/** leet-mpirun from its start until the last guest is ready, against the same machines by hand until REST answers. */
export async function benchOsvBoot(work: string, guests: number): Promise<Ratio> {
  const line = ['-n', `${guests}`, '--guests', `${guests}`, '--guest', 'osv', '--guest-memory', '256M']
  const place = join(work, 'case')
  mkdirSync(place, { recursive: true })
  const byHand = await prepareByHand(place, [...line, 'true'])
  const pair = async () => [await bootByLeet(place, [...line, 'true']), await byHand()] as const
  await pair()
  const times = []
  for (let index = 0; index < PAIRS; index++) times.push(await pair())
  return ratioOf(times)
}

async function bootByLeet(work: string, line: readonly string[]): Promise<number> {
  const events = join(work, '..', 'events')
  const begin = Date.now()
  const child = spawn(leetMpirun, ['--events', events, ...line], {
    cwd: work,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const status = await new Promise((resolve) => child.once('close', resolve))
  if (status !== 0) throw new Error(`leet-mpirun ended with status ${status}`)
  const ready = readFileSync(events, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((text) => JSON.parse(text))
    .findLast(({ event, state }) => event === 'guest' && state === 'ready')
  rmSync(events)
  return ready.time * 1000 - begin
}

async function prepareByHand(work: string, line: readonly string[]): Promise<() => Promise<number>> {
  const settings = readSettings(parseCommandWords(OPTIONS, line), {})
  const plan = planJob(settings, {
    jobId: 'bench',
    scheduler: 'local',
    nodes: [{ name: 'here', slots: settings.guest.count as number, cpus: 2, memory: 2 ** 34 }],
    programs: [{ argv: ['/bin/true'], workDir: work, exports: [], inherits: true, mpi: 'none' }],
    user: thisUser(process.env),
    planMounts: () => [],
  })
  const { composeOsvForPrograms, findOsvBase } = await import('../../../launcher/job/image.ts')
  const limits = { deadline: Deadline.after(LIMIT_MS), log: silentLog }
  const composed = await composeOsvForPrograms(
    {
      programs: ['true'],
      files: [],
      base: await findOsvBase(base, silentLog),
      compat: true,
      mountPoints: [],
      staged: [work],
      workDisk: true,
    },
    limits,
  )
  const image = { kernel: composed.kernel, disk: composed.disk, mountTool: composed.base.nfs }
  const certificates = composed.base.tls ? makeJobCertificates() : undefined
  const secrets: OsvSecrets = {
    kind: 'osv',
    ...(certificates
      ? {
          tls: {
            ca: certificates.ca,
            client: certificates.client,
            servers: plan.guests.map(({ name }) => certificates.server(name)),
          },
        }
      : {}),
  }
  const subnet = parseSubnet(DEFAULT_SUBNET, 'bench')
  const addresses = plan.guests.map(({ index }) => guestAddress(subnet, 0, index))
  const qemu = findQemu()
  const { accelerator } = await acceleratorHere(qemu)
  const segment = join(work, '..', 'segment')
  const machines = await Promise.all(
    plan.guests.map(async (guest) => {
      const network =
        plan.guests.length === 1
          ? userNetwork(OSV_REST_PORT)
          : localNetwork({
              subnet,
              node: 0,
              guest: guest.index,
              controlPort: OSV_REST_PORT,
              socketDirectory: segment,
            })
      const seed = osvSeedOf({ plan, addresses, secrets }, guest, network, [])
      const file = join(work, '..', `${guest.name}.iso`)
      writeFileSync(file, seedIso(seed, { kind: 'osv', mountTool: image.mountTool }))
      const spec = osvMachine(guest, network, image, seed, { seed: file, console: '/dev/null' })
      const port = await freePort()
      const argv = qemuArguments(spec, accelerator).map((word) =>
        word.replace(/hostfwd=tcp:127\.0\.0\.1:0-/, `hostfwd=tcp:127.0.0.1:${port}-`),
      )
      const tls = certificates && { ca: certificates.ca, ...certificates.client, serverName: guest.name }
      return {
        argv,
        rest: new OsvRest({ guest: guest.name, host: '127.0.0.1', port, ...(tls ? { tls } : {}) }),
      }
    }),
  )
  return () => timeByHand(qemu, machines, plan.guests.length > 1 ? segment : undefined)
}

async function timeByHand(
  qemu: string,
  machines: readonly { readonly argv: readonly string[]; readonly rest: OsvRest }[],
  segment: string | undefined,
): Promise<number> {
  const children: ChildProcess[] = []
  try {
    const begin = performance.now()
    if (segment !== undefined) {
      const words = ['-s', segment, '--rcfile', '/dev/null']
      children.push(spawn('vde_switch', words, { stdio: ['pipe', 'ignore', 'ignore'] }))
      await until(() => existsSync(join(segment, 'ctl')))
    }
    await Promise.all(
      machines.map(async ({ argv, rest }) => {
        // The sockets of QMP and of the console, as the command line wants them.
        const child = spawn(qemu, argv, { stdio: ['ignore', 'ignore', 'inherit', 'pipe', 'pipe'] })
        children.push(child)
        // A handshake that is begun too early and given up would cost the guest time, and flatter leet.
        await serving(child.stdio[CONSOLE_FD] as Readable)
        const answers = () => rest.uptime({ deadline: Deadline.after(TRY_MS) }).catch(() => undefined)
        while ((await answers()) === undefined) {}
      }),
    )
    return performance.now() - begin
  } finally {
    for (const child of children) child.kill('SIGKILL')
    await Promise.all(children.map((child) => new Promise((resolve) => child.once('close', resolve))))
    if (segment !== undefined) rmSync(segment, { recursive: true, force: true })
  }
}

/** Resolves when the console says that the REST server is there; reads on to the end. */
function serving(console: Readable): Promise<void> {
  return new Promise((resolve) => {
    let said = ''
    console.on('data', (data: Buffer) => {
      said = (said + data.toString('latin1')).slice(-4096)
      if (said.includes('Rest API server running on port')) resolve()
    })
  })
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

function until(holds: () => boolean): Promise<unknown> {
  const limits = { deadline: Deadline.after(LIMIT_MS) }
  return poll(() => holds() || undefined, 2, limits, { what: 'the switch' })
}
