// Strangers on all ports of a running job: they cannot end it, learn anything, or join it.
import { expect, it } from 'vitest'
import { describeWith } from '../support/needs.ts'
import { strangers } from '../support/strangers.ts'
import { linesOf, runLocalJob } from './local-job.ts'
import { buildPrograms } from './programs/build.ts'

describeWith(['mpicc.mpich'], 'strangers on the ports of a job', () => {
  it('do it no harm', async () => {
    const programs = await buildPrograms('mpicc.mpich', ['work'])
    try {
      const fuzzer = strangers()
      const end = await runLocalJob({
        argv: [programs.path('work')],
        guests: [
          [0, 1],
          [2, 3],
        ],
        env: { HWLOC_COMPONENTS: '-gl,-opencl', UCX_TLS: 'tcp,self', UCX_NET_DEVICES: 'lo' },
        finalizeRescue: { graceMs: 1000 },
        disturb: fuzzer.disturb,
      })
      expect(linesOf(end)).toEqual(Array(4).fill('work ok'))
      expect(end.ranks.map(({ status }) => status)).toEqual([0, 0, 0, 0])
      expect(end.reports.map(({ kind }) => kind).sort()).toEqual(
        ['connected', 'finalised', 'initialised'].flatMap((kind) => Array(4).fill(kind)),
      )
      const { connections, replies } = fuzzer.report()
      expect(connections).toBeGreaterThan(100)
      // A greeting of PMI-2 and a refusal of PMIx tell nothing.
      for (const reply of replies)
        expect(reply).toMatch(/^(cmd=response_to_init pmi_version=2 .*\n|[^a-z]{4})$/s)
    } finally {
      programs.remove()
    }
  })
})
