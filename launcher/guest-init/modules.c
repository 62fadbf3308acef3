#include "modules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "files.h"

// One that an earlier set brought is not read again: NFS's are five megabytes, and each file system asks for them.
static int is_there(const char *name) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "/sys/module/%s", name);
  return access(path, F_OK) == 0;
}

static int insert(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  int failed = syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST;
  int error = errno;
  close(fd);
  errno = error;
  return failed ? -1 : 0;
}

const char *load_modules(const char *directory, const char *set) {
  static char reason[256];
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s.list", directory, set);
  char *list = read_file(path, NULL);
  if (!list) {
    snprintf(reason, sizeof reason, "the kernel of this guest has no modules for %s", set);
    return reason;
  }
  const char *failure = NULL;
  char *rest = list;
  for (char *name; !failure && (name = strsep(&rest, "\n")) != NULL;) {
    // A dash marks what the guest can do without, such as a faster cipher that its CPU does not have.
    int optional = *name == '-';
    name += optional;
    if (*name == '\0' || is_there(name)) continue;
    snprintf(path, sizeof path, "%s/%s.ko", directory, name);
    if (insert(path) == 0 || optional) continue;
    snprintf(reason, sizeof reason, "module %s: %s", name, strerror(errno));
    failure = reason;
  }
  free(list);
  return failure;
}
