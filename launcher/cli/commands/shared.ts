// What the commands of `leet` share: where they print, and the settings that hold here.
import { lineLog } from '../../../common/index.ts'
import type { OptionWords } from '../../../mpi-bridge/index.ts'
import type { Settings } from '../../plan/settings.ts'

/** For people, on stderr. */
export const log = lineLog((text) => process.stderr.write(text), 'leet: ', false)

/** A line of a command's result, on stdout. */
export const print = (line: string): void => void process.stdout.write(`${line}\n`)

/** What leet-mpirun would do here, without options or with these. */
export async function settingsHere(options: OptionWords = new Map()): Promise<Settings> {
  const { OPTIONS } = await import('../options.ts')
  const { configPaths, loadConfigs } = await import('../../config/load.ts')
  const { readSettings } = await import('../settings.ts')
  const files = await loadConfigs(configPaths(process.env, process.cwd()), OPTIONS)
  return readSettings({ options, programs: [{ options, argv: ['true'] }] }, process.env, files)
}

/** Collects an option that may be given more than once. */
export function gather(text: string, before: readonly string[]): string[] {
  return [...before, text]
}
