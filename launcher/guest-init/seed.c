#include "seed.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "report.h"

// Volume label in the primary volume descriptor, sector 16 (ECMA-119, 8.4.7).
enum { LABEL_OFFSET = 16 * 2048 + 40 };
static const char mount_point[] = "/leet/seed";

static int has_label(const char *path, long offset, const char *label) {
  char bytes[32];
  size_t length = strlen(label);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  ssize_t got = pread(fd, bytes, length, offset);
  close(fd);
  return got == (ssize_t)length && memcmp(bytes, label, length) == 0;
}

char *find_disk(long offset, const char *label) {
  for (int tries = 0; tries < 500; tries++) {
    DIR *devices = opendir("/dev");
    struct dirent *entry;
    while (devices && (entry = readdir(devices)) != NULL) {
      char path[300];
      if (strncmp(entry->d_name, "vd", 2) != 0 && strncmp(entry->d_name, "sd", 2) != 0 && strncmp(entry->d_name, "sr", 2) != 0) continue;
      snprintf(path, sizeof path, "/dev/%s", entry->d_name);
      if (!has_label(path, offset, label)) continue;
      closedir(devices);
      return strdup(path);
    }
    if (devices) closedir(devices);
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    nanosleep(&pause, NULL);
  }
  return NULL;
}

static const struct json *read_document(const char *name) {
  char path[64];
  snprintf(path, sizeof path, "%s/%s", mount_point, name);
  char *text = read_file(path, NULL);
  if (!text) report_fatal("seed", because("open"), "file", name, NULL);
  // The first line of user-data says #cloud-config; to JSON it is nothing.
  char *begin = text;
  while (*begin == '#') begin += strcspn(begin, "\n") + (begin[strcspn(begin, "\n")] == '\n');
  const struct json *document = json_parse(begin);
  if (!document) report_fatal("seed", "it is not JSON", "file", name, NULL);
  return document;
}

void read_seed(struct seed *seed) {
  char *disk = find_disk(LABEL_OFFSET, "cidata");
  if (!disk) report_fatal("seed", "no disk is labelled cidata", NULL);
  if (make_directories(mount_point) < 0) report_fatal("seed", because("mkdir"), "path", mount_point, NULL);
  if (mount(disk, mount_point, "iso9660", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) {
    report_fatal("seed", because("mount"), "device", disk, NULL);
  }
  seed->user_data = read_document("user-data");
  seed->meta_data = read_document("meta-data");
  seed->network_config = read_document("network-config");
  // It holds the host's private key.
  umount(mount_point);
  rmdir(mount_point);
  report_ok("seed", "device", disk, NULL);
  free(disk);
}
