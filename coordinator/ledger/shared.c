/* Several coordinators on one ledger: who they are, what they hear of, which one leads. */
#include "coordinator/ledger/db.h"

#include <stdlib.h>

enum { GONE_SECONDS = 86400 };

bool ledger_shared(const Ledger *ledger) {
  return ledger->ops->lead != NULL;
}

bool ledger_changed(Ledger *ledger) {
  return ledger->ops->changed && ledger->ops->changed(ledger->driver);
}

Status ledger_lead(Ledger *ledger, bool *leads, Error *err) {
  *leads = !ledger->ops->lead;
  return ledger->ops->lead ? ledger->ops->lead(ledger->driver, leads, err) : STATUS_OK;
}

void ledger_lease_list_free(LedgerLease *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    free(items[i].job_id);
  free(items);
}

static Status read_lease(DbStatement *s, LedgerLease *out, Error *err) {
  (void)err;
  int at = 0;
  out->job_id = db_read_text(s, &at);
  out->until_us = db_read_integer(s, &at);
  return STATUS_OK;
}

DB_LIST(read_leases, LedgerLease, read_lease, ledger_lease_list_free);

Status ledger_job_leases(Ledger *ledger, LedgerLease **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT id, lease_until_us FROM job WHERE state IN ('leased', 'running')";
  Status status = db_statement(ledger, sql, &s, err);
  return status == STATUS_OK ? read_leases(ledger, s, items, count, err) : status;
}

static Status forget_gone(Ledger *ledger, int64_t now_us, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "DELETE FROM coordinator WHERE seen_us < ?", &s, err);
  int at = 1;
  bool row;
  if (status != STATUS_OK)
    return status;
  db_bind_integer(s, &at, now_us - (int64_t)GONE_SECONDS * 1000000);
  return db_step(ledger, s, &row, err);
}

Status ledger_presence_put(Ledger *ledger, const LedgerPresence *presence, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO coordinator (id, beat, agents, seen_us) VALUES (?, ?, ?, ?) "
                            "ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, agents = excluded.agents, "
                            "seen_us = excluded.seen_us";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, presence->id);
  db_bind_integer(s, &at, presence->beat);
  db_bind_json(s, &at, presence->agents);
  db_bind_integer(s, &at, presence->seen_us);
  status = db_change(ledger, s, "coordinator", presence->id, err);
  return status == STATUS_OK ? forget_gone(ledger, presence->seen_us, err) : status;
}

void ledger_presence_list_free(LedgerPresence *items, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(items[i].id);
    json_decref(items[i].agents);
  }
  free(items);
}

static Status read_presence(DbStatement *s, LedgerPresence *out, Error *err) {
  (void)err;
  int at = 0;
  out->id = db_read_text(s, &at);
  out->beat = db_read_integer(s, &at);
  out->agents = db_read_json(s, &at);
  out->seen_us = db_read_integer(s, &at);
  return STATUS_OK;
}

DB_LIST(read_presences, LedgerPresence, read_presence, ledger_presence_list_free);

Status ledger_presence_list(Ledger *ledger, LedgerPresence **items, size_t *count, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT id, beat, agents, seen_us FROM coordinator ORDER BY id", &s, err);
  return status == STATUS_OK ? read_presences(ledger, s, items, count, err) : status;
}
