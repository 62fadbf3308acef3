// The JSON schema of leet.yaml, for editors, from the table of options. Pure.
import type { OptionSpec } from '../../mpi-bridge/index.ts'
import { configurable } from './file.ts'
import { describeOption } from './row.ts'
import { isNegated } from './sources.ts'

type Schema = Readonly<Record<string, unknown>>

/** A JSON schema (draft 2020-12) that takes what `parseConfig` takes, as far as a schema can tell. */
export function configSchema(table: readonly OptionSpec[]): Schema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'leet.yaml',
    description: 'Settings of leet-mpirun for a site, a user or a directory',
    ...mapping(configurable(table).map((spec) => ({ name: spec.key, spec }))),
  }
}

interface Named {
  /** What is left of the key below its mapping. */
  readonly name: string
  readonly spec: OptionSpec
}

// A key with dots may be written as it is, or as nested mappings.
function mapping(options: readonly Named[]): Schema {
  const properties: Record<string, Schema> = {}
  for (const { name, spec } of options) properties[name] = valueSchema(spec)
  const groups = Map.groupBy(
    options.filter(({ name }) => name.includes('.')),
    ({ name }) => name.slice(0, name.indexOf('.')),
  )
  for (const [group, members] of groups) {
    const nested = mapping(members.map(({ name, spec }) => ({ name: name.slice(group.length + 1), spec })))
    const own = properties[group]
    properties[group] = own ? { anyOf: [own, nested] } : nested
  }
  return { type: 'object', properties, additionalProperties: false }
}

function valueSchema(spec: OptionSpec): Schema {
  const { takes, repeats, default: usual } = spec
  const help = describeOption(spec)
  if (takes.length === 0) {
    const on = isNegated(spec)
    return { type: 'boolean', default: on, description: on ? `false: ${help}` : help }
  }
  const description = `${help} (${takes.join(' ')})`
  if (takes.length === 2) return { type: 'object', additionalProperties: SCALAR, description }
  if (!repeats) {
    return { ...SCALAR, ...(usual && 'word' in usual ? { default: usual.word } : {}), description }
  }
  return { anyOf: [SCALAR, { type: 'array', items: SCALAR }], description }
}

const SCALAR: Schema = { type: ['string', 'number'] }
