/* pgseal fetch without a coordinator, from repositories that are whole, damaged and forged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/manifest/manifest.h"
#include "tests/unit/cli/support.h"

#define ID "01arz3ndektsv4rrffq69g5fav"
#define PREFIX "shop/" ID "/attempt-1"
enum { SEGMENTS = 3, SEGMENT = 5000 };

typedef struct Place {
  char dir[64], repository[128], key[128], certificate[128], other_key[128], other_certificate[128], agent[128],
      agent_pub[128], foreign[128], foreign_pub[128];
  uint8_t archive[SEGMENTS * SEGMENT];
} Place;

static void ok(Status status, const Error *err) {
  if (status != STATUS_OK)
    fail_msg("%s", err->message);
}

static ManifestSegment put_segment(Repository *repository, const Recipients *recipients, const char *key,
                                   const void *data, size_t size, uint64_t offset) {
  Error err;
  CLEANUP(buffer_release) Buffer stored = {0};
  ok(segment_encode(recipients, 1, data, size, &stored, &err), &err);
  ok(repository_put(repository, key, stored.data, stored.size, &err), &err);
  ManifestSegment segment = {.offset = offset, .plain_size = size, .size = stored.size};
  sha256_hex(stored.data, stored.size, segment.sha256);
  sha256_hex(data, size, segment.plain_sha256);
  return segment;
}

/* wrong: what the manifest claims falsely: 0 nothing, 1 an archive of another length, 2 another database. */
static void put_checkpoint(Place *p, const char *signer_path, int wrong) {
  Error err;
  Repository *repository = NULL;
  Recipients *recipients = NULL;
  SigningKey *signer = NULL;
  const char *paths[] = {p->certificate};
  ok(directory_repository_open(p->repository, &repository, &err), &err);
  ok(recipients_load(paths, 1, &recipients, &err), &err);
  ok(signing_key_load(signer_path, &signer, &err), &err);
  Manifest m = {.attempt = 1, .server_major = 15, .has_roles = true, .started_us = 1, .finished_us = 2};
  char **texts[] = {&m.agent,
                    &m.server_version,
                    &m.dump_version,
                    &m.pgseal_version,
                    &m.database_name,
                    &m.bootstrap_role,
                    &m.snapshot,
                    &m.lsn,
                    &m.collation_version,
                    &m.encoding,
                    &m.collation_provider,
                    &m.collation,
                    &m.collation_actual,
                    &m.fingerprint.database,
                    &m.fingerprint.server_version,
                    &m.fingerprint.dump_version};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    *texts[i] = memory_strdup("agent");
  m.checkpoint_id = memory_strdup(ID);
  m.database = memory_strdup(wrong == 2 ? "other" : "shop");
  m.tag = memory_strdup("t");
  for (size_t i = 0; i < SEGMENTS; i++) {
    CLEANUP_FREE char *key = manifest_segment_key(PREFIX "/", i);
    ManifestSegment segment = put_segment(repository, recipients, key, p->archive + i * SEGMENT, SEGMENT, i * SEGMENT);
    ARRAY_PUSH(m.segments, m.segment_count, segment);
  }
  CLEANUP_FREE char *roles = manifest_roles_key(PREFIX "/");
  m.roles = put_segment(repository, recipients, roles, "CREATE ROLE x;\n", 15, 0);
  char *recipient = memory_strdup(recipients_fingerprint(recipients, 0));
  ARRAY_PUSH(m.recipients, m.recipient_count, recipient);
  m.fingerprint.format_minor = 14;
  m.fingerprint.archive_size = SEGMENTS * SEGMENT + (wrong == 1);
  m.fingerprint.toc_size = 100;
  json_t *json = manifest_to_json(&m);
  char sha256[SHA256_HEX_SIZE];
  CLEANUP_FREE char *key = manifest_key(PREFIX "/");
  ok(document_put(repository, key, json, "manifest", signer, recipients, sha256, &err), &err);
  json_decref(json);
  manifest_release(&m);
  signing_key_free(signer);
  recipients_free(recipients);
  repository_close(repository);
}

