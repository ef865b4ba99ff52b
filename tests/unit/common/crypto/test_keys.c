/* Loading and making keys: what is refused, how it is said, and that nothing is ever overwritten. */
#include "tests/unit/common/crypto/support.h"

#include <sys/stat.h>

static void make(const char *const *argv) {
  CLEANUP(buffer_release) Buffer out = {0};
  run_tool(argv, &out);
}

static void expect_unreadable(Status status, const Error *err, const char *object) {
  assert_int_equal(status, ERR_KEY_UNREADABLE);
  assert_string_equal(err->object, object);
  assert_non_null(strstr(err->message, object));
  assert_true(err->remedy[0]);
}

static void test_recipients_refused(void **state) {
  Keys *k = *state;
  Error err;
  Recipients *none = NULL;
  CLEANUP_FREE char *absent = in_dir(k, "absent.crt"), *text = in_dir(k, "text.crt");
  write_file(text, "no PEM\n", 7);
  const char *lists[][2] = {{k->ec_crt, absent}, {k->ec_crt, text}, {k->ec_crt, k->ec_key}};
  for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    expect_unreadable(recipients_load(lists[i], 2, &none, &err), &err, lists[i][1]);
  assert_int_equal(recipients_load(NULL, 0, &none, &err), ERR_KEY_UNREADABLE);
  assert_null(none);
}

static void test_key_that_cannot_be_encrypted_to(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP_FREE char *key = in_dir(k, "ed.key"), *certificate = in_dir(k, "ed.crt");
  const char *argv[] = {"openssl", "req",  "-x509",     "-newkey", "ed25519",  "-nodes", "-keyout",
                        key,       "-out", certificate, "-subj",   "/CN=sign", NULL};
  make(argv);
  Recipients *none = NULL;
  const char *paths[] = {certificate};
  expect_unreadable(recipients_load(paths, 1, &none, &err), &err, certificate);
  DecryptionKey *no_key = NULL;
  expect_unreadable(decryption_key_load(key, certificate, &no_key, &err), &err, certificate);
  assert_null(no_key);
}

static void test_fingerprints_are_those_of_openssl(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer out = {0};
  const char *argv[] = {"openssl", "x509", "-in", k->rsa_crt, "-noout", "-fingerprint", "-sha256", NULL};
  run_tool(argv, &out);
  char hex[65];
  size_t used = 0;
  for (const char *at = strchr(buffer_text(&out), '=') + 1; *at && used < 64; at++)
    if (*at != ':')
      hex[used++] = (char)(*at >= 'A' && *at <= 'F' ? *at + 32 : *at);
  hex[used] = '\0';
  assert_int_equal(recipients_count(k->both), 2);
  assert_string_equal(recipients_fingerprint(k->both, 1), hex);
  assert_string_equal(recipients_fingerprint(k->both, 0), recipients_fingerprint(k->ec, 0));
}

/* Data must stay readable when a certificate has expired meanwhile. */
static void test_expired_certificate(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP_FREE char *key = in_dir(k, "old.key"), *certificate = in_dir(k, "old.crt");
  assert_ok(recipient_generate(key, certificate, "old", -1, &err), &err);
  const char *check[] = {"openssl", "x509", "-in", certificate, "-noout", "-checkend", "0", NULL};
  CLEANUP(buffer_release) Buffer ignored = {0};
  ProcessOptions options = {.argv = check, .pipe_stdout = true};
  assert_int_equal(process_run(&options, 4096, &ignored, &err), ERR_TOOL); /* it has expired */
  Recipients *to = NULL;
  DecryptionKey *decrypt = NULL;
  const char *paths[] = {certificate};
  assert_ok(recipients_load(paths, 1, &to, &err), &err);
  assert_ok(decryption_key_load(key, certificate, &decrypt, &err), &err);
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  assert_ok(segment_encode(to, 1, "abc", 3, &object, &err), &err);
  assert_ok(segment_decode(decrypt, object.data, object.size, 3, &back, &err), &err);
  recipients_free(to);
  decryption_key_free(decrypt);
}

static void join_files(const char *out, const char *a, const char *b) {
  Error err;
  CLEANUP(buffer_release) Buffer text = {0};
  assert_ok(file_read(a, 1 << 16, &text, &err), &err);
  assert_ok(file_read(b, 1 << 16, &text, &err), &err);
  write_file(out, text.data, text.size);
}

static void test_key_and_certificate_in_one_file(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP_FREE char *one = in_dir(k, "one.pem"), *two = in_dir(k, "two.pem");
  join_files(one, k->ec_key, k->ec_crt);
  join_files(two, k->rsa_crt, k->rsa_key);
  DecryptionKey *key = NULL;
  assert_ok(decryption_key_load(one, NULL, &key, &err), &err);
  decryption_key_free(key);
  assert_ok(decryption_key_load(two, NULL, &key, &err), &err);
  decryption_key_free(key);
}

