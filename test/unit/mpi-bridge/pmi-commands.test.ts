// The commands of PMI-1 and PMI-2 one by one: every request that a client of MPICH 3.2 to 4.3 sends, and the exact
// answer that it understands (RFC 13 of the Flux framework; the words of Hydra 4.0 for what that leaves open).
import { describe, expect, it } from 'vitest'
import { layoutOf, turn, World } from './pmi-sessions.ts'

const world = () => {
  const made = new World({ spawn: async () => ({ job: 'kvs_2', errcodes: [0, 0] }) })
  made.addJob(layoutOf('kvs_1', [[0], [1]], { appnums: [4, 0] }), 0, [{ key: 'given', value: 'before' }])
  return made
}

describe('PMI-1', () => {
  const rows: readonly (readonly [request: string, reply: string])[] = [
    ['cmd=init pmi_version=1 pmi_subversion=1', 'cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0'],
    // Other sizes than these three make MPICH's writer and reader disagree on where long values are cut.
    ['cmd=get_maxes', 'cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024'],
    ['cmd=get_appnum', 'cmd=appnum appnum=4'],
    ['cmd=get_my_kvsname', 'cmd=my_kvsname kvsname=kvs_1'],
    ['cmd=get_universe_size', 'cmd=universe_size size=-1'],
    [
      'cmd=get kvsname=kvs_1 key=PMI_process_mapping',
      'cmd=get_result rc=0 msg=success value=(vector,(0,2,1))',
    ],
    ['cmd=get kvsname=kvs_1 key=given', 'cmd=get_result rc=0 msg=success value=before'],
    ['cmd=put kvsname=kvs_1 key=k value=v', 'cmd=put_result rc=0 msg=success'],
    ['cmd=put kvsname=kvs_1 key=k value=w', 'cmd=put_result rc=0 msg=success'],
    ['cmd=get kvsname=kvs_1 key=k', 'cmd=get_result rc=0 msg=success value=w'],
    // Asked by fault-tolerance code: nobody is dead as long as anybody can ask.
    [
      'cmd=get kvsname=kvs_1 key=PMI_dead_processes',
      'cmd=get_result rc=-1 msg=key_PMI_dead_processes_not_found value=unknown',
    ],
    ['cmd=lookup_name service=s', 'cmd=lookup_result rc=1 msg=service_not_found'],
    ['cmd=publish_name service=s port=tag#0$', 'cmd=publish_result rc=0 msg=success'],
    ['cmd=publish_name service=s port=other', 'cmd=publish_result rc=1 msg=key_already_present'],
    ['cmd=lookup_name service=s', 'cmd=lookup_result rc=0 port=tag#0$'],
    ['cmd=unpublish_name service=s', 'cmd=unpublish_result rc=0 msg=success'],
    ['cmd=unpublish_name service=s', 'cmd=unpublish_result rc=1 msg=service_not_found'],
    [
      'mcmd=spawn\nnprocs=2\nexecname=a\ntotspawns=1\nspawnssofar=1\nargcnt=0\npreput_num=0\ninfo_num=0\nendcmd',
      'cmd=spawn_result rc=0 errcodes=0,0',
    ],
    ['cmd=unheard_of x=1', 'cmd=unheard_of_result rc=-1 msg=unsupported'],
    ['cmd=finalize', 'cmd=finalize_ack'],
  ]

  it('answers each request with the line that clients read', async () => {
    const client = world().rank(0)
    const replies: [string, string][] = []
    for (const [request] of rows) {
      client.send(`${request}\n`)
      await turn()
      replies.push([request, client.take()])
    }
    expect(replies).toEqual(rows.map(([request, reply]) => [request, `${reply}\n`]))
    expect(client.ended).toBeUndefined()
  })

  it('answers a barrier when all are in it, and an abort with the end of the connection', () => {
    const made = world()
    const [one, other] = [made.rank(0), made.rank(1)]
    one.send('cmd=barrier_in\n')
    expect(one.take()).toBe('')
    other.send('cmd=barrier_in\n')
    expect([one.take(), other.take()]).toEqual(['cmd=barrier_out\n', 'cmd=barrier_out\n'])
    // MPICH 4 waits for what comes, and no process manager has a word for it.
    one.send('cmd=abort exitcode=3\n')
    expect([one.take(), one.ended]).toEqual(['', 'MPI_Abort'])
  })
})

describe('PMI-2', () => {
  const rows: readonly (readonly [request: string, reply: string])[] = [
    [
      'fullinit;pmirank=0;',
      'fullinit-response;pmi-version=2;pmi-subversion=0;rank=0;size=2;appnum=4;debugged=FALSE;pmiverbose=FALSE;rc=0;',
    ],
    ['job-getid;', 'job-getid-response;jobid=kvs_1;rc=0;'],
    ['kvs-put;key=k;value=a;;b;', 'kvs-put-response;rc=0;'],
    ['kvs-get;jobid=kvs_1;srcid=0;key=k;', 'kvs-get-response;found=TRUE;value=a;;b;rc=0;'],
    ['kvs-get;jobid=kvs_1;srcid=1;key=none;', 'kvs-get-response;found=FALSE;rc=0;'],
    [
      'info-getjobattr;key=PMI_process_mapping;',
      'info-getjobattr-response;found=TRUE;value=(vector,(0,2,1));rc=0;',
    ],
    ['info-getjobattr;key=universeSize;', 'info-getjobattr-response;found=FALSE;rc=0;'],
    ['info-getnodeattr;key=n;wait=FALSE;', 'info-getnodeattr-response;found=FALSE;rc=0;'],
    ['info-putnodeattr;key=n;value=1;', 'info-putnodeattr-response;rc=0;'],
    ['info-getnodeattr;key=n;wait=TRUE;', 'info-getnodeattr-response;found=TRUE;value=1;rc=0;'],
    ['name-lookup;name=s;', 'name-lookup-response;found=FALSE;rc=1;errmsg=not published;'],
    ['name-publish;name=s;port=p;', 'name-publish-response;rc=0;'],
    ['name-lookup;name=s;', 'name-lookup-response;found=TRUE;port=p;rc=0;'],
    ['name-unpublish;name=s;', 'name-unpublish-response;rc=0;'],
    [
      'spawn;ncmds=1;preputcount=0;subcmd=a;maxprocs=2;argc=0;infokeycount=0;',
      'spawn-response;rc=0;jobid=kvs_2;nerrs=0;',
    ],
    ['unheard-of;x=1;thrid=7;', 'unheard-of-response;thrid=7;rc=1;errmsg=unsupported;'],
    ['finalize;', 'finalize-response;rc=0;'],
  ]
  const frame = (text: string) => `${String(text.length + 4).padStart(6)}cmd=${text}`

  it('answers each request with the message that clients read', async () => {
    const client = world().connect(2)
    client.send('cmd=init pmi_version=2 pmi_subversion=0\n')
    expect(client.take()).toBe('cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n')
    const replies: [string, string][] = []
    for (const [request] of rows) {
      client.send(frame(request))
      await turn()
      replies.push([request, client.take()])
    }
    expect(replies).toEqual(rows.map(([request, reply]) => [request, frame(reply)]))
    expect(client.ended).toBeUndefined()
  })
})
