/*
 * leet-starter: starts the ranks of one guest, carries their standard streams and tells how they ended.
 *
 * It speaks the frames of README.md on its standard input and output with a controller that it obeys; a rank is never
 * trusted. One thread around epoll(7), which never blocks on a rank or on the controller:
 *  - what a rank writes is read only while the controller takes it: a full queue closes the set of outputs;
 *  - what a rank does not read is held for it, up to the window that the controller has agreed to;
 *  - a rank is forked, and tells through shared memory what kept it from its program. Not vfork(2), which would hold
 *    the starter through each execve(2) while other processors idle: 128 ranks then take a fifth longer.
 * Nothing outlives it: each rank is killed with it (PR_SET_PDEATHSIG), and as the subreaper of all that ranks leave
 * behind (PR_SET_CHILD_SUBREAPER) it ends those too before it leaves. The end of its standard input is its own end.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

enum { PROTOCOL = 1 };

/* Frames: see README.md. The first group comes from the controller, the second goes to it. */
enum {
  START = 1, INPUT = 2, INPUT_END = 3, SIGNAL = 4, SHUTDOWN = 5,
  READY = 16, BEGAN = 17, STDOUT = 18, STDERR = 19, EXITED = 20, FAILED = 21,
  INPUT_TAKEN = 22, INPUT_CLOSED = 23, REFUSED = 24
};
enum { HEADER = 9 };
enum { WITH_STDIN = 1, WITH_TERMINAL = 2, WITH_USER = 4, WITH_COARSE_TIMERS = 8 };
/* Where a start failed. */
enum { SPECIFICATION = 1, STREAMS, PROCESS, USER, CPUS, DIRECTORY, SEARCH, PROGRAM, INTERPRETER };

#define NOBODY UINT32_MAX /* no rank, or all of them */
enum {
  RANKS_MAX = 1 << 20,        /* a rank's number is below this */
  FRAME_MAX = 16 << 20,       /* of a frame from the controller: more than execve(2) takes */
  INPUT_WINDOW = 64 << 10,    /* input that is held for one rank */
  CHUNK = 64 << 10,           /* of one read */
  QUEUE_LIMIT = 256 << 10,    /* queued for the controller before outputs are left alone */
  COARSE_TIMERS_NS = 1000000,
  TERMINAL_CAPACITY = 128 << 10, /* more than a pseudo-terminal holds */
  LINGER_MS = 250,            /* an output that another process holds open delays the end of its rank for so long */
  ORPHAN_GRACE_MS = 100,      /* from the loss of the controller to the kill */
  KILL_PATIENCE_MS = 5000     /* from the kill until the starter leaves regardless */
};

struct rank;

/* An open descriptor of a rank, as epoll sees it. */
struct stream {
  struct rank *rank;
  int fd;          /* -1: closed */
  size_t owed;     /* what may still be of the rank itself, once it has ended */
  uint8_t frame;   /* STDOUT, STDERR or INPUT */
};

struct rank {
  uint32_t id;
  pid_t pid;
  struct stream in, out, err;
  uint8_t *held;   /* input that the rank has not read yet */
  size_t held_size;
  bool input_watched, input_ends;
  bool running, reported;
  int status;      /* of waitpid(2), once it does not run */
  struct failure *failure; /* shared with the process until it has become its program */
  int64_t linger;  /* when to stop waiting for its outputs to end */
};

/* What kept a process from becoming its program; `error` is 0 when nothing did. */
struct failure { uint32_t error, stage; };

static struct rank **ranks; /* in the order of their starts */
static uint32_t ranks_count, ranks_room;
static struct failure *failures; /* by number, in memory shared with the processes; touched only as far as used */
static uint32_t running, unreported;

static int everything, outputs; /* epoll sets; `outputs` is in `everything` while there is room for output */
static bool outputs_closed, control_waits;
static int signals;
static pid_t self, parent;
static struct rlimit files_limit; /* as the starter found it: ranks get it back */

static struct { uint8_t *bytes; size_t capacity, start, end; } to_controller, from_controller;

