#include "agent/enroll.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/enroll_http.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/bus/address.h"
#include "common/crypto/authority.h"
#include "common/crypto/signing.h"

#define TOKEN_PREFIX "pgseal-join_"
enum { TOKEN_LIMIT = 512 };

typedef struct Enrollment {
  const EnrollOptions *options;
  char *host, *token, *http_ca;
  char fingerprint[SHA256_HEX_SIZE];                         /* of the authority, as the token says */
  char *signing_key, *signing_public, *ca, *identity, *yaml; /* paths */
  char *pending;       /* path: what is asked with, until there is an answer; key and request, one after the other */
  char *key, *request; /* of TLS */
  json_t *answer;
} Enrollment;

static void release(Enrollment *e) {
  secret_text_free(&e->token);
  secret_text_free(&e->key);
  json_decref(e->answer);
  char *all[] = {e->host,     e->http_ca, e->signing_key, e->signing_public, e->ca,
                 e->identity, e->yaml,    e->pending,     e->request};
  for (size_t i = 0; i < ARRAY_SIZE(all); i++)
    free(all[i]);
}

static Status read_token(Enrollment *e, Error *err) {
  const size_t prefix = sizeof TOKEN_PREFIX - 1, hex = sizeof e->fingerprint - 1;
  uint8_t ignored[SHA256_SIZE];
  Status status = file_read_text(e->options->token_file, TOKEN_LIMIT, &e->token, err);
  if (status)
    return status;
  if (strncmp(e->token, TOKEN_PREFIX, prefix) == 0 && strlen(e->token) > prefix + hex + 1 &&
      e->token[prefix + hex] == '_') {
    memcpy(e->fingerprint, e->token + prefix, hex);
    if (text_unhex(e->fingerprint, ignored, sizeof ignored))
      return STATUS_OK;
  }
  error_set(err, ERR_INVALID_ARGUMENT, "%s does not hold an invitation", e->options->token_file);
  error_remedy(err, "`pgseal agent invite NAME ...` makes one; put the whole line into the file.");
  return err->status;
}

static Status prepare(Enrollment *e, Error *err) {
  const char *dir = e->options->dir;
  CLEANUP_FREE char *keys = memory_format("%s/keys", dir);
  e->signing_key = memory_format("%s/signing.key", keys);
  e->signing_public = memory_format("%s/signing.pub", keys);
  e->ca = memory_format("%s/ca.crt", keys);
  e->identity = memory_format("%s/tls.pem", keys);
  e->pending = memory_format("%s/enrolling.pem", keys);
  e->yaml = memory_format("%s/agent.yaml", dir);
  Status status = file_make_dirs(dir, 0700, err);
  if (!status)
    status = file_make_dirs(keys, 0700, err);
  if (!status && !file_exists(e->signing_key))
    status = signing_key_generate(e->signing_key, e->signing_public, err);
  if (!status && e->options->http_ca)
    status = file_read_text(e->options->http_ca, PEM_LIMIT, &e->http_ca, err);
  return status;
}

static Status check_authority(const Enrollment *e, const char *pem, Error *err) {
  char fingerprint[SHA256_HEX_SIZE];
  Status status = authority_fingerprint_of(pem ? pem : "", fingerprint, err);
  if (!status && strcmp(fingerprint, e->fingerprint) == 0)
    return STATUS_OK;
  error_set(err, ERR_UNAUTHORIZED,
            "%s is not of the deployment that the invitation is for: its authority is another one",
            e->options->coordinator);
  error_remedy(err, "Check the URL. If it is right, somebody stands between here and the coordinator.");
  return err->status;
}

/* Takes up what was asked before, whose answer may have been lost: the coordinator answers the very same request again.
 * False: there is nothing of that kind. */
