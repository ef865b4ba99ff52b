/* A directory repository of its own for each test of the backend. */
#ifndef PGSEAL_TESTS_REPOSITORY_SUPPORT_H
#define PGSEAL_TESTS_REPOSITORY_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/repository/repository.h"

typedef struct Fixture {
  char dir[64], root[80];
  Repository *repository;
} Fixture;

static inline void assert_ok(Status status, const Error *err) {
  if (status != STATUS_OK)
    fail_msg("%s: %s", error_code(status), err->message);
}

static inline int setup(void **state) {
  Error err;
  Fixture *f = memory_alloc(sizeof *f);
  *state = f;
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-repository-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  snprintf(f->root, sizeof f->root, "%s/repository", f->dir);
  assert_ok(directory_repository_open(f->root, &f->repository, &err), &err);
  return 0;
}

static inline int teardown(void **state) {
  Error err;
  Fixture *f = *state;
  repository_close(f->repository);
  assert_ok(file_remove_tree(f->dir, &err), &err);
  free(f);
  return 0;
}

static inline void put(Fixture *f, const char *key, const char *text) {
  Error err;
  assert_ok(repository_put(f->repository, key, text, strlen(text), &err), &err);
}

static inline void expect_content(Fixture *f, const char *key, const char *text) {
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  assert_ok(repository_get(f->repository, key, 1 << 20, &out, &err), &err);
  assert_string_equal(buffer_text(&out), text);
}

static inline bool join_keys(void *user, const char *key, uint64_t size) {
  buffer_append_format(user, "%s:%llu ", key, (unsigned long long)size);
  return true;
}

static inline void expect_list(Fixture *f, const char *prefix, const char *expected) {
  Error err;
  CLEANUP(buffer_release) Buffer found = {0};
  assert_ok(repository_list(f->repository, prefix, join_keys, &found, &err), &err);
  assert_string_equal(buffer_text(&found), expected);
}

static inline char *at(const Fixture *f, const char *path) {
  return memory_format("%s/%s", f->root, path);
}

#endif
