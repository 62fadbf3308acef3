// The channel to a starter that is not what it should be: the far end is a script here, and it lies.
import { PassThrough } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { Deadline } from '../../../common/index.ts'
import type { ControlChannel, RankEvent, RankStart } from '../../../mpi-bridge/channels/channel.ts'
import { openStarterChannel } from '../../../mpi-bridge/channels/starter.ts'
import { INPUT_WINDOW } from '../../../mpi-bridge/starter/codec.ts'
import { openScope } from '../../support/scope.ts'

function frame(type: number, rank: number, ...payload: readonly number[]): Buffer {
  const bytes = Buffer.alloc(9 + payload.length)
  bytes.writeUInt32BE(payload.length, 0)
  bytes.writeUInt8(type, 4)
  bytes.writeUInt32BE(rank, 5)
  bytes.set(payload, 9)
  return bytes
}
const READY = frame(16, 0xffff_ffff, 0, 0, 0, 1, 0, 0, 0, 7)
const BEGAN = frame(17, 0, 0, 0, 0, 9)

/** The far end of a channel in the hands of the test. */
class Starter {
  readonly input = new PassThrough()
  readonly output = new PassThrough()
  readonly errors = new PassThrough()
  readonly events: RankEvent[] = []
  readonly ended: Promise<string>
  destroyed = false
  die: (how: string) => void = () => {}
  readonly #waiting = new Set<() => void>()

  constructor() {
    this.ended = new Promise((resolve) => {
      this.die = resolve
    })
  }

