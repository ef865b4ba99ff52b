#include "common/crypto/authority.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/keys.h"

struct Authority {
  EVP_PKEY *key; /* NULL: not here */
  X509 *certificate;
  char *pem;
};

static void free_pkey(EVP_PKEY **key) {
  EVP_PKEY_free(*key);
}
static void free_x509(X509 **certificate) {
  X509_free(*certificate);
}
static void free_request(X509_REQ **request) {
  X509_REQ_free(*request);
}
static void free_crl(X509_CRL **crl) {
  X509_CRL_free(*crl);
}
static void free_bio(BIO **bio) {
  BIO_free(*bio);
}

void secret_text_free(char **text) {
  if (*text)
    explicit_bzero(*text, strlen(*text));
  free(*text);
  *text = NULL;
}

/* ---- texts ---- */

static X509 *parse_certificate(const char *pem) {
  CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(pem, -1);
  return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

static char *bio_text(BIO *bio) {
  char *data;
  long size = BIO_get_mem_data(bio, &data);
  return memory_strndup(data, size > 0 ? (size_t)size : 0);
}

static char *certificate_text(const X509 *certificate) {
  CLEANUP(free_bio) BIO *bio = BIO_new(BIO_s_mem());
  return bio && PEM_write_bio_X509(bio, (X509 *)certificate) == 1 ? bio_text(bio) : NULL;
}

static void serial_text(const X509 *certificate, char out[SERIAL_HEX_SIZE]) {
  const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
  int size = ASN1_STRING_length(serial);
  out[0] = 0;
  if (size > 0 && size <= (SERIAL_HEX_SIZE - 1) / 2)
    text_hex(ASN1_STRING_get0_data(serial), (size_t)size, out);
}

static int64_t time_us(const ASN1_TIME *time) {
  struct tm parts = {0};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? (int64_t)timegm(&parts) * 1000000 : 0;
}

static void digest_text(const X509 *certificate, char out[SHA256_HEX_SIZE]) {
  uint8_t digest[SHA256_SIZE] = {0};
  unsigned size = sizeof digest;
  X509_digest(certificate, EVP_sha256(), digest, &size);
  text_hex(digest, sizeof digest, out);
}

Status authority_fingerprint_of(const char *pem, char out[SHA256_HEX_SIZE], Error *err) {
  CLEANUP(free_x509) X509 *certificate = parse_certificate(pem);
  if (!certificate)
    return crypto_error(err, ERR_INVALID_ARGUMENT, "not a certificate in PEM form");
  digest_text(certificate, out);
  return STATUS_OK;
}

Status certificate_facts(const char *pem, CertificateFacts *out, Error *err) {
  CLEANUP(free_x509) X509 *certificate = parse_certificate(pem);
  if (!certificate)
    return crypto_error(err, ERR_KEY_UNREADABLE, "not a certificate in PEM form");
  CertificateFacts facts = {0};
  serial_text(certificate, facts.serial);
  X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, facts.name, sizeof facts.name);
  facts.begins_us = time_us(X509_get0_notBefore(certificate));
  facts.expires_us = time_us(X509_get0_notAfter(certificate));
  *out = facts;
  return STATUS_OK;
}

bool certificate_has_key(const char *pem, const char *key_pem) {
  CLEANUP(free_x509) X509 *certificate = parse_certificate(pem);
  CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(key_pem, -1);
  CLEANUP(free_pkey) EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
  bool good = certificate && key && X509_check_private_key(certificate, key) == 1;
  ERR_clear_error();
  return good;
}

/* ---- the authority ---- */

static bool begin(X509 *certificate, const char *name, EVP_PKEY *key, int64_t seconds) {
  return X509_set_version(certificate, X509_VERSION_3) == 1 && crypto_set_serial(certificate) &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -AUTHORITY_SKEW_SECONDS) &&
         X509_time_adj_ex(X509_getm_notAfter(certificate), (int)(seconds / 86400), (long)(seconds % 86400), NULL) &&
         crypto_set_name(certificate, name) && X509_set_pubkey(certificate, key) == 1;
}

static bool fill_authority(X509 *certificate, const char *name, EVP_PKEY *key, int days) {
  return begin(certificate, name, key, (int64_t)days * 86400) &&
         X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
         crypto_add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
         crypto_add_extension(certificate, certificate, NID_key_usage, "critical,keyCertSign,cRLSign") &&
         crypto_add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
         X509_sign(certificate, key, EVP_sha256()) > 0;
}

Status authority_generate(const char *key_path, const char *certificate_path, const char *common_name, int days,
                          Error *err) {
  CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
  CLEANUP(free_x509) X509 *certificate = X509_new();
  if (!key || !certificate || !fill_authority(certificate, common_name, key, days))
    return crypto_error(err, ERR_INTERNAL, "cannot make a certificate authority");
  return crypto_write_pair(key_path, certificate_path, key, certificate, err);
}

