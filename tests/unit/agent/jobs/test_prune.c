/* Taking checkpoints out of a repository: a directory, and a bucket of a real server with versions and locks. */
#include "tests/unit/common/repository/s3/server.h"

#include <signal.h>
#include <sys/wait.h>

#include "agent/jobs/prune.h"
#include "common/base/clock.h"

#define DB "prod-api"
#define ID "01kb0000000000000000000000"
#define OTHER "01kb0000000000000000000001"
#define OWN DB "/" ID "/"
#define MANIFEST OWN "attempt-2/manifest.json.cms"

static Server server;

static const char *const objects[] = {OWN "attempt-1/000000.zst.cms",
                                      OWN "attempt-2/000000.zst.cms",
                                      OWN "attempt-2/000001.zst.cms",
                                      MANIFEST,
                                      MANIFEST ".sig",
                                      OWN "attempt-2/proofs/d1.json.cms",
                                      OWN "attempt-2/proofs/d1.json.cms.sig",
                                      OWN "attempt-2/roles.sql.zst.cms"};
static const char *const others[] = {DB "/" OTHER "/attempt-1/manifest.json.cms",
                                     DB "/" OTHER "/attempt-1/roles.sql.zst.cms",
                                     DB "2/" ID "/attempt-1/manifest.json.cms", DB "/" ID "x/a"};

static void put(Repository *repository, const char *key) {
  Error err;
  must(repository_put(repository, key, key, strlen(key), &err), &err);
}

static void fill(Repository *repository) {
  for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
    put(repository, objects[i]);
  for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    put(repository, others[i]);
}

static bool has(Repository *repository, const char *key) {
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  Status status = repository_get(repository, key, 4096, &out, &err);
  assert_true(status == STATUS_OK || status == ERR_OBJECT_NOT_FOUND);
  return status == STATUS_OK;
}

static void expect_others(Repository *repository) {
  for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    assert_true(has(repository, others[i]));
}

static bool count_entry(void *user, const RepositoryEntry *entry) {
  (void)entry;
  ++*(size_t *)user;
  return true;
}

static size_t entries(Repository *repository, const char *prefix) {
  Error err;
  size_t count = 0;
  must(repository_entries(repository, prefix, count_entry, &count, &err), &err);
  return count;
}

/* ---- watches ---- */

typedef struct Steps {
  int seen, last; /* at the last it ends as it says */
  int signal;     /* or 0 */
} Steps;

static Status step(void *user, uint64_t removed, uint64_t total, Error *err) {
  Steps *steps = user;
  assert_true(removed <= total);
  if (++steps->seen != steps->last)
    return STATUS_OK;
  if (steps->signal)
    kill(getpid(), steps->signal);
  return error_set(err, ERR_CANCELED, "enough");
}

static Status prune_one(Repository *repository, const char *prefix, Steps *steps, json_t **report, Error *err) {
  const PruneWatch watch = {step, steps};
  return prune_run(repository, &prefix, 1, &watch, report, err);
}

static json_int_t number(const json_t *report, const char *name) {
  assert_true(json_is_integer(json_object_get(report, name)));
  return json_integer_value(json_object_get(report, name));
}

static json_t *pruned(Repository *repository, const char *prefix) {
  Error err;
  Steps steps = {0};
  json_t *report = NULL;
  must(prune_one(repository, prefix, &steps, &report, &err), &err);
  return report;
}

/* ---- a directory ---- */

typedef struct Place {
  char dir[64], root[80];
  Repository *repository;
} Place;

static int open_place(void **state) {
  Error err;
  Place *place = memory_alloc(sizeof *place);
  snprintf(place->dir, sizeof place->dir, "/tmp/pgseal-test-prune-XXXXXX");
  assert_non_null(mkdtemp(place->dir));
  snprintf(place->root, sizeof place->root, "%s/repository", place->dir);
  must(directory_repository_open(place->root, &place->repository, &err), &err);
  *state = place;
  return 0;
}

static int close_place(void **state) {
  Error err;
  Place *place = *state;
  repository_close(place->repository);
  must(file_remove_tree(place->dir, &err), &err);
  free(place);
  return 0;
}

