/* Between the S3 backend and a real server: connections cut at every place, answers lost, storms, stalls, a killed
 * server. What succeeds is whole, what is ours is known as ours, and what fails says so in time. */
#include "tests/unit/common/repository/s3/server.h"

#include <pthread.h>

#include "common/base/clock.h"
#include "tests/unit/common/repository/s3/proxy.h"

static Server server;

/* ---- set-up ------------------------------------------------------------------------------------------- */

typedef struct Scene {
  char *bucket;
  Repository *direct; /* past the proxy */
  S3Options options;  /* through it */
  Proxy proxy;
} Scene;

static int setup(void **state) {
  Scene *scene = memory_alloc(sizeof *scene);
  scene->bucket = server_bucket(&server, NULL);
  S3Options direct = server_options(&server, scene->bucket);
  scene->direct = server_open(&direct);
  scene->options = direct;
  scene->options.ca_file = NULL;
  scene->options.endpoint = scene->proxy.endpoint;
  *state = scene;
  return 0;
}

static int teardown(void **state) {
  Scene *scene = *state;
  repository_close(scene->direct);
  free(scene->bucket);
  free(scene);
  return 0;
}

static void fill(char *data, size_t size, unsigned seed) {
  for (size_t i = 0; i < size; i++)
    data[i] = (char)(i * 131 + seed + (i >> 8));
}

static void expect_stored(Repository *repository, const char *key, const char *data, size_t size) {
  Error err;
  CLEANUP(buffer_release) Buffer out = {0};
  must(repository_get(repository, key, size, &out, &err), &err);
  assert_int_equal(out.size, size);
  assert_memory_equal(out.data, data, size);
}

static bool join_keys(void *user, const char *key, uint64_t size) {
  buffer_append_format(user, "%s:%llu ", key, (unsigned long long)size);
  return true;
}

static void expect_found(Repository *repository, const char *expected) {
  Error err;
  CLEANUP(buffer_release) Buffer found = {0};
  must(repository_list(repository, "", join_keys, &found, &err), &err);
  assert_string_equal(buffer_text(&found), expected);
}

/* One put through one fault on the first connection. */
static Status put_through(Scene *scene, Fault fault, const char *key, const char *data, size_t size, Error *err) {
  scene->proxy = (Proxy){.first = {fault}, .first_count = 1};
  proxy_start(&scene->proxy, &server);
  Repository *repository = server_open(&scene->options);
  Status status = repository_put(repository, key, data, size, err);
  repository_close(repository);
  peer_stop(&scene->proxy.peer);
  return status;
}

/* ---- cuts --------------------------------------------------------------------------------------------- */

enum { SMALL = 3000, STEP = 307 };

static void test_put_cut_everywhere(void **state) {
  Scene *scene = *state;
  char data[SMALL];
  for (long at = 1; at < SMALL + 1500; at += STEP) {
    Error err;
    CLEANUP_FREE char *key = memory_format("db/%06ld", at);
    fill(data, sizeof data, (unsigned)at);
    must(put_through(scene, (Fault){CUT_UP, at}, key, data, sizeof data, &err), &err);
    expect_stored(scene->direct, key, data, sizeof data);
  }
}

static void test_answers_cut_everywhere(void **state) {
  Scene *scene = *state;
  char data[SMALL];
  for (long at = 1; at < 700; at += 61) {
    Error err;
    CLEANUP_FREE char *key = memory_format("db/%06ld", at);
    fill(data, sizeof data, (unsigned)at);
    must(put_through(scene, (Fault){CUT_DOWN, at}, key, data, sizeof data, &err), &err);
    expect_stored(scene->direct, key, data, sizeof data);
  }
}

static void test_get_cut_everywhere(void **state) {
  Scene *scene = *state;
  Error err;
  char data[SMALL];
  fill(data, sizeof data, 1);
  must(repository_put(scene->direct, "db/1", data, sizeof data, &err), &err);
  for (long at = 1; at < SMALL + 500; at += STEP) {
    scene->proxy = (Proxy){.first = {{CUT_DOWN, at}, {CUT_DOWN, at / 2 + 1}}, .first_count = 2};
    proxy_start(&scene->proxy, &server);
    Repository *repository = server_open(&scene->options);
    expect_stored(repository, "db/1", data, sizeof data);
    repository_close(repository);
    peer_stop(&scene->proxy.peer);
  }
}

