/* Keys of every kind in a directory of their own, for the tests of common/crypto. */
#ifndef PGSEAL_TESTS_CRYPTO_SUPPORT_H
#define PGSEAL_TESTS_CRYPTO_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/process.h"
#include "common/crypto/segment.h"
#include "common/crypto/signing.h"

typedef struct Keys {
  char dir[64];
  char ec_key[96], ec_crt[96], other_key[96], other_crt[96], rsa_key[96], rsa_crt[96];
  Recipients *ec, *rsa, *both;
  DecryptionKey *ec_decrypt, *other_decrypt, *rsa_decrypt;
} Keys;

static inline void assert_ok(Status status, const Error *err) {
  if (status != STATUS_OK)
    fail_msg("%s: %s", error_code(status), err->message);
}

static inline void run_tool(const char *const *argv, Buffer *out) {
  Error err;
  ProcessOptions options = {.argv = argv, .pipe_stdout = true};
  assert_ok(process_run(&options, 1 << 26, out, &err), &err);
}

static inline int keys_setup(void **state) {
  Error err;
  Keys *k = memory_alloc(sizeof *k);
  *state = k;
  snprintf(k->dir, sizeof k->dir, "/tmp/pgseal-test-crypto-XXXXXX");
  assert_non_null(mkdtemp(k->dir));
  char *const paths[] = {k->ec_key, k->ec_crt, k->other_key, k->other_crt, k->rsa_key, k->rsa_crt};
  const char *const names[] = {"ec.key", "ec.crt", "other.key", "other.crt", "rsa.key", "rsa.crt"};
  for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
    snprintf(paths[i], 96, "%s/%s", k->dir, names[i]);
  assert_ok(recipient_generate(k->ec_key, k->ec_crt, "drill", 30, &err), &err);
  assert_ok(recipient_generate(k->other_key, k->other_crt, "drill", 30, &err), &err);
  const char *make_rsa[] = {"openssl", "req",      "-x509", "-newkey",    "rsa:2048", "-nodes", "-keyout", k->rsa_key,
                            "-out",    k->rsa_crt, "-subj", "/CN=escrow", "-days",    "30",     NULL};
  CLEANUP(buffer_release) Buffer ignored = {0};
  run_tool(make_rsa, &ignored);
  const char *ec[] = {k->ec_crt}, *rsa[] = {k->rsa_crt}, *both[] = {k->ec_crt, k->rsa_crt};
  assert_ok(recipients_load(ec, 1, &k->ec, &err), &err);
  assert_ok(recipients_load(rsa, 1, &k->rsa, &err), &err);
  assert_ok(recipients_load(both, 2, &k->both, &err), &err);
  assert_ok(decryption_key_load(k->ec_key, k->ec_crt, &k->ec_decrypt, &err), &err);
  assert_ok(decryption_key_load(k->other_key, k->other_crt, &k->other_decrypt, &err), &err);
  assert_ok(decryption_key_load(k->rsa_key, k->rsa_crt, &k->rsa_decrypt, &err), &err);
  return 0;
}

static inline int keys_teardown(void **state) {
  Keys *k = *state;
  Error err;
  recipients_free(k->ec);
  recipients_free(k->rsa);
  recipients_free(k->both);
  decryption_key_free(k->ec_decrypt);
  decryption_key_free(k->other_decrypt);
  decryption_key_free(k->rsa_decrypt);
  assert_ok(file_remove_tree(k->dir, &err), &err);
  free(k);
  return 0;
}

static inline char *in_dir(const Keys *k, const char *name) {
  return memory_format("%s/%s", k->dir, name);
}

static inline void write_file(const char *path, const void *data, size_t size) {
  Error err;
  assert_ok(file_write_atomic(path, 0600, data, size, &err), &err);
}

/* COPY-like lines: compressible, but not to nothing. */
static inline void fill_rows(Buffer *out, size_t size, uint32_t seed) {
  for (uint32_t i = 0; out->size < size; i++) {
    seed = seed * 1664525u + 1013904223u;
    buffer_append_format(out, "%u\tcustomer-%u@example.com\t2026-11-%02u 10:%02u:00+00\t%u.%02u\tshipped\n", i,
                         seed >> 8, 1 + seed % 28, seed % 60, (seed >> 12) % 1000, seed % 100);
  }
  out->size = size;
}

#endif
