// Scopes for tests of what lives in one.
import { afterEach, beforeEach } from 'vitest'
import { Scope } from '../../common/index.ts'

/** A scope that whoever asks for it ends; how its releases go is not told. */
export function openScope(): Scope {
  return Scope.open({ name: 'the test', warn() {} })
}

/** A scope for each test of the suite (or file) that this is called in, which ends after the suite's own hooks. */
export function scopePerTest(): () => Scope {
  let scope: Scope | undefined
  beforeEach(() => {
    scope = openScope()
  })
  afterEach(() => scope?.end())
  return () => scope as Scope
}
