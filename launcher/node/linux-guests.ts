// Small Linux guests of one node: LEET's own init reads their seed, and says on the console how far it is.
import { LeetError } from '../../common/index.ts'
import { type InitLine, parseInitLine } from '../images/init-lines.ts'
import { linuxCommandLine } from '../images/linux.ts'
import type { MachineSpec } from '../machines/spec.ts'
import type { GuestNetwork } from '../networks/guest-network.ts'
import { explainNfsFailure } from '../nfs/failures.ts'
import { machineShares } from '../nfs/seed-mounts.ts'
import type { GuestPlan, JobPlan } from '../plan/plan.ts'
import type { NodeGuests } from './node-guests.ts'
import { guestProcessors } from './processors.ts'
import { type BootingGuest, openGuestChannel, type SshGuestsContext, sshGuests } from './ssh-guests.ts'
import type { GuestState, LinuxImageFiles } from './worker.ts'

/** Steps of init that tell the user how far a guest is. */
const STATE_OF_STEP: Readonly<Record<string, GuestState>> = { seed: 'booting', ssh: 'contextualised' }

/** How long init waits for a mount (guest-init/mounts.c, PATIENCE), and a little more, in milliseconds. */
const MOUNT_MS = 40_000

/** The small Linux guests of this node; nothing is started yet. */
export function linuxGuests(context: SshGuestsContext & { readonly image: LinuxImageFiles }): NodeGuests {
  const { plan, image, secrets, mirror } = context
  return sshGuests(context, {
    seeds: ['cloud-config'],
    machine: ({ guest, network }, { seeds: [seed = ''], console }) =>
      linuxMachine(plan, guest, network, image, { seed, console }, mirror?.at),
    watch({ guest, scope, onState, watch }) {
      const init = new InitWatch({ guest, scope, onState, watch })
      return {
        onLine: (line) => init.onLine(line),
        async ready(port) {
          await init.ready
          return (listener, limits) =>
            openGuestChannel(guest, { port, access: secrets, scope, listener }, limits)
        },
      }
    },
    processors: ({ cpus }) => guestProcessors(cpus),
  })
}

/** The virtual machine of a Linux guest. */
export function linuxMachine(
  plan: JobPlan,
  guest: GuestPlan,
  network: GuestNetwork,
  image: LinuxImageFiles,
  files: { readonly seed: string; readonly console: string },
  placeOf?: (path: string) => string,
): MachineSpec {
  return {
    name: guest.name,
    memory: guest.memory,
    cpus: guest.cpus,
    machineType: 'q35',
    kernel: { image: image.kernel, initrd: image.initrd, commandLine: linuxCommandLine() },
    disks: [
      { serial: 'leet-image', path: image.disk, readonly: true },
      { serial: 'leet-seed', path: files.seed, readonly: true },
    ],
    nics: network.nics,
    shares: machineShares(plan.mounts, placeOf),
    consoleFile: files.console,
  }
}

// What init says on the console, until it is ready or gives up.
class InitWatch {
  readonly #booting: Pick<BootingGuest, 'guest' | 'scope' | 'onState' | 'watch'>
  readonly #ready = Promise.withResolvers<void>()

  /** A guest that gives up fails its scope. */
  constructor(booting: Pick<BootingGuest, 'guest' | 'scope' | 'onState' | 'watch'>) {
    this.#booting = booting
  }

  /** Resolves when init says that all is in place; of a guest that gives up, never. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }

  onLine(line: string): void {
    const said = parseInitLine(line)
    // Its kernel is quiet: what it says before init does is a complaint.
    if (!said) return
    const { watch, onState } = this.#booting
    if (said.kind === 'begin') {
      watch.patience(MOUNT_MS)
      onState('booting', [said.step, ...Object.values(said.fields)].join(' '))
      return
    }
    watch.progress(said.kind === 'step' ? `its set-up, after ${said.step}` : 'its first answer over SSH')
    if (said.kind === 'ready') this.#ready.resolve()
    else if (said.kind === 'off') this.#fail('ended by itself', { why: said.fields.reason })
    else this.#onStep(said)
  }

  #onStep({ step, ok, fatal, fields }: Extract<InitLine, { kind: 'step' }>): void {
    const { onState } = this.#booting
    const { reason, ...about } = fields
    const detail = [step, ...Object.values(about)].join(' ')
    if (ok) {
      const state = STATE_OF_STEP[step]
      if (state) onState(state, detail)
    } else if (fatal) this.#fail(`cannot be used: ${detail} failed`, whyOf(step, fields))
    else onState('booting', `${detail} failed: ${reason ?? 'no reason given'}`)
  }

  #fail(what: string, because: { readonly why: string | undefined; readonly hint?: string }): void {
    const { guest, scope } = this.#booting
    scope.fail(new LeetError({ code: 'LEET_E_GUEST_INIT', where: guest.name, what, ...because }))
  }
}

function whyOf(
  step: string,
  { reason, type, source }: InitLine['fields'],
): { readonly why: string | undefined; readonly hint?: string } {
  const byNfs = step === 'mount' && type?.startsWith('nfs')
  return byNfs ? explainNfsFailure(reason ?? '', source ?? '') : { why: reason }
}
