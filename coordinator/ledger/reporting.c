#include "coordinator/ledger/reporting.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "coordinator/ledger/db.h"

enum { PAGE = 2000, ID_SIZE = 32 };

static void free_json(json_t **json) {
  json_decref(*json);
}

/* Of the end of a job there is one event; of a drill that was canceled there may be two. */
#define JOBS(kinds, ends)                                                                                              \
  "SELECT j.number, j.id, j.checkpoint_id, j.database, c.tag, j.kind, j.state, j.attempt, j.agent, j.requested_by, "   \
  "j.approved_by, j.error_code, j.error_message, j.created_us, j.started_us, j.finished_us, c.manifest_sha256, "       \
  "j.request, e.sequence, e.time_us, e.hash, e.actor, e.detail, a.sequence, a.time_us, a.hash, a.actor "               \
  "FROM job AS j JOIN checkpoint AS c ON c.id = j.checkpoint_id "                                                      \
  "LEFT JOIN event AS e ON e.sequence = (SELECT max(x.sequence) FROM event AS x "                                      \
  "WHERE x.checkpoint_id = j.checkpoint_id AND x.job_id = j.id AND x.kind IN (" ends ")) "                             \
  "LEFT JOIN event AS a ON j.approved_by IS NOT NULL AND a.sequence = (SELECT max(x.sequence) FROM event AS x "        \
  "WHERE x.checkpoint_id = j.checkpoint_id AND x.job_id = j.id AND x.kind = 'restore.approved') "                      \
  "WHERE j.number > ?1 AND j.kind IN (" kinds ") AND j.created_us >= ?2 AND j.created_us < ?3 "                        \
  "AND (?4 IS NULL OR j.database = ?4) AND in_scope(j.database, ?5) ORDER BY j.number LIMIT ?6"

static const char drills_sql[] = JOBS("2", "'drill.proven', 'drill.failed', 'drill.errored', 'drill.canceled'");
static const char recoveries_sql[] =
    JOBS("3, 4, 5, 8", "'plan.finished', 'restore.finished', 'rehearsal.finished', 'trial.finished'");

static void bind_filter(DbStatement *s, int *at, const ReportFilter *filter) {
  db_bind_integer(s, at, filter->from_us);
  db_bind_integer(s, at, filter->to_us);
  db_bind_text(s, at, filter->database);
  db_bind_text(s, at, filter->scope);
}

