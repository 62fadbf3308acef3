/* Waits of the main thread, where it learns that its program has ended.
 * Fact: `_exit` of one thread ends no other here (exit.c), and OSv has neither signals nor pthread_cancel. Open MPI 4 that is told
 * to end does so in a thread of its own, while the program's waits for a message and looks for it here again and again. */
#define _GNU_SOURCE
#include "compat.h"
#include "next.h"

#include <poll.h>
#include <sys/epoll.h>

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout) {
    int result = NEXT(epoll_wait)(fd, events, most, timeout);
    leet_end_with_program();
    return result;
}

int poll(struct pollfd *fds, nfds_t count, int timeout) {
    int result = NEXT(poll)(fds, count, timeout);
    leet_end_with_program();
    return result;
}
