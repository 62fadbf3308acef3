// Makes dist/bundle: all that the commands load, as a few CommonJS files in place of some two hundred modules, of which
// Node.js would look up, read and strip each one at every start. The package has nothing else; a checkout uses it as
// long as no source has changed since (bin/main.cjs looks).
//
// `node launcher/bundle.ts [--if-needed]`
import { copyFileSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Plugin, rolldown } from 'rolldown'

const root = fileURLToPath(new URL('../', import.meta.url))
const target = `${root}dist/bundle`
const SHIPPED = `${root}launcher/profiles/shipped.ts`
/** Names the bundled sources, each with what it was like. */
const SOURCES = 'sources.json'

const { bundleIsFresh, stampOf }: { bundleIsFresh(root: string): boolean; stampOf(file: string): string } =
  createRequire(import.meta.url)('./bin/bundle.cjs')

/**
 * Modules find what lies beside them (programs in C, profiles) by `import.meta.dirname` and `import.meta.url`. Of a
 * bundled module these are still its own: in a checkout those of its source, in the package those under dist/.
 */
const ownPlaces: Plugin = {
  name: 'own-places',
  transform(code, id) {
    if (!/\bimport\.meta\.(url|dirname)\b/.test(code)) return null
    const name = relative(root, id).replace(/\.ts$/, '')
    const lines = [
      `import { existsSync as leetExists } from 'node:fs'`,
      `import { dirname as leetFolderOf, join as leetJoin } from 'node:path'`,
      `import { pathToFileURL as leetUrlOf } from 'node:url'`,
      `const leetRoot = leetJoin(leetFolderOf(import.meta.filename), '../..')`,
      `const leetSource = leetJoin(leetRoot, ${JSON.stringify(`${name}.ts`)})`,
      `const leetFile = leetExists(leetSource) ? leetSource : leetJoin(leetRoot, ${JSON.stringify(`dist/${name}.js`)})`,
    ]
    return lines
      .concat(code)
      .join('\n')
      .replaceAll('import.meta.url', 'leetUrlOf(leetFile).href')
      .replaceAll('import.meta.dirname', 'leetFolderOf(leetFile)')
  },
}

/** What `shipped.ts` would read is read here. */
const shippedProfiles: Plugin = {
  name: 'shipped-profiles',
  async load(id) {
    if (id !== SHIPPED) return null
    const { shippedProfiles: read } = await import('./profiles/shipped.ts')
    return `export const shippedProfiles = () => (${JSON.stringify(read())})`
  },
}

/** A default import of a package would work in the sources and not in the bundle, which is CommonJS: refused here. */
const noDefaults: Plugin = {
  name: 'no-defaults',
  transform(code, id) {
    const [, name] = /^import (?!type )\w+(?:,[^']*)? from '(?![./]|node:)([^']+)'/m.exec(code) ?? []
    if (!id.startsWith(root) || name === undefined) return null
    throw new Error(
      `${relative(root, id)}: the default of ${name} is not what CommonJS gets; take a name of it, or of a CommonJS package the default by import()`,
    )
  },
}

/**
 * What every job on the bare host loads, hence every job loads nearly all of it: with what they import they are one file.
 * Each file more is looked up, read and checked against the cache of compiled code, of which fifty took as long as all
 * that is done in them.
 */
const JOB = /launcher\/(cli\/leet-mpirun|session\/join|job\/run|node\/(local-worker|host-guests))\.ts$/

/**
 * The one package that is bundled. It is loaded while a guest boots, and takes its processors from it: its hundred files
 * took 90 ms, this one takes 35.
 */
const CLIENT = 'undici'
const CLIENT_FOLDER = `${root}node_modules/${CLIENT}`

/** Bundles into dist/bundle; what was there is replaced when all is done. */
async function bundle(): Promise<void> {
  const began = Date.now()
  const scratch = `${target}.${process.pid}`
  try {
    const build = await rolldown({
      input: { index: `${root}launcher/cli/index.ts` },
      platform: 'node',
      cwd: root,
      external: (id) => /^[^./\0]/.test(id) && id !== CLIENT,
      plugins: [noDefaults, ownPlaces, shippedProfiles],
      // What is imported when it is needed, and elsewhere at once, is so for those who run the sources.
      checks: { ineffectiveDynamicImport: false },
      // No module does anything when it is only loaded: so doors lead nowhere else, and each command loads its own part.
      treeshake: { moduleSideEffects: false },
    })
    const { output } = await build.write({
      dir: scratch,
      format: 'cjs',
      comments: false,
      // The files are run by node:vm, whose `import()` is an experiment and says so on stderr.
      dynamicImportInCjs: false,
      entryFileNames: '[name].cjs',
      chunkFileNames: '[name]-[hash].cjs',
      codeSplitting: { groups: [{ name: 'job', test: JOB }] },
    })
    await build.close()
    const modules = output.flatMap((part) => (part.type === 'chunk' ? part.moduleIds : []))
    const { shippedFiles } = await import('./profiles/shipped.ts')
    const own = [fileURLToPath(import.meta.url), ...shippedFiles(), `${CLIENT_FOLDER}/package.json`]
    const files = [...own, ...modules.filter((id) => id.startsWith(root) && !id.includes('/node_modules/'))]
    const stamps: Record<string, string> = {}
    for (const file of files) {
      if (statSync(file).mtimeMs >= began) throw new Error(`${file} was changed meanwhile`)
      stamps[relative(root, file).split(sep).join('/')] = stampOf(file)
    }
    writeFileSync(`${scratch}/${SOURCES}`, JSON.stringify(stamps))
    copyFileSync(`${CLIENT_FOLDER}/LICENSE`, `${scratch}/${CLIENT}.LICENSE`)
    rmSync(target, { recursive: true, force: true })
    renameSync(scratch, target)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

if (!process.argv.includes('--if-needed') || !bundleIsFresh(root)) {
  mkdirSync(`${root}dist`, { recursive: true })
  await bundle()
}
