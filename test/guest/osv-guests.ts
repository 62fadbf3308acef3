// Real OSv guests for tests: an imported base, composed images, machines, channels, and a process manager for MPI jobs.
// The base is what LEET_OSV_BASE names, a directory that OSv's build left; none can be had everywhere.
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Deadline, poll, silentLog, waitFor } from '../../common/index.ts'
import { osvSeed, type Seed, type SeedFile, seedIso } from '../../contextualise/index.ts'
import { importOsvBase, type OsvBase } from '../../launcher/images/osv/base.ts'
import { OSV_MACHINE_TYPE, OSV_REST_PORT, osvCommandLine, osvDisks } from '../../launcher/images/osv/boot.ts'
import { composeOsvImage, type OsvImage, type OsvImageRequest } from '../../launcher/images/osv/compose.ts'
import { ImageStore } from '../../launcher/images/store.ts'
import { Journal } from '../../launcher/journal/journal.ts'
import { type Machine, startMachine } from '../../launcher/machines/machine.ts'
import { findQemu } from '../../launcher/machines/qemu-program.ts'
import { parseSubnet } from '../../launcher/networks/addresses.ts'
import { localNetwork, userNetwork } from '../../launcher/networks/guest-network.ts'
import { startLocalSegment } from '../../launcher/networks/local-segment.ts'
import type { RankEvent, RankStart } from '../../mpi-bridge/channels/channel.ts'
import type { JobLayout, RankReport } from '../../mpi-bridge/job.ts'
import { createLocalExchange } from '../../mpi-bridge/local-exchange.ts'
import type { Credentials, JobCertificates } from '../../mpi-bridge/osv/certificates.ts'
import { type OsvChannel, openOsvChannel } from '../../mpi-bridge/osv/channel.ts'
import { isServing } from '../../mpi-bridge/osv/console.ts'
import { osvSettings } from '../../mpi-bridge/osv/environment.ts'
import { OsvRest } from '../../mpi-bridge/osv/rest.ts'
import { openProcessManager } from '../../mpi-bridge/process-manager.ts'
import { osvBuild } from '../support/needs.ts'
import { openScope } from '../support/scope.ts'

const SUBNET = parseSubnet('10.77.0.0/16', 'test')
const limits = () => ({ deadline: Deadline.after(120_000) })

/** One booted guest. */
export interface RealGuest {
  readonly rest: OsvRest
  readonly channel: OsvChannel
  readonly machine: Machine
  readonly events: readonly RankEvent[]
  readonly lines: readonly string[]
  /** Address for the other guests, and their network. */
  readonly address: string
  readonly cidr?: string
  /** Address of this machine in the guest. */
  readonly host: string
  /** Waits for an event that `test` likes. */
  until(test: (event: RankEvent) => boolean): Promise<RankEvent>
  text(): string
}

/** How guests are booted. */
export interface BootOptions {
  readonly count?: number
  readonly cpus?: number
  /** False: without a seed disk. */
  readonly seeded?: boolean
  /** With these the REST servers speak TLS only. */
  readonly certificates?: JobCertificates
}

const PEM = { cert: '/tmp/cert.pem', key: '/tmp/key.pem', ca: '/tmp/ca.pem' }

function pemFiles({ ca }: JobCertificates, server: Credentials): SeedFile[] {
  return [
    { path: PEM.cert, content: server.cert },
    { path: PEM.key, content: server.key },
    { path: PEM.ca, content: ca },
  ].map((file) => ({ ...file, mode: 0o600, owner: 'root' }))
}

/** Everything that one test file makes; `close` removes it all. */
export class OsvBench {
  readonly folder = mkdtempSync(join(tmpdir(), 'leet-osv-test-'))
  readonly store = new ImageStore(join(this.folder, 'store'))
  #base: OsvBase | undefined
  #journal: Journal | undefined
  readonly #scope = openScope()

  static async open(): Promise<OsvBench> {
    const bench = new OsvBench()
    bench.#journal = await Journal.open({ jobId: 'test', root: join(bench.folder, 'root') })
    const { base, lacks } = await importOsvBase(osvBuild as string, { store: bench.store })
    if (lacks.length > 0) console.warn(`the OSv base lacks something: ${lacks.join('; ')}`)
    bench.#base = base
    return bench
  }

  get base(): OsvBase {
    return this.#base as OsvBase
  }

  compose(request: Partial<OsvImageRequest> & { readonly programs: readonly string[] }, store = this.store) {
    return composeOsvImage(
      { env: process.env, directory: this.folder, base: this.base, ...request },
      { store, log: silentLog },
    )
  }

