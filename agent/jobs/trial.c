#include "agent/jobs/trial.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { TRIAL_LIST_LIMIT = 100 };

/* ---- what is asked for ---- */

static Status trial_take_canary(DrillRun *run, Trial *trial, Error *err) {
  const Pgseal__DrillSpec *spec = run->spec;
  if (!trial_damage_from_name(spec->damage, &trial->damage))
    return error_set(err, ERR_PROTOCOL,
                     "the coordinator sent a canary of a kind of damage that this agent does not know");
  trial->canary = true;
  trial->at = spec->damage_at;
  run->tamper = trial_tamper;
  return STATUS_OK;
}

static Status trial_take(DrillRun *run, Trial *trial, Error *err) {
  const char *kind = run->spec->kind;
  if (!run->stored)
    return error_set(err, ERR_PROTOCOL, "the coordinator sent a trial of a checkpoint that is not stored");
  run->trial = trial;
  if (strcmp(kind, "canary") == 0)
    return trial_take_canary(run, trial, err);
  if (strcmp(kind, "forward") != 0)
    return error_set(err, ERR_PROTOCOL, "the coordinator sent a trial of a kind that this agent does not know");
  run->forward_major = (int)run->spec->forward_major;
  if (run->forward_major < run->major || run->major == 0 || run->forward_major > 99)
    return error_set(err, ERR_PROTOCOL, "the coordinator sent a forward trial from PostgreSQL %d to %d", run->major,
                     run->forward_major);
  return STATUS_OK;
}

/* ---- reports ---- */

static void trial_clean(json_t *object, const char *member, const char *value) {
  char clean[ERROR_MESSAGE_SIZE];
  json_object_set_new(object, member, json_string(text_clean(value ? value : "", clean, sizeof clean)));
}

static json_t *trial_error(const Error *failure) {
  json_t *json = json_pack("{s:s}", "code", error_code(failure->status));
  trial_clean(json, "message", failure->message);
  trial_clean(json, "object", failure->object);
  return json;
}

static json_t *trial_report(const DrillRun *run, const char *kind, TrialVerdict verdict) {
  json_t *report = json_pack("{s:i, s:s, s:s, s:i}", "version", 1, "kind", kind, "verdict", trial_verdict_name(verdict),
                             "server_major", run->major);
  trial_clean(report, "image", run->image);
  trial_clean(report, "engine", run->engine_name);
  trial_clean(report, "server_version", run->server_version);
  return report;
}

static Status trial_end(DrillRun *run, json_t *report, TrialVerdict verdict, Pgseal__JobResult *result, Error *err) {
  CLEANUP_FREE char *text = json_dumps(report, JSON_COMPACT | JSON_SORT_KEYS);
  if (!text)
    return error_set(err, ERR_INTERNAL, "the trial's report cannot be written");
  const Pgseal__Job *job = run->context->job;
  CLEANUP_FREE char *statement =
      trial_statement(job->checkpoint_id, run->spec->drill_id, run->manifest_sha256, text, verdict);
  uint8_t signature[SIGNATURE_SIZE];
  Status status = signing_sign(run->signer, TRIAL_PURPOSE, statement, strlen(statement), signature, err);
  if (status != STATUS_OK)
    return status;
  Pgseal__TrialResult *trial = memory_alloc(sizeof *trial);
  pgseal__trial_result__init(trial);
  trial->verdict = memory_strdup(trial_verdict_name(verdict));
  trial->manifest_sha256 = memory_strdup(run->manifest_sha256);
  trial->signature.data = memory_dup(signature, sizeof signature);
  trial->signature.len = sizeof signature;
  result->trial = trial;
  result->report_json = STEAL(text);
  return STATUS_OK;
}

/* ---- canaries ---- */

/* Was it found for what was done, and not for something else that is wrong with the checkpoint? */
static bool canary_found(const Trial *trial, const Error *found) {
  switch (trial->damage) {
  case TRIAL_ROW_LOST:
  case TRIAL_OBJECT_ADDED:
    return found->status == ERR_ROUND_TRIP_DIFFERS;
  case TRIAL_SEGMENT_MISSING:
    return found->status == ERR_SEGMENT_MISSING && strcmp(found->object, trial->key) == 0;
  case TRIAL_MANIFEST_BYTE:
    return found->status == ERR_MANIFEST_INVALID && strcmp(found->object, trial->key) == 0;
  default:
    return found->status == ERR_SEGMENT_CORRUPT && strcmp(found->object, trial->key) == 0;
  }
}

static Status canary_unclear(const Error *found, Error *err) {
  Error cause = *found;
  error_set(err, ERR_CANARY_UNCLEAR, "the canary was refuted, but not for the damage that was made: %s: %s",
            error_code(cause.status), cause.message);
  error_object(err, "%s", cause.object);
  return err->status;
}

