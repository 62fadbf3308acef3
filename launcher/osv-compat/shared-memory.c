/* Shared memory between the ranks of one guest (Open MPI's vader), which lives in files of ramfs.
 * Facts: statfs of ramfs is all zeros, so that Open MPI finds no room for its segment; munmap returns EINVAL.
 * Of a page of a shared memory object that two ranks touch for the first time at once each may get one of its own, and never
 * sees what the other writes (shm_file::page in core/mmu.cc, which takes no lock): such ranks wait for ever. Filling a mapping
 * as it is made happens under a lock. */
#define _GNU_SOURCE
#include "next.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

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

/* Of such an object fstat tells the size alone; whatever else can be mapped has a type. */
static int is_object(int fd) {
    struct stat status = {0};
    int saved = errno;
    int is = fd >= 0 && fstat(fd, &status) == 0 && status.st_mode == 0 && status.st_size > 0;
    errno = saved;
    return is;
}

#define MMAP(name)                                                                                                     \
    void *name(void *address, size_t length, int protection, int flags, int fd, off_t offset) {                        \
        int filled = is_object(fd) ? MAP_POPULATE : 0;                                                                 \
        return NEXT(name)(address, length, protection, flags | filled, fd, offset);                                    \
    }

MMAP(mmap)
MMAP(mmap64)

int munmap(void *address, size_t length) {
    int saved = errno;
    int result = NEXT(munmap)(address, length);
    if (result == 0 || errno != EINVAL)
        return result;
    errno = saved;
    return 0;
}
