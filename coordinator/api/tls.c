#include "coordinator/api/tls.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { PEM_LIMIT = 256 << 10, KEY_ID_SIZE = 64 };
#define SECOND_US ((int64_t)1000000)
#define SOON_US (7 * 86400 * SECOND_US)

static Status failure(int code, const char *path, const char *what, Error *err) {
  error_set(err, ERR_CONFIG, "tls: %s is no %s: %s", path, what, gnutls_strerror(code));
  error_object(err, "%s", path);
  error_remedy(err,
               "`tls.certificate` is a PEM file with the certificate and those between it and its CA, in this order; "
               "`tls.key` its private key, without a passphrase.");
  return ERR_CONFIG;
}

static Status read_pem(const char *path, Buffer *pem, gnutls_datum_t *datum, Error *err) {
  Error cause;
  if (file_read(path, PEM_LIMIT, pem, &cause) != STATUS_OK) {
    error_set(err, ERR_CONFIG, "tls: %s", cause.message);
    error_object(err, "%s", path);
    error_remedy(err,
                 "Check the paths under `tls` in coordinator.yaml, and that the coordinator's user may read them.");
    return ERR_CONFIG;
  }
  *datum = (gnutls_datum_t){pem->data, (unsigned)pem->size};
  return STATUS_OK;
}

static void pem_release(Buffer *pem) {
  if (pem->data)
    explicit_bzero(pem->data, pem->size);
  buffer_release(pem);
}

static void certificate_release(gnutls_x509_crt_t *certificate) {
  if (*certificate)
    gnutls_x509_crt_deinit(*certificate);
}

static Status load_chain(const char *path, Credentials *credentials, Error *err) {
  CLEANUP(pem_release) Buffer pem = {0};
  CLEANUP(certificate_release) gnutls_x509_crt_t first = NULL;
  gnutls_datum_t datum;
  Status status = read_pem(path, &pem, &datum, err);
  if (status)
    return status;
  unsigned count = TLS_CHAIN_LIMIT;
  int code = gnutls_pcert_list_import_x509_raw(credentials->chain, &count, &datum, GNUTLS_X509_FMT_PEM, 0);
  if (code < 0)
    return failure(code, path, "certificate", err);
  credentials->count = count;
  code = gnutls_pcert_export_x509(&credentials->chain[0], &first);
  if (code < 0)
    return failure(code, path, "certificate", err);
  credentials->expires_us = (int64_t)gnutls_x509_crt_get_expiration_time(first) * SECOND_US;
  gnutls_datum_t subject = {0};
  if (gnutls_x509_crt_get_dn3(first, &subject, 0) == 0)
    credentials->names = memory_strndup((const char *)subject.data, subject.size);
  gnutls_free(subject.data);
  return STATUS_OK;
}

static Status load_key(const char *path, Credentials *credentials, Error *err) {
  CLEANUP(pem_release) Buffer pem = {0};
  gnutls_datum_t datum;
  Status status = read_pem(path, &pem, &datum, err);
  if (status)
    return status;
  int code = gnutls_privkey_init(&credentials->key);
  if (code == 0)
    code = gnutls_privkey_import_x509_raw(credentials->key, &datum, GNUTLS_X509_FMT_PEM, NULL, 0);
  return code < 0 ? failure(code, path, "private key", err) : STATUS_OK;
}

/* While the two files are being replaced they may not belong together. */
static Status check_pair(const Credentials *credentials, const char *certificate, const char *key, Error *err) {
  gnutls_pubkey_t public = NULL;
  unsigned char ids[2][KEY_ID_SIZE];
  size_t sizes[2] = {KEY_ID_SIZE, KEY_ID_SIZE};
  int code = gnutls_pubkey_init(&public);
  if (code == 0)
    code = gnutls_pubkey_import_privkey(public, credentials->key, 0, 0);
  if (code == 0)
    code = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, ids[0], &sizes[0]);
  if (code == 0)
    code = gnutls_pubkey_get_key_id(credentials->chain[0].pubkey, GNUTLS_KEYID_USE_SHA256, ids[1], &sizes[1]);
  gnutls_pubkey_deinit(public);
  if (code < 0)
    return failure(code, key, "private key", err);
  if (sizes[0] == sizes[1] && memcmp(ids[0], ids[1], sizes[0]) == 0)
    return STATUS_OK;
  error_set(err, ERR_CONFIG, "tls: the key %s is not that of the certificate %s", key, certificate);
  error_remedy(err,
               "The first certificate in the file must be the coordinator's own, not its CA's; and the key its key.");
  return ERR_CONFIG;
}

Status tls_load(const char *certificate, const char *key, Credentials **out, Error *err) {
  Credentials *credentials = memory_alloc(sizeof *credentials);
  credentials->references = 1;
  Status status = load_chain(certificate, credentials, err);
  if (!status)
    status = load_key(key, credentials, err);
  if (!status)
    status = check_pair(credentials, certificate, key, err);
  if (status) {
    tls_release(credentials);
    return status;
  }
  *out = credentials;
  return STATUS_OK;
}

Credentials *tls_reference(Credentials *credentials) {
  if (credentials)
    credentials->references++;
  return credentials;
}

void tls_release(Credentials *credentials) {
  if (!credentials || --credentials->references > 0)
    return;
  for (unsigned i = 0; i < credentials->count; i++)
    gnutls_pcert_deinit(&credentials->chain[i]);
  if (credentials->key)
    gnutls_privkey_deinit(credentials->key);
  free(credentials->names);
  free(credentials);
}

void tls_log(const Credentials *credentials, const char *certificate) {
  char until[CLOCK_TEXT_SIZE];
  int64_t left = credentials->expires_us - clock_wall_us();
  clock_format(credentials->expires_us, until);
  const char *subject = credentials->names ? credentials->names : "";
  if (left <= 0)
    log_error("the certificate of the API has expired: clients will refuse it", "certificate", certificate, "subject",
              subject, "expired", until, NULL);
  else if (left < SOON_US)
    log_warn("the certificate of the API expires soon", "certificate", certificate, "subject", subject, "expires",
             until, NULL);
  else
    log_info("certificate of the API", "certificate", certificate, "subject", subject, "expires", until, NULL);
}

uint64_t tls_stamp(const char *certificate, const char *key) {
  uint64_t first = file_stamp(certificate), second = file_stamp(key);
  return first && second ? (first * 31 + second) | 1 : 0;
}