static int setup(void **state) {
  Error err;
  Place *p = memory_alloc(sizeof *p);
  *state = p;
  snprintf(p->dir, sizeof p->dir, "/tmp/pgseal-test-fetch-XXXXXX");
  if (!mkdtemp(p->dir))
    return -1;
  struct {
    char *out;
    const char *name;
  } names[] = {
      {p->repository, "repository"},   {p->key, "a.key"},       {p->certificate, "a.crt"},   {p->other_key, "b.key"},
      {p->other_certificate, "b.crt"}, {p->agent, "agent.key"}, {p->agent_pub, "agent.pub"}, {p->foreign, "f.key"},
      {p->foreign_pub, "f.pub"}};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    snprintf(names[i].out, 128, "%s/%s", p->dir, names[i].name);
  for (size_t i = 0; i < sizeof p->archive; i++)
    p->archive[i] = (uint8_t)(i * 7 + i / 251);
  ok(recipient_generate(p->key, p->certificate, "a", 10, &err), &err);
  ok(recipient_generate(p->other_key, p->other_certificate, "b", 10, &err), &err);
  ok(signing_key_generate(p->agent, p->agent_pub, &err), &err);
  ok(signing_key_generate(p->foreign, p->foreign_pub, &err), &err);
  return 0;
}

static int teardown(void **state) {
  Error err;
  Place *p = *state;
  Status status = file_remove_tree(p->dir, &err);
  free(p);
  return status == STATUS_OK ? 0 : -1;
}

#define FETCH(p, key, certificate, public_key, ...)                                                                    \
  RUN(NULL, "fetch", "--prefix", PREFIX, "--repository", (p)->repository, "--key", key, "--certificate", certificate,  \
      "--public-key", public_key, __VA_ARGS__)

static void test_whole_checkpoint(void **state) {
  Place *p = *state;
  put_checkpoint(p, p->agent, 0);
  FILE *archive = tmpfile();
  CLEANUP_FREE char *roles = memory_format("%s/roles.sql", p->dir);
  CLEANUP(run_release) Run streamed = FETCH(p, p->key, p->certificate, p->agent_pub, "--stdout", "--roles", roles);
  assert_int_equal(streamed.code, EXIT_DONE);
  assert_memory_equal(streamed.out, p->archive, sizeof p->archive);
  fclose(archive);
  Error err;
  CLEANUP_FREE char *sql = NULL;
  ok(file_read_text(roles, 1000, &sql, &err), &err);
  assert_string_equal(sql, "CREATE ROLE x;");
  CLEANUP(run_release) Run again = FETCH(p, p->key, p->certificate, p->agent_pub, "--roles", roles);
  assert_int_equal(again.code, EXIT_USAGE); /* it exists */
  CLEANUP(run_release) Run listed = FETCH(p, p->key, p->certificate, p->agent_pub, "--list");
  assert_int_equal(listed.code, EXIT_DONE);
  assert_non_null(strstr(listed.out, "archive: 15.0 kB in 3 segments"));
  /* what is no archive does not become a file */
  CLEANUP_FREE char *out = memory_format("%s/out", p->dir);
  CLEANUP(run_release) Run written = FETCH(p, p->key, p->certificate, p->agent_pub, "--output", out);
  assert_int_equal(written.code, EXIT_FAILED);
  assert_non_null(strstr(written.err, "archive_format"));
  assert_false(file_exists(out));
}

static void test_wrong_keys(void **state) {
  Place *p = *state;
  put_checkpoint(p, p->agent, 0);
  CLEANUP(run_release) Run key = FETCH(p, p->other_key, p->other_certificate, p->agent_pub, "--stdout");
  assert_int_equal(key.code, EXIT_ERRORED);
  assert_non_null(strstr(key.err, "(key_mismatch)"));
  assert_string_equal(key.out, "");
  CLEANUP(run_release) Run signer = FETCH(p, p->key, p->certificate, p->foreign_pub, "--stdout");
  assert_int_equal(signer.code, EXIT_FAILED);
  assert_non_null(strstr(signer.err, "(manifest_invalid)"));
  assert_string_equal(signer.out, "");
}

