// The limits that `leet doctor` reads: the table of /proc/PID/limits.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { parseLimits } from '../../../launcher/doctor/checks.ts'

it('reads soft limits by name', () => {
  const table = [
    'Limit                     Soft Limit           Hard Limit           Units     ',
    'Max cpu time              unlimited            unlimited            seconds   ',
    'Max open files            1024                 524288               files     ',
    'Max processes             127235               127235               processes ',
    '',
  ].join('\n')
  expect([...parseLimits(table)]).toEqual([
    ['cpu time', Number.POSITIVE_INFINITY],
    ['open files', 1024],
    ['processes', 127_235],
  ])
})

it('reads the limits of a real process', () => {
  const limits = parseLimits(readFileSync('/proc/self/limits', 'utf8'))
  expect(limits.get('open files')).toBeGreaterThan(0)
  expect(limits.get('processes')).toBeGreaterThan(0)
})