static bool load_request(Enrollment *e) {
  static const char begins[] = "-----BEGIN CERTIFICATE REQUEST-----";
  CLEANUP(secret_text_free) char *text = NULL;
  Error ignored;
  if (!file_exists(e->pending) || file_read_text(e->pending, 2 * PEM_LIMIT, &text, &ignored) != STATUS_OK)
    return false;
  char *request = strstr(text, begins);
  if (!request || request == text)
    return false;
  e->request = memory_format("%s\n", request); /* file_read_text takes off the last line's end */
  e->key = memory_strndup(text, (size_t)(request - text));
  return true;
}

/* The coordinator says what the agent is called: the request's own name means nothing. On disk before it is sent. */
static Status make_request(Enrollment *e, Error *err) {
  if (load_request(e))
    return STATUS_OK;
  Status status = certificate_request("pgseal agent", &e->key, &e->request, err);
  if (status)
    return status;
  CLEANUP(secret_text_free) char *text = memory_format("%s%s", e->key, e->request);
  return file_write_atomic(e->pending, 0600, text, strlen(text), err);
}

static Status sign_request(const Enrollment *e, char public_hex[PUBLIC_KEY_HEX_SIZE],
                           char signature_hex[2 * SIGNATURE_SIZE + 1], Error *err) {
  SigningKey *key = NULL;
  uint8_t public[PUBLIC_KEY_SIZE], signature[SIGNATURE_SIZE];
  Status status = signing_key_load(e->signing_key, &key, err);
  if (status)
    return status;
  CLEANUP(buffer_release) Buffer statement = {0};
  buffer_append(&statement, e->token, strlen(e->token) + 1);
  buffer_append_text(&statement, e->request);
  signing_key_public(key, public);
  status = signing_sign(key, "enroll", statement.data, statement.size, signature, err);
  explicit_bzero(statement.data, statement.size);
  signing_key_free(key);
  text_hex(public, sizeof public, public_hex);
  text_hex(signature, sizeof signature, signature_hex);
  return status;
}

static void free_json(json_t **json) {
  json_decref(*json);
}

/* The authority first, which is public, and is believed by its fingerprint alone; the token only to who has a
 * certificate of it (or of --http-ca). */
static Status ask(Enrollment *e, Error *err) {
  CLEANUP(free_json) json_t *authority = NULL;
  char public[PUBLIC_KEY_HEX_SIZE], signature[2 * SIGNATURE_SIZE + 1];
  const char *url = e->options->coordinator;
  Status status = enroll_call(url, "/api/v1/authority", ENROLL_TRUST_NOBODY, NULL, NULL, &authority, err);
  const char *pem = status ? NULL : json_string_value(json_object_get(authority, "certificate"));
  if (!status)
    status = check_authority(e, pem, err);
  if (!status)
    status = make_request(e, err);
  if (!status)
    status = sign_request(e, public, signature, err);
  if (status)
    return status;
  CLEANUP(free_json)
  json_t *body = json_pack("{s:s, s:s, s:s, s:s}", "token", e->token, "request", e->request, "public_key", public,
                           "signature", signature);
  if (!body)
    return error_set(err, ERR_INVALID_ARGUMENT, "%s does not hold an invitation", e->options->token_file);
  status = enroll_call(url, "/api/v1/enroll", ENROLL_TRUST_PEM, e->http_ca ? e->http_ca : pem, body, &e->answer, err);
  return status ? status : check_authority(e, json_string_value(json_object_get(e->answer, "authority")), err);
}

/* ---- what it got ---- */

static void append_list(Buffer *out, const json_t *list) {
  CLEANUP_FREE char *text = json_dumps(list, JSON_COMPACT); /* JSON is YAML */
  buffer_append_text(out, text ? text : "[]");
}