Status ledger_report_count(Ledger *ledger, const ReportFilter *filter, bool drills, int64_t *count, Error *err) {
  static const char of_drills[] = "SELECT count(*) FROM job AS j WHERE j.kind = 2 AND j.created_us >= ?1 "
                                  "AND j.created_us < ?2 AND (?3 IS NULL OR j.database = ?3) "
                                  "AND in_scope(j.database, ?4)";
  static const char of_recoveries[] = "SELECT count(*) FROM job AS j WHERE j.kind IN (3, 4, 5, 8) "
                                      "AND j.created_us >= ?1 AND j.created_us < ?2 "
                                      "AND (?3 IS NULL OR j.database = ?3) AND in_scope(j.database, ?4)";
  STATEMENT(s);
  Status status = db_statement(ledger, drills ? of_drills : of_recoveries, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  bind_filter(s, &at, filter);
  status = db_step(ledger, s, &row, err);
  at = 0;
  if (status == STATUS_OK)
    *count = row ? db_read_integer(s, &at) : 0;
  return status;
}

/* ---- jobs ---- */

typedef struct JobRow { /* what a ReportJob borrows */
  ReportJob job;
  char *texts[16];
  size_t count;
  json_t *request, *detail;
} JobRow;

static void job_row_release(JobRow *row) {
  for (size_t i = 0; i < row->count; i++)
    free(row->texts[i]);
  json_decref(row->request);
  json_decref(row->detail);
  *row = (JobRow){0};
}

static const char *keep(JobRow *row, DbStatement *s, int *at) {
  return row->texts[row->count++] = db_read_text(s, at);
}

static void read_event(JobRow *row, ReportEvent *event, DbStatement *s, int *at) {
  event->sequence = db_read_integer(s, at);
  event->time_us = db_read_integer(s, at);
  event->hash = keep(row, s, at);
  event->actor = keep(row, s, at);
}

static Status read_job(DbStatement *s, JobRow *row, Error *err) {
  ReportJob *job = &row->job;
  int at = 0;
  job->number = db_read_integer(s, &at);
  job->id = keep(row, s, &at);
  job->checkpoint_id = keep(row, s, &at);
  job->database = keep(row, s, &at);
  job->tag = keep(row, s, &at);
  job->kind = (LedgerJobKind)db_read_integer(s, &at);
  const char *state = keep(row, s, &at);
  job->attempt = (int)db_read_integer(s, &at);
  job->agent = keep(row, s, &at);
  job->requested_by = keep(row, s, &at);
  job->approved_by = keep(row, s, &at);
  job->error_code = keep(row, s, &at);
  job->error_message = keep(row, s, &at);
  job->created_us = db_read_integer(s, &at);
  job->started_us = db_read_integer(s, &at);
  job->finished_us = db_read_integer(s, &at);
  job->manifest_sha256 = keep(row, s, &at);
  job->request = row->request = db_read_json(s, &at);
  read_event(row, &job->end, s, &at);
  job->end.detail = row->detail = db_read_json(s, &at);
  read_event(row, &job->approval, s, &at);
  if (!state || !job_state_from_name(state, &job->state) || !job->id || !job->database || !job->checkpoint_id)
    return error_set(err, ERR_CONFLICT, "the ledger's job %s cannot be read", job->id ? job->id : "?");
  return STATUS_OK;
}

/* One page; *last: the number of its last row, *rows: how many there were. */
static Status jobs_page(Ledger *ledger, const char *sql, const ReportFilter *filter, int64_t *last, int *rows,
                        ReportJobVisit *visit, void *user, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, *last);
  bind_filter(s, &at, filter);
  db_bind_integer(s, &at, PAGE);
  for (*rows = 0;; ++*rows) {
    CLEANUP(job_row_release) JobRow row = {0};
    bool there = false;
    status = db_step(ledger, s, &there, err);
    if (status != STATUS_OK || !there)
      return status;
    status = read_job(s, &row, err);
    if (status == STATUS_OK)
      status = visit(user, &row.job, err);
    if (status != STATUS_OK)
      return status;
    *last = row.job.number;
  }
}

static Status jobs(Ledger *ledger, const char *sql, const ReportFilter *filter, ReportJobVisit *visit, void *user,
                   Error *err) {
  int64_t last = 0;
  int rows = PAGE;
  Status status = STATUS_OK;
  while (status == STATUS_OK && rows == PAGE)
    status = jobs_page(ledger, sql, filter, &last, &rows, visit, user, err);
  return status;
}

Status ledger_report_drills(Ledger *ledger, const ReportFilter *filter, ReportJobVisit *visit, void *user, Error *err) {
  return jobs(ledger, drills_sql, filter, visit, user, err);
}

Status ledger_report_recoveries(Ledger *ledger, const ReportFilter *filter, ReportJobVisit *visit, void *user,
                                Error *err) {
  return jobs(ledger, recoveries_sql, filter, visit, user, err);
}

/* ---- checkpoints ---- */

static Status read_checkpoint(DbStatement *s, JobRow *row, ReportCheckpoint *out, Error *err) {
  int at = 0;
  out->number = db_read_integer(s, &at);
  out->id = keep(row, s, &at);
  out->database = keep(row, s, &at);
  out->tag = keep(row, s, &at);
  out->requested_by = keep(row, s, &at);
  out->restore_drill = keep(row, s, &at);
  out->error_code = keep(row, s, &at);
  out->error_message = keep(row, s, &at);
  const char *state = keep(row, s, &at);
  out->created_us = db_read_integer(s, &at);
  out->finished_us = db_read_integer(s, &at);
  if (!state || !checkpoint_state_from_name(state, &out->state) || !out->id || !out->database)
    return error_set(err, ERR_CONFLICT, "the ledger's checkpoint %s cannot be read", out->id ? out->id : "?");
  return STATUS_OK;
}

