#include "hostkey.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "report.h"

// OpenSSH's PROTOCOL.key: "openssh-key-v1\0", strings ciphername, kdfname and kdfoptions, the number of keys, the public
// key, and a string with two equal check numbers, then type, public key (32 bytes), private and public key (64 bytes).
// dropbear's file (its buf_put_ed25519_priv_key) is the type and those 64 bytes, as SSH strings.

struct buffer {
  const unsigned char *at;
  const unsigned char *end;
};

static int take_count(struct buffer *b, unsigned long *count) {
  if (b->end - b->at < 4) return 0;
  *count = (unsigned long)b->at[0] << 24 | (unsigned long)b->at[1] << 16 | (unsigned long)b->at[2] << 8 | b->at[3];
  b->at += 4;
  return 1;
}

static int take_string(struct buffer *b, struct buffer *string) {
  unsigned long length;
  if (!take_count(b, &length) || (unsigned long)(b->end - b->at) < length) return 0;
  *string = (struct buffer){.at = b->at, .end = b->at + length};
  b->at += length;
  return 1;
}

static int is(const struct buffer *string, const char *text) {
  size_t length = strlen(text);
  return (size_t)(string->end - string->at) == length && memcmp(string->at, text, length) == 0;
}

static int digit(int c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

// The bytes between the PEM lines into `out`; their number.
static size_t decode_pem(const char *pem, unsigned char *out, size_t room) {
  const char *begin = strstr(pem, "-----BEGIN OPENSSH PRIVATE KEY-----");
  const char *end = strstr(pem, "-----END OPENSSH PRIVATE KEY-----");
  if (!begin || !end) return 0;
  unsigned long bits = 0;
  int count = 0;
  size_t made = 0;
  for (const char *c = strchr(begin, '\n'); c && c < end; c++) {
    int d = digit(*c);
    if (d < 0) continue; // line ends and padding
    bits = bits << 6 | (unsigned long)d;
    count += 6;
    if (count < 8) continue;
    if (made == room) return 0;
    out[made++] = (unsigned char)(bits >> (count -= 8));
  }
  return made;
}

const char *write_host_key(const char *pem, const char *path) {
  static const char magic[] = "openssh-key-v1"; // with its NUL
  static const char type[] = "ssh-ed25519";
  static const char refusal[] = "the host key is not an unencrypted Ed25519 key in OpenSSH format";
  unsigned char bytes[1024];
  size_t length = decode_pem(pem, bytes, sizeof bytes);
  struct buffer b = {.at = bytes, .end = bytes + length}, string, secret;
  if (length < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0) return refusal;
  b.at += sizeof magic;
  unsigned long count, check[2];
  if (!take_string(&b, &string) || !is(&string, "none")) return refusal;
  if (!take_string(&b, &string) || !take_string(&b, &string) || !take_count(&b, &count) || count != 1) return refusal;
  if (!take_string(&b, &string) || !take_string(&b, &secret)) return refusal;
  if (!take_count(&secret, &check[0]) || !take_count(&secret, &check[1]) || check[0] != check[1]) return refusal;
  if (!take_string(&secret, &string) || !is(&string, type)) return refusal;
  if (!take_string(&secret, &string) || !take_string(&secret, &string) || string.end - string.at != 64) return refusal;
  unsigned char made[4 + sizeof type - 1 + 4 + 64] = {0, 0, 0, sizeof type - 1};
  memcpy(made + 4, type, sizeof type - 1);
  made[4 + sizeof type - 1 + 3] = 64;
  memcpy(made + 4 + sizeof type - 1 + 4, string.at, 64);
  return write_file(path, made, sizeof made, 0600, 0, 0) < 0 ? because(path) : NULL;
}
