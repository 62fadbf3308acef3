// What is made from the table of options: the page in the repository is current, the completion is a script.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { bashCompletion } from '../../../launcher/cli/completion.ts'
import { helpText } from '../../../launcher/cli/help.ts'
import { manualPage } from '../../../launcher/cli/manual.ts'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { referencePage } from '../../../launcher/cli/reference.ts'
import { configurable } from '../../../launcher/config/file.ts'
import { hasCommand, isMet } from '../../support/needs.ts'

it('the page of options is what `leet completion markdown` prints', () => {
  const page = readFileSync(new URL('../../../launcher/cli/OPTIONS.md', import.meta.url), 'utf8')
  expect(page).toBe(referencePage(OPTIONS, configurable(OPTIONS)))
})

it('help, page and manual name every option', () => {
  const page = referencePage(OPTIONS, configurable(OPTIONS))
  const all = OPTIONS.flatMap((option) => option.flags)
  expect(all.filter((flag) => !page.includes(`-${flag}`))).toEqual([])
  const flags = OPTIONS.flatMap((option) => (option.refused === undefined ? option.flags : []))
  const manual = manualPage(OPTIONS, '1').replaceAll('\\-', '-')
  for (const text of [helpText(OPTIONS), manual])
    expect(flags.filter((flag) => !text.includes(`-${flag}`))).toEqual([])
})

it.each([
  [['leet-mpirun', '--bind-to', 'co'], 'core'],
  [['leet-mpirun', '--report-b'], '--report-bindings'],
  [['leet', 'con'], 'config'],
])('bash completes %j', (words, expected) => {
  const script = `${bashCompletion(OPTIONS, ['config', 'reap'])}
COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}
_${(words[0] as string).replace('-', '_')}; echo "\${COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' })
  expect({ stdout, stderr }).toEqual({ stdout: `${expected}\n`, stderr: '' })
})

it.runIf(isMet('the manual', 'groff', hasCommand('groff')))(
  'the manual has no mistake that groff sees',
  () => {
    const page = manualPage(OPTIONS, '0.1.0')
    const groff = ['-man', '-Tutf8', '-Kutf8', '-ww', '-z']
    const { status, stderr } = spawnSync('groff', groff, { input: page, encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  },
)
