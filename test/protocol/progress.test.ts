// Progress on a real terminal: what stands there in the end, and that ranks of the bare host have it to themselves.
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { BIN, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'
import { Screen } from '../support/screen.ts'
import { onTerminal } from '../support/terminal.ts'

const PAYLOAD = new URL('progress-payload.ts', import.meta.url).pathname

describeWith(['script', 'stty'], 'progress on a terminal', () => {
  it.each([20, 80])('of %i columns is wiped before anything else is written', async (columns) => {
    const { text: written } = await onTerminal(`${process.execPath} ${PAYLOAD}`, { columns })
    expect(written).toContain('leet: g0  booting')
    expect(written).toContain('leet: g1  0 of 1 ranks'.slice(0, columns - 1))
    const screen = new Screen(columns, 24)
    screen.write(written)
    const lines = screen.text.replace(/\d+\.\d s/, '0.0 s').split('\n')
    expect(lines.join('')).toBe('leet: warning: saidleet: 2 guests ready after 0.0 soutput of a rank')
    expect(lines.at(-1)).toBe('output of a rank')
  })

  it('is none for ranks on the bare host', async () => {
    const place = playground()
    const command = `${join(BIN, 'leet-mpirun')} --guest host -n 2 echo hello`
    expect(await onTerminal(command, { env: place.env })).toEqual({ status: 0, text: 'hello\r\nhello\r\n' })
    place.remove()
  })
})