void authority_free(Authority *authority) {
  if (!authority)
    return;
  EVP_PKEY_free(authority->key);
  X509_free(authority->certificate);
  free(authority->pem);
  free(authority);
}

static void cleanup_authority(Authority **authority) {
  authority_free(*authority);
}

Status authority_load(const char *certificate_path, const char *key_path, Authority **out, Error *err) {
  CLEANUP(cleanup_authority) Authority *authority = memory_alloc(sizeof *authority);
  CLEANUP_FREE char *text = NULL;
  Status status = file_read_text(certificate_path, PEM_LIMIT, &text, err);
  if (status)
    return status;
  authority->certificate = parse_certificate(text);
  if (!authority->certificate || X509_check_ca(authority->certificate) != 1) {
    ERR_clear_error();
    error_set(err, ERR_KEY_UNREADABLE, "%s holds no certificate of an authority in PEM form", certificate_path);
    error_object(err, "%s", certificate_path);
    return err->status;
  }
  if (key_path)
    status = crypto_load_private(key_path, &authority->key, err);
  if (status)
    return status;
  if (key_path && X509_check_private_key(authority->certificate, authority->key) != 1) {
    ERR_clear_error();
    error_set(err, ERR_KEY_UNREADABLE, "the key %s does not belong to the certificate %s", key_path, certificate_path);
    error_object(err, "%s", key_path);
    return err->status;
  }
  authority->pem = certificate_text(authority->certificate);
  *out = STEAL(authority);
  return STATUS_OK;
}

const char *authority_pem(const Authority *authority) {
  return authority->pem;
}

void authority_fingerprint(const Authority *authority, char out[SHA256_HEX_SIZE]) {
  digest_text(authority->certificate, out);
}

/* ---- what it issues ---- */

static Status check_key(const Authority *authority, Error *err) {
  if (authority->key)
    return STATUS_OK;
  error_set(err, ERR_CONFIG, "the key of the certificate authority is not on this coordinator");
  error_remedy(err, "Name it as bus_tls.ca_key in coordinator.yaml, or ask the coordinator that has it.");
  return err->status;
}

static bool sign(const Authority *authority, X509 *certificate) {
  return X509_set_issuer_name(certificate, X509_get_subject_name(authority->certificate)) == 1 &&
         crypto_add_extension(certificate, authority->certificate, NID_basic_constraints, "critical,CA:FALSE") &&
         crypto_add_extension(certificate, authority->certificate, NID_key_usage, "critical,digitalSignature") &&
         crypto_add_extension(certificate, authority->certificate, NID_subject_key_identifier, "hash") &&
         crypto_add_extension(certificate, authority->certificate, NID_authority_key_identifier, "keyid:always") &&
         X509_sign(certificate, authority->key, EVP_sha256()) > 0;
}

