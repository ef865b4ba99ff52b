#include "coordinator/ledger/sqlite.h"

#include <string.h>

Status sqlite_tip_get(void *backend, LedgerTip *tip, Error *err) {
  STATEMENT(s);
  Status status = sqlite_statement(backend, "SELECT sequence, hash FROM tip WHERE one = 1", &s, err);
  bool row = false;
  if (status == STATUS_OK)
    status = sqlite_step(backend, s, &row, err);
  if (status != STATUS_OK)
    return status;
  const char *hash = row ? (const char *)sqlite3_column_text(s, 1) : NULL;
  if (!hash || strlen(hash) != LEDGER_HASH_SIZE - 1)
    return error_set(err, ERR_CONFLICT, "the ledger has lost the tip of its chain");
  tip->sequence = sqlite3_column_int64(s, 0);
  memcpy(tip->hash, hash, LEDGER_HASH_SIZE);
  return STATUS_OK;
}

static Status insert_row(SqliteLedger *ledger, const LedgerEvent *event, const char *detail, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "INSERT INTO event (sequence, time_us, kind, checkpoint_id, job_id, database, agent, actor, "
      "detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  Status status = sqlite_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_integer(s, &at, event->sequence);
  sqlite_bind_integer(s, &at, event->time_us);
  sqlite_bind_text(s, &at, event->kind);
  sqlite_bind_text(s, &at, event->checkpoint_id);
  sqlite_bind_text(s, &at, event->job_id);
  sqlite_bind_text(s, &at, event->database);
  sqlite_bind_text(s, &at, event->agent);
  sqlite_bind_text(s, &at, event->actor);
  sqlite_bind_text(s, &at, detail);
  sqlite_bind_text(s, &at, event->hash);
  return sqlite_change(ledger, s, "event", event->kind, err);
}

static Status move_tip(SqliteLedger *ledger, const LedgerEvent *event, Error *err) {
  STATEMENT(s);
  Status status = sqlite_statement(ledger, "UPDATE tip SET sequence = ?, hash = ? WHERE one = 1", &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_integer(s, &at, event->sequence);
  sqlite_bind_text(s, &at, event->hash);
  return sqlite_change(ledger, s, "tip", event->hash, err);
}

Status sqlite_event_insert(void *backend, const LedgerEvent *event, const char *detail, Error *err) {
  SqliteLedger *ledger = backend;
  bool alone = sqlite3_get_autocommit(ledger->db) != 0; /* not inside ledger_begin: both rows or none all the same */
  Status status = alone ? sqlite_run(ledger, "BEGIN IMMEDIATE", err) : STATUS_OK;
  if (status == STATUS_OK)
    status = insert_row(ledger, event, detail, err);
  if (status == STATUS_OK)
    status = move_tip(ledger, event, err);
  if (!alone)
    return status;
  if (status == STATUS_OK)
    return sqlite_run(ledger, "COMMIT", err);
  if (!sqlite3_get_autocommit(ledger->db))
    sqlite3_exec(ledger->db, "ROLLBACK", NULL, NULL, NULL);
  return status;
}

static Status read_event(sqlite3_stmt *s, LedgerEvent *out, Error *err) {
  LedgerEvent event = {0};
  int at = 0;
  event.sequence = sqlite_read_integer(s, &at);
  event.time_us = sqlite_read_integer(s, &at);
  event.kind = sqlite_read_text(s, &at);
  event.checkpoint_id = sqlite_read_text(s, &at);
  event.job_id = sqlite_read_text(s, &at);
  event.database = sqlite_read_text(s, &at);
  event.agent = sqlite_read_text(s, &at);
  event.actor = sqlite_read_text(s, &at);
  bool has_detail = sqlite3_column_type(s, at) != SQLITE_NULL;
  event.detail = sqlite_read_json(s, &at);
  const char *hash = (const char *)sqlite3_column_text(s, at);
  if (!hash || strlen(hash) != LEDGER_HASH_SIZE - 1 || (has_detail && !event.detail)) {
    error_set(err, ERR_CONFLICT, "the ledger's chain is broken at event %lld: it was altered after it was written",
              (long long)event.sequence);
    ledger_event_release(&event);
    return ERR_CONFLICT;
  }
  memcpy(event.hash, hash, LEDGER_HASH_SIZE);
  *out = event;
  return STATUS_OK;
}

#define EVENTS                                                                                                         \
  "SELECT sequence, time_us, kind, checkpoint_id, job_id, database, agent, actor, detail, hash FROM event "            \
  "WHERE sequence > ?1 AND " SQLITE_IN_SCOPE("?3")

Status sqlite_event_walk(void *backend, const EventFilter *filter, LedgerEventVisit *visit, void *user, Error *err) {
  STATEMENT(s);
  static const char all[] = EVENTS " ORDER BY sequence LIMIT ?2";
  static const char newest[] = "SELECT * FROM (" EVENTS " ORDER BY sequence DESC LIMIT ?2) ORDER BY sequence";
  static const char of_one[] = EVENTS " AND checkpoint_id = ?4 ORDER BY sequence LIMIT ?2";
  const char *sql = filter->checkpoint_id ? of_one : filter->newest ? newest : all;
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_integer(s, &at, filter->after);
  sqlite_bind_integer(s, &at, filter->limit > 0 ? filter->limit : -1);
  sqlite_bind_text(s, &at, filter->scope);
  if (filter->checkpoint_id)
    sqlite_bind_text(s, &at, filter->checkpoint_id);
  for (;;) {
    LedgerEvent event = {0};
    bool row = false;
    status = sqlite_step(backend, s, &row, err);
    if (status != STATUS_OK || !row)
      return status;
    status = read_event(s, &event, err);
    if (status != STATUS_OK)
      return status;
    status = visit(user, &event, err);
    ledger_event_release(&event);
    if (status != STATUS_OK)
      return status;
  }
}
