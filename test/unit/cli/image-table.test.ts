// The tables of leet image list.
import { expect, it } from 'vitest'
import { baseTable, formatAge, imageTable, storedJson } from '../../../launcher/cli/image-table.ts'
import type { StoredBase, StoredImage } from '../../../launcher/images/list.ts'

const now = new Date('2026-03-04T12:00:00Z')
const ago = (seconds: number) => new Date(now.getTime() - seconds * 1000)

const image: StoredImage = {
  guest: 'linux',
  id: '0123456789abcdef'.repeat(4),
  names: ['hello', 'world'],
  programs: ['/home/me/a.out'],
  size: 3 * 2 ** 20,
  made: ago(200),
  used: ago(3),
  kernel: '/k',
  initrd: '/i',
  disk: '/d',
  base: undefined,
}
const base: StoredBase = {
  guest: 'osv base',
  id: 'f'.repeat(64),
  version: 'v0.57.0',
  isDefault: true,
  size: 2 ** 20,
  made: ago(86_400 * 3),
  used: undefined,
  kernel: '/k',
  images: [image.id],
}

it('shows images in aligned columns', () => {
  const other: StoredImage = {
    ...image,
    ...{ guest: 'osv', names: [], used: undefined, made: ago(7200) },
    programs: ['/a/one', '/a/two', '/a/three', '/a/four', '/a/five'],
  }
  const old = { ...image, names: [], programs: [], made: ago(86_400 * 60) }
  expect(imageTable([image, other, old], now)).toEqual([
    'NAME         ID            GUEST  PROGRAMS          SIZE     AGE    LAST USED',
    'hello,world  0123456789ab  linux  a.out             3.0 MiB  3 min  3 s',
    '-            0123456789ab  osv    one,two,three,+2  3.0 MiB  2 h    never',
    '-            0123456789ab  linux  -                 3.0 MiB  60 d   3 s',
  ])
})

it('shows bases', () => {
  expect(baseTable([base, { ...base, version: undefined, isDefault: false }], now)).toEqual([
    'OSV BASE      VERSION            IMAGES  SIZE     AGE  LAST USED',
    'ffffffffffff  v0.57.0 (default)  1       1.0 MiB  3 d  never',
    'ffffffffffff  -                  1       1.0 MiB  3 d  never',
  ])
})

it.each([
  [-5, '0 s'],
  [59.9, '59 s'],
  [60, '1 min'],
  [3599, '59 min'],
  [3600, '1 h'],
  [47 * 3600, '47 h'],
  [48 * 3600, '2 d'],
])('says %d seconds as %s', (seconds, text) => expect(formatAge(ago(seconds), now)).toBe(text))

it('is whole in JSON', () => {
  expect(storedJson(image)).toMatchObject({
    id: image.id,
    size: 3 * 2 ** 20,
    made: '2026-03-04T11:56:40.000Z',
  })
  expect(storedJson(base)).toMatchObject({ guest: 'osv base', used: null, images: [image.id] })
})