/* A connection that never carries a whole object: an error in time, and nothing is taken for whole. */
static void test_always_cut(void **state) {
  Scene *scene = *state;
  Error err;
  char data[SMALL];
  fill(data, sizeof data, 1);
  must(repository_put(scene->direct, "db/1", data, sizeof data, &err), &err);
  scene->proxy = (Proxy){.then = {CUT_DOWN, 2000}};
  proxy_start(&scene->proxy, &server);
  scene->options.retry_seconds = 2;
  Repository *repository = server_open(&scene->options);
  CLEANUP(buffer_release) Buffer out = {0};
  buffer_append_text(&out, "before");
  int64_t started = clock_monotonic_us();
  assert_int_equal(repository_get(repository, "db/1", SMALL, &out, &err), ERR_REPOSITORY_UNAVAILABLE);
  assert_true(clock_monotonic_us() - started < 4000000);
  assert_string_equal(buffer_text(&out), "before");
  repository_close(repository);
  peer_stop(&scene->proxy.peer);
}

/* ---- answers that are lost -------------------------------------------------------------------------------- */

/* Puts twice through the same repository: first without a fault, so that it knows the bucket keeps no versions. */
static Status put_losing(Scene *scene, const char *key, const char *text, Error *err) {
  scene->proxy = (Proxy){.first = {{CUT_DOWN, 4096}, {LOSE_PUT, 0}}, .first_count = 2};
  proxy_start(&scene->proxy, &server);
  Repository *repository = server_open(&scene->options);
  CLEANUP_FREE char *before = memory_format("%s-before", key);
  must(repository_put(repository, before, "x", 1, err), err);
  CLEANUP(buffer_release) Buffer filler = {0};
  Error ignored;
  /* uses the first connection up, so that the put comes on the second */
  Status status = repository_get(repository, "filler", 10000, &filler, &ignored);
  assert_int_equal(status, STATUS_OK);
  assert_int_equal(atomic_load(&scene->proxy.peer.connections), 2);
  status = repository_put(repository, key, text, strlen(text), err);
  assert_true(atomic_load(&scene->proxy.peer.connections) > 2); /* it was lost, and sent again */
  repository_close(repository);
  peer_stop(&scene->proxy.peer);
  return status;
}

static void make_filler(Scene *scene) {
  Error err;
  static const char zeros[4096];
  must(repository_put(scene->direct, "filler", zeros, sizeof zeros, &err), &err);
}

static void test_own_upload_is_recognised(void **state) {
  Scene *scene = *state;
  Error err;
  make_filler(scene);
  must(put_losing(scene, "db/1", "ours", &err), &err);
  expect_stored(scene->direct, "db/1", "ours", 4);
}

static void test_foreign_object_is_not_ours(void **state) {
  Scene *scene = *state;
  Error err;
  make_filler(scene);
  must(repository_put(scene->direct, "db/1", "ours", 4, &err), &err); /* the same bytes, but another's put */
  assert_int_equal(put_losing(scene, "db/1", "ours", &err), ERR_OBJECT_EXISTS);
  expect_stored(scene->direct, "db/1", "ours", 4);
}

/* A key that may only write cannot look whose object it is: then it is its own, as s3.h says. */
static void test_own_upload_of_a_write_only_key(void **state) {
  Scene *scene = *state;
  Error err;
  CLEANUP_FREE char *access = NULL;
  CLEANUP_FREE char *file = server_role(&server, scene->bucket, "\"s3:PutObject\"", "\"s3:GetObject\"", &access);
  scene->options.credentials_file = file;
  must(put_through(scene, (Fault){LOSE_PUT, 0}, "db/1", "ours", 4, &err), &err);
  expect_found(scene->direct, "db/1:4 ");
  assert_int_equal(put_through(scene, (Fault){PASS, 0}, "db/1", "ours", 4, &err), ERR_OBJECT_EXISTS);
  unlink(file);
}

/* ---- storms, stalls, strange answers ------------------------------------------------------------------------ */

static void test_storm_passes(void **state) {
  Scene *scene = *state;
  Error err;
  scene->proxy = (Proxy){.first = {{BUSY}, {BUSY}, {BUSY}, {BUSY}, {BUSY}, {PASS}}, .first_count = 6};
  proxy_start(&scene->proxy, &server);
  Repository *repository = server_open(&scene->options);
  must(repository_put(repository, "db/1", "x", 1, &err), &err);
  repository_close(repository);
  peer_stop(&scene->proxy.peer);
  assert_int_equal(atomic_load(&scene->proxy.peer.connections), 6);
}

typedef struct Strange {
  Fault fault;
  Status status;
  const char *mentions;
} Strange;

