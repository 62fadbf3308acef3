// Output of many ranks to one user, and the user's input to ranks.
import { PassThrough, Writable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LeetError } from '../../../common/index.ts'
import { linePrefix } from '../../../mpi-bridge/index.ts'
import { forwardInput, RankOutput } from '../../../mpi-bridge/stdio.ts'

/** A stream of the user that takes everything, or nothing until it is told to. */
class Sink extends Writable {
  readonly chunks: Buffer[] = []
  #release: (() => void)[] | undefined

  constructor(slow = false) {
    super({ highWaterMark: 1024 })
    if (slow) this.#release = []
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk)
    if (this.#release) this.#release.push(done)
    else done()
  }

  release(): void {
    const waiting = this.#release ?? []
    this.#release = undefined
    for (const done of waiting) done()
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('latin1')
  }
}

type Tags = 'openmpi' | 'hydra'
const tags = { tag: false, timestamp: false, pattern: undefined }
const PREFIXES = {
  openmpi: linePrefix({ ...tags, tag: true }, () => new Date()),
  hydra: linePrefix({ ...tags, pattern: '[%r] ' }, () => new Date()),
}

function openOutput(change: { tags?: Tags; ranks?: number; stdout?: Writable } = {}) {
  const stdout = change.stdout ?? new Sink()
  const stderr = new Sink()
  const holds: boolean[] = []
  const broken: LeetError[] = []
  const output = new RankOutput({
    stdout,
    stderr,
    prefix:
      change.tags &&
      ((source, stream) => PREFIXES[change.tags as Tags]?.({ ...source, stream, host: 'h' }) ?? ''),
    ranks: change.ranks ?? 4,
    hold: (hold) => holds.push(hold),
    onBroken: (_, error) => broken.push(error),
  })
  const write = (rank: number, text: string) =>
    output.write({ job: 0, rank, guest: 0 }, 'stdout', Buffer.from(text, 'latin1'))
  return { output, write, stdout: stdout as Sink, stderr, holds, broken }
}

describe('output of ranks', () => {
  it('lines of different ranks are never mixed, and nothing is lost or added', async () => {
    const piece = fc.tuple(fc.nat(3), fc.string({ unit: fc.constantFrom('a', 'b', '\n'), maxLength: 8 }))
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 60 }), async (pieces) => {
        const { output, write, stdout } = openOutput()
        // Each rank writes letters of its own, so that a mixed line shows.
        const own = (rank: number, text: string) =>
          text.replaceAll('a', String.fromCharCode(65 + rank)).replaceAll('b', String.fromCharCode(97 + rank))
        for (const [rank, text] of pieces) write(rank, own(rank, text))
        // Each ends its last line, so that all lines are whole.
        for (const rank of [0, 1, 2, 3]) write(rank, '\n')
        await output.flush()
        const written = [0, 1, 2, 3].map(
          (rank) =>
            `${pieces
              .filter(([writer]) => writer === rank)
              .map(([, text]) => own(rank, text))
              .join('')}\n`,
        )
        const lines = stdout.text.split('\n')
        for (const line of lines)
          expect(new Set([...line].map((letter) => letter.toLowerCase())).size).toBeLessThan(2)
        expect([...stdout.text].sort()).toEqual([...written.join('')].sort())
        for (const [rank, text] of written.entries()) {
          const letters = new Set([String.fromCharCode(65 + rank), String.fromCharCode(97 + rank)])
          const seen = lines.filter((line) => letters.has(line[0] ?? ''))
          expect(seen).toEqual(text.split('\n').filter((line) => line !== ''))
        }
      }),
    )
  })

  it('of a single rank is passed on byte for byte', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 50 })), async (chunks) => {
        const { output, stdout } = openOutput({ ranks: 1 })
        for (const chunk of chunks) output.write({ job: 0, rank: 0, guest: 0 }, 'stdout', chunk)
        await output.flush()
        expect(Buffer.concat(stdout.chunks)).toEqual(Buffer.concat(chunks))
      }),
    )
  })

  it('of a single rank does not wait for the end of its line', async () => {
    const { write, stdout } = openOutput({ ranks: 1 })
    write(0, 'working')
    await new Promise((resolve) => setImmediate(resolve))
    expect(stdout.text).toBe('working')
  })

  it('of ranks that a single rank has spawned comes in whole lines', async () => {
    const { output, stdout } = openOutput({ ranks: 1 })
    const write = (job: number, rank: number, text: string) =>
      output.write({ job, rank, guest: 0 }, 'stdout', Buffer.from(text))
    write(0, 0, 'parent\n')
    write(1, 0, 'child ')
    write(1, 1, 'child ')
    write(1, 1, 'one\n')
    write(1, 0, 'none\n')
    await output.flush()
    expect(stdout.text).toBe('parent\nchild one\nchild none\n')
  })

  it('keeps standard output and standard error apart', async () => {
    const { output, write, stdout, stderr } = openOutput()
    write(0, 'half')
    output.write({ job: 0, rank: 0, guest: 0 }, 'stderr', Buffer.from('error\n'))
    await output.flush()
    expect([stdout.text, stderr.text]).toEqual(['half', 'error\n'])
  })

  it('passes a last line without an end on when its rank ends', async () => {
    const { output, write, stdout } = openOutput()
    write(0, 'no end')
    write(1, 'line\n')
    await new Promise((resolve) => setImmediate(resolve))
    expect(stdout.text).toBe('line\n')
    output.end({ job: 0, rank: 0, guest: 0 })
    await output.flush()
    expect(stdout.text).toBe('line\nno end')
  })

  it('holds no more than 64 KiB of a line', async () => {
    const { write, stdout } = openOutput()
    for (let index = 0; index < 70; index++) write(0, 'x'.repeat(1000))
    await new Promise((resolve) => setImmediate(resolve))
    expect(stdout.text.length).toBeGreaterThan(64 * 1024)
  })

  it('does not keep what it was given from being changed later', async () => {
    const { output, stdout } = openOutput()
    const reused = Buffer.from('abc')
    output.write({ job: 0, rank: 0, guest: 0 }, 'stdout', reused)
    reused.fill('x')
    await output.flush()
    expect(stdout.text).toBe('abc')
  })

  it.each<[Tags, string]>([
    // mpirun 4.1.4 --tag-output, where the ranks end their lines
    ['openmpi', '[1,0]<stdout>:a\n[1,1]<stdout>:\n[1,1]<stdout>:b\n[1,0]<stdout>:c\n[1,1]<stdout>:d'],
    // mpiexec.hydra 4.0.2 -l
    ['hydra', '[0] a\n[1] \n[1] b\n[0] c\n[1] d'],
  ])('tags each line as %s does', async (tags, expected) => {
    const { output, write, stdout } = openOutput({ tags })
    write(0, 'a\nc')
    write(1, '\nb\nd')
    output.end({ job: 0, rank: 0, guest: 0 })
    output.end({ job: 0, rank: 1, guest: 0 })
    await output.flush()
    expect(stdout.text).toBe(expected)
  })

  it('tags name spawned jobs and standard error', async () => {
    const { output, stderr } = openOutput({ tags: 'openmpi' })
    output.write({ job: 2, rank: 7, guest: 0 }, 'stderr', Buffer.from('x\n'))
    await output.flush()
    expect(stderr.text).toBe('[3,7]<stderr>:x\n')
  })

  it('a long line that goes on in parts is tagged once', async () => {
    const { output, write, stdout } = openOutput({ tags: 'hydra' })
    write(0, 'x'.repeat(70_000))
    write(0, 'y\n')
    write(0, 'z\n')
    await output.flush()
    expect(stdout.text).toBe(`[0] ${'x'.repeat(70_000)}y\n[0] z\n`)
  })

  it('on a terminal shows what may be a prompt', async () => {
    const stdout = Object.assign(new Sink(), { isTTY: true })
    const shown = new Promise((resolve) => stdout.once('prompted', resolve))
    const write = stdout._write.bind(stdout)
    stdout._write = (chunk, encoding, done) => {
      write(chunk, encoding, done)
      stdout.emit('prompted')
    }
    const ranks = openOutput({ stdout })
    ranks.write(0, 'How many? ')
    await shown
    expect(stdout.text).toBe('How many? ')
    ranks.write(1, 'line\n')
    await ranks.output.flush()
    expect(stdout.text).toBe('How many? \nline\n')
  })
})

