/* Who restored what, who approved it; plans and rehearsals; and drills that prove nothing (trials). */
#include "coordinator/report/internal.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { TABLES_SHOWN = 20 };

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static const char *outcome_of(const Gather *gather, const ReportJob *job) {
  return job_state_final(job->state) && job->finished_us <= gather->made_us ? job_state_name(job->state) : "open";
}

static json_t *row_of(const Gather *gather, const ReportJob *job) {
  json_t *row = json_pack("{s:s, s:s, s:s, s:o, s:s, s:I}", "job", job->id, "kind", ledger_job_kind_name(job->kind),
                          "checkpoint", job->checkpoint_id, "database", gather_text(job->database), "outcome",
                          outcome_of(gather, job), "asked_us", (json_int_t)job->created_us);
  gather_put(row, "asked_by", job->requested_by);
  gather_put(row, "agent", job->agent);
  if (strcmp(text_of(row, "outcome"), "open") != 0) {
    json_object_set_new(row, "finished_us", json_integer(job->finished_us));
    gather_put(row, "error", job->error_code);
  }
  gather_put_event(row, "event", &job->end);
  return row;
}

/* What it was to put back, and where. */
static void put_request(json_t *row, const ReportJob *job) {
  static const char *const told[] = {"mode", "target_name", "purpose"};
  const json_t *tables = json_object_get(job->request, "tables"), *table;
  size_t index;
  for (size_t i = 0; i < sizeof told / sizeof *told; i++)
    gather_put(row, told[i], text_of(job->request, told[i]));
  if (json_array_size(tables) == 0)
    return;
  json_t *list = json_array();
  json_array_foreach(tables, index, table) {
    if (index < TABLES_SHOWN)
      json_array_append_new(list, gather_text(json_string_value(table)));
  }
  json_object_set_new(row, "tables", list);
  json_object_set_new(row, "tables_count", json_integer((json_int_t)json_array_size(tables)));
}

static Status full(size_t limit, Error *err) {
  error_set(err, ERR_TOO_MANY, "the report would list more than %zu restores or trials", limit);
  error_remedy(err, "Ask for a shorter period, or for one database or owner at a time.");
  return err->status;
}

static Status take_trial(Gather *gather, const ReportJob *job, Error *err) {
  static const char *const verdicts[] = {"refuted", "survived", "ready", "not_ready"};
  const char *verdict = text_of(job->end.detail, "verdict"), *shown = "no_answer";
  for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++)
    shown = strcmp(verdict, verdicts[i]) == 0 ? verdicts[i] : shown;
  if (job->state == JOB_FAILED && strcmp(text_of(job->request, "kind"), "canary") == 0)
    shown = verdicts[1]; /* the agent's own word is enough */
  if (json_array_size(gather->trials) >= gather->ask->recoveries_limit)
    return full(gather->ask->recoveries_limit, err);
  json_t *row = row_of(gather, job);
  json_object_set_new(row, "kind", gather_text(text_of(job->request, "kind")));
  json_object_set_new(row, "verdict", json_string(shown));
  gather_put(row, "damage", text_of(job->request, "damage"));
  json_array_append_new(gather->trials, row);
  return STATUS_OK;
}

static Status take(void *user, const ReportJob *job, Error *err) {
  Gather *all = user;
  const Tally *tally = tally_of(all, job->database);
  Status status = gather_step(all, err);
  if (status || !tally)
    return status;
  if (job->kind == LEDGER_JOB_TRIAL)
    return take_trial(all, job, err);
  if (job->kind != LEDGER_JOB_RESTORE && !all->all_recoveries)
    return STATUS_OK;
  if (json_array_size(all->recoveries) >= all->ask->recoveries_limit)
    return full(all->ask->recoveries_limit, err);
  json_t *row = row_of(all, job);
  const json_t *written = json_object_get(job->end.detail, "rows_written");
  gather_put(row, "verdict", text_of(job->end.detail, "verdict")); /* of a rehearsal */
  gather_put(row, "damage", text_of(job->end.detail, "damage"));   /* of a guard */
  put_request(row, job);
  if (json_is_integer(written))
    json_object_set_new(row, "rows_written", json_integer(json_integer_value(written)));
  if (job->approved_by) {
    gather_put(row, "approved_by", job->approved_by);
    gather_put_event(row, "approval", &job->approval);
    json_object_set_new(row, "approved_us", json_integer(job->approval.time_us));
  }
  json_array_append_new(all->recoveries, row);
  return STATUS_OK;
}

Status gather_recoveries(Gather *all, Error *err) {
  return ledger_report_recoveries(all->ledger, &all->filter, take, all, err);
}
