// SSH key pairs of a job: ed25519, made by node:crypto, written as OpenSSH does.
// Formats: OpenSSH PROTOCOL.key ("openssh-key-v1"), RFC 8709 (ssh-ed25519), RFC 4253 section 6.6.
import { createHash, generateKeyPairSync } from 'node:crypto'

/** A key pair of one job; the private part goes into 0600 files and seeds only. */
export interface SshKeyPair {
  /** OpenSSH private key, PEM, unencrypted. */
  readonly private: string
  /** One line for `authorized_keys` or `ssh_host_ed25519_key.pub`, without newline. */
  readonly public: string
  /** The public key in SSH's wire form, as a client sees it when it checks a host. */
  readonly publicBlob: Uint8Array
  /** `SHA256:…` as `ssh-keygen -l` prints it. */
  readonly fingerprint: string
}

const KEY_TYPE = 'ssh-ed25519'
const CIPHER_BLOCK = 8

/** A new ed25519 key pair. `comment` is printable ASCII without blanks, such as `leet-job-4711`. */
export function makeSshKeyPair(comment: string): SshKeyPair {
  const { d, x } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  return formatKeyPair(Buffer.from(d as string, 'base64url'), Buffer.from(x as string, 'base64url'), comment)
}

/** Writes the two 32-byte halves of an ed25519 key as OpenSSH does. */
function formatKeyPair(seed: Buffer, point: Buffer, comment: string): SshKeyPair {
  const blob = Buffer.concat([sshString(KEY_TYPE), sshString(point)])
  // The check value only shows that decryption worked; without encryption any value will do.
  const check = createHash('sha256').update(blob).digest().subarray(0, 4)
  const body = Buffer.concat([
    check,
    check,
    sshString(KEY_TYPE),
    sshString(point),
    sshString(Buffer.concat([seed, point])),
    sshString(comment),
  ])
  const padding = Buffer.from(
    Array.from({ length: (CIPHER_BLOCK - (body.length % CIPHER_BLOCK)) % CIPHER_BLOCK }, (_, i) => i + 1),
  )
  const file = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    sshString('none'),
    sshString('none'),
    sshString(''),
    Buffer.from([0, 0, 0, 1]),
    sshString(blob),
    sshString(Buffer.concat([body, padding])),
  ])
  const lines = file.toString('base64').match(/.{1,70}/g) as string[]
  const fingerprint = createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')
  return {
    private: `-----BEGIN OPENSSH PRIVATE KEY-----\n${lines.join('\n')}\n-----END OPENSSH PRIVATE KEY-----\n`,
    public: `${KEY_TYPE} ${blob.toString('base64')} ${comment}`,
    publicBlob: new Uint8Array(blob),
    fingerprint: `SHA256:${fingerprint}`,
  }
}

function sshString(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content as string)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}
