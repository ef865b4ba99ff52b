#include "common/crypto/signing.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/crypto/keys.h"

struct SigningKey {
  EVP_PKEY *key;
  uint8_t public_key[PUBLIC_KEY_SIZE];
};

static void free_md(EVP_MD_CTX **ctx) {
  EVP_MD_CTX_free(*ctx);
}
static void free_pkey(EVP_PKEY **key) {
  EVP_PKEY_free(*key);
}

static bool raw_public(const EVP_PKEY *key, uint8_t out[PUBLIC_KEY_SIZE]) {
  size_t size = PUBLIC_KEY_SIZE;
  return EVP_PKEY_get_id(key) == EVP_PKEY_ED25519 && EVP_PKEY_get_raw_public_key(key, out, &size) == 1 &&
         size == PUBLIC_KEY_SIZE;
}

Status signing_key_load(const char *path, SigningKey **out, Error *err) {
  EVP_PKEY *key = NULL;
  Status status = crypto_load_private(path, &key, err);
  if (status)
    return status;
  SigningKey *signer = memory_alloc(sizeof *signer);
  signer->key = key;
  if (!raw_public(key, signer->public_key)) {
    signing_key_free(signer);
    ERR_clear_error();
    return error_set(err, ERR_KEY_UNREADABLE,
                     "%s is not an Ed25519 key; `pgseal key generate --kind signing` makes one", path);
  }
  *out = signer;
  return STATUS_OK;
}

void signing_key_free(SigningKey *key) {
  if (!key)
    return;
  EVP_PKEY_free(key->key);
  free(key);
}

void signing_key_public(const SigningKey *key, uint8_t out[PUBLIC_KEY_SIZE]) {
  memcpy(out, key->public_key, PUBLIC_KEY_SIZE);
}

/* "pgseal:<purpose>\0" + data. */
static void statement(Buffer *out, const char *purpose, const void *data, size_t size) {
  buffer_append_text(out, "pgseal:");
  buffer_append_text(out, purpose);
  buffer_append_byte(out, 0);
  buffer_append(out, data, size);
}

Status signing_sign(const SigningKey *key, const char *purpose, const void *data, size_t size,
                    uint8_t out[SIGNATURE_SIZE], Error *err) {
  CLEANUP(buffer_release) Buffer text = {0};
  statement(&text, purpose, data, size);
  CLEANUP(free_md) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  size_t length = SIGNATURE_SIZE;
  if (!ctx || EVP_DigestSignInit(ctx, NULL, NULL, NULL, key->key) != 1 ||
      EVP_DigestSign(ctx, out, &length, text.data, text.size) != 1)
    return crypto_error(err, ERR_INTERNAL, "cannot sign");
  return STATUS_OK;
}

bool signing_verify(const uint8_t public_key[PUBLIC_KEY_SIZE], const char *purpose, const void *data, size_t size,
                    const uint8_t signature[SIGNATURE_SIZE]) {
  CLEANUP(buffer_release) Buffer text = {0};
  statement(&text, purpose, data, size);
  CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, PUBLIC_KEY_SIZE);
  CLEANUP(free_md) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
  bool good = key && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
              EVP_DigestVerify(ctx, signature, SIGNATURE_SIZE, text.data, text.size) == 1;
  ERR_clear_error();
  return good;
}

Status signing_public_load(const char *path, uint8_t out[PUBLIC_KEY_SIZE], Error *err) {
  CLEANUP_FCLOSE FILE *file = NULL;
  Status status = crypto_open_pem(path, &file, err);
  if (status)
    return status;
  CLEANUP(free_pkey) EVP_PKEY *key = PEM_read_PUBKEY(file, NULL, NULL, NULL);
  if (key && raw_public(key, out))
    return STATUS_OK;
  ERR_clear_error();
  error_set(err, ERR_KEY_UNREADABLE, "%s holds no Ed25519 public key in PEM form", path);
  error_object(err, "%s", path);
  return err->status;
}
