// A PMI-2 connection as a state machine: messages in, messages out. It knows no sockets. A client with threads may
// have several requests under way (each with its `thrid`), so a request that waits does not hold up the others.
import { lookUpPort, type Member, type PmiSession, publishPort, type SessionHost } from '../pmi/session.ts'
import { integerOf, LineBuffer, spawnCommand } from '../pmi1/codec.ts'
import { printable } from '../pmix/strings.ts'
import {
  formatMessage,
  MAX_MESSAGE,
  MessageBuffer,
  type Pair,
  parseMessage,
  parseSpawn,
  valueFor,
} from './codec.ts'

/** The first line is framed as in PMI-1; it is at most as long as this. */
const MAX_HELLO = 1024
/** Requests of one connection that may wait at a time: more threads than that do not call MPI_Init. */
const MAX_WAITING = 64

type Fields = readonly Pair[]
/** A reply, one to come, or none: the request is answered elsewhere or never. */
type Reply = Fields | Promise<Fields> | undefined

/** A session that begins with `cmd=init pmi_version=2`. */
export class Pmi2Session implements PmiSession {
  readonly #host: SessionHost
  readonly #hello = new LineBuffer()
  readonly #input = new MessageBuffer()
  #greeted = false
  #member: Member | undefined
  #output = ''
  #running = false
  #ended = false
  #waiting = 0
  /** Heads of the replies to the fence under way. */
  #fenceHead: Fields = []
  /** Ends waits for node attributes. */
  readonly #cancel = new Set<() => void>()

  constructor(host: SessionHost) {
    this.#host = host
  }

  receive(chunk: Buffer): void {
    if (this.#greeted) this.#input.push(chunk)
    else if (!this.#greet(chunk)) return
    this.#running = true
    while (!this.#ended) {
      const message = this.#input.next()
      if (message === 'more') break
      const pairs = message === 'malformed' ? undefined : parseMessage(message.text)
      if (pairs) this.#handle(pairs)
      else this.#end('bytes that are no PMI-2 message')
    }
    this.#running = false
    this.#flush()
  }

  closed(): void {
    this.#ended = true
    for (const cancel of this.#cancel) cancel()
    this.#member?.job.leave(this.#member.rank, this.#release)
  }

  /** The greeting; false when it is not complete or not of this protocol. */
  #greet(chunk: Buffer): boolean {
    this.#hello.push(chunk)
    const line = this.#hello.next()
    if (line === undefined) {
      if (this.#hello.length > MAX_HELLO) this.#end('a first line of more than 1 KiB')
      return false
    }
    if (!/^cmd=init pmi_version=2(?: |$)/.test(line)) {
      this.#end('the first message is not init')
      return false
    }
    this.#greeted = true
    this.#output += 'cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n'
    this.#input.push(this.#hello.takeRest())
    return true
  }

  #flush(): void {
    if (this.#output === '' || this.#ended) return
    const text = this.#output
    this.#output = ''
    this.#host.send(text)
  }

  #end(why: string): undefined {
    if (this.#ended) return
    this.#flush()
    this.#ended = true
    this.#host.end(why)
  }

  #handle(pairs: Fields): void {
    const command = (pairs[0] as Pair)[1]
    const thread = valueFor(pairs, 'thrid')
    const head: Fields = [
      ['cmd', `${command.slice(0, 64)}-response`],
      ...(thread === undefined ? [] : [['thrid', thread] as const]),
    ]
    const reply = this.#member ? this.#reply(this.#member, command, pairs, head) : this.#claim(command, pairs)
    if (reply instanceof Promise) {
      const finish = (fields: Fields) => {
        this.#waiting--
        this.#send(head, fields)
      }
      this.#waiting++
      reply.then(finish, () => finish(failed('the request failed')))
    } else if (reply) {
      this.#send(head, reply)
    }
  }

  #claim(command: string, pairs: Fields): Reply {
    const id = command === 'fullinit' ? integerOf(valueFor(pairs, 'pmirank')) : undefined
    const member = id === undefined ? undefined : this.#host.claim(id)
    return member instanceof Promise ? member.then((found) => this.#welcome(found)) : this.#welcome(member)
  }

  #welcome(member: Member | undefined): Fields {
    if (!member) {
      this.#end('unknown PMI id')
      return []
    }
    this.#member = member
    member.connection.initialised()
    const { size, appnums, spawnedBy } = member.job.layout
    return [
      ['pmi-version', '2'],
      ['pmi-subversion', '0'],
      ['rank', String(member.rank)],
      ['size', String(size)],
      ['appnum', String(appnums[member.rank] ?? 0)],
      ...(spawnedBy ? [['spawner-jobid', spawnedBy.job] as const] : []),
      ['debugged', 'FALSE'],
      ['pmiverbose', 'FALSE'],
      OK,
    ]
  }

  #reply(member: Member, command: string, pairs: Fields, head: Fields): Reply {
    const { job, rank, connection } = member
    const field = (key: string) => valueFor(pairs, key) ?? ''
    switch (command) {
      case 'kvs-put': {
        const key = field('key')
        const value = field('value')
        if (key === '') return failed('no key')
        const status = job.kvs.put(rank, key, value, key.length + value.length)
        return status === 'ok' ? [OK] : failed(status)
      }
      case 'kvs-get': {
        const asked = valueFor(pairs, 'jobid') ?? job.layout.id
        return found(asked === job.layout.id ? job.kvs.get(field('key')) : undefined)
      }
      case 'kvs-fence':
        return this.#fence(member, head)
      case 'job-getid':
        return [['jobid', job.layout.id], OK]
      case 'info-getjobattr':
        return found(jobAttribute(member, field('key')))
      case 'info-putnodeattr': {
        const key = field('key')
        const value = field('value')
        const put = job.putAttribute(connection.guest, key, value, key.length + value.length)
        return put ? [OK] : failed('no room for node attributes')
      }
      case 'info-getnodeattr':
        return this.#nodeAttribute(member, field('key'), field('wait') === 'TRUE')
      case 'finalize':
        connection.finalised()
        return [OK]
      case 'abort':
        connection.abort(
          integerOf(valueFor(pairs, 'exitcode')) ?? 1,
          printable(field('message') || field('msg')),
        )
        return this.#end('MPI_Abort')
      case 'name-publish':
      case 'name-lookup':
      case 'name-unpublish':
      case 'spawn':
        if (this.#waiting >= MAX_WAITING) return failed('too many requests at a time')
        return this.#ask(member, command, pairs)
      default:
        return failed('unsupported')
    }
  }

  /** Requests that the controller answers. */
  async #ask(member: Member, command: string, pairs: Fields): Promise<Fields> {
    const name = valueFor(pairs, 'name') ?? ''
    switch (command) {
      case 'name-publish': {
        const status = await publishPort(this.#host, member, name, valueFor(pairs, 'port') ?? '')
        if (status === 'ok') return [OK]
        return failed(status === 'duplicate' ? 'published already' : 'no room for names')
      }
      case 'name-lookup': {
        const port = await lookUpPort(this.#host, member, name)
        return port === undefined
          ? [['found', 'FALSE'], ...failed('not published')]
          : [['found', 'TRUE'], ['port', port], OK]
      }
      case 'name-unpublish': {
        const removed = await this.#host.names.unpublish(member.party, [name])
        return removed > 0 ? [OK] : failed('not published')
      }
      default: {
        const request = parseSpawn(pairs, spawnCommand)
        if (!request) return failed('malformed spawn request')
        const { job } = await this.#host.spawn({
          job: member.job.layout.id,
          rank: member.rank,
          ...request,
        })
        return [OK, ['jobid', job], ['nerrs', '0']]
      }
    }
  }

