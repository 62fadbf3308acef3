import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { findProgram, inspectProgram, openProgram } from '../../../launcher/images/inspect.ts'
import { hostLoaderSettings, LinkMap } from '../../../launcher/images/loader.ts'
import { describeWith } from '../../support/needs.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** What the real loader maps, without the kernel's vdso: `ldd` asks it. */
function asLdd(program: string, env: Environment): Map<string, string> {
  const output = execFileSync('ldd', [program], { encoding: 'utf8', env: { PATH: process.env.PATH, ...env } })
  const found = new Map<string, string>()
  for (const [, name, path] of output.matchAll(/^\t(\S+) => (\S+) \(0x/gm)) {
    found.set(name as string, realpathSync(path as string))
  }
  return found
}

/** The same by our reading: the name each library was asked for, and its file. */
function asWe(program: string, env: Environment): Map<string, string> {
  const map = new LinkMap(program, hostLoaderSettings(env, '/'))
  expect(map.missing).toEqual([])
  return new Map(map.objects.slice(2).map(({ path, elf }) => [elf.soname ?? path, realpathSync(path)]))
}

describeWith(['gcc', 'ldd'], 'the loader, against ld.so', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'leet-loader-')))
  afterAll(() => rmSync(folder, { recursive: true }))
  const at = (...names: string[]) => join(folder, ...names)
  const gcc = (...args: string[]) => execFileSync('gcc', ['-Wl,--no-as-needed', ...args], { cwd: folder })
  const search = (kind: 'rpath' | 'runpath', path: string) =>
    `-Wl,--${kind === 'rpath' ? 'disable' : 'enable'}-new-dtags,-rpath,${path}`
  for (const name of ['a', 'b', 'c', 'user', 'bin', 'links']) mkdirSync(at(name))
  writeFileSync(at('empty.c'), 'int nothing;')
  writeFileSync(at('main.c'), 'int main(void) { return 0; }')
  // The same library in three places; who finds which depends on the rules alone.
  for (const place of ['a', 'b', 'c', 'user']) {
    gcc('-shared', '-fPIC', '-Wl,-soname,libinner.so', '-o', `${place}/libinner.so`, 'empty.c')
  }
  const outer = (file: string, ...args: string[]) =>
    gcc('-shared', '-fPIC', `-Wl,-soname,${file}`, '-o', `a/${file}`, 'empty.c', '-Lb', '-linner', ...args)
  outer('libplain.so')
  outer('librun.so', search('runpath', at('b')))
  outer('librpath.so', search('rpath', at('c')))
  const program = (name: string, library: string, ...args: string[]) => {
    gcc('-o', `bin/${name}`, 'main.c', '-La', `-l${library}`, '-Wl,-rpath-link,b', ...args)
    return at('bin', name)
  }
  const cases: readonly (readonly [string, string, Environment])[] = [
    [
      'RPATH of the program serves its libraries',
      program('p1', 'plain', search('rpath', '$ORIGIN/../a')),
      {},
    ],
    [
      'RUNPATH of a library before the default, not for others',
      program('p2', 'run', search('runpath', at('a'))),
      {},
    ],
    [
      'a library with RUNPATH does not see RPATH of the program',
      program('p3', 'run', search('rpath', at('a'))),
      {},
    ],
    ['RPATH of the library before that of the program', program('p4', 'rpath', search('rpath', at('a'))), {}],
    [
      'LD_LIBRARY_PATH after RPATH',
      program('p5', 'plain', search('rpath', at('a'))),
      { LD_LIBRARY_PATH: at('user') },
    ],
    [
      'LD_LIBRARY_PATH before RUNPATH',
      program('p6', 'run', search('runpath', at('a'))),
      { LD_LIBRARY_PATH: at('user') },
    ],
    ['tokens in braces', program('p7', 'plain', search('rpath', '$' + '{ORIGIN}/../a')), {}],
  ]

  it.each(cases)('%s', (_, path, env) => {
    const ours = asWe(path, env)
    expect(ours.get('libinner.so')).toBeDefined()
    expect(ours).toEqual(asLdd(path, env))
  })

  it('finds $ORIGIN of a program behind a symbolic link', () => {
    symlinkSync(at('bin', 'p1'), at('links', 'p1'))
    expect(asWe(at('links', 'p1'), {})).toEqual(asLdd(at('links', 'p1'), {}))
  })

  it('takes the library that was mapped first for all who ask for its name', () => {
    gcc(
      '-o',
      'bin/p8',
      'main.c',
      '-Lc',
      '-linner',
      '-La',
      '-lrun',
      '-Wl,-rpath-link,b',
      search('rpath', `${at('c')}:${at('a')}`),
    )
    expect(asWe(at('bin', 'p8'), {})).toEqual(asLdd(at('bin', 'p8'), {}))
  })

  it('includes what LD_PRELOAD names', () => {
    const map = new LinkMap(
      at('bin', 'p1'),
      hostLoaderSettings({ LD_PRELOAD: at('user', 'libinner.so') }, '/'),
    )
    expect(map.objects.find(({ elf }) => elf.soname === 'libinner.so')?.path).toBe(at('user', 'libinner.so'))
  })

  it('names a library that is missing and who needs it', async () => {
    gcc('-o', 'bin/lost', 'main.c', '-La', '-lplain', '-Wl,-rpath-link,b', search('rpath', at('nowhere')))
    const facts = await inspectProgram(at('bin', 'lost'), {}, '/')
    expect(facts.missing).toEqual([{ name: 'libplain.so', neededBy: at('bin', 'lost') }])
    gcc('-o', 'bin/deep', 'main.c', '-La', '-lplain', '-Wl,-rpath-link,b', search('runpath', at('a')))
    expect((await inspectProgram(at('bin', 'deep'), {}, '/')).missing).toEqual([
      { name: 'libinner.so', neededBy: at('a', 'libplain.so') },
    ])
  })

  it('leaves no trace of a plug-in that could not be used', () => {
    const map = new LinkMap(at('bin', 'p1'), hostLoaderSettings({}, '/'))
    const before = map.objects.length
    gcc(
      '-shared',
      '-fPIC',
      '-o',
      'a/plugin.so',
      'empty.c',
      '-La',
      '-lrpath',
      '-lplain',
      search('runpath', at('nowhere')),
    )
    gcc('-shared', '-fPIC', '-o', 'a/good.so', 'empty.c', '-Lc', '-linner', search('runpath', at('c')))
    expect(map.openPlugin(at('a', 'plugin.so'), map.program)).toMatchObject({ name: 'librpath.so' })
    expect(map.objects).toHaveLength(before)
    expect(map.openPlugin(at('a', 'good.so'), map.program)).toBeUndefined()
    expect(map.objects).toHaveLength(before + 1)
    expect(map.missing).toEqual([])
  })

  it.each(['/bin/ls', '/usr/bin/gcc', '/usr/bin/git', '/usr/bin/perl', '/usr/bin/env'])(
    'maps %s as ld.so does',
    (path) => {
      expect(asWe(path, {})).toEqual(asLdd(path, {}))
    },
  )
})

