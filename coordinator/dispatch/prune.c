/* Pins, and what is taken out of the repository. The mark (pruning_us) is durable before an agent is asked to delete
 * anything; it is taken back only where nothing was deleted for sure: no agent ever had the job, or the one that had it
 * found the manifest, which it would have deleted first, locked. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/memory.h"
#include "common/manifest/manifest.h"

enum { REASON_LIMIT = 200, LOCKED_SHOWN = 20, KEY_LIMIT = 1000, ATTEMPTS_MOST = 64 };
#define HOLD_LOOKED_AT_US ((int64_t)30 * 86400 * 1000000)

Status prune_check(const Checkpoint *checkpoint, Error *err) {
  if (!checkpoint->pruning_us)
    return STATUS_OK;
  char when[CLOCK_TEXT_SIZE];
  clock_format(checkpoint->pruned_us ? checkpoint->pruned_us : checkpoint->pruning_us, when);
  error_set(err, ERR_CONFLICT, "checkpoint %s %s (%s)", checkpoint->id,
            checkpoint->pruned_us ? "was pruned: it is not in the repository any more" : "is being pruned", when);
  error_remedy(err, "`pgseal retention %s` shows what is kept, and why.", checkpoint->database);
  return ERR_CONFLICT;
}

static const char *noted(const Requester *requester) {
  return requester->name ? requester->name : "";
}

/* What the requester may not see does not exist for him. */
static Status load(Dispatch *dispatch, const char *checkpoint_id, const Requester *requester, Work *work, Error *err) {
  Status status = work_load(dispatch, checkpoint_id, work, err);
  if (status != STATUS_OK || request_sees(requester, work->checkpoint.database))
    return status;
  error_set(err, ERR_NOT_FOUND, "there is no checkpoint %s", checkpoint_id);
  error_object(err, "%s", checkpoint_id);
  return ERR_NOT_FOUND;
}

/* ---- pins ---- */

static Status pin(Change *change, Checkpoint *checkpoint, const char *reason, const Requester *requester, Error *err) {
  json_t *detail = json_object();
  if (reason)
    json_object_set_new(detail, "reason", intake_text(reason, REASON_LIMIT));
  checkpoint->pinned_us = change->dispatch->wall_us();
  json_t *kept = json_pack("{s:s}", "by", noted(requester));
  json_object_update(kept, detail);
  json_object_set_new(checkpoint_detail(checkpoint), "pin", kept);
  return change_event(change, "checkpoint.pinned", checkpoint, NULL, requester, detail, err);
}

static Status unpin(Change *change, Checkpoint *checkpoint, const Requester *requester, Error *err) {
  checkpoint->pinned_us = 0;
  json_object_del(checkpoint_detail(checkpoint), "pin");
  return change_event(change, "checkpoint.unpinned", checkpoint, NULL, requester, NULL, err);
}

Status dispatch_pin(Dispatch *dispatch, const char *checkpoint_id, bool wanted, const char *reason,
                    const Requester *requester, Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  Checkpoint *checkpoint = &work.checkpoint;
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = load(dispatch, checkpoint_id, requester, &work, err);
  if (status == STATUS_OK)
    status = prune_check(checkpoint, err);
  if (status != STATUS_OK || wanted == (checkpoint->pinned_us != 0))
    return status;
  status = wanted ? pin(&change, checkpoint, reason, requester, err) : unpin(&change, checkpoint, requester, err);
  if (status == STATUS_OK)
    status = ledger_checkpoint_update(dispatch->ledger, checkpoint, err);
  return status == STATUS_OK ? change_commit(&change, err) : status;
}

/* ---- asking ---- */

