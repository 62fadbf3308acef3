// JSON (RFC 8259) in memory: the seed's documents. Nesting is bounded; what is not JSON is refused as a whole.
#pragma once

#include <stddef.h>

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json {
  enum json_kind kind;
  // Of a member of an object.
  const char *key;
  // Of a string: NUL-terminated, escapes put in; a NUL inside is refused.
  const char *text;
  double number;
  // Of an array or object: its first item or member; the next one is `next` of that.
  struct json *first;
  struct json *next;
};

// The value of a NUL-terminated text, null when it is not JSON. Memory is never given back: init reads three documents.
struct json *json_parse(const char *text);

// A member of an object by name; null when there is none or `object` is none. Null is a fine argument of all of these.
const struct json *json_get(const struct json *object, const char *key);

// The text of a string, else `otherwise`.
const char *json_text(const struct json *value, const char *otherwise);

// The whole number of a number from 0 to 2^32 - 2, else `otherwise`.
long json_count(const struct json *value, long otherwise);

// Whether the value is `true`.
int json_is_true(const struct json *value);