describeWith(['musl-gcc'], 'the loader of musl', () => {
  it('is itself the C library', () => {
    const folder = mkdtempSync(join(tmpdir(), 'leet-musl-'))
    try {
      writeFileSync(join(folder, 'main.c'), 'int main(void) { return 0; }')
      execFileSync('musl-gcc', ['-o', 'main', 'main.c'], { cwd: folder })
      const map = new LinkMap(join(folder, 'main'), hostLoaderSettings({}, '/'))
      expect(map.missing).toEqual([])
      expect(map.objects.map(({ path }) => path)).toEqual([join(folder, 'main'), map.program.elf.interpreter])
      expect(map.program.elf.needed).not.toEqual([])
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe('programs', () => {
  const folder = mkdtempSync(join(tmpdir(), 'leet-program-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const script = (name: string, text: string, mode = 0o755) => {
    writeFileSync(join(folder, name), text, { mode })
    return join(folder, name)
  }
  const env = { PATH: `${folder}:/usr/bin:/bin` }
  const open = (path: string) => openProgram(path, env, hostLoaderSettings(env, '/'))

  it('are found as execvp finds them', () => {
    script('tool', '#!/bin/sh\n')
    expect(findProgram('tool', env, '/')).toBe(join(folder, 'tool'))
    expect(findProgram('./tool', env, folder)).toBe(join(folder, 'tool'))
    expect(findProgram('tool', { PATH: ':/usr/bin' }, folder)).toBe(join(folder, 'tool'))
    expect(() => findProgram('tool', { PATH: '/usr/bin' }, folder)).toThrow('tool: is not on PATH')
    expect(() => findProgram('./none', env, folder)).toThrow(`${folder}/none: cannot be found`)
    expect(() => findProgram('/', env, folder)).toThrow('is a directory or a device')
    expect(() => findProgram('', env, folder)).toThrow('names no program')
  })

  it('that are scripts bring their interpreters', () => {
    const sh = open(script('a.sh', '#! /bin/sh -e\necho\n'))
    expect(sh).toMatchObject({ kind: 'script', interpreters: [{ path: '/bin/sh', kind: 'dynamic' }] })
    const env2 = open(script('b', '#!/usr/bin/env -S A=1 sh -x\n'))
    expect(env2.interpreters.map(({ path }) => path)).toEqual(['/usr/bin/env', '/usr/bin/sh'])
    const nested = open(script('c', `#!${join(folder, 'a.sh')}\n`))
    expect(nested.interpreters[0]?.interpreters[0]?.path).toBe('/bin/sh')
  })

  it('that cannot run are refused', () => {
    expect(() => open(script('text', 'hello\n'))).toThrow('is neither an ELF program nor a script')
    expect(() => open(script('relative', '#!sh\n'))).toThrow('without the absolute path of an interpreter')
    expect(() => open(script('gone', '#!/no/such/interpreter\n'))).toThrow(
      '/no/such/interpreter: cannot be found',
    )
    expect(() => open(script('loop', `#!${join(folder, 'loop')}\n`))).toThrow('without end')
    expect(() => open(script('cut', '\x7fELF\x02\x01'))).toThrow('it is cut short')
    expect(
      () => open(script('shared.sh', '#!/bin/sh\n', 0o644)) && findProgram('shared.sh', env, '/'),
    ).toThrow()
  })
})
