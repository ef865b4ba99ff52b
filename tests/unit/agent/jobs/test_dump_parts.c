/* The parts of the dump job that need no server: counts against fingerprint, the tools' words, segments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/jobs/dump.h"
#include "agent/jobs/dump_pipeline.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"

/* What job.c does in the agent: nobody cancels here. */
void job_progress(const JobContext *context, const Pgseal__JobProgress *progress, bool force) {
  (void)context;
  (void)progress;
  (void)force;
}

Status job_check(const JobContext *context, Error *err) {
  (void)context;
  (void)err;
  return STATUS_OK;
}

/* ---- counts against fingerprint ---- */

typedef struct Case {
  DumpTable source[4];
  size_t source_count;
  FingerprintTable archive[4];
  size_t archive_count;
  int64_t large_objects;
  size_t blobs;
} Case;

static Status compare(Case *data, Error *err) {
  DumpTables tables = {data->source, data->source_count};
  Fingerprint fingerprint = {.tables = data->archive, .table_count = data->archive_count, .blob_count = data->blobs};
  return dump_counts_compare(&tables, data->large_objects, &fingerprint, err);
}

static DumpTable counted(char *schema, char *name, int64_t rows) {
  return (DumpTable){.schema = schema, .name = name, .quoted = name, .data = true, .rows = rows};
}

static FingerprintTable archived(char *schema, char *name, int64_t rows) {
  return (FingerprintTable){.schema = schema, .name = name, .rows = rows};
}

static void test_compare_equal(void **state) {
  (void)state;
  Error err = {0};
  Case data = {.source = {counted("a", "b.c", 7), counted("a.b", "c", 9), counted("s", "line\nbreak", 0)},
               .source_count = 3,
               .archive = {archived("s", "line\nbreak", 0), archived("a.b", "c", 9), archived("a", "b.c", 7)},
               .archive_count = 3,
               .large_objects = 2,
               .blobs = 2};
  assert_int_equal(compare(&data, &err), STATUS_OK);
  /* relations whose rows are not dumped do not count */
  data.source[2].data = false;
  data.archive[0] = data.archive[2];
  data.archive_count = 2;
  assert_int_equal(compare(&data, &err), STATUS_OK);
}

static void test_compare_rows(void **state) {
  (void)state;
  Error err = {0};
  Case data = {.source = {counted("a", "x", 7), counted("a", "y", 1000)},
               .source_count = 2,
               .archive = {archived("a", "x", 7), archived("a", "y", 999)},
               .archive_count = 2};
  assert_int_equal(compare(&data, &err), ERR_SOURCE_COUNT_MISMATCH);
  assert_non_null(strstr(err.message, "1000"));
  assert_non_null(strstr(err.message, "999"));
  assert_string_equal(err.object, "\"a\".\"y\"");
}

/* Joined by a dot the names would be equal, and so would the sums of the rows. */
static void test_compare_pairs(void **state) {
  (void)state;
  Error err = {0};
  Case data = {
      .source = {counted("a", "b.c", 7)}, .source_count = 1, .archive = {archived("a.b", "c", 7)}, .archive_count = 1};
  assert_int_equal(compare(&data, &err), ERR_SOURCE_COUNT_MISMATCH);
  assert_non_null(strstr(err.message, "2 differences"));
}

static void test_compare_one_side(void **state) {
  (void)state;
  Error err = {0};
  Case data = {.source = {counted("a", "x", 0)}, .source_count = 1};
  assert_int_equal(compare(&data, &err), ERR_SOURCE_COUNT_MISMATCH);
  assert_non_null(strstr(err.message, "does not have the table"));
  Case other = {.archive = {archived("a", "x", 0)}, .archive_count = 1};
  assert_int_equal(compare(&other, &err), ERR_SOURCE_COUNT_MISMATCH);
  assert_non_null(strstr(err.message, "catalog"));
  /* never counted is not "no rows" */
  Case uncounted = {
      .source = {counted("a", "x", -1)}, .source_count = 1, .archive = {archived("a", "x", 0)}, .archive_count = 1};
  assert_int_equal(compare(&uncounted, &err), ERR_SOURCE_COUNT_MISMATCH);
}

