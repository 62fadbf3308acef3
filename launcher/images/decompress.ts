// Kernels and modules come compressed in several ways, told apart by their first bytes. gzip and zstd are Node's own;
// for the others the command of the same name is asked, as Node has none of them.
import { spawn } from 'node:child_process'
import { promisify } from 'node:util'
import { gunzip, zstdDecompress } from 'node:zlib'
import { EXIT_USAGE, endOf, LeetError, type WaitLimits, waitFor } from '../../common/index.ts'

/** More than any kernel or module unpacks to. */
const MAX_SIZE = 1 << 28

const FORMATS: readonly { readonly magic: string; readonly how: 'gzip' | 'zstd' | readonly string[] }[] = [
  { magic: '1f8b', how: 'gzip' },
  { magic: '28b52ffd', how: 'zstd' },
  { magic: 'fd377a585a00', how: ['xz', '-dc'] },
  { magic: '5d000000', how: ['xz', '--format=lzma', '-dc'] },
  { magic: '02214c18', how: ['lz4', '-dc'] },
  { magic: '425a68', how: ['bzip2', '-dc'] },
]

/** The uncompressed bytes of `bytes`; `where` names them in errors, which are `LEET_E_KERNEL`. */
export async function decompress(bytes: Uint8Array, where: string, limits: WaitLimits): Promise<Buffer> {
  const head = Buffer.from(bytes.subarray(0, 8)).toString('hex')
  const format = FORMATS.find(({ magic }) => head.startsWith(magic))
  if (!format) throw kernelError(where, 'is compressed in an unknown way')
  try {
    if (format.how === 'gzip') return await promisify(gunzip)(bytes, { maxOutputLength: MAX_SIZE })
    if (format.how === 'zstd') return await promisify(zstdDecompress)(bytes, { maxOutputLength: MAX_SIZE })
  } catch (error) {
    throw kernelError(where, `cannot be decompressed (${format.how})`, undefined, error)
  }
  return filter(format.how, bytes, where, limits)
}

async function filter(
  argv: readonly string[],
  bytes: Uint8Array,
  where: string,
  limits: WaitLimits,
): Promise<Buffer> {
  const [command, ...args] = argv as [string, ...string[]]
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const chunks: Buffer[] = []
  let size = 0
  child.stdout.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > MAX_SIZE) child.kill('SIGKILL')
    else chunks.push(chunk)
  })
  child.stdin.on('error', () => {}) // a decompressor that stops early says so by its status
  child.stdin.end(bytes)
  try {
    const end = await waitFor(endOf(child), limits, { what: `${command} to decompress ${where}` })
    // What follows the compressed data (the kernel's own size field) makes some of them complain at the end.
    if (size === 0 || size > MAX_SIZE || end.kind === 'signal') {
      throw kernelError(where, `cannot be decompressed (${command})`)
    }
    return Buffer.concat(chunks)
  } catch (error) {
    child.kill('SIGKILL')
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    throw kernelError(where, `needs the command ${command}`, `install the package that has ${command}`, error)
  }
}

function kernelError(where: string, what: string, hint?: string, cause?: unknown): LeetError {
  return new LeetError({ code: 'LEET_E_KERNEL', where, what, hint, cause, exitCode: EXIT_USAGE })
}
