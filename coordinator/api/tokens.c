#include <openssl/evp.h>
#include <string.h>
#include <sys/random.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/digest.h"
#include "coordinator/api/internal.h"

enum { TOKEN_BYTES = 32, TOKEN_TEXT = 64, SECOND_US = 1000 * 1000 };
enum {
  LIFE_LEAST = 60,
  LIFE_MOST = 10 * 366 * 86400, /* seconds */
  OVERLAP_DEFAULT = 3600,
  OVERLAP_MOST = 30 * 86400
};

static void free_json(json_t **json) {
  json_decref(*json);
}

/* New reference: the globs; ["*"] for all. */
static json_t *render_databases(const char *databases) {
  json_t *json = databases ? json_loads(databases, 0, NULL) : json_pack("[s]", "*");
  return json ? json : json_array();
}

static json_t *render(const LedgerToken *token) {
  return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", token->name, "role", token->role,
                   "databases", render_databases(token->databases), "created_at", render_time(token->created_us),
                   "expires_at", render_time(token->expires_us), "last_used_at", render_time(token->last_used_us),
                   "replaced_at", render_time(token->replaced_us), "revoked_at", render_time(token->revoked_us),
                   "person", render_text(token->person));
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

/* What the ledger says of it; within a transaction. */
static Status append_event(Request *request, const LedgerToken *token, const char *kind, int64_t overlap, Error *err) {
  CLEANUP(free_json)
  json_t *detail = json_pack("{s:s, s:s, s:o, s:s}", "name", token->name, "role", token->role, "databases",
                             render_databases(token->databases), "address", request->address);
  if (token->expires_us)
    json_object_set_new(detail, "expires_at", render_time(token->expires_us));
  if (overlap >= 0)
    json_object_set_new(detail, "overlap_seconds", json_integer(overlap));
  LedgerEvent event = {.kind = (char *)kind, .actor = request->actor, .detail = detail};
  return ledger_event_append(request->api->ledger, &event, err);
}

static enum MHD_Result show_secret(Request *request, const LedgerToken *token, const char *text) {
  json_t *json = render(token);
  json_object_set_new(json, "ok", json_true());
  json_object_set_new(json, "token", json_string(text)); /* this once: only its hash is kept */
  return respond_json(request, MHD_HTTP_CREATED, json);
}

/* ---- what a body asks for ---- */

static Status read_seconds(const json_t *body, const char *name, int64_t least, int64_t most, int64_t *out,
                           Error *err) {
  const json_t *given = json_object_get(body, name);
  if (!given)
    return STATUS_OK;
  int64_t value = json_is_integer(given) ? json_integer_value(given) : -1;
  if (value < least || value > most)
    return error_set(err, ERR_INVALID_ARGUMENT, "\"%s\" must be a number of seconds from %lld to %lld", name,
                     (long long)least, (long long)most);
  *out = value;
  return STATUS_OK;
}

/* token->databases is new; name and role are the body's. */
static Status read_wish(const json_t *body, LedgerToken *token, Error *err) {
  static const char *const known[] = {"name", "role", "databases", "expires_in"};
  Status status = query_members(body, known, ARRAY_SIZE(known), err);
  if (status)
    return status;
  const json_t *given = json_object_get(body, "role");
  token->name = (char *)json_string_value(json_object_get(body, "name"));
  token->role = (char *)(given ? json_string_value(given) : "ci");
  if (!token->name || !text_name_valid(token->name))
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "\"name\" must be 1 to 63 of a-z, 0-9, '.', '_', '-', alphanumeric first");
  if (!auth_role(token->role))
    return error_set(err, ERR_INVALID_ARGUMENT, "\"role\" must be ci, viewer, operator or admin");
  int64_t life = 0;
  status = read_seconds(body, "expires_in", LIFE_LEAST, LIFE_MOST, &life, err);
  if (!status)
    status = scope_from_wish(json_object_get(body, "databases"), &token->databases, err);
  if (status)
    return status;
  token->expires_us = life ? token->created_us + life * SECOND_US : 0;
  if (token->databases && auth_role(token->role) == ROLE_ADMIN)
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "an admin makes tokens for any database, so \"databases\" would not bind one; use role operator");
  return STATUS_OK;
}

/* ---- making one ---- */

/* Who sees the secret: of a token that makes another, whoever has seen its own. */
static char *person_of(Request *request) {
  return *request->person ? request->person : NULL;
}

static Status insert(Request *request, const LedgerToken *token, Error *err) {
  Ledger *ledger = request->api->ledger;
  Status status = ledger_begin(ledger, err);
  if (!status)
    status = ledger_token_insert(ledger, token, err);
  if (!status)
    status = append_event(request, token, "token.created", -1, err);
  if (!status)
    status = ledger_commit(ledger, err);
  if (status)
    ledger_rollback(ledger);
  return status;
}

enum MHD_Result token_create(Request *request) {
  CLEANUP(free_json) json_t *body = NULL;
  char text[TOKEN_TEXT];
  Error err;
  Id id = id_new();
  LedgerToken token = {.id = id.text, .created_us = clock_wall_us(), .person = person_of(request)};
  Status status = query_body(request, &body, &err);
  if (!status)
    status = read_wish(body, &token, &err);
  CLEANUP_FREE char *databases = token.databases;
  if (!status)
    status = make_token(text, &err);
  if (!status) {
    sha256_hex(text, strlen(text), token.hash);
    status = insert(request, &token, &err);
  }
  return status ? respond_failure(request, &err) : show_secret(request, &token, text);
}

