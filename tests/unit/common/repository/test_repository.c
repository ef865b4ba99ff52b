/* The front: which keys are keys, and that nothing else ever reaches a backend. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/repository/repository.h"

typedef struct Backend {
  int calls, closed;
  Status answer;
} Backend;

static Status answer(Backend *backend, const char *key, Error *err) {
  backend->calls++;
  return backend->answer ? error_set(err, backend->answer, "the backend's own words about %s", key) : STATUS_OK;
}
static Status backend_put(void *backend, const char *key, const void *data, size_t size, const uint8_t *sha256,
                          RepositoryVersion *version, Error *err) {
  (void)data, (void)size, (void)sha256, (void)version;
  return answer(backend, key, err);
}
static Status backend_get(void *backend, const char *key, size_t limit, Buffer *out, Error *err) {
  (void)limit, (void)out;
  return answer(backend, key, err);
}
static Status backend_list(void *backend, const char *prefix, const char *after, RepositoryVisit *visit, void *user,
                           Error *err) {
  (void)after, (void)visit, (void)user;
  return answer(backend, prefix, err);
}
static Status backend_remove(void *backend, const char *key, RepositoryRemoval *removal, Error *err) {
  (void)removal;
  return answer(backend, key, err);
}
static void backend_close(void *backend) {
  ((Backend *)backend)->closed++;
}
static const RepositoryOps ops = {
    .put = backend_put, .get = backend_get, .list = backend_list, .remove = backend_remove, .close = backend_close};

static void test_valid_keys(void **state) {
  (void)state;
  static const char *const good[] = {"a",
                                     "prod-api/01kb0000000000000000000000/attempt-1/000000.zst.cms",
                                     "a/b/c",
                                     "A.B_c-9",
                                     "a..b",
                                     "-a",
                                     "x/manifest.json.cms.sig"};
  static const char *const bad[] = {"",     "/",     "/a",       "a/",     "a//b", ".",        "..",   "../a",
                                    "a/..", "a/./b", ".put-1",   "a/.b",   "a b",  "a\nb",     "a\\b", "a:b",
                                    "a*",   "a%2f",  "\xc3\xa9", "a/\x01", "~",    "a/../../b"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    assert_true(repository_key_valid(good[i]));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(repository_key_valid(bad[i]));
  assert_false(repository_key_valid(NULL));
}

static void test_key_lengths(void **state) {
  (void)state;
  char part[1002];
  memset(part, 'a', sizeof part);
  part[200] = '\0';
  assert_true(repository_key_valid(part));
  part[200] = 'a';
  part[201] = '\0';
  assert_false(repository_key_valid(part));
  for (size_t i = 0; i < sizeof part; i++)
    part[i] = i % 2 ? '/' : 'a';
  part[899] = '\0';
  assert_true(repository_key_valid(part));
  part[899] = '/';
  part[901] = '\0';
  assert_false(repository_key_valid(part));
}

static void test_bad_keys_stop_at_the_front(void **state) {
  (void)state;
  Error err;
  Backend backend = {0};
  Buffer out = {0};
  Repository *repository = repository_new(&ops, &backend, "test");
  assert_int_equal(repository_put(repository, "../x", "", 0, &err), ERR_INVALID_ARGUMENT);
  assert_string_equal(err.object, "../x");
  assert_int_equal(repository_get(repository, "/etc/passwd", 1, &out, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(repository_remove(repository, "a/.", &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(repository_remove(repository, NULL, &err), ERR_INVALID_ARGUMENT);
  static const char *const prefixes[] = {"..", "../", "/", "a//", "a/..", ".", "a b"};
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    assert_int_equal(repository_list(repository, prefixes[i], NULL, NULL, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(repository_list_after(repository, "a/", "b/1", NULL, NULL, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(backend.calls, 0);
  repository_close(repository);
  assert_int_equal(backend.closed, 1);
  repository_close(NULL);
}

static void test_prefixes(void **state) {
  (void)state;
  Error err;
  Backend backend = {0};
  Repository *repository = repository_new(&ops, &backend, "test");
  static const char *const prefixes[] = {"", "a", "a/", "prod-api/01", "a/b/000000.zst.cms"};
  for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
    assert_int_equal(repository_list(repository, prefixes[i], NULL, NULL, &err), STATUS_OK);
  assert_int_equal(backend.calls, 5);
  repository_close(repository);
}

static void test_errors_name_the_object(void **state) {
  (void)state;
  Error err;
  Backend backend = {.answer = ERR_REPOSITORY_UNAVAILABLE};
  Buffer out = {0};
  Repository *repository = repository_new(&ops, &backend, "bucket somewhere");
  assert_string_equal(repository_description(repository), "bucket somewhere");
  assert_int_equal(repository_put(repository, "a/b", "", 0, &err), ERR_REPOSITORY_UNAVAILABLE);
  assert_string_equal(err.object, "a/b");
  err = (Error){0};
  assert_int_equal(repository_get(repository, "a/c", 1, &out, &err), ERR_REPOSITORY_UNAVAILABLE);
  assert_string_equal(err.object, "a/c");
  err = (Error){0};
  assert_int_equal(repository_remove(repository, "a/d", &err), ERR_REPOSITORY_UNAVAILABLE);
  assert_string_equal(err.object, "a/d");
  repository_close(repository);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_valid_keys),
      cmocka_unit_test(test_key_lengths),
      cmocka_unit_test(test_bad_keys_stop_at_the_front),
      cmocka_unit_test(test_prefixes),
      cmocka_unit_test(test_errors_name_the_object),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
