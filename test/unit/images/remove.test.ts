// leet image list, show, remove and prune, on a store laid out as the composer lays it.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { findLinuxImage, nameLinuxImage } from '../../../launcher/images/find.ts'
import { IMAGES, imageOf } from '../../../launcher/images/linux.ts'
import { describeLinuxImages, removeLinuxImages } from '../../../launcher/images/remove.ts'
import { ImageStore } from '../../../launcher/images/store.ts'

let cache: string
let env: { XDG_CACHE_HOME: string }
let store: ImageStore
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'leet-store-'))
  env = { XDG_CACHE_HOME: cache }
  store = new ImageStore(join(cache, 'leet', 'linux'))
})
afterEach(() => rmSync(cache, { recursive: true }))

const hex = (letter: string) => letter.repeat(64)

async function put(boot: string, disk: string) {
  for (const [kind, name, files] of [
    ['boot', boot, ['kernel', 'initrd']],
    ['disk', disk, ['root.erofs']],
  ] as const) {
    mkdirSync(store.path(kind, name), { recursive: true })
    for (const file of files) writeFileSync(store.path(kind, name, file), '0123456789')
  }
  const parts = `${boot} ${disk}`
  const image = imageOf(store, parts) as NonNullable<ReturnType<typeof imageOf>>
  await store.remember(IMAGES, image.id, parts)
  await store.remember('requests', disk.slice(0, 8), JSON.stringify({ image: parts }))
  return image
}

it('tells names, size and date of each image', async () => {
  const one = await put(hex('a'), hex('b'))
  await nameLinuxImage('mine', one, env)
  await nameLinuxImage('also', one, env)
  expect(await describeLinuxImages(env)).toMatchObject([{ id: one.id, names: ['also', 'mine'], size: 10 }])
})

it('removes an image with its names and keeps what another needs', async () => {
  const one = await put(hex('a'), hex('b'))
  const two = await put(hex('a'), hex('c'))
  await nameLinuxImage('mine', one, env)
  expect(await removeLinuxImages([one], env)).toBe(10)
  await expect(findLinuxImage('mine', env, cache)).rejects.toThrow(/no image "mine"/)
  expect((await describeLinuxImages(env)).map(({ id }) => id)).toEqual([two.id])
  expect(await findLinuxImage(two.id.slice(0, 8), env, cache)).toEqual(two)
  expect(await removeLinuxImages([two], env)).toBe(30)
  for (const kind of ['boot', 'disk', IMAGES, 'by-name', 'requests']) {
    expect(readdirSync(store.path(kind)), kind).toEqual([])
  }
})
