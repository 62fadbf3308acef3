/* Standard input.
 * Fact: descriptor 0 is the console, on which nobody types and which has no end (drivers/line-discipline.cc): a program that
 * reads waits for ever. Nothing but files can be given to a guest, so the user's input comes in pieces, the files
 * LEET_OSV_INPUT.0, .1, …: eight hexadecimal digits, which say how many bytes come behind them, and those; none behind
 * the last. A thread passes them on through a pipe, and removes what it has read. A rank that is given no input finds its
 * end. All programs of a guest have the same descriptor 0: what one is given, another could read. */
#define _GNU_SOURCE
#include "compat.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD 8
#define LOOK_US 20000

struct feed {
    int to;
    char *name;
};

static int write_all(int fd, const char *from, size_t left) {
    while (left > 0) {
        ssize_t written = write(fd, from, left);
        if (written < 0 && errno != EINTR)
            return -1;
        if (written > 0) {
            from += written;
            left -= (size_t)written;
        }
    }
    return 0;
}

/* The bytes of a piece in *bytes; -1 as long as it is not there as a whole. */
static long read_piece(const char *path, char **bytes) {
    char head[HEAD + 1] = "";
    long length = -1;
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return -1;
    if (read(fd, head, HEAD) == HEAD) {
        off_t size = lseek(fd, 0, SEEK_END);
        length = strtol(head, NULL, 16);
        *bytes = size == HEAD + length ? malloc((size_t)length + 1) : NULL;
        if (!*bytes || lseek(fd, HEAD, SEEK_SET) != HEAD || read(fd, *bytes, (size_t)length) != length) {
            free(*bytes);
            length = -1;
        }
    }
    close(fd);
    return length;
}

static void *pass_on(void *argument) {
    struct feed *feed = argument;
    for (unsigned long piece = 0;; piece++) {
        char path[4096];
        char *bytes;
        long length;
        snprintf(path, sizeof path, "%s.%lu", feed->name, piece);
        while ((length = read_piece(path, &bytes)) < 0)
            usleep(LOOK_US);
        unlink(path);
        int failed = write_all(feed->to, bytes, (size_t)length);
        free(bytes);
        if (length == 0 || failed)
            break;
    }
    close(feed->to);
    free(feed->name);
    free(feed);
    return NULL;
}

static void take_pieces(const char *name) {
    int ends[2];
    pthread_t thread;
    struct feed *feed = malloc(sizeof *feed);
    if (!feed || pipe(ends) != 0)
        return;
    *feed = (struct feed){.to = ends[1], .name = strdup(name)};
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    if (pthread_create(&thread, NULL, pass_on, feed) == 0)
        pthread_detach(thread);
    else
        close(ends[1]);
}

void leet_take_input(void) {
    const char *name = getenv("LEET_OSV_INPUT");
    if (name) {
        take_pieces(name);
        unsetenv("LEET_OSV_INPUT");
    } else if (getenv("LEET_OSV_NONCE") && isatty(STDIN_FILENO)) {
        int nothing = open("/dev/null", O_RDONLY);
        if (nothing >= 0) {
            dup2(nothing, STDIN_FILENO);
            close(nothing);
        }
    }
}
