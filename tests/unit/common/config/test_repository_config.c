/* `repository:` of the configuration: what is taken, and that errors name file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/config/repository.h"

static int setup(void **state) {
  char template[] = "/tmp/pgseal-test-config-XXXXXX";
  *state = mkdtemp(template) ? memory_strdup(template) : NULL;
  return *state ? 0 : -1;
}

static int teardown(void **state) {
  Error err;
  Status status = file_remove_tree(*state, &err);
  free(*state);
  return status == STATUS_OK ? 0 : -1;
}

static char *write_file(const char *directory, const char *name, const char *text) {
  Error err;
  char *path = memory_format("%s/%s", directory, name);
  assert_int_equal(file_write_atomic(path, 0600, text, strlen(text), &err), STATUS_OK);
  return path;
}

static void good(Status status, const Error *err) {
  if (status != STATUS_OK)
    fail_msg("%s", err->message);
}

static void test_all_options(void **state) {
  Error err;
  CLEANUP_FREE char *path =
      write_file(*state, "r.yaml",
                 "repository:\n  s3:\n    bucket: acme\n    endpoint: https://s3.example.org:9000\n"
                 "    region: eu-1\n    prefix: a/b\n    addressing: virtual\n    ca_file: ca.crt\n"
                 "    proxy: ''\n    credentials_file: /etc/keys\n    profile: p\n"
                 "    storage_class: STANDARD_IA\n    encryption: aws:kms\n"
                 "    encryption_key: arn:aws:kms:eu-1:1:key/x\n    acl: bucket-owner-full-control\n"
                 "    lock_mode: GOVERNANCE\n    lock_days: 7\n    checksum: false\n"
                 "    bandwidth_mb: 50\n    connect_seconds: 1\n    timeout_seconds: 2\n"
                 "    retry_seconds: 3\n");
  CLEANUP_FREE char *ca = memory_format("%s/ca.crt", (char *)*state);
  CLEANUP(repository_config_release) RepositoryConfig config = {0};
  good(repository_config_load(path, &config, &err), &err);
  const S3Options *s3 = &config.s3;
  assert_null(config.directory);
  assert_string_equal(s3->bucket, "acme");
  assert_string_equal(s3->endpoint, "https://s3.example.org:9000");
  assert_string_equal(s3->region, "eu-1");
  assert_string_equal(s3->prefix, "a/b");
  assert_int_equal(s3->style, S3_STYLE_VIRTUAL);
  assert_string_equal(s3->ca_file, ca); /* relative to the file */
  assert_string_equal(s3->proxy, "");
  assert_string_equal(s3->credentials_file, "/etc/keys");
  assert_string_equal(s3->profile, "p");
  assert_string_equal(s3->storage_class, "STANDARD_IA");
  assert_string_equal(s3->encryption, "aws:kms");
  assert_string_equal(s3->encryption_key, "arn:aws:kms:eu-1:1:key/x");
  assert_string_equal(s3->acl, "bucket-owner-full-control");
  assert_string_equal(s3->lock_mode, "GOVERNANCE");
  assert_true(s3->no_checksum);
  assert_int_equal(s3->lock_days, 7);
  assert_int_equal(s3->bandwidth_mb, 50);
  assert_int_equal(s3->connect_seconds * 100 + s3->timeout_seconds * 10 + s3->retry_seconds, 123);
  Repository *repository = NULL;
  good(repository_config_open(&config, &repository, &err), &err);
  assert_string_equal(repository_description(repository), "s3://acme/a/b/ at https://s3.example.org:9000");
  repository_close(repository);
}

static void test_directory_and_file(void **state) {
  Error err;
  CLEANUP_FREE char *inner = write_file(*state, "inner.yaml", "repository: {directory: objects}\n");
  CLEANUP_FREE char *outer = write_file(*state, "outer.yaml", "repository:\n  file: inner.yaml\n");
  CLEANUP_FREE char *third = write_file(*state, "third.yaml", "repository:\n  file: outer.yaml\n");
  CLEANUP_FREE char *expected = memory_format("%s/objects", (char *)*state);
  CLEANUP(repository_config_release) RepositoryConfig config = {0};
  assert_int_equal(repository_config_load(outer, &config, &err), ERR_CONFIG);
  RawRepository refer = {.file = inner};
  good(repository_config_take(outer, &refer, &config, &err), &err);
  assert_string_equal(config.directory, expected);
  RawRepository too_far = {.file = outer};
  CLEANUP(repository_config_release) RepositoryConfig none = {0};
  assert_int_equal(repository_config_take(third, &too_far, &none, &err), ERR_CONFIG);
  assert_non_null(strstr(err.message, "outer.yaml:2: repository.file"));
  assert_null(none.owned);
}