static Status checkpoints_page(Ledger *ledger, const ReportFilter *filter, int64_t *last, int *rows,
                               ReportCheckpointVisit *visit, void *user, Error *err) {
  static const char sql[] =
      "SELECT c.number, c.id, c.database, c.tag, c.requested_by, c.restore_drill, c.error_code, c.error_message, "
      "c.state, c.created_us, c.finished_us FROM checkpoint AS c WHERE c.number > ?1 AND c.created_us >= ?2 "
      "AND c.created_us < ?3 AND (?4 IS NULL OR c.database = ?4) AND in_scope(c.database, ?5) "
      "ORDER BY c.number LIMIT ?6";
  STATEMENT(s);
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, *last);
  bind_filter(s, &at, filter);
  db_bind_integer(s, &at, PAGE);
  for (*rows = 0;; ++*rows) {
    CLEANUP(job_row_release) JobRow row = {0};
    ReportCheckpoint checkpoint = {0};
    bool there = false;
    status = db_step(ledger, s, &there, err);
    if (status != STATUS_OK || !there)
      return status;
    status = read_checkpoint(s, &row, &checkpoint, err);
    if (status == STATUS_OK)
      status = visit(user, &checkpoint, err);
    if (status != STATUS_OK)
      return status;
    *last = checkpoint.number;
  }
}

Status ledger_report_checkpoints(Ledger *ledger, const ReportFilter *filter, ReportCheckpointVisit *visit, void *user,
                                 Error *err) {
  int64_t last = 0;
  int rows = PAGE;
  Status status = STATUS_OK;
  while (status == STATUS_OK && rows == PAGE)
    status = checkpoints_page(ledger, filter, &last, &rows, visit, user, err);
  return status;
}

/* ---- proofs ---- */

static void take_digest(char **digest, const json_t *detail, const char *key) {
  const char *text = json_string_value(json_object_get(detail, key));
  if (!text)
    return;
  free(*digest);
  *digest = memory_strdup(text);
}

static void read_proof(DbStatement *s, ReportProof *out) {
  int at = 0;
  out->job_id = db_read_text(s, &at);
  out->checkpoint_id = db_read_text(s, &at);
  out->tag = db_read_text(s, &at);
  out->attempt = (int)db_read_integer(s, &at);
  out->finished_us = db_read_integer(s, &at);
  out->manifest_sha256 = db_read_text(s, &at);
  CLEANUP(free_json) json_t *detail = db_read_json(s, &at);
  out->sequence = db_read_integer(s, &at);
  CLEANUP_FREE char *hash = db_read_text(s, &at);
  CLEANUP(free_json) json_t *event = db_read_json(s, &at);
  snprintf(out->hash, sizeof out->hash, "%s", hash ? hash : "");
  take_digest(&out->proof_sha256, json_object_get(event, "verdict"), "proof_sha256");
  out->omissions = json_incref(json_object_get(detail, "omissions"));
}

Status ledger_report_proof(Ledger *ledger, const char *database, int64_t at_us, ReportProof *out, bool *found,
                           Error *err) {
  static const char sql[] =
      "SELECT j.id, c.id, c.tag, j.attempt, j.finished_us, c.manifest_sha256, c.detail, e.sequence, e.hash, e.detail "
      "FROM checkpoint AS c JOIN job AS j ON j.checkpoint_id = c.id "
      "LEFT JOIN event AS e ON e.sequence = (SELECT max(x.sequence) FROM event AS x "
      "WHERE x.checkpoint_id = c.id AND x.job_id = j.id AND x.kind = 'drill.proven') "
      "WHERE c.database = ?1 AND j.kind = 2 AND j.state = 'done' AND j.finished_us <= ?2 "
      "AND (c.pruning_us = 0 OR c.pruning_us > ?2) "
      "AND NOT EXISTS (SELECT 1 FROM job AS f WHERE f.checkpoint_id = c.id AND f.kind = 2 AND f.state = 'failed' "
      "AND f.finished_us <= ?2) ORDER BY c.number DESC, j.finished_us DESC LIMIT 1";
  STATEMENT(s);
  *out = (ReportProof){0};
  *found = false;
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, database);
  db_bind_integer(s, &at, at_us);
  status = db_step(ledger, s, found, err);
  if (status == STATUS_OK && *found)
    read_proof(s, out);
  return status;
}

