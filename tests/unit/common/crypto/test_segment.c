/* Segments: what goes in comes out, for whom it was meant, and with openssl and zstd alone. */
#include "tests/unit/common/crypto/support.h"

#include <openssl/cms.h>
#include <openssl/pem.h>
#include <zstd.h>

#include "common/crypto/digest.h"

static void round_trip(const Recipients *to, const DecryptionKey *key, int level, const void *plain, size_t size) {
  Error err;
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  assert_ok(segment_encode(to, level, plain, size, &object, &err), &err);
  assert_ok(segment_decode(key, object.data, object.size, size, &back, &err), &err);
  assert_int_equal(back.size, size);
  if (size)
    assert_memory_equal(back.data, plain, size);
}

static void test_round_trips(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer plain = {0};
  fill_rows(&plain, 3 << 20, 1);
  static const size_t sizes[] = {0, 1, 15, 16, 17, 4096, 131072, 131073, 3 << 20};
  for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
    for (int level = 1; level <= 19; level += 9) {
      if (level == 19 && sizes[i] > 200000)
        continue; /* slow, and the same as at 10 */
      round_trip(k->ec, k->ec_decrypt, level, plain.data, sizes[i]);
      round_trip(k->both, k->rsa_decrypt, level, plain.data, sizes[i]);
    }
}

static void test_incompressible(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer plain = {0};
  uint8_t digest[SHA256_SIZE] = {1};
  while (plain.size < 1 << 20) {
    sha256(digest, sizeof digest, digest);
    buffer_append(&plain, digest, sizeof digest);
  }
  round_trip(k->both, k->ec_decrypt, 1, plain.data, plain.size);
}

static void test_never_twice_the_same(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP(buffer_release) Buffer one = {0};
  CLEANUP(buffer_release) Buffer two = {0};
  assert_ok(segment_encode(k->ec, 1, "abc", 3, &one, &err), &err);
  assert_ok(segment_encode(k->ec, 1, "abc", 3, &two, &err), &err);
  assert_true(one.size != two.size || memcmp(one.data, two.data, one.size) != 0);
}

static void test_buffers_are_reused(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  buffer_append_text(&object, "what was there before");
  buffer_append_text(&back, "what was there before, and longer than what comes");
  assert_ok(segment_encode(k->ec, 1, "abc", 3, &object, &err), &err);
  assert_ok(segment_decode(k->ec_decrypt, object.data, object.size, 100, &back, &err), &err);
  assert_string_equal(buffer_text(&back), "abc");
}

static void expect_mismatch(const Recipients *to, const DecryptionKey *key) {
  Error err;
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  assert_ok(segment_encode(to, 1, "secret", 6, &object, &err), &err);
  assert_int_equal(segment_decode(key, object.data, object.size, 100, &back, &err), ERR_KEY_MISMATCH);
  assert_int_equal(error_outcome(err.status), OUTCOME_ERRORED);
  assert_non_null(strstr(err.message, "SHA-256"));
  assert_int_equal(back.size, 0);
}

/* A wrong key says nothing about the object, and must not condemn it. */
static void test_wrong_key_is_no_corruption(void **state) {
  Keys *k = *state;
  expect_mismatch(k->ec, k->other_decrypt); /* the same subject, another serial number */
  expect_mismatch(k->ec, k->rsa_decrypt);
  expect_mismatch(k->rsa, k->ec_decrypt);
  expect_mismatch(k->both, k->other_decrypt);
}

