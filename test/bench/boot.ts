// Boot of two Linux guests: leet-mpirun, from its start until both are ready, and until their starters have answered over
// SSH, against the same QEMU command lines started by hand, from their start until both consoles say that they are ready.
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { Deadline, poll, silentLog } from '../../common/index.ts'
import { makeSshKeyPair, seedIso } from '../../contextualise/index.ts'
import { OPTIONS } from '../../launcher/cli/options.ts'
import { readSettings } from '../../launcher/cli/settings.ts'
import { composeForPrograms } from '../../launcher/job/image.ts'
import { CONSOLE_FD, qemuArguments } from '../../launcher/machines/qemu-args.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import type { Accelerator, MachineSpec } from '../../launcher/machines/spec.ts'
import { DEFAULT_SUBNET, guestAddress, parseSubnet } from '../../launcher/networks/addresses.ts'
import { localNetwork } from '../../launcher/networks/guest-network.ts'
import { linuxMachine } from '../../launcher/node/linux-guests.ts'
import { seedOf } from '../../launcher/node/ssh-guests.ts'
import { thisUser } from '../../launcher/plan/facts.ts'
import { mountPlanner } from '../../launcher/plan/mount-facts.ts'
import { planJob } from '../../launcher/plan/plan.ts'

import { parseCommandWords } from '../../mpi-bridge/index.ts'
import { acceleratorHere } from '../support/accelerator.ts'
import { type Ratio, ratioOf } from './pairs.ts'

const LINE = ['-n', '2', '--guests', '2', '--guest-memory', '512M', 'true']
const PAIRS = 7
const LIMIT_MS = 120_000

/** Measures pairs; `work` is a directory of the caller's. */
export async function benchBoot(work: string): Promise<{ ready: Ratio; answering: Ratio }> {
  const byHand = await prepareByHand(work)
  const pair = async (index: number) => ({ ...(await bootByLeet(work, index)), hand: await byHand(index) })
  await pair(-1)
  const times = []
  for (let index = 0; index < PAIRS; index++) times.push(await pair(index))
  return {
    ready: ratioOf(times.map(({ ready, hand }) => [ready, hand])),
    answering: ratioOf(times.map(({ answering, hand }) => [answering, hand])),
  }
}

/**
 * Milliseconds from the start of leet-mpirun to the event that says of the last guest what its console says, ready; and to the
 * end of the boot, when all starters have answered, which has no counterpart by hand.
 */
async function bootByLeet(work: string, index: number): Promise<{ ready: number; answering: number }> {
  const events = join(work, `events.${index}`)
  const begin = Date.now()
  const child = spawn(
    new URL('../../launcher/bin/leet-mpirun', import.meta.url).pathname,
    ['--events', events, ...LINE],
    {
      cwd: work,
      stdio: 'ignore',
    },
  )
  const status = await new Promise((resolve) => child.once('close', resolve))
  if (status !== 0) throw new Error(`leet-mpirun ended with status ${status}`)
  const told = readFileSync(events, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
  const ready = told.findLast(({ event, state }) => event === 'guest' && state === 'ready')
  const booted = told.find(({ phase, state }) => phase === 'boot' && state === 'end')
  return { ready: ready.time * 1000 - begin, answering: booted.time * 1000 - begin }
}

async function prepareByHand(work: string): Promise<(index: number) => Promise<number>> {
  const settings = readSettings(parseCommandWords(OPTIONS, LINE), {})
  const plan = planJob(settings, {
    jobId: 'bench',
    scheduler: 'local',
    nodes: [{ name: 'here', slots: 2, cpus: 2, memory: 2 ** 32 }],
    programs: [{ argv: ['/bin/true'], workDir: work, exports: [], inherits: true, mpi: 'none' }],
    user: thisUser(process.env),
    planMounts: mountPlanner([work], { here: 'here', batchJob: undefined, added: [] }),
  })
  const limits = { deadline: Deadline.after(LIMIT_MS) }
  const image = await composeForPrograms(
    {
      programs: ['true'],
      files: [],
      kernel: undefined,
      modules: undefined,
      shared: plan.mounts.map(({ path }) => path),
    },
    { ...limits, log: silentLog },
  )
  const subnet = parseSubnet(DEFAULT_SUBNET, 'bench')
  const qemu = findQemu()
  const { accelerator } = await acceleratorHere(qemu)
  const key = makeSshKeyPair('bench')
  const keys = { privateKey: key.private, publicKey: key.public }
  const secrets = { kind: 'linux', hostKey: keys, clientKey: keys } as const
  return async (index) => {
    const place = join(work, `hand.${index}`)
    mkdirSync(place)
    const addresses = plan.guests.map((guest) => guestAddress(subnet, 0, guest.index))
    const specs = plan.guests.map((guest): MachineSpec => {
      const seat = { subnet, node: 0, guest: guest.index, controlPort: 22 }
      const network = localNetwork({ ...seat, socketDirectory: join(place, 'segment') })
      const seed = join(place, `${guest.name}.iso`)
      writeFileSync(
        seed,
        seedIso(seedOf({ plan, addresses, secrets }, guest, network, []), { kind: 'cloud-config' }),
      )
      return linuxMachine(plan, guest, network, image, {
        seed,
        console: join(place, `${guest.name}.console`),
      })
    })
    return timeByHand(place, specs, qemu, accelerator)
  }
}

async function timeByHand(
  place: string,
  specs: MachineSpec[],
  qemu: string,
  accelerator: Accelerator,
): Promise<number> {
  const children: ChildProcess[] = []
  try {
    const begin = performance.now()
    children.push(
      spawn('vde_switch', ['-s', join(place, 'segment'), '--rcfile', '/dev/null'], {
        stdio: ['pipe', 'ignore', 'ignore'],
      }),
    )
    await until(() => existsSync(join(place, 'segment', 'ctl')))
    const consoles = specs.map((spec) => {
      // The sockets of QMP and of the console, as the command line wants them.
      const child = spawn(qemu, qemuArguments(spec, accelerator), {
        stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
      })
      children.push(child)
      return saysReady(child.stdio[CONSOLE_FD] as Readable)
    })
    await Promise.all(consoles)
    return performance.now() - begin
  } finally {
    for (const child of children) child.kill('SIGKILL')
    rmSync(place, { recursive: true, force: true })
  }
}

function saysReady(console: Readable): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = ''
    console.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1')
      if (text.includes('leet-init: ready')) resolve()
    })
    console.once('close', () => reject(new Error(`a guest ended: ${text.slice(-1000)}`)))
  })
}

function until(holds: () => boolean): Promise<unknown> {
  return poll(
    () => holds() || undefined,
    2,
    { deadline: Deadline.after(LIMIT_MS) },
    { what: 'guests started by hand' },
  )
}
