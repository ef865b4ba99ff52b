#include "coordinator/oidc/answer.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"
#include "coordinator/oidc/identity.h"

enum { LIST_LIMIT = 200 };

static void json_release(json_t **json) {
  json_decref(*json);
}

/* New reference; NULL: no object, or too large. */
static json_t *parse(const void *data, size_t size) {
  json_t *json = size <= OIDC_ANSWER_LIMIT ? json_loadb(data ? data : "", size, JSON_REJECT_DUPLICATES, NULL) : NULL;
  if (json_is_object(json))
    return json;
  json_decref(json);
  return NULL;
}

static Status unusable(Error *err, const char *what) {
  error_set(err, ERR_UNAVAILABLE, "the issuer's description of itself cannot be used: %s", what);
  error_remedy(err,
               "Compare `oidc` in coordinator.yaml with what the issuer has at /.well-known/openid-configuration.");
  return ERR_UNAVAILABLE;
}

/* A list that is not there says nothing. */
static bool list_has(const json_t *json, const char *name, const char *const *wanted, size_t count, bool absent) {
  const json_t *list = json_object_get(json, name);
  if (!list)
    return absent;
  for (size_t i = 0; i < json_array_size(list) && i < LIST_LIMIT; i++) {
    const char *text = json_string_value(json_array_get(list, i));
    for (size_t j = 0; text && j < count; j++)
      if (strcmp(text, wanted[j]) == 0)
        return true;
  }
  return false;
}

static Status check_abilities(const OidcSettings *settings, const json_t *json, Error *err) {
  static const char *const code[] = {"code"}, *const s256[] = {"S256"}, *const basic[] = {"client_secret_basic"},
                           *const none[] = {"none"};
  if (!list_has(json, "response_types_supported", code, 1, false))
    return unusable(err, "it has no response type code");
  if (!list_has(json, "code_challenge_methods_supported", s256, 1, true))
    return unusable(err, "it has no PKCE by S256");
  if (!list_has(json, "id_token_signing_alg_values_supported", oidc_algorithms, OIDC_ALGORITHMS, false))
    return unusable(err, "it signs by none of " OIDC_ALGORITHMS_TEXT);
  if (settings->client_secret_file && !list_has(json, "token_endpoint_auth_methods_supported", basic, 1, true))
    return unusable(err, "its token endpoint does not take client_secret_basic");
  if (!settings->client_secret_file && !list_has(json, "token_endpoint_auth_methods_supported", none, 1, true))
    return unusable(err, "its token endpoint wants every client to have a secret");
  return STATUS_OK;
}

/* Only an issuer on this machine may send us to this machine without encryption. */
static Status take_url(const json_t *json, const char *name, bool local, bool needed, char **out, Error *err) {
  const char *text = json_string_value(json_object_get(json, name));
  bool loopback = false;
  if (!text && !needed)
    return STATUS_OK;
  if (!text || !oidc_url_valid(text, &loopback) || (strncmp(text, "https:", 6) != 0 && !(local && loopback))) {
    CLEANUP_FREE char *what = memory_format("%s is %s", name, text ? "no https:// URL" : "missing");
    return unusable(err, what);
  }
  *out = memory_strdup(text);
  return STATUS_OK;
}

Status oidc_metadata_read(const OidcSettings *settings, const void *data, size_t size, OidcMetadata *out, Error *err) {
  CLEANUP(json_release) json_t *json = parse(data, size);
  OidcMetadata read = {0};
  bool local = false;
  if (!json)
    return unusable(err, "it is no JSON object");
  const char *issuer = json_string_value(json_object_get(json, "issuer"));
  if (!issuer || strcmp(issuer, settings->issuer) != 0)
    return unusable(err, "it says that it is another issuer");
  (void)!oidc_url_valid(settings->issuer, &local);
  local = local && strncmp(settings->issuer, "http:", 5) == 0;
  Status status = check_abilities(settings, json, err);
  if (status == STATUS_OK)
    status = take_url(json, "authorization_endpoint", local, true, &read.authorization_endpoint, err);
  if (status == STATUS_OK)
    status = take_url(json, "token_endpoint", local, true, &read.token_endpoint, err);
  if (status == STATUS_OK)
    status = take_url(json, "jwks_uri", local, true, &read.jwks_uri, err);
  if (status == STATUS_OK && !settings->id_token_only)
    status = take_url(json, "userinfo_endpoint", local, false, &read.userinfo_endpoint, err);
  if (status == STATUS_OK)
    status = take_url(json, "end_session_endpoint", local, false, &read.end_session_endpoint, err);
  read.tells_issuer = json_is_true(json_object_get(json, "authorization_response_iss_parameter_supported"));
  if (status == STATUS_OK)
    *out = read;
  else
    oidc_metadata_release(&read);
  return status;
}

