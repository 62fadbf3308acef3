// What it costs that files go into a real OSv guest and come back changed: the same job in a directory with them and in an
// empty one, one after the other.
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { median } from '../pairs.ts'

const PAIRS = 7
const FILES = 100
const SIZE = 200_000
/** Not below /tmp, which is memory in every OSv guest. */
const ROOT = '/var/tmp'
const leetMpirun = new URL('../../../launcher/bin/leet-mpirun', import.meta.url).pathname

/** Changes a byte in the middle of each file that it is told to, `change COUNT`. */
const CHANGE = `#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  for (int i = 0; i < atoi(argv[1]); i++) {
    char name[32];
    snprintf(name, sizeof name, "file%d", i);
    FILE *file = fopen(name, "r+");
    if (!file || fseek(file, ${SIZE / 2}, SEEK_SET)) return 3;
    int byte = fgetc(file);
    if (byte == EOF || fseek(file, -1, SEEK_CUR) || fputc(byte ^ 1, file) == EOF || fclose(file)) return 4;
  }
  return 0;
}
`

/** Medians in seconds: with 100 files of 20 MB together, and with none. */
export interface FileCost {
  readonly files: number
  readonly none: number
}

/** Measures both, in turn. */
export function benchOsvFiles(base: string): FileCost {
  const work = mkdtempSync(join(ROOT, 'leet-bench-'))
  try {
    const program = join(work, 'change')
    execFileSync('gcc', ['-x', 'c', '-', '-O1', '-o', program], { input: CHANGE })
    const full = caseOf(work, 'full', FILES)
    const empty = caseOf(work, 'empty', 0)
    const run = ({ directory, count, before }: Case) => {
      const began = performance.now()
      const { status, stderr } = spawnSync(
        leetMpirun,
        ['--guest', 'osv', '--osv-base', base, '--guest-memory', '256M', '-n', '1', program, `${count}`],
        { cwd: directory, encoding: 'utf8' },
      )
      const took = (performance.now() - began) / 1000
      if (status !== 0) throw new Error(`leet-mpirun ended with status ${status}: ${stderr}`)
      for (let i = 0; i < count; i++) {
        const now = readFileSync(join(directory, `file${i}`))
        if (now.equals(before[i] as Buffer)) throw new Error(`file${i} did not come back`)
        before[i] = now
      }
      return took
    }
    for (const each of [full, empty]) run(each)
    const times = Array.from({ length: PAIRS }, () => [run(full), run(empty)] as const)
    return { files: median(times.map(([time]) => time)), none: median(times.map(([, time]) => time)) }
  } finally {
    rmSync(work, { recursive: true })
  }
}

interface Case {
  readonly directory: string
  readonly count: number
  readonly before: Buffer[]
}

function caseOf(work: string, name: string, count: number): Case {
  const directory = join(work, name)
  mkdirSync(directory)
  const before = Array.from({ length: count }, () => randomBytes(SIZE))
  for (const [i, bytes] of before.entries()) writeFileSync(join(directory, `file${i}`), bytes)
  return { directory, count, before }
}
