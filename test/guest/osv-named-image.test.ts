// Real OSv guests of an image that was composed and named beforehand: its program runs in the working directory of the job, of
// which nothing was known then.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Deadline, runCommand } from '../../common/index.ts'
import { type Playground, playground, startLeet } from '../support/leet.ts'
import { describeOsv, osvBuild } from '../support/needs.ts'

const SOURCE = `#include <stdio.h>
#include <unistd.h>
int main(void) {
  char name[64], line[64] = "", path[128];
  gethostname(name, sizeof name);
  FILE *in = fopen("input", "r");
  if (!in || !fgets(line, sizeof line, in)) return 3;
  snprintf(path, sizeof path, "result.%s", name);
  FILE *out = fopen(path, "w");
  if (!out || fprintf(out, "%s", line) < 0 || fclose(out)) return 4;
  puts(path);
  return 0;
}
`

describeOsv(['qemu-system-x86_64', 'vde_switch', 'gcc'], 'a named OSv image', () => {
  let place: Playground
  /** Not below /tmp, which is memory in every OSv guest. */
  let directory: string
  beforeAll(async () => {
    place = playground()
    directory = mkdtempSync(join('/var/tmp', 'leet-named-'))
    writeFileSync(join(directory, 'input'), 'of the node\n')
    const deadline = Deadline.after(60_000)
    for (const name of ['program', 'other']) {
      const gcc = ['gcc', '-x', 'c', '-', '-o', join(directory, name)] as const
      expect(await runCommand(gcc, { deadline, input: SOURCE })).toMatchObject({ status: 0 })
    }
    const image = ['image', 'compose', '--guest', 'osv', '--osv-base', `${osvBuild}`, '--name', 'mine']
    expect(await leet(...image, './program')).toMatchObject({ status: 0 })
  })
  afterAll(() => {
    rmSync(directory, { recursive: true })
    place.remove()
  })
  const start = (command: string, argv: readonly string[]) => {
    const env = { ...place.env, XDG_CACHE_HOME: place.directory }
    return startLeet(argv, { cwd: directory, env }, command).ended
  }
  const leet = (...argv: string[]) => start('leet', argv)
  const mpirun = (...argv: string[]) => start('leet-mpirun', ['--guest', 'osv', '--image', 'mine', ...argv])

  it('runs its program in the working directory of the job, in memory, and is used then', async () => {
    const { status, stdout, stderr } = await mpirun('-v', '--guests', '2', '-n', '2', './program')
    expect(status, stderr).toBe(0)
    const names = stdout.split('\n').filter(Boolean)
    expect(names).toHaveLength(2)
    for (const name of names) expect(readFileSync(join(directory, name), 'utf8')).toBe('of the node\n')
    expect(stderr).toContain(`files of ${directory} are carried in`)
    expect((await leet('image', 'list')).stdout).toMatch(/^mine .* osv .* program .* \d+ s$/m)
  })

  it('boots again, by its id, what a job had composed for itself', async () => {
    const job = ['--guest', 'osv', '--osv-base', `${osvBuild}`, '-n', '1']
    const first = await start('leet-mpirun', [...job, './other'])
    expect(first.status, first.stderr).toBe(0)
    const images: { id: string; programs: string[] }[] = JSON.parse(
      (await leet('image', 'list', '--json')).stdout,
    )
    const made = images.find(({ programs }) => programs?.includes(join(directory, 'other')))
    const again = await start('leet-mpirun', [
      ...['--guest', 'osv', '-n', '1', '--image', `${made?.id.slice(0, 12)}`, './other'],
    ])
    expect(again.status, again.stderr).toBe(0)
    expect(readFileSync(join(directory, again.stdout.trim()), 'utf8')).toBe('of the node\n')
  })

  it('is refused to a job of another program, before anything boots', async () => {
    expect(await mpirun('./other')).toMatchObject({
      status: 127,
      stderr: expect.stringMatching(/other: is not in the image mine.*LEET_E_PROGRAM/s),
    })
  })
})
