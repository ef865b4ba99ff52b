/* Many threads with the same recipients and the same key: what a dump's workers and a drill's readers do. */
#include "tests/unit/common/crypto/support.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 12, SIZE = 100000 };

typedef struct Worker {
  const Keys *keys;
  uint32_t seed;
  Status status;
  bool same;
} Worker;

static void *work(void *user) {
  Worker *w = user;
  Error err;
  CLEANUP(buffer_release) Buffer plain = {0};
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  w->same = true;
  for (uint32_t round = 0; round < ROUNDS && w->status == STATUS_OK && w->same; round++) {
    const DecryptionKey *key = round % 2 ? w->keys->ec_decrypt : w->keys->rsa_decrypt;
    buffer_clear(&plain);
    fill_rows(&plain, SIZE + w->seed, w->seed * ROUNDS + round);
    w->status = segment_encode(w->keys->both, 1, plain.data, plain.size, &object, &err);
    if (w->status == STATUS_OK)
      w->status = segment_decode(key, object.data, object.size, plain.size, &back, &err);
    w->same = w->status != STATUS_OK || (back.size == plain.size && memcmp(back.data, plain.data, back.size) == 0);
    /* errors are per thread too */
    if (w->status == STATUS_OK &&
        segment_decode(w->keys->other_decrypt, object.data, object.size, plain.size, &back, &err) != ERR_KEY_MISMATCH)
      w->same = false;
    object.data[object.size - 1] ^= 1;
    if (w->status == STATUS_OK &&
        segment_decode(key, object.data, object.size, plain.size, &back, &err) != ERR_SEGMENT_CORRUPT)
      w->same = false;
  }
  return NULL;
}

static void test_shared_keys(void **state) {
  Keys *k = *state;
  pthread_t threads[THREADS];
  Worker workers[THREADS];
  for (uint32_t i = 0; i < THREADS; i++) {
    workers[i] = (Worker){.keys = k, .seed = i};
    assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(workers[i].status, STATUS_OK);
    assert_true(workers[i].same);
  }
}

static void *sign(void *user) {
  SigningKey *key = user;
  Error err;
  uint8_t signature[SIGNATURE_SIZE], public_key[PUBLIC_KEY_SIZE];
  signing_key_public(key, public_key);
  for (int i = 0; i < 100; i++)
    if (signing_sign(key, "session", &i, sizeof i, signature, &err) != STATUS_OK ||
        !signing_verify(public_key, "session", &i, sizeof i, signature))
      return key;
  return NULL;
}

static void test_shared_signing_key(void **state) {
  Keys *k = *state;
  Error err;
  CLEANUP_FREE char *path = in_dir(k, "s.key"), *public = in_dir(k, "s.pub");
  SigningKey *key = NULL;
  pthread_t threads[THREADS];
  assert_ok(signing_key_generate(path, public, &err), &err);
  assert_ok(signing_key_load(path, &key, &err), &err);
  for (int i = 0; i < THREADS; i++)
    assert_int_equal(pthread_create(&threads[i], NULL, sign, key), 0);
  for (int i = 0; i < THREADS; i++) {
    void *failed = NULL;
    pthread_join(threads[i], &failed);
    assert_null(failed);
  }
  signing_key_free(key);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_shared_keys),
      cmocka_unit_test(test_shared_signing_key),
  };
  return cmocka_run_group_tests(tests, keys_setup, keys_teardown);
}
