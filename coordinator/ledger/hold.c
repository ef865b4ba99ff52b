/* What operators hold back. */
#include "coordinator/ledger/db.h"

#include <stdlib.h>

#define COLUMNS "what, name, since_us, actor, reason"

static Status take_away(Ledger *ledger, const char *what, const char *name, Error *err) {
  STATEMENT(s);
  static const char sql[] = "DELETE FROM hold WHERE what = ? AND name = ?";
  Status status = db_statement(ledger, sql, &s, err);
  bool row;
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, what);
  db_bind_text(s, &at, name);
  return db_step(ledger, s, &row, err);
}

Status ledger_hold_remove(Ledger *ledger, const char *what, const char *name, Error *err) {
  return take_away(ledger, what, name, err);
}

Status ledger_hold_put(Ledger *ledger, const LedgerHold *hold, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO hold (" COLUMNS ") VALUES (?, ?, ?, ?, ?)";
  Status status = take_away(ledger, hold->what, hold->name, err);
  if (status == STATUS_OK)
    status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, hold->what);
  db_bind_text(s, &at, hold->name);
  db_bind_integer(s, &at, hold->since_us);
  db_bind_text(s, &at, hold->actor);
  db_bind_text(s, &at, hold->reason);
  return db_change(ledger, s, "hold", hold->name, err);
}

static Status read_hold(DbStatement *s, LedgerHold *out, Error *err) {
  (void)err;
  int at = 0;
  out->what = db_read_text(s, &at);
  out->name = db_read_text(s, &at);
  out->since_us = db_read_integer(s, &at);
  out->actor = db_read_text(s, &at);
  out->reason = db_read_text(s, &at);
  return STATUS_OK;
}

DB_LIST(read_holds, LedgerHold, read_hold, ledger_hold_list_free);

Status ledger_hold_list(Ledger *ledger, LedgerHold **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM hold ORDER BY what, name";
  Status status = db_statement(ledger, sql, &s, err);
  return status == STATUS_OK ? read_holds(ledger, s, items, count, err) : status;
}

void ledger_hold_list_free(LedgerHold *items, size_t count) {
  for (size_t i = 0; i < count; i++) {
    char *texts[] = {items[i].what, items[i].name, items[i].actor, items[i].reason};
    for (size_t j = 0; j < ARRAY_SIZE(texts); j++)
      free(texts[j]);
  }
  free(items);
}
