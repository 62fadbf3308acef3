// The client alone: what it sends, and what it makes of answers of all kinds. Requests go through msw by way of the
// injected fetch, and through undici's own MockAgent.
import { HttpResponse, http } from 'msw'
import { setupServer } from 'msw/node'
import { MockAgent } from 'undici'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { Deadline, LeetError } from '../../../common/index.ts'
import { OsvRefusal, OsvRest } from '../../../mpi-bridge/osv/rest.ts'

const endpoint = { guest: 'g0', host: '10.77.0.12', port: 8000 }
const origin = 'http://10.77.0.12:8000'
const limits = () => ({ deadline: Deadline.after(5000) })
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'resolved',
    (error) => (error instanceof LeetError ? error.code : error),
  )

describe('the REST client over an injected fetch', () => {
  const server = setupServer()
  const rest = new OsvRest(endpoint, { fetch: (...words) => globalThis.fetch(...words) })
  const seen: { method: string; url: string; body: string }[] = []
  const answer = (body: string, status = 200) =>
    server.use(
      http.all(`${origin}/*`, async ({ request }) => {
        seen.push({
          method: request.method,
          url: request.url.slice(origin.length),
          body: await request.text(),
        })
        return new HttpResponse(body, { status, headers: { 'content-type': 'application/json' } })
      }),
    )
  beforeAll(() => server.listen())
  afterEach(() => {
    server.resetHandlers()
    seen.length = 0
  })
  afterAll(() => server.close())

  it('says each call in OSv’s words', async () => {
    answer('""')
    await rest.setVariable('A B', 'x y+é&=\n', limits())
    await rest.unsetVariable('A', limits())
    await rest.writeFile('/tmp/a b', 'x', true, limits())
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'POST /env/A%20B?val=x%20y%2B%C3%A9%26%3D%0A',
      'DELETE /env/A',
      'PUT /file/tmp/a%20b?op=WRITE&content=x&overwrite=true',
    ])
  })

  it('uploads one part with two header lines, as OSv’s parser counts it', async () => {
    answer('')
    await rest.uploadFile('/tmp/up', Buffer.from('content'), limits())
    const [{ url, body } = { url: '', body: '' }] = seen
    expect(url).toBe('/file/tmp/up')
    expect(body.replace(/leet[0-9a-f]{32}/g, 'B')).toBe(
      '--B\r\nContent-Disposition: form-data; name="filename"; filename="file"\r\nContent-Type: application/octet-stream\r\n\r\ncontent\r\n--B--\r\n',
    )
  })

  it('reads threads, numbers, lists and statuses', async () => {
    answer('"42 43"')
    expect(await rest.startProgram('/p & /q', true, limits())).toEqual([42, 43])
    expect(seen[0]?.url).toBe('/app/?command=%2Fp%20%26%20%2Fq&new_program=true')
    server.resetHandlers()
    answer(
      '[{"pathSuffix":".","type":"DIRECTORY"},{"pathSuffix":"a","type":"FILE","length":3,"modificationTime":7}]',
    )
    expect(await rest.listDirectory('/tmp', limits())).toEqual([
      { name: 'a', type: 'FILE', length: 3, modified: 7 },
    ])
  })

  it('gives OSv’s own message', async () => {
    answer('{"message": "Failed to load object: /nope", "code": 500}', 500)
    const error = await rest.startProgram('/nope', true, limits()).catch((e) => e)
    expect(error).toBeInstanceOf(OsvRefusal)
    expect(error.status).toBe(500)
    expect(error.message).toBe('g0: OSv refused PUT /app/ (500): Failed to load object: /nope')
  })

  it('reads a batch in which calls have no answer', async () => {
    answer('[{ "code": 200, "body":},{ "code": 400, "body":{"message": "x", "code": 400}}]')
    const calls = [
      { method: 'DELETE', path: '/env/A' },
      { method: 'GET', path: '/env/B' },
    ] as const
    expect(await rest.batch(calls, limits())).toEqual([
      { status: 200, body: undefined },
      { status: 400, body: { message: 'x', code: 400 } },
    ])
  })

  it.each([
    ['half an answer', '{"'],
    ['a number for a text', '5'],
    ['threads that are none', '"x"'],
    ['nothing', ''],
  ])('does not believe %s', async (_, body) => {
    answer(body)
    expect(await codeOf(rest.startProgram('/p', true, limits()))).toBe('LEET_E_OSV_REST')
  })

  it('refuses what cannot be said before it says it', async () => {
    for (const call of [
      rest.readFile('/tmp/../etc/hosts', limits()),
      rest.readFile('relative', limits()),
      rest.setVariable('A=B', 'x', limits()),
      rest.setVariable('A', '\ud800', limits()),
    ]) {
      expect(await codeOf(call)).toBe('LEET_E_OSV_REST')
    }
    expect(seen).toEqual([])
  })

  it('gives up at the deadline, and when it is told to', async () => {
    server.use(http.all(`${origin}/*`, () => new Promise<never>(() => {})))
    expect(await codeOf(rest.uptime({ deadline: Deadline.after(20) }))).toBe('LEET_E_DEADLINE')
    const controller = new AbortController()
    const call = rest.uptime({ deadline: Deadline.never, signal: controller.signal })
    controller.abort()
    expect(await codeOf(call)).toBe('LEET_E_CANCELLED')
  })
})

describe('the REST client over undici', () => {
  it('uses the dispatcher it is given', async () => {
    const agent = new MockAgent()
    agent.disableNetConnect()
    agent.get(origin).intercept({ path: '/os/version' }).reply(200, '"v0.57.0"')
    const rest = new OsvRest(endpoint, { dispatcher: agent })
    expect(await rest.operatingSystem('version', limits())).toBe('v0.57.0')
    expect(await codeOf(rest.uptime(limits()))).toBe('LEET_E_OSV_UNREACHABLE')
    await agent.close()
  })

  it('says where nobody listens', async () => {
    const rest = new OsvRest({ guest: 'g1', host: '127.0.0.1', port: 1 })
    const error = await rest.uptime(limits()).catch((e) => e)
    expect(error.message).toMatch(/^g1: GET \/os\/uptime failed: .*ECONNREFUSED/)
  })
})