  #fence(member: Member, head: Fields): Reply {
    const before = this.#fenceHead
    this.#fenceHead = head
    if (member.enterFence(this.#release)) return undefined
    this.#fenceHead = before
    return failed('a fence within a fence')
  }

  readonly #release = (failure?: string): void => {
    if (failure === undefined) this.#send(this.#fenceHead, [OK])
    else this.#end(failure)
  }

  #nodeAttribute({ job, connection }: Member, key: string, wait: boolean): Reply {
    const value = job.getAttribute(connection.guest, key)
    if (value !== undefined || !wait) return found(value)
    if (this.#waiting >= MAX_WAITING) return failed('too many requests at a time')
    return new Promise((resolve) => {
      const cancel = job.awaitAttribute(connection.guest, key, (put) => {
        this.#cancel.delete(cancel)
        resolve(found(put))
      })
      this.#cancel.add(cancel)
    })
  }

  #send(head: Fields, fields: Fields): void {
    if (this.#ended) return
    const message = formatMessage([...head, ...fields])
    this.#output += message.length <= MAX_MESSAGE ? message : formatMessage([...head, ...failed('too long')])
    if (!this.#running) this.#flush()
  }
}

const OK: Pair = ['rc', '0']

function found(value: string | undefined): Fields {
  return value === undefined ? [['found', 'FALSE'], OK] : [['found', 'TRUE'], ['value', value], OK]
}

function failed(why: string): Fields {
  return [
    ['rc', '1'],
    ['errmsg', why],
  ]
}

/** Job attributes are PMI-2's way to what PMI-1 clients `get`. */
function jobAttribute({ job }: Member, key: string): string | undefined {
  const { universeSize } = job.layout
  if (key !== 'universeSize') return job.kvs.get(key)
  return universeSize === undefined ? undefined : String(universeSize)
}
