/* The S3 backend against a real server: what the table of tests for all backends does not cover. */
#include "tests/unit/common/repository/s3/server.h"

#include <pthread.h>
#include <time.h>

#include "common/base/clock.h"

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

static Status put(Repository *repository, const char *key, const char *text, Error *err) {
  return repository_put(repository, key, text, strlen(text), err);
}

static bool join_keys(void *user, const char *key, uint64_t size) {
  buffer_append_format(user, "%s:%llu ", key, (unsigned long long)size);
  return true;
}

static void expect(Status status, Status wanted, const Error *err, const char *mentions) {
  if (status != wanted)
    fail_msg("%s instead of %s: %s", error_code(status), error_code(wanted), status ? err->message : "");
  if (wanted && !strstr(err->message, mentions) && !strstr(err->remedy, mentions))
    fail_msg("\"%s\" (%s) does not mention \"%s\"", err->message, err->remedy, mentions);
  if (wanted && (strstr(err->message, server.secret_key) || strstr(err->remedy, server.secret_key)))
    fail_msg("a secret is in the error");
}

/* A small round trip with these options. */
static void round_trip(const S3Options *options) {
  Error err;
  Repository *repository = server_open(options);
  CLEANUP(buffer_release) Buffer out = {0}, listed = {0};
  must(put(repository, "db/1", "text", &err), &err);
  must(repository_get(repository, "db/1", 100, &out, &err), &err);
  assert_string_equal(buffer_text(&out), "text");
  must(repository_list(repository, "db/", join_keys, &listed, &err), &err);
  assert_string_equal(buffer_text(&listed), "db/1:4 ");
  must(repository_remove(repository, "db/1", &err), &err);
  assert_int_equal(repository_get(repository, "db/1", 100, &out, &err), ERR_OBJECT_NOT_FOUND);
  repository_close(repository);
}

static void test_ways_to_the_bucket(void **state) {
  S3Options tls = server_options(&server, *state), plain = tls, host = tls, slashed = tls;
  plain.endpoint = server.http;
  plain.ca_file = NULL;
  CLEANUP_FREE char *named = memory_format("https://s3.localhost%s", strrchr(server.https, ':'));
  CLEANUP_FREE char *slash = memory_format("%s/", server.https);
  host.endpoint = named;
  host.style = S3_STYLE_VIRTUAL;
  slashed.endpoint = slash;
  round_trip(&tls);
  round_trip(&plain);
  round_trip(&host);
  round_trip(&slashed);
}

static void test_environment_and_headers(void **state) {
  S3Options options = server_options(&server, *state);
  options.credentials_file = NULL;
  options.storage_class = "STANDARD";
  options.acl = "bucket-owner-full-control";
  options.bandwidth_mb = 100;
  options.no_checksum = true;
  setenv("AWS_ACCESS_KEY_ID", server.access_key, 1);
  setenv("AWS_SECRET_ACCESS_KEY", server.secret_key, 1);
  round_trip(&options);
  unsetenv("AWS_ACCESS_KEY_ID");
  unsetenv("AWS_SECRET_ACCESS_KEY");
}

static void test_refusals(void **state) {
  Error err;
  S3Options good = server_options(&server, *state), options = good;
  CLEANUP(buffer_release) Buffer out = {0};
  struct {
    const char *name, *access, *secret, *mentions;
  } keys[] = {{"unknown", "NOSUCHKEY", "x", "NOSUCHKEY"}, {"wrong", server.access_key, "wrong", server.access_key}};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
    CLEANUP_FREE char *file = server_write_keys(&server, keys[i].name, keys[i].access, keys[i].secret);
    options.credentials_file = file;
    Repository *repository = server_open(&options);
    expect(put(repository, "a", "x", &err), ERR_REPOSITORY_REFUSED, &err, keys[i].mentions);
    expect(repository_get(repository, "a", 9, &out, &err), ERR_REPOSITORY_REFUSED, &err, keys[i].mentions);
    expect(repository_list(repository, "", join_keys, &out, &err), ERR_REPOSITORY_REFUSED, &err, keys[i].mentions);
    expect(repository_remove(repository, "a", &err), ERR_REPOSITORY_REFUSED, &err, keys[i].mentions);
    repository_close(repository);
    unlink(file);
  }
  options = good;
  options.bucket = "there-is-no-such-bucket";
  Repository *repository = server_open(&options);
  expect(put(repository, "a", "x", &err), ERR_REPOSITORY_MISSING, &err, "there-is-no-such-bucket");
  expect(repository_get(repository, "a", 9, &out, &err), ERR_REPOSITORY_MISSING, &err, "there-is-no-such-bucket");
  expect(repository_list(repository, "", join_keys, &out, &err), ERR_REPOSITORY_MISSING, &err, "Create the bucket");
  repository_close(repository);
  options = good;
  options.ca_file = NULL;
  repository = server_open(&options);
  expect(put(repository, "a", "x", &err), ERR_REPOSITORY_REFUSED, &err, "ca_file");
  repository_close(repository);
}

