#include "coordinator/init.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"

enum { AUTHORITY_DAYS = 3650, CERTIFICATE_DAYS = 825, SECRET_BYTES = 32, HOST_SIZE = 256 };

static const char yaml_text[] =
    "# written by pgseal-coordinator init; an annotated example is deploy/coordinator.yaml\n"
    "http: 127.0.0.1:8420            # the HTTP API\n"
    "bus: tls+tcp://0.0.0.0:8421     # where agents dial in, with certificates of this deployment's authority alone\n"
    "bus_tls:\n"
    "  ca: ca.crt\n"
    "  ca_key: ca.key                # signs agents' certificates; keep a copy in a safe\n"
    "  certificate: coordinator.crt\n"
    "  key: coordinator.key\n"
    "ledger: ledger.db\n"
    "admin_token_file: token         # once the coordinator ran, its hash is in the ledger: keep the file elsewhere\n"
    "\n"
    "# databases:\n"
    "#   - name: prod-api\n"
    "#     environment: production\n"
    "\n"
    "# Agents join by `pgseal agent invite NAME --capability dump --databases 'prod-*'`: they need not be listed "
    "here.\n";

static void cleanup_authority(Authority **authority) {
  authority_free(*authority);
}

/* "pgseal_" and 32 random bytes in base64url, as the API makes tokens. */
static Status write_token(const char *path, Error *err) {
  uint8_t random[SECRET_BYTES];
  char base64[64];
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
    return error_set_errno(err, errno, "cannot get random bytes");
  EVP_EncodeBlock((unsigned char *)base64, random, sizeof random);
  for (char *at = base64; *at; at++)
    *at = *at == '+' ? '-' : *at == '/' ? '_' : *at == '=' ? '\0' : *at;
  CLEANUP(secret_text_free) char *line = memory_format("pgseal_%s\n", base64);
  explicit_bzero(base64, sizeof base64);
  return file_write_atomic(path, 0600, line, strlen(line), err);
}

typedef struct Places {
  char *ca, *ca_key, *certificate, *key, *token, *yaml;
} Places;

static void places_release(Places *places) {
  char *all[] = {places->ca, places->ca_key, places->certificate, places->key, places->token, places->yaml};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    free(all[i]);
}

static Status check_free(const Places *places, Error *err) {
  const char *all[] = {places->ca, places->ca_key, places->certificate, places->key, places->token, places->yaml};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
    if (!file_exists(all[i]))
      continue;
    error_set(err, ERR_OBJECT_EXISTS, "%s exists already; nothing was made", all[i]);
    error_remedy(err, "Choose another --dir. A new certificate for this coordinator: pgseal-coordinator certificate.");
    return err->status;
  }
  return STATUS_OK;
}

static Status make(const Places *places, const char *const *hosts, size_t count, Error *err) {
  CLEANUP(cleanup_authority) Authority *authority = NULL;
  Status status = authority_generate(places->ca_key, places->ca, "pgseal deployment", AUTHORITY_DAYS, err);
  if (!status)
    status = authority_load(places->ca, places->ca_key, &authority, err);
  if (!status)
    status =
        authority_issue_coordinator(authority, places->key, places->certificate, hosts, count, CERTIFICATE_DAYS, err);
  if (!status)
    status = write_token(places->token, err);
  if (!status)
    status = file_write_atomic(places->yaml, 0600, yaml_text, sizeof yaml_text - 1, err);
  if (status)
    return status;
  char fingerprint[SHA256_HEX_SIZE];
  authority_fingerprint(authority, fingerprint);
  printf("%s\n%s\n%s\n%s\n%s\n%s\nThe authority's fingerprint: %s\n", places->yaml, places->ca, places->ca_key,
         places->certificate, places->key, places->token, fingerprint);
  return STATUS_OK;
}

Status coordinator_init(const char *dir, const char *const *hosts, size_t count, Error *err) {
  char own[HOST_SIZE] = "";
  const char *fallback[] = {"localhost", own};
  gethostname(own, sizeof own - 1);
  Status status = file_make_dirs(dir, 0700, err);
  if (status)
    return status;
  CLEANUP(places_release)
  Places places = {memory_format("%s/ca.crt", dir),          memory_format("%s/ca.key", dir),
                   memory_format("%s/coordinator.crt", dir), memory_format("%s/coordinator.key", dir),
                   memory_format("%s/token", dir),           memory_format("%s/coordinator.yaml", dir)};
  status = check_free(&places, err);
  if (status)
    return status;
  return count ? make(&places, hosts, count, err) : make(&places, fallback, own[0] ? 2 : 1, err);
}

static Status replace(const char *from, const char *to, Error *err) {
  return rename(from, to) == 0 ? STATUS_OK : error_set_errno(err, errno, "cannot put %s in place of %s", from, to);
}

Status coordinator_certificate(const CoordinatorConfig *config, const char *const *hosts, size_t count, Error *err) {
  if (!config->ca)
    return error_set(err, ERR_CONFIG, "%s has no bus_tls", config->path);
  char own[HOST_SIZE] = "";
  const char *fallback[] = {"localhost", own};
  gethostname(own, sizeof own - 1);
  CLEANUP(cleanup_authority) Authority *authority = NULL;
  Status status = authority_load(config->ca, config->ca_key, &authority, err);
  CLEANUP_FREE char *key = memory_format("%s.new", config->certificate_key);
  CLEANUP_FREE char *certificate = memory_format("%s.new", config->certificate);
  unlink(key); /* of a try that was interrupted; nothing uses them */
  unlink(certificate);
  if (!status)
    status = authority_issue_coordinator(authority, key, certificate, count ? hosts : fallback,
                                         count    ? count
                                         : own[0] ? 2
                                                  : 1,
                                         CERTIFICATE_DAYS, err);
  if (!status)
    status = replace(key, config->certificate_key, err);
  if (!status)
    status = replace(certificate, config->certificate, err);
  if (!status)
    printf("%s\n%s\nA running coordinator takes them on SIGHUP.\n", config->certificate, config->certificate_key);
  return status;
}
