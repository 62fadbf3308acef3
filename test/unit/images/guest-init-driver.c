// Parts of the guest's init, called from tests: `json FILE` prints what was parsed of each line
// as JSON again, `report`
// prints the lines of init for a value, `hostkey PEM OUT` converts a key.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../../launcher/guest-init/files.h"
#include "../../../launcher/guest-init/hostkey.h"
#include "../../../launcher/guest-init/json.h"
#include "../../../launcher/guest-init/report.h"

static void print_text(const char *text) {
  putchar('"');
  for (const char *c = text; *c; c++) {
    if (*c == '"' || *c == '\\') printf("\\%c", *c);
    else if ((unsigned char)*c < ' ') printf("\\u%04x", *c);
    else putchar(*c);
  }
  putchar('"');
}

static void print(const struct json *value) {
  static const char *const words[] = {"null", "false", "true"};
  const char *close = value->kind == JSON_ARRAY ? "]" : "}";
  switch (value->kind) {
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
      fputs(words[value->kind], stdout);
      return;
    case JSON_NUMBER:
      printf("%.17g", value->number);
      return;
    case JSON_STRING:
      print_text(value->text);
      return;
    default:
      putchar(value->kind == JSON_ARRAY ? '[' : '{');
      for (const struct json *item = value->first; item; item = item->next) {
        if (value->kind == JSON_OBJECT) print_text(item->key), putchar(':');
        print(item);
        if (item->next) putchar(',');
      }
      fputs(close, stdout);
  }
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "json") == 0) {
    // One document a line, so that one process serves many.
    char *text = read_file(argv[2], NULL), *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && rest;) {
      const struct json *value = json_parse(line);
      if (value) print(value);
      else fputs("refused", stdout);
      putchar('\n');
    }
    return 0;
  }
  if (argc == 3 && strcmp(argv[1], "report") == 0) {
    report_ok("mount", "path", argv[2], "absent", NULL, "type", "9p", NULL);
    report_failed("mount", argv[2], "path", "/x", NULL);
    report_word("ready", "ms", "12", NULL);
    return 0;
  }
  if (argc == 4 && strcmp(argv[1], "hostkey") == 0) {
    const char *reason = write_host_key(read_file(argv[2], NULL), argv[3]);
    puts(reason ? reason : "ok");
    return 0;
  }
  return 2;
}