void oidc_metadata_release(OidcMetadata *metadata) {
  free(metadata->authorization_endpoint);
  free(metadata->token_endpoint);
  free(metadata->jwks_uri);
  free(metadata->userinfo_endpoint);
  free(metadata->end_session_endpoint);
  *metadata = (OidcMetadata){0};
}

Status oidc_keys_read(const void *data, size_t size, json_t **out, Error *err) {
  CLEANUP(json_release) json_t *json = parse(data, size);
  const json_t *keys = json_object_get(json, "keys");
  json_t *fit = json_array();
  for (size_t i = 0; i < json_array_size(keys) && json_array_size(fit) < OIDC_KEYS_LIMIT; i++)
    if (oidc_key_usable(json_array_get(keys, i)))
      json_array_append(fit, json_array_get(keys, i));
  if (json_array_size(fit) > 0) {
    *out = fit;
    return STATUS_OK;
  }
  json_decref(fit);
  return error_set(err, ERR_UNAVAILABLE, "the issuer has no key that %s could be checked with", OIDC_ALGORITHMS_TEXT);
}

const char *oidc_error_name(const char *text, char out[64]) {
  size_t length = text ? strlen(text) : 0;
  bool fine = length > 0 && length < 64 && strspn(text, "abcdefghijklmnopqrstuvwxyz_") == length;
  snprintf(out, 64, "%s", fine ? text : "an error");
  return out;
}

static char *token_of(const json_t *json, const char *name) {
  const json_t *value = json_object_get(json, name);
  size_t length = json_string_length(value);
  return length > 0 && length <= OIDC_TOKEN_LIMIT ? memory_strdup(json_string_value(value)) : NULL;
}

Status oidc_tokens_read(long code, const void *data, size_t size, OidcTokens *out, Error *err) {
  CLEANUP(json_release) json_t *json = parse(data, size);
  char name[64];
  if (code == 400 || code == 401) {
    oidc_error_name(json_string_value(json_object_get(json, "error")), name);
    error_set(err, ERR_UNAUTHORIZED, "the issuer refuses the sign-in: %s", name);
    error_remedy(err, strcmp(name, "invalid_client") == 0
                          ? "Its client_id or client's secret is not what coordinator.yaml has under `oidc`."
                          : "Sign in again.");
    return ERR_UNAUTHORIZED;
  }
  if (code != 200 || !json)
    return error_set(err, ERR_UNAVAILABLE, "the issuer's token endpoint answered %ld%s", code,
                     code == 200 ? ", and no JSON object" : "");
  const char *type = json_string_value(json_object_get(json, "token_type"));
  if (!type || strcasecmp(type, "Bearer") != 0)
    return error_set(err, ERR_UNAVAILABLE, "the issuer's token endpoint answered with no token of type Bearer");
  out->id_token = token_of(json, "id_token");
  out->access_token = token_of(json, "access_token");
  return out->id_token ? STATUS_OK
                       : error_set(err, ERR_UNAVAILABLE, "the issuer's token endpoint answered without an ID token");
}

void oidc_tokens_release(OidcTokens *tokens) {
  secret_text_free(&tokens->id_token);
  secret_text_free(&tokens->access_token);
}

Status oidc_userinfo_read(long code, const void *data, size_t size, const char *subject, json_t **out, Error *err) {
  json_t *json = code == 200 ? parse(data, size) : NULL;
  const char *whose = json_string_value(json_object_get(json, "sub"));
  if (whose && strcmp(whose, subject) == 0) {
    *out = json;
    return STATUS_OK;
  }
  if (json) {
    error_set(err, ERR_UNAUTHORIZED, "what the issuer's userinfo endpoint says is not of who signed in (sub)");
    error_remedy(err, "Sign in again; if that does not help, see the settings of the issuer for this client.");
  } else {
    error_set(err, ERR_UNAVAILABLE, "the issuer's userinfo endpoint answered %ld%s", code,
              code == 200 ? ", and no JSON object" : "");
    error_remedy(err, "It is asked for the claims that the ID token does not have. Have the issuer put them there, or "
                      "set `oidc.id_token_only` in coordinator.yaml.");
  }
  json_decref(json);
  return err->status;
}
