/* Segments that were altered, forged or made to exhaust memory: never a byte of other plaintext, never more than asked.
 */
#include "tests/unit/common/crypto/support.h"

#include <openssl/cms.h>
#include <openssl/pem.h>
#include <zstd.h>

static const char PLAIN[] = "1\tone\n2\ttwo\n3\tthree\n";
enum { PLAIN_SIZE = sizeof PLAIN - 1, LIMIT = 1 << 20 };

static void encode_plain(const Recipients *to, Buffer *object) {
  Error err;
  assert_ok(segment_encode(to, 3, PLAIN, PLAIN_SIZE, object, &err), &err);
}

static Status decode(const DecryptionKey *key, const Buffer *object, Buffer *back) {
  Error err;
  Status status = segment_decode(key, object->data, object->size, LIMIT, back, &err);
  if (status != STATUS_OK) {
    assert_int_equal(status, err.status);
    assert_true(err.message[0] && err.remedy[0]);
    assert_int_equal(back->size, 0);
  }
  return status;
}

/* Where the encrypted content's own description starts: all behind it is covered by the tag or of one exact form. */
static size_t content_at(const Buffer *object) {
  static const uint8_t data_oid[] = {0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01};
  const uint8_t *at = memmem(object->data, object->size, data_oid, sizeof data_oid);
  assert_non_null(at);
  return (size_t)(at - object->data) - 2;
}

/* Every bit, or of every byte a different one. CMS does not protect the list of recipients, so a flip there may go
 * unnoticed here (the manifest's SHA-256 notices); but then it is the very same plaintext. */
static void flip(const Recipients *to, const DecryptionKey *key, int bits_per_byte) {
  CLEANUP(buffer_release) Buffer object = {0};
  encode_plain(to, &object);
  size_t content = content_at(&object), unnoticed = 0;
  for (size_t i = 0; i < object.size; i++)
    for (int n = 0; n < bits_per_byte; n++) {
      uint8_t bit = (uint8_t)(1u << ((bits_per_byte == 8 ? (size_t)n : i) % 8));
      CLEANUP(buffer_release) Buffer back = {0};
      object.data[i] ^= bit;
      Status status = decode(key, &object, &back);
      object.data[i] ^= bit;
      if (i >= content)
        assert_int_equal(status, ERR_SEGMENT_CORRUPT);
      if (status == STATUS_OK) {
        unnoticed++;
        assert_int_equal(back.size, PLAIN_SIZE);
        assert_memory_equal(back.data, PLAIN, PLAIN_SIZE);
      } else {
        assert_true(status == ERR_SEGMENT_CORRUPT || status == ERR_KEY_MISMATCH);
      }
    }
  CLEANUP(buffer_release) Buffer back = {0};
  assert_int_equal(decode(key, &object, &back), STATUS_OK);
  assert_true(unnoticed < content * (size_t)bits_per_byte);
}

static void test_flipped_bits_ec(void **state) {
  Keys *k = *state;
  flip(k->ec, k->ec_decrypt, 8);
}

static void test_flipped_bits_rsa(void **state) {
  Keys *k = *state;
  flip(k->rsa, k->rsa_decrypt, 1);
}

static void test_flipped_bits_two_recipients(void **state) {
  Keys *k = *state;
  flip(k->both, k->ec_decrypt, 1);
}

static void test_cut_short(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer object = {0};
  encode_plain(k->ec, &object);
  for (size_t size = 0; size < object.size; size++) {
    CLEANUP(buffer_release) Buffer back = {0};
    uint8_t *copy = memory_dup(object.data, size ? size : 1); /* so that reading past its end is seen */
    Buffer cut = {copy, size, size};
    assert_int_equal(decode(k->ec_decrypt, &cut, &back), ERR_SEGMENT_CORRUPT);
    free(copy);
  }
}

static void test_bytes_behind_the_end(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  encode_plain(k->ec, &object);
  buffer_append_byte(&object, 0);
  assert_int_equal(decode(k->ec_decrypt, &object, &back), ERR_SEGMENT_CORRUPT);
}

static void add_to_length(Buffer *object, size_t at, int change) {
  assert_int_equal(object->data[at - 1], 0x82); /* two bytes of length follow */
  int length = object->data[at] * 256 + object->data[at + 1] + change;
  object->data[at] = (uint8_t)(length >> 8);
  object->data[at + 1] = (uint8_t)length;
}

/* Re-makes the outer lengths after the tag was cut to `size` bytes: a well-formed object. */
static void shorten_tag(Buffer *object, int size) {
  int change = size - 16;
  object->data[object->size - 17] = (uint8_t)size;
  object->size -= (size_t)-change;
  add_to_length(object, 2, change);
  add_to_length(object, 19, change);
  add_to_length(object, 23, change);
}

