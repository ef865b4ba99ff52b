/*
 * Ed25519 signatures (RFC 8032) by OpenSSL. Keys are PEM files (PKCS#8 private, SubjectPublicKeyInfo public);
 * a public key travels as its 32 raw bytes. Keys are read-only once loaded; any thread.
 * Every signature is over "pgseal:<purpose>\0" + data, so that one kind of statement never passes for another.
 */
#ifndef PGSEAL_COMMON_CRYPTO_SIGNING_H
#define PGSEAL_COMMON_CRYPTO_SIGNING_H

#include "common/base/buffer.h"

enum { SIGNATURE_SIZE = 64, PUBLIC_KEY_SIZE = 32, PUBLIC_KEY_HEX_SIZE = 65 };

typedef struct SigningKey SigningKey;
Status signing_key_load(const char *path, SigningKey **out, Error *err) MUST_CHECK;
void signing_key_free(SigningKey *key);
void signing_key_public(const SigningKey *key, uint8_t out[PUBLIC_KEY_SIZE]);
/* Purposes: "session", "manifest", "proof", "verdict", "trial", "report". */
Status signing_sign(const SigningKey *key, const char *purpose, const void *data, size_t size,
                    uint8_t out[SIGNATURE_SIZE], Error *err) MUST_CHECK;
bool signing_verify(const uint8_t public_key[PUBLIC_KEY_SIZE], const char *purpose, const void *data, size_t size,
                    const uint8_t signature[SIGNATURE_SIZE]);
Status signing_public_load(const char *pem_path, uint8_t out[PUBLIC_KEY_SIZE], Error *err) MUST_CHECK;

/* Key generation (CLI `key`, `dev`): files are created with O_EXCL; private ones mode 0600. */
Status signing_key_generate(const char *private_path, const char *public_path, Error *err) MUST_CHECK;
/* A self-signed EC P-256 certificate for encryption (keyAgreement) that `openssl cms` accepts as recipient. */
Status recipient_generate(const char *key_path, const char *certificate_path, const char *common_name, int days,
                          Error *err) MUST_CHECK;

#endif
