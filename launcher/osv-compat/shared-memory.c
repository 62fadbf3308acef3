/* Shared memory between the ranks of one guest (Open MPI's vader), which lives in files of ramfs.
 * Facts: statfs of ramfs is all zeros, so that Open MPI finds no room for its segment; munmap returns EINVAL; unlinking
 * a file that is mapped frees its pages, and the heap is corrupted in a fifth of the runs. */
#define _GNU_SOURCE
#include "next.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define PAGE 4096UL

/* Other file systems have a block size. */
#define GIVE_MEMORY(buffer)                                                                                            \
    do {                                                                                                               \
        struct sysinfo memory;                                                                                         \
        if ((buffer)->f_bsize == 0 && (buffer)->f_blocks == 0 && sysinfo(&memory) == 0) {                              \
            (buffer)->f_bsize = (buffer)->f_frsize = PAGE;                                                             \
            (buffer)->f_blocks = memory.totalram * memory.mem_unit / PAGE;                                             \
            (buffer)->f_bfree = (buffer)->f_bavail = memory.freeram * memory.mem_unit / PAGE;                          \
        }                                                                                                              \
    } while (0)

#define STATFS(name, where, type)                                                                                      \
    int name(where target, struct type *buffer) {                                                                      \
        int result = NEXT(name)(target, buffer);                                                                       \
        if (result == 0)                                                                                               \
            GIVE_MEMORY(buffer);                                                                                       \
        return result;                                                                                                 \
    }

STATFS(statfs, const char *, statfs)
STATFS(statfs64, const char *, statfs64)
STATFS(fstatfs, int, statfs)
STATFS(fstatfs64, int, statfs64)
STATFS(statvfs, const char *, statvfs)
STATFS(statvfs64, const char *, statvfs64)
STATFS(fstatvfs, int, statvfs)
STATFS(fstatvfs64, int, statvfs64)

int munmap(void *address, size_t length) {
    int saved = errno;
    int result = NEXT(munmap)(address, length);
    if (result == 0 || errno != EINVAL)
        return result;
    errno = saved;
    return 0;
}

/* The segment stays until the guest ends: one job per boot is the rule. */
int unlink(const char *path) {
    return strstr(path, "vader_segment") ? 0 : NEXT(unlink)(path);
}
