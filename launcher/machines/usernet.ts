// Which ports of the host lead to which ports of a guest: `info usernet` of QEMU's monitor, the only place where the
// port that the kernel chose for a `hostfwd` with port 0 can be read.
//
//   Hub -1 (control):
//     Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
//     TCP[HOST_FORWARD]  10       127.0.0.1 42557       10.0.2.15    22     0     0

/** A listening socket of QEMU. */
export interface Forward {
  /** Id of the network interface. */
  readonly nic: string
  readonly hostPort: number
  readonly guestPort: number
}

/** The TCP forwards in the text of `info usernet`; connections in use and everything else are left out. */
export function parseUsernet(text: string): Forward[] {
  const forwards: Forward[] = []
  let nic: string | undefined
  for (const line of text.split(/\r?\n/)) {
    // "Hub -1 (ID):" since QEMU 3.1; "VLAN -1 (ID):" before.
    const header = /^(?:\w+ -?\d+ )?\(?([A-Za-z][\w.-]*)\)?:$/.exec(line)
    if (header) nic = header[1]
    const row = /^ +TCP\[HOST_FORWARD\] +-?\d+ +127\.0\.0\.1 +(\d{1,5}) +[\d.]+ +(\d{1,5})(?: |$)/.exec(line)
    if (row && nic !== undefined) forwards.push({ nic, hostPort: Number(row[1]), guestPort: Number(row[2]) })
  }
  return forwards
}