static void damage(const Place *p, const char *name, bool remove_it) {
  CLEANUP_FREE char *path = memory_format("%s/" PREFIX "/%s", p->repository, name);
  if (remove_it) {
    assert_int_equal(unlink(path), 0);
    return;
  }
  FILE *f = fopen(path, "r+");
  assert_non_null(f);
  fseek(f, -40, SEEK_END);
  int byte = fgetc(f);
  fseek(f, -1, SEEK_CUR);
  fputc(byte ^ 1, f);
  fclose(f);
}

static void test_altered_segment(void **state) {
  Place *p = *state;
  put_checkpoint(p, p->agent, 0);
  damage(p, "000001.zst.cms", false);
  CLEANUP(run_release) Run run = FETCH(p, p->key, p->certificate, p->agent_pub, "--stdout");
  assert_int_equal(run.code, EXIT_FAILED);
  assert_non_null(strstr(run.err, "(segment_corrupt)"));
  assert_non_null(strstr(run.err, "000001.zst.cms"));
}

static void test_missing_segment(void **state) {
  Place *p = *state;
  put_checkpoint(p, p->agent, 0);
  damage(p, "000002.zst.cms", true);
  CLEANUP(run_release) Run run = FETCH(p, p->key, p->certificate, p->agent_pub, "--stdout");
  assert_int_equal(run.code, EXIT_FAILED);
  assert_non_null(strstr(run.err, "(segment_missing)"));
}

static void test_altered_manifest(void **state) {
  Place *p = *state;
  put_checkpoint(p, p->agent, 0);
  damage(p, "manifest.json.cms", false);
  CLEANUP(run_release) Run run = FETCH(p, p->key, p->certificate, p->agent_pub, "--list");
  assert_int_equal(run.code, EXIT_FAILED);
  assert_non_null(strstr(run.err, "(manifest_invalid)"));
}

static void test_manifest_that_lies(void **state) {
  Place *p = *state;
  put_checkpoint(p, p->agent, 1);
  CLEANUP(run_release) Run run = FETCH(p, p->key, p->certificate, p->agent_pub, "--list");
  assert_int_equal(run.code, EXIT_FAILED);
}

static void test_manifest_of_another_place(void **state) {
  Place *p = *state;
  put_checkpoint(p, p->agent, 2);
  CLEANUP(run_release) Run run = FETCH(p, p->key, p->certificate, p->agent_pub, "--list");
  assert_int_equal(run.code, EXIT_FAILED);
  assert_non_null(strstr(run.err, "manifest of another checkpoint"));
}

static void test_usage(void **state) {
  Place *p = *state;
  CLEANUP(run_release) Run absent = FETCH(p, p->key, p->certificate, p->agent_pub, "--list");
  assert_int_equal(absent.code, EXIT_USAGE);
  assert_false(file_exists(p->repository)); /* looking does not create it */
  CLEANUP(run_release) Run nothing = RUN(NULL, "fetch", "--repository", p->repository, "--key", p->key);
  assert_int_equal(nothing.code, EXIT_USAGE);
  CLEANUP(run_release)
  Run unsigned_ = RUN(NULL, "fetch", "--repository", p->repository, "--key", p->key, "--prefix", PREFIX, "--list");
  assert_int_equal(unsigned_.code, EXIT_USAGE);
  assert_non_null(strstr(unsigned_.err, "--public-key is missing"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_whole_checkpoint, setup, teardown),
      cmocka_unit_test_setup_teardown(test_wrong_keys, setup, teardown),
      cmocka_unit_test_setup_teardown(test_altered_segment, setup, teardown),
      cmocka_unit_test_setup_teardown(test_missing_segment, setup, teardown),
      cmocka_unit_test_setup_teardown(test_altered_manifest, setup, teardown),
      cmocka_unit_test_setup_teardown(test_manifest_that_lies, setup, teardown),
      cmocka_unit_test_setup_teardown(test_manifest_of_another_place, setup, teardown),
      cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
