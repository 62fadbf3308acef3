// Jobs on the bare host that fail where it is least convenient: when they are taken apart, with a user at the terminal, with a
// time limit that no timer knows.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { BIN, leetMpirun, type Playground, playground } from '../support/leet.ts'
import { describeAsRoot, describeWith } from '../support/needs.ts'
import { onTerminal } from '../support/terminal.ts'

const LEET_MPIRUN = join(BIN, 'leet-mpirun')

let place: Playground
beforeEach(() => {
  place = playground()
})
afterEach(() => place.remove())
const run = (...argv: string[]) =>
  leetMpirun(['--guest', 'host', '-n', '1', ...argv], { cwd: place.directory, env: place.env })

it('a job may have a time limit that is longer than a timer of Node.js can be', async () => {
  expect(await run('--timeout', '600:00:00', 'sh', '-c', 'sleep 1; echo done')).toEqual({
    status: 0,
    stdout: 'done\n',
    stderr: '',
  })
})

it('a job keeps its status when what it made cannot be removed, of which it warns', async () => {
  const script = 'rm -r "$XDG_RUNTIME_DIR/leet"; touch "$XDG_RUNTIME_DIR/leet"; exit 3'
  const { status, stderr } = await run('sh', '-c', script)
  expect(status).toBe(3)
  expect(stderr).toMatch(/^leet: warning: .*not a directory/m)
  expect(stderr).toMatch(/exit status 3/)
  expect(place.processes()).toEqual([])
})

it('a job whose starter is killed leaves nothing of what its ranks had started', async () => {
  const { status, stderr } = await run('sh', '-c', 'sleep 600 & kill -9 $PPID; wait')
  expect(status).toBe(1)
  expect(stderr).toMatch(/LEET_E_STARTER_LOST/)
  // A process that was killed is there for a moment yet.
  const none = () => place.processes().length === 0 || undefined
  await poll(none, 5, { deadline: Deadline.after(20_000) }, { what: 'the end of all processes' })
})

describeWith(['script', 'stty'], 'a user at the terminal', () => {
  it.each([
    ['whose program is missing', ['./nothing'], 127],
    ['whose rank fails', ['sh', '-c', "'exit 3'"], 3],
  ])('has the prompt back after a job %s', async (_, words, status) => {
    const line = [LEET_MPIRUN, '--guest', 'host', '-n', '1', ...words].join(' ')
    expect(await onTerminal(line, { cwd: place.directory, env: place.env })).toMatchObject({ status })
  })
})

// In a network of its own, where every port is in use: the ranks' process manager finds none.
const NO_PORT = `
ip link set lo up || exit 90
echo 65000 65000 >/proc/sys/net/ipv4/ip_local_port_range || exit 91
"$NODE" -e 'net.createServer().listen(65000, () => console.log("up"))' >up &
until [ -s up ]; do :; done
"$@"; status=$?
kill $!
exit $status
`

describeAsRoot(['script', 'stty', 'unshare', 'ip'], 'a user at the terminal', () => {
  it('has the prompt back after a job whose ranks could not be handed over', async () => {
    writeFileSync(join(place.directory, 'no-port.sh'), NO_PORT)
    const env = { ...place.env, NODE: process.execPath }
    const line = `unshare --net sh no-port.sh ${LEET_MPIRUN} --guest host -n 1 true`
    const { status, text } = await onTerminal(line, { cwd: place.directory, env })
    expect({ status, text }).toEqual({ status: 1, text: expect.stringMatching(/cannot listen/) })
  })
})
