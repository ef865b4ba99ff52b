/* Making keys: for `pgseal key generate` and `pgseal dev`. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/crypto/keys.h"
#include "common/crypto/signing.h"

static void free_pkey(EVP_PKEY **key) {
  EVP_PKEY_free(*key);
}
static void free_x509(X509 **certificate) {
  X509_free(*certificate);
}

/* Never over an existing file: a key that is lost that way is lost for good. */
static Status create(const char *path, mode_t mode, FILE **out, Error *err) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0 && errno == EEXIST) {
    error_set(err, ERR_OBJECT_EXISTS, "%s exists already", path);
    error_remedy(err, "Choose another name: what was encrypted for a key that is lost, nobody opens.");
    return err->status;
  }
  if (fd < 0)
    return error_set_errno(err, errno, "cannot create %s", path);
  *out = fdopen(fd, "w");
  if (!*out) {
    close(fd);
    unlink(path);
    return error_set(err, ERR_NO_MEMORY, "cannot write %s", path);
  }
  return STATUS_OK;
}

/* A key whose name is lost in a crash is as lost as one whose bytes are. */
static bool sync_directory(const char *path) {
  const char *slash = strrchr(path, '/');
  CLEANUP_FREE char *parent = slash ? memory_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : NULL;
  CLEANUP_CLOSE int fd = open(parent ? parent : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return fd >= 0 && fsync(fd) == 0;
}

static Status finish(FILE *file, bool written, const char *path, Error *err) {
  if (written && fflush(file) == 0 && fsync(fileno(file)) == 0 && sync_directory(path))
    return STATUS_OK;
  int reason = errno;
  ERR_clear_error();
  unlink(path);
  return error_set_errno(err, reason, "cannot write %s", path);
}

static Status write_private(const char *path, EVP_PKEY *key, Error *err) {
  CLEANUP_FCLOSE FILE *file = NULL;
  Status status = create(path, 0600, &file, err);
  return status ? status : finish(file, PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1, path, err);
}

static Status write_public(const char *path, EVP_PKEY *key, X509 *certificate, Error *err) {
  CLEANUP_FCLOSE FILE *file = NULL;
  Status status = create(path, 0644, &file, err);
  if (status)
    return status;
  return finish(file, (certificate ? PEM_write_X509(file, certificate) : PEM_write_PUBKEY(file, key)) == 1, path, err);
}

/* Both files or neither: half a pair would stand in the way of the next try. */
Status crypto_write_pair(const char *private_path, const char *public_path, EVP_PKEY *key, X509 *certificate,
                         Error *err) {
  Status status = write_private(private_path, key, err);
  if (status)
    return status;
  status = write_public(public_path, key, certificate, err);
  if (status)
    unlink(private_path);
  return status;
}

Status signing_key_generate(const char *private_path, const char *public_path, Error *err) {
  CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
  if (!key)
    return crypto_error(err, ERR_INTERNAL, "cannot make a signing key");
  return crypto_write_pair(private_path, public_path, key, NULL, err);
}

bool crypto_add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
  X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
  bool good = extension && X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return good;
}

bool crypto_set_serial(X509 *certificate) {
  uint8_t random[16];
  BIGNUM *number = RAND_bytes(random, sizeof random) == 1 ? BN_bin2bn(random, sizeof random, NULL) : NULL;
  bool good = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate));
  BN_free(number);
  return good;
}

bool crypto_set_name(X509 *certificate, const char *common_name) {
  return X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                                    (const unsigned char *)common_name, -1, -1, 0) == 1;
}

static bool fill(X509 *certificate, EVP_PKEY *key, int days) {
  return X509_set_version(certificate, X509_VERSION_3) == 1 && crypto_set_serial(certificate) &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
         X509_time_adj_ex(X509_getm_notAfter(certificate), days, 0, NULL) &&
         X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
         X509_set_pubkey(certificate, key) == 1 &&
         crypto_add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
         crypto_add_extension(certificate, certificate, NID_key_usage, "critical,keyAgreement") &&
         X509_sign(certificate, key, EVP_sha256()) > 0;
}

Status recipient_generate(const char *key_path, const char *certificate_path, const char *common_name, int days,
                          Error *err) {
  CLEANUP(free_pkey) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");
  CLEANUP(free_x509) X509 *certificate = X509_new();
  if (!key || !certificate)
    return crypto_error(err, ERR_INTERNAL, "cannot make a recipient key");
  if (!crypto_set_name(certificate, common_name))
    return crypto_error(err, ERR_INVALID_ARGUMENT, "the common name must have 1 to 64 characters");
  if (!fill(certificate, key, days))
    return crypto_error(err, ERR_INTERNAL, "cannot make a recipient certificate");
  return crypto_write_pair(key_path, certificate_path, key, certificate, err);
}