static Status check_last(Dispatch *dispatch, const Checkpoint *checkpoint, Error *err) {
  const CheckpointFilter filter = {.database = checkpoint->database, .state = "sealed", .limit = 1, .kept = true};
  Checkpoint *items = NULL;
  size_t count = 0;
  Status status = ledger_checkpoint_list(dispatch->ledger, &filter, &items, &count, err);
  if (status == STATUS_OK && count > 0 && strcmp(items[0].id, checkpoint->id) == 0)
    status = error_set(err, ERR_CONFLICT, "checkpoint %s is the newest sealed one of database %s, which always stays",
                       checkpoint->id, checkpoint->database);
  checkpoint_list_free(items, count);
  return status;
}

static bool locked_still(const Dispatch *dispatch, const Checkpoint *checkpoint) {
  return checkpoint->locked_until_us > dispatch->wall_us();
}

static Status check_whole(Dispatch *dispatch, const Checkpoint *checkpoint, Error *err) {
  if (checkpoint->pinned_us)
    return error_set(err, ERR_CONFLICT, "checkpoint %s is pinned", checkpoint->id);
  if (locked_still(dispatch, checkpoint) || (checkpoint->pruned_us && !checkpoint->locked_until_us))
    return error_set(err, ERR_CONFLICT, "of checkpoint %s there is nothing that can be pruned now", checkpoint->id);
  return checkpoint->pruning_us ? STATUS_OK : check_last(dispatch, checkpoint, err);
}

static Status check(Dispatch *dispatch, const Work *work, PruneWhat what, Error *err) {
  const Checkpoint *checkpoint = &work->checkpoint;
  if (!checkpoint_state_final(checkpoint->state))
    return error_set(err, ERR_CONFLICT, "checkpoint %s is not over yet", checkpoint->id);
  for (size_t i = 0; i < work->job_count; i++)
    if (!job_state_final(work->jobs[i].state))
      return error_set(err, ERR_CONFLICT, "a %s of checkpoint %s is under way",
                       ledger_job_kind_name(work->jobs[i].kind), checkpoint->id);
  if (what == PRUNE_CHECKPOINT)
    return check_whole(dispatch, checkpoint, err);
  if (checkpoint->dump_attempt < 2 || checkpoint->pruning_us)
    return error_set(err, ERR_CONFLICT, "of checkpoint %s no attempt was lost", checkpoint->id);
  return STATUS_OK;
}

/* New reference. */
static json_t *request_of(const Checkpoint *checkpoint, PruneWhat what) {
  json_t *prefixes = json_array();
  CLEANUP_FREE char *whole = memory_format("%s/%s/", checkpoint->database, checkpoint->id);
  if (what == PRUNE_CHECKPOINT)
    json_array_append_new(prefixes, json_string(whole));
  for (int i = 1; what == PRUNE_LOST_ATTEMPTS && i < checkpoint->dump_attempt && i <= ATTEMPTS_MOST; i++) {
    CLEANUP_FREE char *prefix = manifest_prefix(checkpoint->database, checkpoint->id, i);
    json_array_append_new(prefixes, json_string(prefix));
  }
  return json_pack("{s:s, s:o}", "what", what == PRUNE_CHECKPOINT ? "checkpoint" : "lost_attempts", "prefixes",
                   prefixes);
}

static Status insert(Change *change, Checkpoint *checkpoint, PruneWhat what, const Requester *requester, Error *err) {
  Dispatch *dispatch = change->dispatch;
  CLEANUP(ledger_job_release)
  LedgerJob job = {.id = memory_strdup(id_new().text),
                   .checkpoint_id = memory_strdup(checkpoint->id),
                   .database = memory_strdup(checkpoint->database),
                   .kind = LEDGER_JOB_PRUNE,
                   .priority = PRIORITY_PRUNE,
                   .state = JOB_QUEUED,
                   .attempt = 1,
                   .created_us = dispatch->wall_us(),
                   .requested_by = memory_strdup(noted(requester)),
                   .request = request_of(checkpoint, what)};
  Status status = ledger_job_insert(dispatch->ledger, &job, err);
  if (status != STATUS_OK)
    return status;
  track_get(dispatch, &job); /* its age does not depend on the wall clock */
  change->work = true;
  if (what == PRUNE_LOST_ATTEMPTS)
    return change_event(change, "prune.requested", checkpoint, &job, requester,
                        json_pack("{s:s}", "what", "lost_attempts"), err);
  if (!checkpoint->pruning_us)
    checkpoint->pruning_us = job.created_us;
  status = ledger_checkpoint_update(dispatch->ledger, checkpoint, err);
  if (status != STATUS_OK)
    return status;
  return change_event(change, "prune.requested", checkpoint, &job, requester,
                      json_pack("{s:s, s:s}", "what", "checkpoint", "tag", checkpoint->tag), err);
}