static void test_directory(void **state) {
  Place *place = *state;
  fill(place->repository);
  size_t size = 0;
  for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
    size += strlen(objects[i]);
  json_t *report = pruned(place->repository, OWN);
  assert_int_equal(number(report, "objects"), ARRAY_SIZE(objects));
  assert_int_equal(number(report, "bytes"), size);
  assert_int_equal(number(report, "kept"), 0);
  assert_true(json_is_false(json_object_get(report, "whole")));
  json_decref(report);
  assert_int_equal(entries(place->repository, OWN), 0);
  expect_others(place->repository);
  CLEANUP_FREE char *gone = memory_format("%s/" DB "/" ID, place->root);
  assert_int_equal(access(gone, F_OK), -1);
  report = pruned(place->repository, OWN); /* again: there is nothing to do */
  assert_int_equal(number(report, "objects"), 0);
  json_decref(report);
}

static void test_lost_attempt(void **state) {
  Place *place = *state;
  fill(place->repository);
  json_t *report = pruned(place->repository, OWN "attempt-1/");
  assert_int_equal(number(report, "objects"), 1);
  json_decref(report);
  for (size_t i = 1; i < ARRAY_SIZE(objects); i++)
    assert_true(has(place->repository, objects[i]));
  expect_others(place->repository);
}

/* kill -9 before each removal, one after the other: what is left never has its manifest but whole, and the next run
 * takes the rest. */
static void test_killed_anywhere(void **state) {
  Place *place = *state;
  for (int at = 1; at <= (int)ARRAY_SIZE(objects); at++) {
    for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
      if (!has(place->repository, objects[i]))
        put(place->repository, objects[i]);
    pid_t child = fork();
    if (child == 0) {
      Error err;
      Steps steps = {.last = at, .signal = SIGKILL};
      json_t *report = NULL;
      _exit(prune_one(place->repository, OWN, &steps, &report, &err) == STATUS_OK ? 0 : 1);
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    size_t left = entries(place->repository, OWN);
    assert_int_equal(left, ARRAY_SIZE(objects) - (size_t)(at - 1));
    assert_int_equal(has(place->repository, MANIFEST), left == ARRAY_SIZE(objects));
    json_t *report = pruned(place->repository, OWN);
    assert_int_equal(number(report, "objects"), left);
    json_decref(report);
    assert_int_equal(entries(place->repository, OWN), 0);
  }
}

static void test_canceled(void **state) {
  Place *place = *state;
  Error err;
  Steps steps = {.last = 3};
  json_t *report = NULL;
  fill(place->repository);
  assert_int_equal(prune_one(place->repository, OWN, &steps, &report, &err), ERR_CANCELED);
  assert_null(report);
  assert_int_equal(entries(place->repository, OWN), ARRAY_SIZE(objects) - 2);
}

static void test_prefixes(void **state) {
  (void)state;
  static const char *const good[] = {OWN, OWN "attempt-1/", OWN "attempt-12/"};
  static const char *const bad[] = {"",
                                    "/",
                                    DB "/",
                                    DB "/" ID,
                                    DB "/" OTHER "/",
                                    DB "2/" ID "/",
                                    OWN "attempt-1",
                                    OWN "attempt-0/",
                                    OWN "attempt-/",
                                    OWN "attempt-1/proofs/",
                                    OWN "attempt-1234567890/",
                                    OWN "../" OTHER "/",
                                    OWN "x/"};
  Error err;
  for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    must(prune_check_prefix(DB, ID, good[i], &err), &err);
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    assert_int_equal(prune_check_prefix(DB, ID, bad[i], &err), ERR_PROTOCOL);
  assert_int_equal(prune_check_prefix("", ID, "/" ID "/", &err), ERR_PROTOCOL);
  assert_int_equal(prune_check_prefix("..", ID, "../" ID "/", &err), ERR_PROTOCOL);
  assert_int_equal(prune_check_prefix(DB, "..", DB "/../", &err), ERR_PROTOCOL);
}

/* ---- a bucket ---- */

static int open_bucket(void **state) {
  *state = server_bucket(&server, "x-amz-bucket-object-lock-enabled: true");
  return 0;
}

static int close_bucket(void **state) {
  free(*state);
  return 0;
}

static Repository *unlocked(const char *bucket) {
  S3Options options = server_options(&server, bucket);
  options.prefix = "team";
  return server_open(&options);
}

static Repository *locked(const char *bucket) {
  S3Options options = server_options(&server, bucket);
  options.prefix = "team";
  options.lock_mode = "GOVERNANCE"; /* which the owner's key could get around */
  options.lock_days = 2;
  return server_open(&options);
}

/* Versions that are hidden, and what hides them, go too. */
static void test_versions(void **state) {
  Error err;
  Repository *repository = unlocked(*state);
  fill(repository);
  CLEANUP_FREE char *again = memory_format("%s/team/%s", (char *)*state, objects[1]);
  assert_int_equal(server_request(&server, "PUT", again, "written over", NULL, NULL), 200);
  must(repository_remove(repository, MANIFEST, &err), &err); /* hidden, as by somebody's mistake */
  assert_int_equal(entries(repository, OWN), ARRAY_SIZE(objects) + 2);
  json_t *report = pruned(repository, OWN);
  assert_int_equal(number(report, "objects"), ARRAY_SIZE(objects) + 1);
  json_decref(report);
  assert_int_equal(entries(repository, OWN), 0);
  expect_others(repository);
  repository_close(repository);
}

static void test_locked_manifest_keeps_all(void **state) {
  Repository *open = unlocked(*state), *lock = locked(*state);
  for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
    put(strcmp(objects[i], MANIFEST) == 0 ? lock : open, objects[i]);
  json_t *report = pruned(open, OWN);
  assert_int_equal(number(report, "objects"), 0);
  assert_int_equal(number(report, "kept"), 1);
  assert_true(json_is_true(json_object_get(report, "whole")));
  assert_true(number(report, "locked_until_us") > clock_wall_us() + (json_int_t)86400 * 1000000);
  json_decref(report);
  assert_int_equal(entries(open, OWN), ARRAY_SIZE(objects));
  repository_close(open);
  repository_close(lock);
}

static void test_locked_proof_stays(void **state) {
  static const char proof[] = OWN "attempt-2/proofs/d1.json.cms";
  Repository *open = unlocked(*state), *lock = locked(*state);
  for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
    put(strcmp(objects[i], proof) == 0 ? lock : open, objects[i]);
  json_t *report = pruned(open, OWN);
  assert_int_equal(number(report, "objects"), ARRAY_SIZE(objects) - 1);
  assert_int_equal(number(report, "kept"), 1);
  assert_true(json_is_false(json_object_get(report, "whole")));
  assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(report, "locked"), 0), "key")),
                      proof);
  json_decref(report);
  assert_int_equal(entries(open, OWN), 1);
  assert_true(has(open, proof));
  repository_close(open);
  repository_close(lock);
}

