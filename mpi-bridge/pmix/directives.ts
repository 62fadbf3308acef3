// Directives: the attributes by which a client says how a request shall be done.
import { Attribute } from './constants.ts'
import { type Info, isTrue, wholeNumber } from './values.ts'

/** Milliseconds after which a request shall be given up; undefined: never, which 0 seconds mean too. */
export function timeoutOf(directives: readonly Info[]): number | undefined {
  const directive = directives.find((each) => each.key === Attribute.TIMEOUT)
  const seconds = directive ? wholeNumber(directive) : undefined
  return seconds !== undefined && seconds > 0 ? seconds * 1000 : undefined
}

/** Whether a directive is given and does not say false. */
export function asksFor(directives: readonly Info[], key: string): boolean {
  return directives.some((each) => each.key === key && isTrue(each))
}
