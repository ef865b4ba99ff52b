#include "common/crypto/digest.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "common/base/memory.h"
#include "common/base/text.h"

struct Sha256 {
  EVP_MD_CTX *ctx;
};

/* SHA-256 is part of every OpenSSL; that it refuses means a broken installation, and no digest may be made up. */
static void require(int ok) {
  if (!ok)
    abort();
}

void sha256(const void *data, size_t size, uint8_t out[SHA256_SIZE]) {
  require(EVP_Digest(data, size, out, NULL, EVP_sha256(), NULL));
}

void sha256_hex(const void *data, size_t size, char out[SHA256_HEX_SIZE]) {
  uint8_t digest[SHA256_SIZE];
  sha256(data, size, digest);
  text_hex(digest, sizeof digest, out);
}

Sha256 *sha256_new(void) {
  Sha256 *hash = memory_alloc(sizeof *hash);
  hash->ctx = EVP_MD_CTX_new();
  require(hash->ctx && EVP_DigestInit_ex(hash->ctx, EVP_sha256(), NULL));
  return hash;
}

void sha256_free(Sha256 *hash) {
  if (!hash)
    return;
  EVP_MD_CTX_free(hash->ctx);
  free(hash);
}

void sha256_update(Sha256 *hash, const void *data, size_t size) {
  require(EVP_DigestUpdate(hash->ctx, data, size));
}

void sha256_finish(Sha256 *hash, uint8_t out[SHA256_SIZE]) {
  require(EVP_DigestFinal_ex(hash->ctx, out, NULL) && EVP_DigestInit_ex(hash->ctx, NULL, NULL));
}
