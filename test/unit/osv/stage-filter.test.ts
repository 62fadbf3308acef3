// What words of the staging options choose, and how a staged directory keeps its path.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isLinked, stageLinks } from '../../../launcher/images/osv/stage-links.ts'
import { filterBelow, plainPart, stageFilter } from '../../../mpi-bridge/osv/stage-filter.ts'

const CASE = '/data/ca[s]e'
const filter = (...patterns: string[]) => filterBelow(stageFilter(patterns, [CASE]), CASE)

describe('a filter for staging', () => {
  it.each([
    ['0', '0/U', true],
    ['0', '0', true],
    ['0', '00/U', false],
    ['constant/*', 'constant/polyMesh/points', true],
    ['constant/*', 'constant', false],
    ['*.dat', 'a.dat', true],
    ['*.dat', 'deep/a.dat', false],
    ['**/*.dat', 'deep/er/a.dat', true],
    ['**/*.dat', 'a.dat', true],
    ['**', 'anything/at/all', true],
    ['run?', 'run7/log', true],
    ['run[0-3]', 'run2', true],
    ['run[!0-3]', 'run2', false],
    ['run[', 'run[', true],
    ['run[z-a]', 'run[z-a]', true],
    ['./a', 'a', true],
    ['a/', 'a/b', true],
    ['/data/ca?s?e/a', 'a/b', true],
    ['../ca*/a', 'a/b', true],
    ['../other', 'other', false],
    ['.', 'all/of/it', true],
    ['a+b(c)', 'a+b(c)', true],
  ])('%s takes %s: %s', (pattern, path, expected) => {
    expect(filter(pattern).wants(path)).toBe(expected)
  })

  it('looks only where something may be', () => {
    const { reaches } = filter('constant/polyMesh', '**/x')
    expect([reaches('constant'), reaches('other/dir')]).toEqual([true, true])
    expect(filter('constant/polyMesh').reaches('system')).toBe(false)
    expect(filter().reaches('a')).toBe(false)
  })

  it.each([
    ['a/b*/c', '/data/ca[s]e/a'],
    ['../x', '/data/x'],
    ['**', '/data/ca[s]e'],
    ['/mesh/v[12]/points', '/mesh'],
    ['/a/b', '/a/b'],
  ])('%s lies below %s', (pattern, path) => {
    expect(plainPart(pattern, CASE)).toBe(path)
  })

  it('reaches every parent of what it wants', () => {
    const name = fc.stringMatching(/^[ab*?[\]]{1,3}$/)
    const path = fc.array(fc.stringMatching(/^[ab]{1,3}$/), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(
        fc.array(fc.oneof(name, fc.constant('**')), { minLength: 1, maxLength: 3 }),
        path,
        (words, names) => {
          const chosen = filter(words.join('/'))
          if (!chosen.wants(names.join('/'))) return
          for (let depth = 1; depth < names.length; depth++) {
            expect(chosen.reaches(names.slice(0, depth).join('/'))).toBe(true)
          }
          expect(chosen.wants([...names, 'below'].join('/'))).toBe(true)
        },
      ),
    )
  })
})

describe('the links to staged directories', () => {
  const links = (directories: string[], used: string[]) => stageLinks(directories, used, '/tmp/leet')

  it('are as high as nothing else lies below', () => {
    expect(links(['/home/me/case'], ['/usr/lib/libc.so'])).toEqual([
      { path: '/home', target: '/tmp/leet/home' },
    ])
    expect(links(['/home/me/case'], ['/home/me/mpi/lib/libmpi.so'])).toEqual([
      { path: '/home/me/case', target: '/tmp/leet/home/me/case' },
    ])
  })

  it('are none for a directory in which the image has something', () => {
    const found = links(['/home/me/case'], ['/home/me/case/lib/plugin.so'])
    expect(found).toEqual([])
    expect(isLinked(found, '/home/me/case')).toBe(false)
  })

  it('are shared', () => {
    const found = links(['/home/a', '/home/b', '/data/x'], [])
    expect(found.map(({ path }) => path)).toEqual(['/data', '/home'])
    expect(isLinked(found, '/home/b')).toBe(true)
    expect(isLinked(found, '/homes/b')).toBe(false)
  })
})
