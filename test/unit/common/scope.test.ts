// What lives in a scope ends with it, whatever goes wrong on the way.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { pause, Scope } from '../../../common/index.ts'

describe('a scope', () => {
  const said: string[] = []
  const options = { name: 'the job', warn: (message: string) => void said.push(message) }
  beforeEach(() => {
    said.length = 0
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it('gives what its body gives, after all is released in reverse order', async () => {
    const order: string[] = []
    const result = await Scope.run(options, async (scope) => {
      scope.onEnd('the first', () => void order.push('first'))
      scope.onEnd('the second', async () => void order.push('second'))
      order.push('body')
      return 7
    })
    expect({ result, order, said }).toEqual({ result: 7, order: ['body', 'second', 'first'], said: [] })
  })

  it('fails as its body does, though releases fail, hang, or throw', async () => {
    const released = vi.fn()
    const end = Scope.run(options, async (scope) => {
      scope.onEnd('what comes last', released)
      scope.onEnd('what hangs', () => new Promise<void>(() => {}), 500)
      scope.onEnd('what fails', () => Promise.reject(new Error('no')))
      scope.onEnd('what throws', () => {
        throw new Error('never')
      })
      throw new Error('the outcome')
    })
    const failed = expect(end).rejects.toThrow('the outcome')
    await vi.advanceTimersByTimeAsync(500)
    await failed
    expect(released).toHaveBeenCalledOnce()
    expect(said).toEqual([
      'the job could not end what throws: never',
      'the job could not end what fails: no',
      expect.stringMatching(/^the job could not end what hangs: waited 0\.5 s for the end of what hangs/),
    ])
  })

  it('tells what is at work in it that it has failed, and why', async () => {
    const sibling = vi.fn()
    const end = Scope.run(options, async (scope) => {
      pause(60_000, scope.signal).catch(sibling)
      scope.fail(new Error('a brother is gone'))
      scope.fail(new Error('that as well'))
      expect(scope.signal.reason).toMatchObject({ message: 'a brother is gone' })
      expect(() => scope.check()).toThrow('cancelled')
    })
    await end
    expect(sibling).toHaveBeenCalledOnce()
  })

  it('ends what hears its signal before it releases anything', async () => {
    const aborted: boolean[] = []
    await Scope.run(options, async (scope) => {
      scope.check()
      scope.onEnd('what looks', () => void aborted.push(scope.signal.aborted))
    })
    expect(aborted).toEqual([true])
  })

  it('releases at once what is made in it when it has ended', async () => {
    const released = vi.fn()
    const scope = await Scope.run(options, async (own) => own)
    scope.onEnd('a latecomer', released)
    expect(released).toHaveBeenCalledOnce()
  })

  it('fails with the scope that it is in', async () => {
    const outer = new AbortController()
    await Scope.run({ ...options, signal: outer.signal }, async (scope) => {
      outer.abort(new Error('from outside'))
      expect(scope.signal.aborted).toBe(true)
    })
  })
})