static void test_errors_name_file_and_line(void **state) {
  static const struct {
    const char *text, *expected;
  } cases[] = {
      {"repository: {}\n", "r.yaml:1: repository: needs either"},
      {"repository:\n  directory: x\n  file: y\n", "r.yaml:1: repository: needs either"},
      {"repository:\n  directory: ''\n", "r.yaml:2: repository.directory"},
      {"repository:\n  s3:\n    bukket: x\n", "r.yaml:3:5: Unexpected key: bukket"},
      {"repository:\n  s3:\n    region: eu-1\n", "r.yaml:2: s3.bucket"},
      {"repository:\n  s3:\n    region: eu-1\n    bucket: a/b\n", "r.yaml:4: s3.bucket: 'a/b'"},
      {"# prefix: x\nrepository:\n  s3:\n    bucket: abc\n\n    prefix: /x\n", "r.yaml:6: s3.prefix"},
      {"repository:\n  s3:\n    bucket: abc\n    prefix: a//b\n", "r.yaml:4: s3.prefix"},
      {"repository:\n  s3:\n    bucket: abc\n    region: eu 1\n", "r.yaml:4: s3.region"},
      {"repository:\n  s3:\n    bucket: abc\n    addressing: dns\n", "r.yaml:4: s3.addressing: 'dns' must be"},
      {"repository:\n  s3:\n    bucket: abc\n    endpoint: s3.example.org\n", "r.yaml:4: s3.endpoint"},
      {"repository:\n  s3:\n    bucket: abc\n    endpoint: ftp://x\n", "r.yaml:4: s3.endpoint"},
      {"repository:\n  s3:\n    bucket: abc\n    endpoint: https://x/path\n", "r.yaml:4: s3.endpoint"},
      {"repository:\n  s3:\n    bucket: abc\n    endpoint: https://me:hidden@x\n", "r.yaml:4: s3.endpoint"},
      {"repository:\n  s3:\n    bucket: abc\n    lock_mode: FOREVER\n    lock_days: 1\n", "r.yaml:4: s3.lock_mode"},
      {"repository:\n  s3:\n    bucket: abc\n    lock_mode: COMPLIANCE\n", "r.yaml:4: s3.lock_mode"},
      {"repository:\n  s3:\n    bucket: abc\n    lock_days: 3\n", "r.yaml:2: s3.lock_mode"},
      {"repository:\n  s3:\n    bucket: abc\n    lock_days: 0\n", "r.yaml:4: s3.lock_days: 0"},
      {"repository:\n  s3:\n    bucket: abc\n    retry_seconds: 100000\n", "r.yaml:4: s3.retry_seconds: 100000"},
      {"repository:\n  s3:\n    bucket: abc\n    retry_seconds: soon\n", "r.yaml:4:"},
      {"repository:\n  s3:\n    bucket: abc\n    checksum: never\n", "r.yaml:4:15: 'never' is neither true nor false"},
      {"repository:\n  s3:\n    bucket: abc\n    acl: \"a\\r\\nx-evil: 1\"\n", "r.yaml:4: s3.acl"},
      {"repository:\n  s3:\n    bucket: abc\n    storage_class: 'A B'\n", "r.yaml:4: s3.storage_class"},
      {"repository:\n  s3:\n    bucket: abc\n    encryption_key: k\n", "r.yaml:4: s3.encryption_key"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    Error err;
    CLEANUP_FREE char *path = write_file(*state, "r.yaml", cases[i].text);
    CLEANUP(repository_config_release) RepositoryConfig config = {0};
    assert_int_equal(repository_config_load(path, &config, &err), ERR_CONFIG);
    if (!strstr(err.message, cases[i].expected))
      fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.message, cases[i].expected);
    assert_null(strstr(err.message, "hidden"));
    assert_null(config.owned);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_all_options, setup, teardown),
      cmocka_unit_test_setup_teardown(test_directory_and_file, setup, teardown),
      cmocka_unit_test_setup_teardown(test_errors_name_file_and_line, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
