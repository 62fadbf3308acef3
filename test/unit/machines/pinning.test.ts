// Which thread is which vCPU, by QEMU's own words.
import { expect, it } from 'vitest'
import { vcpuThreads } from '../../../launcher/machines/pinning.ts'

it('reads the threads of the vCPUs in their order', () => {
  const answer = [
    {
      'thread-id': 812,
      props: { 'core-id': 1 },
      'qom-path': '/machine/unattached/device[2]',
      'cpu-index': 1,
    },
    {
      'thread-id': 811,
      props: { 'core-id': 0 },
      'qom-path': '/machine/unattached/device[0]',
      'cpu-index': 0,
    },
  ]
  expect(vcpuThreads(answer)).toEqual([811, 812])
})
it('takes what is no such answer for none', () => {
  expect(vcpuThreads({ 'cpu-index': 0 })).toEqual([])
  expect(vcpuThreads([{ 'cpu-index': 'x' }])).toEqual([])
})
