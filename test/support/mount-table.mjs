// Preloaded into Node.js (`--import`), in the place of a kernel with an NFS client: the mount table that a command reads is
// the one in the file MOUNT_TABLE, behind the real one.
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'

const read = fs.readFileSync
fs.readFileSync = (path, ...options) => {
  const text = read(path, ...options)
  return path === '/proc/self/mountinfo' ? text + read(process.env.MOUNT_TABLE, 'utf8') : text
}
syncBuiltinESMExports()