static bool is_address(const char *host) {
  uint8_t address[16];
  return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

bool authority_host_valid(const char *host) {
  size_t size = strlen(host);
  return is_address(host) ||
         (size > 0 && size < 254 &&
          strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-*") == size);
}

static bool fill_coordinator(const Authority *authority, X509 *certificate, EVP_PKEY *key, const char *const *hosts,
                             size_t count, int days) {
  CLEANUP(buffer_release) Buffer names = {0};
  buffer_append_text(&names, "DNS:" AUTHORITY_COORDINATOR_NAME);
  for (size_t i = 0; i < count; i++)
    buffer_append_format(&names, ",%s:%s", is_address(hosts[i]) ? "IP" : "DNS", hosts[i]);
  return begin(certificate, "pgseal coordinator", key, (int64_t)days * 86400) &&
         crypto_add_extension(certificate, authority->certificate, NID_ext_key_usage, "serverAuth") &&
         crypto_add_extension(certificate, authority->certificate, NID_subject_alt_name, buffer_text(&names)) &&
         sign(authority, certificate);
}

Status authority_issue_coordinator(const Authority *authority, const char *key_path, const char *certificate_path,
                                   const char *const *hosts, size_t count, int days, Error *err) {
  Status status = check_key(authority, err);
  if (status)
    return status;
  for (size_t i = 0; i < count; i++)
    if (!authority_host_valid(hosts[i]))
      return error_set(err, ERR_INVALID_ARGUMENT, "'%s' is neither a host's name nor an IP address", hosts[i]);
  CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
  CLEANUP(free_x509) X509 *certificate = X509_new();
  if (!key || !certificate || !fill_coordinator(authority, certificate, key, hosts, count, days))
    return crypto_error(err, ERR_INTERNAL, "cannot make the coordinator's certificate");
  return crypto_write_pair(key_path, certificate_path, key, certificate, err);
}

static bool is_p256(const EVP_PKEY *key) {
  char group[32] = "";
  return key && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 && strcmp(group, SN_X9_62_prime256v1) == 0;
}

void issued_release(Issued *issued) {
  free(issued->pem);
  *issued = (Issued){0};
}

Status authority_issue_agent(const Authority *authority, const char *request_pem, const char *name, int64_t seconds,
                             Issued *out, Error *err) {
  Status status = check_key(authority, err);
  if (status)
    return status;
  CLEANUP(free_bio) BIO *bio = BIO_new_mem_buf(request_pem, -1);
  CLEANUP(free_request) X509_REQ *request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
  EVP_PKEY *key = request ? X509_REQ_get0_pubkey(request) : NULL;
  if (!is_p256(key) || X509_REQ_verify(request, key) != 1) {
    ERR_clear_error();
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "not a certificate request in PEM form, signed by an EC P-256 key of its own");
  }
  CLEANUP(free_x509) X509 *certificate = X509_new();
  if (!certificate || !begin(certificate, name, key, seconds) ||
      !crypto_add_extension(certificate, authority->certificate, NID_ext_key_usage, "clientAuth") ||
      !sign(authority, certificate))
    return crypto_error(err, ERR_INTERNAL, "cannot make the agent's certificate");
  Issued issued = {.pem = certificate_text(certificate), .expires_us = time_us(X509_get0_notAfter(certificate))};
  serial_text(certificate, issued.serial);
  *out = issued;
  return STATUS_OK;
}

/* The list is made anew whenever it is needed and never travels: its times mean nothing. But mbedTLS lets nobody in by
 * a list of the future or the past, and takes a revocation for one only once its time is past: so they are such that no
 * clock that is set, forth or back, makes a difference. 2000 and 2999. */
#define LIST_FROM ((time_t)946684800)
#define LIST_UNTIL ((time_t)32472144000)

static bool add_revoked(X509_CRL *crl, const char *serial) {
  BIGNUM *number = NULL;
  ASN1_INTEGER *integer = BN_hex2bn(&number, serial) > 0 ? BN_to_ASN1_INTEGER(number, NULL) : NULL;
  X509_REVOKED *revoked = X509_REVOKED_new();
  ASN1_TIME *when = ASN1_TIME_set(NULL, LIST_FROM);
  bool good = integer && revoked && when && X509_REVOKED_set_serialNumber(revoked, integer) == 1 &&
              X509_REVOKED_set_revocationDate(revoked, when) == 1 && X509_CRL_add0_revoked(crl, revoked) == 1;
  if (!good)
    X509_REVOKED_free(revoked);
  ASN1_TIME_free(when);
  ASN1_INTEGER_free(integer);
  BN_free(number);
  return good;
}

static bool fill_revocations(const Authority *authority, X509_CRL *crl, const char *const *serials, size_t count) {
  ASN1_TIME *from = ASN1_TIME_set(NULL, LIST_FROM), *until = ASN1_TIME_set(NULL, LIST_UNTIL);
  bool good = from && until && X509_CRL_set_version(crl, 1) == 1 &&
              X509_CRL_set_issuer_name(crl, X509_get_subject_name(authority->certificate)) == 1 &&
              X509_CRL_set1_lastUpdate(crl, from) == 1 && X509_CRL_set1_nextUpdate(crl, until) == 1;
  for (size_t i = 0; good && i < count; i++)
    good = add_revoked(crl, serials[i]);
  ASN1_TIME_free(from);
  ASN1_TIME_free(until);
  return good && X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, authority->key, EVP_sha256()) > 0;
}

Status authority_revocations(const Authority *authority, const char *const *serials, size_t count, char **pem,
                             Error *err) {
  Status status = check_key(authority, err);
  if (status)
    return status;
  CLEANUP(free_crl) X509_CRL *crl = X509_CRL_new();
  CLEANUP(free_bio) BIO *bio = BIO_new(BIO_s_mem());
  if (!crl || !bio || !fill_revocations(authority, crl, serials, count) || PEM_write_bio_X509_CRL(bio, crl) != 1)
    return crypto_error(err, ERR_INTERNAL, "cannot make the list of revoked certificates");
  *pem = bio_text(bio);
  return STATUS_OK;
}

/* ---- the agent's side ---- */

static bool fill_request(X509_REQ *request, EVP_PKEY *key, const char *name) {
  return X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
         X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8,
                                    (const unsigned char *)name, -1, -1, 0) == 1 &&
         X509_REQ_set_pubkey(request, key) == 1 && X509_REQ_sign(request, key, EVP_sha256()) > 0;
}

Status certificate_request(const char *name, char **key_pem, char **request_pem, Error *err) {
  CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
  CLEANUP(free_request) X509_REQ *request = X509_REQ_new();
  CLEANUP(free_bio) BIO *secret = BIO_new(BIO_s_secmem());
  CLEANUP(free_bio) BIO *open = BIO_new(BIO_s_mem());
  if (!key || !request || !secret || !open || !fill_request(request, key, name) ||
      PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) != 1 ||
      PEM_write_bio_X509_REQ(open, request) != 1)
    return crypto_error(err, ERR_INTERNAL, "cannot make a key and a certificate request");
  *key_pem = bio_text(secret);
  *request_pem = bio_text(open);
  return STATUS_OK;
}
