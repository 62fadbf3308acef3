// `npm run bench:cluster`: on Linux guests of three hosts that are already up, how long until the first rank enters
// MPI_Init: leet-mpirun, from the begin of its launch, against stock mpirun and mpiexec over SSH, from their start. Each
// pair is measured on the same guests: ranks of the first launch become the SSH servers for the second.
import { execFileSync, spawn } from 'node:child_process'
import { chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Deadline, endOf, poll, waitFor } from '../../common/index.ts'
import { makeSshKeyPair } from '../../contextualise/index.ts'
import { buildCheckout, GUESTS, LEET_MPIRUN, leetProcesses, type Mpi } from '../cluster/jobs.ts'
import { type Lab, startLab } from '../cluster/lab/lab.ts'
import { ratioLine, ratioOf } from './pairs.ts'

const PAIRS = Number(process.argv[2] ?? 5)
const LIMIT_MS = 300_000
/** Where all of it lies, on the hosts and in the guests. */
const PLACE = '/srv/project/bench'
/** The guests' addresses: one guest on each node, whose own addresses end in 11, 12 and 13. */
const ADDRESSES = ['10.77.11.1', '10.77.12.1', '10.77.13.1']
const RANKS = 2 * ADDRESSES.length
const PLUGINS = '/usr/lib/x86_64-linux-gnu/openmpi/lib/openmpi3'

/** What each stock launcher needs in the guests, and how it is told to use our guests over `ssh` of its PATH. */
const STOCK: Readonly<Record<Mpi, { readonly files: readonly string[]; readonly argv: readonly string[] }>> =
  {
    mpich: {
      files: withLibraries('/usr/bin/hydra_pmi_proxy'),
      argv: [
        ...['mpiexec.hydra', '-launcher', 'ssh', '-launcher-exec', `${PLACE}/bin/ssh`, '-iface', 'br0'],
        ...['-genv', 'UCX_NET_DEVICES', 'eth0'],
        ...['-hosts', ADDRESSES.map((address) => `${address}:2`).join(','), '-n', `${RANKS}`],
      ],
    },
    openmpi: {
      // orted looks for an ssh of its own, whether or not it needs one.
      files: [...withLibraries('/usr/bin/orted'), '/usr/bin/dbclient:/usr/bin/ssh', PLUGINS],
      argv: [
        ...['mpirun.openmpi', '-mca', 'plm', 'rsh', '-mca', 'plm_rsh_no_tree_spawn', '1'],
        ...['-mca', 'oob_tcp_if_include', '10.77.0.0/16', '-mca', 'btl_tcp_if_include', '10.77.0.0/16'],
        ...['-host', ADDRESSES.map((address) => `${address}:2`).join(','), '-n', `${RANKS}`],
      ],
    },
  }

const lab = await startLab({ nodes: 3, nfs: true })
try {
  await prepare()
  for (const mpi of ['mpich', 'openmpi'] as const) {
    const times = []
    for (let pair = -1; pair < PAIRS; pair++) {
      const measured = await measure(mpi)
      // The first composes the image and fills caches.
      if (pair >= 0) times.push(measured)
    }
    const name = `first rank in MPI_Init, ${RANKS} ranks on 3 guests: leet-mpirun / ${STOCK[mpi].argv[0]}`
    console.log(ratioLine(name, ratioOf(times), 0.8))
  }
} finally {
  lab.stop()
}
process.exit()

/** A program and the libraries that it is linked with, as ldd(1) finds them. */
function withLibraries(program: string): string[] {
  const said = execFileSync('ldd', [program], { encoding: 'utf8' })
  return [program, ...[...said.matchAll(/=> (\/\S+)/g)].map(([, path]) => path as string)]
}

