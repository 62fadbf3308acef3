// The secrets of a job, made anew for each, and what of them leads into its guests.
import { randomBytes } from 'node:crypto'
import type { GuestAccess, GuestImage, GuestSecrets } from '../node/worker.ts'
import type { JobPlan } from '../plan/plan.ts'

/** Keys and certificates for guests that boot this image, and for what joins their nodes. */
export async function makeSecrets(plan: JobPlan, image: GuestImage): Promise<GuestSecrets> {
  const ofGuests = await guestSecrets(plan, image)
  return plan.network.mode === 'mesh'
    ? { ...ofGuests, mesh: randomBytes(32).toString('base64url') }
    : ofGuests
}

/** What leads into guests with these secrets, and nothing that only they need. */
export function accessOf(secrets: GuestSecrets): GuestAccess {
  if (secrets.kind === 'linux') {
    const { clientKey, hostKey } = secrets
    return { kind: 'linux', clientKey, hostKey: { publicKey: hostKey.publicKey } }
  }
  const { tls } = secrets
  return { kind: 'osv', ...(tls ? { tls: { ca: tls.ca, client: tls.client } } : {}) }
}

async function guestSecrets({ jobId, guests }: JobPlan, image: GuestImage): Promise<GuestSecrets> {
  if (image.kind === 'osv') {
    if (!image.tls) return { kind: 'osv' }
    const { makeJobCertificates } = await import('../../mpi-bridge/index.ts')
    const { ca, client, server } = makeJobCertificates()
    return { kind: 'osv', tls: { ca, client, servers: guests.map(({ name }) => server(name)) } }
  }
  const { makeSshKeyPair } = await import('../../contextualise/index.ts')
  const pair = (comment: string) => {
    const key = makeSshKeyPair(comment)
    return { privateKey: key.private, publicKey: key.public }
  }
  return { kind: 'linux', hostKey: pair(`leet-host-${jobId}`), clientKey: pair(`leet-${jobId}`) }
}
