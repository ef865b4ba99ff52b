/* Archives made by real pg_dumps (data/make-archives), and ways to read them. For the unit tests of common/archive. */
#ifndef PGSEAL_TESTS_ARCHIVE_FIXTURE_H
#define PGSEAL_TESTS_ARCHIVE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/archive/compare.h"
#include "common/archive/fingerprint.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

static const char *const ARCHIVES[] = {"pg15.dump", "pg17.dump"};
enum { ARCHIVE_COUNT = sizeof ARCHIVES / sizeof *ARCHIVES };

/* The data directory is beside the test's source. */
__attribute__((unused)) static char *data_path(const char *name) {
  const char *slash = strrchr(__FILE__, '/');
  return memory_format("%.*s/data/%s", (int)(slash - __FILE__), __FILE__, name);
}

__attribute__((unused)) static Buffer load(const char *name) {
  CLEANUP_FREE char *path = data_path(name);
  Buffer bytes = {0};
  Error err;
  if (file_read(path, 1 << 20, &bytes, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return bytes;
}

/* Feeds data in pieces of `piece` bytes (0: of random sizes; SIZE_MAX: whole) to a new builder. */
__attribute__((unused)) static Status fingerprint_of(const void *data, size_t size, size_t piece, Fingerprint *out,
                                                     Error *err) {
  FingerprintBuilder *builder = fingerprint_builder_new(NULL);
  Status status = STATUS_OK;
  for (size_t at = 0; !status && at < size;) {
    size_t take = piece ? piece : (size_t)(rand() % 300);
    take = take < size - at ? take : size - at;
    /* A copy of the exact size, so that the sanitizer sees a read beyond it. */
    void *copy = memory_alloc(take + 1);
    memcpy((char *)copy + 1, (const char *)data + at, take);
    status = fingerprint_builder_feed(builder, (char *)copy + 1, take, err);
    free(copy);
    at += take;
  }
  if (!status)
    status = fingerprint_builder_finish(builder, out, err);
  fingerprint_builder_free(builder);
  return status;
}

__attribute__((unused)) static Fingerprint fingerprint_good(const Buffer *bytes) {
  Fingerprint out = {0};
  Error err;
  if (fingerprint_of(bytes->data, bytes->size, SIZE_MAX, &out, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return out;
}

__attribute__((unused)) static bool same_digest(const Fingerprint *a, const Fingerprint *b) {
  uint8_t x[DIGEST_SIZE], y[DIGEST_SIZE];
  fingerprint_digest(a, x);
  fingerprint_digest(b, y);
  return memcmp(x, y, DIGEST_SIZE) == 0;
}

__attribute__((unused)) static size_t find(const Buffer *bytes, const char *text) {
  const uint8_t *at = memmem(bytes->data, bytes->size, text, strlen(text));
  if (!at)
    fail_msg("the archive does not hold: %s", text);
  return (size_t)(at - bytes->data);
}

/* Puts `to` in the place of `from`, of the same length, at its first occurrence. */
__attribute__((unused)) static void replace(Buffer *bytes, const char *from, const char *to) {
  assert_int_equal(strlen(from), strlen(to));
  memcpy(bytes->data + find(bytes, from), to, strlen(to));
}

#endif
