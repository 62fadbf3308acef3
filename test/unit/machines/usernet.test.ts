import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseUsernet } from '../../../launcher/machines/usernet.ts'

// As QEMU 7.2 prints it, with a connection through a forward in use and one that the guest made.
const TEXT = [
  'Hub -1 (control):',
  '  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ',
  '  TCP[ESTABLISHED]   21       127.0.0.1 42557       10.0.2.15    22     0     0',
  '  TCP[HOST_FORWARD]   9       127.0.0.1 38205       10.0.2.15    22     0     0',
  '  TCP[HOST_FORWARD]   4       127.0.0.1 34795       10.0.2.15  8000     0     0',
  '  UDP[236 sec]       25       10.0.2.15 68           10.0.2.2    67     0     0',
  '  TCP[SYN_SENT]      26       10.0.2.15 40000        10.0.2.2  2049     0     0',
  'Hub -1 (n1):',
  '  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ',
  '  TCP[HOST_FORWARD]  10       127.0.0.1 42557       10.0.2.15    22     0     0',
  '',
].join('\r\n')

describe('parseUsernet', () => {
  it('finds the listeners of each interface', () => {
    expect(parseUsernet(TEXT)).toEqual([
      { nic: 'control', hostPort: 38205, guestPort: 22 },
      { nic: 'control', hostPort: 34795, guestPort: 8000 },
      { nic: 'n1', hostPort: 42557, guestPort: 22 },
    ])
  })

  it('takes anything', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(parseUsernet(text)).toEqual([])
      }),
    )
    expect(parseUsernet('')).toEqual([])
  })
})
