/* Loading recipients' certificates and the decryption key. */
#include "common/crypto/keys.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

Status crypto_error(Error *err, Status status, const char *what) {
  char reason[160] = "no reason given";
  unsigned long code = ERR_peek_last_error();
  if (code)
    ERR_error_string_n(code, reason, sizeof reason);
  ERR_clear_error();
  return error_set(err, status, "%s (%s)", what, reason);
}

Status crypto_open_pem(const char *path, FILE **file, Error *err) {
  *file = fopen(path, "re");
  if (*file)
    return STATUS_OK;
  error_set(err, ERR_KEY_UNREADABLE, "cannot open %s: %s", path, strerror(errno));
  error_object(err, "%s", path);
  return err->status;
}

static Status load_certificate(const char *path, X509 **out, Error *err) {
  CLEANUP_FCLOSE FILE *file = NULL;
  Status status = crypto_open_pem(path, &file, err);
  if (status)
    return status;
  *out = PEM_read_X509(file, NULL, NULL, NULL);
  if (*out)
    return STATUS_OK;
  ERR_clear_error();
  error_set(err, ERR_KEY_UNREADABLE, "%s holds no certificate in PEM form", path);
  error_object(err, "%s", path);
  return err->status;
}

static void fingerprint_of(const X509 *certificate, char out[SHA256_HEX_SIZE]) {
  uint8_t digest[SHA256_SIZE] = {0};
  unsigned size = sizeof digest;
  X509_digest(certificate, EVP_sha256(), digest, &size);
  text_hex(digest, sizeof digest, out);
}

/* Refused here with the file's name, rather than by the first dump with OpenSSL's words. */
static Status check_usable(const X509 *certificate, const char *path, Error *err) {
  const EVP_PKEY *key = X509_get0_pubkey(certificate);
  int type = key ? EVP_PKEY_get_base_id(key) : EVP_PKEY_NONE;
  if (type == EVP_PKEY_RSA || type == EVP_PKEY_EC)
    return STATUS_OK;
  ERR_clear_error();
  error_set(err, ERR_KEY_UNREADABLE, "the certificate %s has a key that cannot be encrypted to", path);
  error_remedy(err, "Use an RSA or EC certificate; `pgseal key generate --kind recipient` makes one.");
  error_object(err, "%s", path);
  return err->status;
}

Status recipients_load(const char *const *paths, size_t count, Recipients **out, Error *err) {
  if (count == 0)
    return error_set(err, ERR_KEY_UNREADABLE, "no recipient certificates: nobody could open the checkpoint");
  Recipients *recipients = memory_alloc(sizeof *recipients);
  recipients->certificates = sk_X509_new_null();
  recipients->fingerprints = memory_alloc(count * sizeof *recipients->fingerprints);
  for (size_t i = 0; i < count; i++) {
    X509 *certificate = NULL;
    Status status = load_certificate(paths[i], &certificate, err);
    if (!status)
      status = check_usable(certificate, paths[i], err);
    if (status) {
      X509_free(certificate);
      recipients_free(recipients);
      return status;
    }
    sk_X509_push(recipients->certificates, certificate);
    fingerprint_of(certificate, recipients->fingerprints[recipients->count++]);
  }
  *out = recipients;
  return STATUS_OK;
}

void recipients_free(Recipients *recipients) {
  if (!recipients)
    return;
  sk_X509_pop_free(recipients->certificates, X509_free);
  free(recipients->fingerprints);
  free(recipients);
}

size_t recipients_count(const Recipients *recipients) {
  return recipients->count;
}

int64_t recipients_not_after(const Recipients *recipients, size_t index) {
  struct tm when = {0};
  const ASN1_TIME *end = X509_get0_notAfter(sk_X509_value(recipients->certificates, (int)index));
  return ASN1_TIME_to_tm(end, &when) == 1 ? (int64_t)timegm(&when) * 1000000 : INT64_MAX;
}

const char *recipients_fingerprint(const Recipients *recipients, size_t index) {
  return recipients->fingerprints[index];
}

/* An encrypted key would ask on the terminal; a daemon cannot be asked. */
static int no_passphrase(char *buffer, int size, int writing, void *user) {
  (void)buffer, (void)size, (void)writing, (void)user;
  return -1;
}

Status crypto_load_private(const char *path, EVP_PKEY **out, Error *err) {
  CLEANUP_FCLOSE FILE *file = NULL;
  Status status = crypto_open_pem(path, &file, err);
  if (status)
    return status;
  *out = PEM_read_PrivateKey(file, NULL, no_passphrase, NULL);
  if (*out)
    return STATUS_OK;
  ERR_clear_error();
  error_set(err, ERR_KEY_UNREADABLE, "%s holds no private key in PEM form without a passphrase", path);
  error_object(err, "%s", path);
  return err->status;
}

Status decryption_key_load(const char *key_path, const char *certificate_path, DecryptionKey **out, Error *err) {
  DecryptionKey *key = memory_alloc(sizeof *key);
  Status status = crypto_load_private(key_path, &key->key, err);
  if (!status)
    status = load_certificate(certificate_path ? certificate_path : key_path, &key->certificate, err);
  if (!status)
    status = check_usable(key->certificate, certificate_path ? certificate_path : key_path, err);
  if (!status && X509_check_private_key(key->certificate, key->key) != 1) {
    ERR_clear_error();
    status = error_set(err, ERR_KEY_UNREADABLE, "the key %s does not belong to the certificate %s", key_path,
                       certificate_path ? certificate_path : key_path);
    error_object(err, "%s", key_path);
  }
  if (status) {
    decryption_key_free(key);
    return status;
  }
  fingerprint_of(key->certificate, key->fingerprint);
  *out = key;
  return STATUS_OK;
}

void decryption_key_free(DecryptionKey *key) {
  if (!key)
    return;
  EVP_PKEY_free(key->key);
  X509_free(key->certificate);
  free(key);
}
