// Options of other launchers that mean nothing here: accepted so that scripts run as they are, and named under -v; and
// those that mean something that is not to be had here, with what to do instead.
import type { OptionSpec } from '../../mpi-bridge/index.ts'

const BY_ITSELF = 'LEET starts ranks by itself'
const DAEMONS = 'there are no daemons of Open MPI'
const ENDS = 'a job ends with the first rank that fails'
const MACHINES = 'LEET looks at the machines by itself'
const NETWORK = 'ranks reach LEET over an address that it chooses'

const accepted = (why: string, ...options: string[]): OptionSpec[] =>
  options.map((text) => {
    const [flags = '', ...takes] = text.split(' ')
    const names = flags.split('|')
    return {
      key: `accepted.${names[0]}`,
      flags: names,
      takes,
      scope: 'job',
      group: 'Accepted without effect',
      help: '',
      noEffect: why,
    }
  })

/** The options, each with the reason. */
export const WITHOUT_EFFECT: readonly OptionSpec[] = [
  ...accepted('root may start jobs', 'allow-run-as-root'),
  ...accepted(BY_ITSELF, 'launcher|bootstrap NAME', 'launcher-exec|bootstrap-exec PROGRAM', 'rmk NAME'),
  ...accepted(
    BY_ITSELF,
    'launch-agent PROGRAM',
    'prefix DIR',
    'noprefix',
    'skip-launch-node',
    'personality NAME',
  ),
  ...accepted(
    DAEMONS,
    ...[
      'leave-session-attached',
      'debug-daemons',
      'debug-daemons-file',
      'd|debug-devel',
      'novm',
      'tmpdir DIR',
    ],
    ...['report-pid WHERE', 'report-uri WHERE', 'ompi-server URI', 'prtemca KEY VALUE', 'show-progress'],
  ),
  ...accepted(ENDS, 'enable-recovery', 'disable-recovery', 'continuous', 'max-restarts N'),
  ...accepted(ENDS, 'disable-auto-cleanup|dac', 'enable-auto-cleanup'),
  ...accepted(
    MACHINES,
    'use-hwthread-cpus',
    'hetero-nodes',
    'topolib NAME',
    'hybrid-hosts',
    'order-nodes ORDER',
  ),
  ...accepted(
    NETWORK,
    'iface NAME',
    'do-not-resolve',
    'pmi-port',
    'nameserver HOST',
    'localhost NAME',
    'demux NAME',
  ),
  ...accepted('output is passed on as it comes', 'stream-buffering N'),
  ...accepted('lines of ranks are never mixed', 'ordered-output'),
  ...accepted('programs are in the image of the guests, or in a directory that they mount', 'preload-binary'),
  ...accepted('the memory of a guest is the node’s to place', 'membind POLICY'),
  ...accepted('MPI libraries are tuned by their own variables', 'tune WORD', 'am FILE'),
  ...accepted('nothing is shown but what was asked for', 'q|quiet', 'display-topo', 'parsable|parseable'),
  ...accepted('stacks are not looked at', 'get-stack-traces', 'report-state-on-timeout'),
  ...accepted('guests have no X server', 'enable-x', 'disable-x'),
  ...accepted('guests have no graphics processors', 'gpus-per-proc N', 'gpu-subdevs-per-proc N'),
]

const refused = (advice: string, ...options: string[]): OptionSpec[] =>
  accepted('', ...options).map(({ noEffect: _, ...option }) => ({
    ...option,
    key: `refused.${option.flags[0]}`,
    refused: advice,
  }))

/** The options, each with advice. */
export const REFUSED: readonly OptionSpec[] = [
  ...refused('-wdir names a directory that all guests mount', 'set-cwd-to-session-dir'),
  ...refused('--rankfile FILE names the cores of each rank', 'rankmap MAP'),
  ...refused(
    '--events FILE writes one JSON object per event; --tag-output tells ranks apart',
    'xml|xml-output',
  ),
  ...refused('leet up keeps guests for several runs', 'dvm URI', 'hnp URI'),
  ...refused(
    'run the program under the debugger: leet-mpirun -n 4 gdb -batch …',
    'gtool WORDS',
    'debug',
    'tv',
    'gdb',
  ),
]