static void test_nobody_there(void **state) {
  Error err;
  S3Options options = server_options(&server, *state);
  options.endpoint = "https://127.0.0.1:1";
  options.retry_seconds = 1;
  Repository *repository = server_open(&options);
  int64_t started = clock_monotonic_us();
  expect(put(repository, "a", "x", &err), ERR_REPOSITORY_UNAVAILABLE, &err, "https://127.0.0.1:1");
  assert_non_null(strstr(err.message, "tries"));
  assert_true(clock_monotonic_us() - started < 3000000);
  assert_int_equal(error_class(ERR_REPOSITORY_UNAVAILABLE), ERROR_CLASS_TRANSIENT);
  repository_close(repository);
}

/* Of the server's answer to a HEAD. */
static void expect_header(const char *bucket, const char *key, const char *expected) {
  CLEANUP_FREE char *path = memory_format("%s/%s", bucket, key);
  CLEANUP(buffer_release) Buffer head = {0};
  assert_int_equal(server_head(&server, path, &head), 200);
  if (!strcasestr(buffer_text(&head), expected))
    fail_msg("no \"%s\" in %s", expected, buffer_text(&head));
}

static void test_encryption_at_rest(void **state) {
  Error err;
  S3Options options = server_options(&server, *state);
  options.encryption = "aws:kms";
  options.encryption_key = "key-1";
  Repository *repository = server_open(&options);
  CLEANUP(buffer_release) Buffer out = {0};
  must(put(repository, "db/1", "text", &err), &err);
  must(repository_get(repository, "db/1", 9, &out, &err), &err);
  assert_string_equal(buffer_text(&out), "text");
  repository_close(repository);
  expect_header(*state, "db/1", "x-amz-server-side-encryption: aws:kms");
  expect_header(*state, "db/1", "x-amz-server-side-encryption-aws-kms-key-id: key-1");
  options.encryption_key = "key-2";
  repository = server_open(&options);
  expect(put(repository, "db/2", "x", &err), ERR_REPOSITORY_REFUSED, &err, "db/2"); /* Ceph blames the access key */
  repository_close(repository);
}

/* ---- listing ---------------------------------------------------------------------------------------- */

enum { MANY = 1003, FILLERS = 4 };

typedef struct Filler {
  Repository *repository;
  int first;
  Status status;
  Error err;
} Filler;

static void *fill(void *user) {
  Filler *filler = user;
  for (int i = filler->first; i < MANY && !filler->status; i += FILLERS) {
    CLEANUP_FREE char *key = memory_format("db/%05d", i);
    filler->status = put(filler->repository, key, "", &filler->err);
  }
  return NULL;
}

static bool count_in_order(void *user, const char *key, uint64_t size) {
  int *count = user;
  CLEANUP_FREE char *expected = memory_format("db/%05d", *count);
  assert_string_equal(key, expected);
  assert_int_equal(size, 0);
  ++*count;
  return true;
}

static bool count_entry(void *user, const RepositoryEntry *entry) {
  assert_false(entry->mark);
  assert_non_null(entry->version);
  return count_in_order(user, entry->key, entry->size);
}

