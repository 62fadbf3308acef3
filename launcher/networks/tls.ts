// Encryption and mutual proof of the job's key in one: TLS 1.2 with a pre-shared key and ephemeral Diffie-Hellman
// (RFC 5489, with the cipher of RFC 7905). No other suite is offered or accepted, so a handshake succeeds only when both
// ends have the key, there is no certificate to trust, and recorded traffic stays secret if the key leaks later.
// (TLS 1.3 suites would let a server answer with a certificate in place of the key.)
import type { ConnectionOptions, TlsOptions } from 'node:tls'

const SUITE = {
  ciphers: 'ECDHE-PSK-CHACHA20-POLY1305',
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.2',
} as const

// The key is the job's alone, so the identity that goes with it in clear says nothing.
const IDENTITY = 'leet'

/** Options of a TLS server that talks to holders of `key` only. */
export function serverTls(key: Uint8Array): TlsOptions {
  return { ...SUITE, pskCallback: (_socket, identity) => (identity === IDENTITY ? key : null) }
}

/** Options of a TLS client that talks to holders of `key` only. */
export function clientTls(key: Uint8Array): ConnectionOptions {
  return {
    ...SUITE,
    pskCallback: () => ({ psk: key, identity: IDENTITY }),
    // There is no certificate whose names could be checked: the key is the server's identity.
    checkServerIdentity: () => undefined,
  }
}
