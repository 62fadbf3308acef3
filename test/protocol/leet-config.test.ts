// leet.yaml as the commands see it: who is heard, what is refused, and what `leet config` says.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Playground, playground, startLeet } from '../support/leet.ts'

let place: Playground
beforeAll(() => {
  place = playground()
})
afterAll(() => place.remove())
beforeEach(() => {
  rmSync(join(place.directory, 'config'), { recursive: true, force: true })
  rmSync(join(place.directory, 'leet.yaml'), { force: true })
})

const user = (text: string) => {
  mkdirSync(join(place.directory, 'config/leet'), { recursive: true })
  writeFileSync(join(place.directory, 'config/leet/leet.yaml'), text)
}
const directory = (text: string) => writeFileSync(join(place.directory, 'leet.yaml'), text)
const run = (command: 'leet' | 'leet-mpirun', argv: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  startLeet(
    argv,
    {
      cwd: place.directory,
      env: { ...place.env, XDG_CONFIG_HOME: join(place.directory, 'config'), ...env },
    },
    command,
  ).ended
const plan = async (argv: readonly string[], env: NodeJS.ProcessEnv = {}) =>
  JSON.parse((await run('leet-mpirun', ['--dry-run', ...argv, 'true'], env)).stdout)

describe('leet-mpirun', () => {
  it('hears flags, environment, the directory and the user in this order', async () => {
    user('guest: {memory: 1G, cpus: 1}\nranks: 2\nguests: 2')
    directory('guest.memory: 512M')
    const memory = async (...args: Parameters<typeof plan>) =>
      (await plan(...args)).guests[0].memory / 2 ** 20
    expect(await memory([])).toBe(512)
    expect(await memory([], { LEET_GUEST_MEMORY: '600M' })).toBe(600)
    expect(await memory(['--guest-memory', '700M'], { LEET_GUEST_MEMORY: '600M' })).toBe(700)
    expect((await plan([])).guests).toHaveLength(2)
  })
  it('mounts what the files and the flags say', async () => {
    user('mounts:\n  - nfs1:/home/{user}:/data/home\n  - nfs1:/x:/data/x')
    const { mounts } = await plan(['-n', '1', '--mount', 'nfs2:/x:/data/x'])
    expect(mounts).toMatchObject([
      { kind: 'nfs', server: 'nfs1', path: '/data/home' },
      { kind: 'nfs', server: 'nfs2', path: '/data/x' },
      { kind: 'share', path: place.directory },
    ])
  })
  it('refuses a mistake in a file with its place, before anything is started', async () => {
    directory('guests: 2\nguest:\n  memry: 1G')
    expect(await run('leet-mpirun', ['true'])).toMatchObject({
      status: 2,
      stdout: '',
      stderr: expect.stringMatching(/leet\.yaml:3:3: .*guest\.memry.*LEET_E_CONFIG[\s\S]*guest\.memory/),
    })
  })
})

describe('leet config', () => {
  it('shows values with their origin', async () => {
    user('guest.memory: 1G')
    const { status, stdout } = await run('leet', ['config'], { LEET_GUESTS: '3' })
    expect(status).toBe(0)
    expect(stdout).toMatch(/^guest\.memory +1G +\S*config\/leet\/leet\.yaml:1:15$/m)
    expect(stdout).toMatch(/^guests +3 +LEET_GUESTS$/m)
    expect(stdout).toMatch(/leet\.yaml \(not there\)$/m)
  })
  it('refuses the values that leet-mpirun would', async () => {
    directory('guest.memory: much')
    expect(await run('leet', ['config'])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/leet\.yaml:1:15: "much" is not a size/),
    })
  })
  it('prints the schema', async () => {
    const { stdout } = await run('leet', ['config', '--schema'])
    expect(JSON.parse(stdout).properties).toHaveProperty(['guest.memory'])
  })
})
