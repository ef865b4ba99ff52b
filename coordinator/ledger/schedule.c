/* Which runs of each database's schedule were dealt with. */
#include "coordinator/ledger/db.h"

#include <stdlib.h>

#include "common/base/memory.h"

#define COLUMNS                                                                                                        \
  "database, spec, slot_us, handled_us, outcome, checkpoint_id, missed_us, missed_count, skipped_us, skipped_count"

Status ledger_schedule_put(Ledger *ledger, const LedgerSchedule *row, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "INSERT INTO schedule (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
      "ON CONFLICT (database) DO UPDATE SET spec = excluded.spec, slot_us = excluded.slot_us, "
      "handled_us = excluded.handled_us, outcome = excluded.outcome, checkpoint_id = excluded.checkpoint_id, "
      "missed_us = excluded.missed_us, missed_count = excluded.missed_count, skipped_us = excluded.skipped_us, "
      "skipped_count = excluded.skipped_count";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, row->database);
  db_bind_text(s, &at, row->spec);
  db_bind_integer(s, &at, row->slot_us);
  db_bind_integer(s, &at, row->handled_us);
  db_bind_text(s, &at, row->outcome);
  db_bind_text(s, &at, row->checkpoint_id);
  db_bind_integer(s, &at, row->missed_us);
  db_bind_integer(s, &at, row->missed_count);
  db_bind_integer(s, &at, row->skipped_us);
  db_bind_integer(s, &at, row->skipped_count);
  return db_change(ledger, s, "schedule", row->database, err);
}

Status ledger_schedule_advance(Ledger *ledger, const LedgerSchedule *row, int64_t from_us, Error *err) {
  STATEMENT(s);
  static const char sql[] = "UPDATE schedule SET slot_us = ?, handled_us = ?, outcome = ?, checkpoint_id = ?, "
                            "missed_us = ?, missed_count = ?, skipped_us = ?, skipped_count = ? "
                            "WHERE database = ? AND spec = ? AND slot_us = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, row->slot_us);
  db_bind_integer(s, &at, row->handled_us);
  db_bind_text(s, &at, row->outcome);
  db_bind_text(s, &at, row->checkpoint_id);
  db_bind_integer(s, &at, row->missed_us);
  db_bind_integer(s, &at, row->missed_count);
  db_bind_integer(s, &at, row->skipped_us);
  db_bind_integer(s, &at, row->skipped_count);
  db_bind_text(s, &at, row->database);
  db_bind_text(s, &at, row->spec);
  db_bind_integer(s, &at, from_us);
  Error cause;
  status = db_change(ledger, s, "schedule", row->database, &cause);
  if (status == ERR_NOT_FOUND)
    return error_set(err, ERR_CONFLICT, "the schedule of database %s went on without this coordinator", row->database);
  if (status != STATUS_OK)
    *err = cause;
  return status;
}

Status ledger_schedule_remove(Ledger *ledger, const char *database, Error *err) {
  STATEMENT(s);
  static const char sql[] = "DELETE FROM schedule WHERE database = ?";
  Status status = db_statement(ledger, sql, &s, err);
  int at = 1;
  bool row;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, database);
  return db_step(ledger, s, &row, err);
}

static Status read_row(DbStatement *s, LedgerSchedule *out, Error *err) {
  (void)err;
  int at = 0;
  out->database = db_read_text(s, &at);
  out->spec = db_read_text(s, &at);
  out->slot_us = db_read_integer(s, &at);
  out->handled_us = db_read_integer(s, &at);
  out->outcome = db_read_text(s, &at);
  out->checkpoint_id = db_read_text(s, &at);
  out->missed_us = db_read_integer(s, &at);
  out->missed_count = db_read_integer(s, &at);
  out->skipped_us = db_read_integer(s, &at);
  out->skipped_count = db_read_integer(s, &at);
  return STATUS_OK;
}

void ledger_schedule_release(LedgerSchedule *row) {
  free(row->database);
  free(row->spec);
  free(row->outcome);
  free(row->checkpoint_id);
  *row = (LedgerSchedule){0};
}

LedgerSchedule ledger_schedule_copy(const LedgerSchedule *row) {
  LedgerSchedule copy = *row;
  copy.database = memory_strdup(row->database);
  copy.spec = memory_strdup(row->spec);
  copy.outcome = row->outcome ? memory_strdup(row->outcome) : NULL;
  copy.checkpoint_id = row->checkpoint_id ? memory_strdup(row->checkpoint_id) : NULL;
  return copy;
}

void ledger_schedule_list_free(LedgerSchedule *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    ledger_schedule_release(&items[i]);
  free(items);
}

DB_LIST(read_all, LedgerSchedule, read_row, ledger_schedule_list_free);

Status ledger_schedule_list(Ledger *ledger, LedgerSchedule **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM schedule";
  Status status = db_statement(ledger, sql, &s, err);
  return status == STATUS_OK ? read_all(ledger, s, items, count, err) : status;
}

/* ---- marks: in the table of counters, whose own names have no '/' ---- */

Status ledger_mark_get(Ledger *ledger, const char *name, int64_t *wall_us, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT value FROM counter WHERE name = ?", &s, err);
  int at = 1;
  bool row = false;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, name);
  status = db_step(ledger, s, &row, err);
  at = 0;
  if (status == STATUS_OK)
    *wall_us = row ? db_read_integer(s, &at) : 0;
  return status;
}

Status ledger_mark_put(Ledger *ledger, const char *name, int64_t wall_us, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO counter (name, value) VALUES (?, ?) "
                            "ON CONFLICT (name) DO UPDATE SET value = excluded.value";
  Status status = db_statement(ledger, sql, &s, err);
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, name);
  db_bind_integer(s, &at, wall_us);
  return db_change(ledger, s, "mark", name, err);
}
