// The processes of a job, and what is known of each. The list is never changed, only copied with a change, and a copy costs
// little however long it is: jobs have thousands of ranks, and each is heard of many times.
import type { RankObservation } from '../../mpi-bridge/index.ts'

/** A process of the job: `job` is 0 for the first job and counts the spawned ones after it. */
export interface TaskName {
  readonly task: number
  readonly job: number
  readonly rank: number
  readonly guest: number
}

/**
 * Where a process is: nobody was asked to start it; its node was; it runs; it has ended, or could not be started; it is
 * waited for no longer.
 */
export type TaskStage = 'planned' | 'handed over' | 'running' | 'ended' | 'given up'

/** A process with what was seen of it so far. */
export interface Task extends TaskName {
  readonly node: number
  /** Number of its program in its job. */
  readonly program: number
  readonly stage: TaskStage
  readonly seen: RankObservation
}

/** Whether nothing more is expected of it. */
export function isOver({ stage }: Task): boolean {
  return stage === 'ended' || stage === 'given up'
}

/** Tasks of a page. A change copies one page and the list of pages. */
const PAGE = 64

/** Tasks by their number. */
export class TaskList {
  readonly length: number
  readonly #pages: readonly (readonly Task[])[]

  private constructor(pages: readonly (readonly Task[])[], length: number) {
    this.#pages = pages
    this.length = length
  }

  static readonly none = new TaskList([], 0)

  at(task: number): Task | undefined {
    return this.#pages[Math.floor(task / PAGE)]?.[task % PAGE]
  }

  /** The list with another task in the place of the one of its number. */
  with(changed: Task): TaskList {
    const page = Math.floor(changed.task / PAGE)
    const tasks = (this.#pages[page] as readonly Task[]).with(changed.task % PAGE, changed)
    return new TaskList(this.#pages.with(page, tasks), this.length)
  }

  /** The list with more tasks, whose numbers go on from its length. */
  concat(more: readonly Task[]): TaskList {
    const all = [...this, ...more]
    const pages = Array.from({ length: Math.ceil(all.length / PAGE) }, (_, page) =>
      all.slice(page * PAGE, (page + 1) * PAGE),
    )
    return new TaskList(pages, all.length)
  }

  *[Symbol.iterator](): Iterator<Task> {
    for (const page of this.#pages) yield* page
  }
}
