// What guests mount, as values: what is asked for, what is known of the node, and what the plan of a job says of it.
import type { MountInfo, NfsClient, NfsMount } from '../../contextualise/index.ts'

/** What every guest of a job mounts; `path` is where. */
export type PlanMount =
  /** An export of an NFS server, whose name each node resolves. */
  | (NfsMount & {
      readonly kind: 'nfs'
      /** Somebody asked for it; else it is what the nodes have. */
      readonly asked?: true
    })
  /** A directory of the guest's own node, by 9p at the same path. */
  | {
      readonly kind: 'share'
      readonly path: string
      /** Nodes have not all the same there: they are given copies, all but the one that this names, if any. */
      readonly mirrored?: { readonly except?: string }
    }

/**
 * How directories of the node get into guests. `auto`: by NFS where the node has them on NFS, else from the node by 9p.
 * `9p`: always from the guest's own node, whatever it has there.
 */
export type ShareWay = 'auto' | '9p'

/** When files are carried into guests. `auto`: where these cannot have them otherwise. */
export type StageTime = 'auto' | 'always' | 'never'

/** A mount that was asked for, as it was written. */
export interface MountWish {
  /** `SERVER:/export:/guest/path[:OPTIONS]`, perhaps with `{user}`, `{uid}`, `{gid}` and `{jobid}`. */
  readonly text: string
  /** Option, variable, or file with line: for messages. */
  readonly where: string
  /** The command line, the environment or one file: a stronger source may say anew what is at a path, the same may not. */
  readonly source: string
}

/** Where directories lie, as the node sees it on which the plan is made. */
export interface MountFacts {
  /** Its mount table. */
  readonly table: readonly MountInfo[]
  /** Where home and working directories really are, when symbolic links lead to them. */
  readonly realPaths: Readonly<Record<string, string>>
  /** Its name among the job's nodes; undefined when it is none of them. */
  readonly here: string | undefined
  /** The batch system's name of the job. */
  readonly batchJob: string | undefined
  /** What is carried with the working directories where nodes are given copies of them. */
  readonly added: readonly string[]
}

/** What `planMounts` needs besides the facts. */
export interface MountRequest {
  /** From weak to strong. */
  readonly wishes: readonly MountWish[]
  readonly shareBy: ShareWay
  /** When nodes are given copies of working directories. */
  readonly stage: StageTime
  /** Only what was asked for: home and working directory are not looked for. */
  readonly onlyAsked?: boolean
  /** What mounts them. */
  readonly client: NfsClient
  readonly workDirs: readonly string[]
  readonly user: { readonly name: string; readonly uid: number; readonly gid: number; readonly home: string }
  /** Names of the nodes that have guests. */
  readonly nodes: readonly string[]
}

/** Decides what the guests of a job mount (plan-mounts.ts). */
export type MountPlanner = (request: MountRequest) => readonly PlanMount[]

/**
 * Plans for guests that can mount something at these paths alone: where a server's directory has none, nothing is taken from a
 * server but what was asked for.
 */
export function withPlaces(planner: MountPlanner, places: readonly string[]): MountPlanner {
  return (request) => {
    const mounts = planner(request)
    const fits = mounts.every(({ kind, path }) => kind !== 'nfs' || places.includes(path))
    return fits ? mounts : planner({ ...request, shareBy: '9p' })
  }
}

/** Whether the guests of a job see what the nodes have at this path. */
export function isMounted({ mounts }: { readonly mounts: readonly PlanMount[] }, path: string): boolean {
  return mounts.some((mount) => isWithin(path, mount.path))
}

/** What is to be known of a job to say how its OSv guests have its working directories. */
export interface WorkDirFacts {
  readonly mounts: readonly PlanMount[]
  readonly programs: readonly { readonly workDir: string }[]
  readonly staging: { readonly when: StageTime }
}

/** How an OSv guest with these ranks has the working directory: by NFS; carried in, and results back; or not at all. */
export function workDirWay(
  { mounts, programs, staging: { when } }: WorkDirFacts,
  { ranks }: { readonly ranks: readonly number[] },
): 'nfs' | 'carried' | 'none' {
  if (when === 'always') return 'carried'
  const onServers = mounts.filter(({ kind }) => kind === 'nfs')
  if (ranks.length === 1 && programs.every(({ workDir }) => isMounted({ mounts: onServers }, workDir))) {
    return 'nfs'
  }
  return when === 'never' ? 'none' : 'carried'
}

/** `localhost` or an address of 127.0.0.0/8: the node itself, whichever it is. */
export function isLoopback(server: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3})$/i.test(server)
}

/** Whether `path` is `folder` or lies in it. */
export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}
