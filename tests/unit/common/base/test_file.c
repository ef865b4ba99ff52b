#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

static int setup(void **state) {
  char *dir = memory_strdup("/tmp/pgseal-test-file-XXXXXX");
  *state = dir;
  return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state) {
  Error err;
  Status status = file_remove_tree(*state, &err);
  bool left = file_exists(*state);
  free(*state);
  return status == STATUS_OK && !left ? 0 : -1;
}

static void test_write_then_read(void **state) {
  Error err;
  CLEANUP_FREE char *path = memory_format("%s/a", (char *)*state);
  assert_int_equal(file_write_atomic(path, 0600, "one\n", 4, &err), STATUS_OK);
  assert_int_equal(file_write_atomic(path, 0640, "two\r\n", 5, &err), STATUS_OK);
  struct stat info;
  assert_int_equal(stat(path, &info), 0);
  assert_int_equal(info.st_mode & 0777, 0640);
  CLEANUP_FREE char *text = NULL;
  assert_int_equal(file_read_text(path, 100, &text, &err), STATUS_OK);
  assert_string_equal(text, "two");
  CLEANUP(buffer_release) Buffer content = {0};
  buffer_append_text(&content, "before ");
  assert_int_equal(file_read(path, 5, &content, &err), STATUS_OK);
  assert_string_equal(buffer_text(&content), "before two\r\n");
}

static void test_read_refuses(void **state) {
  Error err;
  CLEANUP_FREE char *path = memory_format("%s/a", (char *)*state);
  CLEANUP(buffer_release) Buffer content = {0};
  assert_int_equal(file_read(path, 100, &content, &err), ERR_NOT_FOUND);
  assert_string_equal(err.object, path);
  assert_int_equal(file_write_atomic(path, 0600, "12\0 4", 5, &err), STATUS_OK);
  assert_int_equal(file_read(path, 4, &content, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(content.size, 0);
  char *text = NULL;
  assert_int_equal(file_read_text(path, 5, &text, &err), ERR_INVALID_ARGUMENT);
  assert_null(text);
  assert_int_equal(file_read(*state, 5, &content, &err), ERR_IO);
}

static void test_make_dirs(void **state) {
  Error err;
  CLEANUP_FREE char *deep = memory_format("%s/x//y/z/", (char *)*state);
  assert_int_equal(file_make_dirs(deep, 0700, &err), STATUS_OK);
  assert_int_equal(file_make_dirs(deep, 0700, &err), STATUS_OK);
  assert_true(file_exists(deep));
  CLEANUP_FREE char *file = memory_format("%s/f", (char *)*state);
  assert_int_equal(file_write_atomic(file, 0600, "", 0, &err), STATUS_OK);
  CLEANUP_FREE char *below = memory_format("%s/f/g", (char *)*state);
  assert_int_equal(file_make_dirs(below, 0700, &err), ERR_IO);
}

static void test_remove_does_not_follow_links(void **state) {
  Error err;
  CLEANUP_FREE char *kept = memory_format("%s/kept", (char *)*state);
  CLEANUP_FREE char *file = memory_format("%s/kept/file", (char *)*state);
  CLEANUP_FREE char *tree = memory_format("%s/tree/a/b", (char *)*state);
  CLEANUP_FREE char *link = memory_format("%s/tree/a/link", (char *)*state);
  CLEANUP_FREE char *top = memory_format("%s/tree", (char *)*state);
  CLEANUP_FREE char *alias = memory_format("%s/alias", (char *)*state);
  assert_int_equal(file_make_dirs(kept, 0700, &err), STATUS_OK);
  assert_int_equal(file_write_atomic(file, 0600, "", 0, &err), STATUS_OK);
  assert_int_equal(file_make_dirs(tree, 0700, &err), STATUS_OK);
  assert_int_equal(symlink(kept, link), 0);
  assert_int_equal(symlink(kept, alias), 0);
  assert_int_equal(file_remove_tree(top, &err), STATUS_OK);
  assert_int_equal(file_remove_tree(alias, &err), STATUS_OK);
  assert_int_equal(file_remove_tree(top, &err), STATUS_OK);
  assert_false(file_exists(top));
  assert_true(file_exists(file));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_write_then_read, setup, teardown),
      cmocka_unit_test_setup_teardown(test_read_refuses, setup, teardown),
      cmocka_unit_test_setup_teardown(test_make_dirs, setup, teardown),
      cmocka_unit_test_setup_teardown(test_remove_does_not_follow_links, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
