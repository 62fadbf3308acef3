#include "mounts.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "modules.h"
#include "report.h"

// The image's label in the EROFS superblock (images/formats/erofs.ts).
enum { ROOT_LABEL_OFFSET = 1024 + 64 };
static const char root_label[] = "leet-root";

static void must_mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data) {
  if (mkdir(target, 0755) < 0 && errno != EEXIST) report_fatal("root", because("mkdir"), "path", target, NULL);
  if (mount(source, target, type, flags, data) < 0) report_fatal("root", because("mount"), "path", target, "type", type, NULL);
}

// Modules of the first root take memory that nobody else can have.
static void empty_directory(const char *path) {
  DIR *directory = opendir(path);
  struct dirent *entry;
  while (directory && (entry = readdir(directory)) != NULL) {
    if (entry->d_name[0] != '.') unlinkat(dirfd(directory), entry->d_name, 0);
  }
  if (directory) closedir(directory);
}

void enter_image(void) {
  const char *reason = load_modules("/modules", "root");
  if (reason) report_fatal("root", reason, NULL);
  char *disk = find_disk(ROOT_LABEL_OFFSET, root_label);
  if (!disk) report_fatal("root", "no disk is labelled leet-root", NULL);
  must_mount(disk, "/image", "erofs", MS_RDONLY, NULL);
  must_mount("tmpfs", "/layer", "tmpfs", 0, "mode=755");
  mkdir("/layer/upper", 0755);
  mkdir("/layer/work", 0755);
  must_mount("overlay", "/root", "overlay", 0, "lowerdir=/image,upperdir=/layer/upper,workdir=/layer/work");
  must_mount("/dev", "/root/dev", NULL, MS_MOVE, NULL);
  must_mount("proc", "/root/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  must_mount("sysfs", "/root/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
  must_mount("devpts", "/root/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
  must_mount("tmpfs", "/root/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  symlink("/proc/self/fd", "/root/dev/fd");
  symlink("/proc/self/fd/0", "/root/dev/stdin");
  symlink("/proc/self/fd/1", "/root/dev/stdout");
  symlink("/proc/self/fd/2", "/root/dev/stderr");
  empty_directory("/modules");
  if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0) {
    report_fatal("root", because("chroot"), NULL);
  }
  report_ok("root", "device", disk, NULL);
  free(disk);
}

// A field of fstab(5): blanks and backslashes are written in octal.
static char *unescape(const char *field) {
  char *made = strdup(field), *out = made;
  for (const char *c = field; made && *c; c++) {
    if (*c == '\\' && c[1] >= '0' && c[1] <= '3' && c[2] >= '0' && c[2] <= '7' && c[3] >= '0' && c[3] <= '7') {
      *out++ = (char)((c[1] - '0') * 64 + (c[2] - '0') * 8 + (c[3] - '0'));
      c += 3;
    } else {
      *out++ = *c;
    }
  }
  if (made) *out = '\0';
  return made;
}

struct wanted {
  char *source;
  char *path;
  const char *type;
  const char *options;
  int optional;
};

// The fields of one entry; 0 when it makes no sense.
static int read_entry(const struct json *entry, struct wanted *wanted) {
  const char *fields[4] = {NULL};
  const struct json *field = entry->kind == JSON_ARRAY ? entry->first : NULL;
  for (int i = 0; i < 4 && field; i++, field = field->next) fields[i] = json_text(field, NULL);
  if (!fields[0] || !fields[1] || !fields[2] || fields[1][0] != '/') return 0;
  *wanted = (struct wanted){
      .source = unescape(fields[0]),
      .path = unescape(fields[1]),
      .type = fields[2],
      .options = fields[3] ? fields[3] : "defaults",
  };
  return wanted->source && wanted->path;
}

struct mount_options {
  unsigned long flags;
  char data[1024];
  char version[8]; // of NFS
  int has_address, has_client_address, has_protocol, has_port, has_mount_protocol;
};

static void add_data(struct mount_options *options, const char *name, const char *value) {
  size_t used = strlen(options->data);
  snprintf(options->data + used, sizeof options->data - used, "%s%s%s%s", used ? "," : "", name, value ? "=" : "", value ? value : "");
}

// What mount(8) makes of a list of options: flags of mount(2), words for itself, and the rest for the file system.
static void read_options(const char *list, struct wanted *wanted, struct mount_options *options) {
  static const struct {
    const char *name;
    unsigned long set, clear;
  } known[] = {
      {"ro", MS_RDONLY, 0},          {"rw", 0, MS_RDONLY},          {"nosuid", MS_NOSUID, 0}, {"suid", 0, MS_NOSUID},
      {"nodev", MS_NODEV, 0},        {"dev", 0, MS_NODEV},          {"noexec", MS_NOEXEC, 0}, {"exec", 0, MS_NOEXEC},
      {"noatime", MS_NOATIME, 0},    {"nodiratime", MS_NODIRATIME, 0}, {"relatime", MS_RELATIME, 0}, {"sync", MS_SYNCHRONOUS, 0},
      {"defaults", 0, 0},            {"auto", 0, 0},                {"_netdev", 0, 0},        {"async", 0, MS_SYNCHRONOUS},
      {"nouser", 0, 0},              {"nofail", 0, 0},
  };
  char *copy = strdup(list), *rest = copy;
  for (char *word; copy && (word = strsep(&rest, ",")) != NULL;) {
    int taken = *word == '\0';
    for (size_t i = 0; !taken && i < sizeof known / sizeof *known; i++) {
      if (strcmp(word, known[i].name) != 0) continue;
      options->flags = (options->flags | known[i].set) & ~known[i].clear;
      taken = 1;
    }
    if (strcmp(word, "nofail") == 0) wanted->optional = 1;
    // x-systemd.automount and its like are for others.
    if (taken || strncmp(word, "x-", 2) == 0) continue;
    const char *value = strchr(word, '=');
    size_t name = value ? (size_t)(value - word) : strlen(word);
#define IS(text) (name == sizeof text - 1 && strncmp(word, text, name) == 0)
    if (value && (IS("vers") || IS("nfsvers"))) snprintf(options->version, sizeof options->version, "%s", value + 1);
    options->has_address |= IS("addr");
    options->has_client_address |= IS("clientaddr");
    options->has_protocol |= IS("proto") || IS("tcp") || IS("udp") || IS("rdma");
    options->has_port |= IS("port");
    options->has_mount_protocol |= IS("mountproto");
#undef IS
    add_data(options, word, NULL);
  }
  free(copy);
}

// Our address on the way to `server`.
static int address_towards(struct in_addr server, char text[INET_ADDRSTRLEN]) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(2049), .sin_addr = server}, own;
  socklen_t length = sizeof own;
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  int ok = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
           getsockname(fd, (struct sockaddr *)&own, &length) == 0 &&
           inet_ntop(AF_INET, &own.sin_addr, text, INET_ADDRSTRLEN) != NULL;
  if (fd >= 0) close(fd);
  return ok;
}

