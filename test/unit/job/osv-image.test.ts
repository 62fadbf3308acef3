// Images of the store that --image names for OSv guests: what does not fit the job is refused, and working directories are
// found where they can be.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Log } from '../../../common/index.ts'
import { BASES, DEFAULT, osvStore } from '../../../launcher/images/osv/base.ts'
import {
  nameOsvImage,
  OSV_IMAGES,
  type OsvImageFacts,
  programStamp,
  rememberOsvImage,
} from '../../../launcher/images/osv/remembered.ts'
import type { ImageStore } from '../../../launcher/images/store.ts'
import { findImage, namedImage, placesToMount } from '../../../launcher/job/guest-image.ts'
import type { ImageWish } from '../../../launcher/job/job-image.ts'
import type { GuestPlan, JobPlan } from '../../../launcher/plan/plan.ts'
import type { Settings } from '../../../launcher/plan/settings.ts'

const ID = 'c'.repeat(64)
const BASE = 'b'.repeat(64)
const DISK_LINK = { path: '/home', target: '/leet/work/home' }
const MEMORY_LINK = { path: '/home', target: '/tmp/leet/home' }

let folder: string
let store: ImageStore
let said: string[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'leet-osv-image-'))
  vi.stubEnv('XDG_CACHE_HOME', folder)
  store = osvStore(process.env)
  said = []
  mkdirSync(store.path(BASES, BASE), { recursive: true })
  const entries = [{ guest: '/usr/lib/fs/libext.so', kind: 'file', file: 'x' }]
  const base = { format: 2, tls: true, cloudInit: true, nfs: 'mount-fs.so', entries }
  writeFileSync(store.path(BASES, BASE, 'base.json'), JSON.stringify(base))
  writeFileSync(store.path(BASES, BASE, 'kernel.elf'), 'kernel')
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true })
})

async function put(facts: Partial<OsvImageFacts> | undefined) {
  mkdirSync(store.path(OSV_IMAGES, ID), { recursive: true })
  writeFileSync(store.path(OSV_IMAGES, ID, 'disk.img'), 'disk')
  await nameOsvImage('mine', ID, process.env)
  if (!facts) return
  const programs = [
    { host: '/bin/true', guest: '/leet/hidden/bin/true', stamp: programStamp('/bin/true') ?? '' },
  ]
  const all = { base: BASE, compat: true, links: [], mountPoints: [], programs, ...facts }
  await rememberOsvImage(store, ID, all)
}

const log: Log = {
  note: (line) => said.push(`note: ${line}`),
  warn: (line) => said.push(`warning: ${line}`),
  detail: (line) => said.push(line),
}

function wish(more: Partial<Omit<ImageWish, 'plan'>> & { ranks?: number[]; nfs?: string } = {}): ImageWish {
  const { ranks = [0], nfs, ...rest } = more
  const guest = { ranks } as unknown as GuestPlan
  const mount = { kind: 'nfs', path: nfs, server: 'server', directory: '/export', options: [] }
  const plan = {
    ...{ guestKind: 'osv', guests: [guest], mounts: nfs === undefined ? [] : [mount] },
    programs: [{ workDir: '/home/me/case' }],
    staging: { when: 'auto', add: [] },
    network: { mode: 'user' },
  } as unknown as JobPlan
  const settings = { image: { name: 'mine' }, guest: {} } as unknown as Settings
  return { programs: ['/bin/true'], plan, settings, log, ...rest }
}

it('boots the kernel of its base with the disk, and knows where its programs are', async () => {
  await put({})
  expect(await namedImage(wish())).toMatchObject({
    id: ID,
    image: {
      kind: 'osv',
      kernel: store.path(BASES, BASE, 'kernel.elf'),
      disk: store.path(OSV_IMAGES, ID, 'disk.img'),
      ...{ compat: true, tls: true, mountTool: 'mount-fs.so', links: [] },
      programs: { '/bin/true': '/leet/hidden/bin/true' },
    },
  })
  expect(said).toEqual([
    '/home/me/case comes into the memory of guests: the image mine has no way to it on a disk',
  ])
})

