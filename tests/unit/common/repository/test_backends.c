/* What every backend must do, run on each: a directory, and a bucket of a real S3 server, over TLS. */
#include "tests/unit/common/repository/s3/server.h"

#include <pthread.h>

static Server server;

typedef struct Backend {
  char *directory, *bucket;
  Repository *repository;
} Backend;

static int open_directory(void **state) {
  Error err;
  Backend *b = memory_alloc(sizeof *b);
  char template[] = "/tmp/pgseal-test-backend-XXXXXX";
  assert_non_null(mkdtemp(template));
  b->directory = memory_strdup(template);
  must(directory_repository_open(template, &b->repository, &err), &err);
  *state = b;
  return 0;
}

static int open_s3(void **state) {
  Backend *b = memory_alloc(sizeof *b);
  b->bucket = server_bucket(&server, NULL);
  S3Options options = server_options(&server, b->bucket);
  b->repository = server_open(&options);
  *state = b;
  return 0;
}

static int open_s3_prefixed(void **state) {
  Backend *b = memory_alloc(sizeof *b);
  b->bucket = server_bucket(&server, NULL);
  S3Options options = server_options(&server, b->bucket);
  options.prefix = "backups/of.pg-seal_1";
  b->repository = server_open(&options);
  CLEANUP_FREE char *beside = memory_format("%s/backups/of.pg-seal_10", b->bucket);
  assert_int_equal(server_request(&server, "PUT", beside, "not ours", NULL, NULL), 200);
  *state = b;
  return 0;
}

static int close_backend(void **state) {
  Error err;
  Backend *b = *state;
  repository_close(b->repository);
  if (b->directory)
    must(file_remove_tree(b->directory, &err), &err);
  free(b->directory);
  free(b->bucket);
  free(b);
  return 0;
}

static void put(Repository *repository, const char *key, const char *text) {
  Error err;
  must(repository_put(repository, key, text, strlen(text), &err), &err);
}

static void expect_content(Repository *repository, const char *key, const char *text) {
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  buffer_append_text(&out, "what was in it before");
  must(repository_get(repository, key, 1 << 20, &out, &err), &err);
  assert_string_equal(buffer_text(&out), text);
}

static bool join_keys(void *user, const char *key, uint64_t size) {
  buffer_append_format(user, "%s:%llu ", key, (unsigned long long)size);
  return true;
}

static void expect_list(Repository *repository, const char *prefix, const char *expected) {
  Error err;
  CLEANUP(buffer_release) Buffer found = {0};
  must(repository_list(repository, prefix, join_keys, &found, &err), &err);
  assert_string_equal(buffer_text(&found), expected);
}

static void test_put_get(void **state) {
  Repository *r = ((Backend *)*state)->repository;
  Error err;
  uint8_t digest[SHA256_SIZE];
  put(r, "prod/01/attempt-1/000000.zst.cms", "one");
  put(r, "top", "");
  sha256("hashed", 6, digest);
  must(repository_put_hashed(r, "A.B_c-9/-a/a..b", "hashed", 6, digest, &err), &err);
  expect_content(r, "prod/01/attempt-1/000000.zst.cms", "one");
  expect_content(r, "top", "");
  expect_content(r, "A.B_c-9/-a/a..b", "hashed");
}

static void test_large_object(void **state) {
  Repository *r = ((Backend *)*state)->repository;
  Error err;
  enum { SIZE = 9 * 1000 * 1000 + 7 };
  CLEANUP_FREE uint8_t *data = memory_alloc(SIZE);
  for (size_t i = 0; i < SIZE; i++)
    data[i] = (uint8_t)(i * 31 >> 3);
  must(repository_put(r, "big", data, SIZE, &err), &err);
  CLEANUP(buffer_release) Buffer out = {0};
  must(repository_get(r, "big", SIZE, &out, &err), &err);
  assert_int_equal(out.size, SIZE);
  assert_memory_equal(out.data, data, SIZE);
  assert_int_equal(repository_put(r, "big", data, SIZE, &err), ERR_OBJECT_EXISTS);
  assert_int_equal(repository_get(r, "big", SIZE - 1, &out, &err), ERR_SEGMENT_CORRUPT);
}

static void test_never_overwritten(void **state) {
  Repository *r = ((Backend *)*state)->repository;
  Error err;
  put(r, "a/b", "first");
  assert_int_equal(repository_put(r, "a/b", "second", 6, &err), ERR_OBJECT_EXISTS);
  assert_string_equal(err.object, "a/b");
  assert_int_equal(repository_put(r, "a/b", "first", 5, &err), ERR_OBJECT_EXISTS);
  expect_content(r, "a/b", "first");
  expect_list(r, "", "a/b:5 ");
}

