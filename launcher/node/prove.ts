// Whether the guests of a node reach what their ranks will need: the next guest of the job on the segment (all guests
// make a ring, so that each is reached and reaches), and the process manager of their own node. Asked in the guest, by
// commands that it has anyway, before any rank starts; what fails is named.
import { LeetError, type WaitLimits } from '../../common/index.ts'
import {
  type ControlChannel,
  describeEnd,
  type GuestCommandResult,
  type ServiceAddress,
} from '../../mpi-bridge/index.ts'
import { joinsGuests, SEGMENT_INTERFACE } from '../plan/network.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'

/** What a guest must reach. */
export interface ReachOrder {
  readonly plan: JobPlan
  /** Index of the guest. */
  readonly guest: number
  /** Address of each guest of the job, by its index. */
  readonly addresses: readonly string[]
  /** Its process manager, as it sees it. */
  readonly service: ServiceAddress
}

/**
 * Tries of a second each. A bridge that runs the spanning tree protocol passes nothing for the first 30 s after a guest
 * was plugged in (two forward delays of IEEE 802.1D, 15 s each).
 */
const NEIGHBOUR_TRIES = 35
const FRAME_TRIES = 3
/** Seconds for a connection to the process manager. */
const SERVICE_SECONDS = 10

/** What the guest's command says of the step that failed, and nothing when all is well. */
const STEPS = ['neighbour', 'frame', 'service'] as const
type Step = (typeof STEPS)[number]

/** Resolves when the guest reaches both; rejects with `LEET_E_UNREACHABLE`. A channel without commands is believed. */
export async function proveReach(
  channel: ControlChannel,
  order: ReachOrder,
  limits: WaitLimits,
): Promise<void> {
  const result = await channel.run?.(reachCommand(order), limits)
  const error = result && reachError(order, result)
  if (error) throw error
}

/** The guest that `guest` must reach: the next of the ring; undefined when it is alone or guests are not joined. */
export function neighbourOf(plan: JobPlan, guest: number): GuestPlan | undefined {
  const next = plan.guests[(guest + 1) % plan.guests.length]
  return joinsGuests(plan) && next?.index !== guest ? next : undefined
}

// The connection is made and closed, which the process manager takes as a rank that thought better of it. A frame of
// the interface's own length (20 bytes are IPv4's header, 8 ICMP's) is lost where anything on the way is narrower.
const SCRIPT = `b=/leet/busybox
tries() {
  left=$1; shift
  until "$@" >/dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || return; done
}
if [ -n "$1" ]; then
  tries ${NEIGHBOUR_TRIES} $b ping -c 1 -W 1 "$1" || { echo neighbour; exit; }
  read -r mtu </sys/class/net/${SEGMENT_INTERFACE}/mtu
  tries ${FRAME_TRIES} $b ping -c 1 -W 1 -s $((mtu - 28)) "$1" || { echo frame $mtu; exit; }
fi
$b nc -w ${SERVICE_SECONDS} "$2" "$3" </dev/null >/dev/null 2>&1 || echo service
`

// Each line of the first argument is to be among what stat(1) says of the others; the guest's own small commands, which
// are all one file, may stand for those of the node.
const FILES_SCRIPT = `wanted=$1; shift
IFS='
'
found="
$(/leet/busybox stat -L -c '%s %n' "$@" 2>/dev/null)
"
own=$(/leet/busybox stat -L -c %s /leet/busybox)
for line in $wanted; do
  case $found in
  *"
$line
"* | *"
$own \${line#* }
"*) ;;
  *) echo "\${line#* }" ;;
  esac
done
`

/** Resolves when a guest of a session has the files that a job needs; rejects with `LEET_E_SESSION_PROGRAM`. */
export async function proveFiles(
  channel: ControlChannel,
  { session, guests }: JobPlan,
  guest: number,
  limits: WaitLimits,
): Promise<void> {
  if (!session || session.needs.length === 0) return
  const wanted = session.needs.map(({ path, size }) => `${size} ${path}`).join('\n')
  const paths = session.needs.map(({ path }) => path)
  const result = await channel.run?.(
    ['/leet/busybox', 'sh', '-c', FILES_SCRIPT, 'files', wanted, ...paths],
    limits,
  )
  const missing = result?.output.split('\n').filter((line) => paths.includes(line)) ?? []
  if (missing.length === 0) return
  throw new LeetError({
    code: 'LEET_E_SESSION_PROGRAM',
    what: `${missing.slice(0, 4).join(', ')}${missing.length > 4 ? ', …' : ''}: not in the session’s image, or changed since`,
    where: guests[guest]?.name,
    why: 'the guests of a session keep the image that they booted, and what they mount',
    hint: '`leet down`, then `leet up` with the names of all programs; or --session none, to boot other guests',
    exitCode: 127,
  })
}

/** The command that tries, in a guest; it says nothing when all is well. */
export function reachCommand({
  plan,
  guest,
  addresses,
  service,
}: ReachOrder): readonly [string, ...string[]] {
  const neighbour = neighbourOf(plan, guest)
  const address = neighbour ? (addresses[neighbour.index] as string) : ''
  return ['/leet/busybox', 'sh', '-c', SCRIPT, 'reach', address, service.host, `${service.port}`]
}

/** What a guest that ran `reachCommand` does not reach; undefined when it reaches all. */
export function reachError(
  { plan, guest, addresses, service }: ReachOrder,
  { end, output }: GuestCommandResult,
): LeetError | undefined {
  const said = output.trim()
  if (said === '' && end.kind === 'exit' && end.status === 0) return undefined
  const describe = (index: number) => {
    const { name, node } = plan.guests[index] as GuestPlan
    return `${name} (${addresses[index]}, on ${plan.nodes[node]?.name})`
  }
  const [word = '', mtu] = said.split(' ')
  const step = STEPS.find((one) => one === word)
  const neighbour = neighbourOf(plan, guest)
  const failure = (what: string, hint?: string) =>
    new LeetError({ code: 'LEET_E_UNREACHABLE', where: describe(guest), what, hint })
  if (!step || (!neighbour && step !== 'service')) {
    const words = said.replaceAll(/[^ -~]/g, '?').slice(0, 200)
    return failure(`the guest cannot find out what it reaches: ${words || describeEnd(end)}`)
  }
  const failures: Record<Step, () => LeetError> = {
    neighbour: () => failure(`does not reach the guest ${describe(neighbour?.index ?? 0)}`, checks(plan)),
    frame: () =>
      failure(
        `reaches the guest ${describe(neighbour?.index ?? 0)}, but not with frames of ${Number(mtu)} bytes`,
        `something between their nodes has a smaller MTU: give ${wayOf(plan)} that one`,
      ),
    service: () =>
      failure(
        `does not reach the process manager of its node at ${service.host} port ${service.port}`,
        'does a firewall of the node filter its own loopback, or was the guest’s default route changed?',
      ),
  }
  return failures[step]()
}

function wayOf({ network }: JobPlan): string {
  return network.mode === 'bridge' ? `the bridge ${network.bridge} of both nodes` : 'the switches'
}

function checks(plan: JobPlan): string {
  if (plan.network.mode !== 'bridge')
    return 'a switch or a cable between them may have ended; see its last words above'
  return (
    `do the bridges ${plan.network.bridge} of both nodes lead to one network, with the uplinks up (bridge link)? ` +
    'Does a firewall filter bridged frames (net.bridge.bridge-nf-call-iptables), or the switch other MACs than the nodes’?'
  )
}
