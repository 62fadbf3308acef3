// How this installation starts another process of its own.

/** The command of LEET with these words, for this node or another with the same installation. */
export function ownCommand(...words: readonly string[]): [string, ...string[]] {
  return [process.execPath, binOf('start.cjs'), ...words]
}

/** Path of a file of the installed commands. */
export function binOf(name: string): string {
  return new URL(`../bin/${name}`, rootOfSources()).pathname
}

// Compiled files lie one folder deeper, in dist/, and the starter of commands is never compiled.
function rootOfSources(): URL {
  const compiled = import.meta.url.endsWith('.js')
  return new URL(compiled ? '../../../launcher/job/' : './', import.meta.url)
}