Status dispatch_prune(Dispatch *dispatch, const char *checkpoint_id, PruneWhat what, const Requester *requester,
                      Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = load(dispatch, checkpoint_id, requester, &work, err);
  if (status == STATUS_OK)
    status = request_check_database(dispatch, work.checkpoint.database, requester, err);
  if (status == STATUS_OK)
    status = check(dispatch, &work, what, err);
  if (status == STATUS_OK)
    status = insert(&change, &work.checkpoint, what, requester, err);
  return status == STATUS_OK ? change_commit(&change, err) : status;
}

Status prune_message(const LedgerJob *job, Pgseal__Job *message, Error *err) {
  const json_t *prefixes = json_object_get(job->request, "prefixes");
  size_t count = json_array_size(prefixes);
  if (count == 0)
    return error_set(err, ERR_CONFLICT, "the ledger's prune %s does not say of what", job->id);
  Pgseal__PruneSpec *spec = message->prune = memory_alloc(sizeof *spec);
  pgseal__prune_spec__init(spec);
  spec->prefixes = memory_alloc(count * sizeof *spec->prefixes);
  for (size_t i = 0; i < count; i++) {
    const char *prefix = json_string_value(json_array_get(prefixes, i));
    spec->prefixes[spec->n_prefixes++] = memory_strdup(prefix ? prefix : "");
  }
  return STATUS_OK;
}

/* ---- what became of it ---- */

static int64_t count_of(const json_t *report, const char *name) {
  json_int_t value = json_integer_value(json_object_get(report, name));
  return value > 0 ? value : 0;
}

/* What is kept of an agent's report. New reference. */
static json_t *told(const json_t *report) {
  json_t *locked = json_array();
  const json_t *list = json_object_get(report, "locked"), *item;
  size_t index;
  json_array_foreach(list, index, item) {
    if (index < LOCKED_SHOWN)
      json_array_append_new(locked,
                            json_pack("{s:o, s:o}", "key",
                                      intake_text(json_string_value(json_object_get(item, "key")), KEY_LIMIT), "until",
                                      intake_text(json_string_value(json_object_get(item, "until")), CLOCK_TEXT_SIZE)));
  }
  return json_pack("{s:I, s:I, s:I, s:o}", "objects", (json_int_t)count_of(report, "objects"), "bytes",
                   (json_int_t)count_of(report, "bytes"), "kept", (json_int_t)count_of(report, "kept"), "locked",
                   locked);
}

static bool is_whole_checkpoint(const LedgerJob *job) {
  const char *what = json_string_value(json_object_get(job->request, "what"));
  return !what || strcmp(what, "checkpoint") == 0;
}

/* A legal hold has no end: it is looked at again some day. */
static int64_t locked_until(const Dispatch *dispatch, const json_t *report) {
  int64_t until_us = count_of(report, "locked_until_us");
  if (!count_of(report, "kept"))
    return 0;
  return until_us == INT64_MAX ? dispatch->wall_us() + HOLD_LOOKED_AT_US : until_us;
}

/* Attempts of a checkpoint that is kept. */
static void note_attempts(const Dispatch *dispatch, Checkpoint *checkpoint, const json_t *report) {
  json_t *detail = checkpoint_detail(checkpoint);
  if (count_of(report, "kept"))
    json_object_set_new(detail, "attempts_locked_until_us", json_integer(locked_until(dispatch, report)));
  else
    json_object_set_new(detail, "attempts_pruned", json_integer(checkpoint->dump_attempt - 1));
}

