#include "coordinator/ledger/db.h"

#include <string.h>

Status ledger_tip_get(Ledger *ledger, LedgerTip *tip, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT sequence, hash FROM tip WHERE one = 1", &s, err);
  bool row = false;
  if (status == STATUS_OK)
    status = db_step(ledger, s, &row, err);
  if (status != STATUS_OK)
    return status;
  const char *hash = row ? db_peek_text(s, 1) : NULL;
  if (!hash || strlen(hash) != LEDGER_HASH_SIZE - 1)
    return error_set(err, ERR_CONFLICT, "the ledger has lost the tip of its chain");
  int at = 0;
  tip->sequence = db_read_integer(s, &at);
  memcpy(tip->hash, hash, LEDGER_HASH_SIZE);
  return STATUS_OK;
}

static Status insert_row(Ledger *ledger, const LedgerEvent *event, const char *detail, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "INSERT INTO event (sequence, time_us, kind, checkpoint_id, job_id, database, agent, actor, "
      "detail, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, event->sequence);
  db_bind_integer(s, &at, event->time_us);
  db_bind_text(s, &at, event->kind);
  db_bind_text(s, &at, event->checkpoint_id);
  db_bind_text(s, &at, event->job_id);
  db_bind_text(s, &at, event->database);
  db_bind_text(s, &at, event->agent);
  db_bind_text(s, &at, event->actor);
  db_bind_text(s, &at, detail);
  db_bind_text(s, &at, event->hash);
  return db_change(ledger, s, "event", event->kind, err);
}

static Status move_tip(Ledger *ledger, const LedgerEvent *event, Error *err) {
  STATEMENT(s);
  static const char sql[] = "UPDATE tip SET sequence = ?, hash = ? WHERE one = 1 AND sequence = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, event->sequence);
  db_bind_text(s, &at, event->hash);
  db_bind_integer(s, &at, event->sequence - 1);
  Error gone;
  status = db_change(ledger, s, "tip", event->hash, &gone);
  if (status == ERR_NOT_FOUND)
    return error_set(err, ERR_CONFLICT, "the ledger's chain went on beside event %lld", (long long)event->sequence);
  if (status != STATUS_OK)
    *err = gone;
  return status;
}

Status ledger_event_insert(Ledger *ledger, const LedgerEvent *event, const char *detail, Error *err) {
  Status status = insert_row(ledger, event, detail, err);
  return status == STATUS_OK ? move_tip(ledger, event, err) : status;
}

static Status read_event(DbStatement *s, LedgerEvent *out, Error *err) {
  LedgerEvent event = {0};
  int at = 0;
  event.sequence = db_read_integer(s, &at);
  event.time_us = db_read_integer(s, &at);
  event.kind = db_read_text(s, &at);
  event.checkpoint_id = db_read_text(s, &at);
  event.job_id = db_read_text(s, &at);
  event.database = db_read_text(s, &at);
  event.agent = db_read_text(s, &at);
  event.actor = db_read_text(s, &at);
  bool has_detail = db_peek_text(s, at) != NULL;
  event.detail = db_read_json(s, &at);
  const char *hash = db_peek_text(s, at);
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
  "WHERE sequence > ?1 AND in_scope(database, ?3)"

Status ledger_event_walk(Ledger *ledger, const EventFilter *filter, LedgerEventVisit *visit, void *user, Error *err) {
  STATEMENT(s);
  static const char all[] = EVENTS " ORDER BY sequence LIMIT ?2";
  static const char newest[] = "SELECT * FROM (" EVENTS " ORDER BY sequence DESC LIMIT ?2) AS newest ORDER BY sequence";
  static const char of_one[] = EVENTS " AND checkpoint_id = ?4 ORDER BY sequence LIMIT ?2";
  const char *sql = filter->checkpoint_id ? of_one : filter->newest ? newest : all;
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, filter->after);
  db_bind_integer(s, &at, filter->limit > 0 ? filter->limit : DB_NO_LIMIT);
  db_bind_text(s, &at, filter->scope);
  if (filter->checkpoint_id)
    db_bind_text(s, &at, filter->checkpoint_id);
  for (;;) {
    LedgerEvent event = {0};
    bool row = false;
    status = db_step(ledger, s, &row, err);
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
