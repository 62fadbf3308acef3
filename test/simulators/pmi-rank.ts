// A rank without an MPI library: does over PMI and TCP what one does with ports and spawned ranks, which Debian's
// MPICH cannot. Arguments: the version of PMI (1 or 2) and what to do.
//   exchange         every rank listens, tells its address, and passes a number around the ring
//   spawn COUNT      rank 0 spawns COUNT ranks, twice, and waits until each has called
//   child            a spawned rank: calls the parent at the address it was left
//   names            rank 0 publishes its address, the last rank looks it up and calls
//   abort STATUS     rank 0 aborts the job, the others wait in a fence
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { fileURLToPath } from 'node:url'
import { connectPmi, type PmiClient } from './pmi-client.ts'

/** An address in the form of MPICH's ch3 device. */
async function openPort(): Promise<{ readonly server: Server; readonly name: string }> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return { server, name: `description#127.0.0.1$port#${port}$ifname#127.0.0.1$` }
}

/** Says one line to whoever listens there. */
async function call(name: string | undefined, text: string): Promise<void> {
  const port = /\$port#(\d+)\$/.exec(name ?? '')?.[1]
  if (!port) throw new Error(`no address in ${name}`)
  const socket = connect(Number(port), '127.0.0.1')
  socket.end(text)
  await once(socket, 'close')
}

/** What a caller says. */
async function listen(server: Server): Promise<string> {
  const [socket] = await once(server, 'connection')
  let text = ''
  for await (const chunk of socket) text += chunk
  return text
}

async function exchange(pmi: PmiClient): Promise<void> {
  const { server, name } = await openPort()
  await pmi.put(`P${pmi.rank}-businesscard`, name)
  await pmi.fence()
  const heard = listen(server)
  await call(await pmi.get(`P${(pmi.rank + 1) % pmi.size}-businesscard`), String(pmi.rank))
  console.log(`rank ${pmi.rank} heard ${await heard}`)
  server.close()
}

async function spawnChildren(pmi: PmiClient, version: string, count: number): Promise<void> {
  if (pmi.rank === 0) {
    const { server, name } = await openPort()
    const program = fileURLToPath(import.meta.url)
    const argv = [process.execPath, program, version, 'child'] as const
    const commands = [
      { argv, maxprocs: count, info: { wdir: '/' } },
      { argv: [...argv, 'second; one'] as const, maxprocs: 1 },
    ]
    const called: string[] = []
    const all = new Promise<void>((resolve) => {
      server.on('connection', async (socket) => {
        let text = ''
        for await (const chunk of socket) text += chunk
        called.push(text)
        if (called.length === count + 1) resolve()
      })
    })
    if (!(await pmi.spawn(commands, { PARENT_ROOT_PORT_NAME: name }))) throw new Error('spawn failed')
    await all
    console.log(called.sort().join('\n'))
    server.close()
  }
  await pmi.fence()
}

async function callParent(pmi: PmiClient, args: readonly string[]): Promise<void> {
  if (!pmi.spawned) throw new Error('not told that it was spawned')
  await pmi.fence()
  const parent = await pmi.get('PARENT_ROOT_PORT_NAME')
  await call(parent, `child ${pmi.rank} of ${pmi.size} in ${process.cwd()} ${args.join(' ')}`.trimEnd())
}

async function names(pmi: PmiClient): Promise<void> {
  const { server, name } = await openPort()
  const last = pmi.size - 1
  if (pmi.rank === 0) {
    console.log(`published ${await pmi.publish('leet', name)}, twice ${await pmi.publish('leet', 'other')}`)
  }
  await pmi.fence()
  const heard = pmi.rank === 0 ? listen(server) : undefined
  if (pmi.rank === last) await call(await pmi.lookUp('leet'), `rank ${last}`)
  if (heard) console.log(`heard ${await heard}, withdrawn ${await pmi.withdraw('leet')}`)
  await pmi.fence()
  if (pmi.rank === last) console.log(`then ${await pmi.lookUp('leet')}`)
  server.close()
}

const [version = '1', what, ...args] = process.argv.slice(2)
const pmi = await connectPmi(version === '2' ? 2 : 1)
if (what === 'exchange') await exchange(pmi)
else if (what === 'spawn') await spawnChildren(pmi, version, Number(args[0]))
else if (what === 'child') await callParent(pmi, args)
else if (what === 'names') await names(pmi)
else if (what === 'abort' && pmi.rank === 0) pmi.abort(Number(args[0]), 'because')
else await pmi.fence()
if (what !== 'abort') await pmi.finalise()