static Status canary_conclude(DrillRun *run, Trial *trial, Status status, Pgseal__JobResult *result, Error *err) {
  const Error found = status == STATUS_OK ? (Error){0} : *err;
  if (status != STATUS_OK && error_outcome(status) != OUTCOME_FAILED)
    return status;
  if (!atomic_load(&trial->damaged))
    return status == STATUS_OK ? error_set(err, ERR_INTERNAL, "a canary was not damaged") : canary_unclear(&found, err);
  if (status != STATUS_OK && !canary_found(trial, &found))
    return canary_unclear(&found, err);
  TrialVerdict verdict = status == STATUS_OK ? TRIAL_SURVIVED : TRIAL_REFUTED;
  CLEANUP(json_decrefp) json_t *report = trial_report(run, "canary", verdict);
  json_object_set_new(report, "damage", json_string(trial_damage_name(trial->damage)));
  json_object_set_new(report, "damaged", json_string(trial->key ? trial->key : ""));
  if (status != STATUS_OK)
    json_object_set_new(report, "found", trial_error(&found));
  status = trial_end(run, report, verdict, result, err);
  if (status != STATUS_OK || verdict == TRIAL_REFUTED)
    return status;
  return error_set(err, ERR_CANARY_SURVIVED, "a copy that was damaged on purpose (%s) would have been called proven",
                   trial_damage_name(trial->damage));
}

/* The manifest is read once undamaged, to know what there is to damage; then everything anew. */
static Status canary_run(DrillRun *run, Trial *trial, Error *err) {
  Status status = drill_manifest_read(run, err);
  if (status == STATUS_OK)
    status = trial_choose(run, trial, err);
  if (status != STATUS_OK || trial->damage != TRIAL_MANIFEST_BYTE)
    return status == STATUS_OK ? drill_walk(run, err) : status;
  manifest_release(&run->manifest);
  run->manifest_read = false;
  return drill_walk(run, err);
}

/* ---- forward ---- */

/* What two major versions write differently is no loss; rows, contents and large objects are the same or are not. */
static bool forward_tells(const Difference *difference) {
  return difference->kind != DIFFERENCE_ENTRY_MISSING && difference->kind != DIFFERENCE_ENTRY_ADDED &&
         difference->kind != DIFFERENCE_ENTRY_CHANGED;
}

static void forward_add(json_t *list, const char *kind, const char *object, const char *detail) {
  if (json_array_size(list) >= TRIAL_LIST_LIMIT)
    return;
  json_t *item = json_pack("{s:s}", "kind", kind);
  trial_clean(item, "object", object);
  trial_clean(item, "detail", detail);
  json_array_append_new(list, item);
}

static Status forward_conclude(DrillRun *run, Status status, Pgseal__JobResult *result, Error *err) {
  if (status != STATUS_OK && error_outcome(status) != OUTCOME_FAILED)
    return status;
  CLEANUP(json_decrefp) json_t *problems = json_array(), *notes = json_array();
  for (size_t i = 0; i < run->issues.count; i++)
    forward_add(problems, error_code(run->issues.items[i].status), run->issues.items[i].object,
                run->issues.items[i].message);
  for (size_t i = 0; i < run->differences.count; i++) {
    const Difference *difference = &run->differences.items[i];
    forward_add(forward_tells(difference) ? problems : notes, difference_kind_name(difference->kind),
                difference->object, difference->detail);
  }
  if (status != STATUS_OK && json_array_size(problems) == 0)
    forward_add(problems, error_code(status), err->object, err->message);
  TrialVerdict verdict = json_array_size(problems) ? TRIAL_NOT_READY : TRIAL_READY;
  CLEANUP(json_decrefp) json_t *report = trial_report(run, "forward", verdict);
  json_object_set_new(report, "forward_major", json_integer(run->forward_major));
  json_object_set_new(report, "tables", json_integer((json_int_t)run->source.table_count));
  json_object_set_new(report, "rows", json_integer(run->source.rows));
  json_object_set(report, "problems", problems);
  json_object_set(report, "notes", notes);
  return trial_end(run, report, verdict, result, err);
}

static void trial_release(Trial *trial) {
  free(trial->key);
}

Status trial_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  CLEANUP(trial_release) Trial trial = {0};
  CLEANUP(drill_run_release) DrillRun run = {0};
  Status status = drill_run_open(&run, context, context->job->drill, err);
  if (status == STATUS_OK)
    status = signing_key_load(context->config->signing_key, &run.signer, err);
  if (status == STATUS_OK)
    status = trial_take(&run, &trial, err);
  if (status != STATUS_OK)
    return status;
  trial_repository(&run, &trial);
  if (trial.canary) {
    status = canary_run(&run, &trial, err);
    status = canary_conclude(&run, &trial, status, result, err);
  } else {
    status = drill_walk(&run, err);
    status = forward_conclude(&run, status, result, err);
  }
  drill_stages_tell(&run, result);
  return status;
}
