#include "coordinator/ledger/sqlite.h"

#include <string.h>

#include "common/base/memory.h"

#define COLUMNS                                                                                                        \
  "id, checkpoint_id, database, kind, created_us, state, attempt, fencing, agent, lease_until_us, not_before_us, "     \
  "started_us, finished_us, cancel_requested, error_code, error_message, error_remedy, error_object, progress, "       \
  "approval, approved_by, requested_by, idempotency_key, request"

/* What may change, in the order of COLUMNS from state to approved_by. */
static void bind_job(sqlite3_stmt *s, int *at, const LedgerJob *job) {
  sqlite_bind_text(s, at, job_state_name(job->state));
  sqlite_bind_integer(s, at, job->attempt);
  sqlite_bind_integer(s, at, (int64_t)job->fencing);
  sqlite_bind_text(s, at, job->agent);
  sqlite_bind_integer(s, at, job->lease_until_us);
  sqlite_bind_integer(s, at, job->not_before_us);
  sqlite_bind_integer(s, at, job->started_us);
  sqlite_bind_integer(s, at, job->finished_us);
  sqlite_bind_integer(s, at, job->cancel_requested);
  sqlite_bind_text(s, at, job->error_code);
  sqlite_bind_text(s, at, job->error_message);
  sqlite_bind_text(s, at, job->error_remedy);
  sqlite_bind_text(s, at, job->error_object);
  sqlite_bind_json(s, at, job->progress);
  sqlite_bind_text(s, at, job->approval);
  sqlite_bind_text(s, at, job->approved_by);
}

static Status read_job(sqlite3_stmt *s, LedgerJob *out, Error *err) {
  LedgerJob job = {0};
  int at = 0;
  job.id = sqlite_read_text(s, &at);
  job.checkpoint_id = sqlite_read_text(s, &at);
  job.database = sqlite_read_text(s, &at);
  job.kind = (LedgerJobKind)sqlite_read_integer(s, &at);
  job.created_us = sqlite_read_integer(s, &at);
  CLEANUP_FREE char *state = sqlite_read_text(s, &at);
  job.attempt = (int)sqlite_read_integer(s, &at);
  job.fencing = (uint64_t)sqlite_read_integer(s, &at);
  job.agent = sqlite_read_text(s, &at);
  job.lease_until_us = sqlite_read_integer(s, &at);
  job.not_before_us = sqlite_read_integer(s, &at);
  job.started_us = sqlite_read_integer(s, &at);
  job.finished_us = sqlite_read_integer(s, &at);
  job.cancel_requested = sqlite_read_integer(s, &at) != 0;
  job.error_code = sqlite_read_text(s, &at);
  job.error_message = sqlite_read_text(s, &at);
  job.error_remedy = sqlite_read_text(s, &at);
  job.error_object = sqlite_read_text(s, &at);
  job.progress = sqlite_read_json(s, &at);
  job.approval = sqlite_read_text(s, &at);
  job.approved_by = sqlite_read_text(s, &at);
  job.requested_by = sqlite_read_text(s, &at);
  job.idempotency_key = sqlite_read_text(s, &at);
  job.request = sqlite_read_json(s, &at);
  if (!state || !job_state_from_name(state, &job.state)) {
    error_set(err, ERR_CONFLICT, "the ledger's job %s has the unknown state '%s'", job.id ? job.id : "?",
              state ? state : "");
    ledger_job_release(&job);
    return ERR_CONFLICT;
  }
  *out = job;
  return STATUS_OK;
}

Status sqlite_job_insert(void *backend, const LedgerJob *job, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO job (" COLUMNS ") VALUES "
                            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, job->id);
  sqlite_bind_text(s, &at, job->checkpoint_id);
  sqlite_bind_text(s, &at, job->database);
  sqlite_bind_integer(s, &at, job->kind);
  sqlite_bind_integer(s, &at, job->created_us);
  bind_job(s, &at, job);
  sqlite_bind_text(s, &at, job->requested_by);
  sqlite_bind_text(s, &at, job->idempotency_key);
  sqlite_bind_json(s, &at, job->request);
  return sqlite_change(backend, s, "job", job->id, err);
}

Status sqlite_job_update(void *backend, const LedgerJob *job, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "UPDATE job SET state = ?, attempt = ?, fencing = ?, agent = ?, lease_until_us = ?, not_before_us = ?, "
      "started_us = ?, finished_us = ?, cancel_requested = ?, error_code = ?, error_message = ?, error_remedy = ?, "
      "error_object = ?, progress = ?, approval = ?, approved_by = ? WHERE id = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bind_job(s, &at, job);
  sqlite_bind_text(s, &at, job->id);
  return sqlite_change(backend, s, "job", job->id, err);
}