static bool input_ended, controller_gone, leaving, killed;
static int64_t kill_at = INT64_MAX, leave_at = INT64_MAX;

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void die(const char *what) {
  /* Ranks die with the starter. */
  fprintf(stderr, "leet-starter: %s: %s\n", what, strerror(errno));
  _exit(1);
}

static uint32_t get32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t v) {
  p[0] = v >> 24, p[1] = v >> 16, p[2] = v >> 8, p[3] = v;
}

static void watch(int set, int operation, int fd, uint32_t events, void *what) {
  struct epoll_event event = {.events = events, .data.ptr = what};
  if (epoll_ctl(set, operation, fd, operation == EPOLL_CTL_DEL ? NULL : &event) < 0) die("epoll_ctl");
}

/* ---- The queue to the controller ---- */

/* Room for `size` bytes at the end of the queue. */
static uint8_t *queue_room(size_t size) {
  if (to_controller.capacity - to_controller.end < size) {
    size_t used = to_controller.end - to_controller.start;
    if (used) memmove(to_controller.bytes, to_controller.bytes + to_controller.start, used);
    to_controller.start = 0;
    to_controller.end = used;
    if (to_controller.capacity - used < size) {
      to_controller.capacity = (used + size) * 2;
      to_controller.bytes = realloc(to_controller.bytes, to_controller.capacity);
      if (!to_controller.bytes) die("no memory for the queue");
    }
  }
  return to_controller.bytes + to_controller.end;
}

/* Completes a frame of which `size` bytes of payload have been put at queue_room(...) + HEADER. */
static void queue_frame(uint8_t type, uint32_t rank, size_t size) {
  uint8_t *p = to_controller.bytes + to_controller.end;
  put32(p, size);
  p[4] = type;
  put32(p + 5, rank);
  to_controller.end += HEADER + size;
}

static void tell(uint8_t type, uint32_t rank, const void *payload, size_t size) {
  uint8_t *p = queue_room(HEADER + size);
  if (size) memcpy(p + HEADER, payload, size);
  queue_frame(type, rank, size);
}

static void tell32(uint8_t type, uint32_t rank, uint32_t value) {
  uint8_t payload[4];
  put32(payload, value);
  tell(type, rank, payload, sizeof payload);
}

static void tell_failure(uint32_t rank, uint32_t error, uint8_t stage) {
  uint8_t payload[5];
  put32(payload, error);
  payload[4] = stage;
  tell(FAILED, rank, payload, sizeof payload);
}

static size_t queued(void) { return to_controller.end - to_controller.start; }

/* Begins the end: no more commands, the kill after `grace` milliseconds at the latest. */
static void leave(int64_t grace) {
  int64_t at = now_ms() + grace;
  leaving = true;
  if (at < kill_at) kill_at = at;
}

/* Nobody reads what is told. */
static void lose_controller(void) {
  if (controller_gone) return;
  watch(everything, EPOLL_CTL_DEL, STDOUT_FILENO, 0, NULL);
  controller_gone = true;
  leave(ORPHAN_GRACE_MS);
}

/* Sends what the controller takes, and opens or closes the outputs accordingly. */
static void flush_queue(void) {
  while (queued() && !controller_gone) {
    ssize_t n = write(STDOUT_FILENO, to_controller.bytes + to_controller.start, queued());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) break;
    if (n < 0) lose_controller();
    else to_controller.start += n;
  }
  if (controller_gone || !queued()) to_controller.start = to_controller.end = 0;
  if (!controller_gone && control_waits != (queued() > 0)) {
    control_waits = queued() > 0;
    watch(everything, EPOLL_CTL_MOD, STDOUT_FILENO, control_waits ? EPOLLOUT : 0, &to_controller);
  }
  if (outputs_closed != (queued() >= QUEUE_LIMIT)) {
    outputs_closed = queued() >= QUEUE_LIMIT;
    watch(everything, EPOLL_CTL_MOD, outputs, outputs_closed ? 0 : EPOLLIN, &outputs);
  }
}

/* ---- The end of a rank ---- */

static void close_end(int fd) {
  if (fd >= 0) close(fd);
}

