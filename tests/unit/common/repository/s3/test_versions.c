/* Versions and locks as a real server keeps them: all that is there is listed, and goes, but for what is locked. */
#include "tests/unit/common/repository/s3/server.h"

#include "common/base/clock.h"

#define DAY_US ((int64_t)24 * 3600 * 1000000)

static Server server;

static int start(void **state) {
  (void)state;
  return server_start(&server);
}

static int stop(void **state) {
  (void)state;
  return server_stop(&server);
}

static int setup(void **state) {
  *state = server_bucket(&server, NULL);
  return 0;
}

static int setup_locked(void **state) {
  *state = server_bucket(&server, "x-amz-bucket-object-lock-enabled: true");
  return 0;
}

static int teardown(void **state) {
  free(*state);
  return 0;
}

typedef struct Seen {
  Buffer text;
  char *keys[16], *ids[16];
  size_t count, marks;
} Seen;

static bool see(void *user, const RepositoryEntry *entry) {
  Seen *seen = user;
  buffer_append_format(&seen->text, "%s%s:%llu ", entry->key, entry->mark ? "!" : "", (unsigned long long)entry->size);
  if (seen->count < ARRAY_SIZE(seen->ids)) {
    seen->keys[seen->count] = memory_strdup(entry->key);
    seen->ids[seen->count] = entry->version ? memory_strdup(entry->version) : NULL;
  }
  seen->count++;
  seen->marks += entry->mark;
  return true;
}

static void release(Seen *seen) {
  buffer_release(&seen->text);
  for (size_t i = 0; i < seen->count && i < ARRAY_SIZE(seen->ids); i++) {
    free(seen->keys[i]);
    free(seen->ids[i]);
  }
  *seen = (Seen){0};
}

static void list(Repository *repository, const char *prefix, Seen *seen) {
  Error err;
  release(seen);
  must(repository_entries(repository, prefix, see, seen, &err), &err);
}

static void put(Repository *repository, const char *key, const char *text) {
  Error err;
  must(repository_put(repository, key, text, strlen(text), &err), &err);
}

static void overwrite(const char *bucket, const char *key, const char *text) {
  CLEANUP_FREE char *path = memory_format("%s/%s", bucket, key);
  assert_int_equal(server_request(&server, "PUT", path, text, NULL, NULL), 200);
}

static void remove_all(Repository *repository, const char *prefix) {
  CLEANUP(release) Seen seen = {0};
  list(repository, prefix, &seen);
  for (size_t i = 0; i < seen.count; i++) {
    Error err;
    RepositoryRemoval removal = {.version = seen.ids[i]};
    must(repository_remove_as(repository, seen.keys[i], &removal, &err), &err);
  }
}

/* Where none are kept, each object is its only version, and can be removed as one. */
static void test_without_versions(void **state) {
  S3Options options = server_options(&server, *state);
  options.prefix = "team/x";
  Repository *repository = server_open(&options);
  CLEANUP(release) Seen seen = {0};
  put(repository, "db/1", "one");
  put(repository, "db/2", "more");
  put(repository, "db2", "other");
  list(repository, "db/", &seen);
  assert_string_equal(buffer_text(&seen.text), "db/1:3 db/2:4 ");
  remove_all(repository, "db/");
  list(repository, "", &seen);
  assert_string_equal(buffer_text(&seen.text), "db2:5 ");
  repository_close(repository);
}

static void test_versions_and_marks(void **state) {
  Error err;
  S3Options options = server_options(&server, *state);
  Repository *repository = server_open(&options);
  CLEANUP(release) Seen seen = {0};
  put(repository, "db/1", "one");
  overwrite(*state, "db/1", "longer");
  put(repository, "db/2", "x");
  must(repository_remove(repository, "db/2", &err), &err);
  list(repository, "db/", &seen);
  assert_string_equal(buffer_text(&seen.text), "db/1:6 db/1:3 db/2!:0 db/2:1 ");
  remove_all(repository, "db/");
  list(repository, "", &seen);
  assert_int_equal(seen.count, 0);
  repository_close(repository);
}

static void test_locks(void **state) {
  Error err;
  S3Options options = server_options(&server, *state);
  Repository *open = server_open(&options);
  options.lock_mode = "GOVERNANCE";
  options.lock_days = 3;
  Repository *locked = server_open(&options);
  CLEANUP(release) Seen seen = {0};
  int64_t until_us = -1, now_us = clock_wall_us();
  put(locked, "db/1", "x");
  put(open, "db/2", "x");
  list(locked, "db/", &seen);
  assert_int_equal(seen.count, 2);
  must(repository_locked(locked, "db/1", seen.ids[0], &until_us, &err), &err);
  assert_in_range(until_us - now_us, 3 * DAY_US - 120000000, 3 * DAY_US + 120000000);
  must(repository_locked(locked, "db/2", seen.ids[1], &until_us, &err), &err);
  assert_int_equal(until_us, 0);
  RepositoryRemoval removal = {.version = seen.ids[0]};
  assert_int_equal(repository_remove_as(locked, "db/1", &removal, &err), ERR_REPOSITORY_REFUSED);

  CLEANUP_FREE char *hold = memory_format("%s/db/2?legal-hold=&versionId=%s", (char *)*state, seen.ids[1]);
  static const char on[] =
      "<LegalHold xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Status>ON</Status></LegalHold>";
  assert_int_equal(server_request(&server, "PUT", hold, on, NULL, NULL), 200);
  must(repository_locked(locked, "db/2", seen.ids[1], &until_us, &err), &err);
  assert_true(until_us == INT64_MAX);
  removal.version = seen.ids[1];
  assert_int_equal(repository_remove_as(locked, "db/2", &removal, &err), ERR_REPOSITORY_REFUSED);
  repository_close(open);
  repository_close(locked);
}

/* A key that may not ask is told so. */
static void test_refused(void **state) {
  Error err;
  CLEANUP_FREE char *access = NULL;
  CLEANUP_FREE char *file = server_role(&server, *state, "\"s3:ListBucket\"", "\"s3:ListBucketVersions\"", &access);
  S3Options options = server_options(&server, *state);
  Repository *owner = server_open(&options);
  options.credentials_file = file;
  Repository *repository = server_open(&options);
  CLEANUP(release) Seen seen = {0};
  int64_t until_us = 0;
  put(owner, "db/1", "x");
  list(owner, "db/", &seen);
  assert_int_equal(repository_locked(repository, "db/1", seen.ids[0], &until_us, &err), ERR_REPOSITORY_REFUSED);
  assert_non_null(strstr(err.remedy, "s3:GetObjectRetention"));
  release(&seen);
  assert_int_equal(repository_entries(repository, "", see, &seen, &err), ERR_REPOSITORY_REFUSED);
  assert_non_null(strstr(err.remedy, "s3:ListBucketVersions"));
  repository_close(owner);
  repository_close(repository);
  unlink(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_without_versions, setup, teardown),
      cmocka_unit_test_setup_teardown(test_versions_and_marks, setup_locked, teardown),
      cmocka_unit_test_setup_teardown(test_locks, setup_locked, teardown),
      cmocka_unit_test_setup_teardown(test_refused, setup_locked, teardown),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
