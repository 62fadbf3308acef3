// A directory of one host for guests of several nodes: copied to them, refused with the choices where nothing may be carried, and
// served by leet export, with what the site's leet.yaml says.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeLab } from '../cluster/lab/describe.ts'
import { type Lab, startLab } from '../cluster/lab/lab.ts'

const BIN = '/srv/leet/launcher/bin'

/** Directories for images: one that all hosts share, and one that each has for itself. */
const SHARED = '/home/root/.cache'
const OWN = '/run/cache'

const SITE = `network: bridge=br0
guest: {memory: 512M}
`

describeLab('guests of two nodes and a directory of the submit host', () => {
  let lab: Lab
  beforeAll(async () => {
    lab = await startLab({ nodes: 2 })
    const setUp = 'mkdir -p /etc/leet /tmp/case; cat >/etc/leet/leet.yaml; echo the case >/tmp/case/in'
    await lab.run('head', ['sh', '-c', setUp], { input: SITE })
  })
  afterAll(() => lab?.stop())

  const salloc = (cache: string, ...argv: string[]) =>
    lab.run('head', ['salloc', '-Q', '-N2', ...argv], { cwd: '/tmp/case', env: { XDG_CACHE_HOME: cache } })
  const job = (script: string, ...options: string[]) => [
    ...[`${BIN}/leet-mpirun`, ...options, '-n', '2', 'sh', '-c', script],
  ]

  it('have copies of it and of the image, and bring back what they wrote', async () => {
    const script = 'cat in; echo "$PMI_RANK" >>in.$(hostname | sed "s/.*-//"); echo same >both'
    const { status, stdout, stderr } = await salloc(OWN, ...job(script))
    expect({ status, stdout, stderr }).toMatchObject({ status: 0, stdout: 'the case\nthe case\n' })
    expect(stderr).toMatch(/node2 has not the image and is sent it/)
    const written = await lab.run('head', ['sh', '-c', 'cat in.g? both; ls'], { cwd: '/tmp/case' })
    expect(written.stdout).toBe('0\n1\nsame\nboth\nin\nin.g0\nin.g1\n')
    await lab.run('head', ['sh', '-c', 'rm in.g? both'], { cwd: '/tmp/case' })
    for (const host of ['head', ...lab.nodes]) await lab.run(host, ['rm', '-rf', OWN])
    await lab.waitClean(undefined, ({ what }) => !/\/tmp\/case|\/etc\/leet/.test(what))
  })

  it('are refused before anything is booted if nothing may be carried', async () => {
    const { status, stderr } = await salloc(SHARED, ...job('cat in', '--stage', 'never'))
    expect(status).toBe(2)
    expect(stderr).toMatch(/\/tmp\/case is on this host only, and guests on node1, node2/)
    expect(stderr).toContain('leet export /tmp/case -- leet-mpirun')
  })

  it('read and write it when leet export serves it', async () => {
    const script = 'cat in; hostname >out.$(hostname | sed "s/.*-//")'
    const { status, stdout, stderr } = await salloc(
      SHARED,
      `${BIN}/leet`,
      'export',
      '.',
      '--',
      ...job(script),
    )
    expect({ status, stdout, stderr }).toMatchObject({ status: 0, stdout: 'the case\nthe case\n' })
    const written = await lab.run('head', ['sh', '-c', 'cat out.g0 out.g1'], { cwd: '/tmp/case' })
    expect(written.stdout).toMatch(/-g0\n.*-g1\n/)
    await lab.run('head', ['rm', '-r', '/tmp/case', '/etc/leet'])
    await lab.waitClean()
  })
})
