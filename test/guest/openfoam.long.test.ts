// An OpenFOAM example with a model of turbulence, in guests and on the bare host.
import { testExample } from './openfoam-examples.ts'

testExample({
  example: 'pitzDaily',
  iterations: 3,
  expected: ['U', 'epsilon', 'k', 'nut', 'p', 'phi'],
})
