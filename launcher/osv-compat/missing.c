/* Symbols that the OSv kernel does not have and that Open MPI or OpenFOAM refer to. OSv looks functions up when they are
 * first called, and a missing one ends the program then. What cannot exist in a guest says so by errno, as Linux would. */
#define _GNU_SOURCE
#include "next.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* libOpenFOAM overrides malloc and calls glibc's own by this name. */
void *__libc_malloc(size_t size);
void *__libc_malloc(size_t size) {
    return NEXT(malloc)(size);
}

/* The end of the data segment, which OSv does not have; libopen-pal only looks at it to patch brk. */
void *__curbrk;

/* libevent's source of random numbers. */
void arc4random_buf(void *buffer, size_t size) {
    for (char *at = buffer; size > 0;) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0 && errno != EINTR)
            abort();
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
}

/* vader's single copy: no other process has memory here. */
ssize_t process_vm_readv(pid_t pid, const struct iovec *local, unsigned long local_count, const struct iovec *remote,
                         unsigned long remote_count, unsigned long flags) {
    (void)pid, (void)local, (void)local_count, (void)remote, (void)remote_count, (void)flags;
    errno = ENOSYS;
    return -1;
}

ssize_t process_vm_writev(pid_t pid, const struct iovec *local, unsigned long local_count, const struct iovec *remote,
                          unsigned long remote_count, unsigned long flags) {
    (void)pid, (void)local, (void)local_count, (void)remote, (void)remote_count, (void)flags;
    errno = ENOSYS;
    return -1;
}

int name_to_handle_at(int directory, const char *path, struct file_handle *handle, int *mount, int flags) {
    (void)directory, (void)path, (void)handle, (void)mount, (void)flags;
    errno = EOPNOTSUPP;
    return -1;
}

/* There are no child processes. */
int waitid(idtype_t kind, id_t id, siginfo_t *info, int options) {
    (void)kind, (void)id, (void)info, (void)options;
    errno = ECHILD;
    return -1;
}

int sigisemptyset(const sigset_t *set) {
    /* There are 64 signals; the C library's own functions leave the rest of the set as it is. */
    return *(const unsigned long *)set == 0;
}
