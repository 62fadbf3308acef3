#include "accounts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"
#include "mounts.h"
#include "report.h"

enum { MOST_ACCOUNTS = 16 };

struct account {
  const char *name;
  const char *group;
  const char *home;
  uid_t uid;
  gid_t gid;
};

static struct account accounts[MOST_ACCOUNTS];
static int account_count;

static const struct account *find_account(const char *name) {
  for (int i = 0; i < account_count; i++) {
    if (strcmp(accounts[i].name, name) == 0) return &accounts[i];
  }
  return NULL;
}

// Names end up in files whose fields are separated by colons.
static int is_field(const char *text) {
  return text && *text != '\0' && strpbrk(text, ":\n") == NULL;
}

static const char *add_account(const struct json *entry, const struct seed *seed) {
  const char *name = json_text(json_get(entry, "name"), NULL);
  if (account_count == MOST_ACCOUNTS) return "too many accounts";
  if (!is_field(name)) return "it has no name";
  int is_root = strcmp(name, "root") == 0;
  const char *home = json_text(json_get(entry, "homedir"), is_root ? "/root" : "/");
  const char *shell = json_text(json_get(entry, "shell"), "/bin/sh");
  const char *group = json_text(json_get(entry, "primary_group"), name);
  long uid = is_root ? 0 : json_count(json_get(entry, "uid"), -1);
  long gid = is_root ? 0 : json_count(json_get(json_get(seed->meta_data, "leet"), "gid"), uid);
  if (uid < 0 || !is_field(home) || !is_field(shell) || !is_field(group)) return "its uid, home, shell or group makes no sense";
  accounts[account_count++] = (struct account){.name = name, .group = group, .home = home, .uid = (uid_t)uid, .gid = (gid_t)gid};
  if (is_root) return NULL; // the image has root
  // A shell that is not in the image would only keep its user out.
  if (access(shell, X_OK) < 0) shell = "/bin/sh";
  char line[PATH_MAX + 512];
  snprintf(line, sizeof line, "%s:x:%ld:%ld:%s:%s:%s\n", name, uid, gid, name, home, shell);
  if (append_line("/etc/passwd", line) < 0) return because("/etc/passwd");
  snprintf(line, sizeof line, "%s:x:%ld:\n", group, gid);
  if (gid != 0 && append_line("/etc/group", line) < 0) return because("/etc/group");
  snprintf(line, sizeof line, "%s:*:::::::\n", name);
  if (append_line("/etc/shadow", line) < 0) return because("/etc/shadow");
  if (json_is_true(json_get(entry, "no_create_home"))) return NULL;
  if (make_directories(home) < 0 || chown(home, (uid_t)uid, (gid_t)gid) < 0) return because("its home");
  return NULL;
}

void make_accounts(const struct seed *seed) {
  const struct json *users = json_get(seed->user_data, "users");
  for (const struct json *entry = users ? users->first : NULL; entry; entry = entry->next) {
    const char *name = json_text(json_get(entry, "name"), "");
    const char *reason = add_account(entry, seed);
    if (reason) report_fatal("user", reason, "name", name, NULL);
    const struct json *groups = json_get(entry, "groups");
    if (groups && groups->first) report_failed("user", "further groups have no gid in a seed and are not made", "name", name, NULL);
    report_ok("user", "name", name, NULL);
  }
}

// The bytes of base64 text (RFC 4648) in place; their number, or -1.
static long decode_base64(char *text) {
  unsigned long bits = 0;
  int count = 0;
  char *out = text;
  for (const char *c = text; *c && *c != '='; c++) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (*c == '\n' || *c == '\r' || *c == ' ') continue;
    const char *digit = strchr(alphabet, *c);
    if (!digit) return -1;
    bits = bits << 6 | (unsigned long)(digit - alphabet);
    count += 6;
    if (count >= 8) *out++ = (char)(bits >> (count -= 8));
  }
  return out - text;
}

