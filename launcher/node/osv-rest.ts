// How a node reaches the REST server of an OSv guest, whoever booted it.
import { OsvRest } from '../../mpi-bridge/index.ts'
import type { OsvAccess } from './worker.ts'

/** The client of a guest's server; with certificates of the job each proves itself to the other. */
export function osvRestOf(
  guest: string,
  address: { readonly host: string; readonly port: number },
  { tls }: OsvAccess,
): OsvRest {
  return new OsvRest({
    guest,
    ...address,
    ...(tls ? { tls: { ca: tls.ca, ...tls.client, serverName: guest } } : {}),
  })
}