static void test_absent(void **state) {
  Repository *r = ((Backend *)*state)->repository;
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  put(r, "a/b", "x");
  static const char *const keys[] = {"c", "a/c", "x/y/z", "a"};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
    assert_int_equal(repository_get(r, keys[i], 10, &out, &err), ERR_OBJECT_NOT_FOUND);
    assert_string_equal(err.object, keys[i]);
    assert_int_equal(repository_remove(r, keys[i], &err), ERR_OBJECT_NOT_FOUND);
  }
  assert_int_equal(repository_get_stored(r, "c", 10, &out, &err), ERR_SEGMENT_MISSING);
  must(repository_remove(r, "a/b", &err), &err);
  assert_int_equal(repository_get(r, "a/b", 10, &out, &err), ERR_OBJECT_NOT_FOUND);
  assert_int_equal(repository_get_stored(r, "c", 10, &out, &err), ERR_UNAVAILABLE); /* nothing there at all */
}

static void test_size_limit(void **state) {
  Repository *r = ((Backend *)*state)->repository;
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  put(r, "a", "12345");
  assert_int_equal(repository_get(r, "a", 4, &out, &err), ERR_SEGMENT_CORRUPT);
  assert_int_equal(repository_get(r, "a", 0, &out, &err), ERR_SEGMENT_CORRUPT);
  must(repository_get(r, "a", 5, &out, &err), &err);
  must(repository_get(r, "a", SIZE_MAX, &out, &err), &err);
}

static void test_list(void **state) {
  Repository *r = ((Backend *)*state)->repository;
  static const char *const keys[] = {"b/2", "a/10", "a/1/x", "a-1", "ab/c", "b/1/attempt-1/000000", "B"};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
    put(r, keys[i], keys[i]);
  expect_list(r, "", "B:1 a-1:3 a/1/x:5 a/10:4 ab/c:4 b/1/attempt-1/000000:20 b/2:3 "); /* bytes' order */
  expect_list(r, "a", "a-1:3 a/1/x:5 a/10:4 ab/c:4 ");
  expect_list(r, "a/", "a/1/x:5 a/10:4 ");
  expect_list(r, "a/1", "a/1/x:5 a/10:4 ");
  expect_list(r, "a/1/", "a/1/x:5 ");
  expect_list(r, "b/1/attempt-1/000000", "b/1/attempt-1/000000:20 ");
  expect_list(r, "nothing", "");
  expect_list(r, "a/1/x/y", "");
}

static void expect_rest(Repository *repository, const char *prefix, const char *after, const char *expected) {
  Error err;
  CLEANUP(buffer_release) Buffer found = {0};
  must(repository_list_after(repository, prefix, after, join_keys, &found, &err), &err);
  assert_string_equal(buffer_text(&found), expected);
}

/* What an inventory's next page begins with. */
static void test_list_after(void **state) {
  Repository *r = ((Backend *)*state)->repository;
  static const char *const keys[] = {"db/1/a/x", "db/1/y", "db/10/a", "db/2/a/x", "db/2/a/y", "db/2/b", "db/3", "ec/1"};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
    put(r, keys[i], "1");
  expect_rest(r, "db/", NULL, "db/1/a/x:1 db/1/y:1 db/10/a:1 db/2/a/x:1 db/2/a/y:1 db/2/b:1 db/3:1 ");
  expect_rest(r, "db/", "db/1/a/x", "db/1/y:1 db/10/a:1 db/2/a/x:1 db/2/a/y:1 db/2/b:1 db/3:1 ");
  expect_rest(r, "db/", "db/10", "db/10/a:1 db/2/a/x:1 db/2/a/y:1 db/2/b:1 db/3:1 ");
  expect_rest(r, "db/", "db/100", "db/2/a/x:1 db/2/a/y:1 db/2/b:1 db/3:1 "); /* behind all of db/10/ */
  expect_rest(r, "db/", "db/2/a/x", "db/2/a/y:1 db/2/b:1 db/3:1 ");
  expect_rest(r, "db/", "db/20", "db/3:1 ");
  expect_rest(r, "db/", "db/3", "");
  expect_rest(r, "", "db/3", "ec/1:1 ");
}

static bool stop_after(void *user, const char *key, uint64_t size) {
  (void)key, (void)size;
  return --*(int *)user > 0;
}

