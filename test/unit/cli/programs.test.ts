// What is seen of a program before its job is planned.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { inspectPrograms } from '../../../launcher/cli/programs.ts'
import type { Settings } from '../../../launcher/plan/settings.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-programs-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

async function threadsOf(...words: string[]): Promise<string | undefined> {
  const program = join(folder, 'program')
  const input = 'int main(void) { return 0; }'
  execFileSync('cc', ['-x', 'c', '-', '-o', program, '-Wl,--no-as-needed', ...words], { input })
  const settings = {
    ...{ path: undefined, mpi: 'auto', image: { name: undefined } },
    programs: [{ argv: [program], workDir: folder, exports: [], inherits: true }],
  } as unknown as Settings
  return (await inspectPrograms(settings))[0]?.plan.threads
}

it('sees the library by whose threads a program may write at once', async () => {
  expect(await threadsOf('-fopenmp')).toMatch(/^libgomp\.so/)
  expect(await threadsOf('-lpthread')).toBeUndefined()
})