it('is taken by its id, and that is remembered', async () => {
  await put({})
  const settings = { image: { name: ID.slice(0, 12) } } as unknown as Settings
  const order = { ...wish({ settings }), onEvent: () => {}, cancel: new AbortController().signal }
  await findImage(order)
  expect([store.touched('used', ID), store.touched('used', BASE)]).toEqual([
    expect.any(Date),
    expect.any(Date),
  ])
})

it('leads to a disk only guests that may have one', async () => {
  await put({ links: [DISK_LINK] })
  const links = async (more: Parameters<typeof wish>[0]) => {
    const found = await namedImage(wish(more))
    return found?.image.kind === 'osv' ? found.image.links : undefined
  }
  expect(await links({})).toEqual([DISK_LINK])
  expect(said).toEqual([])
  expect(await links({ ranks: [0, 1] })).toEqual([])
  expect(said).toHaveLength(1)
  expect(await links({ keep: true })).toEqual([])
})

it('leads no program to a disk whose threads may write at once, and says so', async () => {
  await put({ links: [DISK_LINK] })
  const own = wish()
  const programs = [{ ...own.plan.programs[0], argv: ['/bin/true'], threads: 'libgomp.so.1' }]
  const found = await namedImage({ ...own, plan: { ...own.plan, programs } as unknown as JobPlan })
  expect(found?.image).toMatchObject({ links: [] })
  expect(said).toContainEqual(expect.stringMatching(/note: .*memory of guests: \/bin\/true has libgomp/))
})

it('keeps the ways into memory', async () => {
  await put({ links: [MEMORY_LINK] })
  expect(await namedImage(wish({ ranks: [0, 1] }))).toMatchObject({ image: { links: [MEMORY_LINK] } })
})

it('is refused without a program of the job', async () => {
  await put({})
  await expect(namedImage(wish({ programs: ['/bin/true', '/bin/false'] }))).rejects.toMatchObject({
    code: 'LEET_E_PROGRAM',
    exitCode: 127,
    message: expect.stringContaining('/bin/false: is not in the image mine'),
  })
})

it('warns of a program that is another now', async () => {
  await put({ programs: [{ host: '/bin/true', guest: '/bin/true', stamp: '1:1' }] })
  await namedImage(wish({ keep: true }))
  expect(said).toEqual([expect.stringMatching(/^warning: \/bin\/true has changed/)])
})

it('is refused where it has no place for a mount', async () => {
  await put({ mountPoints: ['/data'] })
  expect(await placesToMount(wish().settings)).toEqual(['/data'])
  await expect(namedImage(wish({ nfs: '/home/me' }))).rejects.toMatchObject({
    details: { hint: expect.stringContaining('--mount-point /home/me') },
  })
  await namedImage(wish({ nfs: '/data' }))
})

it('has no place for any mount on a base without an NFS client', async () => {
  await put({ mountPoints: ['/data'] })
  const base = { format: 2, tls: true, cloudInit: true, entries: [] }
  writeFileSync(store.path(BASES, BASE, 'base.json'), JSON.stringify(base))
  await store.remember(DEFAULT, 'base', BASE)
  const { settings } = wish()
  const unnamed = { ...settings, image: { ...settings.image, name: undefined } }
  expect([await placesToMount(settings), await placesToMount(unnamed)]).toEqual([[], []])
  await expect(namedImage(wish({ nfs: '/data' }))).rejects.toMatchObject({
    code: 'LEET_E_OSV_BASE',
    message: expect.stringContaining('cannot mount /data'),
  })
})

it('is refused without its base, or when nothing of it was remembered', async () => {
  await put(undefined)
  await expect(namedImage(wish())).rejects.toThrow(/nobody knows what is in it/)
  await put({ base: 'd'.repeat(64) })
  await expect(namedImage(wish())).rejects.toMatchObject({ code: 'LEET_E_OSV_BASE' })
})

it('says how to get one where there is none', async () => {
  await expect(namedImage(wish())).rejects.toMatchObject({
    code: 'LEET_E_USAGE',
    details: { hint: expect.stringContaining('leet image compose --guest osv --name') },
  })
})
