/* The environment of a rank.
 * Facts: a variable costs one request each (REST: one request per connection, and in /api/batch the parameters of one
 * call carry over to the next, so that all variables would get the first value); `val=` empty is refused with 400, so an
 * empty value cannot be set at all. Therefore all variables of a rank come in one, LEET_OSV_ENV: NAME=VALUE lines, in
 * which a newline and a percent sign are written %0A and %25. This library is the last that a program needs, and OSv
 * runs constructors in the reverse order of loading: no other library has read its environment before. */
#include "compat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes in place. */
static void decode(char *text) {
    char *to = text;
    for (const char *from = text; *from; from++) {
        int high = *from == '%' ? digit(from[1]) : -1;
        int low = high < 0 ? -1 : digit(from[2]);
        if (low < 0) {
            *to++ = *from;
        } else {
            *to++ = (char)(high << 4 | low);
            from += 2;
        }
    }
    *to = 0;
}

void leet_take_environment(void) {
    const char *packed = getenv("LEET_OSV_ENV");
    if (!packed)
        return;
    char *lines = strdup(packed);
    unsetenv("LEET_OSV_ENV");
    if (!lines)
        return;
    for (char *line = lines; line;) {
        char *next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        char *value = strchr(line, '=');
        if (value && value != line) {
            *value++ = 0;
            decode(value);
            setenv(line, value, 1);
        }
        line = next;
    }
    free(lines);
}

/* Fact: a program starts in the guest's one working directory, `/`; REST has no call for another. */
void leet_enter_directory(void) {
    const char *directory = getenv("LEET_OSV_CWD");
    if (!directory)
        return;
    if (chdir(directory) != 0) {
        fprintf(stderr, "leet: cannot enter %s: %s\n", directory, strerror(errno));
        exit(127);
    }
    unsetenv("LEET_OSV_CWD");
}
