/* The directory backend: what test_backends.c, which is for all of them, cannot know of it. */
#include "tests/unit/common/repository/support.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>

static int count_entries(const char *path) {
  DIR *dir = opendir(path);
  assert_non_null(dir);
  int count = 0;
  for (struct dirent *entry; (entry = readdir(dir));)
    count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
  closedir(dir);
  return count;
}

static void test_put_get(void **state) {
  Fixture *f = *state;
  Error err;
  put(f, "prod/01/attempt-1/000000.zst.cms", "one");
  put(f, "top", "");
  expect_content(f, "prod/01/attempt-1/000000.zst.cms", "one");
  expect_content(f, "top", "");
  CLEANUP(buffer_release) Buffer out = {0};
  buffer_append_text(&out, "what was in it before");
  assert_ok(repository_get(f->repository, "prod/01/attempt-1/000000.zst.cms", 3, &out, &err), &err);
  assert_int_equal(out.size, 3);
  assert_int_equal(count_entries(f->root), 2); /* no temporary file stays */
  assert_non_null(strstr(repository_description(f->repository), f->root));
}

static void test_modes(void **state) {
  Fixture *f = *state;
  put(f, "a/b", "x");
  struct stat st;
  CLEANUP_FREE char *dir = at(f, "a"), *file = at(f, "a/b");
  assert_int_equal(stat(f->root, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0700);
  assert_int_equal(stat(dir, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0700);
  assert_int_equal(stat(file, &st), 0);
  assert_int_equal(st.st_mode & 0777, 0600);
  assert_int_equal(st.st_nlink, 1);
}

static void test_never_overwritten(void **state) {
  Fixture *f = *state;
  Error err;
  put(f, "a/b", "first");
  assert_int_equal(repository_put(f->repository, "a/b", "second", 6, &err), ERR_OBJECT_EXISTS);
  assert_string_equal(err.object, "a/b");
  assert_int_equal(repository_put(f->repository, "a/b", "first", 5, &err), ERR_OBJECT_EXISTS);
  assert_int_equal(repository_put(f->repository, "a", "x", 1, &err), ERR_OBJECT_EXISTS);
  assert_int_equal(repository_put(f->repository, "a/b/c", "x", 1, &err), ERR_IO); /* a/b is an object */
  expect_content(f, "a/b", "first");
  expect_list(f, "", "a/b:5 ");
  assert_int_equal(count_entries(f->root), 1);
}

static void test_absent(void **state) {
  Fixture *f = *state;
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  put(f, "a/b", "x");
  static const char *const keys[] = {"c", "a/c", "x/y/z", "a"};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
    assert_int_equal(repository_get(f->repository, keys[i], 10, &out, &err), ERR_OBJECT_NOT_FOUND);
    assert_string_equal(err.object, keys[i]);
    assert_int_equal(repository_remove(f->repository, keys[i], &err), ERR_OBJECT_NOT_FOUND);
  }
  expect_content(f, "a/b", "x");
}

typedef struct Remover {
  Fixture *f;
  int removed;
} Remover;

static bool remove_it(void *user, const char *key, uint64_t size) {
  (void)size;
  Error err;
  Remover *r = user;
  assert_ok(repository_remove(r->f->repository, key, &err), &err);
  r->removed++;
  return true;
}

/* What prune does: the listing must not be disturbed by what it shows being removed. */
static void test_remove_while_listing(void **state) {
  Fixture *f = *state;
  Error err;
  for (int i = 0; i < 50; i++) {
    CLEANUP_FREE char *key = memory_format("db/%d/attempt-1/%06d", i % 5, i);
    put(f, key, "x");
  }
  put(f, "other/1", "kept");
  Remover r = {.f = f};
  assert_ok(repository_list(f->repository, "db/", remove_it, &r, &err), &err);
  assert_int_equal(r.removed, 50);
  expect_list(f, "", "other/1:4 ");
  assert_int_equal(count_entries(f->root), 1); /* the empty directories went too */
  put(f, "db/1/attempt-2/000000", "again");
  expect_content(f, "db/1/attempt-2/000000", "again");
}

/* Links are not followed, whatever they lead to, and nothing outside is touched. */
static void test_symbolic_links(void **state) {
  Fixture *f = *state;
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  CLEANUP_FREE char *outside = memory_format("%s/outside", f->dir), *secret = memory_format("%s/outside/s", f->dir);
  CLEANUP_FREE char *dir_link = at(f, "link"), *file_link = at(f, "a/s"), *dangling = at(f, "a/new"),
                    *escaped = memory_format("%s/outside/new", f->dir);
  assert_ok(file_make_dirs(outside, 0700, &err), &err);
  assert_ok(file_write_atomic(secret, 0600, "secret", 6, &err), &err);
  put(f, "a/b", "x");
  assert_int_equal(symlink(outside, dir_link), 0);
  assert_int_equal(symlink(secret, file_link), 0);
  assert_int_equal(symlink(escaped, dangling), 0);
  assert_int_equal(repository_get(f->repository, "link/s", 100, &out, &err), ERR_IO);
  assert_non_null(strstr(err.message, "symbolic link"));
  assert_int_equal(repository_get(f->repository, "a/s", 100, &out, &err), ERR_IO);
  assert_int_equal(repository_put(f->repository, "link/new", "x", 1, &err), ERR_IO);
  assert_int_equal(repository_put(f->repository, "a/new", "x", 1, &err), ERR_OBJECT_EXISTS);
  assert_int_equal(repository_remove(f->repository, "link/s", &err), ERR_IO);
  expect_list(f, "", "a/b:1 ");
  assert_int_equal(count_entries(outside), 1);
  assert_int_equal(out.size, 0);
}

static void test_what_is_no_file(void **state) {
  Fixture *f = *state;
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  CLEANUP_FREE char *pipe_path = at(f, "pipe");
  assert_int_equal(mkfifo(pipe_path, 0600), 0);
  assert_int_equal(repository_get(f->repository, "pipe", 100, &out, &err), ERR_SEGMENT_CORRUPT); /* and does not hang */
  expect_list(f, "", "");
}

static void make_temporary(const Fixture *f, const char *name, int age_hours) {
  Error err;
  CLEANUP_FREE char *path = at(f, name);
  assert_ok(file_write_atomic(path, 0600, "half an obj", 11, &err), &err);
  struct timespec times[2] = {{.tv_sec = time(NULL) - age_hours * 3600L}, {.tv_sec = time(NULL) - age_hours * 3600L}};
  assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static bool is_there(const Fixture *f, const char *name) {
  CLEANUP_FREE char *path = at(f, name);
  return file_exists(path);
}

/* What a killed put leaves is never seen, and goes away: but not under a put that is still at it. */
static void test_temporary_files(void **state) {
  Fixture *f = *state;
  Error err;
  put(f, "a", "x");
  make_temporary(f, ".put-old", 25);
  make_temporary(f, ".put-new", 23);
  make_temporary(f, ".other", 1000);
  make_temporary(f, "lost+found", 1000);
  expect_list(f, "", "a:1 ");
  Repository *again = NULL;
  assert_ok(directory_repository_open(f->root, &again, &err), &err);
  assert_false(is_there(f, ".put-old"));
  assert_true(is_there(f, ".put-new"));
  assert_true(is_there(f, ".other"));
  expect_list(f, "", "a:1 ");
  repository_close(again);
}

static void test_open_refuses(void **state) {
  Fixture *f = *state;
  Error err;
  Repository *none = NULL;
  put(f, "file", "x");
  CLEANUP_FREE char *file = at(f, "file"), *below = at(f, "file/x"), *deep = memory_format("%s/n/e/w", f->dir);
  assert_int_equal(directory_repository_open(file, &none, &err), ERR_IO);
  assert_non_null(strstr(err.message, file));
  assert_int_equal(directory_repository_open(below, &none, &err), ERR_IO);
  assert_null(none);
  assert_ok(directory_repository_open(deep, &none, &err), &err);
  repository_close(none);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_put_get),
      TEST(test_modes),

      TEST(test_never_overwritten),
      TEST(test_absent),

      TEST(test_remove_while_listing),
      TEST(test_symbolic_links),
      TEST(test_what_is_no_file),
      TEST(test_temporary_files),
      TEST(test_open_refuses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
