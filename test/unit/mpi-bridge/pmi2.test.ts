// The codec and the session of PMI-2: semicolons, threads, waiting, and that no bytes of a client can do it harm.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { formatMessage, MessageBuffer, type Pair, parseMessage } from '../../../mpi-bridge/pmi2/codec.ts'
import { type Client, layoutOf, turn, World } from './pmi-sessions.ts'

const HELLO = 'cmd=init pmi_version=2 pmi_subversion=0\n'
const frame = (text: string) => `${String(text.length).padStart(6)}${text}`

describe('the codec of PMI-2', () => {
  const key = fc.stringMatching(/^[a-z0-9-]{1,12}$/)
  // A value that begins with a semicolon cannot be told from an empty one: MPICH never sends such.
  const value = fc.string({ unit: 'binary-ascii', maxLength: 30 }).map((text) => text.replaceAll('\0', ';'))

  it('reads what it writes', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(key, value), { maxLength: 6 }), (pairs) => {
        const message: Pair[] = [['cmd', 'test'], ...pairs]
        const buffer = new MessageBuffer()
        buffer.push(Buffer.from(formatMessage(message), 'latin1'))
        const next = buffer.next()
        expect(typeof next === 'object' && parseMessage(next.text)).toEqual(message)
        expect(buffer.next()).toBe('more')
      }),
    )
  })

  it('cuts the same messages out of a stream, however it is split', () => {
    const texts = fc.array(fc.stringMatching(/^cmd=[a-z;=]{1,40}$/), { maxLength: 8 })
    fc.assert(
      fc.property(texts, fc.integer({ min: 1, max: 50 }), (messages, step) => {
        const stream = Buffer.from(messages.map(frame).join(''), 'latin1')
        const buffer = new MessageBuffer()
        const got: string[] = []
        for (let at = 0; at < stream.length; at += step) {
          buffer.push(stream.subarray(at, at + step))
          for (let next = buffer.next(); typeof next === 'object'; next = buffer.next()) got.push(next.text)
        }
        expect(got).toEqual(messages)
      }),
    )
  })

  it.each(['     0', '000000', '-    1', '1     ', 'abcdef', '999999', ' 1 2 3'])(
    'refuses the length "%s"',
    (text) => {
      const buffer = new MessageBuffer()
      buffer.push(Buffer.from(text))
      expect(buffer.next()).toBe('malformed')
    },
  )
})