/* Returns the event's name. */
static const char *note_checkpoint(const Dispatch *dispatch, Checkpoint *checkpoint, const json_t *report,
                                   json_t *detail) {
  checkpoint->locked_until_us = locked_until(dispatch, report);
  if (json_is_true(json_object_get(report, "whole")) && !checkpoint->pruned_us) {
    checkpoint->pruning_us = 0; /* its manifest is locked, so that nothing was deleted: it is as good as it was */
    return "checkpoint.locked";
  }
  checkpoint->pruned_us = dispatch->wall_us();
  json_object_set(checkpoint_detail(checkpoint), "pruned", detail);
  return "checkpoint.pruned";
}

static Status done(Change *change, Work *work, const LedgerJob *job, const json_t *report, Error *err) {
  const Requester requester = {.name = job->requested_by};
  Checkpoint *checkpoint = &work->checkpoint;
  json_t *detail = told(report);
  const char *kind = "prune.lost_attempts";
  if (is_whole_checkpoint(job))
    kind = note_checkpoint(change->dispatch, checkpoint, report, detail);
  else
    note_attempts(change->dispatch, checkpoint, report);
  Ledger *ledger = change->dispatch->ledger;
  Status status = ledger_checkpoint_update(ledger, checkpoint, err);
  if (status == STATUS_OK && checkpoint->pruned_us)
    status = ledger_tables_remove(ledger, checkpoint->id, err);
  if (status == STATUS_OK)
    return change_event(change, kind, checkpoint, job, &requester, detail, err);
  json_decref(detail);
  return status;
}

Status prune_over(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause, const json_t *report,
                  Error *err) {
  Checkpoint *checkpoint = &work->checkpoint;
  /* the job that marked it, and no agent ever had that; a later one follows one that may have deleted something */
  bool untouched = job->started_us == 0 && job->created_us == checkpoint->pruning_us;
  job_set_error(job, cause);
  Status status = job_end(change, work, job, event, err);
  if (status != STATUS_OK)
    return status;
  if (report)
    return done(change, work, job, report, err);
  if (untouched && is_whole_checkpoint(job))
    checkpoint->pruning_us = 0;
  return ledger_checkpoint_update(change->dispatch->ledger, checkpoint, err);
}

static Status errored(Change *change, Work *work, LedgerJob *job, const Error *cause, Error *err) {
  if (error_class(cause->status) == ERROR_CLASS_TRANSIENT)
    return job_retry(change, work, job, cause, false, err);
  return prune_over(change, work, job, JOB_EVENT_ERRORED, cause, NULL, err);
}

Status prune_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  Error cause;
  CLEANUP(intake_json_free) json_t *report = NULL;
  if (!result || result->outcome == PGSEAL__JOB_RESULT__OUTCOME__UNSPECIFIED) {
    error_set(&cause, ERR_PROTOCOL, "agent %s sent a result without an outcome", job->agent);
    return errored(change, work, job, &cause, err);
  }
  if (result->outcome == PGSEAL__JOB_RESULT__OUTCOME__CANCELED) {
    error_set(&cause, ERR_AGENT_LOST, "agent %s stopped job %s (it was stopped itself?)", job->agent, job->id);
    return errored(change, work, job, &cause, err);
  }
  if (result->outcome != PGSEAL__JOB_RESULT__OUTCOME__DONE) {
    intake_failure(result->error, &cause);
    return errored(change, work, job, &cause, err);
  }
  if (intake_report(result->report_json, &report, &cause) != STATUS_OK || !report) {
    error_set(&cause, ERR_PROTOCOL, "agent %s says the prune is done, but sent no report", job->agent);
    return errored(change, work, job, &cause, err);
  }
  return prune_over(change, work, job, JOB_EVENT_DONE, NULL, report, err);
}
