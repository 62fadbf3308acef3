// `leet bench`: the same program on guests of several kinds and on the bare host.
import { writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import type { Command } from 'commander'
import { LeetError } from '../../../common/index.ts'
import { log, print, settingsHere } from './shared.ts'

/** Adds `leet bench`. Its words are those of leet-mpirun and some more, so Commander only hands them over. */
export function addBench(program: Command): void {
  const command = program
    .command('bench')
    .description('compare guests of several kinds and the bare host, with your program and with MPI itself')
    .usage('[options of bench and of leet-mpirun] [PROGRAM ARGUMENTS…]')
    .helpOption(false)
    .allowUnknownOption()
    .passThroughOptions()
    .helpCommand(false)
    .argument('[words...]')
    .action(async (words: string[]) => {
      const { OPTIONS } = await import('../options.ts')
      const { BENCH_OPTIONS, readBenchWords } = await import('../../bench/options.ts')
      const asked = readBenchWords(OPTIONS, words)
      if (asked.help) {
        const { optionLines } = await import('../help.ts')
        print('Usage: leet bench [OPTIONS] [OPTIONS OF leet-mpirun] [PROGRAM [ARGUMENTS…]]\n')
        print(optionLines(BENCH_OPTIONS, process.stdout.columns))
        print('\nAll options of leet-mpirun are passed on (leet-mpirun --help); -n is 2 unless given.')
        return
      }
      if (asked.schema) {
        const { resultsSchema } = await import('../../bench/results-shape.ts')
        print(JSON.stringify(resultsSchema(), undefined, 2))
        return
      }
      const { readResults } = await import('../../bench/results-file.ts')
      const kept = asked.resume === undefined ? undefined : readResults(asked.resume)
      const command = kept?.command ?? ['leet', 'bench', ...words]
      const wishes = kept ? { ...readBenchWords(OPTIONS, command.slice(2)), out: asked.resume } : asked
      const settings = await settingsHere(wishes.options)
      const { bench } = await import('../../bench/bench.ts')
      const { signal, stop } = untilSignal()
      try {
        const status = await bench(wishes, {
          table: OPTIONS,
          settings,
          command,
          kept,
          log,
          print,
          signal,
        })
        process.exitCode = signal.aborted ? (signal.reason as LeetError).exitCode : status
      } finally {
        stop()
      }
    })
  addCompare(command)
}

// A program of this name is `./compare`.
function addCompare(bench: Command): void {
  bench
    .command('compare')
    .description('two benches side by side: each is a directory or its results.json')
    .argument('<A>')
    .argument('<B>')
    .option('--json', 'for programs')
    .option('--out <file>', 'an HTML page, too')
    .action(async (a: string, b: string, { json, out }: { json?: true; out?: string }) => {
      const { readResults } = await import('../../bench/results-file.ts')
      const { compareBenches, comparisonJson } = await import('../../bench/compare.ts')
      const side = (path: string) => ({ path, results: readResults(path) })
      const comparison = compareBenches(side(a), side(b))
      if (out !== undefined) {
        const { comparePage } = await import('../../bench/report/compare-page.ts')
        writeFileSync(out, comparePage(comparison))
      }
      if (json) {
        print(JSON.stringify(comparisonJson(comparison), undefined, 2))
        return
      }
      const { comparisonLines } = await import('../../bench/write-text.ts')
      for (const line of comparisonLines(comparison)) print(line)
      if (out !== undefined) print(`Report: ${out}`)
    })
}

// What was measured until then is written all the same.
function untilSignal(): { signal: AbortSignal; stop: () => void } {
  const ended = new AbortController()
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP']
  const onSignal = (name: NodeJS.Signals) =>
    ended.abort(
      new LeetError({
        code: 'LEET_E_SIGNAL',
        what: `ended by ${name}`,
        exitCode: 128 + constants.signals[name],
      }),
    )
  for (const name of signals) process.on(name, onSignal)
  return {
    signal: ended.signal,
    stop: () => {
      for (const name of signals) process.off(name, onSignal)
    },
  }
}
