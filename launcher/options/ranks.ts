// Options on what ranks find: their directory, their variables, their standard input.
import { parseCount, usageError } from '../../common/index.ts'
import { nonEmpty, oneOf, rowsOf } from '../config/row.ts'
import type { Said } from '../config/sources.ts'
import type { EnvironmentEdit, StdinChoice } from '../plan/settings.ts'

const { flag, list, value, wish } = rowsOf('What ranks find')

/** The rows, in the order of the help. */
export const RANKS = {
  workDir: wish({
    key: 'wdir',
    flags: 'wdir wd',
    takes: 'DIR',
    scope: 'program',
    help: 'working directory, the same path in every guest',
    parse: nonEmpty,
  }),
  exports: list({
    key: 'export',
    flags: 'x',
    takes: 'NAME[=VALUE]',
    scope: 'program',
    help: 'give the ranks this variable, even one of the deny-list; NAME* for all that begin so',
    parse: ({ words, where }) => words.map((text) => checkExport(text, where)),
  }),
  genv: list({
    key: 'genv',
    flags: 'genv',
    takes: 'NAME VALUE',
    joined: true,
    help: 'a variable for all programs',
    parse: parseVariable,
  }),
  genvlist: list({
    key: 'genvlist',
    flags: 'genvlist',
    takes: 'NAME,…',
    help: 'of your variables these and no others, for all programs',
    parse: parseNames,
  }),
  genvnone: flag({
    key: 'genvnone',
    flags: 'genvnone',
    help: 'none of your variables, for all programs',
  }),
  genvall: flag({
    key: 'genvall',
    flags: 'genvall',
    help: 'all of your variables, as is usual',
  }),
  env: list({
    key: 'env',
    flags: 'env',
    takes: 'NAME VALUE',
    scope: 'program',
    joined: true,
    help: 'a variable for this program',
    parse: parseVariable,
  }),
  envlist: list({
    key: 'envlist',
    flags: 'envlist',
    takes: 'NAME,…',
    scope: 'program',
    help: 'of your variables these and no others, for this program',
    parse: parseNames,
  }),
  envnone: flag({
    key: 'envnone',
    flags: 'envnone',
    scope: 'program',
    help: 'none of your variables, for this program',
  }),
  envall: flag({
    key: 'envall',
    flags: 'envall',
    scope: 'program',
    help: 'all of your variables, for this program',
  }),
  edits: list({
    key: 'set-env',
    flags: 'set-env',
    takes: 'NAME=VALUE',
    help: 'a variable for all programs, whatever else says; as --unset-env and the like, in the order given',
    parse: parseEdit,
  }),
  mca: list({
    key: 'mca',
    flags: 'mca gmca omca',
    takes: 'KEY VALUE',
    help: 'a parameter of Open MPI, as OMPI_MCA_KEY',
    parse: ({ words: [name = '', value = ''] }) => [{ name, value }],
  }),
  pmixMca: list({
    key: 'pmixmca',
    flags: 'pmixmca gpmixmca',
    takes: 'KEY VALUE',
    help: 'the same for PMIx',
    parse: ({ words: [name = '', value = ''], where }) => [
      `${variableName(`PMIX_MCA_${name}`, where)}=${value}`,
    ],
  }),
  path: wish({
    key: 'path',
    flags: 'path',
    takes: 'DIR[:DIR…]',
    help: 'look for the programs here before PATH',
    parse: nonEmpty,
  }),
  universe: wish({
    key: 'universe',
    flags: 'usize',
    takes: 'N',
    environment: 'MPIEXEC_UNIVERSE_SIZE',
    help: 'MPI_UNIVERSE_SIZE: a number, SYSTEM for the slots of the allocation, or INFINITE for none',
    parse: parseUniverse,
  }),
  stdin: value({
    key: 'stdin',
    flags: 'stdin s',
    takes: 'RANK',
    help: 'who reads your standard input: a rank, all or none',
    default: { word: '0' },
    words: ['all', 'none'],
    parse: parseStdin,
  }),
}

function parseVariable({ words: [name = '', value = ''], where }: Said): string[] {
  return [`${variableName(name, where)}=${value}`]
}

function parseNames({ words: [names = ''], where }: Said): string[] {
  return names
    .split(',')
    .filter(Boolean)
    .map((name) => variableName(name, where))
}

function checkExport(text: string, where: string): string {
  const equals = text.indexOf('=')
  variableName(equals < 0 ? text.replace(/(?<=.)\*$/, '') : text.slice(0, equals), where)
  return text
}

// `NAME=VALUE`, or how, a name and a value: what the options for the other edits stand for. As PRRTE has them.
function parseEdit({ words, where }: Said): EnvironmentEdit[] {
  const [how = '', name = '', value = ''] = words
  if (words.length === 1) {
    const equals = how.indexOf('=')
    if (equals < 0) throw usageError(`"${how}" has no value`, '--set-env NAME=VALUE', where)
    return [{ how: 'set', name: variableName(how.slice(0, equals), where), value: how.slice(equals + 1) }]
  }
  if (how === 'unset') {
    return name.split(',').map((one) => {
      variableName(one.replace(/(?<=.)\*$/, ''), '--unset-env')
      return { how, name: one }
    })
  }
  const [, bare, separator] = /^(\w+)\[(.)\]$/.exec(name) ?? []
  if (bare === undefined || separator === undefined) {
    throw usageError(
      `"${name}" names no separator`,
      `--${how}-env 'LD_LIBRARY_PATH[:]' /opt/lib`,
      `--${how}-env`,
    )
  }
  return [
    {
      how: how === 'prepend' ? 'prepend' : 'append',
      name: variableName(bare, `--${how}-env`),
      value,
      separator,
    },
  ]
}

function parseUniverse(text: string, where: string): number | 'system' | undefined {
  const word = text.toLowerCase()
  if (word === 'infinite') return undefined
  return word === 'system' ? word : parseCount(text, where)
}

function parseStdin(text: string, where: string): StdinChoice {
  if (/^\d+$/.test(text)) return parseCount(text, where, 0)
  return oneOf(['all', 'none'])(text, where)
}

function variableName(name: string, where: string): string {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    throw usageError(`"${name}" is not a variable's name`, 'letters, digits and _, as in NAME', where)
  }
  return name
}
