/* Tokens and agents. */
#include "coordinator/ledger/db.h"

#define TOKEN_COLUMNS                                                                                                  \
  "id, name, role, hash, created_us, last_used_us, revoked_us, databases, expires_us, replaced_us, person"

static Status read_token(DbStatement *s, LedgerToken *out, Error *err) {
  (void)err;
  int at = 0;
  *out = (LedgerToken){0};
  out->id = db_read_text(s, &at);
  out->name = db_read_text(s, &at);
  out->role = db_read_text(s, &at);
  CLEANUP_FREE char *hash = db_read_text(s, &at);
  snprintf(out->hash, sizeof out->hash, "%s", hash ? hash : "");
  out->created_us = db_read_integer(s, &at);
  out->last_used_us = db_read_integer(s, &at);
  out->revoked_us = db_read_integer(s, &at);
  out->databases = db_read_text(s, &at);
  out->expires_us = db_read_integer(s, &at);
  out->replaced_us = db_read_integer(s, &at);
  out->person = db_read_text(s, &at);
  return STATUS_OK;
}

Status ledger_token_insert(Ledger *ledger, const LedgerToken *token, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO token (" TOKEN_COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, token->id);
  db_bind_text(s, &at, token->name);
  db_bind_text(s, &at, token->role);
  db_bind_text(s, &at, token->hash);
  db_bind_integer(s, &at, token->created_us);
  db_bind_integer(s, &at, token->last_used_us);
  db_bind_integer(s, &at, token->revoked_us);
  db_bind_text(s, &at, token->databases);
  db_bind_integer(s, &at, token->expires_us);
  db_bind_integer(s, &at, token->replaced_us);
  db_bind_text(s, &at, token->person);
  Error cause;
  status = db_change(ledger, s, "token", token->name, &cause);
  if (status == ERR_CONFLICT) {
    error_set(err, ERR_CONFLICT, "there is already a token named %s", token->name);
    error_remedy(err, "Choose another name, or revoke that token first.");
  } else if (status != STATUS_OK) {
    *err = cause;
  }
  return status;
}

Status ledger_token_by_hash(Ledger *ledger, const char *hash, LedgerToken *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " TOKEN_COLUMNS " FROM token WHERE hash = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, hash);
  status = db_row(ledger, s, err, "there is no such token");
  return status == STATUS_OK ? read_token(s, out, err) : status;
}

Status ledger_token_update(Ledger *ledger, const LedgerToken *token, Error *err) {
  STATEMENT(s);
  static const char sql[] = "UPDATE token SET name = ?, role = ?, last_used_us = ?, revoked_us = ?, databases = ?, "
                            "expires_us = ?, replaced_us = ? WHERE id = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, token->name);
  db_bind_text(s, &at, token->role);
  db_bind_integer(s, &at, token->last_used_us);
  db_bind_integer(s, &at, token->revoked_us);
  db_bind_text(s, &at, token->databases);
  db_bind_integer(s, &at, token->expires_us);
  db_bind_integer(s, &at, token->replaced_us);
  db_bind_text(s, &at, token->id);
  return db_change(ledger, s, "token", token->name, err);
}

Status ledger_token_used(Ledger *ledger, const char *id, int64_t now_us, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "UPDATE token SET last_used_us = ? WHERE id = ?", &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, now_us);
  db_bind_text(s, &at, id);
  return db_change(ledger, s, "token", id, err);
}

DB_LIST(read_tokens, LedgerToken, read_token, ledger_token_list_free);

Status ledger_token_list(Ledger *ledger, LedgerToken **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " TOKEN_COLUMNS " FROM token ORDER BY created_us, id";
  Status status = db_statement(ledger, sql, &s, err);
  return status == STATUS_OK ? read_tokens(ledger, s, items, count, err) : status;
}

Status ledger_agent_put(Ledger *ledger, const LedgerAgent *agent, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "INSERT INTO agent (name, version, host, detail, first_seen_us, last_seen_us) VALUES (?, ?, ?, ?, ?, ?) "
      "ON CONFLICT (name) DO UPDATE SET version = excluded.version, host = excluded.host, detail = excluded.detail, "
      "last_seen_us = excluded.last_seen_us";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, agent->name);
  db_bind_text(s, &at, agent->version);
  db_bind_text(s, &at, agent->host);
  db_bind_json(s, &at, agent->detail);
  db_bind_integer(s, &at, agent->first_seen_us);
  db_bind_integer(s, &at, agent->last_seen_us);
  return db_change(ledger, s, "agent", agent->name, err);
}

static Status read_agent(DbStatement *s, LedgerAgent *out, Error *err) {
  (void)err;
  int at = 0;
  out->name = db_read_text(s, &at);
  out->version = db_read_text(s, &at);
  out->host = db_read_text(s, &at);
  out->detail = db_read_json(s, &at);
  out->first_seen_us = db_read_integer(s, &at);
  out->last_seen_us = db_read_integer(s, &at);
  return STATUS_OK;
}

DB_LIST(read_agents, LedgerAgent, read_agent, ledger_agent_list_free);

Status ledger_agent_list(Ledger *ledger, LedgerAgent **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT name, version, host, detail, first_seen_us, last_seen_us FROM agent ORDER BY name";
  Status status = db_statement(ledger, sql, &s, err);
  return status == STATUS_OK ? read_agents(ledger, s, items, count, err) : status;
}