async function prepare(): Promise<void> {
  await buildCheckout()
  const { uid, gid, home } = lab.users.alice
  const own = (path: string) => chownSync(path, uid, gid)
  const put = (path: string, content: string, mode: number) => {
    writeFileSync(lab.path(path), content, { mode })
    own(lab.path(path))
  }
  for (const path of [PLACE, `${PLACE}/bin`, `${home}/.ssh`]) {
    mkdirSync(lab.path(path), { mode: 0o700 })
    own(lab.path(path))
  }
  const source = fileURLToPath(new URL('../cluster/programs/arrive.c', import.meta.url))
  for (const mpi of ['mpich', 'openmpi'] as const)
    execFileSync(`mpicc.${mpi}`, ['-O2', '-o', join(lab.path(PLACE), `arrive.${mpi}`), source])
  const [user, host] = [makeSshKeyPair('bench'), makeSshKeyPair('guests')]
  put(`${home}/.ssh/id_ed25519`, user.private, 0o600)
  put(`${home}/.ssh/authorized_keys`, `${user.public}\n`, 0o600)
  const known = ADDRESSES.map((address) => `[${address}]:2222 ${host.public}\n`)
  put(`${home}/.ssh/known_hosts`, known.join(''), 0o600)
  put(`${PLACE}/sshd.openssh`, host.private, 0o600)
  put(`${PLACE}/bin/ssh`, '#!/bin/sh\nexec /usr/bin/ssh -p 2222 "$@"\n', 0o755)
  const { status, stderr } = await lab.run(
    'head',
    ['dropbearconvert', 'openssh', 'dropbear', 'sshd.openssh', 'sshd.key'],
    { user: lab.users.alice, cwd: PLACE },
  )
  if (status !== 0) throw new Error(stderr)
}

/** Boots guests; milliseconds until the first rank arrived by leet, then by the stock launcher in the same guests. */
async function measure(mpi: Mpi): Promise<[number, number]> {
  const events = `${PLACE}/events`
  writeFileSync(lab.path(events), '')
  chownSync(lab.path(events), lab.users.alice.uid, lab.users.alice.gid)
  const files = STOCK[mpi].files.flatMap((file) => ['--file', file])
  const leet = start(lab, [
    ...['salloc', '-Q', '-N3', '--ntasks-per-node=2', LEET_MPIRUN, ...GUESTS, ...files],
    ...['--events', events, '-n', `${RANKS}`, `./arrive.${mpi}`, 'serve'],
  ])
  const arrived = await leet.says(/arrived/)
  const launch = readFileSync(lab.path(events), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
    .find(({ phase, state }) => phase === 'launch' && state === 'begin')
  await leet.says(/(serving\n.*){3}/s)
  await Promise.all(ADDRESSES.map(awaitServer))
  const begin = Date.now()
  const stock = start(lab, [...STOCK[mpi].argv, `./arrive.${mpi}`])
  const byStock = (await stock.says(/arrived/)) - begin
  // All of them, or it did not work. Their end is not awaited: MPICH 4.0 over UCX may never come to it.
  await stock.says(new RegExp(`(arrived\n.*){${RANKS}}`, 's'))
  stock.interrupt()
  // salloc ends with its command.
  for (const { pid } of leetProcesses(lab, 'head', 'leet-mpirun')) process.kill(pid, 'SIGINT')
  await Promise.all([stock.ended, leet.ended])
  await lab.waitClean({ deadline: Deadline.after(LIMIT_MS) }, ({ kind }) => kind === 'process')
  return [arrived - launch.time * 1000, byStock]
}

async function awaitServer(address: string): Promise<void> {
  const probe = async () => {
    const { status } = await lab.run('head', [`${PLACE}/bin/ssh`, address, 'true'], { user: lab.users.alice })
    return status === 0 || undefined
  }
  await poll(probe, 100, { deadline: Deadline.after(LIMIT_MS) }, { what: 'the SSH server', where: address })
}

/** A command of alice on the head; `says` resolves with the time at which its output first matched. */
function start(cluster: Lab, argv: readonly string[]) {
  const { argv: command, env } = cluster.command('head', argv, {
    user: cluster.users.alice,
    cwd: PLACE,
    env: { PATH: `${PLACE}/bin:/usr/local/bin:/usr/bin:/bin` },
  })
  const child = spawn(command[0], command.slice(1), { env, stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = endOf(child)
  let output = ''
  let heard: () => void = () => {}
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      heard()
    })
  }
  return {
    ended,
    interrupt: () => {
      child.kill('SIGINT')
    },
    says: (pattern: RegExp) =>
      waitFor(
        new Promise<number>((resolve, reject) => {
          heard = () => {
            if (pattern.test(output)) resolve(Date.now())
          }
          heard()
          ended.then(() => reject(new Error(`ended without ${pattern}:\n${output}`)), reject)
        }),
        { deadline: Deadline.after(LIMIT_MS) },
        { what: `${argv[0]} to say ${pattern}` },
      ),
  }
}
