// The client's side of PMI-1 and PMI-2, as MPI libraries have it: connects by PMI_PORT and PMI_ID and asks one thing
// at a time. Written apart from the services, so that both sides can be wrong only in different ways.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/** Fields of a reply. */
export type Fields = Readonly<Record<string, string>>

/** One command of a spawn request. */
export interface SpawnWords {
  readonly argv: readonly [string, ...string[]]
  readonly maxprocs: number
  readonly info?: Readonly<Record<string, string>>
}

/** A rank's way to its process manager. */
export interface PmiClient {
  readonly rank: number
  readonly size: number
  /** Whether MPI_Comm_spawn started this rank. */
  readonly spawned: boolean
  jobName(): Promise<string>
  put(key: string, value: string): Promise<void>
  fence(): Promise<void>
  /** Undefined when there is no such key. */
  get(key: string): Promise<string | undefined>
  publish(name: string, port: string): Promise<boolean>
  lookUp(name: string): Promise<string | undefined>
  withdraw(name: string): Promise<boolean>
  spawn(commands: readonly SpawnWords[], preput: Fields): Promise<boolean>
  finalise(): Promise<void>
  abort(status: number, message: string): void
}

/** Connects as the environment says. */
export async function connectPmi(version: 1 | 2, env: NodeJS.ProcessEnv = process.env): Promise<PmiClient> {
  const [host = '', port = ''] = (env.PMI_PORT ?? '').split(':')
  const id = env.PMI_ID ?? ''
  const socket = connect(Number(port), host)
  socket.setNoDelay(true)
  await once(socket, 'connect')
  const wire = new Wire(socket)
  return version === 1 ? Client1.open(wire, id, env.PMI_SPAWNED === '1') : Client2.open(wire, id)
}

/** Bytes of the connection, read as they are wanted. */
class Wire {
  readonly #socket: Socket
  #held = ''
  #wake: () => void = () => {}
  #ended = false

