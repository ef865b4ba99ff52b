/* Digests and signatures: known answers, domain separation, and openssl's own word on both. */
#include "tests/unit/common/crypto/support.h"

#include "common/base/text.h"
#include "common/crypto/digest.h"

static void test_sha256_known_answers(void **state) {
  (void)state;
  char hex[SHA256_HEX_SIZE];
  sha256_hex("", 0, hex); /* FIPS 180-4 */
  assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  sha256_hex("abc", 3, hex);
  assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_sha256_in_pieces(void **state) {
  (void)state;
  uint8_t whole[SHA256_SIZE], pieces[SHA256_SIZE];
  Sha256 *hash = sha256_new();
  sha256("hello world", 11, whole);
  for (int again = 0; again < 2; again++) { /* finish starts anew */
    sha256_update(hash, "hello ", 6);
    sha256_update(hash, "", 0);
    sha256_update(hash, "world", 5);
    sha256_finish(hash, pieces);
    assert_memory_equal(whole, pieces, SHA256_SIZE);
  }
  sha256_free(hash);
  sha256_free(NULL);
}

typedef struct Signer {
  char *private_path, *public_path;
  SigningKey *key;
  uint8_t public_key[PUBLIC_KEY_SIZE];
} Signer;

static void signer_make(const Keys *k, const char *name, Signer *s) {
  Error err;
  s->private_path = memory_format("%s/%s.key", k->dir, name);
  s->public_path = memory_format("%s/%s.pub", k->dir, name);
  assert_ok(signing_key_generate(s->private_path, s->public_path, &err), &err);
  assert_ok(signing_key_load(s->private_path, &s->key, &err), &err);
  signing_key_public(s->key, s->public_key);
}

static void signer_release(Signer *s) {
  free(s->private_path);
  free(s->public_path);
  signing_key_free(s->key);
}

static void test_sign_and_verify(void **state) {
  Error err;
  CLEANUP(signer_release) Signer one = {0};
  CLEANUP(signer_release) Signer two = {0};
  signer_make(*state, "one", &one);
  signer_make(*state, "two", &two);
  uint8_t signature[SIGNATURE_SIZE], loaded[PUBLIC_KEY_SIZE];
  assert_ok(signing_public_load(one.public_path, loaded, &err), &err);
  assert_memory_equal(loaded, one.public_key, PUBLIC_KEY_SIZE);
  assert_ok(signing_sign(one.key, "manifest", "data", 4, signature, &err), &err);
  assert_true(signing_verify(one.public_key, "manifest", "data", 4, signature));
  assert_false(signing_verify(two.public_key, "manifest", "data", 4, signature));
  assert_false(signing_verify(one.public_key, "manifest", "Data", 4, signature));
  assert_false(signing_verify(one.public_key, "manifest", "data", 3, signature));
  for (int i = 0; i < SIGNATURE_SIZE * 8; i++) {
    signature[i / 8] ^= (uint8_t)(1 << i % 8);
    assert_false(signing_verify(one.public_key, "manifest", "data", 4, signature));
    signature[i / 8] ^= (uint8_t)(1 << i % 8);
  }
  assert_ok(signing_sign(one.key, "manifest", NULL, 0, signature, &err), &err);
  assert_true(signing_verify(one.public_key, "manifest", NULL, 0, signature));
}

/* One kind of statement never passes for another, wherever purpose and data are cut. */
static void test_purposes_are_apart(void **state) {
  Error err;
  CLEANUP(signer_release) Signer s = {0};
  signer_make(*state, "purpose", &s);
  uint8_t signature[SIGNATURE_SIZE];
  assert_ok(signing_sign(s.key, "proof", "data", 4, signature, &err), &err);
  assert_false(signing_verify(s.public_key, "manifest", "data", 4, signature));
  assert_false(signing_verify(s.public_key, "session", "data", 4, signature));
  assert_false(signing_verify(s.public_key, "proofd", "ata", 3, signature));
  assert_false(signing_verify(s.public_key, "proo", "fdata", 5, signature));
  assert_false(signing_verify(s.public_key, "", "proof\0data", 10, signature));
}

static void test_weak_public_keys(void **state) {
  (void)state;
  uint8_t signature[SIGNATURE_SIZE] = {0}, zero[PUBLIC_KEY_SIZE] = {0}, ones[PUBLIC_KEY_SIZE];
  memset(ones, 0xff, sizeof ones);
  assert_false(signing_verify(zero, "manifest", "data", 4, signature));
  assert_false(signing_verify(ones, "manifest", "data", 4, signature));
}

static void test_wrong_key_files(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP(signer_release) Signer s = {0};
  signer_make(k, "files", &s);
  SigningKey *none = NULL;
  uint8_t public_key[PUBLIC_KEY_SIZE];
  CLEANUP_FREE char *absent = in_dir(k, "absent");
  assert_int_equal(signing_key_load(k->ec_key, &none, &err), ERR_KEY_UNREADABLE);
  assert_non_null(strstr(err.message, "Ed25519"));
  assert_int_equal(signing_key_load(s.public_path, &none, &err), ERR_KEY_UNREADABLE);
  assert_int_equal(signing_key_load(absent, &none, &err), ERR_KEY_UNREADABLE);
  assert_null(none);
  assert_int_equal(signing_public_load(s.private_path, public_key, &err), ERR_KEY_UNREADABLE);
  assert_string_equal(err.object, s.private_path);
  assert_int_equal(signing_public_load(k->ec_crt, public_key, &err), ERR_KEY_UNREADABLE);
}

/* The command of docs/open-without-pgseal.md, and that it refuses what was altered. */
static void test_openssl_verifies(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP(signer_release) Signer s = {0};
  signer_make(k, "tool", &s);
  uint8_t signature[SIGNATURE_SIZE];
  assert_ok(signing_sign(s.key, "manifest", "some bytes", 10, signature, &err), &err);
  CLEANUP_FREE char *object = in_dir(k, "signed"), *sig = in_dir(k, "signed.sig");
  write_file(object, "some bytes", 10);
  write_file(sig, signature, sizeof signature);
  CLEANUP_FREE char *script =
      memory_format("set -e; { printf 'pgseal:manifest\\0'; cat '%s'; } >'%s.in'; "
                    "openssl pkeyutl -verify -pubin -inkey '%s' -rawin -in '%s.in' -sigfile '%s'",
                    object, object, s.public_path, object, sig);
  const char *argv[] = {"bash", "-c", script, NULL};
  ProcessOptions options = {.argv = argv, .pipe_stdout = true};
  CLEANUP(buffer_release) Buffer out = {0};
  assert_ok(process_run(&options, 4096, &out, &err), &err);
  write_file(object, "some Bytes", 10);
  assert_int_equal(process_run(&options, 4096, &out, &err), ERR_TOOL);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sha256_known_answers), cmocka_unit_test(test_sha256_in_pieces),
      cmocka_unit_test(test_sign_and_verify),      cmocka_unit_test(test_purposes_are_apart),
      cmocka_unit_test(test_weak_public_keys),     cmocka_unit_test(test_wrong_key_files),
      cmocka_unit_test(test_openssl_verifies),
  };
  return cmocka_run_group_tests(tests, keys_setup, keys_teardown);
}