static void test_strange_answers(void **state) {
  Scene *scene = *state;
  static const Strange cases[] = {
      {{BUSY, 0}, ERR_REPOSITORY_UNAVAILABLE, "SlowDown"},    {{STALL, 0}, ERR_REPOSITORY_UNAVAILABLE, "given up"},
      {{ENDLESS, 0}, ERR_REPOSITORY_UNAVAILABLE, "how long"}, {{SHORT, 0}, ERR_REPOSITORY_UNAVAILABLE, "given up"},
      {{NONSENSE, 0}, ERR_REPOSITORY_UNAVAILABLE, "HTTP"},    {{REDIRECT, 0}, ERR_REPOSITORY_REFUSED, "eu-west-7"}};
  scene->options.retry_seconds = 2;
  scene->options.timeout_seconds = 1;
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Error err;
    CLEANUP(buffer_release) Buffer out = {0};
    scene->proxy = (Proxy){.then = cases[i].fault};
    proxy_start(&scene->proxy, &server);
    Repository *repository = server_open(&scene->options);
    int64_t started = clock_monotonic_us();
    Status status = repository_get(repository, "db/1", 1000, &out, &err);
    assert_true(clock_monotonic_us() - started < 6000000);
    if (status != cases[i].status || !strstr(err.message, cases[i].mentions))
      fail_msg("case %zu: %s: %s", i, error_code(status), err.message);
    assert_int_equal(out.size, 0);
    repository_close(repository);
    peer_stop(&scene->proxy.peer);
  }
}

static bool count_keys(void *user, const char *key, uint64_t size) {
  (void)key, (void)size;
  ++*(int *)user;
  return true;
}

static bool never(void *user, const char *key, uint64_t size) {
  (void)user, (void)size;
  fail_msg("listed: %s", key);
  return true;
}