/* A certificate that claims to be the recipient, with a key of its own, opens nothing. */
static void test_impostor(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP_FREE char *path = in_dir(k, "impostor.crt");
  CLEANUP_FCLOSE FILE *in = fopen(k->ec_crt, "re"), *key_file = fopen(k->other_key, "re"), *out = fopen(path, "we");
  X509 *certificate = PEM_read_X509(in, NULL, NULL, NULL);
  EVP_PKEY *key = PEM_read_PrivateKey(key_file, NULL, NULL, NULL);
  assert_int_equal(X509_set_pubkey(certificate, key), 1);
  assert_true(X509_sign(certificate, key, EVP_sha256()) > 0);
  assert_int_equal(PEM_write_X509(out, certificate), 1);
  fflush(out);
  DecryptionKey *impostor = NULL;
  assert_ok(decryption_key_load(k->other_key, path, &impostor, &err), &err);
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  assert_ok(segment_encode(k->ec, 1, "secret", 6, &object, &err), &err);
  assert_int_equal(segment_decode(impostor, object.data, object.size, 100, &back, &err), ERR_SEGMENT_CORRUPT);
  assert_int_equal(back.size, 0);
  decryption_key_free(impostor);
  X509_free(certificate);
  EVP_PKEY_free(key);
}

static void opened_by_tools(const char *object, const char *key, const char *certificate, Buffer *out) {
  CLEANUP_FREE char *script =
      memory_format("set -eo pipefail; openssl cms -decrypt -inform DER -binary -in '%s' -inkey '%s' %s%s | zstd -dc",
                    object, key, certificate ? "-recip " : "", certificate ? certificate : "");
  const char *argv[] = {"bash", "-c", script, NULL};
  run_tool(argv, out);
}

static void test_opens_with_openssl_and_zstd(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP_FREE char *path = in_dir(k, "object");
  CLEANUP(buffer_release) Buffer plain = {0};
  CLEANUP(buffer_release) Buffer object = {0};
  fill_rows(&plain, 2 << 20, 7);
  assert_ok(segment_encode(k->both, 3, plain.data, plain.size, &object, &err), &err);
  write_file(path, object.data, object.size);
  const char *const keys[][2] = {{k->ec_key, k->ec_crt}, {k->rsa_key, k->rsa_crt}, {k->rsa_key, NULL}};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
    CLEANUP(buffer_release) Buffer opened = {0};
    opened_by_tools(path, keys[i][0], keys[i][1], &opened);
    assert_int_equal(opened.size, plain.size);
    assert_memory_equal(opened.data, plain.data, plain.size);
  }
}

/* What the format page promises of every object. */
static void test_form(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP_FREE char *path = in_dir(k, "object");
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer printed = {0};
  assert_ok(segment_encode(k->both, 3, "abc", 3, &object, &err), &err);
  write_file(path, object.data, object.size);
  const char *print[] = {"openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", path, NULL};
  run_tool(print, &printed);
  const char *text = buffer_text(&printed);
  assert_non_null(strstr(text, "id-smime-ct-authEnvelopedData"));
  assert_non_null(strstr(text, "aes-256-gcm"));
  assert_non_null(strstr(text, "id-aes256-wrap"));
  assert_non_null(strstr(text, "rsaEncryption"));
}

static void test_checksummed_frames(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP_FREE char *path = in_dir(k, "object"), *script = NULL;
  assert_ok(segment_encode(k->ec, 3, "abc", 3, &object, &err), &err);
  write_file(path, object.data, object.size);
  script = memory_format("openssl cms -decrypt -inform DER -binary -in '%s' -inkey '%s' -recip '%s'", path, k->ec_key,
                         k->ec_crt);
  const char *argv[] = {"bash", "-c", script, NULL};
  CLEANUP(buffer_release) Buffer frame = {0};
  run_tool(argv, &frame);
  assert_true(frame.size > 5);
  assert_int_equal(frame.data[4] & 4, 4); /* RFC 8878, 3.1.1.1.1: Content_Checksum_flag */
  assert_int_equal(ZSTD_getFrameContentSize(frame.data, frame.size), 3);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trips),
      cmocka_unit_test(test_incompressible),
      cmocka_unit_test(test_never_twice_the_same),
      cmocka_unit_test(test_buffers_are_reused),
      cmocka_unit_test(test_wrong_key_is_no_corruption),
      cmocka_unit_test(test_impostor),
      cmocka_unit_test(test_opens_with_openssl_and_zstd),
      cmocka_unit_test(test_form),
      cmocka_unit_test(test_checksummed_frames),
  };
  return cmocka_run_group_tests(tests, keys_setup, keys_teardown);
}
