// The first process of a Linux guest: from the kernel's first root to a guest that is as its seed says, then the parent
// of all orphans until it is told to power off. One small static program and no shell scripts, because under emulation
// each process that starts costs as much as all that this program does.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "accounts.h"
#include "files.h"
#include "modules.h"
#include "mounts.h"
#include "network.h"
#include "report.h"
#include "seed.h"
#include "ssh.h"

static void write_setting(const char *path, const char *value) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return; // a kernel without it needs no setting
  if (write(fd, value, strlen(value)) < 0) report_failed("setting", because("write"), "path", path, NULL);
  close(fd);
}

// What MPI libraries expect of a node of a cluster.
static void set_limits(void) {
  struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY}, files = {65536, 65536};
  setrlimit(RLIMIT_MEMLOCK, &unlimited);
  setrlimit(RLIMIT_NOFILE, &files);
  // Ranks of one user read each other's memory (process_vm_readv).
  write_setting("/proc/sys/kernel/yama/ptrace_scope", "0");
}

static void run_commands(const struct seed *seed) {
  const struct json *commands = json_get(seed->user_data, "runcmd");
  for (const struct json *command = commands ? commands->first : NULL; command; command = command->next) {
    const char *argv[64] = {NULL};
    int count = 0;
    const struct json *word = command->kind == JSON_ARRAY ? command->first : NULL;
    for (; word && count < 63; word = word->next) argv[count++] = json_text(word, "");
    if (count == 0) {
      report_failed("command", "it is not a list of words", NULL);
      continue;
    }
    pid_t child = fork();
    if (child == 0) {
      execvp(argv[0], (char *const *)argv);
      _exit(127);
    }
    int status = 0;
    char reason[64];
    if (child < 0 || waitpid(child, &status, 0) < 0) report_failed("command", because("fork"), "program", argv[0], NULL);
    else if (status != 0) {
      snprintf(reason, sizeof reason, WIFEXITED(status) ? "it exited with %d" : "it was ended by signal %d", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
      report_failed("command", reason, "program", argv[0], NULL);
    } else report_ok("command", "program", argv[0], NULL);
  }
}

// Buries the dead and waits for the word to end: SIGUSR2 from poweroff, SIGUSR1 from halt, SIGTERM from reboot (the
// signals of busybox, and of SysV before it), SIGINT from Ctrl-Alt-Del.
static void serve(pid_t ssh, const sigset_t *signals) {
  int fd = signalfd(-1, signals, SFD_CLOEXEC);
  struct signalfd_siginfo signal;
  while (read(fd, &signal, sizeof signal) == sizeof signal || errno == EINTR) {
    if (signal.ssi_signo != SIGCHLD) {
      report_word("off", "reason", "asked to", NULL);
      power_off();
    }
    for (pid_t ended; (ended = waitpid(-1, NULL, WNOHANG)) > 0;) {
      if (ended == ssh) report_fatal("ssh", ssh_reason(), NULL);
    }
  }
  report_fatal("init", because("read"), NULL);
}

int main(void) {
  sigset_t signals;
  sigemptyset(&signals);
  const int known[] = {SIGCHLD, SIGUSR1, SIGUSR2, SIGTERM, SIGINT};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) sigaddset(&signals, known[i]);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  umask(022);
  if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=755") < 0 && errno != EBUSY) {
    report_fatal("root", because("mount"), "path", "/dev", NULL);
  }
  enter_image();
  const char *reason = load_modules("/leet/modules", "base");
  if (reason) report_fatal("modules", reason, NULL);
  struct seed seed;
  read_seed(&seed);
  set_limits();
  configure_network(&seed);
  configure_hostname(&seed);
  make_accounts(&seed);
  write_seed_files(&seed);
  authorise_keys(&seed);
  // The server starts on another processor, if there is one, while file systems are mounted.
  pid_t ssh = start_ssh(&seed);
  mount_seed_mounts(&seed);
  run_commands(&seed);
  if (ssh > 0) await_ssh(ssh);
  struct timespec up;
  char ms[32];
  clock_gettime(CLOCK_BOOTTIME, &up);
  snprintf(ms, sizeof ms, "%ld", up.tv_sec * 1000 + up.tv_nsec / 1000000);
  report_word("ready", "ms", ms, NULL);
  serve(ssh, &signals);
}
