/* Bearer tokens. Only their SHA-256 is kept, and what is compared is digests: how long a look-up takes may tell how
 * many leading digits of a guess's digest are those of a stored one, which brings nobody nearer to a secret of 256
 * random bits. A token of the operator's own choice (admin_token_file) must be long for the same reason. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/crypto/digest.h"
#include "coordinator/api/internal.h"

enum { TOKEN_LIMIT = 512, TOKEN_LEAST = 16, LAST_USED_INTERVAL_US = 60 * 1000 * 1000 };

static Status unauthorized(Error *err) {
  return error_set(err, ERR_UNAUTHORIZED, "a valid token is needed");
}

bool auth_token_of(const char *header, const char **token, size_t *length) {
  if (!header || strncasecmp(header, "Bearer ", 7) != 0 || strlen(header) > TOKEN_LIMIT)
    return false;
  *token = header + 7 + strspn(header + 7, " ");
  *length = strlen(*token);
  while (*length > 0 && ((*token)[*length - 1] == ' ' || (*token)[*length - 1] == '\t'))
    --*length; /* not part of a header's value (RFC 9110, 5.5), but libmicrohttpd leaves it in */
  return *length > 0;
}

/* Not for every request: once a minute is enough to tell a token in use from a forgotten one. */
static void note_use(Api *api, LedgerToken *token) {
  int64_t now = clock_wall_us();
  if (now - token->last_used_us < LAST_USED_INTERVAL_US)
    return;
  token->last_used_us = now;
  Error err;
  Status status = ledger_begin(api->ledger, &err);
  if (!status)
    status = ledger_token_used(api->ledger, token->id, now, &err);
  if (!status)
    status = ledger_commit(api->ledger, &err);
  if (status) {
    ledger_rollback(api->ledger);
    log_failure(LOG_LEVEL_WARN, "cannot note a token's use", &err);
  }
}

static const struct {
  const char *name;
  unsigned role;
} roles[] = {{"ci", ROLE_CI}, {"viewer", ROLE_VIEWER}, {"operator", ROLE_OPERATOR}, {"admin", ROLE_ADMIN}};

unsigned auth_role(const char *name) {
  for (size_t i = 0; name && i < ARRAY_SIZE(roles); i++)
    if (strcmp(roles[i].name, name) == 0)
      return roles[i].role;
  return 0;
}

/* "the token shop-ci", or who signed in by OpenID Connect. */
static const char *kind_of(const Request *request) {
  return request->token_hash[0] ? "the token " : "";
}

static Status forbidden(const Request *request, const char *role, unsigned wanted, Error *err) {
  char text[64] = "";
  for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
    size_t used = strlen(text);
    if (wanted & roles[i].role)
      snprintf(text + used, sizeof text - used, "%s%s", used ? ", " : "", roles[i].name);
  }
  error_set(err, ERR_FORBIDDEN, "%s%s is of role %s; this takes one of: %s", kind_of(request), request->actor, role,
            text);
  return ERR_FORBIDDEN;
}

static Status not_of_all(const Request *request, Error *err) {
  error_set(err, ERR_FORBIDDEN, "%s%s is for some databases only; this concerns all of them", kind_of(request),
            request->actor);
  error_remedy(err, "Use a token that was made without --databases.");
  return ERR_FORBIDDEN;
}

static Status expired(const LedgerToken *token, Error *err) {
  char when[CLOCK_TEXT_SIZE];
  clock_format(token->expires_us, when);
  if (token->replaced_us)
    error_set(err, ERR_UNAUTHORIZED, "the token %s was rotated; this is its old secret, valid until %s", token->name,
              when);
  else
    error_set(err, ERR_UNAUTHORIZED, "the token %s expired at %s", token->name, when);
  error_remedy(err,
               token->replaced_us ? "Use its new secret, which `pgseal token rotate` showed."
                                  : "An admin makes it a new secret: `pgseal token rotate %s`.",
               token->name);
  return ERR_UNAUTHORIZED;
}

static bool is_expired(const LedgerToken *token) {
  return token->expires_us && token->expires_us <= clock_wall_us();
}

bool auth_still_good(Api *api, const char *token_hash, const char *session_hash, bool expired_is_good) {
  CLEANUP(ledger_token_release) LedgerToken token = {0};
  Error ignored; /* who cannot be looked up is not let in */
  if (!*token_hash)
    return *session_hash && session_still_good(api, session_hash);
  return ledger_token_by_hash(api->ledger, token_hash, &token, &ignored) == STATUS_OK && !token.revoked_us &&
         (expired_is_good || !is_expired(&token));
}

/* Of whoever it is: his role and scope are in the request. */
static Status check_route(const Request *request, const char *role, const Route *route, Error *err) {
  if (!(route->roles & request->role))
    return forbidden(request, role, route->roles, err);
  return route->reach != REACH_SCOPE && request->scope.text ? not_of_all(request, err) : STATUS_OK;
}

