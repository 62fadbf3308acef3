// Progress on a real terminal: what stands there in the end, and that ranks of the bare host have it to themselves.
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Deadline, runCommand } from '../../common/index.ts'
import { BIN, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'
import { Screen } from '../support/screen.ts'

const PAYLOAD = new URL('progress-payload.ts', import.meta.url).pathname

describeWith(['script', 'stty'], 'progress on a terminal', () => {
  /** All that a command writes to a terminal of this size. */
  async function onTerminal(columns: number, command: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
    const line = `stty cols ${columns} rows 24 && exec ${command}`
    const { stdout } = await runCommand(['script', '--quiet', '--return', '--command', line, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', ...env },
      deadline: Deadline.after(60_000),
    })
    return stdout
  }

  it.each([20, 80])('of %i columns is wiped before anything else is written', async (columns) => {
    const written = await onTerminal(columns, `${process.execPath} ${PAYLOAD}`)
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
    expect(await onTerminal(80, command, place.env)).toBe('hello\r\nhello\r\n')
    place.remove()
  })
})
