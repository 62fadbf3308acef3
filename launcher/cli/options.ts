// The table of leet-mpirun's options. Flags, help, environment variables and keys of leet.yaml come from here alone.
import type { OptionSpec } from '../../mpi-bridge/index.ts'

const PROGRAM = 'What to run'
const GUEST = 'Guests'
const OUTPUT = 'Output and control'

const option = (
  key: string,
  flags: string,
  takes: string,
  group: string,
  help: string,
  more: Partial<Pick<OptionSpec, 'scope' | 'repeats' | 'environment'>> = {},
): OptionSpec => ({
  key,
  flags: flags.split(' '),
  takes: takes === '' ? [] : takes.split(' '),
  scope: 'job',
  group,
  help,
  ...more,
})

const guestOption = (
  name: string,
  takes: string,
  help: string,
  more: { repeats?: boolean } = {},
): OptionSpec =>
  option(`guest.${name}`, `guest-${name}`, takes, GUEST, help, {
    environment: `LEET_GUEST_${name.toUpperCase().replaceAll('-', '_')}`,
    ...more,
  })

/** Every option of leet-mpirun, in the order of the help. */
export const OPTIONS: readonly OptionSpec[] = [
  option('ranks', 'n np c', 'N', PROGRAM, 'number of ranks (default: one per slot of the allocation)', {
    scope: 'program',
  }),
  option('ppn', 'ppn N npernode perhost', 'N', PROGRAM, 'ranks per guest; guests count as nodes'),
  option(
    'hostfile',
    'hostfile machinefile f',
    'FILE',
    PROGRAM,
    'hosts of the job, or which of the allocation to use',
  ),
  option('hosts', 'H host hosts', 'HOST[:SLOTS],…', PROGRAM, 'the same on the command line', {
    repeats: true,
  }),
  option(
    'scheduler',
    'scheduler',
    'NAME',
    PROGRAM,
    'take the nodes from this batch system, or `local` (default: found out)',
    {
      environment: 'LEET_SCHEDULER',
    },
  ),
  option('wdir', 'wdir wd', 'DIR', PROGRAM, 'working directory, the same path in every guest', {
    scope: 'program',
  }),
  option('export', 'x', 'NAME[=VALUE]', PROGRAM, 'give the ranks this variable, even one of the deny-list', {
    scope: 'program',
    repeats: true,
  }),
  option('genv', 'genv', 'NAME VALUE', PROGRAM, 'the same in the words of MPICH', { repeats: true }),
  option(
    'mpi',
    'mpi',
    'FLAVOUR',
    PROGRAM,
    'auto, openmpi, mpich or none (default: auto, from the libraries)',
    {
      environment: 'LEET_MPI',
    },
  ),
  option('guest.kind', 'guest', 'KIND', GUEST, 'linux, osv or host (default: linux)', {
    environment: 'LEET_GUEST',
  }),
  option('guests', 'guests', 'N', GUEST, 'guests of the whole job (default: one per node)', {
    environment: 'LEET_GUESTS',
  }),
  guestOption('memory', 'SIZE', 'memory of a guest, such as 2G (default: the node’s share)'),
  guestOption('cpus', 'N', 'vCPUs of a guest (default: the node’s share, at least one per rank)'),
  option(
    'guest.boot-timeout',
    'boot-timeout',
    'TIME',
    GUEST,
    'how long guests may take to be ready (default: 120 s)',
    {
      environment: 'LEET_GUEST_BOOT_TIMEOUT',
    },
  ),
  option(
    'network',
    'network',
    'MODE',
    GUEST,
    'auto, user, local, or bridge=NAME for guests on several nodes (default: auto)',
    { environment: 'LEET_NETWORK' },
  ),
  option(
    'network.subnet',
    'network-subnet',
    'SUBNET',
    GUEST,
    'IPv4 network of the guests (default: 10.77.0.0/16)',
    { environment: 'LEET_NETWORK_SUBNET' },
  ),
  option(
    'mounts',
    'mount',
    'SERVER:/EXPORT:/PATH[:OPTIONS]',
    GUEST,
    'mount an NFS export in all guests; home and working directory are mounted where the node has them on NFS',
    { environment: 'LEET_MOUNTS', repeats: true },
  ),
  option(
    'share-by',
    'share-by',
    'WAY',
    GUEST,
    'auto: directories of the node by NFS if it has them so, else by 9p; 9p: always from each guest’s node (default: auto)',
    { environment: 'LEET_SHARE_BY' },
  ),
  option(
    'image',
    'image',
    'IMAGE',
    GUEST,
    'image by name, id or directory (default: composed from the program)',
    {
      environment: 'LEET_IMAGE',
    },
  ),
  option('file', 'file', 'SRC[:DST]', GUEST, 'one more file or directory in the composed image', {
    repeats: true,
  }),
  option('kernel', 'kernel', 'FILE', GUEST, 'Linux kernel to boot (default: the newest installed)', {
    environment: 'LEET_KERNEL',
  }),
  option('modules', 'modules', 'DIR', GUEST, 'its modules, such as /lib/modules/VERSION', {
    environment: 'LEET_MODULES',
  }),
  option(
    'osv.base',
    'osv-base',
    'BASE',
    GUEST,
    'OSv base by id or directory (default: the one imported last)',
    {
      environment: 'LEET_OSV_BASE',
    },
  ),
  option('osv.compat', 'no-osv-compat', '', GUEST, 'leave the compatibility library out of OSv images'),
  option(
    'finalize-rescue',
    'no-finalize-rescue',
    '',
    GUEST,
    'do not rescue MPICH 4.0 over UCX from its hang in MPI_Finalize',
  ),
  option('timeout', 'timeout', 'TIME', OUTPUT, 'end the job after so long, with status 124', {
    environment: 'MPIEXEC_TIMEOUT',
  }),
  option('tag-output', 'tag-output', '', OUTPUT, 'begin each line with [job,rank]<stream>:'),
  option('label', 'l prepend-rank', '', OUTPUT, 'begin each line with [rank]'),
  option('events', 'events', 'FILE', OUTPUT, 'append one JSON object per event'),
  option('dry-run', 'dry-run do-not-launch', '', OUTPUT, 'print the plan as JSON and start nothing'),
  option('timings', 'timings', '', OUTPUT, 'say at the end where the time went'),
  option('verbose', 'v verbose', '', OUTPUT, 'say more of what happens'),
  option('help', 'h help', '', OUTPUT, 'this text'),
  option('version', 'version V', '', OUTPUT, 'version of LEET'),
]
