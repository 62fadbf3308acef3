// The compatibility library on Linux, where it is preloaded: glibc answers most things rightly, so each fault of OSv is
// made by a second library behind it. And the change that brings it into a program.
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { LeetError } from '../../common/index.ts'
import { readElf } from '../../launcher/images/formats/index.ts'
import { addNeeded } from '../../launcher/images/osv/add-needed.ts'
import { packEnvironment } from '../../mpi-bridge/osv/environment.ts'
import { bufferSource } from '../support/byte-source.ts'
import { describeWith } from '../support/needs.ts'

const SOURCES = fileURLToPath(new URL('../../launcher/osv-compat', import.meta.url))
const NAME = 'libleet-osv.so.1'

/** Answers as OSv's kernel does. */
const OSV = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <locale.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  int result = ((int (*)(int, int, void *))dlsym(RTLD_NEXT, "fcntl"))(fd, command, argument);
  return command == 3 && result >= 0 ? result | 0100000 : result;
}
int statfs(const char *path, struct statfs *buffer) { memset(buffer, 0, sizeof *buffer); return 0; }
int statvfs(const char *path, struct statvfs *buffer) { memset(buffer, 0, sizeof *buffer); return 0; }
int munmap(void *address, size_t length) { errno = EINVAL; return -1; }
int unlink(const char *path) { write(1, "unlink\\n", 7); return 0; }
int pthread_mutex_destroy(pthread_mutex_t *mutex) { memset(mutex, 7, sizeof *mutex); return 0; }
int pthread_cond_destroy(pthread_cond_t *condition) { memset(condition, 7, sizeof *condition); return 0; }
int pthread_rwlock_destroy(pthread_rwlock_t *lock) { memset(lock, 7, sizeof *lock); return 0; }
static int refuse(void) { errno = ENOENT; return -1; }
int open(const char *path, int flags, ...) { return strncmp(path, "/dev/shm", 8) ? REAL(open)(path, flags) : refuse(); }
int mkstemp(char *template) { return refuse(); }
int fstat(int fd, struct stat *status) {
  struct stat whole;
  int result = REAL(fstat)(fd, &whole);
  if (whole.st_size == 1L << 40) status->st_size = whole.st_size; else *status = whole;
  return result;
}
void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
  if (fd >= 0 && flags & MAP_POPULATE) write(1, "filled\\n", 7);
  return REAL(mmap)(address, length, protection, flags, fd, offset);
}
locale_t newlocale(int categories, const char *name, locale_t base) { return base ? NULL : REAL(newlocale)(categories, name, base); }
locale_t duplocale(locale_t locale) { if (!locale || locale == LC_GLOBAL_LOCALE) abort(); return REAL(duplocale)(locale); }
locale_t uselocale(locale_t locale) {
  if (locale == LC_GLOBAL_LOCALE) abort();
  locale_t before = REAL(uselocale)(locale);
  return before == LC_GLOBAL_LOCALE ? NULL : before;
}
`

const PROGRAM = `
#define _GNU_SOURCE
#include <complex.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>
extern void *__libc_malloc(size_t);
static int zeroed(const void *object, size_t size) {
  for (size_t i = 0; i < size; i++) if (((const char *)object)[i]) return 0;
  return 1;
}
static void *ends(void *status) { _exit(atoi(status)); }
int main(int argc, char **argv, char **envp) {
  const char *what = argv[1];
  if (!strcmp(what, "fcntl")) {
    int s = socket(AF_INET, SOCK_STREAM, 0), f = open("/dev/null", O_RDWR);
    printf("%d %d %d\\n", fcntl(s, F_GETFL) & 0100000, fcntl(f, F_GETFL) & 0100000, fcntl(s, F_GETFL) & O_ACCMODE);
    fcntl(s, F_SETFL, O_NONBLOCK);
    printf("%d\\n", (fcntl(s, F_GETFL) & O_NONBLOCK) != 0);
  } else if (!strcmp(what, "statfs")) {
    struct statfs a; struct statvfs b;
    statfs("/tmp", &a); statvfs("/tmp", &b);
    printf("%d %d\\n", a.f_bsize == 4096 && a.f_bavail > 0 && a.f_blocks >= a.f_bavail, b.f_frsize == 4096 && b.f_bavail > 0);
  } else if (!strcmp(what, "munmap")) {
    errno = 5;
    printf("%d %d\\n", munmap(0, 1), errno);
  } else if (!strcmp(what, "unlink")) {
    printf("%d\\n", unlink("/tmp/vader_segment.osv.1")); fflush(stdout);
    unlink("/tmp/other");
  } else if (!strcmp(what, "shm")) {
    char name[] = "/dev/shm/leet_test.XXXXXX", *maps[2];
    for (int i = 0; i < 2; i++) {
      int fd = i == 0 ? mkstemp(name) : open(name, O_RDWR);
      maps[i] = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
      close(fd);
    }
    int named = strchr(name, 'X') == NULL, removed = unlink(name) == 0, gone = open(name, O_RDWR) == -1 && errno == ENOENT;
    maps[0][9999] = 'x';
    printf("%d %c %d %d\\n", named, maps[1][9999], removed, gone);
  } else if (!strcmp(what, "locale")) {
    // As json-c does around each text.
    for (int i = 0; i < 2; i++) {
      locale_t before = uselocale(NULL), changed = newlocale(LC_NUMERIC_MASK, "C", duplocale(before));
      printf("%d ", changed != NULL);
      uselocale(changed); printf("%g ", strtod("1.5", NULL)); uselocale(before);
      freelocale(changed);
    }
    printf("%d\\n", newlocale(LC_ALL_MASK, "of Mars", NULL) == NULL);
  } else if (!strcmp(what, "destroy")) {
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER; pthread_cond_t c = PTHREAD_COND_INITIALIZER; pthread_rwlock_t l = PTHREAD_RWLOCK_INITIALIZER;
    pthread_mutex_destroy(&m); pthread_cond_destroy(&c); pthread_rwlock_destroy(&l);
    printf("%d %d %d\\n", zeroed(&m, sizeof m), zeroed(&c, sizeof c), zeroed(&l, sizeof l));
  } else if (!strcmp(what, "missing")) {
    unsigned char random[64] = {0}; sigset_t set; siginfo_t info; struct iovec v = {random, 1};
    sigemptyset(&set);
    char *p = __libc_malloc(10);
    arc4random_buf(random, sizeof random);
    printf("%d %d", p != NULL, !zeroed(random, sizeof random));
    printf(" %d", sigisemptyset(&set)); sigaddset(&set, SIGINT); printf(" %d", sigisemptyset(&set));
    printf(" %d", waitid(P_ALL, 0, &info, WEXITED) == -1 && errno == ECHILD);
    printf(" %d\\n", process_vm_readv(1, &v, 1, &v, 1, 0) == -1 && errno == ENOSYS);
  } else if (!strcmp(what, "complex")) {
    double worst = 0;
    double complex (*inverse[][2])(double complex) = {{csin, casin}, {ctan, catan}, {csinh, casinh}, {ctanh, catanh}, {cexp, clog}};
    for (double x = -2.3; x < 2.4; x += 0.31) for (double y = -1.43; y < 1.5; y += 0.17) {
      double complex z = x + I * y, s = csqrt(z);
      double e[] = {cabs(s * s - z) / cabs(z), cabs(cexp(z) - (ccosh(z) + csinh(z))), cabs(ccos(z) * ccos(z) + csin(z) * csin(z) - 1),
                    cabs(ctan(z) - csin(z) / ccos(z)), cabs(ccos(cacos(z)) - z), cabs(ccosh(cacosh(z)) - z), creal(s) < 0};
      for (int i = 0; i < 7; i++) if (!(e[i] <= worst)) worst = e[i];
      for (int i = 0; i < 5; i++) { double d = cabs(inverse[i][0](inverse[i][1](z)) - z); if (!(d <= worst)) worst = d; }
    }
    printf("%d %g %g\\n", worst < 1e-13, creal(csqrt(-4)), cimag(csqrt(-4)));
    printf("%.12f %.12f\\n", creal(ctanh(30 + I)), cimag(csqrt(-4 - 0.0 * I)));
  } else if (!strcmp(what, "streams")) {
    printf("flushed ");
    printf("%d %d %d\\n", fclose(stdout), close(1), close(2));
    fclose(stdout);
    int other = open("/dev/null", O_RDONLY);
    int closed = close(other) == 0 && fcntl(other, F_GETFD) == -1;
    printf("%d %d\\n", other > 2, closed);
  } else if (!strcmp(what, "env")) {
    char here[4096];
    printf("A=%s B=<%s> C=%s packed=%s in %s\\n", getenv("A"), getenv("B"), getenv("C"), getenv("LEET_OSV_ENV"), getcwd(here, sizeof here));
  } else if (!strcmp(what, "input")) {
    char line[100000];
    while (fgets(line, sizeof line, stdin)) printf("%zu %.9s\\n", strlen(line), line);
    printf("end %d\\n", getenv("LEET_OSV_INPUT") == NULL);
    fflush(stdout);
    _exit(0);
  } else if (!strcmp(what, "exit")) {
    printf("not flushed "); exit(atoi(argv[2]));
  } else if (!strcmp(what, "_exit")) {
    printf("not flushed "); _exit(atoi(argv[2]));
  } else if (!strcmp(what, "epoll_wait") || !strcmp(what, "poll")) {
    pthread_t other; struct epoll_event event; int epoll = epoll_create1(0);
    pthread_create(&other, NULL, ends, argv[2]);
    for (;;) if (*what == 'e') epoll_wait(epoll, &event, 1, 1); else poll(NULL, 0, 1);
  } else if (!strcmp(what, "return")) {
    printf("%d ", envp != NULL && envp[0] != NULL); return atoi(argv[2]);
  }
  return 0;
}
`

describeWith(['cc'], 'the compatibility library of OSv guests', () => {
  let folder: string
  let library: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'leet-compat-'))
    cpSync(SOURCES, join(folder, 'sources'), { recursive: true })
    execFileSync(join(folder, 'sources/build.sh'))
    library = join(folder, 'sources/build', NAME)
    writeFileSync(join(folder, 'osv.c'), OSV)
    writeFileSync(join(folder, 'program.c'), PROGRAM)
    compile('-shared', '-fPIC', '-o', 'osv.so', 'osv.c')
    compile('-o', 'program', 'program.c', '-lm', '-Wl,--unresolved-symbols=ignore-all')
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  const compile = (...words: string[]) =>
    execFileSync('cc', ['-O1', '-fno-builtin', '-w', ...words], { cwd: folder })
  const run = (words: readonly string[], env: Record<string, string> = {}, faults = true) => {
    const preload = faults ? `${library} ${join(folder, 'osv.so')}` : library
    const [program = '', ...args] = words
    const result = spawnSync(join(folder, program), args, {
      env: { ...env, LD_PRELOAD: preload },
      encoding: 'utf8',
      timeout: 20_000,
    })
    return { stdout: result.stdout, stderr: result.stderr, status: result.status, signal: result.signal }
  }

  it('is the same bytes wherever it is built', () => {
    cpSync(SOURCES, join(folder, 'elsewhere/deeper'), { recursive: true })
    execFileSync(join(folder, 'elsewhere/deeper/build.sh'))
    expect(readFileSync(join(folder, 'elsewhere/deeper/build', NAME)).equals(readFileSync(library))).toBe(
      true,
    )
  })

  it.each([
    ['fcntl', 'takes O_LARGEFILE from sockets alone', '0 32768 2\n1\n'],
    ['statfs', 'gives ramfs the free memory', '1 1\n'],
    ['munmap', 'hides the failure of munmap', '0 5\n'],
    ['unlink', 'keeps a segment of shared memory, and removes other files', '0\nunlink\n'],
    ['shm', 'has files below /dev/shm, whose mappings are filled and shared', 'filled\nfilled\n1 x 1 1\n'],
    ['locale', 'has C, which can be copied and changed', '1 1.5 1 1.5 1\n'],
    ['destroy', 'clears destroyed objects', '1 1 1\n'],
    ['streams', 'leaves the standard streams of the guest open', 'flushed 0 0 0\n1 1\n'],
    ['missing', 'has what the kernel lacks', '1 1 1 0 1 1\n'],
    ['complex', 'has complex functions', '1 0 2\n1.000000000000 -2.000000000000\n'],
  ])('%s: %s', (what, _, stdout) => {
    expect(run(['program', what])).toEqual({ stdout, stderr: '', status: 0, signal: null })
  })

  it('takes a packed environment, and enters the working directory', () => {
    const packed = packEnvironment({ A: 'a\nb %0A%', B: '', C: 'ä=1', LEET_OSV_CWD: '/usr/lib' })
    const { stdout } = run(['program', 'env'], { LEET_OSV_ENV: packed, C: 'old' })
    expect(stdout).toBe('A=a\nb %0A% B=<> C=ä=1 packed=(null) in /usr/lib\n')
  })

  it('does not run a program in another directory than its own', () => {
    const { stdout, stderr } = run(['program', 'env'], {
      LEET_OSV_CWD: '/nowhere',
      LEET_OSV_NONCE: 'n0nce',
      LEET_OSV_RANK: '0',
    })
    expect(stdout).toBe('')
    expect(stderr).toBe(
      'leet: cannot enter /nowhere: No such file or directory\nleet-exit n0nce rank=0 status=127\n',
    )
  })

  it('passes the pieces of a standard input on when they are whole, and its end', async () => {
    const name = join(folder, 'in')
    const piece = (text: string) => `${text.length.toString(16).padStart(8, '0')}${text}`
    const long = `${'x'.repeat(80_000)}\n`
    writeFileSync(`${name}.0`, piece('first\nsec'))
    // Longer than what is there yet.
    writeFileSync(`${name}.1`, piece(`ond\n${long}`).slice(0, 50))
    const child = spawn(join(folder, 'program'), ['input'], {
      env: { LD_PRELOAD: library, LEET_OSV_INPUT: name },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    const ended = new Promise((resolve) => child.once('close', resolve))
    child.stdout.on('data', (data) => {
      said += data
    })
    writeFileSync(`${name}.1`, piece(`ond\n${long}`))
    writeFileSync(`${name}.2`, piece(''))
    await ended
    expect(said).toBe('6 first\n\n7 second\n\n80001 xxxxxxxxx\nend 1\n')
    expect(readdirSync(folder).filter((file) => file.startsWith('in.'))).toEqual([])
  })

  it('keeps any environment', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 40 }).filter((t) => !t.includes('\0') && t.isWellFormed()),
        (value) => {
          const { stdout } = run(['program', 'env'], { LEET_OSV_ENV: packEnvironment({ A: value, B: 'b' }) })
          expect(stdout.startsWith(`A=${value} B=<b>`)).toBe(true)
        },
      ),
      { numRuns: 15 },
    )
  })

  it.each([
    ['exit', '3', 'not flushed ', 'leet-exit n0nce rank=7 status=3\n'],
    ['exit', '0', 'not flushed ', 'leet-exit n0nce rank=7 status=0\n'],
    ['exit', '256', 'not flushed ', 'leet-exit n0nce rank=7 status=0\n'],
    // Linux flushes when the last thread of a process ends; OSv does not.
    ['_exit', '4', 'not flushed ', 'leet-exit n0nce rank=7 status=4\n'],
    ['return', '5', '1 ', 'leet-exit n0nce rank=7 status=5\n'],
    // In another thread than the main one, which ends where it waits.
    ['epoll_wait', '6', '', 'leet-exit n0nce rank=7 status=6\n'],
    ['poll', '6', '', 'leet-exit n0nce rank=7 status=6\n'],
  ])('%s %s is told once', (way, status, stdout, stderr) => {
    const env = { LEET_OSV_NONCE: 'n0nce', LEET_OSV_RANK: '7' }
    const ended = run(['program', way, status], env, false)
    expect([ended.stdout, ended.stderr, ended.signal]).toEqual([stdout, stderr, null])
  })

  it.each([
    ['exit', 4],
    ['return', 5],
  ])('%s runs what was registered for the end, in order, and before the end is told', (way, status) => {
    writeFileSync(
      join(folder, 'library.c'),
      `#include <stdio.h>
       __attribute__((destructor)) static void end(void) { printf("library "); }
       int in_library(void) { return 1; }`,
    )
    writeFileSync(
      join(folder, 'ends.c'),
      `#include <stdio.h>
       #include <stdlib.h>
       #include <string.h>
       int in_library(void);
       static void first(void) { printf("first "); }
       static void last(void) { printf("last "); }
       __attribute__((destructor)) static void end(void) { printf("program "); }
       int main(int c, char **v) {
         atexit(last); atexit(first);
         if (!in_library()) return 1;
         if (!strcmp(v[1], "exit")) exit(atoi(v[2]));
         return atoi(v[2]);
       }`,
    )
    compile('-shared', '-fPIC', '-o', 'libends.so', 'library.c')
    const libraries = ['-L.', '-Wl,--no-as-needed', '-lends', '-Wl,-rpath,$ORIGIN']
    compile('-o', 'ends', 'ends.c', ...libraries)
    const env = { LEET_OSV_NONCE: 'n0nce', LEET_OSV_RANK: '0' }
    const { stdout, stderr } = run(['ends', way, `${status}`], env, false)
    // Linux ends the process when its last thread has ended, and runs all destructors then, those of libraries too.
    expect(stdout).toBe('first last program program library ')
    expect(stderr).toBe(`leet-exit n0nce rank=0 status=${status}\n`)
  })

  it('says nothing without a nonce', () => {
    expect(run(['program', 'return', '5'], {}, false)).toMatchObject({ stderr: '', status: 5 })
  })

  it('copies pointers again that a COPY relocation took too early', () => {
    writeFileSync(
      join(folder, 'data.c'),
      'int number = 42; struct { long a; int *p; const char *t; int *mine; } table = {7, &number, "text", &number};',
    )
    // Runs before all constructors: makes of the copies what OSv makes of them, and sets one word on purpose.
    writeFileSync(
      join(folder, 'copies.c'),
      `#include <stdio.h>
       #include <stddef.h>
       extern struct { long a; int *p; const char *t; int *mine; } table;
       static int own = 1;
       static void spoil(void) { table.p = NULL; table.t = NULL; table.mine = &own; }
       __attribute__((section(".preinit_array"), used)) static void (*const early)(void) = spoil;
       int main(void) { printf("%ld %d %s %d\\n", table.a, table.p ? *table.p : -1, table.t ? table.t : "none", *table.mine); return 0; }`,
    )
    compile('-shared', '-fPIC', '-o', 'libdata.so', 'data.c')
    compile('-no-pie', '-fno-pie', '-o', 'copies', 'copies.c', '-L.', '-ldata', '-Wl,-rpath,$ORIGIN')
    expect(execFileSync('readelf', ['-rW', join(folder, 'copies')], { encoding: 'utf8' })).toContain(
      'R_X86_64_COPY',
    )
    expect(run(['copies'], {}, false)).toEqual({
      stdout: '7 42 text 1\n',
      stderr: '',
      status: 0,
      signal: null,
    })
  })

  it.each([[['-pie', '-fPIE']], [['-no-pie', '-fno-pie']]])(
    'gets into a program compiled with %j, which runs as before',
    (flags) => {
      writeFileSync(
        join(folder, 'plain.c'),
        '#include <stdio.h>\nstatic char zeros[100000];\nint main(int c, char **v) { printf("%s %d\\n", v[1], zeros[c]); return 3; }',
      )
      compile(...flags, '-o', 'plain', 'plain.c')
      const before = readFileSync(join(folder, 'plain'))
      const after = addNeeded(before, NAME, 'plain')
      const { needed } = readElf(bufferSource(after), 'plain')
      expect(needed).toEqual([...readElf(bufferSource(before), 'plain').needed, NAME])
      expect(addNeeded(after, NAME, 'plain')).toBe(after)
      // What was in the file, headers apart, is where it was.
      expect(after.subarray(0x400, 0x800).equals(before.subarray(0x400, 0x800))).toBe(true)
      writeFileSync(join(folder, 'changed'), after, { mode: 0o755 })
      const { stdout, status } = spawnSync(join(folder, 'changed'), ['hello'], {
        env: { LD_LIBRARY_PATH: join(folder, 'sources/build') },
        encoding: 'utf8',
      })
      expect([stdout, status]).toEqual(['hello 0\n', 3])
      const missing = spawnSync(join(folder, 'changed'), ['hello'], { encoding: 'utf8' })
      expect(missing.stderr).toContain(NAME)
      expect(execFileSync('readelf', ['-dW', join(folder, 'changed')], { encoding: 'utf8' })).toContain(
        `[${NAME}]`,
      )
    },
  )

  it.each(['/bin/ls', '/usr/bin/env', process.execPath])('gets into %s', (path) => {
    writeFileSync(join(folder, 'other'), addNeeded(readFileSync(path), NAME, path), { mode: 0o755 })
    const { status, stderr } = spawnSync(join(folder, 'other'), ['--version'], {
      env: { LD_LIBRARY_PATH: join(folder, 'sources/build') },
      encoding: 'utf8',
    })
    expect([status, stderr]).toEqual([0, ''])
  })

  it('does not get into what is none', () => {
    const whole = readFileSync('/bin/ls')
    expect(() => addNeeded(Buffer.from('#!/bin/sh'), NAME, 'script')).toThrow(LeetError)
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(2000), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        fc.nat(whole.length),
        (changes, cut) => {
          const bytes = Buffer.from(whole.subarray(0, cut))
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value
          try {
            addNeeded(bytes, NAME, 'nonsense')
          } catch (error) {
            expect(error).toBeInstanceOf(LeetError)
          }
        },
      ),
      { numRuns: 300 },
    )
  })
})
