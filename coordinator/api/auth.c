/* Bearer tokens. Only their SHA-256 is kept, and it is looked up as a whole: nothing to learn from timing. */
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

enum { TOKEN_LIMIT = 512, LAST_USED_INTERVAL_US = 60 * 1000 * 1000 };

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
    status = ledger_token_update(api->ledger, token, &err);
  if (!status)
    status = ledger_commit(api->ledger, &err);
  if (status) {
    ledger_rollback(api->ledger);
    log_failure(LOG_LEVEL_WARN, "cannot note a token's use", &err);
  }
}

Status auth_check(Request *request, Role needed, Error *err) {
  if (needed == ROLE_NONE)
    return STATUS_OK;
  const char *header = MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Authorization");
  const char *text;
  size_t length;
  char hash[SHA256_HEX_SIZE];
  if (!auth_token_of(header, &text, &length))
    return unauthorized(err);
  sha256_hex(text, length, hash);
  LedgerToken token = {0};
  Error ignored;
  Status status = ledger_token_by_hash(request->api->ledger, hash, &token, &ignored);
  if (status == ERR_NOT_FOUND || (!status && token.revoked_us)) {
    ledger_token_release(&token);
    return unauthorized(err);
  }
  if (status) {
    *err = ignored;
    return status;
  }
  note_use(request->api, &token);
  snprintf(request->actor, sizeof request->actor, "%s", token.name);
  request->role = strcmp(token.role, "admin") == 0 ? ROLE_ADMIN : ROLE_CI;
  ledger_token_release(&token);
  if (request->role < needed)
    return error_set(err, ERR_FORBIDDEN, "this token may not do that; it takes one of role admin");
  return STATUS_OK;
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
