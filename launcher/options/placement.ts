// Options on where ranks go: to which guest, and to which processors of it.
import { parseBindTo, parseMapBy, parseProcessors, parseRankBy } from '../../mpi-bridge/index.ts'
import { nonEmpty, rowsOf } from '../config/row.ts'

const { flag, wish } = rowsOf('Where ranks go')

/** The rows, in the order of the help. */
export const PLACEMENT = {
  mapBy: wish({
    key: 'map-by',
    flags: 'map-by',
    takes: 'POLICY',
    help: 'slot, node, seq, ppr:N:RESOURCE, or a resource (hwthread, core, l3cache, numa, package), with qualifiers behind colons: pe=N, span, oversubscribe, nooversubscribe, nolocal',
    words: ['slot', 'node', 'seq', 'core', 'package', 'numa', 'hwthread', 'ppr:'],
    parse: parseMapBy,
  }),
  rankBy: wish({
    key: 'rank-by',
    flags: 'rank-by',
    takes: 'POLICY',
    help: 'slot or node: how ranks are numbered',
    default: { found: 'as mapped' },
    words: ['slot', 'node'],
    parse: parseRankBy,
  }),
  rankfile: wish({
    key: 'rankfile',
    flags: 'rankfile rf',
    takes: 'FILE',
    help: 'the host, or +nN, and the cores of each rank from FILE',
    parse: nonEmpty,
  }),
  bindTo: wish({
    key: 'bind-to',
    flags: 'bind-to',
    takes: 'RESOURCE',
    help: 'bind each rank to a hwthread, core, numa or package of its guest; core:2 for two, user:0,1+2 for what is named',
    default: { found: 'none, with pe=N core' },
    words: ['none', 'core', 'hwthread', 'numa', 'package'],
    parse: parseBindTo,
  }),
  cpuList: wish({
    key: 'cpu-list',
    flags: 'cpu-list cpu-set',
    takes: 'LIST',
    help: 'keep all ranks to these processors of their guest, such as 0-3,6; with --bind-to cpu-list:ordered each has one of them',
    parse: parseProcessors,
  }),
  reportBindings: flag({
    key: 'report-bindings',
    flags: 'report-bindings',
    help: 'say to which processors each rank is bound',
  }),
  oversubscribe: flag({
    key: 'oversubscribe',
    flags: 'oversubscribe',
    help: 'more ranks than slots may be started, as is usual here',
  }),
  noOversubscribe: flag({
    key: 'nooversubscribe',
    flags: 'nooversubscribe no-oversubscribe',
    help: 'refuse more ranks than slots',
  }),
  noLocal: flag({
    key: 'nolocal',
    flags: 'nolocal',
    help: 'no ranks on the node on which the command is given',
  }),
}
