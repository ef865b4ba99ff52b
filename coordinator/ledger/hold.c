/* What operators hold back. */
#include "coordinator/ledger/db.h"

#include <stdlib.h>

#include "common/base/memory.h"

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

Status ledger_hold_list(Ledger *ledger, LedgerHold **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM hold ORDER BY what, name";
  Status status = db_statement(ledger, sql, &s, err);
  LedgerHold *list = NULL;
  size_t used = 0;
  bool row = status == STATUS_OK;
  while (row) {
    status = db_step(ledger, s, &row, err);
    if (status != STATUS_OK || !row)
      break;
    int at = 0;
    LedgerHold hold = {0};
    hold.what = db_read_text(s, &at);
    hold.name = db_read_text(s, &at);
    hold.since_us = db_read_integer(s, &at);
    hold.actor = db_read_text(s, &at);
    hold.reason = db_read_text(s, &at);
    ARRAY_PUSH(list, used, hold);
  }
  if (status != STATUS_OK) {
    ledger_hold_list_free(list, used);
    return status;
  }
  *items = list;
  *count = used;
  return STATUS_OK;
}

void ledger_hold_list_free(LedgerHold *items, size_t count) {
  for (size_t i = 0; i < count; i++) {
    char *texts[] = {items[i].what, items[i].name, items[i].actor, items[i].reason};
    for (size_t j = 0; j < ARRAY_SIZE(texts); j++)
      free(texts[j]);
  }
  free(items);
}
