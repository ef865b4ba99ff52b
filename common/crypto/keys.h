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

/* generate.c. Both files (private mode 0600, public 0644) or neither, never over existing ones. certificate NULL: the
 * public file holds the bare key. */
Status crypto_write_pair(const char *private_path, const char *public_path, EVP_PKEY *key, X509 *certificate,
                         Error *err) MUST_CHECK;
bool crypto_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value);
bool crypto_set_serial(X509 *certificate); /* 128 random bits */
bool crypto_set_name(X509 *certificate, const char *common_name);

#endif
