// How a node reaches the REST server of an OSv guest, whoever booted it.
import { OsvRest } from '../../mpi-bridge/index.ts'
import type { JobSecrets } from './worker.ts'

/** The client of a guest's server; with certificates of the job each proves itself to the other. */
export function osvRestOf(
  guest: string,
  address: { readonly host: string; readonly port: number },
  { osv }: JobSecrets,
): OsvRest {
  return new OsvRest({
    guest,
    ...address,
    ...(osv ? { tls: { ca: osv.ca, ...osv.client, serverName: guest } } : {}),
  })
}