static const char *write_seed_file(const struct json *entry) {
  const char *path = json_text(json_get(entry, "path"), NULL);
  const char *content = json_text(json_get(entry, "content"), "");
  const char *permissions = json_text(json_get(entry, "permissions"), "0644");
  const char *encoding = json_text(json_get(entry, "encoding"), NULL);
  const char *owner = json_text(json_get(entry, "owner"), "root:root");
  if (!path || *path != '/') return "its path is not absolute";
  char *bytes = strdup(content);
  long length = (long)strlen(content);
  if (encoding) length = strcmp(encoding, "b64") == 0 ? decode_base64(bytes) : -1;
  if (length < 0) return "its encoding is not known";
  char name[256];
  snprintf(name, sizeof name, "%.*s", (int)strcspn(owner, ":"), owner);
  const struct account *account = strcmp(name, "root") == 0 ? NULL : find_account(name);
  if (!account && strcmp(name, "root") != 0) return "its owner has no account";
  mode_t mode = (mode_t)strtoul(permissions, NULL, 8) & 07777;
  int failed = write_file(path, bytes, (size_t)length, mode, account ? account->uid : 0, account ? account->gid : 0) < 0;
  free(bytes);
  return failed ? because("write") : NULL;
}

void write_seed_files(const struct seed *seed) {
  const struct json *files = json_get(seed->user_data, "write_files");
  for (const struct json *entry = files ? files->first : NULL; entry; entry = entry->next) {
    const char *path = json_text(json_get(entry, "path"), "");
    const char *reason = write_seed_file(entry);
    if (reason) report_fatal("file", reason, "path", path, NULL);
  }
}

static const char *authorise(const struct account *account, const struct json *keys, const char *home) {
  char path[PATH_MAX + 32];
  char *lines = NULL;
  size_t length = 0;
  FILE *text = open_memstream(&lines, &length);
  for (const struct json *key = keys->first; text && key; key = key->next) fprintf(text, "%s\n", json_text(key, ""));
  if (!text || fclose(text) != 0) return because("memory");
  snprintf(path, sizeof path, "%s/.ssh/authorized_keys", home);
  // The server insists that nobody else can write here.
  if (write_file(path, lines, length, 0600, account->uid, account->gid) < 0) return because(path);
  snprintf(path, sizeof path, "%s/.ssh", home);
  if (chmod(path, 0700) < 0 || chown(path, account->uid, account->gid) < 0) return because(path);
  if (chown(home, account->uid, account->gid) < 0) return because(home);
  free(lines);
  return NULL;
}

// The passwd line of an account with another home. The server looks for keys in the home that passwd names.
static const char *move_home(const struct account *account, const char *home) {
  char *passwd = read_file("/etc/passwd", NULL);
  char *made = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&made, &length);
  if (!passwd || !out) return because("/etc/passwd");
  char *rest = passwd;
  for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
    size_t name = strlen(account->name);
    if (*line == '\0') continue;
    char *shell = strrchr(line, ':');
    if (strncmp(line, account->name, name) == 0 && line[name] == ':' && shell) {
      *shell = '\0';
      char *old = strrchr(line, ':');
      *old = '\0';
      fprintf(out, "%s:%s:%s\n", line, home, shell + 1);
    } else {
      fprintf(out, "%s\n", line);
    }
  }
  int failed = fclose(out) != 0 || write_file("/etc/passwd", made, length, 0644, 0, 0) < 0;
  free(passwd);
  free(made);
  return failed ? because("/etc/passwd") : NULL;
}

void authorise_keys(const struct seed *seed) {
  const struct json *users = json_get(seed->user_data, "users");
  for (const struct json *entry = users ? users->first : NULL; entry; entry = entry->next) {
    const struct json *keys = json_get(entry, "ssh_authorized_keys");
    const struct account *account = find_account(json_text(json_get(entry, "name"), ""));
    if (!keys || keys->kind != JSON_ARRAY || !account) continue;
    const char *home = account->home;
    char own[PATH_MAX];
    const char *reason = NULL;
    if (is_on_seed_mount(seed, home)) {
      // The home will be the user's real one, shared with the node: nothing of ours may be written into it.
      snprintf(own, sizeof own, "/leet/home/%s", account->name);
      home = own;
      reason = move_home(account, home);
    }
    if (!reason) reason = authorise(account, keys, home);
    if (reason) report_fatal("keys", reason, "name", account->name, NULL);
  }
}
