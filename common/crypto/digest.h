/* SHA-256 over OpenSSL's EVP. One Sha256 belongs to one thread at a time. */
#ifndef PGSEAL_COMMON_CRYPTO_DIGEST_H
#define PGSEAL_COMMON_CRYPTO_DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_SIZE = 32, SHA256_HEX_SIZE = 65 };

void sha256(const void *data, size_t size, uint8_t out[SHA256_SIZE]);
void sha256_hex(const void *data, size_t size, char out[SHA256_HEX_SIZE]);

typedef struct Sha256 Sha256;
Sha256 *sha256_new(void);
void sha256_free(Sha256 *ctx);
void sha256_update(Sha256 *ctx, const void *data, size_t size);
void sha256_finish(Sha256 *ctx, uint8_t out[SHA256_SIZE]); /* and starts anew */

#endif
