/* Files below /dev/shm.
 * Facts: OSv has no /dev/shm; programs that look for another place find /tmp, where each mapping of a file is a copy of its
 * own, MAP_SHARED or not (fs/ramfs has no vop_cache): MPICH's ranks do not see what the others of their guest write, and
 * MPI_Init fails. What shm_open makes is shared (libc/shm.cc), and on Linux it is a file of that directory. */
#define _GNU_SOURCE
#include "next.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

static const char directory[] = "/dev/shm";

/* The name for shm_open, of a path below the directory; NULL of any other. */
static const char *object_of(const char *path) {
    const char *name = path + sizeof directory - 1;
    return strncmp(path, directory, sizeof directory - 1) == 0 && name[0] == '/' && name[1] ? name : NULL;
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list arguments;                                                                                             \
        va_start(arguments, flags);                                                                                    \
        mode_t mode = va_arg(arguments, mode_t);                                                                       \
        va_end(arguments);                                                                                             \
        const char *object = object_of(path);                                                                          \
        return object ? shm_open(object, flags, mode) : NEXT(name)(path, flags, mode);                                 \
    }

OPEN(open)
OPEN(open64)

#define RANDOM 6
/* Objects have no pages before they are touched (core/mmu.cc), and end where a mapping ends. MPICH writes the last byte of
 * its file to make it as large as it needs, which objects refuse. */
#define SIZE (1L << 40)

static int make_object(char *template) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    char *random = template + strlen(template) - RANDOM;
    for (;;) {
        if (getrandom(random, RANDOM, 0) != RANDOM)
            return -1;
        for (int i = 0; i < RANDOM; i++)
            random[i] = letters[(unsigned char)random[i] % (sizeof letters - 1)];
        int fd = shm_open(object_of(template), O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd >= 0)
            ftruncate(fd, SIZE);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
}

#define MKSTEMP(name)                                                                                                  \
    int name(char *template) {                                                                                         \
        return object_of(template) ? make_object(template) : NEXT(name)(template);                                     \
    }

MKSTEMP(mkstemp)
MKSTEMP(mkstemp64)

int unlink(const char *path) {
    const char *object = object_of(path);
    if (object)
        return shm_unlink(object);
    /* ramfs frees the pages of a file that is mapped. Open MPI's segment stays until the guest ends: one job per boot is
     * the rule. */
    return strstr(path, "vader_segment") ? 0 : NEXT(unlink)(path);
}
