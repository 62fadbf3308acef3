// Every message code of the sources has its line in the guide, and every line its code.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

const ROOT = new URL('../../../', import.meta.url).pathname
const FOLDERS = ['common', 'contextualise', 'launcher', 'mpi-bridge', 'scheduler-adapters']

function codesOf(text: string): string[] {
  return text.match(/LEET_E_[A-Z_]+(?<!_)/g) ?? []
}

it('explains every code', () => {
  const sources = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => readFileSync(join(ROOT, folder, name), 'utf8')),
  )
  const raised = new Set(sources.flatMap(codesOf).filter((code) => code !== 'LEET_E'))
  const page = readFileSync(join(ROOT, 'launcher/guide/troubleshooting.md'), 'utf8')
  const explained = [...page.matchAll(/^\| `(LEET_E_[A-Z_]+)` \|/gm)].map(([, code]) => code as string)
  expect(explained).toEqual([...raised].sort())
})