/* The one row of a bound statement. */
static Status read_one(SqliteLedger *ledger, sqlite3_stmt *s, const char *name, LedgerJob *out, Error *err) {
  bool row = false;
  Status status = sqlite_step(ledger, s, &row, err);
  if (status != STATUS_OK)
    return status;
  if (!row) {
    error_set(err, ERR_NOT_FOUND, "there is no job %s", name);
    error_object(err, "%s", name);
    return ERR_NOT_FOUND;
  }
  return read_job(s, out, err);
}

Status sqlite_job_get(void *backend, const char *id, LedgerJob *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM job WHERE id = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, id);
  return read_one(backend, s, id, out, err);
}

Status sqlite_job_by_key(void *backend, const char *token_name, const char *key, LedgerJob *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM job WHERE requested_by = ? AND idempotency_key = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, token_name);
  sqlite_bind_text(s, &at, key);
  return read_one(backend, s, "with this idempotency key", out, err);
}

static Status read_all(SqliteLedger *ledger, sqlite3_stmt *s, LedgerJob **items, size_t *count, Error *err) {
  LedgerJob *list = NULL;
  size_t used = 0;
  for (bool row = true;;) {
    LedgerJob next;
    Status status = sqlite_step(ledger, s, &row, err);
    if (status == STATUS_OK && row)
      status = read_job(s, &next, err);
    if (status != STATUS_OK) {
      ledger_job_list_free(list, used);
      return status;
    }
    if (!row)
      break;
    ARRAY_PUSH(list, used, next);
  }
  *items = list;
  *count = used;
  return STATUS_OK;
}

Status sqlite_job_list(void *backend, const char *checkpoint_id, LedgerJob **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM job WHERE checkpoint_id = ? AND "
                            "(kind IN (1, 2) OR state IN ('queued', 'leased', 'running')) ORDER BY number";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, checkpoint_id);
  return read_all(backend, s, items, count, err);
}

Status sqlite_job_open(void *backend, LedgerJob **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "SELECT " COLUMNS " FROM job WHERE state IN ('queued', 'leased', 'running') ORDER BY number";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  return read_all(backend, s, items, count, err);
}

Status sqlite_job_recent(void *backend, const JobFilter *filter, LedgerJob **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "SELECT " COLUMNS " FROM job WHERE (?1 IS NULL OR database = ?1) AND (?2 = 0 OR kind = ?2) AND " SQLITE_IN_SCOPE(
          "?3") " ORDER BY number DESC LIMIT ?4";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, filter->database);
  sqlite_bind_integer(s, &at, filter->kind);
  sqlite_bind_text(s, &at, filter->scope);
  sqlite_bind_integer(s, &at, filter->limit > 0 ? filter->limit : -1);
  return read_all(backend, s, items, count, err);
}

static Status trim_reports(SqliteLedger *ledger, const char *database, Error *err) {
  STATEMENT(s);
  static const char sql[] = "DELETE FROM report WHERE job IN (SELECT number FROM job JOIN report ON job = number "
                            "WHERE database = ? AND kind = 3 ORDER BY number DESC LIMIT -1 OFFSET ?)";
  Status status = sqlite_statement(ledger, sql, &s, err);
  int at = 1;
  bool row;
  if (status != STATUS_OK)
    return status;
  sqlite_bind_text(s, &at, database);
  sqlite_bind_integer(s, &at, LEDGER_REPORTS_KEPT);
  return sqlite_step(ledger, s, &row, err);
}

Status sqlite_job_report_put(void *backend, const LedgerJob *job, const json_t *report, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT OR REPLACE INTO report SELECT number, ? FROM job WHERE id = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_json(s, &at, report);
  sqlite_bind_text(s, &at, job->id);
  status = sqlite_change(backend, s, "job", job->id, err);
  return status == STATUS_OK && job->kind == LEDGER_JOB_PLAN ? trim_reports(backend, job->database, err) : status;
}

Status sqlite_job_report_get(void *backend, const char *job_id, json_t **report, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT report FROM report JOIN job ON job = number WHERE id = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  sqlite_bind_text(s, &at, job_id);
  status = sqlite_step(backend, s, &row, err);
  at = 0;
  if (status == STATUS_OK)
    *report = row ? sqlite_read_json(s, &at) : NULL;
  return status;
}

Status sqlite_fencing_next(void *backend, uint64_t *fencing, Error *err) {
  STATEMENT(s);
  static const char sql[] = "UPDATE counter SET value = value + 1 WHERE name = 'fencing' RETURNING value";
  Status status = sqlite_statement(backend, sql, &s, err);
  bool row = false;
  if (status == STATUS_OK)
    status = sqlite_step(backend, s, &row, err);
  if (status != STATUS_OK)
    return status;
  if (!row)
    return error_set(err, ERR_CONFLICT, "the ledger has lost its fencing counter");
  *fencing = (uint64_t)sqlite3_column_int64(s, 0);
  return STATUS_OK;
}
