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
#include "common/crypto/signing.h"

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
    "signing_key: signing.key        # signs reports; auditors check them with signing.pub\n"
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
  char *ca, *ca_key, *certificate, *key, *token, *signing_key, *signing_public, *yaml;
} Places;

static void places_release(Places *places) {
  char *all[] = {places->ca,    places->ca_key,      places->certificate,    places->key,
                 places->token, places->signing_key, places->signing_public, places->yaml};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    free(all[i]);
}

static Status check_free(const Places *places, Error *err) {
  const char *all[] = {places->ca,    places->ca_key,      places->certificate,    places->key,
                       places->token, places->signing_key, places->signing_public, places->yaml};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
    if (!file_exists(all[i]))
      continue;
    error_set(err, ERR_OBJECT_EXISTS, "%s exists already; nothing was made", all[i]);
    error_remedy(err, "Choose another --dir. A new certificate for this coordinator: pgseal-coordinator certificate.");
    return err->status;
  }
  return STATUS_OK;
}

/* Under which names it is reached: those given, or else this machine's. */
typedef struct Hosts {
  char own[HOST_SIZE];
  const char *fallback[2];
  const char *const *items;
  size_t count;
} Hosts;

static Status choose_hosts(const char *const *given, size_t count, Hosts *out, Error *err) {
  *out = (Hosts){.fallback = {"localhost", out->own}, .items = given, .count = count};
  for (size_t i = 0; i < count; i++)
    if (!authority_host_valid(given[i]))
      return error_set(err, ERR_INVALID_ARGUMENT, "'%s' is neither a host's name nor an IP address", given[i]);
  if (count)
    return STATUS_OK;
  gethostname(out->own, sizeof out->own - 1);
  out->items = out->fallback;
  out->count = authority_host_valid(out->own) ? 2 : 1;
  return STATUS_OK;
}

/* *made: how many of them, in the order of Places, are there by its making, also if it fails. */
static Status make(const Places *places, const Hosts *hosts, size_t *made, Error *err) {
  CLEANUP(cleanup_authority) Authority *authority = NULL;
  Status status = authority_generate(places->ca_key, places->ca, "pgseal deployment", AUTHORITY_DAYS, err);
  if (!status)
    *made = 2;
  if (!status)
    status = authority_load(places->ca, places->ca_key, &authority, err);
  if (!status)
    status = authority_issue_coordinator(authority, places->key, places->certificate, hosts->items, hosts->count,
                                         CERTIFICATE_DAYS, err);
  if (!status)
    *made = 4;
  if (!status)
    status = write_token(places->token, err);
  if (!status)
    *made = 5;
  if (!status)
    status = signing_key_generate(places->signing_key, places->signing_public, err);
  if (!status)
    *made = 7;
  if (!status)
    status = file_write_atomic(places->yaml, 0600, yaml_text, sizeof yaml_text - 1, err);
  if (status)
    return status;
  char fingerprint[SHA256_HEX_SIZE];
  authority_fingerprint(authority, fingerprint);
  printf("%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\nThe authority's fingerprint: %s\n", places->yaml, places->ca, places->ca_key,
         places->certificate, places->key, places->token, places->signing_key, places->signing_public, fingerprint);
  return STATUS_OK;
}

Status coordinator_init(const char *dir, const char *const *given, size_t count, Error *err) {
  Hosts hosts;
  Status status = choose_hosts(given, count, &hosts, err);
  if (!status)
    status = file_make_dirs(dir, 0700, err);
  if (status)
    return status;
  CLEANUP(places_release)
  Places places = {memory_format("%s/ca.crt", dir),          memory_format("%s/ca.key", dir),
                   memory_format("%s/coordinator.crt", dir), memory_format("%s/coordinator.key", dir),
                   memory_format("%s/token", dir),           memory_format("%s/signing.key", dir),
                   memory_format("%s/signing.pub", dir),     memory_format("%s/coordinator.yaml", dir)};
  status = check_free(&places, err);
  if (status)
    return status;
  size_t made = 0;
  status = make(&places, &hosts, &made, err);
  const char *const all[] = {places.ca,    places.ca_key,      places.certificate,   places.key,
                             places.token, places.signing_key, places.signing_public};
  for (size_t i = 0; status && i < made; i++)
    unlink(all[i]); /* all of it or nothing: the next try finds the directory free */
  return status;
}

static Status replace(const char *from, const char *to, Error *err) {
  return rename(from, to) == 0 ? STATUS_OK : error_set_errno(err, errno, "cannot put %s in place of %s", from, to);
}

/* Two files cannot be replaced at once. What fails is undone; a crash in between leaves a pair that does not match,
 * which whoever starts with it is told. */
static Status replace_pair(const CoordinatorConfig *config, const char *key, const char *certificate, Error *err) {
  CLEANUP_FREE char *old = memory_format("%s.old", config->certificate_key);
  unlink(old);
  if (link(config->certificate_key, old) != 0 && errno != ENOENT)
    return error_set_errno(err, errno, "cannot keep %s as %s", config->certificate_key, old);
  Status status = replace(key, config->certificate_key, err);
  if (!status)
    status = replace(certificate, config->certificate, err);
  if (status && rename(old, config->certificate_key) == 0)
    return status;
  unlink(old);
  return status;
}

Status coordinator_certificate(const CoordinatorConfig *config, const char *const *given, size_t count, Error *err) {
  if (!config->ca)
    return error_set(err, ERR_CONFIG, "%s has no bus_tls", config->path);
  Hosts hosts;
  CLEANUP(cleanup_authority) Authority *authority = NULL;
  Status status = choose_hosts(given, count, &hosts, err);
  if (!status)
    status = authority_load(config->ca, config->ca_key, &authority, err);
  if (status)
    return status;
  CLEANUP_FREE char *key = memory_format("%s.new", config->certificate_key);
  CLEANUP_FREE char *certificate = memory_format("%s.new", config->certificate);
  unlink(key); /* of a try that was interrupted; nothing uses them */
  unlink(certificate);
  status = authority_issue_coordinator(authority, key, certificate, hosts.items, hosts.count, CERTIFICATE_DAYS, err);
  if (status)
    return status;
  status = replace_pair(config, key, certificate, err);
  if (!status)
    printf("%s\n%s\nA running coordinator takes them on SIGHUP.\n", config->certificate, config->certificate_key);
  return status;
}
