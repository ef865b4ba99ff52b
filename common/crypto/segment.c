#include "common/crypto/segment.h"

#include <limits.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <zstd.h>

#include "common/base/cleanup.h"
#include "common/crypto/envelope.h"
#include "common/crypto/keys.h"

/* OpenSSL counts memory in int; the rest is for the envelope and its recipients. */
enum { OBJECT_LIMIT = INT_MAX - (1 << 20) };

static void free_bio(BIO **bio) {
  BIO_free_all(*bio);
}
static void free_cms(CMS_ContentInfo **cms) {
  CMS_ContentInfo_free(*cms);
}
static void free_zstd_out(ZSTD_CCtx **ctx) {
  ZSTD_freeCCtx(*ctx);
}
static void free_zstd_in(ZSTD_DCtx **ctx) {
  ZSTD_freeDCtx(*ctx);
}

static Status compress(int level, const void *plain, size_t size, Buffer *out, Error *err) {
  CLEANUP(free_zstd_out) ZSTD_CCtx *ctx = ZSTD_createCCtx();
  if (!ctx)
    return error_set(err, ERR_NO_MEMORY, "no memory to compress a segment");
  size_t refused = ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, level);
  if (!ZSTD_isError(refused))
    refused = ZSTD_CCtx_setParameter(ctx, ZSTD_c_checksumFlag, 1);
  if (ZSTD_isError(refused))
    return error_set(err, ERR_INTERNAL, "cannot set up zstd at level %d: %s", level, ZSTD_getErrorName(refused));
  buffer_clear(out);
  buffer_reserve(out, ZSTD_compressBound(size));
  size_t used = ZSTD_compress2(ctx, out->data, ZSTD_compressBound(size), plain, size);
  if (ZSTD_isError(used))
    return error_set(err, ERR_INTERNAL, "cannot compress a segment: %s", ZSTD_getErrorName(used));
  out->size = used;
  return STATUS_OK;
}

/* The envelope's frame, with recipients that know the key. *ctx, of *chain, is at its beginning. */
static Status begin_envelope(const Recipients *recipients, CMS_ContentInfo **cms, BIO **chain, EVP_CIPHER_CTX **ctx,
                             Buffer *frame, Error *err) {
  *cms = CMS_encrypt(recipients->certificates, NULL, EVP_aes_256_gcm(), CMS_BINARY | CMS_DETACHED | CMS_PARTIAL);
  *chain = *cms ? CMS_dataInit(*cms, NULL) : NULL;
  int length = *chain && BIO_get_cipher_ctx(*chain, ctx) > 0 ? i2d_CMS_ContentInfo(*cms, NULL) : 0;
  if (length <= 0)
    return crypto_error(err, ERR_INTERNAL, "cannot encrypt a segment");
  buffer_clear(frame);
  buffer_reserve(frame, (size_t)length);
  unsigned char *at = frame->data;
  frame->size = (size_t)length;
  return i2d_CMS_ContentInfo(*cms, &at) == length ? STATUS_OK
                                                  : crypto_error(err, ERR_INTERNAL, "cannot encrypt a segment");
}

/* CMS's own way with content is to copy it, some five times: only keys and recipients are left to it. */
static Status encrypt(const Recipients *recipients, const Buffer *packed, Buffer *out, Error *err) {
  if (packed->size > OBJECT_LIMIT)
    return error_set(err, ERR_INVALID_ARGUMENT, "%zu bytes are more than one encrypted object can hold", packed->size);
  CLEANUP(free_cms) CMS_ContentInfo *cms = NULL;
  CLEANUP(free_bio) BIO *chain = NULL;
  CLEANUP(buffer_release) Buffer frame = {0};
  EVP_CIPHER_CTX *ctx = NULL;
  Envelope parts;
  Status status = begin_envelope(recipients, &cms, &chain, &ctx, &frame, err);
  if (status)
    return status;
  if (!envelope_read_unsealed(frame.data, frame.size, &parts))
    return error_set(err, ERR_INTERNAL, "cannot encrypt a segment: OpenSSL writes another envelope than expected");
  size_t at;
  int done = 0, rest = 0;
  envelope_around(&parts, packed->size, out, &at);
  if (EVP_EncryptUpdate(ctx, out->data + at, &done, packed->data, (int)packed->size) != 1 ||
      EVP_EncryptFinal_ex(ctx, out->data + at + done, &rest) != 1 || (size_t)done + (size_t)rest != packed->size ||
      EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, ENVELOPE_TAG_SIZE, out->data + out->size - ENVELOPE_TAG_SIZE) !=
          1) {
    buffer_clear(out);
    return crypto_error(err, ERR_INTERNAL, "cannot encrypt a segment");
  }
  return STATUS_OK;
}

Status segment_encode(const Recipients *recipients, int level, const void *plain, size_t size, Buffer *out,
                      Error *err) {
  CLEANUP(buffer_release) Buffer packed = {0};
  Status status = compress(level, plain, size, &packed, err);
  return status ? status : encrypt(recipients, &packed, out, err);
}

static bool names_certificate(CMS_RecipientInfo *info, X509 *certificate) {
  int type = CMS_RecipientInfo_type(info);
  if (type == CMS_RECIPINFO_TRANS)
    return CMS_RecipientInfo_ktri_cert_cmp(info, certificate) == 0;
  if (type != CMS_RECIPINFO_AGREE)
    return false;
  STACK_OF(CMS_RecipientEncryptedKey) *keys = CMS_RecipientInfo_kari_get0_reks(info);
  for (int i = 0; i < sk_CMS_RecipientEncryptedKey_num(keys); i++)
    if (CMS_RecipientEncryptedKey_cert_cmp(sk_CMS_RecipientEncryptedKey_value(keys, i), certificate) == 0)
      return true;
  return false;
}

