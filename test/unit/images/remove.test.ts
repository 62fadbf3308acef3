// leet image list, show, remove and prune, on stores laid out as the composers lay them.
import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { findLinuxImage, linuxStore, nameLinuxImage } from '../../../launcher/images/find.ts'
import { IMAGES, imageOf } from '../../../launcher/images/linux.ts'
import { listBases, listImages, pickStored, storedBy } from '../../../launcher/images/list.ts'
import { BASES, openOsvBase, osvStore } from '../../../launcher/images/osv/base.ts'
import { nameOsvImage, OSV_IMAGES, rememberOsvImage } from '../../../launcher/images/osv/remembered.ts'
import { rememberPrograms } from '../../../launcher/images/programs.ts'
import { removeStored } from '../../../launcher/images/remove.ts'
import { ABOUT, type ImageStore, NAMES, USED } from '../../../launcher/images/store.ts'

let cache: string
let env: { XDG_CACHE_HOME: string }
let linux: ImageStore
let osv: ImageStore
beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'leet-store-'))
  env = { XDG_CACHE_HOME: cache }
  linux = linuxStore(env)
  osv = osvStore(env)
})
afterEach(() => rmSync(cache, { recursive: true }))

const hex = (letter: string) => letter.repeat(64)

async function put(boot: string, disk: string) {
  for (const [kind, name, files] of [
    ['boot', boot, ['kernel', 'initrd']],
    ['disk', disk, ['root.erofs']],
  ] as const) {
    mkdirSync(linux.path(kind, name), { recursive: true })
    for (const file of files) writeFileSync(linux.path(kind, name, file), '0123456789')
  }
  const parts = `${boot} ${disk}`
  const image = imageOf(linux, parts) as NonNullable<ReturnType<typeof imageOf>>
  await linux.remember(IMAGES, image.id, parts)
  await linux.remember('requests', disk.slice(0, 8), JSON.stringify({ image: parts }))
  return image
}

/** An OSv image; of a base, if it is not an old one of which nothing is remembered. */
async function putOsv(id: string, base?: string) {
  mkdirSync(osv.path(OSV_IMAGES, id), { recursive: true })
  writeFileSync(osv.path(OSV_IMAGES, id, 'disk.img'), '01234')
  if (base === undefined) return
  const programs = [{ host: '/bin/true', guest: '/bin/true', stamp: '' }]
  await rememberOsvImage(osv, id, { base, compat: true, links: [], mountPoints: [], programs })
}

async function putBase(id: string, seconds: number) {
  mkdirSync(osv.path(BASES, id, 'files'), { recursive: true })
  const base = osv.path(BASES, id, 'base.json')
  writeFileSync(base, JSON.stringify({ format: 2, version: 'v0.1', entries: [] }))
  writeFileSync(osv.path(BASES, id, 'kernel.elf'), 'kernel')
  utimesSync(base, seconds, seconds)
  await osv.remember('default', 'base', id)
}

it('tells names, programs, size and last use of each image', async () => {
  const one = await put(hex('a'), hex('b'))
  await nameLinuxImage('mine', one, env)
  await nameLinuxImage('also', one, env)
  await rememberPrograms(linux, one.id, ['/bin/true'])
  await rememberPrograms(linux, one.id, ['/bin/false', '/bin/true'])
  await linux.touch(USED, one.id)
  expect(await listImages(env)).toMatchObject([
    { ...one, names: ['also', 'mine'], programs: ['/bin/false', '/bin/true'], size: 10 },
  ])
  expect((await listImages(env))[0]?.used).toBeInstanceOf(Date)
})

it('lists images of both kinds, also those of which nothing was remembered', async () => {
  const old = await put(hex('a'), hex('b'))
  await putBase(hex('1'), 1000)
  await putOsv(hex('c'))
  await putOsv(hex('d'), hex('1'))
  await nameOsvImage('mine', hex('d'), env)
  const images = await listImages(env)
  const byId = (id: string) => images.find((image) => image.id === id)
  expect(byId(old.id)).toMatchObject({ guest: 'linux', programs: [], names: [], used: undefined })
  expect(byId(hex('c'))).toMatchObject({ guest: 'osv', programs: [], kernel: undefined, base: undefined })
  const kernel = osv.path(BASES, hex('1'), 'kernel.elf')
  expect(byId(hex('d'))).toMatchObject({ programs: ['/bin/true'], names: ['mine'], kernel, size: 5 })
  expect(await listBases(env, images)).toMatchObject([
    { id: hex('1'), version: 'v0.1', isDefault: true, images: [hex('d')] },
  ])
})

