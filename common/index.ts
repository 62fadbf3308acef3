// What all folders need and has nothing of the field in it: errors, deadlines, child processes, log lines, units.
export {
  abortReason,
  atMost,
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
  eachInTurn,
  exitCodeOf,
  failureOf,
  isSystemError,
  LeetError,
  type LeetErrorDetails,
  messageOf,
  shortList,
  systemReason,
  usageError,
} from './errors.ts'
export { type Log, lineLog, silentLog } from './log.ts'
export {
  ancestors,
  type ChildEnd,
  type CommandResult,
  commandMissing,
  endOf,
  environmentOf,
  gatherText,
  identify,
  isRunning,
  type ProcessIdentity,
  processorUse,
  type ResidentMemory,
  type RunOptions,
  residentMemory,
  runCommand,
  withParentDeathSignal,
} from './process.ts'
export { type Release, Scope, type ScopeOptions } from './scope.ts'
export { setTimer, type Timer, type TimerOptions } from './timer.ts'
export { formatSize, parseCount, parseDuration, parseSize } from './units.ts'
