// One command over SSH, as tests of guests need it: the host's key is checked, output and status are returned.
import { Client } from 'ssh2'
import { type WaitLimits, waitFor } from '../../common/index.ts'

/** How to log in on 127.0.0.1. */
export interface SshLogin {
  readonly port: number
  readonly username: string
  readonly privateKey: string | undefined
  readonly password?: string
  /** The host's public key in SSH's wire form. */
  readonly hostKey: Uint8Array
}

/** Runs a command; rejects when the login fails or the host has another key. */
export function runOverSsh(
  login: SshLogin,
  command: string,
  limits: WaitLimits,
): Promise<{ readonly status: number; readonly stdout: string; readonly stderr: string }> {
  const client = new Client()
  const result = new Promise<{ status: number; stdout: string; stderr: string }>((resolve, reject) => {
    client.on('error', reject)
    client.on('ready', () => {
      client.exec(command, (error, channel) => {
        if (error) return reject(error)
        const said = { stdout: '', stderr: '' }
        channel.on('data', (chunk: Buffer) => {
          said.stdout += chunk
        })
        channel.stderr.on('data', (chunk: Buffer) => {
          said.stderr += chunk
        })
        channel.on('close', (status: number | null) => resolve({ status: status ?? 255, ...said }))
      })
    })
    client.connect({
      host: '127.0.0.1',
      port: login.port,
      username: login.username,
      ...(login.privateKey === undefined ? {} : { privateKey: login.privateKey }),
      ...(login.password === undefined ? {} : { password: login.password }),
      hostVerifier: (key: Buffer) => key.equals(login.hostKey),
    })
  })
  return waitFor(result, limits, { what: `\`${command}\` in the guest` }).finally(() => client.end())
}
