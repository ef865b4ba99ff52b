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
#include "common/postgres/connection.h"

static int setup(void **state) {
  char *dir = memory_strdup("/tmp/pgseal-test-tools-XXXXXX");
  *state = dir;
  return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
  Error err;
  Status status = file_remove_tree(*state, &err);
  free(*state);
  return status == STATUS_OK ? 0 : -1;
}

static void put_tool(const char *dir, const char *name, const char *version) {
  Error err;
  CLEANUP_FREE char *path = memory_format("%s/%s", dir, name);
  CLEANUP_FREE char *script = memory_format("#!/bin/sh\necho \"%s (PostgreSQL) %s\"\n", name, version);
  assert_int_equal(file_write_atomic(path, 0755, script, strlen(script), &err), STATUS_OK);
}

static void test_installed_tools(void **state) {
  (void)state;
  Error err;
  CLEANUP_FREE char *dir = NULL;
  CLEANUP_FREE char *version = NULL;
  assert_int_equal(postgres_tools_find(NULL, 0, 15, &dir, &version, &err), STATUS_OK);
  assert_string_equal(dir, "/usr/lib/postgresql/15/bin");
  assert_memory_equal(version, "15.", 3);
}

static void test_configured_directory_comes_first(void **state) {
  Error err;
  CLEANUP_FREE char *dir = NULL;
  CLEANUP_FREE char *version = NULL;
  put_tool(*state, "pg_dump", "15.99 (Custom 1)");
  put_tool(*state, "pg_restore", "15.99");
  PostgresBinDir dirs[] = {{14, "/nonexistent"}, {15, *state}};
  assert_int_equal(postgres_tools_find(dirs, 2, 15, &dir, &version, &err), STATUS_OK);
  assert_string_equal(dir, *state);
  assert_string_equal(version, "15.99");
}

static void test_configured_directory_is_not_replaced(void **state) {
  Error err;
  char *dir = NULL, *version = NULL;
  PostgresBinDir dirs[] = {{15, *state}};
  assert_int_equal(postgres_tools_find(dirs, 1, 15, &dir, &version, &err), ERR_TOOLS_MISSING);
  put_tool(*state, "pg_dump", "14.2");
  put_tool(*state, "pg_restore", "14.2");
  assert_int_equal(postgres_tools_find(dirs, 1, 15, &dir, &version, &err), ERR_VERSION_MISMATCH);
  assert_string_equal(err.object, *state);
  put_tool(*state, "pg_dump", "15.2");
  assert_int_equal(postgres_tools_find(dirs, 1, 15, &dir, &version, &err), ERR_VERSION_MISMATCH);
  assert_null(dir);
}

static void test_path_is_searched_last(void **state) {
  Error err;
  CLEANUP_FREE char *dir = NULL;
  CLEANUP_FREE char *version = NULL;
  CLEANUP_FREE char *before = memory_strdup(getenv("PATH"));
  CLEANUP_FREE char *path = memory_format("%s:%s", before, (char *)*state);
  assert_int_equal(postgres_tools_find(NULL, 0, 99, &dir, &version, &err), ERR_TOOLS_MISSING);
  assert_non_null(strstr(err.remedy, "postgresql-client-99"));
  put_tool(*state, "pg_dump", "99beta1");
  put_tool(*state, "pg_restore", "99beta1");
  setenv("PATH", path, 1);
  Status status = postgres_tools_find(NULL, 0, 99, &dir, &version, &err);
  setenv("PATH", before, 1);
  assert_int_equal(status, STATUS_OK);
  assert_string_equal(dir, *state);
  assert_string_equal(version, "99beta1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_installed_tools, setup, teardown),
      cmocka_unit_test_setup_teardown(test_configured_directory_comes_first, setup, teardown),
      cmocka_unit_test_setup_teardown(test_configured_directory_is_not_replaced, setup, teardown),
      cmocka_unit_test_setup_teardown(test_path_is_searched_last, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
