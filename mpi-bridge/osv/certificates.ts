// The certificates of one job, for guests whose REST server speaks TLS: a CA that lives as long as the job, a server
// certificate for each guest, a client certificate for leet. X.509 v3 (RFC 5280) with ECDSA over P-256 and SHA-256
// (RFC 5758), written in DER (X.690), because no command that could make them is everywhere.
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'

/** A certificate and its private key, PEM. */
export interface Credentials {
  readonly cert: string
  readonly key: string
}

/** Makes the certificates of one job. The CA's key is in no file: what was not signed here is nobody's. */
export interface JobCertificates {
  /** PEM. */
  readonly ca: string
  /** What this client shows to every guest. */
  readonly client: Credentials
  /** For the server of one guest, which must be spoken to by that name. */
  server(name: string): Credentials
}

/** Clocks of guests and nodes differ; a job may take weeks. */
const BEFORE_MS = 86_400_000
const AFTER_MS = 366 * 86_400_000

/** A new CA with a client certificate. */
export function makeJobCertificates(now: Date = new Date()): JobCertificates {
  const root = newKey()
  const authority = { name: `leet ${randomBytes(8).toString('hex')}`, key: root }
  const certify = (subject: string, key: KeyObject, extensions: readonly Buffer[]) =>
    certificate({ issuer: authority, subject, key, extensions, now })
  const issue = (subject: string, extensions: readonly Buffer[]): Credentials => {
    const key = newKey()
    return { cert: certify(subject, key, extensions), key: pemOf(key) }
  }
  return {
    ca: certify(authority.name, root, [CA_CONSTRAINT, usage(CERTIFICATE_SIGN)]),
    client: issue('leet', [LEAF_CONSTRAINT, usage(DIGITAL_SIGNATURE), extendedUsage(CLIENT_AUTH)]),
    server: (name) =>
      issue(name, [
        LEAF_CONSTRAINT,
        usage(DIGITAL_SIGNATURE),
        extendedUsage(SERVER_AUTH),
        extension(SUBJECT_ALT_NAME, false, sequence(tagged(0x82, Buffer.from(name, 'latin1')))),
      ]),
  }
}

function newKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey
}

function pemOf(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string
}

interface Request {
  readonly issuer: { readonly name: string; readonly key: KeyObject }
  readonly subject: string
  /** Of the subject. */
  readonly key: KeyObject
  readonly extensions: readonly Buffer[]
  readonly now: Date
}

function certificate({ issuer, subject, key, extensions, now }: Request): string {
  const identifiers = [
    extension(SUBJECT_KEY_IDENTIFIER, false, tagged(0x04, keyIdentifier(key))),
    extension(AUTHORITY_KEY_IDENTIFIER, false, sequence(tagged(0x80, keyIdentifier(issuer.key)))),
  ]
  const body = sequence(
    tagged(0xa0, integer(Buffer.from([2]))), // version 3
    integer(randomBytes(16)),
    ECDSA_WITH_SHA256,
    commonName(issuer.name),
    sequence(time(new Date(now.getTime() - BEFORE_MS)), time(new Date(now.getTime() + AFTER_MS))),
    commonName(subject),
    publicKeyOf(key),
    tagged(0xa3, sequence(...extensions, ...identifiers)),
  )
  const signature = sign('sha256', body, issuer.key)
  const der = sequence(body, ECDSA_WITH_SHA256, bitString(signature))
  const lines = der.toString('base64').match(/.{1,64}/g) as string[]
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
}

function publicKeyOf(key: KeyObject): Buffer {
  return createPublicKey(key).export({ type: 'spki', format: 'der' })
}

/** RFC 5280 section 4.2.1.2: any value that identifies the key. */
function keyIdentifier(key: KeyObject): Buffer {
  return createHash('sha256').update(publicKeyOf(key)).digest().subarray(0, 20)
}

function tagged(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const length =
    content.length < 0x80
      ? [content.length]
      : content.length < 0x100
        ? [0x81, content.length]
        : [0x82, content.length >> 8, content.length & 255]
  return Buffer.concat([Buffer.from([tag, ...length]), content])
}

function sequence(...contents: readonly Uint8Array[]): Buffer {
  return tagged(0x30, ...contents)
}

/** A positive integer: its first bit is 0, and it does not begin with a zero byte too many. */
function integer(bytes: Buffer): Buffer {
  const positive = Buffer.from(bytes)
  positive[0] = (positive[0] as number) & 0x7f || 1
  return tagged(0x02, positive)
}

function oid(...numbers: readonly number[]): Buffer {
  const [first = 0, second = 0, ...rest] = numbers
  const bytes = [first * 40 + second]
  for (const number of rest) {
    const groups = [number & 127]
    for (let left = number >> 7; left > 0; left >>= 7) groups.unshift((left & 127) | 128)
    bytes.push(...groups)
  }
  return tagged(0x06, Buffer.from(bytes))
}

function bitString(bytes: Uint8Array, unused = 0): Buffer {
  return tagged(0x03, Buffer.from([unused]), bytes)
}

/** UTCTime: YYMMDDHHMMSSZ, for years until 2049. */
function time(date: Date): Buffer {
  const text = date
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:T]/g, '')
  return date.getUTCFullYear() < 2050
    ? tagged(0x17, Buffer.from(text.slice(2)))
    : tagged(0x18, Buffer.from(text))
}

function commonName(name: string): Buffer {
  return sequence(tagged(0x31, sequence(oid(2, 5, 4, 3), tagged(0x0c, Buffer.from(name)))))
}

function extension(id: Buffer, critical: boolean, value: Buffer): Buffer {
  const flag = critical ? [tagged(0x01, Buffer.from([0xff]))] : []
  return sequence(id, ...flag, tagged(0x04, value))
}

function usage(bit: number): Buffer {
  return extension(oid(2, 5, 29, 15), true, bitString(Buffer.from([0x80 >> bit]), 7 - bit))
}

function extendedUsage(purpose: Buffer): Buffer {
  return extension(oid(2, 5, 29, 37), false, sequence(purpose))
}

const ECDSA_WITH_SHA256 = sequence(oid(1, 2, 840, 10045, 4, 3, 2))
const SERVER_AUTH = oid(1, 3, 6, 1, 5, 5, 7, 3, 1)
const CLIENT_AUTH = oid(1, 3, 6, 1, 5, 5, 7, 3, 2)
const SUBJECT_ALT_NAME = oid(2, 5, 29, 17)
const SUBJECT_KEY_IDENTIFIER = oid(2, 5, 29, 14)
const AUTHORITY_KEY_IDENTIFIER = oid(2, 5, 29, 35)
const BASIC_CONSTRAINTS = oid(2, 5, 29, 19)
const CA_CONSTRAINT = extension(BASIC_CONSTRAINTS, true, sequence(tagged(0x01, Buffer.from([0xff]))))
const LEAF_CONSTRAINT = extension(BASIC_CONSTRAINTS, true, sequence())
/** Bits of keyUsage. */
const DIGITAL_SIGNATURE = 0
const CERTIFICATE_SIGN = 5