static void test_compare_large_objects(void **state) {
  (void)state;
  Error err = {0};
  Case data = {.large_objects = 3, .blobs = 2};
  assert_int_equal(compare(&data, &err), ERR_SOURCE_COUNT_MISMATCH);
  assert_string_equal(err.object, "large objects");
  Case uncounted = {.large_objects = -1, .blobs = 0};
  assert_int_equal(compare(&uncounted, &err), ERR_SOURCE_COUNT_MISMATCH);
}

/* ---- what the tools say ---- */

static void test_classify(void **state) {
  (void)state;
  static const struct {
    const char *said;
    int exit_code;
    Status status;
    const char *object;
  } cases[] = {
      {"pg_dump: error: query failed: ERROR:  canceling statement due to lock timeout\n"
       "pg_dump: detail: Query was: LOCK TABLE public.orders IN ACCESS SHARE MODE\n",
       1, ERR_LOCK_TIMEOUT, "public.orders"},
      {"pg_dump: error: query failed: FEHLER:  storniere Anfrage\n"
       "pg_dump: detail: Query was: LOCK TABLE public.orders IN ACCESS SHARE MODE\n",
       1, ERR_LOCK_TIMEOUT, "public.orders"},
      {"pg_dump: error: query failed: ERROR:  permission denied for sequence s\n", 1, ERR_TABLE_UNREADABLE,
       "sequence s"},
      {"pg_dump: error: query failed: ERROR:  query would be affected by row-level security policy for table \"t\"\n",
       1, ERR_ROW_SECURITY, "\"t\""},
      {"pg_dump: error: Dumping the contents of table \"big\" failed: PQgetCopyData() failed.\n"
       "pg_dump: detail: Error message from server: server closed the connection unexpectedly\n",
       1, ERR_DATABASE_LOST, ""},
      {"pg_dump: error: aborting because of server version mismatch\n", 1, ERR_VERSION_MISMATCH, ""},
      {"pg_dump: error: query failed: ERROR:  invalid snapshot identifier: \"0-1\"\n", 1, ERR_DATABASE_LOST, ""},
      {"pg_dump: error: Dumping the contents of table \"t\" failed\nERROR:  invalid page in block 7\n", 1,
       ERR_DUMP_FAILED, ""},
      {"", 137, ERR_TOOL, ""},
      {"pg_dump: error: something new\n", 1, ERR_DUMP_FAILED, ""},
      /* a table's name is no message, nor is a warning */
      {"pg_dump: warning: lock timeout\npg_dump: error: something new\n"
       "pg_dump: detail: Query was: SELECT 1 FROM \"permission denied\"\n",
       1, ERR_DUMP_FAILED, ""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Error err = {0};
    assert_int_equal(dump_tool_classify("pg_dump", cases[i].exit_code, cases[i].said, &err), cases[i].status);
    assert_string_equal(err.object, cases[i].object);
    assert_true(strlen(err.remedy) > 0);
  }
}

static void test_warnings(void **state) {
  (void)state;
  DumpRun run = {0};
  dump_tool_warnings(&run, "pg_dump",
                     "pg_dump: warning: first\npg_dump: detail: more of it\npg_dump: warning: second\n");
  assert_int_equal(run.omission_count, 2);
  assert_string_equal(run.omissions[0].detail, "first pg_dump: detail: more of it");
  assert_string_equal(run.omissions[1].detail, "second");
  for (size_t i = 0; i < run.omission_count; i++) {
    free(run.omissions[i].kind);
    free(run.omissions[i].object);
    free(run.omissions[i].detail);
  }
  free(run.omissions);
}

/* ---- segments ---- */

/* A backend that keeps objects in memory and has bad days. */
typedef struct Bucket {
  pthread_mutex_t lock;
  char *keys[64];
  Buffer objects[64];
  size_t count, puts;
  size_t fail_every;      /* every n-th put fails transiently */
  bool fail_after_stored; /* but has stored the object all the same */
  Status fail_with;       /* every put fails with this */
} Bucket;

static Status bucket_put(void *backend, const char *key, const void *data, size_t size, const uint8_t *digest,
                         RepositoryVersion *version, Error *err) {
  (void)digest, (void)version;
  Bucket *bucket = backend;
  pthread_mutex_lock(&bucket->lock);
  bool fails = bucket->fail_every && ++bucket->puts % bucket->fail_every == 0;
  Status status = bucket->fail_with;
  if (status != STATUS_OK)
    error_set(err, status, "put %s", key);
  for (size_t i = 0; status == STATUS_OK && i < bucket->count; i++)
    if (strcmp(bucket->keys[i], key) == 0)
      status = error_set(err, ERR_OBJECT_EXISTS, "%s exists", key);
  if (status == STATUS_OK && (!fails || bucket->fail_after_stored)) {
    assert_true(bucket->count < ARRAY_SIZE(bucket->keys));
    bucket->keys[bucket->count] = memory_strdup(key);
    buffer_append(&bucket->objects[bucket->count++], data, size);
  }
  if (status == STATUS_OK && fails)
    status = error_set(err, ERR_REPOSITORY_UNAVAILABLE, "no answer for %s", key);
  pthread_mutex_unlock(&bucket->lock);
  return status;
}

static Status bucket_get(void *backend, const char *key, size_t limit, Buffer *out, Error *err) {
  Bucket *bucket = backend;
  pthread_mutex_lock(&bucket->lock);
  Status status = error_set(err, ERR_OBJECT_NOT_FOUND, "%s", key);
  for (size_t i = 0; i < bucket->count; i++)
    if (strcmp(bucket->keys[i], key) == 0 && bucket->objects[i].size <= limit) {
      buffer_clear(out);
      buffer_append(out, bucket->objects[i].data, bucket->objects[i].size);
      status = STATUS_OK;
    }
  pthread_mutex_unlock(&bucket->lock);
  return status;
}

static void bucket_close(void *backend) {
  Bucket *bucket = backend;
  for (size_t i = 0; i < bucket->count; i++) {
    free(bucket->keys[i]);
    buffer_release(&bucket->objects[i]);
  }
  free(bucket);
}

static const RepositoryOps bucket_ops = {.put = bucket_put, .get = bucket_get, .close = bucket_close};

typedef struct Fixture {
  char directory[64];
  Recipients *recipients;
  DecryptionKey *key;
  Bucket *bucket;
  Repository *repository;
  size_t contiguous, calls;
  int checks_left; /* then the job is canceled; -1: never */
} Fixture;

static int setup(void **state) {
  Fixture *fixture = memory_alloc(sizeof *fixture);
  Error err;
  snprintf(fixture->directory, sizeof fixture->directory, "/tmp/pgseal-test-XXXXXX");
  assert_non_null(mkdtemp(fixture->directory));
  CLEANUP_FREE char *key = memory_format("%s/key.pem", fixture->directory);
  CLEANUP_FREE char *certificate = memory_format("%s/certificate.pem", fixture->directory);
  assert_int_equal(recipient_generate(key, certificate, "test", 1, &err), STATUS_OK);
  const char *paths[] = {certificate};
  assert_int_equal(recipients_load(paths, 1, &fixture->recipients, &err), STATUS_OK);
  assert_int_equal(decryption_key_load(key, certificate, &fixture->key, &err), STATUS_OK);
  fixture->bucket = memory_alloc(sizeof *fixture->bucket);
  pthread_mutex_init(&fixture->bucket->lock, NULL);
  fixture->repository = repository_new(&bucket_ops, fixture->bucket, "memory");
  fixture->checks_left = -1;
  *state = fixture;
  return 0;
}

static int teardown(void **state) {
  Fixture *fixture = *state;
  Error err;
  repository_close(fixture->repository);
  recipients_free(fixture->recipients);
  decryption_key_free(fixture->key);
  assert_int_equal(file_remove_tree(fixture->directory, &err), STATUS_OK);
  free(fixture);
  return 0;
}

static Status check(void *user, Error *err) {
  Fixture *fixture = user;
  int left = __atomic_load_n(&fixture->checks_left, __ATOMIC_SEQ_CST);
  if (left == 0)
    return error_set(err, ERR_CANCELED, "canceled");
  if (left > 0)
    __atomic_fetch_sub(&fixture->checks_left, 1, __ATOMIC_SEQ_CST);
  return STATUS_OK;
}

static void stored(void *user, size_t contiguous, uint64_t bytes) {
  Fixture *fixture = user;
  assert_true(contiguous >= fixture->contiguous);
  assert_true(bytes > 0);
  fixture->contiguous = contiguous;
  fixture->calls++;
}

static Status run_pipeline(Fixture *fixture, size_t segment_size, const uint8_t *archive, size_t size,
                           ManifestSegment **segments, size_t *count, Error *err) {
  DumpPipelineOptions options = {.store = {.repository = fixture->repository,
                                           .recipients = fixture->recipients,
                                           .zstd_level = 1,
                                           .check = check,
                                           .user = fixture,
                                           .backoff_us = 1000},
                                 .prefix = "db/checkpoint/attempt-1/",
                                 .workers = 3,
                                 .segment_size = segment_size,
                                 .stored = stored,
                                 .user = fixture};
  CLEANUP(dump_pipeline_close) DumpPipeline *pipeline = NULL;
  assert_int_equal(dump_pipeline_open(&options, &pipeline, err), STATUS_OK);
  for (size_t done = 0; done < size;) {
    uint8_t *space = NULL;
    size_t room = 0;
    Status status = dump_pipeline_space(pipeline, &space, &room, err);
    if (status != STATUS_OK)
      return status;
    size_t piece = 777 < room ? 777 : room;
    piece = piece < size - done ? piece : size - done;
    memcpy(space, archive + done, piece);
    dump_pipeline_commit(pipeline, piece);
    if (done == 0)
      dump_pipeline_cut(pipeline); /* the first segment is cut early */
    done += piece;
  }
  return dump_pipeline_finish(pipeline, segments, count, err);
}

static uint8_t *make_archive(size_t size) {
  uint8_t *archive = memory_alloc(size);
  for (size_t i = 0; i < size; i++)
    archive[i] = (uint8_t)(i * 31 + i / 1000);
  return archive;
}

static void check_segments(Fixture *fixture, const ManifestSegment *segments, size_t count, const uint8_t *archive,
                           size_t size) {
  uint64_t offset = 0;
  CLEANUP(buffer_release) Buffer object = {0}, plain = {0};
  for (size_t i = 0; i < count; i++) {
    Error err;
    CLEANUP_FREE char *key = manifest_segment_key("db/checkpoint/attempt-1/", i);
    assert_int_equal(repository_get(fixture->repository, key, 1 << 20, &object, &err), STATUS_OK);
    assert_int_equal(segment_decode(fixture->key, object.data, object.size, 1 << 20, &plain, &err), STATUS_OK);
    assert_int_equal(segments[i].offset, offset);
    assert_int_equal(segments[i].plain_size, plain.size);
    assert_int_equal(segments[i].size, object.size);
    assert_memory_equal(plain.data, archive + offset, plain.size);
    char hex[SHA256_HEX_SIZE];
    sha256_hex(object.data, object.size, hex);
    assert_string_equal(segments[i].sha256, hex);
    sha256_hex(plain.data, plain.size, hex);
    assert_string_equal(segments[i].plain_sha256, hex);
    offset += plain.size;
  }
  assert_int_equal(offset, size);
  assert_int_equal(fixture->contiguous, count);
}

enum { ARCHIVE_SIZE = 200000, SEGMENT_SIZE = 10000 };

static void pipeline_succeeds(Fixture *fixture) {
  Error err = {0};
  CLEANUP_FREE uint8_t *archive = make_archive(ARCHIVE_SIZE);
  CLEANUP_FREE ManifestSegment *segments = NULL;
  size_t count = 0;
  assert_int_equal(run_pipeline(fixture, SEGMENT_SIZE, archive, ARCHIVE_SIZE, &segments, &count, &err), STATUS_OK);
  assert_int_equal(count, 21);
  assert_int_equal(segments[0].plain_size, 777);
  check_segments(fixture, segments, count, archive, ARCHIVE_SIZE);
}

static void test_pipeline(void **state) {
  pipeline_succeeds(*state);
}

static void test_pipeline_retries(void **state) {
  Fixture *fixture = *state;
  fixture->bucket->fail_every = 3;
  pipeline_succeeds(fixture);
}

static void test_pipeline_lost_answer(void **state) {
  Fixture *fixture = *state;
  fixture->bucket->fail_every = 4;
  fixture->bucket->fail_after_stored = true;
  pipeline_succeeds(fixture);
}

static void pipeline_fails(Fixture *fixture, Status expected) {
  Error err = {0};
  CLEANUP_FREE uint8_t *archive = make_archive(ARCHIVE_SIZE);
  ManifestSegment *segments = NULL;
  size_t count = 0;
  assert_int_equal(run_pipeline(fixture, SEGMENT_SIZE, archive, ARCHIVE_SIZE, &segments, &count, &err), expected);
  assert_int_equal(err.status, expected);
  assert_null(segments);
}

static void test_pipeline_permanent_failure(void **state) {
  Fixture *fixture = *state;
  fixture->bucket->fail_with = ERR_FORBIDDEN;
  pipeline_fails(fixture, ERR_FORBIDDEN);
}

static void test_pipeline_lasting_failure(void **state) {
  Fixture *fixture = *state;
  fixture->bucket->fail_with = ERR_REPOSITORY_UNAVAILABLE;
  pipeline_fails(fixture, ERR_REPOSITORY_UNAVAILABLE);
}

/* Nothing is overwritten: somebody else's object under the key is a failure at the first try. */
static void test_pipeline_foreign_object(void **state) {
  Fixture *fixture = *state;
  Error err;
  assert_int_equal(repository_put(fixture->repository, "db/checkpoint/attempt-1/000003.zst.cms", "x", 1, &err),
                   STATUS_OK);
  pipeline_fails(fixture, ERR_OBJECT_EXISTS);
}

static void test_pipeline_canceled(void **state) {
  Fixture *fixture = *state;
  fixture->checks_left = 5;
  pipeline_fails(fixture, ERR_CANCELED);
}

static void test_segment_size(void **state) {
  (void)state;
  size_t mib = 1 << 20;
  uint64_t far = (uint64_t)1 << 50;
  assert_int_equal(dump_pipeline_segment_size(16 * mib, 2, 0, far), 16 * mib);
  assert_int_equal(dump_pipeline_segment_size(16 * mib, 2, 1023, far), 16 * mib);
  assert_int_equal(dump_pipeline_segment_size(16 * mib, 2, 1024, far), 32 * mib);
  assert_int_equal(dump_pipeline_segment_size(16 * mib, 2, 1 << 30, far), 32 * mib);
  assert_int_equal(dump_pipeline_segment_size(16 * mib, 4, 1 << 30, far), 16 * mib);
  assert_int_equal(dump_pipeline_segment_size(2 * mib, 2, 3071, far), 8 * mib);
  assert_int_equal(dump_pipeline_segment_size(512 * mib, 2, 5000, far), 512 * mib);
}

/* Whatever the archive's length, a segment is a small part of it. */
static void test_segment_share(void **state) {
  (void)state;
  size_t mib = 1 << 20, count = 0, largest = 0;
  uint64_t offset = 0;
  assert_int_equal(dump_pipeline_segment_size(16 * mib, 4, 0, 0), mib);
  assert_int_equal(dump_pipeline_segment_size(1000, 4, 0, 0), 1000); /* never more than was asked for */
  while (offset < (uint64_t)16 << 30) {
    size_t size = dump_pipeline_segment_size(16 * mib, 2, count++, offset);
    assert_true(size >= mib && size >= largest && size % mib == 0);
    assert_true(offset < (uint64_t)256 * mib || size <= offset / 256);
    offset += size;
    largest = size;
  }
  assert_int_equal(largest, 32 * mib);
  assert_true(count < 2048);
}

int main(void) {
  log_init("test", LOG_LEVEL_ERROR, LOG_FORMAT_TEXT); /* the retries that are provoked here warn */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_compare_equal),
      cmocka_unit_test(test_compare_rows),
      cmocka_unit_test(test_compare_pairs),
      cmocka_unit_test(test_compare_one_side),
      cmocka_unit_test(test_compare_large_objects),
      cmocka_unit_test(test_classify),
      cmocka_unit_test(test_warnings),
      cmocka_unit_test(test_segment_size),
      cmocka_unit_test(test_segment_share),
      cmocka_unit_test_setup_teardown(test_pipeline, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pipeline_retries, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pipeline_lost_answer, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pipeline_permanent_failure, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pipeline_lasting_failure, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pipeline_foreign_object, setup, teardown),
      cmocka_unit_test_setup_teardown(test_pipeline_canceled, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
