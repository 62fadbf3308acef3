// Signals that come to a command which runs a job.
import { LeetError } from '../../common/index.ts'

const STATUS_OF = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const

/**
 * The first signal ends the job in order; a second one does not wait for the ranks' last words. `forwards` are told to
 * those who ask for them.
 */
export function watchSignals(cancel: AbortController, forwards: readonly NodeJS.Signals[] = []) {
  const listeners = new Set<(signal: NodeJS.Signals) => void>()
  const hurried = new Set<() => void>()
  const tell = (signal: NodeJS.Signals) => {
    for (const listener of listeners) listener(signal)
  }
  const onStop = (signal: NodeJS.Signals) => {
    if (cancel.signal.aborted) for (const listener of hurried) listener()
    cancel.abort(
      new LeetError({
        code: 'LEET_E_SIGNAL',
        what: `ended by ${signal}`,
        exitCode: STATUS_OF[signal as keyof typeof STATUS_OF],
      }),
    )
  }
  const onForward = (signal: NodeJS.Signals) => {
    if (signal !== 'SIGTSTP') {
      tell(signal)
      return
    }
    // Ranks are in sessions without a terminal, where SIGTSTP does nothing; and this process stops as the user wished.
    tell('SIGSTOP')
    setTimeout(() => process.kill(process.pid, 'SIGSTOP'), STOP_AFTER_MS)
  }
  const stops: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of stops) process.on(signal, onStop)
  for (const signal of forwards) process.on(signal, onForward)
  return {
    forwarded: (listener: (signal: NodeJS.Signals) => void) => void listeners.add(listener),
    hurried: (listener: () => void) => void hurried.add(listener),
    stop() {
      for (const signal of stops) process.off(signal, onStop)
      for (const signal of forwards) process.off(signal, onForward)
    },
  }
}

/** In which the ranks hear of it before this process can tell them nothing any more. */
const STOP_AFTER_MS = 50