static void close_stream(struct stream *s) {
  if (s->fd < 0) return;
  /* Not left to close(2): a process that has been forked but has not reached its program still holds a copy. */
  watch(s->frame == INPUT ? everything : outputs, EPOLL_CTL_DEL, s->fd, 0, NULL);
  close(s->fd);
  s->fd = -1;
}

static bool readable(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, 0) > 0;
}

/*
 * Whether all that the rank itself wrote to an output has been passed on. Usually the output has ended with it. When
 * another process holds it open there is a short wait for that one to end too; then what the rank left in the pipe,
 * which is at most `owed`, is still passed on first.
 */
static bool drained(const struct stream *s) {
  return s->fd < 0 || (now_ms() >= s->rank->linger && (s->owed == 0 || !readable(s->fd)));
}

static void report_end(struct rank *r) {
  if (r->running || r->reported || !drained(&r->out) || !drained(&r->err)) return;
  r->reported = true;
  unreported--;
  if (r->failure->error) return tell_failure(r->id, r->failure->error, r->failure->stage);
  bool killed = WIFSIGNALED(r->status);
  uint8_t payload[3] = {killed, killed ? WTERMSIG(r->status) : WEXITSTATUS(r->status),
                        killed && WCOREDUMP(r->status)};
  tell(EXITED, r->id, payload, sizeof payload);
}

static void drop_input(struct rank *r) {
  close_stream(&r->in);
  free(r->held);
  r->held = NULL;
  r->held_size = 0;
}

static size_t owed_by(const struct stream *s) {
  int size = 0;
  if (s->fd < 0) return 0;
  /* The far side of a terminal counts only part of what is under way in it. */
  if (isatty(s->fd) || ioctl(s->fd, FIONREAD, &size) < 0) return TERMINAL_CAPACITY;
  return size;
}

static void reap(void) {
  struct signalfd_siginfo info;
  while (read(signals, &info, sizeof info) == sizeof info)
    if (info.ssi_signo == SIGTERM && getppid() != parent) lose_controller(); /* else it is not for us */
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    struct rank *r = NULL;
    for (uint32_t i = 0; i < ranks_count && !r; i++)
      if (ranks[i]->running && ranks[i]->pid == pid) r = ranks[i];
    if (!r) continue; /* left behind by a rank and adopted here */
    r->running = false;
    r->status = status;
    running--;
    drop_input(r);
    r->out.owed = owed_by(&r->out);
    r->err.owed = owed_by(&r->err);
    r->linger = now_ms() + LINGER_MS;
    report_end(r);
  }
}

static void signal_ranks(uint32_t which, int number) {
  for (uint32_t i = 0; i < ranks_count; i++)
    if (ranks[i]->running && (which == NOBODY || which == ranks[i]->id) && kill(-ranks[i]->pid, number) < 0)
      kill(ranks[i]->pid, number); /* it has not come to make its group */
}

/* Kills whatever ranks have left behind. As their subreaper the starter is the parent of each, sooner or later. */
static void end_descendants(int64_t deadline) {
  while (now_ms() < deadline) {
    siginfo_t any = {0};
    if (waitid(P_ALL, 0, &any, WEXITED | WNOHANG | WNOWAIT) < 0) return; /* ECHILD: nothing is left */
    if (any.si_pid) {
      reap();
      continue;
    }
    DIR *proc = opendir("/proc");
    if (!proc) return;
    for (struct dirent *entry; (entry = readdir(proc));) {
      char path[64], stat[512];
      pid_t pid = atoi(entry->d_name);
      if (pid <= 0) continue;
      snprintf(path, sizeof path, "/proc/%d/stat", pid);
      int fd = open(path, O_RDONLY | O_CLOEXEC);
      if (fd < 0) continue;
      ssize_t n = read(fd, stat, sizeof stat - 1);
      close(fd);
      stat[n > 0 ? n : 0] = 0;
      char *after_name = strrchr(stat, ')'); /* proc(5): the name may hold anything */
      int parent;
      if (after_name && sscanf(after_name, ") %*c %d", &parent) == 1 && parent == self) kill(pid, SIGKILL);
    }
    closedir(proc);
    poll(&(struct pollfd){.fd = signals, .events = POLLIN}, 1, 10);
  }
}