static void test_decryption_key_refused(void **state) {
  Keys *k = *state;
  Error err;
  DecryptionKey *none = NULL;
  expect_unreadable(decryption_key_load(k->other_key, k->ec_crt, &none, &err), &err, k->other_key);
  expect_unreadable(decryption_key_load(k->ec_key, NULL, &none, &err), &err, k->ec_key); /* no certificate in it */
  expect_unreadable(decryption_key_load(k->ec_crt, k->ec_crt, &none, &err), &err, k->ec_crt);
  CLEANUP_FREE char *absent = in_dir(k, "absent.key"), *locked = in_dir(k, "locked.key");
  expect_unreadable(decryption_key_load(absent, k->ec_crt, &none, &err), &err, absent);
  /* a passphrase would have to be asked for on a terminal */
  const char *lock[] = {"openssl", "ec",      "-aes256", "-passout", "pass:secret-word",
                        "-in",     k->ec_key, "-out",    locked,     NULL};
  make(lock);
  expect_unreadable(decryption_key_load(locked, k->ec_crt, &none, &err), &err, locked);
  assert_non_null(strstr(err.message, "passphrase"));
  assert_null(none);
}

static mode_t mode_of(const char *path) {
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  return st.st_mode & 0777;
}

static void test_private_files_are_private(void **state) {
  Keys *k = *state;
  mode_t before = umask(0);
  Error err;
  CLEANUP_FREE char *a = in_dir(k, "mode.key"), *b = in_dir(k, "mode.crt"), *c = in_dir(k, "mode-s.key"),
                    *d = in_dir(k, "mode-s.pub");
  assert_ok(recipient_generate(a, b, "x", 1, &err), &err);
  assert_ok(signing_key_generate(c, d, &err), &err);
  umask(before);
  assert_int_equal(mode_of(a), 0600);
  assert_int_equal(mode_of(b), 0644);
  assert_int_equal(mode_of(c), 0600);
  assert_int_equal(mode_of(d), 0644);
}

static void test_generate_never_overwrites(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP(buffer_release) Buffer before = {0};
  CLEANUP(buffer_release) Buffer after = {0};
  CLEANUP_FREE char *fresh = in_dir(k, "fresh.key");
  assert_ok(file_read(k->ec_key, 1 << 16, &before, &err), &err);
  assert_int_equal(recipient_generate(k->ec_key, fresh, "x", 1, &err), ERR_OBJECT_EXISTS);
  assert_false(file_exists(fresh));
  assert_int_equal(recipient_generate(fresh, k->ec_crt, "x", 1, &err), ERR_OBJECT_EXISTS);
  assert_false(file_exists(fresh)); /* both or neither */
  assert_int_equal(signing_key_generate(k->ec_key, fresh, &err), ERR_OBJECT_EXISTS);
  assert_int_equal(signing_key_generate(fresh, k->ec_crt, &err), ERR_OBJECT_EXISTS);
  assert_false(file_exists(fresh));
  assert_ok(file_read(k->ec_key, 1 << 16, &after, &err), &err);
  assert_string_equal(buffer_text(&before), buffer_text(&after));
}

static void test_generate_refuses(void **state) {
  Keys *k = *state;
  Error err;
  char long_name[80];
  memset(long_name, 'x', sizeof long_name - 1);
  long_name[sizeof long_name - 1] = '\0';
  CLEANUP_FREE char *key = in_dir(k, "n.key"), *certificate = in_dir(k, "n.crt"), *nowhere = in_dir(k, "no/n.key");
  assert_int_equal(recipient_generate(key, certificate, long_name, 1, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(recipient_generate(key, certificate, "", 1, &err), ERR_INVALID_ARGUMENT);
  assert_false(file_exists(key));
  assert_int_equal(recipient_generate(nowhere, certificate, "x", 1, &err), ERR_IO);
  assert_false(file_exists(certificate));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_recipients_refused),
      cmocka_unit_test(test_key_that_cannot_be_encrypted_to),
      cmocka_unit_test(test_fingerprints_are_those_of_openssl),
      cmocka_unit_test(test_expired_certificate),
      cmocka_unit_test(test_key_and_certificate_in_one_file),
      cmocka_unit_test(test_decryption_key_refused),
      cmocka_unit_test(test_private_files_are_private),
      cmocka_unit_test(test_generate_never_overwrites),
      cmocka_unit_test(test_generate_refuses),
  };
  return cmocka_run_group_tests(tests, keys_setup, keys_teardown);
}