static void test_pages(void **state) {
  Error err;
  S3Options options = server_options(&server, *state);
  options.endpoint = server.http;
  Repository *repository = server_open(&options);
  pthread_t threads[FILLERS];
  static Filler fillers[FILLERS];
  for (int i = 0; i < FILLERS; i++) {
    fillers[i] = (Filler){.repository = repository, .first = i};
    assert_int_equal(pthread_create(&threads[i], NULL, fill, &fillers[i]), 0);
  }
  for (int i = 0; i < FILLERS; i++)
    pthread_join(threads[i], NULL);
  for (int i = 0; i < FILLERS; i++)
    must(fillers[i].status, &fillers[i].err);
  int count = 0;
  must(repository_list(repository, "db/", count_in_order, &count, &err), &err);
  assert_int_equal(count, MANY);
  count = 0;
  must(repository_entries(repository, "db/", count_entry, &count, &err), &err);
  assert_int_equal(count, MANY);
  repository_close(repository);
}

/* What others keep in the bucket is no business of the repository's, whatever it is called. */
static void test_foreign_keys(void **state) {
  Error err;
  static const char *const names[] = {"a%20b", "%C3%BC", "x%3Cy%26", "back%5Cslash", ".hidden",
                                      "dir/",  "a//b",   "c%01d",    "p%25q"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    CLEANUP_FREE char *path = memory_format("%s/%s", (char *)*state, names[i]);
    long status = server_request(&server, "PUT", path, "x", NULL, NULL);
    if (status != 200)
      fail_msg("%s: HTTP %ld", names[i], status);
  }
  S3Options options = server_options(&server, *state);
  Repository *repository = server_open(&options);
  must(put(repository, "m/ours", "1", &err), &err);
  CLEANUP(buffer_release) Buffer listed = {0};
  must(repository_list(repository, "", join_keys, &listed, &err), &err);
  assert_string_equal(buffer_text(&listed), "m/ours:1 ");
  repository_close(repository);
}

/* ---- roles ------------------------------------------------------------------------------------------ */

static void test_read_only_key(void **state) {
  Error err;
  CLEANUP_FREE char *access = NULL;
  CLEANUP_FREE char *file = server_role(&server, *state, "\"s3:GetObject\",\"s3:ListBucket\"", NULL, &access);
  S3Options owner = server_options(&server, *state), reader = owner;
  reader.credentials_file = file;
  reader.acl = "bucket-owner-full-control";
  Repository *theirs = server_open(&owner), *repository = server_open(&reader);
  CLEANUP(buffer_release) Buffer out = {0}, listed = {0};
  must(put(theirs, "db/1", "x", &err), &err);
  must(repository_get(repository, "db/1", 9, &out, &err), &err);
  must(repository_list(repository, "", join_keys, &listed, &err), &err);
  Status status = put(repository, "db/2", "x", &err);
  expect(status, ERR_REPOSITORY_REFUSED, &err, "s3:PutObject, s3:PutObjectAcl");
  expect(status, ERR_REPOSITORY_REFUSED, &err, access);
  status = repository_remove(repository, "db/1", &err);
  expect(status, ERR_REPOSITORY_REFUSED, &err, "s3:DeleteObject");
  must(repository_get(theirs, "db/1", 9, &out, &err), &err);
  repository_close(repository);
  repository_close(theirs);
  unlink(file);
}

/* A dump agent's: it may store, and cannot read, list or remove, not even what it stored itself. */
static void test_write_only_key(void **state) {
  Error err;
  CLEANUP_FREE char *access = NULL;
  CLEANUP_FREE char *file = server_role(&server, *state, "\"s3:PutObject\",\"s3:PutObjectAcl\"",
                                        "\"s3:GetObject\",\"s3:DeleteObject\"", &access);
  S3Options owner = server_options(&server, *state), writer = owner;
  writer.credentials_file = file;
  writer.acl = "bucket-owner-full-control"; /* an object belongs to the key that wrote it */
  Repository *theirs = server_open(&owner), *repository = server_open(&writer);
  CLEANUP(buffer_release) Buffer out = {0};
  must(put(repository, "db/1", "x", &err), &err);
  expect(put(repository, "db/1", "y", &err), ERR_OBJECT_EXISTS, &err, "db/1");
  expect(repository_list(repository, "", join_keys, &out, &err), ERR_REPOSITORY_REFUSED, &err, "s3:ListBucket");
  must(repository_get(theirs, "db/1", 9, &out, &err), &err);
  assert_string_equal(buffer_text(&out), "x");
  must(put(theirs, "db/2", "x", &err), &err);
  static const char *const keys[] = {"db/1", "db/2"};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
    expect(repository_get(repository, keys[i], 9, &out, &err), ERR_REPOSITORY_REFUSED, &err, "s3:GetObject");
    expect(repository_remove(repository, keys[i], &err), ERR_REPOSITORY_REFUSED, &err, "s3:DeleteObject");
  }
  repository_close(repository);
  repository_close(theirs);
  unlink(file);
}