/* ---- Output and input of a rank ---- */

static void pass_output(struct stream *s) {
  uint8_t *p = queue_room(HEADER + CHUNK);
  ssize_t n = read(s->fd, p + HEADER, CHUNK);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) {
    queue_frame(s->frame, s->rank->id, n);
    s->owed -= (size_t)n < s->owed ? (size_t)n : s->owed;
  } else {
    close_stream(s); /* end of a pipe, or EIO: the last user of the terminal is gone */
  }
  report_end(s->rank);
}

static void pass_outputs(void) {
  struct epoll_event events[64];
  int n = epoll_wait(outputs, events, 64, 0);
  for (int i = 0; i < n && queued() < QUEUE_LIMIT; i++) {
    struct stream *s = events[i].data.ptr;
    if (s->fd >= 0) pass_output(s);
  }
}

/* The rank will read no more. */
static void close_input(struct rank *r) {
  drop_input(r);
  tell(INPUT_CLOSED, r->id, NULL, 0);
}

/* Gives the rank what is held for it, as far as it takes it. */
static void feed(struct rank *r) {
  size_t done = 0;
  bool broken = false;
  while (done < r->held_size && !broken) {
    ssize_t n = write(r->in.fd, r->held + done, r->held_size - done);
    if (n > 0) done += n;
    else if (errno == EAGAIN) break;
    else if (errno != EINTR) broken = true;
  }
  if (broken) return close_input(r);
  if (done) {
    tell32(INPUT_TAKEN, r->id, done);
    r->held_size -= done;
    memmove(r->held, r->held + done, r->held_size);
  }
  if (!r->held_size) {
    free(r->held);
    r->held = NULL;
    if (r->input_ends) {
      close_stream(&r->in);
      return;
    }
  }
  if (r->input_watched != (r->held_size > 0)) {
    r->input_watched = r->held_size > 0;
    watch(everything, EPOLL_CTL_MOD, r->in.fd, r->input_watched ? EPOLLOUT : 0, &r->in);
  }
}

static void refuse(const char *why);

static void take_input(struct rank *r, const uint8_t *data, size_t size) {
  if (r->in.fd < 0 || r->input_ends) {
    tell(INPUT_CLOSED, r->id, NULL, 0);
    return;
  }
  if (r->held_size + size > INPUT_WINDOW) return refuse("more input than the window");
  uint8_t *held = realloc(r->held, r->held_size + size + 1);
  if (!held) die("no memory for input");
  memcpy(held + r->held_size, data, size);
  r->held = held;
  r->held_size += size;
  feed(r);
}

/* ---- The start of a rank ---- */

struct specification {
  bool with_stdin, terminal, with_user, coarse_timers;
  uint32_t uid, gid, groups_count, cpus_count;
  gid_t *groups;
  cpu_set_t *cpus;
  size_t cpus_size;
  char *cwd, **argv, **env;
};

