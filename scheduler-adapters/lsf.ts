// IBM Spectrum LSF, from its documentation (environment variable reference, blaunch): never run on the real thing.
import { usageError } from '../common/index.ts'
import type { AdapterInputs, SchedulerAdapter } from './adapter.ts'
import {
  allocationError,
  countSlots,
  numberFrom,
  onePerNode,
  readNamedFile,
  scratchDir,
  submitDir,
} from './nodes.ts'
import { parseNodeFile } from './pbs.ts'

export const lsf: SchedulerAdapter = {
  name: 'lsf',
  title: 'LSF',
  neverRun: true,

  detect(env) {
    const hosts = ['LSB_MCPU_HOSTS', 'LSB_DJOB_HOSTFILE', 'LSB_HOSTS'].find((name) => env[name])
    return env.LSB_JOBID && hosts ? `LSB_JOBID and ${hosts}` : undefined
  },

  async allocation(inputs) {
    const { env } = inputs
    const { mentions, from } = await mentioned(inputs)
    const nodes = countSlots(mentions, from)
    if (nodes.length === 0) throw allocationError(from, 'it names no node')
    // An element of a job array shares its number with the others.
    const index = env.LSB_JOBINDEX && env.LSB_JOBINDEX !== '0' ? `[${env.LSB_JOBINDEX}]` : ''
    return {
      scheduler: 'lsf',
      jobId: `${env.LSB_JOBID}${index}`,
      nodes,
      workDir: submitDir(inputs, 'LS_SUBCWD'),
      scratchDir: scratchDir(env),
      origins: [{ what: `${nodes.length} nodes and their slots`, from: `${from}=${env[from]}` }],
    }
  },

  start: onePerNode(({ name }) => ['blaunch', '-no-shell', name]),
  commandFolders: (env) => [env.LSF_BINDIR],
  // The documentation does not promise it.
  forwardsEnvironment: false,
  tellsExitStatus: false,

  atCancel:
    'bkill and limits send INT, TERM and KILL, JOB_TERMINATE_INTERVAL (10 s unless the site says otherwise) apart',
}

async function mentioned(inputs: AdapterInputs): Promise<{ mentions: [string, number][]; from: string }> {
  const { LSB_MCPU_HOSTS: counted, LSB_HOSTS: listed, LSB_DJOB_HOSTFILE: file } = inputs.env
  const once = (name: string): [string, number] => [name, 1]
  if (counted) return { mentions: parseMcpuHosts(counted), from: 'LSB_MCPU_HOSTS' }
  if (file) {
    const text = await readNamedFile(inputs, 'LSB_DJOB_HOSTFILE')
    return { mentions: parseNodeFile(text).map(once), from: 'LSB_DJOB_HOSTFILE' }
  }
  return { mentions: (listed ?? '').split(/\s+/).filter(Boolean).map(once), from: 'LSB_HOSTS' }
}

/** `hostA 2 hostB 4`: hosts and their slots in turn. */
function parseMcpuHosts(text: string): [string, number][] {
  const words = text.split(/\s+/).filter(Boolean)
  const pairs: [string, number][] = []
  for (let i = 0; i < words.length; i += 2) {
    const slots = numberFrom(words[i + 1])
    if (!slots) throw usageError('hosts and slots do not stand in turn', undefined, 'LSB_MCPU_HOSTS')
    pairs.push([words[i] as string, slots])
  }
  return pairs
}