/* With a tag of one byte, one in 256 altered objects would pass for whole. */
static void test_short_tags(void **state) {
  Keys *k = *state;
  for (int size = 16; size >= 0; size--) {
    CLEANUP(buffer_release) Buffer object = {0};
    CLEANUP(buffer_release) Buffer back = {0};
    encode_plain(k->ec, &object);
    shorten_tag(&object, size);
    assert_int_equal(decode(k->ec_decrypt, &object, &back), size == 16 ? STATUS_OK : ERR_SEGMENT_CORRUPT);
  }
}

/* Other ciphers' names in the place of AES-256-GCM's: no decryption without a tag. */
static void test_other_ciphers(void **state) {
  Keys *k = *state;
  static const uint8_t gcm[] = {0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01, 0x2e};
  for (int arc = 0; arc < 0x80; arc++) {
    if (arc == 0x2e)
      continue;
    CLEANUP(buffer_release) Buffer object = {0};
    CLEANUP(buffer_release) Buffer back = {0};
    encode_plain(k->ec, &object);
    uint8_t *at = memmem(object.data, object.size, gcm, sizeof gcm);
    assert_non_null(at);
    at[8] = (uint8_t)arc;
    assert_int_equal(decode(k->ec_decrypt, &object, &back), ERR_SEGMENT_CORRUPT);
  }
}

/* As segment_encode, but of any bytes, any cipher and any options. */
static void encrypt(const Keys *k, const void *data, size_t size, const EVP_CIPHER *cipher, unsigned flags,
                    Buffer *object) {
  CLEANUP_FCLOSE FILE *file = fopen(k->ec_crt, "re");
  STACK_OF(X509) *certificates = sk_X509_new_null();
  sk_X509_push(certificates, PEM_read_X509(file, NULL, NULL, NULL));
  BIO *in = BIO_new_mem_buf(data, (int)size), *sink = BIO_new(BIO_s_mem());
  CMS_ContentInfo *cms = CMS_encrypt(certificates, in, cipher, CMS_BINARY | flags);
  assert_non_null(cms);
  assert_int_equal(
      flags & CMS_STREAM ? i2d_CMS_bio_stream(sink, cms, in, CMS_BINARY | CMS_STREAM) : i2d_CMS_bio(sink, cms), 1);
  char *bytes = NULL;
  long length = BIO_get_mem_data(sink, &bytes);
  buffer_clear(object);
  buffer_append(object, bytes, (size_t)length);
  CMS_ContentInfo_free(cms);
  BIO_free(in);
  BIO_free(sink);
  sk_X509_pop_free(certificates, X509_free);
}

static void compress(const void *data, size_t size, Buffer *frame) {
  buffer_clear(frame);
  buffer_reserve(frame, ZSTD_compressBound(size));
  frame->size = ZSTD_compress(frame->data, frame->capacity, data, size, 3);
  assert_false(ZSTD_isError(frame->size));
}

static void test_other_envelopes(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer frame = {0};
  CLEANUP(buffer_release) Buffer object = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  compress(PLAIN, PLAIN_SIZE, &frame);
  encrypt(k, frame.data, frame.size, EVP_aes_256_gcm(), 0, &object);
  assert_int_equal(decode(k->ec_decrypt, &object, &back), STATUS_OK);
  buffer_clear(&back);
  encrypt(k, frame.data, frame.size, EVP_aes_256_cbc(), 0, &object); /* EnvelopedData: no tag at all */
  assert_int_equal(decode(k->ec_decrypt, &object, &back), ERR_SEGMENT_CORRUPT);
  encrypt(k, frame.data, frame.size, EVP_aes_128_gcm(), 0, &object);
  assert_int_equal(decode(k->ec_decrypt, &object, &back), ERR_SEGMENT_CORRUPT);
  encrypt(k, frame.data, frame.size, EVP_aes_256_gcm(), CMS_DETACHED, &object); /* its content elsewhere */
  assert_int_equal(decode(k->ec_decrypt, &object, &back), ERR_SEGMENT_CORRUPT);
  encrypt(k, frame.data, frame.size, EVP_aes_256_gcm(), CMS_STREAM, &object); /* BER, indefinite lengths */
  assert_int_equal(decode(k->ec_decrypt, &object, &back), ERR_SEGMENT_CORRUPT);
}

static Status decode_frame(const Keys *k, const void *frame, size_t size, size_t limit, Buffer *back) {
  Error err;
  CLEANUP(buffer_release) Buffer object = {0};
  encrypt(k, frame, size, EVP_aes_256_gcm(), 0, &object);
  Status status = segment_decode(k->ec_decrypt, object.data, object.size, limit, back, &err);
  if (status != STATUS_OK)
    assert_int_equal(back->size, 0);
  return status;
}