describe('a slow user', () => {
  it('has the channels held until all is taken', async () => {
    const stdout = new Sink(true)
    const { output, write, holds } = openOutput({ stdout })
    write(0, `${'x'.repeat(5000)}\n`)
    await new Promise((resolve) => setImmediate(resolve))
    expect(holds).toEqual([true])
    stdout.release()
    await output.flush()
    expect(holds).toEqual([true, false])
  })
})

describe('a user who is gone', () => {
  it('is told once, and what comes is dropped without holding anybody', async () => {
    const stdout = new Writable({
      highWaterMark: 1,
      write: (_chunk, _encoding, done) => done(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
    })
    const { output, write, holds, broken, stderr } = openOutput({ stdout })
    write(0, 'a line\n')
    await output.flush()
    for (let index = 0; index < 10; index++) write(index % 4, 'another\n')
    await output.flush()
    expect(broken.map((error) => error.message)).toEqual([
      'standard output cannot be written: its reader is gone',
    ])
    expect(holds.at(-1) ?? false).toBe(false)
    output.write({ job: 0, rank: 0, guest: 0 }, 'stderr', Buffer.from('still here\n'))
    await output.flush()
    expect(stderr.text).toBe('still here\n')
  })
})

describe('input for ranks', () => {
  it('goes to each, at the pace of the slowest, with its end', async () => {
    const input = new PassThrough()
    const got: string[][] = [[], []]
    let release: () => void = () => {}
    const slow = new Promise<void>((resolve) => {
      release = resolve
    })
    const ended = Promise.withResolvers<void>()
    forwardInput(input, [
      {
        write: async (data) => void got[0]?.push(Buffer.from(data).toString()),
        end: () => got[0]?.push('END'),
      },
      {
        write: async (data) => {
          got[1]?.push(Buffer.from(data).toString())
          await slow
        },
        end: () => {
          got[1]?.push('END')
          ended.resolve()
        },
      },
    ])
    input.write('one')
    await new Promise((resolve) => setImmediate(resolve))
    input.write('two')
    await new Promise((resolve) => setImmediate(resolve))
    expect(got).toEqual([['one'], ['one']])
    release()
    input.end()
    await ended.promise
    expect(got.map((texts) => texts.join(' '))).toEqual(['one two END', 'one two END'])
  })

  it('ends when the input cannot be read', async () => {
    const input = new PassThrough()
    const ended = new Promise<void>((resolve) => {
      forwardInput(input, [{ write: async () => {}, end: resolve }])
    })
    input.destroy(new Error('read EIO'))
    await ended
  })

  it('stops without telling the ranks', async () => {
    const input = new PassThrough()
    const got: string[] = []
    const forwarding = forwardInput(input, [
      { write: async (data) => void got.push(String(data)), end: () => got.push('END') },
    ])
    forwarding.stop()
    input.end('late')
    await new Promise((resolve) => setImmediate(resolve))
    expect(got).toEqual([])
  })
})