/* Told apart before anything is decrypted: "not for this key" says nothing about the object, "altered" condemns it. */
static bool is_recipient(CMS_ContentInfo *cms, X509 *certificate) {
  STACK_OF(CMS_RecipientInfo) *infos = CMS_get0_RecipientInfos(cms);
  for (int i = 0; i < sk_CMS_RecipientInfo_num(infos); i++)
    if (names_certificate(sk_CMS_RecipientInfo_value(infos, i), certificate))
      return true;
  return false;
}

static Status corrupt(Error *err, const char *what) {
  ERR_clear_error();
  return error_set(err, ERR_SEGMENT_CORRUPT, "%s", what);
}

static Status unwrap(const DecryptionKey *key, const Envelope *parts, CMS_ContentInfo **out, Error *err) {
  CLEANUP(buffer_release) Buffer frame = {0};
  envelope_frame(parts, &frame);
  const unsigned char *at = frame.data;
  CLEANUP(free_cms) CMS_ContentInfo *cms = d2i_CMS_ContentInfo(NULL, &at, (long)frame.size);
  if (!cms || OBJ_obj2nid(CMS_get0_type(cms)) != NID_id_smime_ct_authEnvelopedData || at != frame.data + frame.size)
    return corrupt(err, "the object's recipients cannot be read: it was altered");
  if (!is_recipient(cms, key->certificate))
    return error_set(err, ERR_KEY_MISMATCH,
                     "the object is not encrypted for this decryption key (certificate with SHA-256 %s)",
                     key->fingerprint);
  if (CMS_decrypt_set1_pkey(cms, key->key, key->certificate) != 1)
    return corrupt(err, "the object's key cannot be unwrapped: it was altered");
  *out = STEAL(cms);
  return STATUS_OK;
}

/* On failure nothing of the plaintext is used: the GCM tag is verified when decryption ends. */
static Status decrypt(const DecryptionKey *key, const void *data, size_t size, Buffer *packed, Error *err) {
  Envelope parts;
  if (size > INT_MAX)
    return corrupt(err, "the object is larger than any segment");
  if (!envelope_read(data, size, &parts))
    return corrupt(err,
                   "the object is not a whole CMS AuthEnvelopedData with AES-256-GCM: it was altered or cut short");
  CLEANUP(free_cms) CMS_ContentInfo *cms = NULL;
  CLEANUP(free_bio) BIO *chain = NULL;
  EVP_CIPHER_CTX *ctx = NULL;
  Status status = unwrap(key, &parts, &cms, err);
  if (status)
    return status;
  int done = 0, rest = 0;
  buffer_reserve(packed, parts.content_size);
  chain = CMS_dataInit(cms, NULL);
  if (!chain || BIO_get_cipher_ctx(chain, &ctx) <= 0 ||
      EVP_DecryptUpdate(ctx, packed->data, &done, parts.content, (int)parts.content_size) != 1 ||
      EVP_DecryptFinal_ex(ctx, packed->data + done, &rest) != 1)
    return corrupt(err, "the object does not decrypt: it was altered");
  packed->size = (size_t)done + (size_t)rest;
  ERR_clear_error();
  return STATUS_OK;
}

/* The frame says how large it is, which saves growing; but it is `limit` that bounds the memory, not its word. */
static Status prepare_output(const void *data, size_t size, size_t limit, Buffer *out, Error *err) {
  unsigned long long promised = ZSTD_getFrameContentSize(data, size);
  if (promised == ZSTD_CONTENTSIZE_ERROR)
    return corrupt(err, "the object holds no zstd frame");
  if (promised != ZSTD_CONTENTSIZE_UNKNOWN && promised > limit)
    return corrupt(err, "the object holds more than it may");
  buffer_clear(out);
  buffer_reserve(out, promised != ZSTD_CONTENTSIZE_UNKNOWN && promised > 0 ? (size_t)promised : ZSTD_DStreamOutSize());
  return STATUS_OK;
}

static Status decompress(const void *data, size_t size, size_t limit, Buffer *out, Error *err) {
  CLEANUP(free_zstd_in) ZSTD_DCtx *ctx = ZSTD_createDCtx();
  if (!ctx)
    return error_set(err, ERR_NO_MEMORY, "no memory to decompress a segment");
  Status status = prepare_output(data, size, limit, out, err);
  if (status)
    return status;
  ZSTD_inBuffer in = {data, size, 0};
  for (;;) {
    if (out->size == out->capacity) /* at most one step beyond the limit, where the check below ends it */
      buffer_reserve(out, (out->capacity < limit / 2 ? 2 * out->capacity : limit) + ZSTD_DStreamOutSize());
    ZSTD_outBuffer to = {out->data, out->capacity, out->size};
    size_t before_in = in.pos, before_out = to.pos;
    size_t rest = ZSTD_decompressStream(ctx, &to, &in);
    if (ZSTD_isError(rest))
      return corrupt(err, "the object does not decompress");
    out->size = to.pos;
    if (out->size > limit)
      return corrupt(err, "the object holds more than it may");
    if (rest == 0 && in.pos == in.size)
      return STATUS_OK;
    if (in.pos == before_in && to.pos == before_out)
      return corrupt(err, "the object's content is cut short");
  }
}

Status segment_decode(const DecryptionKey *key, const void *data, size_t size, size_t limit, Buffer *out, Error *err) {
  ERR_clear_error();
  CLEANUP(buffer_release) Buffer packed = {0};
  Status status = decrypt(key, data, size, &packed, err);
  if (status)
    return status;
  status = decompress(packed.data, packed.size, limit, out, err);
  if (status)
    buffer_clear(out);
  return status;
}
