// The image store where there is no place for it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ImageStore } from '../../../launcher/images/store.ts'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'leet-store-'))
})
afterEach(() => rmSync(directory, { recursive: true }))

it('says which directory cannot be used, and what to do', async () => {
  writeFileSync(join(directory, 'file'), '')
  const store = new ImageStore(join(directory, 'file', 'linux'))
  const refused = expect.objectContaining({
    code: 'LEET_E_IMAGE_STORE',
    details: expect.objectContaining({ where: store.root, hint: expect.stringContaining('XDG_CACHE_HOME') }),
  })
  await expect(store.place('boot', async () => 'name')).rejects.toEqual(refused)
  await expect(store.remember('facts', 'name', 'text')).rejects.toEqual(refused)
})

it('leaves what is no fault of the store as it is', async () => {
  const store = new ImageStore(join(directory, 'linux'))
  const missing = store.place('boot', async () => readFileSync('/no/such', 'utf8'))
  await expect(missing).rejects.toMatchObject({ code: 'ENOENT', path: '/no/such' })
})
