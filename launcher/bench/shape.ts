// Shapes of JSON values. A shape is a JSON schema (draft 2020-12) and, from the same words, tells what is wrong with a value;
// the compiler holds it to the type that it is the shape of. What a record has beyond its fields is let pass. Pure.

/** A JSON schema. */
export type Schema = Readonly<Record<string, unknown>>

/** What values of `T` look like. */
export interface Shape<T> {
  readonly schema: Schema
  /** What is wrong with a value, and where in it; undefined when it is a `T`. */
  readonly complaint: (value: unknown, at: string) => string | undefined
  readonly is: (value: unknown) => value is T
}

/** A field that may be missing. */
export interface Optional<T> {
  readonly optional: Shape<T>
}

function shape<T>(schema: Schema, complaint: Shape<T>['complaint']): Shape<T> {
  return { schema, complaint, is: (value): value is T => complaint(value, '') === undefined }
}

function simple<T>(schema: Schema, what: string, fits: (value: unknown) => boolean): Shape<T> {
  return shape(schema, (value, at) => (fits(value) ? undefined : `${at || 'all of it'} is not ${what}`))
}

/** What is described is said in the schema. */
function withDescription(schema: Schema, description: string | undefined): Schema {
  return description === undefined ? schema : { ...schema, description }
}

/** A text. */
export function text(description?: string): Shape<string> {
  const schema = withDescription({ type: 'string' }, description)
  return simple(schema, 'a text', (value) => typeof value === 'string')
}

/** A number; JSON has no other than finite ones. */
export function number(description?: string): Shape<number> {
  return simple(withDescription({ type: 'number' }, description), 'a number', Number.isFinite)
}

/** One value and no other. */
export function constant<const T extends string | number>(only: T, description?: string): Shape<T> {
  return simple(withDescription({ const: only }, description), String(only), (value) => value === only)
}

/** One of these words. */
export function words<const T extends string>(known: readonly T[], description?: string): Shape<T> {
  const all: readonly unknown[] = known
  const schema = withDescription({ type: 'string', enum: known }, description)
  return simple(schema, `one of ${known.join(', ')}`, (value) => all.includes(value))
}

/** A list. */
export function list<T>(item: Shape<T>, description?: string): Shape<readonly T[]> {
  const schema = withDescription({ type: 'array', items: item.schema }, description)
  return shape(schema, (value, at) => {
    if (!Array.isArray(value)) return `${at || 'all of it'} is not a list`
    return firstOf(value, (each, index) => item.complaint(each, `${at}[${index}]`))
  })
}

/** Two of the same. */
export function pair<T>(item: Shape<T>, description?: string): Shape<readonly [T, T]> {
  const { schema, complaint } = list(item, description)
  return shape({ ...schema, minItems: 2, maxItems: 2 }, (value, at) => {
    return complaint(value, at) ?? ((value as readonly T[]).length === 2 ? undefined : `${at} is not two`)
  })
}

/** A field that may be missing. */
export function optional<T>(of: Shape<T>): Optional<T> {
  return { optional: of }
}

/** A shape for each field of `T`, optional where `T` may be without. */
export type Fields<T> = {
  readonly [K in keyof T]-?: undefined extends T[K] ? Optional<Exclude<T[K], undefined>> : Shape<T[K]>
}

/** A value with fields. */
export function record<T extends object>(fields: Fields<T>, description?: string): Shape<T> {
  const own = Object.entries<Shape<unknown> | Optional<unknown>>(fields)
  const shapes = own.map(([name, field]) => ({
    name,
    required: !('optional' in field),
    shape: 'optional' in field ? field.optional : field,
  }))
  const schema = {
    type: 'object',
    properties: Object.fromEntries(shapes.map((each) => [each.name, each.shape.schema])),
    required: shapes.filter(({ required }) => required).map(({ name }) => name),
  }
  return shape(withDescription(schema, description), (value, at) => {
    if (typeof value !== 'object' || value === null || Array.isArray(value))
      return `${at || 'all of it'} is not an object`
    const has = new Map<string, unknown>(Object.entries(value))
    return firstOf(shapes, ({ name, required, shape: field }) => {
      const where = at === '' ? name : `${at}.${name}`
      const own = has.get(name)
      if (own !== undefined) return field.complaint(own, where)
      return required ? `${where} is missing` : undefined
    })
  })
}

function firstOf<T>(items: readonly T[], complaint: (item: T, index: number) => string | undefined) {
  for (const [index, item] of items.entries()) {
    const found = complaint(item, index)
    if (found !== undefined) return found
  }
  return undefined
}
