// Options on what is seen of a job: its output, what is told of it, how long it may take, and which signals it hears.
import { constants } from 'node:os'
import { parseCount, parseDuration, usageError } from '../../common/index.ts'
import { checkPattern, parseOutput, parseOutputFilename, unabbreviated } from '../../mpi-bridge/index.ts'
import { nonEmpty, rowsOf } from '../config/row.ts'
import type { Said } from '../config/sources.ts'
import { DISPLAYS, type Display } from '../plan/settings.ts'

/** Heading of these options. */
export const OUTPUT_GROUP = 'Output and control'

const { flag, list, value, wish } = rowsOf(OUTPUT_GROUP)

/** The rows, in the order of the help. */
export const OUTPUT = {
  display: list({
    key: 'display',
    flags: 'display',
    takes: 'WHAT',
    help: 'show map, allocation, bindings or env (what the ranks get for their MPI, and why) before the start',
    words: ['map', 'allocation', 'bindings', 'env'],
    parse: parseDisplay,
  }),
  timeout: wish({
    key: 'timeout',
    flags: 'timeout',
    takes: 'TIME',
    environment: 'MPIEXEC_TIMEOUT',
    help: 'end the job after so long, with status 124',
    parse: parseDuration,
  }),
  // Two levels below the controller are then a thousand nodes.
  treeWidth: value({
    key: 'tree-width',
    flags: 'tree-width',
    takes: 'N',
    environment: 'LEET_TREE_WIDTH',
    help: 'most nodes whose fence data one node, or the controller, gathers itself',
    default: { word: '32' },
    parse: (text, where) => parseCount(text, where, 2, 4096),
  }),
  // A controller that its user has suspended goes on when he comes back soon.
  controllerTimeout: value({
    key: 'controller-timeout',
    flags: 'controller-timeout',
    takes: 'TIME',
    environment: 'LEET_CONTROLLER_TIMEOUT',
    help: 'how long the nodes wait for a leet-mpirun that is suspended, and it for them',
    default: { word: '2m' },
    parse: parseDuration,
  }),
  tag: flag({
    key: 'tag-output',
    flags: 'tag-output',
    help: 'begin each line with [job,rank]<stream>:',
  }),
  timestamp: flag({
    key: 'timestamp-output',
    flags: 'timestamp-output',
    help: 'begin each line with the date and time',
  }),
  label: flag({
    key: 'label',
    flags: 'l prepend-rank',
    help: 'begin each line with [rank]',
  }),
  prefix: wish({
    key: 'prepend-pattern',
    flags: 'prepend-pattern',
    takes: 'PATTERN',
    help: 'begin each line with PATTERN: %r rank, %h host, %g job, %p guest',
    parse: checkPattern,
  }),
  output: list({
    key: 'output',
    flags: 'output',
    takes: 'WHAT',
    help: 'tag, tag-detailed (with the host), timestamp, merge-stderr-to-stdout, dir=DIR, file=FILE, and :nocopy, as Open MPI 5 has them',
    words: ['tag', 'tag-detailed', 'timestamp', 'merge-stderr-to-stdout', 'dir=', 'file='],
    parse: ({ words, where }) => words.map((text) => parseOutput(text, where)),
  }),
  filename: wish({
    key: 'output-filename',
    flags: 'output-filename',
    takes: 'DIR[:nojobid,nocopy]',
    help: 'output also into DIR/JOB/rank.N/stdout and stderr',
    parse: parseOutputFilename,
  }),
  outPattern: wish({
    key: 'outfile-pattern',
    flags: 'outfile-pattern',
    takes: 'PATTERN',
    help: 'standard output into files, such as out.%r',
    parse: checkPattern,
  }),
  errPattern: wish({
    key: 'errfile-pattern',
    flags: 'errfile-pattern',
    takes: 'PATTERN',
    help: 'standard error into files, such as err.%r',
    parse: checkPattern,
  }),
  merge: flag({
    key: 'merge-stderr',
    flags: 'merge-stderr-to-stdout',
    help: 'standard error of the ranks goes to standard output',
  }),
  // By default those of Open MPI 5.
  forwardSignals: value({
    key: 'forward-signals',
    flags: 'forward-signals',
    takes: 'SIGNAL,…',
    help: 'signals that are passed on to the ranks, or none',
    default: { word: 'TSTP,USR1,USR2,ABRT,ALRM,CONT' },
    parse: parseSignals,
  }),
  from: wish({
    key: 'output-from',
    flags: 'output-from',
    takes: 'RANK',
    help: 'show the output of this rank only',
    parse: (text, where) => parseCount(text, where, 0),
  }),
  exitCodes: flag({
    key: 'exit-codes',
    flags: 'print-all-exitcodes',
    help: 'say at the end how each rank ended, also when all went well',
  }),
  events: wish({
    key: 'events',
    flags: 'events',
    takes: 'FILE',
    help: 'append one JSON object per event',
    parse: nonEmpty,
  }),
  dryRun: flag({
    key: 'dry-run',
    flags: 'dry-run',
    help: 'print the plan as JSON and start nothing',
  }),
  doNotLaunch: flag({
    key: 'do-not-launch',
    flags: 'do-not-launch',
    help: 'start nothing, after what --display shows',
  }),
  timings: flag({
    key: 'timings',
    flags: 'timings',
    help: 'say at the end where the time went',
  }),
  verbose: flag({
    key: 'verbose',
    flags: 'v verbose',
    help: 'say more of what happens',
  }),
  help: flag({
    key: 'help',
    flags: 'h help',
    commandLineOnly: true,
    help: 'this text',
  }),
  version: flag({
    key: 'version',
    flags: 'version V info',
    commandLineOnly: true,
    help: 'version of LEET',
  }),
}

function parseDisplay({ words: [list = ''] }: Said): Display[] {
  // What follows a colon says in which form Open MPI 5 shows it.
  return list.split(',').map((word) => unabbreviated(word.replace(/:.*/s, ''), DISPLAYS, '--display'))
}

/** With these the job itself is ended, or they cannot be caught. */
const NOT_FORWARDED: readonly string[] = [
  'SIGINT',
  'SIGTERM',
  'SIGHUP',
  'SIGKILL',
  'SIGSTOP',
  'SIGCHLD',
  'SIGPIPE',
]

function parseSignals(text: string, where: string): NodeJS.Signals[] {
  if (text.toLowerCase() === 'none') return []
  return text.split(',').map((word) => {
    const name = /^\d+$/.test(word)
      ? Object.entries(constants.signals).find(([, number]) => number === Number(word))?.[0]
      : `SIG${word.toUpperCase().replace(/^SIG/, '')}`
    if (name === undefined || !isSignal(name)) {
      throw usageError(`"${word}" is not a signal`, 'names such as USR1, or numbers', where)
    }
    if (NOT_FORWARDED.includes(name)) throw usageError(`${name} cannot be passed on`, undefined, where)
    return name
  })
}

function isSignal(name: string): name is NodeJS.Signals {
  return name in constants.signals
}
