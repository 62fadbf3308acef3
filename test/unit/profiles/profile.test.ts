// Profiles: what their files may say, what is refused, whose they are, and what they add on this host.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { silentLog } from '../../../common/index.ts'
import { profileAdditions } from '../../../launcher/profiles/apply.ts'
import { allProfiles, findProfile } from '../../../launcher/profiles/find.ts'
import { parseProfile } from '../../../launcher/profiles/parse.ts'
import { expand, recognises } from '../../../launcher/profiles/profile.ts'

const parse = (text: string) => parseProfile(text, 'x', 'x.yaml')

describe('parseProfile', () => {
  it('reads all keys as texts', () => {
    const profile = parse(
      'about: a code\nrecognise: {libraries: [libA.so], programs: [a*]}\nenvironment: {N: 01}\nfiles: [/a]\nlibraries: [b]\nask: [c, d]',
    )
    expect(profile).toEqual({
      name: 'x',
      about: 'a code',
      recognise: { libraries: ['libA.so'], programs: ['a*'] },
      environment: { N: '01' },
      files: ['/a'],
      libraries: ['b'],
      ask: ['c', 'd'],
    })
  })

  it.each([
    { text: 'fils: [a]', says: /"fils" is not a key/ },
    { text: 'files: a', says: /"files" is not a list/ },
    { text: 'files: [[a]]', says: /holds what is not a text/ },
    { text: 'recognise: {library: [a]}', says: /"library" is not a key/ },
    { text: '[a]', says: /not a map/ },
    { text: 'files: [a\n', says: /x.yaml/ },
  ])('refuses $text', ({ text, says }) => {
    expect(() => parse(text)).toThrow(says)
  })

  it('never fails in another way', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parse(text)
        } catch (error) {
          expect(error).toMatchObject({ code: 'LEET_E_USAGE' })
        }
      }),
    )
  })
})

describe('recognises', () => {
  const profile = parse('recognise: {libraries: [libA.so], programs: [tool, py3.*]}')
  it.each([
    { files: ['x', 'libA.so'], result: true },
    { files: ['x', 'libA.so.1'], result: false },
    { files: ['py3.11'], result: true },
    { files: ['tools'], result: false },
  ])('$files: $result', ({ files, result }) => {
    expect(recognises(profile, files)).toBe(result)
  })
})

it('fills in variables, or nothing at all', () => {
  expect(expand('${A}/etc:${B}', { A: '/a', B: 'b' })).toBe('/a/etc:b')
  expect(expand('${A}/etc', {})).toBeUndefined()
  expect(expand('$A $(x)', { A: 'a' })).toBe('$A $(x)')
})

describe('on this host', () => {
  let directory: string
  let env: NodeJS.ProcessEnv
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'leet-profile-'))
    mkdirSync(join(directory, 'leet/profiles'), { recursive: true })
    env = { XDG_CONFIG_HOME: directory, PATH: process.env.PATH }
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))
  const own = (name: string, text: string) =>
    writeFileSync(join(directory, 'leet/profiles', `${name}.yaml`), text)
  const program = {
    path: '/opt/code/solver',
    kind: 'dynamic' as const,
    mpi: { flavour: 'none' as const },
    missing: [],
  }
  const additions = (words: string[], libraries: string[] = []) =>
    profileAdditions({
      words,
      programs: [{ ...program, files: [program.path, ...libraries], interpreters: [] }],
      env,
      directory,
      log: silentLog,
    })

  it('all that come with LEET can be read', async () => {
    const all = await allProfiles({ HOME: directory })
    expect(all.map(({ name }) => name)).toEqual(['generic', 'mpi4py', 'openfoam'])
  })

  it("takes the user's before LEET's own, and a file by its path", async () => {
    own('openfoam', 'about: mine')
    expect(await findProfile('openfoam', env, directory)).toMatchObject({ about: 'mine' })
    expect(await findProfile('./leet/profiles/openfoam.yaml', env, directory)).toMatchObject({
      about: 'mine',
    })
    await expect(findProfile('openfaom', env, directory)).rejects.toThrow(/no profile "openfaom"/)
  })

  it('adds files that are there, asks a command, and sets what the user has not', async () => {
    writeFileSync(join(directory, 'table'), '')
    own(
      'code',
      'recognise: {libraries: [libcode.so]}\nenvironment: {CODE_DIR: "/none", SET: a}\nfiles: ["${HERE}/table", "${HERE}/absent", "${UNSET}/x"]\nask: [echo, "${HERE}/leet"]',
    )
    Object.assign(env, { HERE: directory, SET: 'mine' })
    const expected = {
      files: [join(directory, 'table'), join(directory, 'leet')],
      variables: ['CODE_DIR=/none'],
    }
    expect(await additions([], ['/opt/code/libcode.so'])).toEqual(expected)
    expect(await additions(['code'])).toEqual(expected)
    expect(await additions(['none'], ['/opt/code/libcode.so'])).toEqual({ files: [], variables: [] })
    expect(await additions([])).toEqual({ files: [], variables: [] })
  })

  it('finds libraries beside the one by which the program was recognised', async () => {
    writeFileSync(join(directory, 'libcode.so'), '')
    writeFileSync(join(directory, 'libmore.so'), '')
    own('code', 'recognise: {libraries: [libcode.so]}\nlibraries: [libmore.so, libabsent.so]')
    const { files } = await additions([], [join(directory, 'libcode.so')])
    expect(files).toEqual([join(directory, 'libmore.so')])
  })

  it('finds the libraries that an OpenFOAM case names, however it does', async () => {
    mkdirSync(join(directory, 'system'))
    mkdirSync(join(directory, 'constant'))
    for (const name of ['OpenFOAM', 'one', 'two', 'three', 'four', 'mine', 'unused'])
      writeFileSync(join(directory, `lib${name}.so`), '')
    writeFileSync(
      join(directory, 'system/controlDict'),
      'application simpleFoam;\nlibs ("libone.so" two\n  "libabsent.so");\nfunctions { f { libs (mine); } }\n',
    )
    writeFileSync(join(directory, 'constant/dynamicMeshDict'), 'motionSolverLibs ( libthree.so );\n')
    writeFileSync(join(directory, 'system/sampling.gz'), gzipSync('samples { libs (four); }\n'))
    env.LD_LIBRARY_PATH = join(directory, 'own')
    mkdirSync(env.LD_LIBRARY_PATH)
    writeFileSync(join(directory, 'own/libmine.so'), '')
    const { files } = await additions([], [join(directory, 'libOpenFOAM.so')])
    const found = files.filter((file) => file.startsWith(directory))
    expect(found.toSorted()).toEqual(
      ['libfour.so', 'libone.so', 'libthree.so', 'libtwo.so', 'own/libmine.so'].map((name) =>
        join(directory, name),
      ),
    )
  })
})