/* Where the coordinator listens on every address, the agent dials the one it has just spoken to. */
static char *bus_url(const Enrollment *e, const char *bus) {
  static const char *const wildcards[] = {"tls+tcp://0.0.0.0:", "tls+tcp://[::]:", "tls+tcp://*:"};
  for (size_t i = 0; i < ARRAY_SIZE(wildcards); i++) {
    size_t size = strlen(wildcards[i]);
    bool six = strchr(e->host, ':') != NULL;
    if (strncmp(bus, wildcards[i], size) == 0)
      return memory_format("tls+tcp://%s%s%s:%s", six ? "[" : "", e->host, six ? "]" : "", bus + size);
  }
  return memory_strdup(bus);
}

static void join_part(const Enrollment *e, const char *name, const char *bus, Buffer *out) {
  CLEANUP_FREE char *url = bus_url(e, bus);
  buffer_append_format(out,
                       "# written by pgseal-agent enroll\n"
                       "agent:\n"
                       "  name: %s\n"
                       "  coordinators: [\"%s\"]\n"
                       "  data: data\n"
                       "  signing_key: keys/signing.key\n"
                       "  tls:\n"
                       "    ca: keys/ca.crt\n"
                       "    identity: keys/tls.pem        # key and certificate; renewed by the agent itself\n"
                       "  capabilities: ",
                       name, url);
  append_list(out, json_object_get(e->answer, "capabilities"));
  buffer_append_text(out, "\n");
}

static const char rest_text[] =
    "\n"
    "# What this agent works with comes here; deploy/agent.yaml explains it, and `pgseal-agent check` checks it.\n"
    "#\n"
    "# repository:\n"
    "#   directory: /srv/pgseal\n"
    "# keys:\n"
    "#   recipients: [keys/drill.crt, keys/escrow.crt]\n"
    "# databases:\n"
    "#   - name: prod-api\n"
    "#     conninfo_file: prod-api.conninfo\n";

static Status keep(Enrollment *e, Error *err) {
  const char *name = json_string_value(json_object_get(e->answer, "name"));
  const char *certificate = json_string_value(json_object_get(e->answer, "certificate"));
  const char *authority = json_string_value(json_object_get(e->answer, "authority"));
  const char *bus = json_string_value(json_object_get(e->answer, "bus"));
  Error bad;
  if (!name || !text_name_valid(name) || !certificate || !bus || bus_address_check(bus, &bad) != STATUS_OK)
    return error_set(err, ERR_PROTOCOL, "the coordinator's answer makes no sense");
  CLEANUP(secret_text_free) char *identity = memory_format("%s%s", e->key, certificate);
  Status status = file_write_atomic(e->identity, 0600, identity, strlen(identity), err);
  if (!status)
    status = file_write_atomic(e->ca, 0644, authority, strlen(authority), err);
  if (status)
    return status;
  bool there = file_exists(e->yaml);
  CLEANUP_FREE char *path = there ? memory_format("%s/agent.join.yaml", e->options->dir) : memory_strdup(e->yaml);
  CLEANUP(buffer_release) Buffer text = {0};
  join_part(e, name, bus, &text);
  if (!there)
    buffer_append_text(&text, rest_text);
  status = file_write_atomic(path, 0600, text.data, text.size, err);
  if (status)
    return status;
  unlink(e->pending);
  printf("agent %s is enrolled; its certificate is renewed by itself from now on\n%s\n%s\n%s\n%s\n", name,
         e->signing_key, e->identity, e->ca, path);
  printf(there ? "Put the `agent:` of %s in place of the one in agent.yaml, and start the agent.\n"
               : "Complete %s, and start the agent. The invitation is spent: its file can go.\n",
         path);
  return STATUS_OK;
}

Status agent_enroll(const EnrollOptions *options, Error *err) {
  CLEANUP(release) Enrollment e = {.options = options};
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return error_set(err, ERR_INTERNAL, "libcurl cannot be initialised");
  Status status = enroll_url_check(options->coordinator, &e.host, err);
  if (!status)
    status = read_token(&e, err);
  if (!status)
    status = prepare(&e, err);
  if (!status)
    status = ask(&e, err);
  return status ? status : keep(&e, err);
}
