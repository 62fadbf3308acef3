// leet.yaml: what it may say, where a mistake is, and who is heard first.
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { LeetError } from '../../../common/index.ts'
import { OPTIONS } from '../../../launcher/cli/options.ts'
import { readSettings } from '../../../launcher/cli/settings.ts'
import { configurable, parseConfig } from '../../../launcher/config/file.ts'
import { configPaths, loadConfigs } from '../../../launcher/config/load.ts'
import { configSchema } from '../../../launcher/config/schema.ts'
import { showConfig } from '../../../launcher/config/show.ts'
import { isNegated, whatWasSaid } from '../../../launcher/config/sources.ts'
import { type OptionSpec, parseCommandWords } from '../../../mpi-bridge/index.ts'

const parse = (text: string, path = 'leet.yaml') => parseConfig(text, path, OPTIONS)
const failureOf = (text: string): Promise<unknown> =>
  parse(text).then(
    () => undefined,
    (error) => error,
  )
const specOf = (key: string) => OPTIONS.find((option) => option.key === key) as OptionSpec

/** Settings from a command line, an environment and files from strong to weak. */
async function settings(line: string, environment: NodeJS.ProcessEnv, ...texts: string[]) {
  const files = await Promise.all(texts.map((text, index) => parse(text, `file${index}`)))
  return readSettings(parseCommandWords(OPTIONS, line.split(' ')), environment, files)
}

describe('leet.yaml', () => {
  it.each([
    ['nested', 'guest:\n  memory: 2G\n  cpus: 3'],
    ['dotted', 'guest.memory: 2G\nguest.cpus: 3'],
    ['both', 'guest.memory: 2G\nguest: {cpus: 3}'],
  ])('takes keys %s', async (_form, text) => {
    expect((await settings('-n 2 a', {}, text)).guest).toMatchObject({ memory: 2 ** 31, cpus: 3 })
  })

  it('sets what has a key and further keys below it', async () => {
    const { network } = await settings('a', {}, 'network: local\nnetwork.subnet: 10.9.0.0/16')
    expect(network).toMatchObject({ mode: 'local', subnet: '10.9.0.0/16' })
  })

  it('hears the command line, the environment, and files in this order', async () => {
    const environment = { LEET_GUEST_MEMORY: '2G' }
    const texts = ['guest.memory: 3G', 'guest.memory: 4G']
    const memory = async (line: string, env: NodeJS.ProcessEnv, ...files: string[]) =>
      ((await settings(line, env, ...files)).guest.memory ?? 0) / 2 ** 30
    expect(await memory('--guest-memory 1G a', environment, ...texts)).toBe(1)
    expect(await memory('a', environment, ...texts)).toBe(2)
    expect(await memory('a', {}, ...texts)).toBe(3)
    expect(await memory('a', {}, 'guest: {cpus: 1}', texts[1] as string)).toBe(4)
  })

  it('adds up mounts and variables of all sources, the strongest last', async () => {
    const { mounts, programs } = await settings(
      '--mount s:/a:/a -x A=1 a',
      { LEET_MOUNTS: 's:/b:/b s:/c:/c' },
      'mounts: s:/d:/d\nexport: [A=2]',
      'mounts: [s:/e:/e]\ngenv: {B: 3, C: 07}',
    )
    expect(mounts.wishes.map(({ text, where }) => [text, where])).toEqual([
      ['s:/e:/e', 'file1:1:10'],
      ['s:/d:/d', 'file0:1:9'],
      ['s:/b:/b', 'LEET_MOUNTS'],
      ['s:/c:/c', 'LEET_MOUNTS'],
      ['s:/a:/a', '--mount'],
    ])
    expect(programs[0]?.exports).toEqual(['B=3', 'C=07', 'A=2', 'A=1'])
  })

  it('has a list of hosts replaced by a stronger one', async () => {
    expect((await settings('-H a,b x', {}, 'hosts: [c, d]')).allocation.hosts).toBe('a,b')
    expect((await settings('x', {}, 'hosts: [c, d]')).allocation.hosts).toBe('c,d')
  })

  it('turns switches on and off', async () => {
    expect((await settings('a', {}, 'verbose: true')).verbose).toBe(true)
    expect((await settings('a', {}, 'verbose: false', 'verbose: true')).verbose).toBe(false)
    expect((await settings('a', {}, 'finalize-rescue: false')).finalizeRescue).toBe(false)
    expect((await settings('a', {}, 'finalize-rescue: true', 'finalize-rescue: false')).finalizeRescue).toBe(
      true,
    )
  })

  it('says nothing when it is empty', async () => {
    for (const text of ['', '# nothing\n', '---\n', '{}']) expect((await parse(text)).options.size).toBe(0)
  })

  it.each([
    ['guest:\n  memry: 2G', 'leet.yaml:2:3', 'guest.memry', 'guest.memory'],
    ['guests: 2\nmount: s:/a:/a', 'leet.yaml:2:1', '"mount"', 'mounts'],
    ['version: true', 'leet.yaml:1:1', 'version', undefined],
    ['guest: linux', 'leet.yaml:1:1', 'guest', undefined],
    ['guest.memory: {a: 1}', 'leet.yaml:1:15', 'single value', undefined],
    ['guest.memory: [1G, 2G]', 'leet.yaml:1:15', 'single value', undefined],
    ['guest.memory:', 'leet.yaml:1:14', 'no value', undefined],
    ['guest.memory: 1G\nguest: {memory: 2G}', 'leet.yaml:2:9', 'twice', undefined],
    ['verbose: yes', 'leet.yaml:1:10', 'true or false', undefined],
    ['genv: A=1', 'leet.yaml:1:7', 'mapping', undefined],
    ['- a', 'leet.yaml:1:1', 'mapping', undefined],
    ['a: b: c', 'leet.yaml:1:4', 'YAML', undefined],
    ['guests: &a 1\nranks: *a', 'leet.yaml:2:8', 'single value', undefined],
    ['guests: 1\nguests: 2', 'leet.yaml:2:1', 'YAML', undefined],
    ['? [a]\n: 1', 'leet.yaml:1:3', 'single value', undefined],
  ])('refuses %j with its place', async (text, where, word, hint) => {
    const error = await parse(text).catch((thrown) => thrown)
    expect(error).toMatchObject({ code: 'LEET_E_CONFIG', exitCode: 2, details: { where } })
    expect(error.message).toContain(word)
    if (hint !== undefined) expect(error.details.hint).toBe(hint)
  })

  it('names file, line and column when a value is wrong', async () => {
    await expect(settings('a', {}, 'guest:\n  memory: 2X')).rejects.toThrow(/^file0:2:11: "2X" is not a size/)
  })

  it('is told by nothing but LeetErrors what is wrong with any text', async () => {
    const fragments = fc.constantFrom(
      ...[
        'guest',
        'memory',
        'mounts',
        ':',
        '- ',
        '\n',
        '  ',
        '{',
        '}',
        '[',
        '&a',
        '*a',
        '!!map',
        '|',
        '"',
        '%',
      ],
    )
    const texts = fc.oneof(
      fc.uint8Array().map((bytes) => Buffer.from(bytes).toString('utf8')),
      fc.array(fragments, { maxLength: 40 }).map((parts) => parts.join('')),
    )
    await fc.assert(
      fc.asyncProperty(texts, async (text) => {
        const failure = await failureOf(text)
        return failure === undefined || failure instanceof LeetError
      }),
      { numRuns: 300 },
    )
    for (const deep of ['['.repeat(2_000), '- '.repeat(3_000)]) {
      expect((await failureOf(deep)) instanceof LeetError).toBe(true)
    }
  })

  it('gives back what was written, in either form', async () => {
    const word = fc.string({ unit: 'grapheme-ascii', minLength: 1 })
    const single = configurable(OPTIONS).filter(({ takes, repeats }) => takes.length === 1 && !repeats)
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...single), word, fc.boolean(), async (spec, value, nested) => {
        const [first, ...rest] = spec.key.split('.') as [string, ...string[]]
        const document =
          nested && rest.length > 0 ? { [first]: { [rest.join('.')]: value } } : { [spec.key]: value }
        const { options } = await parse(stringify(document))
        expect(options.get(spec.key)?.map(({ words }) => words)).toEqual([[value]])
      }),
    )
  })
})

