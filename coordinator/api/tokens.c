#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/text.h"
#include "common/crypto/digest.h"
#include "coordinator/api/internal.h"

enum { TOKEN_BYTES = 32, TOKEN_TEXT = 64 };

static void free_json(json_t **json) {
  json_decref(*json);
}

static json_t *render(const LedgerToken *token) {
  return json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", token->name, "role", token->role, "created_at",
                   render_time(token->created_us), "last_used_at", render_time(token->last_used_us), "revoked_at",
                   render_time(token->revoked_us));
}

enum MHD_Result token_list(Request *request) {
  LedgerToken *tokens = NULL;
  size_t count = 0;
  Error err;
  if (ledger_token_list(request->api->ledger, &tokens, &count, &err) != STATUS_OK)
    return respond_failure(request, &err);
  json_t *list = json_array();
  for (size_t i = 0; i < count; i++)
    json_array_append_new(list, render(&tokens[i]));
  ledger_token_list_free(tokens, count);
  return respond_json(request, MHD_HTTP_OK, json_pack("{s:o}", "tokens", list));
}

/* "pgseal_" and 32 random bytes in base64url without padding (RFC 4648). */
static Status make_token(char out[TOKEN_TEXT], Error *err) {
  uint8_t random[TOKEN_BYTES];
  unsigned char base64[TOKEN_TEXT - 8];
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
    return error_set(err, ERR_INTERNAL, "no random bytes to be had");
  EVP_EncodeBlock(base64, random, sizeof random);
  for (char *at = (char *)base64; *at; at++)
    *at = *at == '+' ? '-' : *at == '/' ? '_' : *at == '=' ? 0 : *at;
  snprintf(out, TOKEN_TEXT, "pgseal_%s", (char *)base64);
  return STATUS_OK;
}

/* One transaction: the token and what the ledger says of it. */
static Status record(Request *request, const LedgerToken *token, bool insert, const char *kind, Error *err) {
  CLEANUP(free_json) json_t *detail = json_pack("{s:s, s:s}", "name", token->name, "role", token->role);
  LedgerEvent event = {.kind = (char *)kind, .actor = request->actor, .detail = detail};
  Ledger *ledger = request->api->ledger;
  Status status = ledger_begin(ledger, err);
  if (!status)
    status = insert ? ledger_token_insert(ledger, token, err) : ledger_token_update(ledger, token, err);
  if (!status)
    status = ledger_event_append(ledger, &event, err);
  if (!status)
    status = ledger_commit(ledger, err);
  if (status)
    ledger_rollback(ledger);
  return status;
}

static Status read_wish(const json_t *body, const char **name, const char **role, Error *err) {
  const char *member;
  json_t *value;
  json_object_foreach((json_t *)body, member, value) {
    if (strcmp(member, "name") != 0 && strcmp(member, "role") != 0)
      return error_set(err, ERR_INVALID_ARGUMENT, "unknown member \"%s\"; there are name and role", member);
  }
  const json_t *given = json_object_get(body, "role");
  *name = json_string_value(json_object_get(body, "name"));
  *role = given ? json_string_value(given) : "ci";
  if (!*name || !text_name_valid(*name))
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "\"name\" must be 1 to 63 of a-z, 0-9, '.', '_', '-', alphanumeric first");
  if (!*role || (strcmp(*role, "admin") != 0 && strcmp(*role, "ci") != 0))
    return error_set(err, ERR_INVALID_ARGUMENT, "\"role\" must be admin or ci");
  return STATUS_OK;
}

enum MHD_Result token_create(Request *request) {
  CLEANUP(free_json) json_t *body = NULL;
  char text[TOKEN_TEXT];
  Error err;
  Status status = query_body(request, &body, &err);
  const char *name = NULL, *role = NULL;
  if (!status)
    status = read_wish(body, &name, &role, &err);
  if (!status)
    status = make_token(text, &err);
  Id id = id_new();
  LedgerToken token = {.id = id.text, .name = (char *)name, .role = (char *)role, .created_us = clock_wall_us()};
  if (!status) {
    sha256_hex(text, strlen(text), token.hash);
    status = record(request, &token, true, "token.created", &err);
  }
  if (status)
    return respond_failure(request, &err);
  json_t *json = render(&token);
  json_object_set_new(json, "ok", json_true());
  json_object_set_new(json, "token", json_string(text)); /* this once: only its hash is kept */
  return respond_json(request, MHD_HTTP_CREATED, json);
}

static Status find(Request *request, LedgerToken **tokens, size_t *count, LedgerToken **found, Error *err) {
  Status status = ledger_token_list(request->api->ledger, tokens, count, err);
  if (status)
    return status;
  for (size_t i = 0; i < *count; i++)
    if (strcmp((*tokens)[i].name, request->arg) == 0 && !(*tokens)[i].revoked_us)
      *found = &(*tokens)[i];
  return *found ? STATUS_OK : error_set(err, ERR_NOT_FOUND, "there is no token %s", request->arg);
}

enum MHD_Result token_revoke(Request *request) {
  LedgerToken *tokens = NULL, *token = NULL;
  size_t count = 0;
  Error err;
  Status status = find(request, &tokens, &count, &token, &err);
  if (!status) {
    token->revoked_us = clock_wall_us();
    status = record(request, token, false, "token.revoked", &err);
  }
  json_t *json = status ? NULL : render(token);
  ledger_token_list_free(tokens, count);
  return status ? respond_failure(request, &err) : respond_json(request, MHD_HTTP_OK, json);
}