/* A server that would lead a listing in circles, or make it show what it should not. */
static void test_listings_of_no_sense(void **state) {
  Scene *scene = *state;
#define PAGE(inside) "<ListBucketResult><IsTruncated>true</IsTruncated>" inside "</ListBucketResult>"
#define NEXT "<NextContinuationToken>x</NextContinuationToken>"
#define KEY(key) "<Contents><Key>" key "</Key><Size>1</Size></Contents>"
  static const struct {
    const char *page, *mentions;
  } cases[] = {{PAGE(NEXT KEY("db/1")), "in order"},
               {PAGE(NEXT KEY("db/2") KEY("db/1")), "in order"},
               {PAGE(NEXT KEY("db/1") KEY("db/1")), "in order"},
               {PAGE(KEY("db/1")), "but not where"},
               {PAGE(NEXT), "but not where"},
               {PAGE(NEXT KEY("other/1")), "not asked for"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Error err;
    int count = 0;
    scene->proxy = (Proxy){.then = {CANNED, 0}, .canned = cases[i].page};
    proxy_start(&scene->proxy, &server);
    Repository *repository = server_open(&scene->options);
    assert_int_equal(repository_list(repository, "db/", count_keys, &count, &err), ERR_REPOSITORY_UNAVAILABLE);
    if (!strstr(err.message, cases[i].mentions))
      fail_msg("case %zu: %s", i, err.message);
    assert_true(count <= 1);
    repository_close(repository);
    peer_stop(&scene->proxy.peer);
  }
}

static bool count_entries(void *user, const RepositoryEntry *entry) {
  (void)entry;
  ++*(int *)user;
  return true;
}

static void test_versions_of_no_sense(void **state) {
  Scene *scene = *state;
#undef PAGE
#undef NEXT
#undef KEY
#define PAGE(inside) "<ListVersionsResult><IsTruncated>true</IsTruncated>" inside "</ListVersionsResult>"
#define NEXT "<NextKeyMarker>x</NextKeyMarker><NextVersionIdMarker>v</NextVersionIdMarker>"
#define KEY(key) "<Version><Key>" key "</Key><VersionId>v</VersionId><Size>1</Size></Version>"
  static const struct {
    const char *page, *mentions;
  } cases[] = {{PAGE(NEXT KEY("db/2") KEY("db/1")), "in order"},
               {PAGE(NEXT KEY("db/1")), "but not where"}, /* the same page for ever */
               {PAGE(KEY("db/1")), "but not where"},
               {PAGE(NEXT), "but not where"},
               {PAGE(NEXT KEY("other/1")), "not asked for"},
               {"<ListBucketResult></ListBucketResult>", "no list of versions"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Error err;
    int count = 0;
    scene->proxy = (Proxy){.then = {CANNED, 0}, .canned = cases[i].page};
    proxy_start(&scene->proxy, &server);
    Repository *repository = server_open(&scene->options);
    assert_int_equal(repository_entries(repository, "db/", count_entries, &count, &err), ERR_REPOSITORY_UNAVAILABLE);
    if (!strstr(err.message, cases[i].mentions))
      fail_msg("case %zu: %s", i, err.message);
    assert_true(count <= 200);
    repository_close(repository);
    peer_stop(&scene->proxy.peer);
  }
}

static void test_no_listing(void **state) {
  Scene *scene = *state;
  Error err;
  scene->proxy = (Proxy){.then = {NOT_LISTED, 0}};
  proxy_start(&scene->proxy, &server);
  Repository *repository = server_open(&scene->options);
  assert_int_equal(repository_list(repository, "", never, NULL, &err), ERR_REPOSITORY_UNAVAILABLE);
  assert_non_null(strstr(err.message, "no list of objects"));
  repository_close(repository);
  peer_stop(&scene->proxy.peer);
}

static void test_stall_is_cut(void **state) {
  Scene *scene = *state;
  Error err;
  scene->options.timeout_seconds = 1;
  must(put_through(scene, (Fault){STALL, 0}, "db/1", "x", 1, &err), &err);
  expect_stored(scene->direct, "db/1", "x", 1);
}

static void test_through_a_proxy(void **state) {
  Scene *scene = *state;
  Error err;
  scene->proxy = (Proxy){.then = {TUNNEL, 0}};
  proxy_start(&scene->proxy, &server);
  scene->proxy.upstream = (int)strtol(strrchr(server.https, ':') + 1, NULL, 10);
  S3Options options = server_options(&server, scene->bucket);
  options.proxy = scene->proxy.endpoint;
  Repository *repository = server_open(&options);
  must(repository_put(repository, "db/1", "x", 1, &err), &err);
  expect_stored(repository, "db/1", "x", 1);
  repository_close(repository);
  peer_stop(&scene->proxy.peer);
  assert_int_equal(atomic_load(&scene->proxy.peer.connections), 1); /* and it was kept */
}

/* ---- the server is killed ------------------------------------------------------------------------------- */

enum { WRITERS = 4, OBJECTS = 10, LARGE = 1500000 };

typedef struct Writer {
  Repository *repository;
  int number;
  Status status;
  Error err;
} Writer;

static void *write_all(void *user) {
  Writer *writer = user;
  CLEANUP_FREE char *data = memory_alloc(LARGE);
  for (int i = 0; i < OBJECTS && !writer->status; i++) {
    CLEANUP_FREE char *key = memory_format("db/%d/%06d", writer->number, i);
    fill(data, LARGE, (unsigned)(writer->number * 100 + i));
    writer->status = repository_put(writer->repository, key, data, LARGE, &writer->err);
  }
  return NULL;
}

static bool count_all(void *user, const char *key, uint64_t size) {
  (void)key;
  assert_int_equal(size, LARGE);
  ++*(int *)user;
  return true;
}

static void test_server_killed_in_the_middle(void **state) {
  Scene *scene = *state;
  Error err;
  S3Options options = server_options(&server, scene->bucket);
  options.retry_seconds = 120;
  options.bandwidth_mb = 20; /* so that it is the middle */
  Repository *repository = server_open(&options);
  pthread_t threads[WRITERS];
  static Writer writers[WRITERS];
  for (int i = 0; i < WRITERS; i++) {
    writers[i] = (Writer){.repository = repository, .number = i};
    assert_int_equal(pthread_create(&threads[i], NULL, write_all, &writers[i]), 0);
  }
  usleep(700000);
  const char *const kill[] = {"deploy/demo/s3", "gateway", server.directory, "kill", NULL};
  const char *const again[] = {"deploy/demo/s3", "gateway", server.directory, "start", NULL};
  free(server_tool(kill));
  free(server_tool(again));
  for (int i = 0; i < WRITERS; i++)
    pthread_join(threads[i], NULL);
  for (int i = 0; i < WRITERS; i++)
    must(writers[i].status, &writers[i].err);
  int count = 0;
  must(repository_list(repository, "db/", count_all, &count, &err), &err);
  assert_int_equal(count, WRITERS * OBJECTS);
  CLEANUP_FREE char *data = memory_alloc(LARGE);
  for (int i = 0; i < WRITERS * OBJECTS; i += 7) {
    CLEANUP_FREE char *key = memory_format("db/%d/%06d", i / OBJECTS, i % OBJECTS);
    fill(data, LARGE, (unsigned)(i / OBJECTS * 100 + i % OBJECTS));
    expect_stored(repository, key, data, LARGE);
  }
  repository_close(repository);
}

static int start(void **state) {
  (void)state;
  log_init("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT); /* a line for every try would hide what matters */
  return server_start(&server);
}

static int stop(void **state) {
  (void)state;
  return server_stop(&server);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_put_cut_everywhere),
      TEST(test_answers_cut_everywhere),
      TEST(test_get_cut_everywhere),
      TEST(test_always_cut),
      TEST(test_own_upload_is_recognised),
      TEST(test_foreign_object_is_not_ours),
      TEST(test_own_upload_of_a_write_only_key),
      TEST(test_storm_passes),
      TEST(test_strange_answers),
      TEST(test_no_listing),
      TEST(test_versions_of_no_sense),
      TEST(test_listings_of_no_sense),
      TEST(test_stall_is_cut),
      TEST(test_through_a_proxy),
      TEST(test_server_killed_in_the_middle),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
