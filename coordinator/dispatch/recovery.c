/* How plans, restores and rehearsals end: their report, what the ledger says of them. Nothing here touches a
 * checkpoint. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/memory.h"

enum { NAMES_SHOWN = 20, NAME_TEXT_LIMIT = 256 };

const char *recovery_noun(LedgerJobKind kind) {
  return kind == LEDGER_JOB_REHEARSE ? "rehearsal" : ledger_job_kind_name(kind);
}

/* ---- what the ledger says ---- */

/* The first few names of a list, and how many there are more. New reference. */
static json_t *some_of(const json_t *names) {
  json_t *list = json_array();
  size_t count = json_array_size(names);
  for (size_t i = 0; i < count && i < NAMES_SHOWN; i++)
    json_array_append_new(list, intake_text(json_string_value(json_array_get(names, i)), NAME_TEXT_LIMIT));
  if (count > NAMES_SHOWN) {
    CLEANUP_FREE char *more = memory_format("and %zu more", count - NAMES_SHOWN);
    json_array_append_new(list, json_string(more));
  }
  return list;
}

/* Of the SQL that is rehearsed: which files, and the digest of each. New reference. */
static json_t *some_files(const json_t *files) {
  CLEANUP(intake_json_free) json_t *request = json_pack("{s:O}", "sql", files), *told = dispatch_told(request);
  CLEANUP(intake_json_free) json_t *names = json_array();
  const json_t *file;
  size_t index;
  json_array_foreach(json_object_get(told, "sql"), index, file) {
    const char *digest = json_string_value(json_object_get(file, "sha256"));
    const char *name = json_string_value(json_object_get(file, "name"));
    CLEANUP_FREE char *text = memory_format("sha256:%s %s", digest ? digest : "?", name ? name : "");
    json_array_append_new(names, json_string(text));
  }
  return some_of(names);
}

json_t *recovery_summary(const LedgerJob *job) {
  static const char *const told[] = {"mode",     "purpose", "replace", "target_name",   "script_of",
                                     "unproven", "kind",    "damage",  "forward_major", "tunnel"};
  json_t *summary = json_object();
  for (size_t i = 0; i < ARRAY_SIZE(told); i++) {
    json_t *value = json_object_get(job->request, told[i]);
    if (value)
      json_object_set(summary, told[i], value);
  }
  const json_t *tables = json_object_get(job->request, "tables");
  if (tables)
    json_object_set_new(summary, "tables", some_of(tables));
  const json_t *sql = json_object_get(job->request, "sql");
  if (sql)
    json_object_set_new(summary, "sql", some_files(sql));
  return summary;
}

static json_t *finished_detail(const LedgerJob *job, const json_t *report) {
  json_t *detail = recovery_summary(job);
  const char *damage = json_string_value(json_object_get(report, "damage"));
  const char *verdict = json_string_value(json_object_get(report, "verdict"));
  const json_t *written = json_object_get(report, "rows_written");
  json_object_set_new(detail, "outcome", json_string(job_state_name(job->state)));
  if (job->error_code)
    json_object_set_new(detail, "error", json_string(job->error_code));
  if (damage)
    json_object_set_new(detail, "damage", intake_text(damage, 32));
  if (verdict)
    json_object_set_new(detail, "verdict", intake_text(verdict, 32));
  if (json_is_integer(written))
    json_object_set_new(detail, "rows_written", json_integer(json_integer_value(written)));
  return detail;
}

/* "TABLE public.orders", of an object that is gone, or a table that lost rows. New reference. */
static json_t *name_of(const json_t *item, const char *desc) {
  const char *schema = json_string_value(json_object_get(item, "schema"));
  const char *name = json_string_value(json_object_get(item, "name"));
  CLEANUP_FREE char *text = memory_format("%s %s%s%s", desc ? desc : "", schema ? schema : "",
                                          schema && *schema ? "." : "", name ? name : "");
  return intake_text(text, NAME_TEXT_LIMIT);
}

/* What a guard found gone. New reference. */
static json_t *damage_detail(const json_t *report) {
  CLEANUP(intake_json_free) json_t *lost = json_array();
  const json_t *objects = json_object_get(report, "objects"), *tables = json_object_get(report, "tables"), *item;
  size_t index;
  json_array_foreach(objects, index, item) {
    const char *change = json_string_value(json_object_get(item, "change"));
    if (change && strcmp(change, "missing") == 0)
      json_array_append_new(lost, name_of(item, json_string_value(json_object_get(item, "desc"))));
  }
  json_array_foreach(tables, index, item) {
    const char *table_state = json_string_value(json_object_get(item, "state"));
    if (table_state && strcmp(table_state, "fewer") == 0)
      json_array_append_new(lost, name_of(item, "rows of"));
  }
  return json_pack("{s:o, s:I}", "lost", some_of(lost), "count", (json_int_t)json_array_size(lost));
}

