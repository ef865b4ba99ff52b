#include "coordinator/ledger/db.h"

#define COLUMNS                                                                                                        \
  "id, checkpoint_id, database, kind, created_us, state, attempt, fencing, agent, lease_until_us, not_before_us, "     \
  "started_us, finished_us, cancel_requested, error_code, error_message, error_remedy, error_object, progress, "       \
  "approval, approved_by, requested_by, idempotency_key, request, priority"

/* What may change, in the order of COLUMNS from state to approved_by. */
static void bind_job(DbStatement *s, int *at, const LedgerJob *job) {
  db_bind_text(s, at, job_state_name(job->state));
  db_bind_integer(s, at, job->attempt);
  db_bind_integer(s, at, (int64_t)job->fencing);
  db_bind_text(s, at, job->agent);
  db_bind_integer(s, at, job->lease_until_us);
  db_bind_integer(s, at, job->not_before_us);
  db_bind_integer(s, at, job->started_us);
  db_bind_integer(s, at, job->finished_us);
  db_bind_integer(s, at, job->cancel_requested);
  db_bind_text(s, at, job->error_code);
  db_bind_text(s, at, job->error_message);
  db_bind_text(s, at, job->error_remedy);
  db_bind_text(s, at, job->error_object);
  db_bind_json(s, at, job->progress);
  db_bind_text(s, at, job->approval);
  db_bind_text(s, at, job->approved_by);
}

static Status read_job(DbStatement *s, LedgerJob *out, Error *err) {
  LedgerJob job = {0};
  int at = 0;
  job.id = db_read_text(s, &at);
  job.checkpoint_id = db_read_text(s, &at);
  job.database = db_read_text(s, &at);
  job.kind = (LedgerJobKind)db_read_integer(s, &at);
  job.created_us = db_read_integer(s, &at);
  CLEANUP_FREE char *state = db_read_text(s, &at);
  job.attempt = (int)db_read_integer(s, &at);
  job.fencing = (uint64_t)db_read_integer(s, &at);
  job.agent = db_read_text(s, &at);
  job.lease_until_us = db_read_integer(s, &at);
  job.not_before_us = db_read_integer(s, &at);
  job.started_us = db_read_integer(s, &at);
  job.finished_us = db_read_integer(s, &at);
  job.cancel_requested = db_read_integer(s, &at) != 0;
  job.error_code = db_read_text(s, &at);
  job.error_message = db_read_text(s, &at);
  job.error_remedy = db_read_text(s, &at);
  job.error_object = db_read_text(s, &at);
  job.progress = db_read_json(s, &at);
  job.approval = db_read_text(s, &at);
  job.approved_by = db_read_text(s, &at);
  job.requested_by = db_read_text(s, &at);
  job.idempotency_key = db_read_text(s, &at);
  job.request = db_read_json(s, &at);
  job.priority = (int)db_read_integer(s, &at);
  if (!state || !job_state_from_name(state, &job.state)) {
    error_set(err, ERR_CONFLICT, "the ledger's job %s has the unknown state '%s'", job.id ? job.id : "?",
              state ? state : "");
    ledger_job_release(&job);
    return ERR_CONFLICT;
  }
  *out = job;
  return STATUS_OK;
}

static Status write_job(Ledger *ledger, DbStatement *s, const LedgerJob *job, Error *err) {
  Status status = db_change(ledger, s, "job", job->id, err);
  if (status == STATUS_OK)
    db_job_written(ledger, job);
  return status;
}

Status ledger_job_insert(Ledger *ledger, const LedgerJob *job, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO job (" COLUMNS ") VALUES "
                            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, job->id);
  db_bind_text(s, &at, job->checkpoint_id);
  db_bind_text(s, &at, job->database);
  db_bind_integer(s, &at, job->kind);
  db_bind_integer(s, &at, job->created_us);
  bind_job(s, &at, job);
  db_bind_text(s, &at, job->requested_by);
  db_bind_text(s, &at, job->idempotency_key);
  db_bind_json(s, &at, job->request);
  db_bind_integer(s, &at, job->priority);
  return write_job(ledger, s, job, err);
}

