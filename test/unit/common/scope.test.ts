// What lives in a scope ends with it, whatever goes wrong on the way.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Deadline, LeetError, pause, Scope } from '../../../common/index.ts'

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
    await vi.advanceTimersByTimeAsync(2_500)
    await failed
    expect(released).toHaveBeenCalledOnce()
    expect(said).toEqual([
      'the job could not end what throws: never',
      'the job could not end what fails: no',
      expect.stringMatching(/^the job could not end what hangs: waited 2\.5 s for the end of what hangs/),
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

  it('gives its releases no more time than it has itself', async () => {
    const scope = Scope.open(options)
    scope.onEnd('what hangs', () => new Promise<void>(() => {}))
    scope.onEnd('what looks', ({ deadline }) => void order.push(Math.round(deadline.remaining())))
    const order: number[] = []
    const end = scope.end(Deadline.after(300))
    await vi.advanceTimersByTimeAsync(2_300)
    await end
    expect(order).toEqual([300])
    expect(said).toEqual([expect.stringContaining('waited 2.3 s for the end of what hangs')])
  })

  it('ends once, whoever asks for it', async () => {
    const released = vi.fn()
    const scope = Scope.open(options)
    scope.onEnd('what was made', released)
    await Promise.all([scope.end(), scope.end()])
    await scope.end()
    expect(released).toHaveBeenCalledOnce()
  })

  it('has no timer fire in it when it has ended', async () => {
    const fired = vi.fn()
    await Scope.run(options, async (scope) => {
      scope.timer(10, fired)
      scope.timer(10, fired).cancel()
      await vi.advanceTimersByTimeAsync(20)
      scope.timer(10, fired)
    })
    await vi.advanceTimersByTimeAsync(20)
    expect(fired).toHaveBeenCalledOnce()
  })

  it('ends with the scope around it, and fails with it, but not the other way round', async () => {
    const order: string[] = []
    await Scope.run(options, async (scope) => {
      scope.onEnd('the node', () => void order.push('node'))
      const guest = scope.child('the guest')
      const gone = scope.child('another guest')
      guest.onEnd('the guest', () => void order.push('guest'))
      gone.onEnd('another guest', () => void order.push('another'))
      gone.fail(new Error('lost'))
      await gone.end()
      expect([scope.signal.aborted, guest.signal.aborted]).toEqual([false, false])
      scope.fail(new Error('all is lost'))
      expect(guest.signal.reason).toMatchObject({ message: 'all is lost' })
    })
    expect(order).toEqual(['another', 'guest', 'node'])
  })

  it('is a reason of its own to give a wait up', async () => {
    const asked = new AbortController()
    const scope = Scope.open(options)
    const limits = scope.within({ deadline: Deadline.after(5), signal: asked.signal })
    expect(limits.deadline.remaining()).toBe(5)
    scope.fail(new Error('over'))
    expect([limits.signal.aborted, asked.signal.aborted]).toEqual([true, false])
    asked.abort()
    const other = Scope.open(options).within({ deadline: Deadline.never, signal: asked.signal })
    expect(other.signal.aborted).toBe(true)
  })
})

describe('brothers in a scope', () => {
  const options = { name: 'the node', warn() {} }

  it('end side by side, after their results are there', async () => {
    const order: string[] = []
    const results = await Scope.run(options, async (scope) => {
      const both = new Barrier(2)
      return scope.each(
        ['g0', 'g1'],
        (name) => name,
        async (name, own, index) => {
          own.onEnd(name, async () => {
            await both.wait()
            order.push(name)
          })
          return [name, index]
        },
      )
    })
    expect(results).toEqual([
      ['g0', 0],
      ['g1', 1],
    ])
    expect(order.sort()).toEqual(['g0', 'g1'])
  })

  it('fail with the first of them, and what one still makes is released', async () => {
    const released: string[] = []
    const heard: unknown[] = []
    const first = new LeetError({ code: 'LEET_E_TEST', what: 'the first failure' })
    const end = Scope.run(options, (scope) =>
      scope.each(['slow', 'broken'], String, async (name, own) => {
        if (name === 'broken') throw first
        own.onEnd('what was made before', () => void released.push('before'))
        await pause(60_000, own.signal).catch((error) => heard.push(error))
        own.onEnd('what was made after', () => void released.push('after'))
        throw new Error('a later failure')
      }),
    )
    await expect(end).rejects.toBe(first)
    expect(heard).toEqual([first])
    expect(released).toEqual(['before', 'after'])
  })
})

/** Lets nobody pass before `count` are there. */
class Barrier {
  readonly #open = Promise.withResolvers<void>()
  #left: number

  constructor(count: number) {
    this.#left = count
  }

  wait(): Promise<void> {
    if (--this.#left === 0) this.#open.resolve()
    return this.#open.promise
  }
}
