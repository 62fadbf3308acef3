// The OpenFOAM examples as a user runs them: in guests and on the bare host, with the same fields, and a picture.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { Deadline, runCommand } from '../../common/index.ts'
import { type Playground, playground } from '../support/leet.ts'
import { describeWith, isOsvHere, osvBuild } from '../support/needs.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const NEEDS = ['simpleFoam', 'icoFoam', 'qemu-system-x86_64', 'vde_switch']

/** An example, how many iterations it runs, and fields that it has then. */
interface ExampleRun {
  readonly example: string
  readonly iterations: number
  readonly expected: readonly string[]
  readonly tags?: string[]
}

/** Declares the tests of an example, in Linux guests and, where there is one, in a real OSv. */
function testExample({ example, iterations, expected, tags = [] }: ExampleRun): void {
  describeWith(NEEDS, 'the OpenFOAM examples', () => {
    let place: Playground
    beforeAll(() => {
      place = playground()
    })
    afterAll(() => place.remove())

    /** Runs an example; resolves to the directory of its case. */
    async function run(example: string, mpirun: string, iterations: number): Promise<string> {
      const directory = join(place.directory, `${example}-${readdirSync(place.directory).length}`)
      const result = await runCommand(
        ['sh', join(ROOT, 'examples/openfoam/run.sh'), example, '2', directory],
        {
          env: {
            ...process.env,
            ...place.env,
            PATH: `${ROOT}launcher/bin:${ROOT}node_modules/.bin:${process.env.PATH}`,
            MPIRUN: mpirun,
            ITERATIONS: `${iterations}`,
          },
          cwd: place.directory,
          deadline: Deadline.after(500_000),
        },
      )
      expect(result.status, `${result.stdout}\n${result.stderr}`).toBe(0)
      expect(place.processes()).toEqual([])
      return directory
    }

    /** The fields of the last time, by their names. */
    function fields(directory: string): Record<string, string> {
      const times = readdirSync(directory).filter((name) => Number(name) > 0)
      const last = join(directory, times.sort((a, b) => Number(a) - Number(b)).at(-1) as string)
      const files = readdirSync(last).filter((name) => name !== 'uniform')
      return Object.fromEntries(files.map((name) => [name, readFileSync(join(last, name), 'utf8')]))
    }

    it(`${example} has the same fields in guests as on the host`, { tags }, async () => {
      const onHost = fields(await run(example, 'leet-mpirun --guest host', iterations))
      expect(Object.keys(onHost)).toEqual(expect.arrayContaining([...expected]))
      const directory = await run(example, 'leet-mpirun --guests 2 --guest-memory 1G', iterations)
      expect(fields(directory)).toEqual(onHost)
      const picture = readFileSync(join(directory, 'velocity.svg'), 'utf8')
      expect(picture.match(/<path d="M/g)?.length).toBeGreaterThan(100)
      expect(existsSync(join(directory, 'log.reconstructPar'))).toBe(true)
    })

    it.runIf(isOsvHere('OpenFOAM in OSv'))(`${example} has the same fields in OSv`, { tags }, async () => {
      const onHost = fields(await run(example, 'leet-mpirun --guest host', iterations))
      const osv = `leet-mpirun --guest osv --osv-base ${osvBuild} --guests 2 --guest-memory 1G`
      expect(fields(await run(example, osv, iterations))).toEqual(onHost)
    })
  })
}

testExample({ example: 'cavity', iterations: 20, expected: ['U', 'p', 'phi'] })
testExample({
  ...{ example: 'pitzDaily', iterations: 3, tags: ['long'] },
  expected: ['U', 'epsilon', 'k', 'nut', 'p', 'phi'],
})
