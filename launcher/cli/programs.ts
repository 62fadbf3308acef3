// The programs of a command line: found, looked at, and what the guests that run them must mount.
import { statSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, resolve } from 'node:path'
import { type Log, usageError } from '../../common/index.ts'
import { type Allocation, nodeOfThisProcess } from '../../scheduler-adapters/index.ts'
import { inspectProgram, type ProgramFacts, refuseMissingLibraries } from '../images/inspect.ts'
import { type MountPlanner, withPlaces } from '../plan/mounts.ts'
import type { InspectedProgram, MpiFlavour } from '../plan/plan.ts'
import type { Settings } from '../plan/settings.ts'

/** What decides on the mounts of the guests; the bare host mounts nothing. */
export async function planMountsOf(
  settings: Settings,
  programs: readonly InspectedProgram[],
  home: string,
  allocation: Allocation,
  { keep = false }: { readonly keep?: boolean } = {},
): Promise<MountPlanner> {
  const { kind } = settings.guest
  if (kind === 'host') return () => []
  const { mountPlanner } = await import('../plan/mount-facts.ts')
  const directories = [...programs.map(({ plan }) => plan.workDir), home]
  const here = nodeOfThisProcess(allocation, { env: process.env, hostname: hostname() })
  const added = await addedDirectories(settings, programs)
  const planned = mountPlanner(directories, { here: here?.name, batchJob: allocation.jobId, added })
  // Guests that stay have no copies: those are one job's.
  const planner: MountPlanner = keep ? (request) => planned({ ...request, stage: 'never' }) : planned
  if (kind !== 'osv') return planner
  const { placesToMount } = await import('../job/guest-image.ts')
  const places = await placesToMount(settings)
  return places === undefined ? planner : withPlaces(planner, places)
}

async function addedDirectories(
  { staging }: Settings,
  programs: readonly InspectedProgram[],
): Promise<readonly string[]> {
  if (staging.add.length === 0) return []
  const { stageRoots } = await import('../node/stage-roots.ts')
  const roots = stageRoots({ staging, programs: programs.map(({ plan }) => plan) })
  return roots.flatMap(({ directory, added }) => (added ? [directory] : []))
}

/** Looks at the programs: everything that can be wrong with one is found before any guest boots. */
export async function inspectPrograms(settings: Settings): Promise<InspectedProgram[]> {
  return Promise.all(
    settings.programs.map(async (program) => {
      const workDir = checkedWorkDirectory(program.workDir ?? process.cwd())
      // As mpirun does: a relative path starts from the working directory of the ranks.
      const facts = await inspectOrTrust(program.argv[0], settings, workDir)
      if (settings.image.name === undefined) refuseMissingLibraries(facts)
      return {
        facts,
        plan: {
          argv: [facts.path, ...program.argv.slice(1)] as const,
          workDir,
          exports: program.exports,
          inherits: program.inherits,
          mpi: flavourOf(settings, facts),
          ...(facts.mpi.version === undefined ? {} : { mpiVersion: facts.mpi.version }),
          ...(facts.mpi.device === undefined ? {} : { mpiDevice: facts.mpi.device }),
          ...threadsOf(facts),
        },
      }
    }),
  )
}

// A program may be in a given image and not on this node; then only the user can tell its MPI.
async function inspectOrTrust(program: string, settings: Settings, workDir: string): Promise<ProgramFacts> {
  try {
    const { path } = settings
    const env =
      path === undefined ? process.env : { ...process.env, PATH: `${path}:${process.env.PATH ?? ''}` }
    return await inspectProgram(program, env, workDir)
  } catch (error) {
    const inImage = settings.image.name !== undefined && settings.mpi !== 'auto' && program.startsWith('/')
    if (!inImage) throw error
    return {
      path: program,
      kind: 'dynamic',
      mpi: { flavour: settings.mpi as MpiFlavour },
      missing: [],
      files: [],
      interpreters: [],
    }
  }
}

/** Libraries of OpenMP (of GCC, LLVM and Intel) and of oneTBB. */
const THREADS = /^lib(gomp|omp|iomp5|tbb)\.so/

function threadsOf({ files }: ProgramFacts): { readonly threads?: string } {
  const threads = files.map((path) => basename(path)).find((name) => THREADS.test(name))
  return threads === undefined ? {} : { threads }
}

function checkedWorkDirectory(path: string): string {
  const workDir = resolve(path)
  if (!statSync(workDir, { throwIfNoEntry: false })?.isDirectory()) {
    throw usageError(`${workDir} is not a directory`, undefined, '-wdir')
  }
  return workDir
}

function flavourOf({ mpi }: Settings, facts: ProgramFacts): MpiFlavour {
  return mpi === 'auto' ? facts.mpi.flavour : mpi
}

/**
 * Settings and programs with what profiles add. On the bare host all is there that a program needs, so profiles are
 * looked at only when they are named.
 */
export async function withProfiles(
  settings: Settings,
  programs: readonly InspectedProgram[],
  log: Log,
): Promise<{ settings: Settings; programs: readonly InspectedProgram[] }> {
  const { guest, profiles, image } = settings
  if (guest.kind === 'host' && profiles.length === 0) return { settings, programs }
  const { profileAdditions } = await import('../profiles/apply.ts')
  const { files, variables } = await profileAdditions({
    words: profiles,
    programs: programs.map(({ facts }) => facts),
    env: process.env,
    directory: process.cwd(),
    log,
  })
  return {
    settings: { ...settings, image: { ...image, files: [...files, ...image.files] } },
    programs: programs.map(({ facts, plan }) => ({
      facts,
      plan: { ...plan, exports: [...variables, ...plan.exports] },
    })),
  }
}
