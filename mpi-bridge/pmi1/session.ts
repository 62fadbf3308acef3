// A PMI-1 connection as a state machine: lines in, lines out. It knows no sockets; one request is worked on at a
// time, as the protocol has it, and what a client sends meanwhile waits in a bounded buffer.
import { MAX_VALUE } from '../pmi/mapping.ts'
import { lookUpPort, type Member, type PmiSession, publishPort, type SessionHost } from '../pmi/session.ts'
import {
  commandOf,
  fieldOf,
  integerOf,
  isValue,
  LineBuffer,
  MAX_LINE,
  MAX_SPAWN,
  parseAbort,
  parseSpawn,
  type SpawnPart,
} from './codec.ts'

/** MPICH's clients are only ever tried with these three, and compute buffer sizes from them. */
const MAXES = 'cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n'
const PUT_OK = 'cmd=put_result rc=0 msg=success\n'
const BARRIER_OUT = 'cmd=barrier_out\n'
/** Longest key; MPICH keeps to `keylen_max`, others may be less exact. */
const MAX_KEY = 256
/** Longest reply: MPICH up to 4.1 reads into a buffer of that size. */
const MAX_REPLY = 1024
/** The reply comes later, or never. */
const NO_REPLY = ''

/** A session that begins with `cmd=initack`. */
export class Pmi1Session implements PmiSession {
  readonly #host: SessionHost
  readonly #input = new LineBuffer()
  #member: Member | undefined
  /** Replies of this turn: sent in one write. */
  #output = ''
  /** A request waits for others; nothing more is read until it is answered. */
  #busy = false
  #running = false
  #ended = false
  /** Lines of an unfinished `mcmd=`. */
  #spawnLines: string[] | undefined
  /** Commands of an unfinished spawn request. */
  #spawnParts: SpawnPart[] = []
  #spawnBytes = 0

  constructor(host: SessionHost) {
    this.#host = host
  }

  receive(chunk: Buffer): void {
    this.#input.push(chunk)
    this.#run()
  }

  closed(): void {
    this.#ended = true
    this.#member?.job.leave(this.#member.rank, this.#release)
  }

  #run(): void {
    this.#running = true
    while (!this.#busy && !this.#ended) {
      const line = this.#input.next()
      if (line === undefined) break
      // Two steps: handling may send and clear what is there.
      const reply = this.#handle(line)
      this.#output += reply
    }
    this.#running = false
    this.#flush()
    if (!this.#ended && this.#input.length > MAX_LINE) this.#end('more than 64 KiB without a line to work on')
  }

  #flush(): void {
    if (this.#output === '' || this.#ended) return
    const text = this.#output
    this.#output = ''
    this.#host.send(text)
  }

