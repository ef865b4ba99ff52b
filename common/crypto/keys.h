/* What Recipients and DecryptionKey are made of. Internal to common/crypto. Read-only once loaded. */
#ifndef PGSEAL_COMMON_CRYPTO_KEYS_H
#define PGSEAL_COMMON_CRYPTO_KEYS_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>

#include "common/crypto/digest.h"
#include "common/crypto/segment.h"

struct Recipients {
  STACK_OF(X509) * certificates;
  char (*fingerprints)[SHA256_HEX_SIZE];
  size_t count;
};

struct DecryptionKey {
  EVP_PKEY *key;
  X509 *certificate;
  char fingerprint[SHA256_HEX_SIZE]; /* of the certificate */
};

/* Sets *err with OpenSSL's last reason appended, and clears OpenSSL's queue. */
Status crypto_error(Error *err, Status status, const char *what);
Status crypto_open_pem(const char *path, FILE **file, Error *err) MUST_CHECK;
Status crypto_load_private(const char *path, EVP_PKEY **out, Error *err) MUST_CHECK;

#endif
