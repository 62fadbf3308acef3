/* The end of a program.
 * Facts: exit(N), also exit(0), and _exit power the whole guest off (runtime.cc), with the other ranks in it and the
 * results in /tmp; a status that main returns appears only as `program X returned N`, without saying which of two ranks
 * it was. Here a program ends alone: what it has registered for its end runs (destructors.c), its streams are flushed,
 * what it wrote goes to the disk of the working directories, one line with the job's nonce, the rank and the status goes
 * to the console, and the calling thread ends; the main thread, if that is another one, where it waits next (waits.c). */
#define _GNU_SOURCE
#include "compat.h"
#include "next.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* Where that disk is mounted, in guests that have one (stage-links.ts). libext keeps what is written, and without this a guest
 * that does not come to unmount it would lose the results of ranks that had ended. */
#define WORK_MOUNT "/leet/work"

static void save_files(void) {
    if (access(WORK_MOUNT, F_OK) == 0)
        sync();
}

/* One line, written at once: ranks of one guest share the console. Without a nonce nobody reads it. */
static void say(int status) {
    const char *nonce = getenv("LEET_OSV_NONCE");
    const char *rank = getenv("LEET_OSV_RANK");
    char line[160];
    if (!nonce || !rank)
        return;
    int length = snprintf(line, sizeof line, "leet-exit %.64s rank=%.16s status=%d\n", nonce, rank, status & 255);
    for (int at = 0; at < length;) {
        ssize_t written = write(STDERR_FILENO, line + at, (size_t)(length - at));
        if (written < 0 && errno != EINTR)
            return;
        if (written > 0)
            at += (int)written;
    }
}

static pthread_t main_thread;
/* A program ends once, in whichever of its threads; the others need not know before all has been said. */
static int ending, ended;

static void report(int status) {
    if (__atomic_exchange_n(&ending, 1, __ATOMIC_SEQ_CST))
        return;
    save_files();
    say(status);
    __atomic_store_n(&ended, 1, __ATOMIC_RELEASE);
}

void leet_end_with_program(void) {
    if (__atomic_load_n(&ended, __ATOMIC_ACQUIRE) && pthread_equal(pthread_self(), main_thread))
        pthread_exit(NULL);
}

static int (*program_main)(int, char **, char **);

__attribute__((noreturn)) void exit(int status) {
    leet_run_destructors((const void *)program_main);
    fflush(NULL);
    report(status);
    pthread_exit(NULL);
}

/* Does not flush, as it should not. */
__attribute__((noreturn)) void _exit(int status) {
    report(status);
    pthread_exit(NULL);
}

__attribute__((noreturn)) void _Exit(int status) {
    _exit(status);
}

/* OSv calls main with two arguments (core/app.cc); Linux gives it the environment too. */
static int reporting_main(int argc, char **argv, char **unset) {
    (void)unset;
    main_thread = pthread_self();
    int status = program_main(argc, argv, environ);
    leet_run_destructors((const void *)program_main);
    fflush(NULL);
    report(status);
    return status;
}

int __libc_start_main(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void),
                      void *);

/* Where the start code of an ordinary executable hands main over. */
int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end) {
    program_main = main;
    return NEXT(__libc_start_main)(reporting_main, argc, argv, init, fini, rtld_fini, stack_end);
}