static void test_full(void **state) {
  Error err;
  S3Options options = server_options(&server, *state);
  CLEANUP_FREE char *bucket = memory_format("--bucket=%s", (char *)*state);
  const char *const set[] = {"deploy/demo/s3",       "admin", server.directory,  "quota", "set",
                             "--quota-scope=bucket", bucket,  "--max-objects=2", NULL};
  const char *const enable[] = {"deploy/demo/s3", "admin", server.directory, "quota", "enable", "--quota-scope=bucket",
                                bucket,           NULL};
  free(server_tool(set));
  free(server_tool(enable));
  Repository *repository = server_open(&options);
  Status status = STATUS_OK;
  int stored = 0;
  for (; status == STATUS_OK && stored < 50; stored += status == STATUS_OK) { /* the server counts with a delay */
    CLEANUP_FREE char *key = memory_format("db/%d", stored);
    status = put(repository, key, "x", &err);
  }
  expect(status, ERR_DISK_FULL, &err, "Raise the quota");
  assert_int_equal(error_class(status), ERROR_CLASS_TRANSIENT);
  repository_close(repository);
}

/* ---- sessions --------------------------------------------------------------------------------------- */

static char *element(Buffer *xml, const char *name) {
  CLEANUP_FREE char *tag = memory_format("<%s>", name);
  const char *at = strstr(buffer_text(xml), tag);
  if (!at)
    fail_msg("no %s in %s", name, buffer_text(xml));
  at += strlen(tag);
  return memory_strndup(at, strcspn(at, "<"));
}

/* Temporary credentials from the server's own STS, good for so many seconds, into a file. */
static void write_session(const char *role, const char *path, int seconds) {
  Error err;
  CLEANUP(buffer_release) Buffer answer = {0};
  CLEANUP_FREE char *form = memory_format("Action=AssumeRole&DurationSeconds=%d&RoleArn=arn:aws:iam:::role/%s"
                                          "&RoleSessionName=test",
                                          seconds, strchr(role, '=') + 1);
  long status = server_request(&server, "POST", "", form, NULL, &answer);
  if (status != 200)
    fail_msg("HTTP %ld %s", status, buffer_text(&answer));
  CLEANUP_FREE char *access = element(&answer, "AccessKeyId"), *secret = element(&answer, "SecretAccessKey"),
                    *token = element(&answer, "SessionToken");
  CLEANUP_FREE char *text = memory_format("[default]\naws_access_key_id=%s\naws_secret_access_key=%s\n"
                                          "aws_session_token=%s\n",
                                          access, secret, token);
  must(file_write_atomic(path, 0600, text, strlen(text), &err), &err);
}

/* "--role-name=..." */
static char *make_session_role(void) {
  static const char trust[] =
      "--assume-role-policy-doc={\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
      "\"Principal\":{\"AWS\":[\"arn:aws:iam:::user/owner\"]},\"Action\":[\"sts:AssumeRole\"]}]}";
  static const char may[] = "--policy-doc={\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
                            "\"Action\":[\"s3:*\"],\"Resource\":\"arn:aws:s3:::*\"}]}";
  char *name = memory_format("--role-name=%s", id_new().text);
  const char *const make[] = {"deploy/demo/s3", "admin", server.directory, "role", "create", name, trust, NULL};
  const char *const allow[] = {"deploy/demo/s3",    "admin", server.directory, "role-policy", "put", name, may,
                               "--policy-name=all", NULL};
  free(server_tool(make));
  free(server_tool(allow));
  return name;
}