/* ---- those of a name ---- */

typedef struct Tokens {
  LedgerToken *items;
  size_t count;
  LedgerToken *current; /* of the name, not revoked and not replaced */
} Tokens;

static void tokens_release(Tokens *tokens) {
  ledger_token_list_free(tokens->items, tokens->count);
}

static bool alive(const LedgerToken *token, const char *name) {
  return strcmp(token->name, name) == 0 && !token->revoked_us;
}

static Status find(Request *request, Tokens *tokens, Error *err) {
  Status status = ledger_token_list(request->api->ledger, &tokens->items, &tokens->count, err);
  if (status)
    return status;
  for (size_t i = 0; i < tokens->count; i++)
    if (alive(&tokens->items[i], request->arg) && !tokens->items[i].replaced_us)
      tokens->current = &tokens->items[i];
  return tokens->current ? STATUS_OK : error_set(err, ERR_NOT_FOUND, "there is no token %s", request->arg);
}

/* The old secret is good until the overlap ends, unless it expires earlier. Those before it end now. */
static Status replace(Request *request, Tokens *tokens, const LedgerToken *next, int64_t overlap, Error *err) {
  Ledger *ledger = request->api->ledger;
  LedgerToken *old = tokens->current;
  int64_t end = next->created_us + overlap * SECOND_US;
  Status status = ledger_begin(ledger, err);
  for (size_t i = 0; i < tokens->count && !status; i++) {
    if (&tokens->items[i] == old || !alive(&tokens->items[i], old->name))
      continue;
    tokens->items[i].revoked_us = next->created_us;
    status = ledger_token_update(ledger, &tokens->items[i], err);
  }
  old->replaced_us = next->created_us;
  old->expires_us = old->expires_us && old->expires_us < end ? old->expires_us : end;
  old->revoked_us = overlap ? 0 : next->created_us;
  if (!status)
    status = ledger_token_update(ledger, old, err);
  if (!status)
    status = ledger_token_insert(ledger, next, err);
  if (!status)
    status = append_event(request, next, "token.rotated", overlap, err);
  if (!status)
    status = ledger_commit(ledger, err);
  if (status)
    ledger_rollback(ledger);
  return status;
}

static void tell_revoked(Request *request, const Tokens *tokens) {
  for (size_t i = 0; i < tokens->count; i++)
    if (strcmp(tokens->items[i].name, request->arg) == 0 && tokens->items[i].revoked_us)
      events_revoked(request->api, tokens->items[i].hash);
}

static Status read_rotation(Request *request, int64_t *overlap, int64_t *life, Error *err) {
  static const char *const known[] = {"overlap", "expires_in"};
  CLEANUP(free_json) json_t *body = NULL;
  if (request->body.size == 0)
    return STATUS_OK;
  Status status = query_body(request, &body, err);
  if (!status)
    status = query_members(body, known, ARRAY_SIZE(known), err);
  if (!status)
    status = read_seconds(body, "overlap", 0, OVERLAP_MOST, overlap, err);
  return status ? status : read_seconds(body, "expires_in", LIFE_LEAST, LIFE_MOST, life, err);
}

/* The new secret lives as long as the old one was meant to, counted from now. */
enum MHD_Result token_rotate(Request *request) {
  CLEANUP(tokens_release) Tokens tokens = {0};
  char text[TOKEN_TEXT];
  int64_t overlap = OVERLAP_DEFAULT, life = 0;
  Error err;
  Id id = id_new();
  Status status = read_rotation(request, &overlap, &life, &err);
  if (!status)
    status = find(request, &tokens, &err);
  if (!status)
    status = make_token(text, &err);
  if (status)
    return respond_failure(request, &err);
  const LedgerToken *old = tokens.current;
  LedgerToken next = *old;
  next.id = id.text;
  next.person = person_of(request);
  next.created_us = clock_wall_us();
  next.last_used_us = 0;
  sha256_hex(text, strlen(text), next.hash);
  if (life || old->expires_us)
    next.expires_us = next.created_us + (life ? life * SECOND_US : old->expires_us - old->created_us);
  if (replace(request, &tokens, &next, overlap, &err) != STATUS_OK)
    return respond_failure(request, &err);
  tell_revoked(request, &tokens);
  return show_secret(request, &next, text);
}

enum MHD_Result token_revoke(Request *request) {
  CLEANUP(tokens_release) Tokens tokens = {0};
  Error err;
  Ledger *ledger = request->api->ledger;
  int64_t now = clock_wall_us();
  Status status = find(request, &tokens, &err);
  if (!status)
    status = ledger_begin(ledger, &err);
  for (size_t i = 0; i < tokens.count && !status; i++) {
    if (!alive(&tokens.items[i], request->arg))
      continue;
    tokens.items[i].revoked_us = now;
    status = ledger_token_update(ledger, &tokens.items[i], &err);
  }
  if (!status)
    status = append_event(request, tokens.current, "token.revoked", -1, &err);
  if (!status)
    status = ledger_commit(ledger, &err);
  if (status) {
    ledger_rollback(ledger);
    return respond_failure(request, &err);
  }
  tell_revoked(request, &tokens);
  return respond_json(request, MHD_HTTP_OK, render(tokens.current));
}