/* A key without the right says which it wants; nothing is gone but what it may. */
static void test_refused(void **state) {
  Error err;
  Steps steps = {0};
  json_t *report = NULL;
  CLEANUP_FREE char *access = NULL;
  CLEANUP_FREE char *file =
      server_role(&server, *state,
                  "\"s3:ListBucket\",\"s3:ListBucketVersions\",\"s3:GetObjectRetention\",\"s3:GetObjectLegalHold\"",
                  "\"s3:DeleteObjectVersion\"", &access);
  Repository *open = unlocked(*state);
  S3Options options = server_options(&server, *state);
  options.prefix = "team";
  options.credentials_file = file;
  Repository *weak = server_open(&options);
  put(open, MANIFEST);
  assert_int_equal(prune_one(weak, OWN, &steps, &report, &err), ERR_REPOSITORY_REFUSED);
  assert_non_null(strstr(err.remedy, "s3:DeleteObjectVersion"));
  assert_true(has(open, MANIFEST));
  repository_close(weak);
  repository_close(open);
  unlink(file);
}

static int start(void **state) {
  (void)state;
  return server_start(&server);
}

static int stop(void **state) {
  (void)state;
  return server_stop(&server);
}

int main(void) {
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, open_place, close_place)
#define IN_BUCKET(test) cmocka_unit_test_setup_teardown(test, open_bucket, close_bucket)
  const struct CMUnitTest tests[] = {IN_PLACE(test_directory),
                                     IN_PLACE(test_lost_attempt),
                                     IN_PLACE(test_killed_anywhere),
                                     IN_PLACE(test_canceled),
                                     cmocka_unit_test(test_prefixes),
                                     IN_BUCKET(test_versions),
                                     IN_BUCKET(test_locked_manifest_keeps_all),
                                     IN_BUCKET(test_locked_proof_stays),
                                     IN_BUCKET(test_refused)};
  return cmocka_run_group_tests(tests, start, stop);
}