// What mount.nfs(8) would look up and add: the kernel wants addresses, and for version 3 the protocols.
static const char *complete_nfs(struct wanted *wanted, struct mount_options *options) {
  if (options->version[0] == '\0') {
    snprintf(options->version, sizeof options->version, strcmp(wanted->type, "nfs4") == 0 ? "4" : "3");
    add_data(options, "vers", options->version);
  }
  char host[256], own[INET_ADDRSTRLEN], server[INET_ADDRSTRLEN];
  snprintf(host, sizeof host, "%.*s", (int)strcspn(wanted->source, ":"), wanted->source);
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
  if (getaddrinfo(host, NULL, &hints, &found) != 0) return "the server's name has no address here";
  struct in_addr address = ((struct sockaddr_in *)found->ai_addr)->sin_addr;
  freeaddrinfo(found);
  if (!inet_ntop(AF_INET, &address, server, sizeof server)) return because("inet_ntop");
  if (!options->has_address) add_data(options, "addr", server);
  if (options->version[0] == '4') {
    if (!options->has_client_address && address_towards(address, own)) add_data(options, "clientaddr", own);
    wanted->type = "nfs4";
    return load_modules("/leet/modules", "nfs4");
  }
  if (!options->has_protocol) add_data(options, "proto", "tcp");
  if (!options->has_port) add_data(options, "port", "2049");
  if (!options->has_mount_protocol) add_data(options, "mountproto", "tcp");
  wanted->type = "nfs";
  return load_modules("/leet/modules", "nfs");
}

