// What `--display` shows before the start: the nodes, and where each rank goes. Pure. In the form of Open MPI 4's mpirun,
// with the guests between nodes and ranks.
import { bindRanks, coresOf, describeBinding, type Processor } from '../../mpi-bridge/index.ts'
import type { GuestPlan, JobPlan, PlanNode } from '../plan/plan.ts'
import { programOf } from '../plan/plan.ts'

/** The nodes that there are, also those that get no rank. */
export function describeAllocation(nodes: readonly PlanNode[]): string[] {
  return [
    '',
    '======================   ALLOCATED NODES   ======================',
    ...nodes.map(
      ({ name, slots, maxSlots = 0, cpus }) => `\t${name}: slots=${slots} max_slots=${maxSlots} cpus=${cpus}`,
    ),
    '=================================================================',
  ]
}

/** Nodes, their guests, and the ranks of each. */
export function describeMap(plan: JobPlan): string[] {
  const nodes = plan.nodes.flatMap(({ name, slots, maxSlots = 0 }, index) => {
    const guests = plan.guests.filter(({ node }) => node === index)
    const procs = guests.reduce((sum, { ranks }) => sum + ranks.length, 0)
    return [
      '',
      ` Data for node: ${name}\tNum slots: ${slots}\tMax slots: ${maxSlots}\tNum procs: ${procs}`,
      ...guests.flatMap((guest) => [
        ...(plan.guestKind === 'host' ? [] : [` \tGuest: ${guest.name}\tvCPUs: ${guest.cpus}`]),
        ...guest.ranks.map(
          (rank) => ` \tProcess job: ${plan.jobId} App: ${programOf(plan, rank).index} Process rank: ${rank}`,
        ),
      ]),
    ]
  })
  return [
    '',
    ' ========================   JOB MAP   ========================',
    ...nodes,
    '',
    ' =============================================================',
  ]
}

/** To what each rank will be bound; `processorsOf` tells a guest's processors, or undefined when only its node knows them. */
export function describeBindings(
  plan: JobPlan,
  processorsOf: (guest: GuestPlan) => readonly Processor[] | undefined,
): string[] {
  return plan.guests.flatMap((guest) => {
    const processors = processorsOf(guest)
    if (!processors)
      return [`[${guest.name}] ranks ${guest.ranks.join(',')}: the node decides when it starts them`]
    const cpusOf = (own: readonly Processor[], rank: number) => {
      const slots = plan.binding?.slots?.[rank]
      return slots === undefined ? undefined : coresOf(own, slots, guest.name)
    }
    const bound = plan.binding && bindRanks(processors, plan.binding, guest.ranks.length, guest.name)
    return guest.ranks.map(
      (rank, local) =>
        `[${guest.name}] MCW rank ${rank} ${describeBinding(processors, cpusOf(processors, rank) ?? bound?.[local] ?? [])}`,
    )
  })
}
