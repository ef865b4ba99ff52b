#include "common/crypto/self_signed.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"
#include "common/crypto/keys.h"

enum { SELF_SIGNED_DAYS = 2 };

static void free_pkey(EVP_PKEY **key) {
  EVP_PKEY_free(*key);
}
static void free_x509(X509 **certificate) {
  X509_free(*certificate);
}
static void free_bio(BIO **bio) {
  BIO_free(*bio);
}

static bool fill(X509 *certificate, EVP_PKEY *key, const char *common_name) {
  return X509_set_version(certificate, X509_VERSION_3) == 1 && crypto_set_serial(certificate) &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -AUTHORITY_SKEW_SECONDS) &&
         X509_time_adj_ex(X509_getm_notAfter(certificate), SELF_SIGNED_DAYS, 0, NULL) &&
         crypto_set_name(certificate, common_name) &&
         X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
         X509_set_pubkey(certificate, key) == 1 &&
         /* it is its own authority: that is how a client is told of it */
         crypto_add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
         crypto_add_extension(certificate, certificate, NID_key_usage, "critical,digitalSignature,keyCertSign") &&
         crypto_add_extension(certificate, certificate, NID_ext_key_usage, "serverAuth") &&
         crypto_add_extension(certificate, certificate, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1") &&
         X509_sign(certificate, key, EVP_sha256()) > 0;
}

static char *bio_text(BIO *bio) {
  char *data = NULL;
  long size = BIO_get_mem_data(bio, &data);
  return memory_strndup(data, (size_t)size);
}

Status certificate_self_signed(const char *common_name, char **key_pem, char **certificate_pem, Error *err) {
  CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
  CLEANUP(free_x509) X509 *certificate = X509_new();
  CLEANUP(free_bio) BIO *secret = BIO_new(BIO_s_secmem());
  CLEANUP(free_bio) BIO *open = BIO_new(BIO_s_mem());
  if (!key || !certificate || !secret || !open || !fill(certificate, key, common_name) ||
      PEM_write_bio_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL) != 1 ||
      PEM_write_bio_X509(open, certificate) != 1)
    return crypto_error(err, ERR_INTERNAL, "cannot make a key and its certificate");
  *key_pem = bio_text(secret);
  *certificate_pem = bio_text(open);
  return STATUS_OK;
}