void report_proof_release(ReportProof *proof) {
  free(proof->job_id);
  free(proof->checkpoint_id);
  free(proof->tag);
  free(proof->manifest_sha256);
  free(proof->proof_sha256);
  json_decref(proof->omissions);
  *proof = (ReportProof){0};
}

Status ledger_report_next(Ledger *ledger, const char *database, int64_t after_us, int64_t until_us, ReportNext *out,
                          Error *err) {
  static const char sql[] =
      "SELECT j.id, j.checkpoint_id, j.attempt, j.finished_us FROM job AS j WHERE j.database = ?1 AND j.kind = 2 "
      "AND j.state = 'done' AND j.finished_us > ?2 AND j.finished_us <= ?3 ORDER BY j.number LIMIT 1";
  STATEMENT(s);
  *out = (ReportNext){0};
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  db_bind_text(s, &at, database);
  db_bind_integer(s, &at, after_us);
  db_bind_integer(s, &at, until_us);
  status = db_step(ledger, s, &row, err);
  if (status != STATUS_OK || !row)
    return status;
  at = 0;
  CLEANUP_FREE char *job = db_read_text(s, &at);
  CLEANUP_FREE char *checkpoint = db_read_text(s, &at);
  snprintf(out->job_id, sizeof out->job_id, "%s", job ? job : "");
  snprintf(out->checkpoint_id, sizeof out->checkpoint_id, "%s", checkpoint ? checkpoint : "");
  out->attempt = (int)db_read_integer(s, &at);
  out->finished_us = db_read_integer(s, &at);
  return STATUS_OK;
}

/* ---- the chain, the keys ---- */

Status ledger_report_head(Ledger *ledger, int64_t before_us, int64_t *sequence, int64_t *time_us, char hash[65],
                          Error *err) {
  STATEMENT(s);
  bool row = false;
  *sequence = *time_us = 0;
  hash[0] = 0;
  Status status = db_statement(
      ledger, "SELECT sequence, time_us, hash FROM event WHERE time_us < ? ORDER BY sequence DESC LIMIT 1", &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, before_us);
  status = db_step(ledger, s, &row, err);
  if (status != STATUS_OK || !row)
    return status;
  at = 0;
  *sequence = db_read_integer(s, &at);
  *time_us = db_read_integer(s, &at);
  CLEANUP_FREE char *text = db_read_text(s, &at);
  snprintf(hash, LEDGER_HASH_SIZE, "%s", text ? text : "");
  return STATUS_OK;
}

Status ledger_report_keys(Ledger *ledger, json_t *list, Error *err) {
  STATEMENT(s);
  Status status =
      db_statement(ledger, "SELECT agent, public_key, revoked_us FROM signing_key ORDER BY agent, public_key", &s, err);
  for (bool row = true; status == STATUS_OK;) {
    status = db_step(ledger, s, &row, err);
    if (status != STATUS_OK || !row)
      break;
    int at = 0;
    CLEANUP_FREE char *agent = db_read_text(s, &at);
    CLEANUP_FREE char *key = db_read_text(s, &at);
    json_array_append_new(list, json_pack("{s:s?, s:s?, s:I}", "agent", agent, "public_key", key, "revoked_us",
                                          (json_int_t)db_read_integer(s, &at)));
  }
  return status;
}
