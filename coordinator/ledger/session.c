/* Who is signed in at the dashboard. */
#include "coordinator/ledger/db.h"

#include <stdio.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

#define COLUMNS "hash, token_hash, created_us, seen_us, expires_us, name, grant_key"

Status ledger_session_insert(Ledger *ledger, const LedgerSession *session, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "INSERT INTO session (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?)", &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, session->hash);
  db_bind_text(s, &at, session->token_hash);
  db_bind_integer(s, &at, session->created_us);
  db_bind_integer(s, &at, session->seen_us);
  db_bind_integer(s, &at, session->expires_us);
  db_bind_text(s, &at, session->name[0] ? session->name : NULL);
  db_bind_text(s, &at, session->grant_key[0] ? session->grant_key : NULL);
  return db_change(ledger, s, "session", "", err);
}

static void read_into(DbStatement *s, int *at, char *out, size_t size) {
  CLEANUP_FREE char *text = db_read_text(s, at);
  snprintf(out, size, "%s", text ? text : "");
}

Status ledger_session_get(Ledger *ledger, const char *hash, LedgerSession *out, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT " COLUMNS " FROM session WHERE hash = ?", &s, err);
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, hash);
  status = db_row(ledger, s, err, "there is no such session");
  if (status != STATUS_OK)
    return status;
  *out = (LedgerSession){0};
  snprintf(out->hash, sizeof out->hash, "%s", hash);
  at = 1;
  read_into(s, &at, out->token_hash, sizeof out->token_hash);
  out->created_us = db_read_integer(s, &at);
  out->seen_us = db_read_integer(s, &at);
  out->expires_us = db_read_integer(s, &at);
  read_into(s, &at, out->name, sizeof out->name);
  read_into(s, &at, out->grant_key, sizeof out->grant_key);
  return STATUS_OK;
}

Status ledger_session_seen(Ledger *ledger, const char *hash, int64_t now_us, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "UPDATE session SET seen_us = ? WHERE hash = ?", &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, now_us);
  db_bind_text(s, &at, hash);
  return db_change(ledger, s, "session", "", err);
}

Status ledger_session_remove(Ledger *ledger, const char *hash, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "DELETE FROM session WHERE hash = ?", &s, err);
  bool row;
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, hash);
  return db_step(ledger, s, &row, err);
}

static Status remove_old(Ledger *ledger, int64_t now_us, int64_t seen_us, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "DELETE FROM session WHERE expires_us <= ? OR seen_us <= ?", &s, err);
  bool row;
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_integer(s, &at, now_us);
  db_bind_integer(s, &at, seen_us);
  return db_step(ledger, s, &row, err);
}

Status ledger_session_tidy(Ledger *ledger, const char *token_hash, int64_t now_us, int64_t seen_us, int64_t most,
                           Error *err) {
  STATEMENT(s);
  static const char sql[] = "DELETE FROM session WHERE token_hash = ?1 AND hash NOT IN "
                            "(SELECT hash FROM session WHERE token_hash = ?1 ORDER BY created_us DESC, hash LIMIT ?2)";
  Status status = remove_old(ledger, now_us, seen_us, err);
  if (status == STATUS_OK)
    status = db_statement(ledger, sql, &s, err);
  bool row;
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, token_hash);
  db_bind_integer(s, &at, most);
  return db_step(ledger, s, &row, err);
}
