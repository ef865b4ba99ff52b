#include "coordinator/ledger/sqlite.h"

#include <stdlib.h>

#include "common/base/memory.h"

Status sqlite_failure(SqliteLedger *ledger, const char *what, Error *err) {
  int code = sqlite3_errcode(ledger->db) & 0xff;
  Status status = ERR_IO;
  if (code == SQLITE_FULL)
    status = ERR_DISK_FULL;
  else if (code == SQLITE_BUSY || code == SQLITE_LOCKED)
    status = ERR_UNAVAILABLE;
  else if (code == SQLITE_CONSTRAINT)
    status = ERR_CONFLICT;
  else if (code == SQLITE_NOMEM)
    status = ERR_NO_MEMORY;
  error_set(err, status, "ledger %s: %s: %s", ledger->path, what, sqlite3_errmsg(ledger->db));
  error_object(err, "%s", ledger->path);
  return status;
}

Status sqlite_run(SqliteLedger *ledger, const char *sql, Error *err) {
  if (sqlite3_exec(ledger->db, sql, NULL, NULL, NULL) == SQLITE_OK)
    return STATUS_OK;
  Status status = sqlite_failure(ledger, "cannot write", err);
  if (!sqlite3_get_autocommit(ledger->db))
    sqlite3_exec(ledger->db, "ROLLBACK", NULL, NULL, NULL);
  return status;
}

Status sqlite_statement(SqliteLedger *ledger, const char *sql, sqlite3_stmt **out, Error *err) {
  for (size_t i = 0; i < ledger->statement_count; i++) {
    if (ledger->statements[i].sql == sql) {
      *out = ledger->statements[i].statement;
      return STATUS_OK;
    }
  }
  SqliteStatement made = {.sql = sql};
  if (sqlite3_prepare_v3(ledger->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &made.statement, NULL) != SQLITE_OK)
    return sqlite_failure(ledger, "cannot prepare a statement", err);
  ARRAY_PUSH(ledger->statements, ledger->statement_count, made);
  *out = made.statement;
  return STATUS_OK;
}

void sqlite_statement_reset(sqlite3_stmt **statement) {
  if (!*statement)
    return;
  sqlite3_reset(*statement);
  sqlite3_clear_bindings(*statement);
}

Status sqlite_step(SqliteLedger *ledger, sqlite3_stmt *statement, bool *row, Error *err) {
  int rc = sqlite3_step(statement);
  if (rc != SQLITE_ROW && rc != SQLITE_DONE)
    return sqlite_failure(ledger, sqlite3_stmt_readonly(statement) ? "cannot read" : "cannot write", err);
  *row = rc == SQLITE_ROW;
  return STATUS_OK;
}

Status sqlite_change(SqliteLedger *ledger, sqlite3_stmt *statement, const char *what, const char *id, Error *err) {
  bool row;
  Status status = sqlite_step(ledger, statement, &row, err);
  if (status != STATUS_OK)
    return status;
  if (sqlite3_changes(ledger->db) == 0)
    return error_set(err, ERR_NOT_FOUND, "the ledger has no %s %s", what, id);
  return STATUS_OK;
}

/* A failed bind (out of memory, text too long) leaves NULL, which NOT NULL and CHECK constraints catch where it counts.
 */
void sqlite_bind_text(sqlite3_stmt *statement, int *at, const char *text) {
  sqlite3_bind_text(statement, (*at)++, text, -1, SQLITE_TRANSIENT);
}

void sqlite_bind_integer(sqlite3_stmt *statement, int *at, int64_t value) {
  sqlite3_bind_int64(statement, (*at)++, value);
}

void sqlite_bind_real(sqlite3_stmt *statement, int *at, double value) {
  sqlite3_bind_double(statement, (*at)++, value);
}

void sqlite_bind_json(sqlite3_stmt *statement, int *at, const json_t *json) {
  char *text = json ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;
  sqlite3_bind_text(statement, (*at)++, text, -1, text ? free : SQLITE_STATIC);
}

char *sqlite_read_text(sqlite3_stmt *statement, int *at) {
  const char *text = (const char *)sqlite3_column_text(statement, (*at)++);
  return text ? memory_strdup(text) : NULL;
}

int64_t sqlite_read_integer(sqlite3_stmt *statement, int *at) {
  return sqlite3_column_int64(statement, (*at)++);
}

double sqlite_read_real(sqlite3_stmt *statement, int *at) {
  return sqlite3_column_double(statement, (*at)++);
}

json_t *sqlite_read_json(sqlite3_stmt *statement, int *at) {
  const char *text = (const char *)sqlite3_column_text(statement, (*at)++);
  return text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
}
