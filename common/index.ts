// What all folders need and has nothing of the field in it: errors, deadlines, child processes, log lines, units.
export {
  abortReason,
  Deadline,
  pause,
  poll,
  type WaitLimits,
  type WaitSubject,
  waitFor,
} from './deadline.ts'
export {
  describeError,
  EXIT_USAGE,
  LeetError,
  type LeetErrorDetails,
  messageOf,
  usageError,
} from './errors.ts'
export { type Log, lineLog, silentLog } from './log.ts'
export {
  type ChildEnd,
  type CommandResult,
  endOf,
  environmentOf,
  identify,
  isRunning,
  type ProcessIdentity,
  type RunOptions,
  runCommand,
  withParentDeathSignal,
} from './process.ts'
export { formatSize, parseCount, parseDuration, parseSize } from './units.ts'