static bool is(const json_t *object, const char *member, const char *value) {
  const char *text = json_string_value(json_object_get(object, member));
  return text && strcmp(text, value) == 0;
}

static Status forget_sql(Change *change, const LedgerJob *job, Error *err) {
  CLEANUP(intake_json_free) json_t *told = dispatch_told(job->request);
  return ledger_job_forget(change->dispatch->ledger, job->id, told, err);
}

Status recovery_over(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause,
                     const json_t *report, Error *err) {
  const Requester requester = {.name = job->requested_by};
  const Checkpoint *checkpoint = &work->checkpoint;
  job_set_error(job, cause);
  Status status = job_end(change, work, job, event, err);
  if (status == STATUS_OK && report)
    status = ledger_job_report_put(change->dispatch->ledger, job, report, err);
  if (status == STATUS_OK && job->kind == LEDGER_JOB_REHEARSE)
    status = forget_sql(change, job, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *kind = memory_format("%s.finished", recovery_noun(job->kind));
  status = change_event(change, kind, checkpoint, job, &requester, finished_detail(job, report), err);
  if (status == STATUS_OK && is(job->request, "purpose", "guard") && is(report, "damage", "lost"))
    status = change_event(change, "guard.damage", checkpoint, job, &requester, damage_detail(report), err);
  return status;
}

/* ---- results ---- */

static Status errored(Change *change, Work *work, LedgerJob *job, const Error *cause, const json_t *report,
                      Error *err) {
  if (job->kind == LEDGER_JOB_RESTORE && cause->status == ERR_AGENT_LOST) /* its process ended, who knows where */
    return job_retry(change, work, job, cause, true, err);
  bool again = error_class(cause->status) == ERROR_CLASS_TRANSIENT;
  bool repeatable =
      job->kind == LEDGER_JOB_PLAN || (job->kind == LEDGER_JOB_REHEARSE && !rehearsal_begun(change->dispatch, job));
  if (repeatable && (again || job->cancel_requested))
    return job_retry(change, work, job, cause, false, err);
  return recovery_over(change, work, job, JOB_EVENT_ERRORED, cause, report, err);
}

static Status canceled(Change *change, Work *work, LedgerJob *job, const json_t *report, Error *err) {
  Error cause;
  if (job->cancel_requested) {
    error_set(&cause, ERR_CANCELED, "canceled");
    return recovery_over(change, work, job, JOB_EVENT_CANCEL, &cause, report, err);
  }
  error_set(&cause, ERR_AGENT_LOST, "agent %s stopped job %s (it was stopped itself?)", job->agent, job->id);
  return errored(change, work, job, &cause, report, err);
}

static Status done(Change *change, Work *work, LedgerJob *job, const json_t *report, Error *err) {
  Error cause;
  if (report)
    return recovery_over(change, work, job, JOB_EVENT_DONE, NULL, report, err);
  error_set(&cause, ERR_PROTOCOL, "agent %s says the %s is done, but sent no report", job->agent,
            recovery_noun(job->kind));
  return errored(change, work, job, &cause, NULL, err);
}

Status recovery_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  Error cause;
  CLEANUP(intake_json_free) json_t *report = NULL;
  if (!result || result->outcome == PGSEAL__JOB_RESULT__OUTCOME__UNSPECIFIED) {
    error_set(&cause, ERR_PROTOCOL, "agent %s sent a result without an outcome", job->agent);
    return errored(change, work, job, &cause, NULL, err);
  }
  Status taken = intake_report(result->report_json, &report, &cause);
  if (result->outcome == PGSEAL__JOB_RESULT__OUTCOME__DONE)
    return taken == STATUS_OK ? done(change, work, job, report, err) : errored(change, work, job, &cause, NULL, err);
  if (result->outcome == PGSEAL__JOB_RESULT__OUTCOME__CANCELED)
    return canceled(change, work, job, report, err);
  intake_failure(result->error, &cause);
  if (result->outcome == PGSEAL__JOB_RESULT__OUTCOME__FAILED)
    return recovery_over(change, work, job, JOB_EVENT_FAILED, &cause, report, err);
  return errored(change, work, job, &cause, report, err);
}