it('has nothing in an empty store', async () => {
  expect(await listImages(env)).toEqual([])
  expect(await listBases(env, [])).toEqual([])
  expect(await storedBy('mine', env)).toEqual([])
})

it('finds by name before id, and refuses what may be several', async () => {
  const one = await put(hex('a'), hex('b'))
  await nameLinuxImage('mine', one, env)
  await putOsv(`${hex('c').slice(1)}0`)
  await putOsv(`${hex('c').slice(1)}1`)
  await putBase(hex('d'), 1000)
  expect(await pickStored('mine', env)).toMatchObject({ guest: 'linux', id: one.id })
  expect(await pickStored(one.id.slice(0, 12), env)).toMatchObject({ id: one.id })
  expect(await pickStored(hex('d').slice(0, 12), env)).toMatchObject({ guest: 'osv base' })
  await expect(pickStored('cccccc', env)).rejects.toThrow(/may be osv c+, osv c+/)
  await expect(pickStored('absent', env)).rejects.toThrow(/no image "absent"/)
  await nameOsvImage('mine', `${hex('c').slice(1)}0`, env)
  await expect(pickStored('mine', env)).rejects.toThrow(/may be (linux|osv) \w{12}, (linux|osv) \w{12}/)
  expect((await openOsvBase(osv, hex('d').slice(0, 12))).id).toBe(hex('d'))
})

it('removes an image with its names and keeps what another needs', async () => {
  const one = await put(hex('a'), hex('b'))
  const two = await put(hex('a'), hex('c'))
  await nameLinuxImage('mine', one, env)
  await rememberPrograms(linux, one.id, ['/bin/true'])
  await linux.touch(USED, one.id)
  expect(await removeStored([await pickStored('mine', env)], env)).toBe(10)
  await expect(findLinuxImage('mine', env, cache)).rejects.toThrow(/no image "mine"/)
  const left = await listImages(env)
  expect(left.map(({ id }) => id)).toEqual([two.id])
  expect(await findLinuxImage(two.id.slice(0, 8), env, cache)).toEqual(two)
  expect(await removeStored(left, env)).toBe(30)
  for (const kind of ['boot', 'disk', IMAGES, NAMES, 'requests', ABOUT, USED, 'unfinished']) {
    expect(readdirSync(linux.path(kind)), kind).toEqual([])
  }
})

it('removes an OSv image, and a base without its images', async () => {
  await putBase(hex('1'), 1000)
  await putBase(hex('2'), 2000)
  await putOsv(hex('c'), hex('2'))
  await putOsv(hex('d'), hex('2'))
  await nameOsvImage('mine', hex('c'), env)
  expect(await removeStored([await pickStored('mine', env)], env)).toBe(5)
  expect([osv.names(NAMES), osv.names(ABOUT)]).toEqual([[], [hex('d')]])
  expect(await removeStored([await pickStored(hex('2'), env)], env)).toBeGreaterThan(0)
  expect(await listImages(env)).toMatchObject([{ id: hex('d'), base: hex('2'), kernel: undefined }])
  // The one that was imported before.
  expect((await openOsvBase(osv)).id).toBe(hex('1'))
  await removeStored([await pickStored(hex('1'), env)], env)
  await expect(openOsvBase(osv)).rejects.toThrow(/no OSv base yet/)
})

it('does not mind who else removes the same', async () => {
  await put(hex('a'), hex('b'))
  await put(hex('a'), hex('c'))
  await putBase(hex('1'), 1000)
  await putOsv(hex('d'), hex('1'))
  const images = await listImages(env)
  const all = [...images, ...(await listBases(env, images))]
  const looking = Array.from({ length: 3 }, async () => listBases(env, await listImages(env)))
  const freed = await Promise.all([1, 2, 3].map(() => removeStored(all, env)))
  await Promise.all(looking)
  const base = all.find(({ guest }) => guest === 'osv base')?.size ?? 0
  expect(freed.reduce((sum, each) => sum + each)).toBe(40 + 5 + base)
  expect(await removeStored(all, env)).toBe(0)
  expect(await listImages(env)).toEqual([])
})

it('keeps no job from what it does when a last use cannot be written', async () => {
  writeFileSync(join(cache, 'leet'), 'no directory')
  await linux.touch(USED, hex('a'))
  expect(linux.touched(USED, hex('a'))).toBeUndefined()
})
