// Ranks: mpirun's grammar, the process managers (PMI-1, PMI-2, PMIx), control channels to guests, output, outcome.
// This is the folder's only door.
export type {
  ControlChannel,
  GuestCommandResult,
  RankEnd,
  RankEvent,
  RankListener,
  RankStart,
} from './channels/channel.ts'
export { openLocalChannel } from './channels/local.ts'
export { openSshChannel } from './channels/ssh.ts'
export type { Preput, ServiceAddress } from './context.ts'
export {
  type ExplainedVariable,
  exportedVariables,
  type ForwardedEnvironment,
  forwardEnvironment,
  mpiSettings,
  type RankSurroundings,
} from './environment.ts'
export { type Answerer, CONTROLLER, type Exchange } from './exchange.ts'
export type { GuestRanks, JobLayout, RankReport } from './job.ts'
export { createLocalExchange } from './local-exchange.ts'
export {
  type CommandWords,
  dashed,
  nearest,
  type OptionSpec,
  type OptionWords,
  type ProgramWords,
  parseCommandWords,
} from './mpirun/grammar.ts'
export { type MappingRequest, mapRanks } from './mpirun/mapping.ts'
export { answerNames, createNameServer } from './names.ts'
export { makeJobCertificates } from './osv/certificates.ts'
export { type OsvChannel, openOsvChannel } from './osv/channel.ts'
export { isSeedFailure } from './osv/console.ts'
export { osvSettings } from './osv/environment.ts'
export { OsvRest } from './osv/rest.ts'
export { planStageIn, type StagedIn, stagedPath, stageIn, stageOut } from './osv/staging.ts'
export {
  describeEnd,
  type Outcome,
  outcomeOf,
  type RankObservation,
  rankFailure,
  rankTable,
} from './outcome.ts'
export { openProcessManager, type ProcessManager } from './process-manager.ts'
export {
  answerSpawn,
  decodeJob,
  encodeJob,
  JOB_TOPIC,
  type SpawnCommand,
  type SpawnRequest,
  type SpawnResult,
} from './spawn.ts'
export { starterPath } from './starter/path.ts'
export { forwardInput, RankOutput } from './stdio.ts'
