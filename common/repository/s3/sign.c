/*
 * Signature Version 4 by ourselves, for the one kind of request that curl 7.88 does not sign right: it sorts headers by
 * whole lines, so that of two names where one begins with the other (x-amz-server-side-encryption, and the same with
 * -aws-kms-key-id) the longer comes first, which no server accepts. All else curl signs; see s3_request.c.
 */
#include "common/repository/s3/sign.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/digest.h"

enum { STAMP_SIZE = sizeof "20130524T000000Z", DAY_SIZE = 8 };

typedef struct Header {
  char *name, *value; /* the name in lower case, the value trimmed */
} Header;

static int by_name(const void *a, const void *b) {
  return strcmp(((const Header *)a)->name, ((const Header *)b)->name);
}

static Header split(const char *line) {
  const char *colon = strchr(line, ':');
  size_t length = colon ? (size_t)(colon - line) : strlen(line);
  Header header = {.name = memory_strndup(line, length)};
  for (char *at = header.name; *at; at++)
    *at = (char)tolower((unsigned char)*at);
  const char *from = colon ? colon + 1 : "", *to;
  from += strspn(from, " \t");
  to = from + strlen(from);
  while (to > from && strchr(" \t", to[-1]))
    to--;
  header.value = memory_strndup(from, (size_t)(to - from));
  return header;
}

/* "name:value\n" of each, and their names joined by ';'. */
static void list_headers(const S3Signing *signing, const char *stamp, Buffer *lines, Buffer *names) {
  size_t count = signing->header_count + 2;
  Header *headers = memory_alloc(count * sizeof *headers);
  headers[0] = (Header){memory_strdup("host"), memory_strdup(signing->host)};
  headers[1] = (Header){memory_strdup("x-amz-date"), memory_strdup(stamp)};
  for (size_t i = 0; i < signing->header_count; i++)
    headers[i + 2] = split(signing->headers[i]);
  qsort(headers, count, sizeof *headers, by_name);
  for (size_t i = 0; i < count; i++) {
    buffer_append_format(lines, "%s:%s\n", headers[i].name, headers[i].value);
    buffer_append_format(names, "%s%s", i ? ";" : "", headers[i].name);
    free(headers[i].name);
    s3_secret_free(&headers[i].value); /* one is the session's token */
  }
  free(headers);
}

/* HMAC-SHA-256 is part of every OpenSSL; that it refuses means a broken installation. */
static void hmac(const void *key, size_t key_size, const char *text, uint8_t out[SHA256_SIZE]) {
  if (!HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)text, strlen(text), out, NULL))
    abort();
}

static void signature_of(const S3Keys *keys, const char *day, const char *region, const char *text,
                         char out[SHA256_HEX_SIZE]) {
  CLEANUP(s3_secret_free) char *first = memory_format("AWS4%s", keys->secret_key);
  uint8_t key[SHA256_SIZE], next[SHA256_SIZE];
  const char *const parts[] = {region, "s3", "aws4_request"};
  hmac(first, strlen(first), day, key);
  for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
    hmac(key, sizeof key, parts[i], next);
    memcpy(key, next, sizeof key);
  }
  hmac(key, sizeof key, text, next);
  text_hex(next, sizeof next, out);
  OPENSSL_cleanse(key, sizeof key);
}

void s3_sign(const S3Signing *signing, const S3Keys *keys, char **date, char **authorization) {
  char stamp[STAMP_SIZE], day[DAY_SIZE + 1], hash[SHA256_HEX_SIZE], signature[SHA256_HEX_SIZE];
  time_t seconds = (time_t)(signing->now_us / 1000000);
  struct tm tm;
  gmtime_r(&seconds, &tm);
  strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
  snprintf(day, sizeof day, "%.*s", DAY_SIZE, stamp);
  CLEANUP(s3_secret_release) Buffer lines = {0};
  CLEANUP(buffer_release) Buffer names = {0};
  list_headers(signing, stamp, &lines, &names);
  CLEANUP(s3_secret_free)
  char *canonical = memory_format("%s\n%s\n%s\n%s\n%s\n%s", signing->method, signing->path, signing->query,
                                  buffer_text(&lines), buffer_text(&names), signing->payload_sha256);
  sha256_hex(canonical, strlen(canonical), hash);
  CLEANUP_FREE char *scope = memory_format("%s/%s/s3/aws4_request", day, signing->region);
  CLEANUP_FREE char *text = memory_format("AWS4-HMAC-SHA256\n%s\n%s\n%s", stamp, scope, hash);
  signature_of(keys, day, signing->region, text, signature);
  *date = memory_format("x-amz-date: %s", stamp);
  *authorization = memory_format("Authorization: AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s",
                                 keys->access_key, scope, buffer_text(&names), signature);
}
