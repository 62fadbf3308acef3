// The codec and the session of PMI-1: what it says back, and that no bytes of a client can do it harm.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  commandOf,
  fieldOf,
  LineBuffer,
  MAX_LINE,
  parseAbort,
  parseSpawn,
} from '../../../mpi-bridge/pmi1/codec.ts'
import { layoutOf, turn, World } from './pmi-sessions.ts'

const latin1 = (text: string) => Buffer.from(text, 'latin1')

describe('the codec of PMI-1', () => {
  it('cuts the same lines out of a stream, however it is split', () => {
    const bytes = fc
      .uint8Array({ maxLength: 300 })
      .map((array) => array.map((byte) => (byte < 40 ? 10 : byte)))
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(300), { maxLength: 10 }), (stream, cuts) => {
        const buffer = new LineBuffer()
        const lines: string[] = []
        const ends = [0, ...cuts.map((cut) => Math.min(cut, stream.length)), stream.length].sort(
          (a, b) => a - b,
        )
        for (const [index, end] of ends.entries()) {
          buffer.push(Buffer.from(stream.subarray(ends[index - 1] ?? 0, end)))
          for (let line = buffer.next(); line !== undefined; line = buffer.next()) lines.push(line)
        }
        const expected = Buffer.from(stream).toString('latin1').split('\n')
        expect([...lines, buffer.takeRest().toString('latin1')]).toEqual(expected)
      }),
    )
  })

  it('finds the fields of a line', () => {
    const word = fc.stringMatching(/^[a-z0-9_#$=(),.-]{1,20}$/)
    const key = fc.stringMatching(/^[a-z_]{1,10}$/)
    fc.assert(
      fc.property(key, fc.dictionary(key, word, { noNullPrototype: true }), (name, fields) => {
        const line = `cmd=${name}${Object.entries(fields)
          .map(([each, value]) => ` ${each}=${value}`)
          .join('')}`
        expect(commandOf(line)).toBe(name)
        for (const [each, value] of Object.entries(fields)) expect(fieldOf(line, each)).toBe(value)
        expect(fieldOf(line, 'NOT_THERE')).toBeUndefined()
      }),
    )
  })

  it('takes the message of an abort to the end of the line', () => {
    expect(parseAbort('cmd=abort exitcode=42 message=it = broken exitcode=0')).toEqual({
      status: 42,
      message: 'it = broken exitcode=0',
    })
    expect(parseAbort('cmd=abort')).toEqual({ status: 1, message: '' })
    expect(parseAbort('cmd=abort exitcode=-1')).toEqual({ status: -1, message: '' })
  })

  it('gives text as people read it, and nothing that drives a terminal', () => {
    const bytes = (text: string) => Buffer.from(text).toString('latin1')
    expect(parseAbort(bytes('cmd=abort exitcode=1 message=für\x1b[2J')).message).toBe('für?[2J')
    const lines = ['nprocs=1', 'execname=/bin/é', 'totspawns=1', 'spawnssofar=1', 'arg1=ü', 'argcnt=1'].map(
      bytes,
    )
    expect(parseSpawn(lines)?.command.argv).toEqual(['/bin/é', 'ü'])
  })

  it('allocates nothing for counts that somebody wrote', () => {
    const counts = ['argcnt', 'preput_num', 'info_num']
    const base = ['nprocs=1', 'execname=a', 'totspawns=1', 'spawnssofar=1']
    expect(parseSpawn(base)?.command.argv).toEqual(['a'])
    for (const count of counts) {
      for (const value of ['2000000000', '-1', 'x', '1']) {
        expect(parseSpawn([...base, `${count}=${value}`])).toBeUndefined()
      }
    }
  })
})

