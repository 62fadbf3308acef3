#include "ssh.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "hostkey.h"
#include "report.h"

static const char key_file[] = "/run/leet/hostkey";
static const char log_file[] = "/run/leet/sshd.log";

pid_t start_ssh(const struct seed *seed) {
  const char *pem = json_text(json_get(json_get(seed->user_data, "ssh_keys"), "ed25519_private"), NULL);
  if (!pem) return 0;
  const char *reason = write_host_key(pem, key_file);
  if (reason) report_fatal("ssh", reason, NULL);
  pid_t child = fork();
  if (child < 0) report_fatal("ssh", because("fork"), NULL);
  if (child > 0) return child;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  int null = open("/dev/null", O_RDONLY), log = open(log_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  // In the foreground, messages to the log, no passwords (-s), no forwarding of ports (-j -k), no message of the day,
  // and a window that does not throttle the ranks' output.
  execl("/leet/sshd", "dropbear", "-F", "-E", "-s", "-j", "-k", "-m", "-r", key_file, "-p", "22", "-W", "1048576", (char *)NULL);
  fprintf(stderr, "%s\n", because("/leet/sshd"));
  _exit(127);
}

// Whether any process listens on TCP port 22 (proc(5): addresses in hexadecimal, state 0A).
static int listens(void) {
  int found = 0;
  static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
  for (int i = 0; i < 2 && !found; i++) {
    char *table = read_file(tables[i], NULL);
    for (char *at = table; at && !found; at = strchr(at, '\n')) {
      at += *at == '\n';
      char local[80];
      unsigned state;
      if (sscanf(at, " %*d: %79s %*s %x", local, &state) != 2) continue;
      const char *port = strrchr(local, ':');
      found = state == 0x0a && port && strcmp(port, ":0016") == 0;
    }
    free(table);
  }
  return found;
}

const char *ssh_reason(void) {
  static char text[256];
  char *log = read_file(log_file, NULL);
  size_t length = log ? strlen(log) : 0;
  while (length > 0 && log[length - 1] == '\n') log[--length] = '\0';
  char *last = log ? strrchr(log, '\n') : NULL;
  snprintf(text, sizeof text, "the server ended: %s", length == 0 ? "without a word" : last ? last + 1 : log);
  free(log);
  return text;
}

void await_ssh(pid_t server) {
  while (!listens()) {
    if (waitpid(server, NULL, WNOHANG) == server) report_fatal("ssh", ssh_reason(), NULL);
    struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
    nanosleep(&pause, NULL);
  }
  report_ok("ssh", "port", "22", NULL);
}
