// A profile: what the programs of some code need that no ELF header tells. Pure.

/** How the name of its file ends. */
export const SUFFIX = '.yaml'

/** A profile as its file says it; texts may have `${NAME}` of the environment and `${PROGRAM}` in them. */
export interface Profile {
  readonly name: string
  readonly about: string
  /** A program with one of these libraries, or of one of these names, has the profile by itself. */
  readonly recognise: { readonly libraries: readonly string[]; readonly programs: readonly string[] }
  /** Variables that ranks have unless the user's environment does. */
  readonly environment: Readonly<Record<string, string>>
  /** Files and directories for the image; what is not there is left out. */
  readonly files: readonly string[]
  /** Libraries that are loaded by name, from LD_LIBRARY_PATH, the directory of the recognised one or the loader's. */
  readonly libraries: readonly string[]
  /** A command that prints a path for the image or such a library on each line; none when empty. */
  readonly ask: readonly string[]
}

/** Whether a profile is that of a program that opens files with these names when it starts, itself among them. */
export function recognises({ recognise }: Profile, files: readonly string[]): boolean {
  return (
    recognise.libraries.some((wanted) => files.includes(wanted)) ||
    recognise.programs.some((pattern) => files.some((name) => fits(pattern, name)))
  )
}

/** `python3.*` fits `python3.11`. */
function fits(pattern: string, name: string): boolean {
  return pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern
}

/** A text with its `${NAME}` filled in; undefined when one of them is not set. */
export function expand(
  text: string,
  values: Readonly<Record<string, string | undefined>>,
): string | undefined {
  let complete = true
  const expanded = text.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = values[name]
    complete &&= value !== undefined && value !== ''
    return value ?? ''
  })
  return complete ? expanded : undefined
}
