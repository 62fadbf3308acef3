// A process of its own with either end of the agents' links, for tests that kill or stop it: `agent` runs a simulated
// node; `controller NODE…` prints its invitation and waits for agents. Each says what happens, a line at a time.
import { pathToFileURL } from 'node:url'
import { lineLog, Scope, silentLog } from '../../common/index.ts'
import { startHub } from '../../launcher/agents/hub.ts'
import { encodeInvitation } from '../../launcher/agents/invitation.ts'
import { agentMain } from '../../launcher/agents/main.ts'
import { simulateWorker } from './simulated-worker.ts'

/** Version that both say they are. */
export const VERSION = '1.2.3'

const say = (line: string) => {
  process.stdout.write(`${line}\n`)
}

async function agent(): Promise<void> {
  const status = await agentMain(process.env, {
    version: VERSION,
    names: [],
    log: lineLog((line) => process.stderr.write(line), '', false),
    makeWorker: (context) => {
      const worker = simulateWorker(context)
      worker.answers.stop = async () => {
        say('stopped')
      }
      say('working')
      return worker
    },
  })
  say(`status ${status}`)
  process.exit(status)
}

async function controller(nodes: readonly string[]): Promise<void> {
  const hub = await startHub({
    scope: Scope.open({ name: 'the controller', warn() {} }),
    width: 32,
    nodes,
    version: VERSION,
    log: silentLog,
    onReport() {},
    onEvent() {},
    onLost: (node, error) => say(`lost ${node}: ${error.message}`),
    onSignal: (node, signal) => say(`signal ${node} ${signal}`),
    addresses: ['127.0.0.1'],
    ...(process.env.PATIENCE_MS ? { patienceMs: Number(process.env.PATIENCE_MS) } : {}),
  })
  say(encodeInvitation(hub.invitation))
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [role, ...nodes] = process.argv.slice(2)
  await (role === 'agent' ? agent() : controller(nodes))
}