  /** Boots guests, joined by a segment when there are several. */
  async boot(
    image: OsvImage,
    { count = 1, cpus = 1, seeded = true, certificates }: BootOptions = {},
  ): Promise<RealGuest[]> {
    const journal = this.#journal as Journal
    const scope = this.#scope
    const segment =
      count > 1 ? await startLocalSegment({ journal, scope, guests: count, ...limits() }) : undefined
    return Promise.all(
      Array.from({ length: count }, async (_, guest) => {
        const network = segment
          ? localNetwork({
              subnet: SUBNET,
              node: 0,
              guest,
              socketDirectory: segment.socketDirectory,
              controlPort: OSV_REST_PORT,
            })
          : userNetwork(OSV_REST_PORT)
        const name = `g${guest}-${randomBytes(3).toString('hex')}`
        const server = certificates?.server(name)
        const seed: Seed = {
          instanceId: name,
          hostname: name,
          hosts: [],
          interfaces: network.interfaces,
          mounts: [],
          files: server ? pemFiles(certificates as JobCertificates, server) : [],
          commands: [],
        }
        const seedFile = join(this.folder, `${name}.iso`)
        const mountTool = image.base.nfs
        writeFileSync(seedFile, seedIso(seed, { kind: 'osv', mountTool }), { mode: 0o600 })
        const events: RankEvent[] = []
        const lines: string[] = []
        const waiting = new Set<() => void>()
        let channel: OsvChannel | undefined
        const machine = await startMachine(
          {
            name,
            memory: 512 << 20,
            cpus,
            machineType: OSV_MACHINE_TYPE,
            kernel: {
              image: image.kernel,
              commandLine: osvCommandLine({
                network: osvSeed(seed, mountTool).commandLine,
                ...(server ? { tls: PEM } : {}),
              }),
            },
            disks: osvDisks(image.disk, seeded ? seedFile : undefined),
            nics: network.nics,
            shares: [],
            consoleFile: join(this.folder, `${name}.console`),
          },
          {
            scope,
            journal,
            log: silentLog,
            qemu: findQemu(),
            accelerator: 'tcg',
            ...limits(),
            onConsoleLine: (line) => lines.push(line),
          },
        )
        machine.console.watch((data) => channel?.consoleData(data))
        const { nic, port } = network.control
        const rest = new OsvRest({
          guest: name,
          host: '127.0.0.1',
          port: machine.forwardedPort(nic, port),
          ...(certificates ? { tls: { ca: certificates.ca, ...certificates.client, serverName: name } } : {}),
        })
        await poll(() => lines.some(isServing) || undefined, 20, limits(), {
          what: `the console of ${name} to say that REST is there`,
        }).catch((error) => {
          throw new Error(`${error.message}; its console:\n${lines.join('\n')}`)
        })
        await rest.operatingSystem('version', limits())
        const opened = openOsvChannel({
          scope,
          rest,
          listener: (event) => {
            events.push(event)
            for (const wake of waiting) wake()
          },
          log: silentLog,
          compat: image.compat,
          nonce: randomBytes(8).toString('hex'),
        })
        channel = opened
        void machine.exited.then(({ reason }) => opened.guestEnded(reason))
        return {
          rest,
          channel: opened,
          machine,
          events,
          lines,
          address: network.address,
          ...(network.segment ? { cidr: network.segment.cidr } : {}),
          host: network.serviceAddress,
          until: (test: (event: RankEvent) => boolean) => {
            const found = Promise.withResolvers<RankEvent>()
            const look = () => {
              const event = events.find(test)
              if (event) found.resolve(event)
            }
            waiting.add(look)
            look()
            return waitFor(found.promise, limits(), {
              what: 'an event of the channel',
              where: lines.join('\n'),
            })
          },
          text: () =>
            events
              .flatMap((event) => (event.kind === 'output' ? [Buffer.from(event.data).toString()] : []))
              .join(''),
        }
      }),
    )
  }

  /** Runs an MPI job in booted guests, `perGuest` ranks in each, until every rank has ended or a guest is lost. */
  async runJob(
    guests: readonly RealGuest[],
    image: OsvImage,
    perGuest: number,
    args: readonly string[] = [],
    onReport: (report: RankReport) => void = () => {},
  ): Promise<{ readonly ends: Record<number, RankEvent>; readonly reports: readonly RankReport[] }> {
    const reports: RankReport[] = []
    const scope = openScope()
    const manager = openProcessManager({
      scope,
      exchange: createLocalExchange((report) => {
        reports.push(report)
        onReport(report)
      }),
      log: silentLog,
    })
    try {
      const size = guests.length * perGuest
      const ranksOf = (guest: number) => Array.from({ length: perGuest }, (_, i) => guest * perGuest + i)
      const layout: JobLayout = {
        id: `leet-${randomBytes(8).toString('hex')}`,
        size,
        guests: guests.map((_, guest) => ({ guest, name: `g${guest}`, agent: 0, ranks: ranksOf(guest) })),
        appnums: Array.from({ length: size }, () => 0),
      }
      manager.addJob(layout)
      const mpi = image.mpi.flavour
      const ends: Record<number, RankEvent> = {}
      await Promise.all(
        guests.map(async (guest, index) => {
          const { port } = await manager.listen(index, '127.0.0.1')
          const settings = osvSettings({ mpi, address: guest.address, cidr: guest.cidr })
          const starts = ranksOf(index).map(
            (rank): RankStart => ({
              rank,
              argv: [image.programs[0]?.path as string, ...args],
              env: {
                ...Object.fromEntries(settings.map(({ name, value }) => [name, value])),
                ...manager.environment(layout.id, rank, { host: guest.host, port }),
              },
              cwd: '/tmp',
              stdin: false,
              terminal: false,
            }),
          )
          await guest.channel.start(starts)
          for (const rank of ranksOf(index)) {
            ends[rank] = await guest.until(
              (event) =>
                event.kind === 'lost' ||
                ((event.kind === 'ended' || event.kind === 'failed') && event.rank === rank),
            )
          }
        }),
      )
      return { ends, reports }
    } finally {
      await scope.end()
    }
  }

  /** Stops all machines, and removes everything. */
  async close(): Promise<void> {
    await this.#scope.end()
    await this.#journal?.close()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
