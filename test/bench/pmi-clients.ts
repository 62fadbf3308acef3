// The clients of `pmi.ts`, in a process of their own: raw PMI-1 ranks that do as they are told over the IPC channel.
import { connect, type Socket } from 'node:net'

/** One rank. */
export interface BenchRank {
  readonly port: number
  readonly id: string
  readonly kvs: string
}

/** What the bench asks for; each is answered by a `BenchReply` when all ranks have done it. */
export type BenchOrder =
  | { readonly do: 'connect'; readonly ranks: readonly BenchRank[] }
  | { readonly do: 'put'; readonly keys: number; readonly bytes: number }
  | { readonly do: 'fence' }
  /** Every rank gets `each` keys of others, one request after the other. */
  | { readonly do: 'get'; readonly each: number; readonly keys: number }

/** Milliseconds from the last rank's request to the last rank's reply, and of all. */
export interface BenchReply {
  readonly afterLast: number
  readonly total: number
}

class Rank {
  readonly index: number
  readonly kvs: string
  readonly #socket: Socket
  #text = ''
  #lines = 0
  #done: () => void = () => {}

  constructor(index: number, { port, kvs }: BenchRank) {
    this.index = index
    this.kvs = kvs
    this.#socket = connect(port, '127.0.0.1')
    this.#socket.setNoDelay(true)
    this.#socket.setEncoding('latin1')
    this.#socket.on('error', (error) => {
      throw error
    })
    this.#socket.on('data', (text: string) => {
      this.#text += text
      for (let end = this.#text.indexOf('\n'); end >= 0; end = this.#text.indexOf('\n')) {
        if (/ rc=-/.test(this.#text.slice(0, end))) throw new Error(this.#text.slice(0, end))
        this.#text = this.#text.slice(end + 1)
        if (--this.#lines === 0) this.#done()
      }
    })
  }

  /** Sends a request and calls `done` when that many lines have come back. */
  ask(text: string, lines: number, done: () => void): void {
    this.#lines = lines
    this.#done = done
    this.#socket.write(text, 'latin1')
  }
}

let ranks: Rank[] = []

/** Lets all ranks do `work`; the last call of it is "the last entry". */
function all(work: (rank: Rank, done: () => void) => void): Promise<BenchReply> {
  return new Promise((resolve) => {
    const begin = performance.now()
    let last = begin
    let left = ranks.length
    const done = () => {
      const now = performance.now()
      if (--left === 0) resolve({ afterLast: now - last, total: now - begin })
    }
    for (const rank of ranks) {
      last = performance.now()
      work(rank, done)
    }
  })
}

function obey(order: BenchOrder): Promise<BenchReply> {
  switch (order.do) {
    case 'connect': {
      ranks = order.ranks.map((each, index) => new Rank(index, each))
      const hello = (rank: Rank) =>
        `cmd=initack pmiid=${order.ranks[rank.index]?.id}\ncmd=init pmi_version=1 pmi_subversion=1\n`
      return all((rank, done) => rank.ask(hello(rank), 5, done))
    }
    case 'put': {
      const value = 'v'.repeat(order.bytes)
      return all((rank, done) => {
        const put = (key: number) => {
          if (key === order.keys) return done()
          rank.ask(`cmd=put kvsname=${rank.kvs} key=k${rank.index}-${key} value=${value}\n`, 1, () =>
            put(key + 1),
          )
        }
        put(0)
      })
    }
    case 'fence':
      return all((rank, done) => rank.ask('cmd=barrier_in\n', 1, done))
    case 'get':
      return all((rank, done) => {
        const get = (nth: number) => {
          if (nth === order.each) return done()
          const from = (rank.index + 1 + nth * 37) % ranks.length
          rank.ask(`cmd=get kvsname=${rank.kvs} key=k${from}-${nth % order.keys}\n`, 1, () => get(nth + 1))
        }
        get(0)
      })
  }
}

process.on('message', async (order: BenchOrder) => {
  process.send?.(await obey(order))
})