describe('a session of PMI-2', () => {
  const join = (world: World, id: number): Client => {
    const client = world.connect(2)
    client.send(`${HELLO}${frame(`cmd=fullinit;pmirank=${id};`)}`)
    client.take()
    return client
  }
  const world = (guests = [[0], [1]]) => {
    const made = new World()
    made.addJob(layoutOf('kvs_1', guests))
    return made
  }

  it('is greeted and identified, however the bytes come', () => {
    const client = world().connect(2)
    for (const char of `${HELLO}${frame('cmd=fullinit;pmirank=1;')}`) client.send(char)
    expect(client.take()).toBe(
      `cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n${frame(
        'cmd=fullinit-response;pmi-version=2;pmi-subversion=0;rank=1;size=2;appnum=0;debugged=FALSE;pmiverbose=FALSE;rc=0;',
      )}`,
    )
  })

  it('tells a spawned rank who spawned it', () => {
    const made = new World()
    made.addJob(layoutOf('kvs_2', [[0]], { spawnedBy: { job: 'kvs_1', rank: 0 } }))
    const client = made.connect(2)
    client.send(`${HELLO}${frame('cmd=fullinit;pmirank=0;')}`)
    expect(client.take()).toContain(';spawner-jobid=kvs_1;')
  })

  it('gives the thread back its number and lets others ask while one waits', () => {
    const made = world()
    const [one, other] = [join(made, 0), join(made, 1)]
    one.send(frame('cmd=kvs-fence;thrid=0xa;'))
    one.send(frame('cmd=job-getid;thrid=0xb;'))
    expect(one.take()).toBe(frame('cmd=job-getid-response;thrid=0xb;jobid=kvs_1;rc=0;'))
    one.send(frame('cmd=kvs-fence;thrid=0xc;'))
    expect(one.take()).toBe(frame('cmd=kvs-fence-response;thrid=0xc;rc=1;errmsg=a fence within a fence;'))
    other.send(frame('cmd=kvs-fence;'))
    expect(one.take()).toBe(frame('cmd=kvs-fence-response;thrid=0xa;rc=0;'))
    expect(other.take()).toBe(frame('cmd=kvs-fence-response;rc=0;'))
  })

  it('shares node attributes within a guest only, and waits for them', async () => {
    const made = world([[0, 1], [2]])
    const [one, neighbour, stranger] = [join(made, 0), join(made, 1), join(made, 2)]
    for (const client of [neighbour, stranger]) client.send(frame('cmd=info-getnodeattr;key=a;wait=TRUE;'))
    one.send(frame('cmd=info-putnodeattr;key=a;value=v;'))
    await turn()
    expect(neighbour.take()).toBe(frame('cmd=info-getnodeattr-response;found=TRUE;value=v;rc=0;'))
    expect(stranger.take()).toBe('')
    stranger.send(frame('cmd=info-getnodeattr;key=a;wait=FALSE;'))
    expect(stranger.take()).toBe(frame('cmd=info-getnodeattr-response;found=FALSE;rc=0;'))
    stranger.session.closed()
  })

  it('publishes, finds and withdraws names', async () => {
    const client = join(world(), 0)
    const replies: string[] = []
    for (const text of [
      'cmd=name-publish;name=n;port=a;;b;',
      'cmd=name-publish;name=n;port=c;',
      'cmd=name-lookup;name=n;',
      'cmd=name-unpublish;name=n;',
      'cmd=name-lookup;name=n;',
    ]) {
      client.send(frame(text))
      await turn()
      replies.push(client.take().slice(6))
    }
    expect(replies).toEqual([
      'cmd=name-publish-response;rc=0;',
      'cmd=name-publish-response;rc=1;errmsg=published already;',
      'cmd=name-lookup-response;found=TRUE;port=a;;b;rc=0;',
      'cmd=name-unpublish-response;rc=0;',
      'cmd=name-lookup-response;found=FALSE;rc=1;errmsg=not published;',
    ])
  })

  it('spawns', async () => {
    const requests: unknown[] = []
    const made = new World({
      async spawn(request) {
        requests.push(request)
        return { job: 'kvs_2', errcodes: [0, 0, 0] }
      },
    })
    made.addJob(layoutOf('kvs_1', [[0]]))
    const client = join(made, 0)
    client.send(
      frame(
        'cmd=spawn;ncmds=2;preputcount=1;ppkey0=k;ppval0=v;subcmd=/a;maxprocs=1;argc=1;argv0=x;;y;infokeycount=0;' +
          'subcmd=/b;maxprocs=2;argc=0;infokeycount=1;infokey0=wdir;infoval0=/tmp;',
      ),
    )
    await turn()
    expect(client.take()).toBe(frame('cmd=spawn-response;rc=0;jobid=kvs_2;nerrs=0;'))
    expect(requests).toEqual([
      {
        job: 'kvs_1',
        rank: 0,
        commands: [
          { argv: ['/a', 'x;y'], maxprocs: 1, env: {}, info: {} },
          { argv: ['/b'], maxprocs: 2, cwd: '/tmp', env: {}, info: { wdir: '/tmp' } },
        ],
        preput: [{ key: 'k', value: 'v' }],
      },
    ])
  })

  it('reports aborts of old and new clients', () => {
    const made = world()
    join(made, 0).send(frame('cmd=abort;isworld=TRUE;msg=old;'))
    join(made, 1).send(frame('cmd=abort;exitcode=9;message=new;'))
    expect(made.reports.filter(({ kind }) => kind === 'aborted')).toEqual([
      { kind: 'aborted', job: 'kvs_1', rank: 0, status: 1, message: 'old' },
      { kind: 'aborted', job: 'kvs_1', rank: 1, status: 9, message: 'new' },
    ])
  })

  it('withstands any bytes', () => {
    const pieces = fc
      .constantFrom(
        ...[
          'cmd=kvs-put;key=a;value=b;',
          'cmd=kvs-get;key=a;',
          'cmd=kvs-fence;',
          'cmd=spawn;ncmds=1;subcmd=a;argc=9;',
        ],
        ...[
          'cmd=info-getnodeattr;key=a;wait=TRUE;',
          'cmd=abort;',
          'cmd=;',
          'cmd',
          ';;;',
          '=',
          'cmd=fullinit;pmirank=0;',
        ],
      )
      .map(frame)
    const noise = fc.array(
      fc.oneof({ weight: 4, arbitrary: pieces }, fc.string({ unit: 'binary', maxLength: 9 })),
      {
        maxLength: 30,
      },
    )
    fc.assert(
      fc.property(noise, fc.boolean(), (texts, known) => {
        const made = world()
        const client = known ? join(made, 0) : made.connect(2)
        for (const text of texts) if (client.ended === undefined) client.send(text)
        client.session.closed()
      }),
      { numRuns: 200 },
    )
  })
})