  constructor(socket: Socket) {
    this.#socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      this.#held += text
      this.#wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#ended = true
      this.#wake()
    })
  }

  write(text: string): void {
    this.#socket.write(text, 'latin1')
  }

  /** Resolves with what `take` finds in the bytes held, once it finds something; it gives their number too. */
  async read(
    take: (held: string) => { readonly text: string; readonly length: number } | undefined,
  ): Promise<string> {
    for (;;) {
      const found = take(this.#held)
      if (found) {
        this.#held = this.#held.slice(found.length)
        return found.text
      }
      if (this.#ended) throw new Error('the process manager closed the connection')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  line(): Promise<string> {
    return this.read((held) => {
      const end = held.indexOf('\n')
      return end < 0 ? undefined : { text: held.slice(0, end), length: end + 1 }
    })
  }

  message(): Promise<string> {
    return this.read((held) => {
      const length = Number(held.slice(0, 6))
      return held.length < 6 || held.length < 6 + length
        ? undefined
        : { text: held.slice(6, 6 + length), length: 6 + length }
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}

class Client1 implements PmiClient {
  readonly #wire: Wire
  readonly rank: number
  readonly size: number
  readonly spawned: boolean
  #job: string | undefined

  private constructor(wire: Wire, rank: number, size: number, spawned: boolean) {
    this.#wire = wire
    this.rank = rank
    this.size = size
    this.spawned = spawned
  }

  static async open(wire: Wire, id: string, spawned: boolean): Promise<PmiClient> {
    wire.write(`cmd=initack pmiid=${id}\n`)
    const lines = [await wire.line(), await wire.line(), await wire.line(), await wire.line()]
    const [ack, size, rank] = lines.map(fieldsOf)
    if (ack?.cmd !== 'initack') throw new Error(`unexpected ${lines[0]}`)
    const client = new Client1(wire, Number(rank?.rank), Number(size?.size), spawned)
    await client.#ask('init pmi_version=1 pmi_subversion=1')
    await client.#ask('get_maxes')
    return client
  }

  async #ask(request: string): Promise<Fields> {
    this.#wire.write(`cmd=${request}\n`)
    return fieldsOf(await this.#wire.line())
  }

  async jobName(): Promise<string> {
    this.#job ??= (await this.#ask('get_my_kvsname')).kvsname ?? ''
    return this.#job
  }

  async put(key: string, value: string): Promise<void> {
    await this.#ask(`put kvsname=${await this.jobName()} key=${key} value=${value}`)
  }

  async fence(): Promise<void> {
    await this.#ask('barrier_in')
  }

  async get(key: string): Promise<string | undefined> {
    const { rc, value } = await this.#ask(`get kvsname=${await this.jobName()} key=${key}`)
    return rc === '0' ? value : undefined
  }

  async publish(name: string, port: string): Promise<boolean> {
    return (await this.#ask(`publish_name service=${name} port=${port}`)).rc === '0'
  }

  async lookUp(name: string): Promise<string | undefined> {
    const { rc, port } = await this.#ask(`lookup_name service=${name}`)
    return rc === '0' ? port : undefined
  }

  async withdraw(name: string): Promise<boolean> {
    return (await this.#ask(`unpublish_name service=${name}`)).rc === '0'
  }

  async spawn(commands: readonly SpawnWords[], preput: Fields): Promise<boolean> {
    const pairs = (what: string, fields: Fields) => [
      `${what}_num=${Object.keys(fields).length}`,
      ...Object.entries(fields).flatMap(([key, value], n) => [
        `${what}_key_${n}=${key}`,
        `${what}_val_${n}=${value}`,
      ]),
    ]
    const parts = commands.map(({ argv: [program, ...args], maxprocs, info = {} }, n) =>
      [
        'mcmd=spawn',
        `nprocs=${maxprocs}`,
        `execname=${program}`,
        `totspawns=${commands.length}`,
        `spawnssofar=${n + 1}`,
        ...args.map((arg, nth) => `arg${nth + 1}=${arg}`),
        `argcnt=${args.length}`,
        ...pairs('preput', preput),
        ...pairs('info', info),
        'endcmd\n',
      ].join('\n'),
    )
    this.#wire.write(parts.join(''))
    const { cmd, rc, errcodes = '' } = fieldsOf(await this.#wire.line())
    return cmd === 'spawn_result' && rc === '0' && errcodes.split(',').every((code) => code === '0')
  }

  async finalise(): Promise<void> {
    await this.#ask('finalize')
    this.#wire.close()
  }

  abort(status: number, message: string): void {
    this.#wire.write(`cmd=abort exitcode=${status} message=${message}\n`)
  }
}

class Client2 implements PmiClient {
  readonly #wire: Wire
  readonly rank: number
  readonly size: number
  readonly spawned: boolean

  private constructor(wire: Wire, rank: number, size: number, spawned: boolean) {
    this.#wire = wire
    this.rank = rank
    this.size = size
    this.spawned = spawned
  }

  static async open(wire: Wire, id: string): Promise<PmiClient> {
    wire.write('cmd=init pmi_version=2 pmi_subversion=0\n')
    const greeting = await wire.line()
    if (fieldsOf(greeting).rc !== '0') throw new Error(`unexpected ${greeting}`)
    const fields = await ask(wire, 'fullinit', [['pmirank', id]])
    return new Client2(wire, Number(fields.rank), Number(fields.size), fields['spawner-jobid'] !== undefined)
  }

  #ask(command: string, pairs: readonly (readonly [string, string])[] = []): Promise<Fields> {
    return ask(this.#wire, command, pairs)
  }

  async jobName(): Promise<string> {
    return (await this.#ask('job-getid')).jobid ?? ''
  }

  async put(key: string, value: string): Promise<void> {
    await this.#ask('kvs-put', [
      ['key', key],
      ['value', value],
    ])
  }

  async fence(): Promise<void> {
    await this.#ask('kvs-fence')
  }

  async get(key: string): Promise<string | undefined> {
    return (await this.#ask('kvs-get', [['key', key]])).value
  }

  async publish(name: string, port: string): Promise<boolean> {
    const { rc } = await this.#ask('name-publish', [
      ['name', name],
      ['port', port],
    ])
    return rc === '0'
  }

  async lookUp(name: string): Promise<string | undefined> {
    return (await this.#ask('name-lookup', [['name', name]])).port
  }

  async withdraw(name: string): Promise<boolean> {
    return (await this.#ask('name-unpublish', [['name', name]])).rc === '0'
  }

  async spawn(commands: readonly SpawnWords[], preput: Fields): Promise<boolean> {
    const numbered = (key: string, value: string, fields: Fields) =>
      Object.entries(fields).flatMap(([name, text], n) => [
        [`${key}${n}`, name] as const,
        [`${value}${n}`, text] as const,
      ])
    const { rc } = await this.#ask('spawn', [
      ['ncmds', String(commands.length)],
      ['preputcount', String(Object.keys(preput).length)],
      ...numbered('ppkey', 'ppval', preput),
      ...commands.flatMap(({ argv: [program, ...args], maxprocs, info = {} }) => [
        ['subcmd', program] as const,
        ['maxprocs', String(maxprocs)] as const,
        ['argc', String(args.length)] as const,
        ...args.map((arg, n) => [`argv${n}`, arg] as const),
        ['infokeycount', String(Object.keys(info).length)] as const,
        ...numbered('infokey', 'infoval', info),
      ]),
    ])
    return rc === '0'
  }

  async finalise(): Promise<void> {
    await this.#ask('finalize')
    this.#wire.close()
  }

  abort(status: number, message: string): void {
    send(this.#wire, 'abort', [
      ['exitcode', String(status)],
      ['message', message],
    ])
  }
}

function fieldsOf(line: string): Fields {
  return Object.fromEntries(
    line.split(' ').map((word) => {
      const split = word.indexOf('=')
      return [word.slice(0, split), word.slice(split + 1)] as const
    }),
  )
}

function send(wire: Wire, command: string, pairs: readonly (readonly [string, string])[]): void {
  const text = [['cmd', command] as const, ...pairs]
    .map(([key, value]) => `${key}=${value.replaceAll(';', ';;')};`)
    .join('')
  wire.write(`${String(text.length).padStart(6)}${text}`)
}

async function ask(
  wire: Wire,
  command: string,
  pairs: readonly (readonly [string, string])[],
): Promise<Fields> {
  send(wire, command, pairs)
  const reply = await wire.message()
  const fields: Record<string, string> = {}
  // Pairs end at a single semicolon.
  for (const [, key = '', value = ''] of reply.matchAll(/([^=;]+)=((?:[^;]|;;)*);/g)) {
    fields[key] = value.replaceAll(';;', ';')
  }
  if (fields.cmd !== `${command}-response`) throw new Error(`unexpected ${reply}`)
  return fields
}