  open(): Promise<ControlChannel> {
    const transport = {
      where: 'g0',
      input: this.input,
      output: this.output,
      errors: this.errors,
      ended: this.ended,
      destroy: () => {
        this.destroyed = true
        this.die('destroyed')
      },
    }
    const listener = (event: RankEvent) => {
      this.events.push(event)
      for (const wake of this.#waiting) wake()
    }
    return openStarterChannel(
      transport,
      { scope: openScope(), listener },
      { deadline: Deadline.after(5_000) },
    )
  }

  async greet(): Promise<ControlChannel> {
    this.output.write(READY)
    return await this.open()
  }

  /** Waits for so many events. */
  async told(count: number): Promise<RankEvent[]> {
    while (this.events.length < count) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
    return this.events
  }

  /** Bytes of input payload that the channel has sent so far, across frames. */
  inputSent(): number {
    let bytes = 0
    const sent = (this.input.read() ?? Buffer.alloc(0)) as Buffer
    for (let at = 0; at < sent.length; at += 9 + sent.readUInt32BE(at)) {
      if (sent[at + 4] === 2) bytes += sent.readUInt32BE(at)
    }
    return bytes
  }
}

const rank: RankStart = { rank: 0, argv: ['a'], env: {}, cwd: '/', stdin: true, terminal: false }
const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('opening', () => {
  it.each([
    ['speaks another protocol', frame(16, 0xffff_ffff, 0, 0, 0, 2, 0, 0, 0, 7), 'it speaks version 2, not 1'],
    ['does not greet', BEGAN, 'it did not greet'],
    ['is a shell with a message', Buffer.from('Welcome to this guest!\n'), 'a frame of'],
  ])('fails when the far end %s', async (_, bytes, why) => {
    const starter = new Starter()
    starter.output.write(bytes)
    const failure = expect(starter.open()).rejects
    await failure.toMatchObject({
      code: 'LEET_E_STARTER_PROTOCOL',
      message: expect.stringContaining(why),
    })
    expect(starter.destroyed).toBe(true)
    expect(starter.events).toEqual([])
  })

  it('says what the far end said when it ended', async () => {
    const starter = new Starter()
    const opened = starter.open()
    starter.errors.write('sh: /leet/starter: not found\n')
    await turn()
    starter.die('exit status 127')
    await expect(opened).rejects.toMatchObject({
      code: 'LEET_E_STARTER_LOST',
      message: 'g0: the starter of ranks is gone (exit status 127): sh: /leet/starter: not found',
    })
  })

  it('gives up at the deadline', async () => {
    const starter = new Starter()
    const { input, output, errors, ended } = starter
    const transport = { where: 'g0', input, output, errors, ended, destroy: () => starter.die('destroyed') }
    const opened = openStarterChannel(
      transport,
      { scope: openScope(), listener: () => {} },
      { deadline: Deadline.after(1) },
    )
    await expect(opened).rejects.toMatchObject({ code: 'LEET_E_DEADLINE' })
  })
})

describe('a starter that lies', () => {
  it.each<[string, Buffer[]]>([
    ['speaks of a rank that it was not given', [frame(17, 5, 0, 0, 0, 9)]],
    ['sends output of a rank before its start', [frame(18, 0, 65)]],
    ['starts a rank twice', [BEGAN, BEGAN]],
    ['ends a rank that it has not started', [frame(20, 0, 0, 0, 0)]],
    ['ends a rank twice', [BEGAN, frame(20, 0, 0, 0, 0), frame(20, 0, 0, 0, 0)]],
    ['lets a rank fail after its end', [BEGAN, frame(20, 0, 0, 0, 0), frame(21, 0, 0, 0, 0, 2, 8)]],
    ['takes input that was not sent', [BEGAN, frame(22, 0, 0, 0, 0, 1)]],
    ['greets twice', [READY]],
    ['refuses', [frame(24, 0xffff_ffff, 104, 109)]],
  ])('is lost when it %s', async (_, frames) => {
    const starter = new Starter()
    const channel = await starter.greet()
    await channel.start([rank])
    for (const bytes of frames) starter.output.write(bytes)
    await starter.ended
    const lost = starter.events.at(-1)
    expect(lost).toMatchObject({ kind: 'lost', error: { code: 'LEET_E_STARTER_PROTOCOL' } })
    expect(starter.destroyed).toBe(true)
    // Nothing after it, whatever still comes.
    const told = starter.events.length
    starter.output.write(frame(18, 0, 65))
    await turn()
    expect(starter.events).toHaveLength(told)
    await expect(channel.start([{ ...rank, rank: 1 }])).rejects.toMatchObject({
      code: 'LEET_E_STARTER_PROTOCOL',
    })
  })
})

describe('a rank', () => {
  it('is handed over once', async () => {
    const starter = new Starter()
    const channel = await starter.greet()
    await channel.start([rank])
    await expect(channel.start([rank])).rejects.toMatchObject({ code: 'LEET_E_RANK_START' })
  })

  it('that does not read gets no more than the window', async () => {
    const starter = new Starter()
    const channel = await starter.greet()
    await channel.start([rank])
    starter.output.write(BEGAN)
    await starter.told(1)
    let written = false
    const writing = channel.write(0, new Uint8Array(3 * INPUT_WINDOW)).then(() => {
      written = true
    })
    // The pass-through between the two holds 16 KiB, so it is drained until nothing more comes.
    const drain = async () => {
      let bytes = 0
      for (let quiet = 0; quiet < 5; quiet++) {
        const more = starter.inputSent()
        bytes += more
        if (more > 0) quiet = 0
        await turn()
      }
      return bytes
    }
    expect(await drain()).toBe(INPUT_WINDOW)
    expect(written).toBe(false)
    const taken = [0, 1, 0, 0] // 65,536
    starter.output.write(frame(22, 0, ...taken))
    expect(await drain()).toBe(INPUT_WINDOW)
    starter.output.write(frame(22, 0, ...taken))
    expect(await drain()).toBe(INPUT_WINDOW)
    await writing
  })

  it.each<[string, Buffer]>([
    ['that ends', frame(20, 0, 0, 3, 0)],
    ['that closes its input', frame(23, 0)],
  ])('%s releases who writes to it', async (_, bytes) => {
    const starter = new Starter()
    const channel = await starter.greet()
    await channel.start([rank])
    starter.output.write(BEGAN)
    await starter.told(1)
    starter.input.resume()
    const writing = channel.write(0, new Uint8Array(3 * INPUT_WINDOW))
    starter.output.write(bytes)
    await writing
    await channel.write(0, new Uint8Array(3 * INPUT_WINDOW))
  })

  it('that cannot be started says why, with a status as a shell has it', async () => {
    const starter = new Starter()
    const channel = await starter.greet()
    await channel.start([{ ...rank, argv: ['nope'] }])
    starter.output.write(frame(21, 0, 0, 0, 0, 2, 7))
    const [failed] = await starter.told(1)
    expect(failed).toMatchObject({
      kind: 'failed',
      error: {
        code: 'LEET_E_RANK_START',
        message: 'g0: rank 0 cannot be started: nope is not on its PATH: no such file or directory',
        exitCode: 127,
      },
    })
  })
})

describe('closing', () => {
  it('kills what still runs, waits for the end, and is not a loss', async () => {
    const starter = new Starter()
    const channel = await starter.greet()
    await channel.start([rank])
    starter.output.write(BEGAN)
    await starter.told(1)
    const closed = channel.close({ deadline: Deadline.after(5_000) })
    const sent: Buffer[] = []
    for await (const chunk of starter.input) sent.push(chunk as Buffer)
    expect(Buffer.concat(sent).subarray(-14).toString('hex')).toBe('0000000505ffffffff0000000000')
    starter.output.write(frame(20, 0, 1, 9, 0))
    await starter.told(2)
    starter.die('exit status 0')
    await closed
    expect(starter.events.at(-1)).toMatchObject({ kind: 'ended' })
  })

  it('breaks the connection at the deadline', async () => {
    const starter = new Starter()
    const channel = await starter.greet()
    await channel.start([rank])
    await expect(channel.close({ deadline: Deadline.after(1) })).rejects.toMatchObject({
      code: 'LEET_E_DEADLINE',
    })
    expect(starter.destroyed).toBe(true)
    expect(starter.events).toEqual([])
  })
})