  /** Ends the connection; the result is the reply that the message gets. */
  #end(why: string): typeof NO_REPLY {
    if (!this.#ended) {
      this.#flush()
      this.#ended = true
      this.#host.end(why)
    }
    return NO_REPLY
  }

  #handle(line: string): string {
    if (line.length > MAX_LINE) return this.#end('a line of more than 64 KiB')
    if (line.includes('\0')) return this.#end('a NUL byte in a line')
    if (this.#spawnLines) return this.#spawnLine(this.#spawnLines, line)
    const command = commandOf(line)
    if (!this.#member) {
      return command === 'initack' ? this.#claim(line) : this.#end('the first message is not initack')
    }
    if (command !== undefined) return this.#reply(this.#member, command, line)
    if (line !== 'mcmd=spawn') return this.#end('a line that is no PMI message')
    this.#spawnLines = []
    return NO_REPLY
  }

  #claim(line: string): string {
    const id = integerOf(fieldOf(line, 'pmiid'))
    const member = id === undefined ? undefined : this.#host.claim(id)
    if (!(member instanceof Promise)) return this.#welcome(member)
    return this.#wait(
      member.then((found) => this.#welcome(found)),
      NO_REPLY,
    )
  }

  #welcome(member: Member | undefined): string {
    if (!member) return this.#end('unknown PMI id')
    this.#member = member
    // Exactly these lines in this order: MPICH reads them so.
    return `cmd=initack\ncmd=set size=${member.job.layout.size}\ncmd=set rank=${member.rank}\ncmd=set debug=0\n`
  }

  #reply(member: Member, command: string, line: string): string {
    const { job, rank, connection } = member
    switch (command) {
      case 'put':
        return put(member, line)
      case 'get':
        return get(member, line)
      case 'barrier_in':
        return this.#fence(member)
      case 'init':
        if (fieldOf(line, 'pmi_version') !== '1') {
          return 'cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=-1\n'
        }
        connection.initialised()
        return 'cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n'
      case 'get_maxes':
        return MAXES
      case 'get_appnum':
        return `cmd=appnum appnum=${job.layout.appnums[rank] ?? 0}\n`
      case 'get_my_kvsname':
        return `cmd=my_kvsname kvsname=${job.layout.id}\n`
      case 'get_universe_size':
        return `cmd=universe_size size=${job.layout.universeSize ?? -1}\n`
      case 'publish_name':
        return this.#publish(member, line)
      case 'lookup_name':
        return this.#lookup(member, line)
      case 'unpublish_name':
        return this.#unpublish(member, line)
      case 'finalize':
        connection.finalised()
        return 'cmd=finalize_ack\n'
      case 'abort': {
        const { status, message } = parseAbort(line)
        connection.abort(status, message)
        // MPICH 4 waits for an answer that no process manager sends; the end of the connection lets it go on to exit.
        return this.#end('MPI_Abort')
      }
      default:
        return `cmd=${command.slice(0, 64)}_result rc=-1 msg=unsupported\n`
    }
  }

  #fence(member: Member): string {
    this.#flush()
    this.#busy = true
    return member.enterFence(this.#release) ? NO_REPLY : this.#end('a barrier within a barrier')
  }

  readonly #release = (failure?: string): void => {
    if (failure === undefined) this.#answer(BARRIER_OUT)
    else this.#end(failure)
  }

  #publish(member: Member, line: string): string {
    const name = fieldOf(line, 'service')
    const port = fieldOf(line, 'port')
    if (!name || !port) return 'cmd=publish_result rc=1 msg=no_name_or_port\n'
    const reply = publishPort(this.#host, member, name, port).then((status) => {
      if (status === 'ok') return 'cmd=publish_result rc=0 msg=success\n'
      return `cmd=publish_result rc=1 msg=${status === 'duplicate' ? 'key_already_present' : 'no_room'}\n`
    })
    return this.#wait(reply, 'cmd=publish_result rc=1 msg=no_name_service\n')
  }

  #lookup(member: Member, line: string): string {
    const missing = 'cmd=lookup_result rc=1 msg=service_not_found\n'
    const reply = lookUpPort(this.#host, member, fieldOf(line, 'service') ?? '').then((port) =>
      port !== undefined && isValue(port) && port.length <= MAX_VALUE
        ? `cmd=lookup_result rc=0 port=${port}\n`
        : missing,
    )
    return this.#wait(reply, missing)
  }

  #unpublish(member: Member, line: string): string {
    const missing = 'cmd=unpublish_result rc=1 msg=service_not_found\n'
    const name = fieldOf(line, 'service')
    if (!name) return missing
    const reply = this.#host.names
      .unpublish(member.party, [name])
      .then((removed) => (removed > 0 ? 'cmd=unpublish_result rc=0 msg=success\n' : missing))
    return this.#wait(reply, missing)
  }

  #spawnLine(lines: string[], line: string): string {
    this.#spawnBytes += line.length + 1
    if (this.#spawnBytes > MAX_SPAWN) return this.#end('a spawn request of more than 4 MiB')
    if (line !== 'endcmd') {
      lines.push(line)
      return NO_REPLY
    }
    this.#spawnLines = undefined
    const part = parseSpawn(lines)
    const parts = this.#spawnParts
    const inOrder = part !== undefined && part.nth === parts.length + 1
    if (inOrder) parts.push(part)
    if (inOrder && part.nth < part.total) return NO_REPLY
    this.#spawnParts = []
    this.#spawnBytes = 0
    return inOrder ? this.#spawn(this.#member as Member, parts) : 'cmd=spawn_result rc=-1 msg=malformed\n'
  }

  #spawn(member: Member, parts: readonly SpawnPart[]): string {
    const failure = 'cmd=spawn_result rc=-1 msg=spawn_failed\n'
    const request = {
      job: member.job.layout.id,
      rank: member.rank,
      commands: parts.map((part) => part.command),
      preput: parts[0]?.preput ?? [],
    }
    const reply = this.#host.spawn(request).then(({ errcodes }) => {
      const text = `cmd=spawn_result rc=0 errcodes=${errcodes.join(',')}\n`
      if (text.length <= MAX_REPLY) return text
      // MPICH takes a reply without codes for success of all.
      return errcodes.every((code) => code === 0) ? 'cmd=spawn_result rc=0\n' : failure
    })
    return this.#wait(reply, failure)
  }

  /** Answers when the promise is settled; `otherwise` when it is rejected. */
  #wait(reply: Promise<string>, otherwise: string): typeof NO_REPLY {
    this.#flush()
    this.#busy = true
    reply.then(
      (text) => this.#answer(text),
      () => this.#answer(otherwise),
    )
    return NO_REPLY
  }

  #answer(text: string): void {
    if (this.#ended) return
    this.#busy = false
    this.#output += text
    // Within `#run` its loop goes on by itself: answers that come at once must not nest.
    if (this.#running) return
    if (this.#input.length > 0) this.#run()
    else this.#flush()
  }
}

function put({ job, rank }: Member, line: string): string {
  const key = fieldOf(line, 'key')
  const value = fieldOf(line, 'value') ?? ''
  if (!key || fieldOf(line, 'kvsname') !== job.layout.id) {
    return 'cmd=put_result rc=-1 msg=no_such_kvs_or_key\n'
  }
  if (key.length > MAX_KEY || value.length > MAX_VALUE) {
    return 'cmd=put_result rc=-1 msg=key_or_value_too_long\n'
  }
  const status = job.kvs.put(rank, key, value, line.length)
  return status === 'ok' ? PUT_OK : `cmd=put_result rc=-1 msg=${status}\n`
}

function get({ job }: Member, line: string): string {
  const key = fieldOf(line, 'key') ?? ''
  const value = fieldOf(line, 'kvsname') === job.layout.id ? job.kvs.get(key) : undefined
  return value !== undefined && value.length <= MAX_VALUE
    ? `cmd=get_result rc=0 msg=success value=${value}\n`
    : `cmd=get_result rc=-1 msg=key_${key.slice(0, MAX_KEY)}_not_found value=unknown\n`
}