Status ledger_job_update(Ledger *ledger, const LedgerJob *job, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "UPDATE job SET state = ?, attempt = ?, fencing = ?, agent = ?, lease_until_us = ?, not_before_us = ?, "
      "started_us = ?, finished_us = ?, cancel_requested = ?, error_code = ?, error_message = ?, error_remedy = ?, "
      "error_object = ?, progress = ?, approval = ?, approved_by = ? WHERE id = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bind_job(s, &at, job);
  db_bind_text(s, &at, job->id);
  return write_job(ledger, s, job, err);
}

Status ledger_job_progress(Ledger *ledger, const LedgerJob *job, bool *held, Error *err) {
  STATEMENT(s);
  static const char sql[] = "UPDATE job SET state = ?, progress = ?, lease_until_us = ? "
                            "WHERE id = ? AND fencing = ? AND agent = ? AND state IN ('leased', 'running')";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, job_state_name(job->state));
  db_bind_json(s, &at, job->progress);
  db_bind_integer(s, &at, job->lease_until_us);
  db_bind_text(s, &at, job->id);
  db_bind_integer(s, &at, (int64_t)job->fencing);
  db_bind_text(s, &at, job->agent);
  Error none;
  status = write_job(ledger, s, job, &none);
  *held = status == STATUS_OK;
  if (status != STATUS_OK && status != ERR_NOT_FOUND) {
    *err = none;
    return status;
  }
  return STATUS_OK;
}

/* The one row of a bound statement. */
static Status read_one(Ledger *ledger, DbStatement *s, const char *name, LedgerJob *out, Error *err) {
  Status status = db_row(ledger, s, err, "there is no job %s", name);
  if (status == ERR_NOT_FOUND)
    error_object(err, "%s", name);
  return status == STATUS_OK ? read_job(s, out, err) : status;
}

Status ledger_job_get(Ledger *ledger, const char *id, LedgerJob *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM job WHERE id = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, id);
  return read_one(ledger, s, id, out, err);
}

Status ledger_job_by_key(Ledger *ledger, const char *token_name, const char *key, LedgerJob *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM job WHERE requested_by = ? AND idempotency_key = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, token_name);
  db_bind_text(s, &at, key);
  return read_one(ledger, s, "with this idempotency key", out, err);
}

DB_LIST(read_all, LedgerJob, read_job, ledger_job_list_free);

Status ledger_job_list(Ledger *ledger, const char *checkpoint_id, LedgerJob **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM job WHERE checkpoint_id = ? AND "
                            "(kind IN (1, 2) OR state IN ('queued', 'leased', 'running')) ORDER BY number";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, checkpoint_id);
  return read_all(ledger, s, items, count, err);
}

Status ledger_job_open(Ledger *ledger, LedgerJob **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "SELECT " COLUMNS " FROM job WHERE state IN ('queued', 'leased', 'running') ORDER BY number";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  return read_all(ledger, s, items, count, err);
}

Status ledger_job_open_dumps(Ledger *ledger, const char *database, int64_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "SELECT count(*) FROM job WHERE database = ? AND kind = 1 AND state IN ('queued', 'leased', 'running')";
  Status status = db_statement(ledger, sql, &s, err);
  bool row = false;
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, database);
  status = db_step(ledger, s, &row, err);
  at = 0;
  if (status == STATUS_OK)
    *count = row ? db_read_integer(s, &at) : 0;
  return status;
}

Status ledger_job_recent(Ledger *ledger, const JobFilter *filter, LedgerJob **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM job WHERE (?1 IS NULL OR database = ?1) AND (?2 = 0 OR kind = ?2) "
                            "AND in_scope(database, ?3) ORDER BY number DESC LIMIT ?4";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, filter->database);
  db_bind_integer(s, &at, filter->kind);
  db_bind_text(s, &at, filter->scope);
  db_bind_integer(s, &at, filter->limit > 0 ? filter->limit : DB_NO_LIMIT);
  return read_all(ledger, s, items, count, err);
}

