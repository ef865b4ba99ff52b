/*
 * Segment codec: plaintext <-> zstd -> CMS AuthEnvelopedData (RFC 5083, RFC 5084: AES-256-GCM; DER), as
 * `openssl cms -decrypt -inform DER | zstd -d` opens it. Recipients are X.509 certificates (RSA or EC).
 *
 * Recipients and keys are read-only once loaded and may be shared by threads; encode and decode are pure.
 */
#ifndef PGSEAL_COMMON_CRYPTO_SEGMENT_H
#define PGSEAL_COMMON_CRYPTO_SEGMENT_H

#include "common/base/buffer.h"

typedef struct Recipients Recipients;
/* Loads PEM certificates with RSA or EC keys. Expired ones are accepted (data must stay readable).
 * ERR_KEY_UNREADABLE names the file. */
Status recipients_load(const char *const *paths, size_t count, Recipients **out, Error *err) MUST_CHECK;
void recipients_free(Recipients *recipients);
/* Hex SHA-256 fingerprints of the certificates, for the manifest. Static for the object's life. */
size_t recipients_count(const Recipients *recipients);
int64_t recipients_not_after(const Recipients *recipients, size_t index); /* wall clock, microseconds */
const char *recipients_fingerprint(const Recipients *recipients, size_t index);

typedef struct DecryptionKey DecryptionKey;
/* PEM private key, and its certificate in the same file or in `certificate_path` (may be NULL). */
Status decryption_key_load(const char *key_path, const char *certificate_path, DecryptionKey **out,
                           Error *err) MUST_CHECK;
void decryption_key_free(DecryptionKey *key);

/* zstd at `level` (checksum flag on), then CMS to all recipients. Output replaces *out. ERR_INVALID_ARGUMENT if it is
 * more than about 2 GiB compressed. */
Status segment_encode(const Recipients *recipients, int level, const void *plain, size_t size, Buffer *out,
                      Error *err) MUST_CHECK;

/* The reverse; *out is replaced, and empty or as it was on failure. At most `limit` plaintext bytes, whatever the
 * object claims. ERR_KEY_MISMATCH if the key is no recipient, ERR_SEGMENT_CORRUPT if it was altered: nothing of a
 * segment is handed out unless its tag verified. The tag covers the content, not the list of recipients in front of it
 * (CMS has it so): that an object is the very one that was stored is for the SHA-256 in the signed manifest to say, and
 * the caller to check. Neither call retries or blocks; several threads may share one key. */
Status segment_decode(const DecryptionKey *key, const void *data, size_t size, size_t limit, Buffer *out,
                      Error *err) MUST_CHECK;

#endif
