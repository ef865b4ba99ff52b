/* Tokens and agents. */
#include "coordinator/ledger/sqlite.h"

#include <string.h>

#include "common/base/memory.h"

#define TOKEN_COLUMNS "id, name, role, hash, created_us, last_used_us, revoked_us, databases, expires_us, replaced_us"

static void read_token(sqlite3_stmt *s, LedgerToken *out) {
  int at = 0;
  LedgerToken token = {0};
  token.id = sqlite_read_text(s, &at);
  token.name = sqlite_read_text(s, &at);
  token.role = sqlite_read_text(s, &at);
  CLEANUP_FREE char *hash = sqlite_read_text(s, &at);
  snprintf(token.hash, sizeof token.hash, "%s", hash ? hash : "");
  token.created_us = sqlite_read_integer(s, &at);
  token.last_used_us = sqlite_read_integer(s, &at);
  token.revoked_us = sqlite_read_integer(s, &at);
  token.databases = sqlite_read_text(s, &at);
  token.expires_us = sqlite_read_integer(s, &at);
  token.replaced_us = sqlite_read_integer(s, &at);
  *out = token;
}

Status sqlite_token_insert(void *backend, const LedgerToken *token, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO token (" TOKEN_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, token->id);
  sqlite_bind_text(s, &at, token->name);
  sqlite_bind_text(s, &at, token->role);
  sqlite_bind_text(s, &at, token->hash);
  sqlite_bind_integer(s, &at, token->created_us);
  sqlite_bind_integer(s, &at, token->last_used_us);
  sqlite_bind_integer(s, &at, token->revoked_us);
  sqlite_bind_text(s, &at, token->databases);
  sqlite_bind_integer(s, &at, token->expires_us);
  sqlite_bind_integer(s, &at, token->replaced_us);
  Error cause;
  status = sqlite_change(backend, s, "token", token->name, &cause);
  if (status == ERR_CONFLICT) {
    error_set(err, ERR_CONFLICT, "there is already a token named %s", token->name);
    error_remedy(err, "Choose another name, or revoke that token first.");
  } else if (status != STATUS_OK) {
    *err = cause;
  }
  return status;
}

Status sqlite_token_by_hash(void *backend, const char *hash, LedgerToken *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " TOKEN_COLUMNS " FROM token WHERE hash = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  sqlite_bind_text(s, &at, hash);
  status = sqlite_step(backend, s, &row, err);
  if (status != STATUS_OK)
    return status;
  if (!row)
    return error_set(err, ERR_NOT_FOUND, "there is no such token");
  read_token(s, out);
  return STATUS_OK;
}

Status sqlite_token_update(void *backend, const LedgerToken *token, Error *err) {
  STATEMENT(s);
  static const char sql[] = "UPDATE token SET name = ?, role = ?, last_used_us = ?, revoked_us = ?, databases = ?, "
                            "expires_us = ?, replaced_us = ? WHERE id = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, token->name);
  sqlite_bind_text(s, &at, token->role);
  sqlite_bind_integer(s, &at, token->last_used_us);
  sqlite_bind_integer(s, &at, token->revoked_us);
  sqlite_bind_text(s, &at, token->databases);
  sqlite_bind_integer(s, &at, token->expires_us);
  sqlite_bind_integer(s, &at, token->replaced_us);
  sqlite_bind_text(s, &at, token->id);
  return sqlite_change(backend, s, "token", token->name, err);
}

Status sqlite_token_list(void *backend, LedgerToken **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " TOKEN_COLUMNS " FROM token ORDER BY created_us, id";
  Status status = sqlite_statement(backend, sql, &s, err);
  LedgerToken *list = NULL;
  size_t used = 0;
  for (bool row = true; status == STATUS_OK;) {
    LedgerToken next;
    status = sqlite_step(backend, s, &row, err);
    if (status != STATUS_OK || !row)
      break;
    read_token(s, &next);
    ARRAY_PUSH(list, used, next);
  }
  if (status != STATUS_OK) {
    ledger_token_list_free(list, used);
    return status;
  }
  *items = list;
  *count = used;
  return STATUS_OK;
}

Status sqlite_agent_put(void *backend, const LedgerAgent *agent, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "INSERT INTO agent (name, version, host, detail, first_seen_us, last_seen_us) VALUES (?, ?, ?, ?, ?, ?) "
      "ON CONFLICT (name) DO UPDATE SET version = excluded.version, host = excluded.host, detail = excluded.detail, "
      "last_seen_us = excluded.last_seen_us";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, agent->name);
  sqlite_bind_text(s, &at, agent->version);
  sqlite_bind_text(s, &at, agent->host);
  sqlite_bind_json(s, &at, agent->detail);
  sqlite_bind_integer(s, &at, agent->first_seen_us);
  sqlite_bind_integer(s, &at, agent->last_seen_us);
  return sqlite_change(backend, s, "agent", agent->name, err);
}

Status sqlite_agent_list(void *backend, LedgerAgent **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT name, version, host, detail, first_seen_us, last_seen_us FROM agent ORDER BY name";
  Status status = sqlite_statement(backend, sql, &s, err);
  LedgerAgent *list = NULL;
  size_t used = 0;
  for (bool row = true; status == STATUS_OK;) {
    status = sqlite_step(backend, s, &row, err);
    if (status != STATUS_OK || !row)
      break;
    int at = 0;
    LedgerAgent next = {0};
    next.name = sqlite_read_text(s, &at);
    next.version = sqlite_read_text(s, &at);
    next.host = sqlite_read_text(s, &at);
    next.detail = sqlite_read_json(s, &at);
    next.first_seen_us = sqlite_read_integer(s, &at);
    next.last_seen_us = sqlite_read_integer(s, &at);
    ARRAY_PUSH(list, used, next);
  }
  if (status != STATUS_OK) {
    ledger_agent_list_free(list, used);
    return status;
  }
  *items = list;
  *count = used;
  return STATUS_OK;
}
