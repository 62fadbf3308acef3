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
export {
  connectSsh,
  openSshChannel,
  openSshSession,
  type SshOptions,
  type SshSession,
} from './channels/ssh.ts'
export type { ServiceAddress } from './context.ts'
export {
  type ExplainedVariable,
  exportedVariables,
  type ForwardedEnvironment,
  forwardEnvironment,
  mpiSettings,
  placeVariables,
  type RankSurroundings,
} from './environment.ts'
export { type Answerer, CONTROLLER, type Exchange } from './exchange.ts'
export type { GuestRanks, JobLayout, Preput, RankReport } from './job.ts'
export { createLocalExchange } from './local-exchange.ts'
export { expandAppFile } from './mpirun/app-file.ts'
export {
  type BindingWish,
  bindRanks,
  coresOf,
  describeBinding,
  type Processor,
} from './mpirun/binding.ts'
export {
  type CommandWords,
  dashed,
  dashedFlag,
  type OptionDefault,
  type OptionSpec,
  type OptionWords,
  type ProgramWords,
  parseCommandWords,
} from './mpirun/grammar.ts'
export { type MappingNode, type MappingRequest, mapRanks } from './mpirun/mapping.ts'
export {
  type BindTo,
  type MapBy,
  parseBindTo,
  parseMapBy,
  parseProcessors,
  parseRankBy,
  type RankBy,
  type Resource,
  unabbreviated,
} from './mpirun/placement.ts'
export { parseRankfile, placeRanks, type RankPlace } from './mpirun/rankfile.ts'
export { nearest } from './mpirun/words.ts'
export { answerNames, createNameServer } from './names.ts'
export { makeJobCertificates } from './osv/certificates.ts'
export { MAX_STARTS, type OsvChannel, openOsvChannel } from './osv/channel.ts'
export { isMountFailure, isSeedFailure, isServing, mountedAt } from './osv/console.ts'
export { osvSettings } from './osv/environment.ts'
export { type OsvLook, OsvRest } from './osv/rest.ts'
export {
  anyFilter,
  filterBelow,
  plainPart,
  STAGE_ALL,
  type StageFilter,
  stageFilter,
} from './osv/stage-filter.ts'
export {
  planStageIn,
  removeStaged,
  type SeededStage,
  STAGE_ROOT,
  type StagedIn,
  type StagePlan,
  seedStage,
  stagedPath,
  stageIn,
  stageOut,
} from './osv/staging.ts'
export {
  describeEnd,
  type Outcome,
  outcomeOf,
  type RankObservation,
  rankFailure,
  rankTable,
} from './outcome.ts'
export { FilesOfRanks } from './output-files.ts'
export {
  checkPattern,
  type LineTags,
  linePrefix,
  type OutputFiles,
  type OutputOrigin,
  outputPath,
  parseOutput,
  parseOutputFilename,
} from './output-prefix.ts'
export { openProcessManager, type ProcessManager } from './process-manager.ts'
export {
  answerSpawn,
  type SpawnCommand,
  type SpawnRequest,
  type SpawnResult,
} from './spawn.ts'
export { starterPath } from './starter/path.ts'
export { forwardInput, type InputSink, RankOutput } from './stdio.ts'
