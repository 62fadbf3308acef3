// Sends one request to a MOM and resolves with its reply. As a command, for the lab: `node ask-mom.ts HOST <REQUEST`
// prints the status.
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { MOM_PORT, type MomReply, type MomRequest } from './mom.ts'

/** Asks the MOM of a host; waits as long as a task runs. */
export async function askMom(host: string, request: MomRequest): Promise<MomReply> {
  const socket = connect(MOM_PORT, host)
  await once(socket, 'connect')
  socket.write(`${JSON.stringify(request)}\n`)
  // A MOM that has ended without a reply must not look like one that replied.
  const [line] = await Promise.race([
    once(createInterface({ input: socket }), 'line'),
    once(socket, 'close').then(() => Promise.reject(new Error(`the MOM of ${host} gave no reply`))),
  ])
  socket.destroy()
  return JSON.parse(line)
}

if (import.meta.main) {
  const request = JSON.parse(await text(process.stdin)) as MomRequest
  console.log((await askMom(process.argv[2] as string, request)).status)
}
