// The commands of the guide, as they stand in it: every block marked `sh`, in the order of its page, by one shell each.
// Blocks marked `text` need what a test machine does not have (a site's servers, an OSv build) or show something.
import { readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline, runCommand } from '../../common/index.ts'
import { type Playground, playground } from '../support/leet.ts'
import { describeWith } from '../support/needs.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const GUIDE = join(ROOT, 'launcher/guide')
const IN_NAMESPACE = 'as root in a namespace'

interface Block {
  readonly how: string
  readonly commands: string
}

function blocksOf(page: string): Block[] {
  return [...page.matchAll(/^```sh ?(.*)\n([\s\S]*?)^```$/gm)].map(([, how, commands]) => ({
    how: how as string,
    commands: commands as string,
  }))
}

const pages = readdirSync(GUIDE)
  .map((name) => ({ name, blocks: blocksOf(readFileSync(join(GUIDE, name), 'utf8')) }))
  .filter(({ blocks }) => blocks.length > 0)

describeWith(
  ['qemu-system-x86_64', 'vde_switch', 'mpicc.mpich', 'mpicc.openmpi', 'busybox', 'dropbear', 'unshare'],
  'the guide',
  () => {
    let place: Playground
    beforeEach(() => {
      place = playground()
      symlinkSync(join(ROOT, 'examples'), join(place.directory, 'examples'))
    })
    afterEach(() => place.remove())

    // Of the README what needs neither a batch system nor a build of OSv; its job script is tested where there is a Slurm.
    it.each(['examples/programs/ring.c', 'leet up -n 4'])('README.md, the block with %s', async (mark) => {
      const marked = blocksOf(readFileSync(join(ROOT, 'README.md'), 'utf8')).filter(({ commands }) =>
        commands.includes(mark),
      )
      expect(marked).toHaveLength(1)
      symlinkSync(join(ROOT, 'launcher'), join(place.directory, 'launcher'))
      const result = await runCommand(['sh', '-e'], {
        // The user's own programs.
        input: `for name in prepare solve; do mpicc.openmpi -o $name examples/programs/ring.c; done\n${marked[0]?.commands}`,
        env: { ...process.env, ...place.env, PATH: `${ROOT}launcher/bin:${process.env.PATH}` },
        cwd: place.directory,
        deadline: Deadline.after(200_000),
      })
      expect(result.status, `${result.stdout}\n${result.stderr}`).toBe(0)
      expect(result.stdout).toContain('the token came back after 4 hops')
      expect(place.processes()).toEqual([])
      expect(place.files()).toEqual([])
    })

    it.each(pages)('$name', { tags: ['long'] }, async ({ blocks }) => {
      const env = { ...process.env, ...place.env, PATH: `${ROOT}launcher/bin:${process.env.PATH}` }
      for (const { how, commands } of blocks) {
        const shell = how === IN_NAMESPACE ? ['--net', 'sh', '-e'] : ['sh', '-e']
        expect(['', IN_NAMESPACE]).toContain(how)
        const result = await runCommand([how === IN_NAMESPACE ? 'unshare' : 'env', ...shell], {
          input: commands,
          env,
          cwd: place.directory,
          deadline: Deadline.after(200_000),
        })
        expect(result.status, `${commands}\n${result.stdout}\n${result.stderr}`).toBe(0)
      }
      expect(place.processes()).toEqual([])
      expect(place.files()).toEqual([])
    })
  },
)
