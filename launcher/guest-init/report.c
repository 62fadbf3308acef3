#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// A line is written in one call, so that the kernel's own messages cannot split it.
static char line[3072];
static size_t length;

static void put(char c) {
  if (length < sizeof line - 2) line[length++] = c;
}

static void put_text(const char *text) {
  while (*text) put(*text++);
}

static void put_value(const char *value) {
  // What the parser takes without quotes: nothing with blanks, quotes, backslashes or bytes that are not ASCII.
  int plain = *value != '\0';
  for (const char *c = value; *c; c++) {
    if (*c <= ' ' || *c > '~' || *c == '"' || *c == '\\') plain = 0;
  }
  if (plain) {
    put_text(value);
    return;
  }
  put('"');
  for (const char *c = value; *c; c++) {
    unsigned char byte = (unsigned char)*c;
    if (byte == '"' || byte == '\\') {
      put('\\');
      put(*c);
    } else if (byte < ' ' || byte > '~') {
      char escape[5];
      snprintf(escape, sizeof escape, "\\x%02x", byte);
      put_text(escape);
    } else {
      put(*c);
    }
  }
  put('"');
}

static void put_pairs(va_list pairs) {
  const char *key;
  while ((key = va_arg(pairs, const char *)) != NULL) {
    const char *value = va_arg(pairs, const char *);
    if (value == NULL) continue;
    put(' ');
    put_text(key);
    put('=');
    // A value longer than this would leave no room for the status behind it.
    char shortened[1024];
    snprintf(shortened, sizeof shortened, "%s", value);
    put_value(shortened);
  }
}

static void begin(void) {
  length = 0;
  put_text("leet-init: ");
}

static void end(void) {
  line[length++] = '\n';
  for (size_t at = 0; at < length;) {
    ssize_t written = write(STDOUT_FILENO, line + at, length - at);
    if (written < 0 && errno != EINTR) return;
    if (written > 0) at += (size_t)written;
  }
}

static void step_line(const char *step, const char *status, const char *reason, va_list pairs) {
  begin();
  put_text("step=");
  put_text(step);
  put_pairs(pairs);
  put_text(" status=");
  put_text(status);
  if (reason) {
    put_text(" reason=");
    put_value(reason);
  }
  end();
}

void report_begin(const char *step, ...) {
  va_list pairs;
  va_start(pairs, step);
  step_line(step, "begin", NULL, pairs);
  va_end(pairs);
}

void report_ok(const char *step, ...) {
  va_list pairs;
  va_start(pairs, step);
  step_line(step, "ok", NULL, pairs);
  va_end(pairs);
}

void report_failed(const char *step, const char *reason, ...) {
  va_list pairs;
  va_start(pairs, reason);
  step_line(step, "failed", reason, pairs);
  va_end(pairs);
}

void report_fatal(const char *step, const char *reason, ...) {
  va_list pairs;
  va_start(pairs, reason);
  step_line(step, "fatal", reason, pairs);
  va_end(pairs);
  report_word("off", "reason", reason, NULL);
  power_off();
}

void report_word(const char *word, ...) {
  va_list pairs;
  va_start(pairs, word);
  begin();
  put_text(word);
  put_pairs(pairs);
  end();
  va_end(pairs);
}

const char *because(const char *call) {
  static char text[256];
  snprintf(text, sizeof text, "%s: %s", call, strerror(errno));
  return text;
}

void power_off(void) {
  // Programs get a moment to end, then what they wrote goes where it belongs.
  if (kill(-1, SIGTERM) == 0) {
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    for (int i = 0; i < 100; i++) {
      while (waitpid(-1, NULL, WNOHANG) > 0) continue;
      if (kill(-1, 0) < 0 && errno == ESRCH) break;
      nanosleep(&pause, NULL);
    }
    kill(-1, SIGKILL);
  }
  sync();
  // Ends in the kernel; without ACPI the machine halts and the launcher ends it.
  reboot(RB_POWER_OFF);
  for (;;) pause();
}
