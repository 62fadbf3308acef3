#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 32 };

struct reader {
  const char *at;
  int depth;
};

static struct json *value(struct reader *r);

static void blanks(struct reader *r) {
  while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r') r->at++;
}

static int take(struct reader *r, char c) {
  blanks(r);
  if (*r->at != c) return 0;
  r->at++;
  return 1;
}

static struct json *node(enum json_kind kind) {
  struct json *made = calloc(1, sizeof *made);
  if (made) made->kind = kind;
  return made;
}

static long hex4(const char *c) {
  long code = 0;
  for (int i = 0; i < 4; i++) {
    char d = c[i];
    int digit = d >= '0' && d <= '9' ? d - '0' : d >= 'a' && d <= 'f' ? d - 'a' + 10 : d >= 'A' && d <= 'F' ? d - 'A' + 10 : -1;
    if (digit < 0) return -1;
    code = code * 16 + digit;
  }
  return code;
}

static char *put_utf8(char *out, long code) {
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6);
    *out++ = (char)(0x80 | (code & 63));
  } else if (code < 0x10000) {
    *out++ = (char)(0xe0 | code >> 12);
    *out++ = (char)(0x80 | (code >> 6 & 63));
    *out++ = (char)(0x80 | (code & 63));
  } else {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 63));
    *out++ = (char)(0x80 | (code >> 6 & 63));
    *out++ = (char)(0x80 | (code & 63));
  }
  return out;
}

// The code of `\uXXXX` behind the `u`, two of them for what lies outside the basic plane; -1 when it makes no sense.
static long escaped_code(struct reader *r) {
  long code = hex4(r->at);
  if (code <= 0) return -1;
  r->at += 4;
  if (code < 0xd800 || code > 0xdfff) return code;
  if (code > 0xdbff || r->at[0] != '\\' || r->at[1] != 'u') return -1;
  long low = hex4(r->at + 2);
  if (low < 0xdc00 || low > 0xdfff) return -1;
  r->at += 6;
  return 0x10000 + (code - 0xd800) * 0x400 + (low - 0xdc00);
}

static char *string(struct reader *r) {
  if (!take(r, '"')) return NULL;
  // Escapes are longer than what they stand for: the rest up to the closing quote is room enough.
  size_t room = 0;
  for (const char *c = r->at; *c != '"'; c++, room++) {
    if (*c == '\0') return NULL;
    if (*c == '\\' && c[1] != '\0') c++, room++;
  }
  char *text = malloc(room + 1);
  char *out = text;
  while (text && *r->at != '"') {
    unsigned char c = (unsigned char)*r->at++;
    if (c < ' ') return NULL;
    if (c != '\\') {
      *out++ = (char)c;
      continue;
    }
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char escape = *r->at++;
    const char *name = strchr(names, escape);
    if (escape == 'u') {
      long code = escaped_code(r);
      if (code < 0) return NULL;
      out = put_utf8(out, code);
    } else if (name && escape != '\0') {
      *out++ = meanings[name - names];
    } else {
      return NULL;
    }
  }
  if (!text) return NULL;
  r->at++;
  *out = '\0';
  return text;
}

static struct json *container(struct reader *r, enum json_kind kind, char close) {
  struct json *made = node(kind);
  if (!made || ++r->depth > DEEPEST) return NULL;
  struct json **last = &made->first;
  if (!take(r, close)) {
    do {
      char *key = NULL;
      if (kind == JSON_OBJECT && (!(key = string(r)) || !take(r, ':'))) return NULL;
      struct json *item = value(r);
      if (!item) return NULL;
      item->key = key;
      *last = item;
      last = &item->next;
    } while (take(r, ','));
    if (!take(r, close)) return NULL;
  }
  r->depth--;
  return made;
}

static struct json *word(struct reader *r, const char *text, enum json_kind kind) {
  size_t length = strlen(text);
  if (strncmp(r->at, text, length) != 0) return NULL;
  r->at += length;
  return node(kind);
}

static const char *digits(const char *c) {
  while (*c >= '0' && *c <= '9') c++;
  return c;
}

static struct json *number(struct reader *r) {
  // strtod reads more than JSON allows: the grammar is checked first.
  const char *begin = r->at + (*r->at == '-'), *end = digits(begin);
  if (end == begin || (*begin == '0' && end > begin + 1)) return NULL;
  if (*end == '.') {
    const char *fraction = end + 1;
    if ((end = digits(fraction)) == fraction) return NULL;
  }
  if (*end == 'e' || *end == 'E') {
    const char *exponent = end + 1 + (end[1] == '+' || end[1] == '-');
    if ((end = digits(exponent)) == exponent) return NULL;
  }
  struct json *made = node(JSON_NUMBER);
  if (!made) return NULL;
  made->number = strtod(r->at, NULL);
  r->at = end;
  return isfinite(made->number) ? made : NULL;
}

static struct json *value(struct reader *r) {
  blanks(r);
  switch (*r->at) {
    case '{':
      r->at++;
      return container(r, JSON_OBJECT, '}');
    case '[':
      r->at++;
      return container(r, JSON_ARRAY, ']');
    case 't':
      return word(r, "true", JSON_TRUE);
    case 'f':
      return word(r, "false", JSON_FALSE);
    case 'n':
      return word(r, "null", JSON_NULL);
    case '"': {
      struct json *made = node(JSON_STRING);
      return made && (made->text = string(r)) ? made : NULL;
    }
    default:
      return number(r);
  }
}

struct json *json_parse(const char *text) {
  struct reader r = {.at = text};
  struct json *made = value(&r);
  blanks(&r);
  return *r.at == '\0' ? made : NULL;
}

const struct json *json_get(const struct json *object, const char *key) {
  if (!object || object->kind != JSON_OBJECT) return NULL;
  for (const struct json *member = object->first; member; member = member->next) {
    if (strcmp(member->key, key) == 0) return member;
  }
  return NULL;
}

const char *json_text(const struct json *value, const char *otherwise) {
  return value && value->kind == JSON_STRING ? value->text : otherwise;
}

long json_count(const struct json *value, long otherwise) {
  if (!value || value->kind != JSON_NUMBER) return otherwise;
  double number = value->number;
  return number >= 0 && number < 4294967295.0 && floor(number) == number ? (long)number : otherwise;
}

int json_is_true(const struct json *value) {
  return value && value->kind == JSON_TRUE;
}