// Mounts, and asks the file system something that its server must answer, whoever may read what there is.
static const char *mount_and_ask(const struct wanted *wanted, const struct mount_options *options) {
  struct statfs status;
  if (mount(wanted->source, wanted->path, wanted->type, options->flags, options->data) < 0) return because("mount");
  return statfs(wanted->path, &status) < 0 ? because("statfs") : NULL;
}

// How long a server may take, in seconds. The kernel would try for ever to mount from one that is silent.
enum { PATIENCE = 30 };

// The same in a child, so that nobody waits longer for it than that.
static const char *mount_in_time(const struct wanted *wanted, const struct mount_options *options) {
  static char reason[256];
  int pipes[2], status;
  if (pipe2(pipes, O_CLOEXEC) < 0) return because("pipe2");
  pid_t child = fork();
  if (child == 0) {
    const char *failure = mount_and_ask(wanted, options);
    if (failure) dprintf(pipes[1], "%s", failure);
    _exit(failure ? 1 : 0);
  }
  close(pipes[1]);
  struct pollfd end = {.fd = pipes[0], .events = POLLIN};
  ssize_t length = -1;
  if (child < 0) {
    snprintf(reason, sizeof reason, "%s", because("fork"));
  } else if (poll(&end, 1, PATIENCE * 1000) == 0) {
    // Not waited for: it may be in a call that not even this ends.
    kill(child, SIGKILL);
    snprintf(reason, sizeof reason, "no answer within %d s", PATIENCE);
  } else {
    length = read(pipes[0], reason, sizeof reason - 1);
    reason[length < 0 ? 0 : length] = '\0';
    waitpid(child, &status, 0);
  }
  close(pipes[0]);
  return length == 0 ? NULL : reason;
}

static const char *mount_one(struct wanted *wanted) {
  struct mount_options options = {.flags = 0};
  read_options(wanted->options, wanted, &options);
  const char *reason = NULL;
  if (strncmp(wanted->type, "nfs", 3) == 0) reason = complete_nfs(wanted, &options);
  else if (strcmp(wanted->type, "9p") == 0 || strcmp(wanted->type, "virtiofs") == 0) reason = load_modules("/leet/modules", wanted->type);
  if (reason) return reason;
  if (make_directories(wanted->path) < 0) return because("mkdir");
  return mount_in_time(wanted, &options);
}

void mount_seed_mounts(const struct seed *seed) {
  const struct json *mounts = json_get(seed->user_data, "mounts");
  for (const struct json *entry = mounts ? mounts->first : NULL; entry; entry = entry->next) {
    struct wanted wanted;
    if (!read_entry(entry, &wanted)) report_fatal("mount", "an entry of mounts makes no sense", NULL);
    report_begin("mount", "path", wanted.path, NULL);
    const char *reason = mount_one(&wanted);
    if (!reason) report_ok("mount", "path", wanted.path, "type", wanted.type, NULL);
    else if (wanted.optional) report_failed("mount", reason, "path", wanted.path, "type", wanted.type, "source", wanted.source, NULL);
    else report_fatal("mount", reason, "path", wanted.path, "type", wanted.type, "source", wanted.source, NULL);
    free(wanted.source);
    free(wanted.path);
  }
}

int is_on_seed_mount(const struct seed *seed, const char *path) {
  const struct json *mounts = json_get(seed->user_data, "mounts");
  int found = 0;
  for (const struct json *entry = mounts ? mounts->first : NULL; entry && !found; entry = entry->next) {
    struct wanted wanted;
    if (!read_entry(entry, &wanted)) continue;
    size_t length = strlen(wanted.path);
    found = strncmp(path, wanted.path, length) == 0 && (path[length] == '/' || path[length] == '\0' || length == 1);
    free(wanted.source);
    free(wanted.path);
  }
  return found;
}
