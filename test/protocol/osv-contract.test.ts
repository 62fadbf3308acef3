// The simulator keeps what a real guest was seen to do; test/guest/osv.test.ts asks the same of a real guest.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { comparable, exchangeWith, readTranscript, talk } from '../simulators/osv/contract.ts'
import { OsvGuest } from '../simulators/osv/guest.ts'

describe('the simulated guest', () => {
  let guest: OsvGuest
  beforeAll(async () => {
    guest = await OsvGuest.boot()
  })
  afterAll(() => guest.remove())

  it.each(readTranscript().map((exchange, index) => [index, exchange.request, exchange] as const))(
    'answers as in the transcript: %i %s',
    async (_, __, exchange) => {
      expect(comparable(await exchangeWith(guest.port, exchange))).toEqual(comparable(exchange))
    },
  )

  it('answers the first of two pipelined requests and closes', async () => {
    const request = `GET /os/name HTTP/1.1\r\nHost: x\r\n\r\n`
    expect(await talk(guest.port, request + request)).toBe(
      'HTTP/1.0 200 OK\r\nContent-Length: 5\r\nContent-Type: application/json\r\n\r\n"OSv"',
    )
  })
})