static void test_list_stops_when_told(void **state) {
  Repository *r = ((Backend *)*state)->repository;
  Error err;
  int left = 2;
  put(r, "a", "");
  put(r, "b", "");
  put(r, "c", "");
  must(repository_list(r, "", stop_after, &left, &err), &err);
  assert_int_equal(left, 0);
}

typedef struct Remover {
  Repository *repository;
  int removed;
} Remover;

static bool remove_it(void *user, const char *key, uint64_t size) {
  (void)size;
  Error err;
  Remover *remover = user;
  must(repository_remove(remover->repository, key, &err), &err);
  remover->removed++;
  return true;
}

/* What prune does: the listing must not be disturbed by what it shows being removed. */
static void test_remove_while_listing(void **state) {
  Repository *r = ((Backend *)*state)->repository;
  Error err;
  for (int i = 0; i < 50; i++) {
    CLEANUP_FREE char *key = memory_format("db/%d/attempt-1/%06d", i % 5, i);
    put(r, key, "x");
  }
  put(r, "other/1", "kept");
  Remover remover = {.repository = r};
  must(repository_list(r, "db/", remove_it, &remover, &err), &err);
  assert_int_equal(remover.removed, 50);
  expect_list(r, "", "other/1:4 ");
  put(r, "db/1/attempt-2/000000", "again");
  expect_content(r, "db/1/attempt-2/000000", "again");
}

enum { THREADS = 16, KEYS = 8, OBJECT_SIZE = 20000 };

typedef struct Racer {
  Repository *repository;
  pthread_barrier_t *start;
  char letter;
  bool won[KEYS];
  Status wrong;
  Error why;
} Racer;

static void *race(void *user) {
  Racer *r = user;
  char data[OBJECT_SIZE];
  memset(data, r->letter, sizeof data);
  for (int i = 0; i < KEYS; i++) {
    Error err;
    CLEANUP_FREE char *key = memory_format("db/%d/attempt-1/%06d", i, i);
    pthread_barrier_wait(r->start);
    Status status = repository_put(r->repository, key, data, sizeof data, &err);
    r->won[i] = status == STATUS_OK;
    if (status != STATUS_OK && status != ERR_OBJECT_EXISTS) {
      r->wrong = status;
      r->why = err;
    }
  }
  return NULL;
}

/* Of sixteen puts of one key at the same moment exactly one wins, and the object is the winner's, whole. */
static void test_racing_puts(void **state) {
  Repository *repository = ((Backend *)*state)->repository;
  Error err;
  pthread_t threads[THREADS];
  static Racer racers[THREADS];
  pthread_barrier_t start;
  pthread_barrier_init(&start, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    racers[i] = (Racer){.repository = repository, .start = &start, .letter = (char)('a' + i)};
    assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  pthread_barrier_destroy(&start);
  for (int i = 0; i < THREADS; i++)
    must(racers[i].wrong, &racers[i].why);
  for (int key = 0; key < KEYS; key++) {
    int winners = 0, winner = 0;
    for (int i = 0; i < THREADS; i++)
      if (racers[i].won[key]) {
        winners++;
        winner = i;
      }
    assert_int_equal(winners, 1);
    CLEANUP(buffer_release) Buffer out = {0};
    CLEANUP_FREE char *name = memory_format("db/%d/attempt-1/%06d", key, key);
    must(repository_get(repository, name, OBJECT_SIZE, &out, &err), &err);
    assert_int_equal(out.size, OBJECT_SIZE);
    for (size_t i = 0; i < out.size; i++)
      assert_int_equal(out.data[i], 'a' + winner);
  }
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
#define ON(test, open)                                                                                                 \
  { #test " on " #open, test, open, close_backend, NULL }
#define EVERYWHERE(test) ON(test, open_directory), ON(test, open_s3)
  const struct CMUnitTest tests[] = {
      EVERYWHERE(test_put_get),
      ON(test_put_get, open_s3_prefixed),
      EVERYWHERE(test_large_object),
      EVERYWHERE(test_never_overwritten),
      EVERYWHERE(test_absent),
      EVERYWHERE(test_size_limit),
      EVERYWHERE(test_list),
      ON(test_list, open_s3_prefixed),
      EVERYWHERE(test_list_after),
      ON(test_list_after, open_s3_prefixed),
      EVERYWHERE(test_list_stops_when_told),
      EVERYWHERE(test_remove_while_listing),
      EVERYWHERE(test_racing_puts),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
