// A command on a terminal of its own, at which somebody sits who types nothing.
import { spawn } from 'node:child_process'
import { endOf, gatherText, setTimer } from '../../common/index.ts'

/** How long a command on a terminal may take, in milliseconds. */
const PATIENCE_MS = 60_000

/** Runs a line of the shell with script(1); what is written to the terminal, and the line's status: 137 when it did not end. */
export async function onTerminal(
  line: string,
  { columns = 80, env = {}, cwd }: { columns?: number; env?: NodeJS.ProcessEnv; cwd?: string } = {},
): Promise<{ readonly status: number; readonly text: string }> {
  const sized = `stty cols ${columns} rows 24; ${line}`
  const child = spawn('script', ['--quiet', '--return', '--command', sized, '/dev/null'], {
    cwd,
    env: { ...process.env, TERM: 'xterm', ...env },
    // The input stays open: the end of it would be the end of what is typed.
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const text = gatherText(child.stdout)
  // What runs on the terminal is told that it has hung up.
  const timer = setTimer(PATIENCE_MS, () => child.kill('SIGKILL'))
  const end = await endOf(child)
  timer.cancel()
  child.stdin.destroy()
  return { status: end.kind === 'exit' ? end.status : 137, text: text() }
}