/* A frame that does not say how large it is. */
static void compress_unsized(const void *data, size_t size, Buffer *frame) {
  ZSTD_CCtx *ctx = ZSTD_createCCtx();
  ZSTD_CCtx_setParameter(ctx, ZSTD_c_contentSizeFlag, 0);
  buffer_clear(frame);
  buffer_reserve(frame, ZSTD_compressBound(size));
  frame->size = ZSTD_compress2(ctx, frame->data, frame->capacity, data, size);
  assert_false(ZSTD_isError(frame->size));
  ZSTD_freeCCtx(ctx);
}

static void test_limit_is_exact(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer plain = {0};
  CLEANUP(buffer_release) Buffer frame = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  fill_rows(&plain, 300000, 3);
  compress(plain.data, plain.size, &frame);
  assert_int_equal(decode_frame(k, frame.data, frame.size, plain.size - 1, &back), ERR_SEGMENT_CORRUPT);
  assert_int_equal(decode_frame(k, frame.data, frame.size, plain.size, &back), STATUS_OK);
  assert_int_equal(back.size, plain.size);
  assert_int_equal(decode_frame(k, frame.data, frame.size, SIZE_MAX, &back), STATUS_OK);
  compress_unsized(plain.data, plain.size, &frame);
  assert_int_equal(decode_frame(k, frame.data, frame.size, plain.size - 1, &back), ERR_SEGMENT_CORRUPT);
  assert_int_equal(decode_frame(k, frame.data, frame.size, plain.size, &back), STATUS_OK);
  assert_int_equal(back.size, plain.size);
}

static void test_bombs(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer frame = {0};
  enum { HUGE = 256 << 20 };
  void *zeros = calloc(1, HUGE);
  compress(zeros, HUGE, &frame);
  assert_true(frame.size < 100000);
  CLEANUP(buffer_release) Buffer sized = {0};
  assert_int_equal(decode_frame(k, frame.data, frame.size, LIMIT, &sized), ERR_SEGMENT_CORRUPT);
  assert_true(sized.capacity < 2 * LIMIT);
  compress_unsized(zeros, HUGE, &frame);
  CLEANUP(buffer_release) Buffer unsized = {0};
  assert_int_equal(decode_frame(k, frame.data, frame.size, LIMIT, &unsized), ERR_SEGMENT_CORRUPT);
  assert_true(unsized.capacity < 2 * LIMIT);
  free(zeros);
}

static void test_unsized_and_joined_frames(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer plain = {0};
  CLEANUP(buffer_release) Buffer frame = {0};
  CLEANUP(buffer_release) Buffer two = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  fill_rows(&plain, 900000, 3);
  compress_unsized(plain.data, plain.size, &frame);
  assert_int_equal(decode_frame(k, frame.data, frame.size, LIMIT, &back), STATUS_OK);
  assert_int_equal(back.size, plain.size);
  assert_memory_equal(back.data, plain.data, plain.size);
  buffer_append(&two, frame.data, frame.size);
  compress("and more", 8, &frame);
  buffer_append(&two, frame.data, frame.size);
  assert_int_equal(decode_frame(k, two.data, two.size, LIMIT, &back), STATUS_OK); /* as `zstd -d` has it */
  assert_int_equal(back.size, plain.size + 8);
}

static void test_content_that_is_no_frame(void **state) {
  Keys *k = *state;
  CLEANUP(buffer_release) Buffer frame = {0};
  CLEANUP(buffer_release) Buffer back = {0};
  assert_int_equal(decode_frame(k, "", 0, LIMIT, &back), ERR_SEGMENT_CORRUPT);
  assert_int_equal(decode_frame(k, "PGDMP", 5, LIMIT, &back), ERR_SEGMENT_CORRUPT);
  compress(PLAIN, PLAIN_SIZE, &frame);
  for (size_t size = 0; size < frame.size; size++)
    assert_int_equal(decode_frame(k, frame.data, size, LIMIT, &back), ERR_SEGMENT_CORRUPT);
  buffer_append_text(&frame, "x");
  assert_int_equal(decode_frame(k, frame.data, frame.size, LIMIT, &back), ERR_SEGMENT_CORRUPT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_flipped_bits_ec),
      cmocka_unit_test(test_flipped_bits_rsa),
      cmocka_unit_test(test_flipped_bits_two_recipients),
      cmocka_unit_test(test_cut_short),
      cmocka_unit_test(test_bytes_behind_the_end),
      cmocka_unit_test(test_short_tags),
      cmocka_unit_test(test_other_ciphers),
      cmocka_unit_test(test_other_envelopes),
      cmocka_unit_test(test_limit_is_exact),
      cmocka_unit_test(test_bombs),
      cmocka_unit_test(test_unsized_and_joined_frames),
      cmocka_unit_test(test_content_that_is_no_frame),
  };
  return cmocka_run_group_tests(tests, keys_setup, keys_teardown);
}
