// Real OSv guests of a disk image that boots by itself, wherever LEET_OSV_BASE names what OSv's build left: two guests that
// reach each other, and a program that is not in the image.
import { statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Deadline, runCommand } from '../../common/index.ts'
import { leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeOsv, osvBuild } from '../support/needs.ts'

const IMAGE = 'usr.img'
const DISK = join(osvBuild ?? '/', IMAGE)
const SOURCE = `#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
  char name[64];
  gethostname(name, sizeof name);
  printf("%s in %s\\n", argv[1], name);
  return 0;
}
`

describeOsv(
  ['qemu-system-x86_64', 'qemu-io', 'vde_switch', 'gcc'],
  'an OSv disk image',
  () => {
    let place: Playground
    beforeAll(async () => {
      place = playground()
      const deadline = Deadline.after(60_000)
      const gcc = ['gcc', '-x', 'c', '-', '-o', join(place.directory, 'hello')] as const
      expect(await runCommand(gcc, { deadline, input: SOURCE })).toMatchObject({ status: 0 })
    })
    afterAll(() => place.remove())
    const run = (...argv: string[]) =>
      leetMpirun(['--guest', 'osv', '--insecure-guest-api', '--guest-memory', '256M', ...argv], {
        cwd: place.directory,
        env: place.env,
      })

    it('boots in two guests, which are told their addresses, and stays as it was', async () => {
      const before = statSync(DISK).mtimeMs
      const { status, stdout, stderr } = await run(
        '--image',
        DISK,
        '--guests',
        '2',
        '-n',
        '2',
        './hello',
        'here',
      )
      expect(status, stderr).toBe(0)
      expect(stdout.split('\n').filter(Boolean).sort()).toEqual([
        expect.stringMatching(/^here in leet-\w+-g0$/),
        expect.stringMatching(/^here in leet-\w+-g1$/),
      ])
      expect(statSync(DISK).mtimeMs).toBe(before)
      expect({ files: place.files(), processes: place.processes() }).toEqual({ files: [], processes: [] })
    })

    it('is refused when it is none', async () => {
      const other = join(place.directory, 'other.img')
      const bytes = Buffer.alloc(4096)
      bytes.writeUInt16LE(0xaa55, 510)
      writeFileSync(other, bytes)
      expect(await run('--image', other, '-n', '1', './hello', 'x')).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/other\.img: is no OSv image.*LEET_E_IMAGE/s),
      })
    })
  },
  IMAGE,
)
