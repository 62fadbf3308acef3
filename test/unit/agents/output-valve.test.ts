import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OutputValve } from '../../../launcher/agents/output-valve.ts'

describe('the valve of a node’s output', () => {
  it('holds the source back while there is no credit, and keeps the order', () => {
    const log: string[] = []
    const valve = new OutputValve(10, (hold) => log.push(hold ? 'hold' : 'go on'))
    valve.output(6, () => log.push('a'))
    valve.output(6, () => log.push('b'))
    valve.output(6, () => log.push('c'))
    valve.after(() => log.push('end'))
    expect(log).toEqual(['a', 'b', 'hold'])
    valve.addCredit(2)
    expect(log).toEqual(['a', 'b', 'hold'])
    valve.addCredit(10)
    expect(log).toEqual(['a', 'b', 'hold', 'c', 'end', 'go on'])
    valve.after(() => log.push('at once'))
    expect(log.at(-1)).toBe('at once')
  })

  it('never has more on its way than the window and one read', () => {
    const step = fc.oneof(
      fc.record({ output: fc.integer({ min: 1, max: 50 }) }),
      fc.record({ take: fc.integer({ min: 1, max: 50 }) }),
    )
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        let [under, given, sent, held] = [0, 0, 0, false]
        const valve = new OutputValve(100, (hold) => {
          held = hold
        })
        for (const one of steps) {
          if ('output' in one) {
            given++
            valve.output(one.output, () => {
              sent++
              under += one.output
            })
          } else {
            const taken = Math.min(one.take, under)
            under -= taken
            valve.addCredit(taken)
          }
          expect(under).toBeLessThan(150)
          expect(held).toBe(under >= 100)
        }
        valve.addCredit(1e6)
        expect(sent).toBe(given)
      }),
    )
  })
})