describe('a session of PMI-1', () => {
  const world = (guests = [[0], [1]]) => {
    const made = new World()
    const job = made.addJob(layoutOf('kvs_1', guests, { appnums: [0, 3] }))
    return { world: made, job }
  }

  it('says size and rank in the order that MPICH reads', () => {
    const client = world().world.connect(1)
    client.send('cmd=initack pmi')
    client.send('id=1\ncmd=init pmi_version=1 pmi_subversion=1\ncmd=get_appnum\ncmd=get_universe_size\n')
    expect(client.take()).toBe(
      'cmd=initack\ncmd=set size=2\ncmd=set rank=1\ncmd=set debug=0\n' +
        'cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0\n' +
        'cmd=appnum appnum=3\ncmd=universe_size size=-1\n',
    )
  })

  it('refuses clients without a valid id', () => {
    for (const line of [
      'cmd=initack pmiid=7',
      'cmd=initack',
      'cmd=initack pmiid=0x1',
      'cmd=get_maxes',
      'GET / ',
    ]) {
      const client = world().world.connect(1)
      client.send(`${line}\n`)
      expect(client.take()).toBe('')
      expect(client.ended).toBeDefined()
    }
  })

  it('refuses a version it does not speak', () => {
    const client = world().world.rank(0)
    client.send('cmd=init pmi_version=2 pmi_subversion=0\n')
    expect(client.take()).toBe('cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=-1\n')
  })

  it('keeps values, byte for byte, and tells what it does not have', () => {
    const made = world().world
    const [one, other] = [made.rank(0), made.rank(1)]
    one.send('cmd=put kvsname=kvs_1 key=a value=x=\xff\\$#;\n')
    expect(one.take()).toBe('cmd=put_result rc=0 msg=success\n')
    other.send('cmd=get kvsname=kvs_1 key=a\ncmd=get kvsname=kvs_1 key=b\n')
    expect(other.take()).toBe(
      'cmd=get_result rc=0 msg=success value=x=\xff\\$#;\ncmd=get_result rc=-1 msg=key_b_not_found value=unknown\n',
    )
  })

  it('never answers for another job', () => {
    const made = new World()
    made.addJob(layoutOf('kvs_1', [[0]]))
    made.addJob(layoutOf('kvs_2', [[0]]), 10)
    const [one, other] = [made.rank(0), made.rank(10)]
    other.send('cmd=put kvsname=kvs_2 key=a value=secret\n')
    one.send(
      'cmd=get kvsname=kvs_2 key=a\ncmd=get kvsname=kvs_1 key=a\ncmd=put kvsname=kvs_2 key=a value=forged\n',
    )
    expect(one.take()).toBe(
      'cmd=get_result rc=-1 msg=key_a_not_found value=unknown\n'.repeat(2) +
        'cmd=put_result rc=-1 msg=no_such_kvs_or_key\n',
    )
    other.send('cmd=get kvsname=kvs_2 key=a\n')
    expect(other.take()).toContain('value=secret\n')
  })

  it('keeps its own keys', () => {
    const client = world([[0]]).world.rank(0)
    client.send('cmd=put kvsname=kvs_1 key=PMI_process_mapping value=(vector,(0,1,9))\n')
    expect(client.take()).toBe('cmd=put_result rc=-1 msg=reserved\n')
    client.send('cmd=get kvsname=kvs_1 key=PMI_process_mapping\n')
    expect(client.take()).toBe('cmd=get_result rc=0 msg=success value=(vector,(0,1,1))\n')
  })

  it('never sends a line of more than 1,024 bytes', () => {
    const client = world([[0]]).world.rank(0)
    fc.assert(
      fc.property(fc.nat(70), fc.nat(1100), (key, value) => {
        const name = 'k'.repeat(key)
        client.send(
          `cmd=put kvsname=kvs_1 key=${name} value=${'v'.repeat(value)}\ncmd=get kvsname=kvs_1 key=${name}\n`,
        )
        for (const line of client.take().trimEnd().split('\n')) expect(line.length).toBeLessThan(1024)
      }),
    )
  })

  it('refuses puts beyond the budget of a rank', () => {
    const client = world([[0]]).world.rank(0)
    const value = 'v'.repeat(900)
    let refused = 0
    for (let n = 0; n < 20_000 && refused === 0; n++) {
      client.send(`cmd=put kvsname=kvs_1 key=k${n} value=${value}\n`)
      if (client.take().includes('msg=full')) refused = n
    }
    expect(refused).toBeGreaterThan(10_000)
  })

  it('lets everybody out of the barrier when the last one comes', () => {
    const made = world().world
    const [one, other] = [made.rank(0), made.rank(1)]
    one.send('cmd=barrier_in\ncmd=get_maxes\n')
    expect(one.take()).toBe('')
    other.send('cmd=barrier_in\n')
    expect(other.take()).toBe('cmd=barrier_out\n')
    expect(one.take()).toBe('cmd=barrier_out\ncmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024\n')
  })

  it('answers many barriers in one chunk without nesting', () => {
    const client = world([[0]]).world.rank(0)
    client.send('cmd=barrier_in\n'.repeat(50_000))
    expect(client.take()).toBe('cmd=barrier_out\n'.repeat(50_000))
  })

  it('answers what it does not know', () => {
    const client = world().world.rank(0)
    client.send('cmd=nonsense a=b\n')
    expect(client.take()).toBe('cmd=nonsense_result rc=-1 msg=unsupported\n')
  })

  it('reports an abort with its message and closes', () => {
    const { world: made } = world()
    const client = made.rank(1)
    client.send('cmd=abort exitcode=7 message=no such case\n')
    expect(made.reports).toContainEqual({
      kind: 'aborted',
      job: 'kvs_1',
      rank: 1,
      status: 7,
      message: 'no such case',
    })
    expect(client.ended).toBe('MPI_Abort')
  })

  it('tells a failed and a malformed spawn', async () => {
    const client = world().world.rank(0)
    client.send('mcmd=spawn\nnprocs=1\nexecname=a\ntotspawns=1\nspawnssofar=1\nendcmd\n')
    await turn()
    expect(client.take()).toBe('cmd=spawn_result rc=-1 msg=spawn_failed\n')
    client.send('mcmd=spawn\nnprocs=1\nexecname=a\ntotspawns=2\nspawnssofar=2\nendcmd\ncmd=get_appnum\n')
    expect(client.take()).toBe('cmd=spawn_result rc=-1 msg=malformed\ncmd=appnum appnum=0\n')
  })

  it('gathers the commands of MPI_Comm_spawn_multiple', async () => {
    const requests: unknown[] = []
    const made = new World({
      async spawn(request) {
        requests.push(request.commands.map(({ argv, maxprocs }) => [argv, maxprocs]))
        return { job: 'kvs_2', errcodes: [0, 0, 5] }
      },
    })
    made.addJob(layoutOf('kvs_1', [[0]]))
    const client = made.rank(0)
    const part = (nth: number, program: string, nprocs: number) =>
      `mcmd=spawn\nnprocs=${nprocs}\nexecname=${program}\ntotspawns=2\nspawnssofar=${nth}\narg1=x y\nargcnt=1\nendcmd\n`
    client.send(part(1, 'a', 1))
    expect(client.take()).toBe('')
    client.send(part(2, 'b', 2))
    await turn()
    expect(client.take()).toBe('cmd=spawn_result rc=0 errcodes=0,0,5\n')
    expect(requests).toEqual([
      [
        [['a', 'x y'], 1],
        [['b', 'x y'], 2],
      ],
    ])
  })

  it.each([
    ['a line without end', `cmd=${'x'.repeat(MAX_LINE + 1)}`],
    ['a long line', `cmd=${'x'.repeat(MAX_LINE)}\n`],
    ['a NUL byte', 'cmd=get key=\0\n'],
    ['no message', 'hello\n'],
    ['an endless spawn', `mcmd=spawn\n${'x=y\n'.repeat(1_100_000)}`],
    ['a flood while it waits', `cmd=barrier_in\n${'cmd=get_maxes\n'.repeat(6000)}`],
  ])('closes on %s', (_, bytes) => {
    const client = world().world.rank(0)
    client.send(bytes)
    expect(client.ended).toBeDefined()
  })

  it('withstands any bytes', () => {
    const pieces = fc.constantFrom(
      ...[
        'cmd=',
        'mcmd=spawn\n',
        'put',
        'get',
        'barrier_in',
        ' kvsname=kvs_1',
        ' key=',
        ' value=',
        'endcmd\n',
      ],
      ...[
        'initack',
        ' pmiid=0',
        'abort',
        'spawn',
        'publish_name',
        ' service=',
        ' port=',
        'lookup_name',
        'finalize',
      ],
      ...['\n', ' ', '=', '\0', 'totspawns=1\n', 'nprocs=1\n', 'x'.repeat(3000)],
    )
    const noise = fc.array(fc.oneof(pieces, fc.string({ unit: 'binary', maxLength: 5 })), { maxLength: 40 })
    fc.assert(
      fc.property(noise, fc.boolean(), (texts, known) => {
        const { world: made } = world()
        const client = known ? made.rank(0) : made.connect(1)
        for (const text of texts) if (client.ended === undefined) client.session.receive(latin1(text))
        client.session.closed()
      }),
      { numRuns: 200 },
    )
  })
})