/* Of a token that is known by its hash. */
static Status check_token(Request *request, LedgerToken *token, const Route *route, Error *err) {
  if (token->revoked_us)
    return unauthorized(err);
  snprintf(request->actor, sizeof request->actor, "%s", token->name);
  snprintf(request->person, sizeof request->person, "%s", token->person ? token->person : "");
  if (is_expired(token))
    return expired(token, err);
  note_use(request->api, token);
  scope_release(&request->scope);
  scope_load(&request->scope, token->databases);
  request->role = auth_role(token->role);
  return check_route(request, token->role, route, err);
}

/* Of the token whose hash is in the request. */
static Status check_hash(Request *request, const Route *route, Error *err) {
  CLEANUP(ledger_token_release) LedgerToken token = {0};
  Error cause;
  Status status = ledger_token_by_hash(request->api->ledger, request->token_hash, &token, &cause);
  if (status == ERR_NOT_FOUND)
    return unauthorized(err);
  if (status) {
    *err = cause;
    return status;
  }
  return check_token(request, &token, route, err);
}

Status auth_check_text(Request *request, const char *text, size_t length, Error *err) {
  static const Route any = {.roles = ROLE_LOOKS, .reach = REACH_SCOPE};
  if (length == 0 || length > TOKEN_LIMIT)
    return unauthorized(err);
  sha256_hex(text, length, request->token_hash);
  return check_hash(request, &any, err);
}

/* A token that is shown counts alone: no other site can have a browser send one, as it can a cookie. */
Status auth_check(Request *request, const Route *route, Error *err) {
  if (route->roles & ROLE_NONE)
    return STATUS_OK;
  const char *header = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Authorization");
  const char *text;
  size_t length;
  if (!header) {
    Status status = session_check(request, err);
    if (status)
      return status;
    return request->token_hash[0] ? check_hash(request, route, err)
                                  : check_route(request, auth_role_name(request->role), route, err);
  }
  if (!auth_token_of(header, &text, &length))
    return unauthorized(err);
  sha256_hex(text, length, request->token_hash);
  return check_hash(request, route, err);
}

const char *auth_role_name(unsigned role) {
  for (size_t i = 0; i < ARRAY_SIZE(roles); i++)
    if (roles[i].role == role)
      return roles[i].name;
  return "";
}

static Status has_admin(Api *api, bool *found, Error *err) {
  LedgerToken *tokens = NULL;
  size_t count = 0;
  Status status = ledger_token_list(api->ledger, &tokens, &count, err);
  if (status)
    return status;
  *found = false;
  for (size_t i = 0; i < count; i++)
    *found |= strcmp(tokens[i].name, "admin") == 0;
  ledger_token_list_free(tokens, count);
  return STATUS_OK;
}

Status auth_first_token(Api *api, Error *err) {
  bool found = false;
  Status status = has_admin(api, &found, err);
  if (status || found || !api->config->admin_token_file || !file_exists(api->config->admin_token_file))
    return status;
  CLEANUP_FREE char *text = NULL;
  status = file_read_text(api->config->admin_token_file, TOKEN_LIMIT, &text, err);
  if (status)
    return status;
  if (!*text) {
    error_set(err, ERR_CONFIG, "admin_token_file: %s is empty", api->config->admin_token_file);
    error_remedy(err, "Put a long random token into it, such as `openssl rand -hex 32` makes.");
    return ERR_CONFIG;
  }
  if (strlen(text) < TOKEN_LEAST) {
    error_set(err, ERR_CONFIG, "admin_token_file: the token in %s has less than %d characters",
              api->config->admin_token_file, TOKEN_LEAST);
    error_remedy(err, "Put a long random token into it, such as `openssl rand -hex 32` makes.");
    explicit_bzero(text, strlen(text));
    return ERR_CONFIG;
  }
  Id id = id_new();
  LedgerToken token = {.id = id.text, .name = (char *)"admin", .role = (char *)"admin", .created_us = clock_wall_us()};
  sha256_hex(text, strlen(text), token.hash);
  explicit_bzero(text, strlen(text));
  LedgerEvent event = {.kind = (char *)"token.created",
                       .actor = (char *)"coordinator",
                       .detail = json_pack("{s:s, s:s}", "name", "admin", "role", "admin")};
  status = ledger_begin(api->ledger, err);
  if (!status)
    status = ledger_token_insert(api->ledger, &token, err);
  if (!status)
    status = ledger_event_append(api->ledger, &event, err);
  if (!status)
    status = ledger_commit(api->ledger, err);
  if (status)
    ledger_rollback(api->ledger);
  json_decref(event.detail);
  return status;
}