/* Reads a specification that stays in the frame; false when the frame is not one. The caller frees the arrays. */
static bool read_specification(uint8_t *p, size_t size, struct specification *s) {
  enum { FIXED = 1 + 6 * 4 };
  if (size < FIXED + 1 || p[size - 1] != 0) return false;
  s->with_stdin = p[0] & WITH_STDIN;
  s->terminal = p[0] & WITH_TERMINAL;
  s->with_user = p[0] & WITH_USER;
  s->coarse_timers = p[0] & WITH_COARSE_TIMERS;
  uint32_t argc = get32(p + 1), envc = get32(p + 5);
  s->groups_count = get32(p + 9);
  s->cpus_count = get32(p + 13);
  s->uid = get32(p + 17);
  s->gid = get32(p + 21);
  uint8_t *end = p + size;
  p += FIXED;
  if (((uint64_t)s->groups_count + s->cpus_count) * 4 + argc + (uint64_t)envc + 1 > (uint64_t)(end - p) || !argc)
    return false;
  s->groups = malloc((s->groups_count + 1) * sizeof *s->groups);
  s->argv = malloc(((size_t)argc + 1) * sizeof *s->argv);
  s->env = malloc(((size_t)envc + 1) * sizeof *s->env);
  s->cpus = CPU_ALLOC(CPU_SETSIZE * 8);
  s->cpus_size = CPU_ALLOC_SIZE(CPU_SETSIZE * 8);
  if (!s->groups || !s->argv || !s->env || !s->cpus) die("no memory for a start");
  for (uint32_t i = 0; i < s->groups_count; i++, p += 4) s->groups[i] = get32(p);
  CPU_ZERO_S(s->cpus_size, s->cpus);
  for (uint32_t i = 0; i < s->cpus_count; i++, p += 4) {
    if (get32(p) >= CPU_SETSIZE * 8) return false;
    CPU_SET_S(get32(p), s->cpus_size, s->cpus);
  }
  /* The last byte is a NUL, so that no string reaches beyond the frame. */
  for (uint64_t i = 0; i < 1 + (uint64_t)argc + envc; i++) {
    if (p == end) return false;
    if (i == 0) s->cwd = (char *)p;
    else if (i <= argc) s->argv[i - 1] = (char *)p;
    else s->env[i - 1 - argc] = (char *)p;
    p += strlen((char *)p) + 1;
  }
  s->argv[argc] = NULL;
  s->env[envc] = NULL;
  return p == end;
}

static struct failure failed(int error, uint8_t stage) { return (struct failure){error, stage}; }

static struct failure execute_file(const char *path, const struct specification *s) {
  execve(path, s->argv, s->env);
  /* When the file is there, what is missing is the loader or the interpreter that it names. */
  if (errno == ENOENT && access(path, F_OK) == 0) return failed(ENOENT, INTERPRETER);
  return failed(errno, PROGRAM);
}

/* execve(2) of what the PATH of the new environment, not of the starter's, says. Returns when it has failed. */
static struct failure execute(const struct specification *s) {
  const char *name = s->argv[0], *search = "/usr/local/bin:/usr/bin:/bin";
  int error = ENOENT;
  if (strchr(name, '/')) return execute_file(name, s);
  for (char **e = s->env; *e; e++)
    if (!strncmp(*e, "PATH=", 5)) search = *e + 5;
  for (const char *end = ":"; *name && *end; search = end + 1) {
    char path[PATH_MAX];
    end = strchrnul(search, ':');
    int n = snprintf(path, sizeof path, "%.*s%s%s", (int)(end - search), search, end > search ? "/" : "", name);
    if (n >= (int)sizeof path || access(path, F_OK) < 0) continue;
    struct failure f = execute_file(path, s);
    /* As execvp(3) does: a file that may not be run is passed over, any other trouble ends the search. */
    if (f.error != EACCES) return f;
    error = EACCES;
  }
  return failed(error, SEARCH);
}

/* The new process, up to its program. Returns when it cannot become that. */
static struct failure become(const struct specification *s, const int standard[3]) {
  /*
   * A session of its own, as Hydra gives to each rank: no terminal of the user can stop it, and where Linux shares
   * processors among sessions (sched(7), autogroup) ranks get as much. With the leader of a session a terminal that it
   * opens would become its controlling terminal, whose end ends it: so a rank with a terminal stays in our session,
   * as under Open MPI's mpirun.
   */
  if (s->terminal) setpgid(0, 0);
  else setsid();
  /* No descriptor of the starter's own is below 3, so that none is overwritten before it is copied. */
  for (int fd = 0; fd < 3; fd++)
    if (dup2(standard[fd], fd) < 0) return failed(errno, STREAMS);
  if (s->cpus_count && sched_setaffinity(0, s->cpus_size, s->cpus) < 0) return failed(errno, CPUS);
  if (s->with_user && (setgroups(s->groups_count, s->groups) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
                       setresuid(s->uid, s->uid, s->uid) < 0))
    return failed(errno, USER);
  /* After the change of user, which clears it (prctl(2)); the starter may have died before. */
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != self) _exit(127);
  if (chdir(s->cwd) < 0) return failed(errno, DIRECTORY);
  setrlimit(RLIMIT_NOFILE, &files_limit);
  /*
   * Open MPI's ranks poll in fences, with sleeps of a tenth of a millisecond between (OMPI_LAZY_WAIT_FOR_COMPLETION in
   * 4.1): where they share processors that takes most of the time from those that still have something to do.
   */
  if (s->coarse_timers) prctl(PR_SET_TIMERSLACK, COARSE_TIMERS_NS);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  return execute(s);
}