/* An expired session is told as that; new keys in its file are taken without anything being opened again. */
static void test_session_expires(void **state) {
  Error err;
  CLEANUP_FREE char *role = make_session_role();
  CLEANUP_FREE char *file = memory_format("%s-session-%s", server.directory, id_new().text);
  S3Options options = server_options(&server, *state);
  options.credentials_file = file;
  write_session(role, file, 2);
  Repository *repository = server_open(&options);
  must(put(repository, "db/1", "x", &err), &err);
  Status status = STATUS_OK;
  for (int i = 0; i < 100 && status == STATUS_OK; i++) {
    CLEANUP(buffer_release) Buffer out = {0};
    usleep(100000);
    status = repository_get(repository, "db/1", 9, &out, &err);
  }
  expect(status, ERR_REPOSITORY_REFUSED, &err, "session");
  write_session(role, file, 900);
  must(put(repository, "db/2", "x", &err), &err);
  repository_close(repository);
  unlink(file);
}

/* ---- locks ------------------------------------------------------------------------------------------ */

static void test_locked(void **state) {
  Error err;
  S3Options options = server_options(&server, *state);
  options.lock_mode = "COMPLIANCE";
  options.lock_days = 1;
  Repository *repository = server_open(&options);
  must(put(repository, "db/1", "kept", &err), &err);
  expect(put(repository, "db/1", "changed", &err), ERR_OBJECT_EXISTS, &err, "db/1");
  CLEANUP(buffer_release) Buffer versions = {0}, out = {0};
  CLEANUP_FREE char *list = memory_format("%s?versions=", (char *)*state);
  assert_int_equal(server_request(&server, "GET", list, NULL, NULL, &versions), 200);
  const char *id = strstr(buffer_text(&versions), "<VersionId>");
  assert_non_null(id);
  id += strlen("<VersionId>");
  CLEANUP_FREE char *version = memory_format("%s/db/1?versionId=%.*s", (char *)*state, (int)strcspn(id, "<"), id);
  assert_int_equal(server_request(&server, "DELETE", version, NULL, NULL, NULL), 403); /* its own uploader */
  must(repository_get(repository, "db/1", 9, &out, &err), &err);
  assert_string_equal(buffer_text(&out), "kept");
  repository_close(repository);
}

static void test_lock_needs_its_bucket(void **state) {
  Error err;
  S3Options options = server_options(&server, *state);
  options.lock_mode = "GOVERNANCE";
  options.lock_days = 1;
  Repository *repository = server_open(&options);
  Status status = put(repository, "db/1", "x", &err);
  expect(status, ERR_REPOSITORY_REFUSED, &err, "HTTP 4");
  repository_close(repository);
}

/* ---- bandwidth -------------------------------------------------------------------------------------- */

static void test_bandwidth(void **state) {
  Error err;
  enum { SIZE = 2000000 };
  S3Options options = server_options(&server, *state);
  options.bandwidth_mb = 2;
  Repository *repository = server_open(&options);
  CLEANUP_FREE char *data = memory_alloc(SIZE);
  CLEANUP(buffer_release) Buffer out = {0};
  int64_t started = clock_monotonic_us();
  must(repository_put(repository, "up", data, SIZE, &err), &err);
  int64_t up = clock_monotonic_us() - started;
  must(repository_get(repository, "up", SIZE, &out, &err), &err);
  int64_t down = clock_monotonic_us() - started - up;
  assert_true(up > 900000 && down > 900000);
  repository_close(repository);
}

int main(void) {
#define IN_BUCKET(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      IN_BUCKET(test_ways_to_the_bucket),
      IN_BUCKET(test_environment_and_headers),
      IN_BUCKET(test_refusals),
      IN_BUCKET(test_nobody_there),
      IN_BUCKET(test_encryption_at_rest),
      IN_BUCKET(test_pages),
      IN_BUCKET(test_foreign_keys),
      IN_BUCKET(test_read_only_key),
      IN_BUCKET(test_write_only_key),
      IN_BUCKET(test_full),
      IN_BUCKET(test_session_expires),
      cmocka_unit_test_setup_teardown(test_locked, setup_locked, teardown),
      IN_BUCKET(test_lock_needs_its_bucket),
      IN_BUCKET(test_bandwidth),
  };
  return cmocka_run_group_tests(tests, start, stop);
}
