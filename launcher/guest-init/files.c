#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST = 64 << 20 };

char *read_file(const char *path, size_t *length) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  size_t room = 4096, used = 0;
  char *bytes = malloc(room);
  while (bytes) {
    ssize_t got = read(fd, bytes + used, room - used - 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      if (got < 0) {
        free(bytes);
        bytes = NULL;
      }
      break;
    }
    used += (size_t)got;
    if (room - used > 1) continue;
    room *= 2;
    char *more = room > LARGEST ? NULL : realloc(bytes, room);
    if (!more) {
      free(bytes);
      errno = EFBIG;
    }
    bytes = more;
  }
  int error = errno;
  close(fd);
  errno = error;
  if (!bytes) return NULL;
  bytes[used] = '\0';
  if (length) *length = used;
  return bytes;
}

static int write_all(int fd, const char *bytes, size_t length) {
  for (size_t at = 0; at < length;) {
    ssize_t written = write(fd, bytes + at, length - at);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return -1;
    at += (size_t)written;
  }
  return 0;
}

int write_file(const char *path, const void *bytes, size_t length, mode_t mode, uid_t uid, gid_t gid) {
  if (make_parents(path) < 0) return -1;
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  int failed = write_all(fd, bytes, length) < 0 || fchown(fd, uid, gid) < 0 || fchmod(fd, mode) < 0;
  int error = errno;
  close(fd);
  errno = error;
  return failed ? -1 : 0;
}

int append_line(const char *path, const char *line) {
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return -1;
  int failed = write_all(fd, line, strlen(line)) < 0;
  int error = errno;
  close(fd);
  errno = error;
  return failed ? -1 : 0;
}

static int make_up_to(const char *path, int with_last) {
  char partial[PATH_MAX];
  if (snprintf(partial, sizeof partial, "%s", path) >= (int)sizeof partial) {
    errno = ENAMETOOLONG;
    return -1;
  }
  for (char *c = partial + 1; partial[0] != '\0'; c++) {
    if (*c != '/' && *c != '\0') continue;
    char was = *c;
    if (was == '\0' && !with_last) return 0;
    *c = '\0';
    if (mkdir(partial, 0755) < 0 && errno != EEXIST) return -1;
    *c = was;
    if (was == '\0') return 0;
  }
  return 0;
}

int make_directories(const char *path) {
  return make_up_to(path, 1);
}

int make_parents(const char *path) {
  return make_up_to(path, 0);
}
