// The file with a job's key, for agents that a scheduler starts without the environment: it never stays behind.
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Deadline, poll } from '../../common/index.ts'
import { leetMpirun, type Playground, playground, startLeet } from '../support/leet.ts'

describe('the file with the key of a job', () => {
  let place: Playground
  beforeEach(() => {
    place = playground()
    writeFileSync(join(place.directory, 'nodes'), 'node1\nnode2\n')
  })
  afterEach(() => place.remove())

  /** The environment of a job of OpenPBS on two nodes that are not this one. */
  const job = (path = process.env.PATH ?? '') => ({
    cwd: place.directory,
    env: {
      ...place.env,
      PATH: path,
      XDG_CACHE_HOME: join(place.directory, 'cache'),
      PBS_JOBID: '7.server',
      PBS_NODEFILE: join(place.directory, 'nodes'),
    },
  })
  const words = ['--guest', 'host', '-n', '2', 'true']
  const keys = () => {
    try {
      return readdirSync(join(place.directory, 'cache/leet')).filter((name) => name.startsWith('invitation.'))
    } catch {
      return []
    }
  }

  it('is gone when the scheduler has no command to start agents with', async () => {
    const { status, stderr } = await leetMpirun(words, job())
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringMatching(/pbsdsh/) })
    expect(keys()).toEqual([])
  })

  it('is gone after the next job when this one is killed before its agents are there', async () => {
    const folder = join(place.directory, 'bin')
    const pbsdsh = join(folder, 'pbsdsh')
    mkdirSync(folder)
    writeFileSync(pbsdsh, '#!/bin/sh\nexec sleep 600\n')
    chmodSync(pbsdsh, 0o755)
    const { child, ended } = startLeet(words, job(`${folder}${delimiter}${process.env.PATH}`))
    const limits = { deadline: Deadline.after(60_000) }
    await poll(() => (keys().length > 0 ? true : undefined), 20, limits, { what: 'the key' })
    child.kill('SIGKILL')
    await ended
    await leetMpirun(['--guest', 'host', '-n', '1', 'true'], { cwd: place.directory, env: place.env })
    expect({ keys: keys(), files: place.files() }).toEqual({ keys: [], files: [] })
  })
})
