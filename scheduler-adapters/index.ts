// What the batch system gave us: the nodes of the job and where each figure comes from, how to start one process on each
// of them inside the job's own control, what happens at cancel, and job scripts for `leet submit`.
export {
  type AdapterInputs,
  type AllocatedNode,
  type Allocation,
  type NodeCommand,
  type NodeStart,
  type Origin,
  SCHEDULERS,
  type SchedulerAdapter,
  type SchedulerName,
} from './adapter.ts'
export { explainAllocation } from './explain.ts'
export { parseHostfile, parseHostOption, parseHostSequence } from './hosts.ts'
export { startEnvironment } from './nodes.ts'
export { type AllocationRequest, adapterOf, nodeOfThisProcess, resolveAllocation } from './resolve.ts'
export { shellQuote } from './shell-quote.ts'
export {
  type BatchScheduler,
  type JobBody,
  type JobFiles,
  type JobRequest,
  type JobScript,
  jobScript,
} from './submit.ts'
export { findBatchSystem, JOB_ENDS, type JobEnd } from './submitted.ts'