describe('the variable of a switch', () => {
  const said = (text: string) =>
    whatWasSaid(specOf('osv.insecure-api'), {
      ...{ flags: new Map(), files: [] },
      environment: { LEET_OSV_INSECURE_API: text },
    })
  it('is true or false, as in files', () => {
    expect(said('true')).toMatchObject([{ words: [], where: 'LEET_OSV_INSECURE_API' }])
    expect(said('false')).toEqual([])
    expect(() => said('no')).toThrow(expect.objectContaining({ code: 'LEET_E_USAGE' }))
  })
})

describe('the strongest source', () => {
  it('is the one that counts, whatever the others say', () => {
    const spec = specOf('guest.memory')
    const said = (words: string[], source: string) => [{ words, where: source, source }]
    fc.assert(
      fc.property(fc.array(fc.option(fc.string())), (values) => {
        const files = values.map((value, index) => ({
          path: `f${index}`,
          options: new Map(value === null ? [] : [[spec.key, said([value], `f${index}`)]]),
        }))
        const strongest = values.find((value) => value !== null)
        const found = whatWasSaid(spec, { flags: new Map(), environment: {}, files })
        expect(found.map(({ words }) => words)).toEqual(strongest === undefined ? [] : [[strongest]])
      }),
    )
  })
})