Status ledger_job_drills(Ledger *ledger, const JobFilter *filter, LedgerJob **items, size_t *count, Error *err) {
  STATEMENT(s);
  /* CROSS JOIN: SQLite then begins with the few checkpoints, however many jobs there are. */
  static const char sql[] =
      "SELECT " COLUMNS " FROM (SELECT id AS newest_id, number AS newest_number FROM checkpoint "
      "WHERE (?1 IS NULL OR database = ?1) AND in_scope(database, ?2) ORDER BY number DESC LIMIT ?3) AS newest "
      "CROSS JOIN job WHERE checkpoint_id = newest_id AND kind = 2 ORDER BY newest_number DESC, number DESC LIMIT ?3";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, filter->database);
  db_bind_text(s, &at, filter->scope);
  db_bind_integer(s, &at, filter->limit > 0 ? filter->limit : DB_NO_LIMIT);
  return read_all(ledger, s, items, count, err);
}

Status ledger_job_newest(Ledger *ledger, const char *database, LedgerJobKind kind, int limit, LedgerJob **items,
                         size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM job WHERE database = ? AND kind = ? "
                            "AND state IN ('done', 'failed', 'errored') ORDER BY number DESC LIMIT ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, database);
  db_bind_integer(s, &at, kind);
  db_bind_integer(s, &at, limit);
  return read_all(ledger, s, items, count, err);
}

static Status trim_reports(Ledger *ledger, const char *database, Error *err) {
  STATEMENT(s);
  static const char sql[] = "DELETE FROM report WHERE job IN (SELECT number FROM job JOIN report ON job = number "
                            "WHERE database = ? AND kind IN (3, 5) ORDER BY number DESC LIMIT ? OFFSET ?)";
  Status status = db_statement(ledger, sql, &s, err);
  int at = 1;
  bool row;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, database);
  db_bind_integer(s, &at, DB_NO_LIMIT);
  db_bind_integer(s, &at, LEDGER_REPORTS_KEPT);
  return db_step(ledger, s, &row, err);
}

Status ledger_job_forget(Ledger *ledger, const char *job_id, const json_t *request, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "UPDATE job SET request = ? WHERE id = ?", &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_json(s, &at, request);
  db_bind_text(s, &at, job_id);
  return db_change(ledger, s, "job", job_id, err);
}

Status ledger_job_report_put(Ledger *ledger, const LedgerJob *job, const json_t *report, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO report (job, report) SELECT number, ? FROM job WHERE id = ? "
                            "ON CONFLICT (job) DO UPDATE SET report = excluded.report";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_json(s, &at, report);
  db_bind_text(s, &at, job->id);
  status = db_change(ledger, s, "job", job->id, err);
  bool trimmed = job->kind == LEDGER_JOB_PLAN || job->kind == LEDGER_JOB_REHEARSE;
  return status == STATUS_OK && trimmed ? trim_reports(ledger, job->database, err) : status;
}

Status ledger_job_report_get(Ledger *ledger, const char *job_id, json_t **report, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT report FROM report JOIN job ON job = number WHERE id = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  db_bind_text(s, &at, job_id);
  status = db_step(ledger, s, &row, err);
  at = 0;
  if (status == STATUS_OK)
    *report = row ? db_read_json(s, &at) : NULL;
  return status;
}

Status ledger_fencing_next(Ledger *ledger, uint64_t *fencing, Error *err) {
  STATEMENT(s);
  static const char sql[] = "UPDATE counter SET value = value + 1 WHERE name = 'fencing' RETURNING value";
  Status status = db_statement(ledger, sql, &s, err);
  bool row = false;
  if (status == STATUS_OK)
    status = db_step(ledger, s, &row, err);
  if (status != STATUS_OK)
    return status;
  if (!row)
    return error_set(err, ERR_CONFLICT, "the ledger has lost its fencing counter");
  int at = 0;
  *fencing = (uint64_t)db_read_integer(s, &at);
  return STATUS_OK;
}
