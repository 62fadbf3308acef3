// The console's bytes as lines: nothing that a program wrote is changed or lost.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ConsoleLines, type ConsolePiece } from '../../../mpi-bridge/osv/console-lines.ts'

function all(chunks: readonly Uint8Array[]): ConsolePiece[] {
  const lines = new ConsoleLines()
  const pieces = chunks.flatMap((chunk) => lines.push(chunk))
  const rest = lines.flush()
  return rest ? [...pieces, rest] : pieces
}

const textOf = (pieces: readonly ConsolePiece[]) =>
  Buffer.concat(pieces.flatMap(({ bytes, ended }) => (ended ? [bytes, Buffer.from('\n')] : [bytes])))

it('gives what was written, however it is cut into chunks and lines', () => {
  const byte = fc.oneof(fc.constantFrom(0x0a, 0x0d, 0x00, 0xff), fc.nat(255))
  fc.assert(
    fc.property(fc.array(fc.array(byte, { maxLength: 40 })), fc.boolean(), (chunks, long) => {
      const written = [...chunks, ...(long ? [Array.from({ length: 40_000 }, (_, i) => 97 + (i % 26))] : [])]
      const text = Buffer.from(written.flat())
      // As OSv's terminal does: a return before each newline.
      const onConsole = Buffer.from(text.toString('latin1').replaceAll('\n', '\r\n'), 'latin1')
      // A byte at a time, too, but not where there are tens of thousands.
      const step = Math.max(long ? 100 : 1, (written[0] ?? []).length)
      const sent = Array.from({ length: Math.ceil(onConsole.length / step) }, (_, i) =>
        onConsole.subarray(i * step, (i + 1) * step),
      )
      expect(textOf(all(sent)).equals(text)).toBe(true)
    }),
  )
})

it('says which pieces belong together', () => {
  const pieces = all([Buffer.from('a'.repeat(30_000)), Buffer.from('b\r\nc')])
  expect(pieces.map(({ ended, continued }) => [ended, continued])).toEqual([
    [false, false],
    [true, true],
    [false, false],
  ])
})
