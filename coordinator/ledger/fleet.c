/* The documents of the fleet. */
#include "coordinator/ledger/db.h"

#define COLUMNS "version, name, text, applied_by, applied_us"

Status ledger_fleet_version(Ledger *ledger, int64_t *version, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT coalesce(max(version), 0) FROM fleet";
  Status status = db_statement(ledger, sql, &s, err);
  bool row = false;
  int at = 0;
  if (status == STATUS_OK)
    status = db_step(ledger, s, &row, err);
  if (status == STATUS_OK)
    *version = row ? db_read_integer(s, &at) : 0;
  return status;
}

Status ledger_fleet_get(Ledger *ledger, LedgerFleet *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM fleet ORDER BY version DESC LIMIT 1";
  Status status = db_statement(ledger, sql, &s, err);
  int at = 0;
  if (status == STATUS_OK)
    status = db_row(ledger, s, err, "no fleet.yaml was ever applied");
  if (status != STATUS_OK)
    return status;
  out->version = db_read_integer(s, &at);
  out->name = db_read_text(s, &at);
  out->text = db_read_text(s, &at);
  out->applied_by = db_read_text(s, &at);
  out->applied_us = db_read_integer(s, &at);
  return STATUS_OK;
}

static Status trim(Ledger *ledger, int64_t newest, Error *err) {
  STATEMENT(s);
  static const char sql[] = "DELETE FROM fleet WHERE version <= ?";
  Status status = db_statement(ledger, sql, &s, err);
  bool row;
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_integer(s, &at, newest - LEDGER_FLEETS_KEPT);
  return db_step(ledger, s, &row, err);
}

Status ledger_fleet_insert(Ledger *ledger, const LedgerFleet *fleet, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO fleet (" COLUMNS ") VALUES (?, ?, ?, ?, ?)";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, fleet->version);
  db_bind_text(s, &at, fleet->name);
  db_bind_text(s, &at, fleet->text);
  db_bind_text(s, &at, fleet->applied_by);
  db_bind_integer(s, &at, fleet->applied_us);
  status = db_change(ledger, s, "fleet", fleet->name, err);
  return status == STATUS_OK ? trim(ledger, fleet->version, err) : status;
}