describe('files', () => {
  const folder = mkdtempSync(join(tmpdir(), 'leet-config-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const write = (name: string, text: string, mode = 0o644) => {
    const path = join(folder, name)
    writeFileSync(path, text)
    chmodSync(path, mode)
    return path
  }

  it('are those of the directory, the user and the site', () => {
    expect(configPaths({ HOME: '/home/u' }, '/w')).toEqual([
      '/w/leet.yaml',
      '/home/u/.config/leet/leet.yaml',
      '/etc/leet/leet.yaml',
    ])
    expect(configPaths({ HOME: '/home/u', XDG_CONFIG_HOME: '/c' }, '/c/leet')).toEqual([
      '/c/leet/leet.yaml',
      '/etc/leet/leet.yaml',
    ])
  })

  it('are read when they are there', async () => {
    const path = write('a.yaml', 'guests: 2')
    const read = await loadConfigs([join(folder, 'none.yaml'), path, join(path, 'leet.yaml')], OPTIONS)
    expect(read.map((file) => file.path)).toEqual([path])
  })

  it('that others may write are refused', async () => {
    const open = write('open.yaml', 'guests: 2', 0o666)
    await expect(loadConfigs([open], OPTIONS)).rejects.toMatchObject({ code: 'LEET_E_CONFIG' })
    if (process.getuid?.() !== 0) return
    const strange = write('strange.yaml', 'guests: 2')
    chownSync(strange, 4242, 4242)
    await expect(loadConfigs([strange], OPTIONS)).rejects.toThrow(/belongs to uid 4242/)
  })

  it('that are none, or too long, are refused', async () => {
    const directory = join(folder, 'directory')
    mkdirSync(directory)
    await expect(loadConfigs([directory], OPTIONS)).rejects.toMatchObject({ code: 'LEET_E_CONFIG' })
    await expect(loadConfigs([write('long', '#'.repeat(70_000))], OPTIONS)).rejects.toThrow(/longer/)
  })
})

describe('leet config', () => {
  it('has each option with its value and origin', async () => {
    const file = await parse(
      'guest.memory: 2G\nverbose: false\nmounts: [s:/a:/a, s:/b:/b]\nfinalize-rescue: false',
    )
    const sources = { flags: new Map(), environment: { LEET_GUESTS: '3' }, files: [file] }
    const lines = showConfig(OPTIONS, sources, ['leet.yaml', '/etc/leet/leet.yaml'])
    const rows = lines.map((line) => line.split(/ {2,}/))
    for (const row of [
      ['guest.memory', '2G', 'leet.yaml:1:15'],
      ['guests', '3', 'LEET_GUESTS'],
      ['guest.boot-timeout', '120 s, of a disk image 5 min', 'default'],
      ['verbose', 'false', 'leet.yaml'],
      ['timings', 'false', 'default'],
      ['finalize-rescue', 'false', 'leet.yaml:4:18'],
      ['mounts', 's:/a:/a', 'leet.yaml:3:10'],
      ['mounts', 's:/b:/b', 'leet.yaml:3:19'],
    ]) {
      expect(rows).toContainEqual(row)
    }
    expect(lines).toContain('  /etc/leet/leet.yaml (not there)')
    for (const { key } of configurable(OPTIONS)) expect(rows.map(([first]) => first)).toContain(key)
  })
})

describe('the schema', () => {
  interface Schema {
    readonly type?: string | readonly string[]
    readonly properties?: Readonly<Record<string, Schema>>
    readonly anyOf?: readonly Schema[]
    readonly items?: Schema
    readonly additionalProperties?: Schema | false
  }
  const schema = configSchema(OPTIONS) as Schema

  /** The few words of JSON Schema that ours has. */
  function fits(
    value: unknown,
    { type, anyOf, properties = {}, items, additionalProperties }: Schema,
  ): boolean {
    if (anyOf) return anyOf.some((one) => fits(value, one))
    const kind = Array.isArray(value) ? 'array' : typeof value
    if (![type].flat().includes(kind)) return false
    if (kind === 'array') return (value as unknown[]).every((item) => fits(item, items as Schema))
    if (kind !== 'object') return true
    return Object.entries(value as object).every(([key, item]) => {
      const found = properties[key] ?? additionalProperties
      return found !== undefined && found !== false && fits(item, found)
    })
  }
  const example = (spec: OptionSpec) =>
    spec.takes.length === 0
      ? !isNegated(spec)
      : spec.takes.length === 2
        ? { A: '1' }
        : spec.repeats
          ? ['x']
          : 'x'

  it('takes every key that a file may have, in both forms, as the parser does', async () => {
    for (const spec of configurable(OPTIONS)) {
      const parts = spec.key.split('.')
      const nested = parts.reduceRight<unknown>((value, part) => ({ [part]: value }), example(spec))
      for (const document of [{ [spec.key]: example(spec) }, nested]) {
        expect(fits(document, schema), JSON.stringify(document)).toBe(true)
        expect((await parse(stringify(document))).options.has(spec.key)).toBe(true)
      }
    }
  })

  it('refuses unknown keys and values of another kind', () => {
    for (const document of [
      { memory: '1G' },
      { guest: { memry: '1G' } },
      { verbose: 'yes' },
      { guests: [1] },
    ]) {
      expect(fits(document, schema)).toBe(false)
    }
  })
})