/* A pseudo-terminal that changes nothing of what is written to it. */
static bool open_terminal(int ends[2]) {
  struct termios raw;
  int unlocked = 0;
  ends[0] = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (ends[0] < 0) return false;
  ends[1] = -1;
  if (ioctl(ends[0], TIOCSPTLCK, &unlocked) == 0)
    ends[1] = ioctl(ends[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (ends[1] >= 0 && tcgetattr(ends[1], &raw) == 0) {
    cfmakeraw(&raw);
    if (tcsetattr(ends[1], TCSANOW, &raw) == 0) return true;
  }
  if (ends[1] >= 0) close(ends[1]);
  close(ends[0]);
  return false;
}

static struct rank *find_rank(uint32_t id) {
  for (uint32_t i = 0; i < ranks_count; i++)
    if (ranks[i]->id == id) return ranks[i];
  return NULL;
}

static struct rank *new_rank(uint32_t id) {
  if (ranks_count == ranks_room) {
    ranks_room = ranks_room ? 2 * ranks_room : 64;
    ranks = realloc(ranks, ranks_room * sizeof *ranks);
    if (!ranks) die("no memory for ranks");
  }
  struct rank *r = calloc(1, sizeof *r);
  if (!r) die("no memory for a rank");
  r->id = id;
  r->failure = failures + id;
  r->in = (struct stream){.rank = r, .fd = -1, .frame = INPUT};
  r->out = (struct stream){.rank = r, .fd = -1, .frame = STDOUT};
  r->err = (struct stream){.rank = r, .fd = -1, .frame = STDERR};
  return r;
}

/* Makes the process of a rank and its streams. */
static struct failure launch(struct rank *r, const struct specification *s) {
  /* Ends for the starter and for the rank. */
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1};
  struct failure failure = {0, 0};
  if (s->with_stdin ? pipe2(in, O_CLOEXEC) < 0 : (in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
    failure = failed(errno, STREAMS);
  else if (!(s->terminal && open_terminal(out)) && pipe2(out, O_CLOEXEC) < 0)
    failure = failed(errno, STREAMS);
  else if (pipe2(err, O_CLOEXEC) < 0)
    failure = failed(errno, STREAMS);
  if (!failure.error) {
    if (s->with_user) { /* so that the rank may open /dev/stdout and its like */
      if (s->with_stdin) fchown(in[0], s->uid, s->gid);
      fchown(out[1], s->uid, s->gid);
      fchown(err[1], s->uid, s->gid);
    }
    const int standard[3] = {in[0], out[1], err[1]};
    r->pid = fork();
    if (r->pid == 0) {
      *r->failure = become(s, standard);
      _exit(127);
    }
    if (r->pid < 0) failure = failed(errno, PROCESS);
  }
  close_end(in[0]);
  close_end(out[1]);
  close_end(err[1]);
  if (failure.error) {
    close_end(in[1]);
    close_end(out[0]);
    close_end(err[0]);
    return failure;
  }
  r->running = true;
  r->out.fd = out[0];
  r->err.fd = err[0];
  fcntl(out[0], F_SETFL, O_RDWR | O_NONBLOCK);
  fcntl(err[0], F_SETFL, O_RDONLY | O_NONBLOCK);
  watch(outputs, EPOLL_CTL_ADD, out[0], EPOLLIN, &r->out);
  watch(outputs, EPOLL_CTL_ADD, err[0], EPOLLIN, &r->err);
  if (s->with_stdin) {
    r->in.fd = in[1];
    fcntl(in[1], F_SETFL, O_WRONLY | O_NONBLOCK);
    watch(everything, EPOLL_CTL_ADD, in[1], 0, &r->in);
  }
  return failure;
}

static void start(uint32_t id, uint8_t *payload, size_t size) {
  struct specification s = {0};
  if (id >= RANKS_MAX || find_rank(id)) {
    tell_failure(id, EEXIST, SPECIFICATION);
  } else if (!read_specification(payload, size, &s)) {
    tell_failure(id, EINVAL, SPECIFICATION);
  } else {
    struct rank *r = new_rank(id);
    struct failure failure = launch(r, &s);
    if (failure.error) {
      tell_failure(id, failure.error, failure.stage);
      free(r);
    } else {
      ranks[ranks_count++] = r;
      running++;
      unreported++;
      tell32(BEGAN, id, r->pid);
    }
  }
  free(s.groups);
  free(s.argv);
  free(s.env);
  if (s.cpus) CPU_FREE(s.cpus);
}

/* ---- The controller ---- */

/* A controller that breaks the protocol is not obeyed any longer. */
static void refuse(const char *why) {
  tell(REFUSED, NOBODY, why, strlen(why));
  leave(0);
}

static void obey(uint8_t type, uint32_t id, uint8_t *payload, size_t size) {
  struct rank *r = find_rank(id);
  switch (type) {
    case START:
      start(id, payload, size);
      break;
    case INPUT:
      if (r) take_input(r, payload, size);
      break;
    case INPUT_END:
      if (r && r->in.fd >= 0) {
        r->input_ends = true;
        feed(r);
      }
      break;
    case SIGNAL:
      if (size != 1) return refuse("a signal frame of another size");
      signal_ranks(id, payload[0]);
      break;
    case SHUTDOWN:
      if (size != 5) return refuse("a shutdown frame of another size");
      if (payload[0]) {
        signal_ranks(NOBODY, payload[0]);
        signal_ranks(NOBODY, SIGCONT); /* a stopped rank hears nothing else */
      }
      leave(get32(payload + 1));
      break;
    default:
      refuse("a frame of unknown type");
  }
}

static void read_controller(void) {
  size_t used = from_controller.end - from_controller.start;
  if (from_controller.start) memmove(from_controller.bytes, from_controller.bytes + from_controller.start, used);
  from_controller.start = 0;
  from_controller.end = used;
  size_t wanted = used >= HEADER ? HEADER + (size_t)get32(from_controller.bytes) : 0;
  if (wanted < CHUNK * 2) wanted = CHUNK * 2;
  if (from_controller.capacity < wanted) {
    from_controller.bytes = realloc(from_controller.bytes, wanted);
    if (!from_controller.bytes) die("no memory for a frame");
    from_controller.capacity = wanted;
  }
  ssize_t n = read(STDIN_FILENO, from_controller.bytes + used, from_controller.capacity - used);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n <= 0) {
    input_ended = true;
    watch(everything, EPOLL_CTL_DEL, STDIN_FILENO, 0, NULL);
    return leave(ORPHAN_GRACE_MS);
  }
  from_controller.end += n;
  while (!leaving) {
    uint8_t *p = from_controller.bytes + from_controller.start;
    size_t left = from_controller.end - from_controller.start;
    if (left < HEADER) break;
    size_t size = get32(p);
    if (size > FRAME_MAX) return refuse("a frame too large");
    if (left < HEADER + size) break;
    from_controller.start += HEADER + size;
    obey(p[4], get32(p + 5), p + HEADER, size);
  }
  if (leaving) from_controller.start = from_controller.end = 0; /* read on only to see its end */
}

/* ---- The whole ---- */

/* Waits until something happens, or `until`, and does what it asks for. */
static void step(int64_t until) {
  struct epoll_event events[64];
  int64_t left = until - now_ms();
  int n = epoll_wait(everything, events, 64, until == INT64_MAX ? -1 : left < 0 ? 0 : left > INT_MAX ? INT_MAX : left);
  for (int i = 0; i < n; i++) {
    void *what = events[i].data.ptr;
    if (what == &from_controller) {
      if (!input_ended) read_controller();
    } else if (what == &to_controller) {
      if (events[i].events & (EPOLLERR | EPOLLHUP)) lose_controller();
    } else if (what == &signals) {
      reap();
    } else if (what == &outputs) {
      pass_outputs();
    } else {
      struct stream *s = what;
      if (s->fd >= 0 && events[i].events & EPOLLERR) close_input(s->rank);
      else if (s->fd >= 0) feed(s->rank);
    }
  }
}

/* Reports the ranks whose outputs were waited for long enough; gives the time at which to look again. */
static int64_t report_lingering(void) {
  int64_t now = now_ms(), next = INT64_MAX;
  for (uint32_t i = 0; i < ranks_count && unreported > running; i++) {
    struct rank *r = ranks[i];
    if (r->running || r->reported) continue;
    report_end(r);
    if (!r->reported && r->linger > now && r->linger < next) next = r->linger;
  }
  return next;
}

static void prepare(void) {
  self = getpid();
  parent = getppid();
  int null = open("/dev/null", O_RDWR);
  while (null >= 0 && null < 3) null = dup(null); /* the standard descriptors are taken, whatever we were given */
  /* The controller's death is ours, also while a rank keeps us from seeing the end of the input. */
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (syscall(SYS_close_range, 3, ~0U, 0) < 0) { /* Linux before 5.9 */
    for (int fd = 3; fd < 1024; fd++) close(fd);
  }
  if (getrlimit(RLIMIT_NOFILE, &files_limit) == 0)
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){files_limit.rlim_max, files_limit.rlim_max});
  /* Blocked, not ignored: exec keeps what is ignored, and ranks shall have the defaults. */
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigset_t all, seen;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&seen);
  sigaddset(&seen, SIGCHLD);
  sigaddset(&seen, SIGTERM);
  failures = mmap(NULL, RANKS_MAX * sizeof *failures, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (failures == MAP_FAILED) die("no memory shared with ranks");
  signals = signalfd(-1, &seen, SFD_CLOEXEC | SFD_NONBLOCK);
  everything = epoll_create1(EPOLL_CLOEXEC);
  outputs = epoll_create1(EPOLL_CLOEXEC);
  if (signals < 0 || everything < 0 || outputs < 0) die("cannot watch");
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  fcntl(STDOUT_FILENO, F_SETFL, fcntl(STDOUT_FILENO, F_GETFL) | O_NONBLOCK);
  fcntl(STDIN_FILENO, F_SETFD, FD_CLOEXEC);
  fcntl(STDOUT_FILENO, F_SETFD, FD_CLOEXEC);
  watch(everything, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN, &from_controller);
  watch(everything, EPOLL_CTL_ADD, STDOUT_FILENO, 0, &to_controller);
  watch(everything, EPOLL_CTL_ADD, signals, EPOLLIN, &signals);
  watch(everything, EPOLL_CTL_ADD, outputs, EPOLLIN, &outputs);
}

int main(int argc, char **argv) {
  if (argc == 2 && !strcmp(argv[1], "--version")) {
    printf("leet-starter protocol %d\n", PROTOCOL);
    return 0;
  }
  if (argc > 1 || isatty(STDIN_FILENO)) {
    fprintf(stderr, "leet-starter: speaks frames on its standard input and output; see mpi-bridge/starter/README.md\n");
    return 2;
  }
  prepare();
  uint8_t hello[8];
  put32(hello, PROTOCOL);
  put32(hello + 4, self);
  tell(READY, NOBODY, hello, sizeof hello);
  flush_queue();
  for (;;) {
    if (leaving && !killed && (!running || now_ms() >= kill_at)) {
      killed = true;
      signal_ranks(NOBODY, SIGKILL);
      leave_at = now_ms() + KILL_PATIENCE_MS;
    }
    if (killed && !running) end_descendants(leave_at);
    int64_t next = report_lingering();
    flush_queue();
    bool told = controller_gone || (!unreported && !queued());
    if (killed && ((told && !running) || now_ms() >= leave_at)) break;
    int64_t end = killed ? leave_at : kill_at;
    step(next < end ? next : end);
  }
  return running ? 1 : 0;
}
