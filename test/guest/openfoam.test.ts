// The smallest of the OpenFOAM examples, in guests and on the bare host.
import { testExample } from './openfoam-examples.ts'

testExample({ example: 'cavity', iterations: 20, expected: ['U', 'p', 'phi'] })
