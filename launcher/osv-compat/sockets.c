/* Flags of sockets.
 * Fact: fcntl(F_GETFL) ORs O_LARGEFILE (0100000) into the flags of sockets (fs/vfs/main.cc). Open MPI keeps them in a
 * short, sees a negative number, takes it for an error and never accepts a connection: no job of two ranks starts. */
#define _GNU_SOURCE
#include "next.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>

static int is_socket(int fd) {
    int saved = errno;
    int type;
    socklen_t size = sizeof type;
    int yes = getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
    errno = saved;
    return yes;
}

static int corrected(int fd, int command, int result) {
    return command == F_GETFL && result >= 0 && is_socket(fd) ? result & ~0100000 : result;
}

int fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return corrected(fd, command, NEXT(fcntl)(fd, command, argument));
}

int fcntl64(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    return corrected(fd, command, NEXT(fcntl64)(fd, command, argument));
}
