// Ranks: mpirun's grammar, the process managers (PMI-1, PMI-2, PMIx), control channels to guests, output, outcome.
// This is the folder's only door.
export { type CommandWords, dashed, nearest, type OptionSpec, type OptionWords, type ProgramWords, parseCommandWords } from './mpirun/grammar.ts'
