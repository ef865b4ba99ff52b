/* Results: whose they are, whether they are stale, and what they say. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/id.h"

static Status canceled_result(Change *change, Work *work, LedgerJob *job, const Error *cause, Error *err) {
  if (job->cancel_requested)
    return job_retry(change, work, job, cause, false, err); /* ends as canceled */
  Error lost;
  error_set(&lost, ERR_AGENT_LOST, "agent %s stopped job %s (it was stopped itself?)", job->agent, job->id);
  return job_retry(change, work, job, &lost, false, err);
}

static bool worth_retry(const Error *cause) {
  return error_class(cause->status) == ERROR_CLASS_TRANSIENT;
}

static Status errored_result(Change *change, Work *work, LedgerJob *job, const Error *cause, Error *err) {
  if (job->cancel_requested || worth_retry(cause))
    return job_retry(change, work, job, cause, false, err);
  return job_fail(change, work, job, JOB_EVENT_ERRORED, cause, err);
}

static Status dump_done(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  CLEANUP_FREE char *tables = NULL;
  Error cause;
  if (checkpoint_state_final(work->checkpoint.state)) /* canceled meanwhile, or condemned by its drill */
    return job_end(change, work, job, JOB_EVENT_DONE, err);
  if (intake_tables(result->dump, &tables, &cause) != STATUS_OK ||
      intake_dump(result, &work->checkpoint, &cause) != STATUS_OK)
    return errored_result(change, work, job, &cause, err);
  Status status = dump_stored(change, work, job, err);
  return status == STATUS_OK && tables ? ledger_tables_put(change->dispatch->ledger, work->checkpoint.id, tables, err)
                                       : status;
}

static Status dump_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  Error cause;
  if (result->outcome == PGSEAL__JOB_RESULT__OUTCOME__DONE)
    return dump_done(change, work, job, result, err);
  intake_failure(result->error, &cause);
  if (result->outcome == PGSEAL__JOB_RESULT__OUTCOME__FAILED)
    return dump_over(change, work, job, JOB_EVENT_FAILED, &cause, err);
  return errored_result(change, work, job, &cause, err);
}

static Status drill_proven(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  Error cause;
  if (hold_quarantined(change->dispatch, job->agent)) {
    error_set(&cause, ERR_AGENT_LOST, "agent %s is drained: a canary survived there, so its drills are made elsewhere",
              job->agent);
    return job_retry(change, work, job, &cause, false, err);
  }
  VerdictUse use = verdict_proven(change->dispatch, work, job, result->drill, &cause);
  if (use == VERDICT_WAIT) {
    *err = cause;
    return cause.status;
  }
  if (use == VERDICT_OBSOLETE)
    return job_retry(change, work, job, &cause, false, err);
  if (use == VERDICT_COUNTS && intake_drill(result, &work->checkpoint, &cause) != STATUS_OK)
    use = VERDICT_BAD;
  if (use == VERDICT_BAD)
    return errored_result(change, work, job, &cause, err);
  text_set(&work->checkpoint.proof_sha256, result->drill->proof_sha256);
  verdict_keep(change->dispatch, work, job, result->drill);
  json_object_set_new(checkpoint_detail(&work->checkpoint), "proven_us",
                      json_integer(change->dispatch->wall_us())); /* how old the proof is: rotation asks */
  return drill_over(change, work, job, JOB_EVENT_DONE, OUTCOME_PROVEN, NULL, err);
}

static Status drill_failed(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  Error cause;
  VerdictUse use = verdict_failed(change->dispatch, work, job, result->drill, &cause);
  if (use == VERDICT_OBSOLETE)
    return job_retry(change, work, job, &cause, false, err);
  if (use == VERDICT_BAD)
    return errored_result(change, work, job, &cause, err);
  Error ignored; /* differences that do not parse must not save a checkpoint from being condemned */
  Status taken = intake_drill(result, &work->checkpoint, &ignored);
  intake_failure(result->error, &cause);
  if (taken == STATUS_OK && result->drill && intake_digest_valid(result->drill->proof_sha256) &&
      work->checkpoint.state != CHECKPOINT_SEALED)
    text_set(&work->checkpoint.proof_sha256, result->drill->proof_sha256);
  return drill_over(change, work, job, JOB_EVENT_FAILED, OUTCOME_FAILED, &cause, err);
}

/* A checkpoint that ended meanwhile (canceled, or its dump was lost) takes nothing from its drill any more. */
static bool drill_matters(const Work *work) {
  return !checkpoint_state_final(work->checkpoint.state) || work->checkpoint.state == CHECKPOINT_SEALED;
}

static Status drill_result(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  Error cause;
  if (!drill_matters(work)) {
    error_set(&cause, ERR_CANCELED, "the checkpoint ended before its drill did");
    return drill_over(change, work, job, JOB_EVENT_CANCEL, OUTCOME_CANCELED, &cause, err);
  }
  if (result->outcome == PGSEAL__JOB_RESULT__OUTCOME__DONE)
    return drill_proven(change, work, job, result, err);
  if (result->outcome == PGSEAL__JOB_RESULT__OUTCOME__FAILED)
    return drill_failed(change, work, job, result, err);
  intake_failure(result->error, &cause);
  return errored_result(change, work, job, &cause, err);
}

static Status apply(Change *change, Work *work, LedgerJob *job, const Pgseal__JobResult *result, Error *err) {
  Error cause;
  if (job->kind == LEDGER_JOB_TRIAL)
    return trial_result(change, work, job, result, err);
  if (ledger_job_recovers(job->kind))
    return recovery_result(change, work, job, result, err);
  if (job->kind == LEDGER_JOB_PRUNE)
    return prune_result(change, work, job, result, err);
  if (job->kind == LEDGER_JOB_INVENTORY)
    return inventory_result(change, work, job, result, err);
  if (!result || result->outcome == PGSEAL__JOB_RESULT__OUTCOME__UNSPECIFIED) {
    error_set(&cause, ERR_PROTOCOL, "agent %s sent a result without an outcome", job->agent);
    return errored_result(change, work, job, &cause, err);
  }
  if (result->outcome == PGSEAL__JOB_RESULT__OUTCOME__CANCELED) {
    error_set(&cause, ERR_CANCELED, "canceled");
    return canceled_result(change, work, job, &cause, err);
  }
  return job->kind == LEDGER_JOB_DUMP ? dump_result(change, work, job, result, err)
                                      : drill_result(change, work, job, result, err);
}

/* The ledger's copy of the progress may be a little old; a later drill follows what it says. */
static void keep_progress(Dispatch *dispatch, LedgerJob *job) {
  const Track *track = track_get(dispatch, job);
  if (!track->progress || (ledger_shared(dispatch->ledger) && track->written_until_us != job->lease_until_us))
    return; /* or another coordinator heard of it later */
  json_decref(job->progress);
  job->progress = json_incref(track->progress);
}

static Status take_result(Dispatch *dispatch, const LedgerJob *found, const Pgseal__Result *message, Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = work_load_of(dispatch, found, &work, err);
  if (status != STATUS_OK)
    return status;
  LedgerJob *job = work_job(&work, found->id);
  if (!job || !job_held(job) || job->fencing != found->fencing) /* since: by this very result, told elsewhere too */
    return STATUS_OK;
  keep_progress(dispatch, job);
  status = apply(&change, &work, job, message->result, err);
  if (status == STATUS_OK)
    status = change_commit(&change, err);
  if (status == ERR_UNAVAILABLE) { /* it will come again: the lease must not run out before */
    Track *track = track_get(dispatch, found);
    track->held = true;
    change_release(&change);
    beside_renew(dispatch, found);
    track->lease_until_us = dispatch->monotonic_us() + dispatch_lease_us(dispatch);
  }
  return status;
}

Status dispatch_result(Dispatch *dispatch, const char *agent, const Pgseal__Result *message, bool *accepted,
                       const char **reason, Error *err) {
  if (!agents_admitted(dispatch->agents, agent))
    return error_set(err, ERR_FORBIDDEN, "agent %s is not admitted (any more)", agent);
  dispatch_agent_seen(dispatch, agent);
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  Error missing;
  Status status =
      id_valid(message->job_id) ? ledger_job_get(dispatch->ledger, message->job_id, &job, &missing) : ERR_NOT_FOUND;
  if (status == ERR_NOT_FOUND) {
    *accepted = false;
    *reason = "there is no such job";
    return STATUS_OK;
  }
  if (status != STATUS_OK) {
    *err = missing;
    return status;
  }
  if (!job.agent || strcmp(job.agent, agent) != 0 || job.fencing != message->fencing) {
    *accepted = false;
    *reason = "the lease was lost: the job was given to another attempt";
    return STATUS_OK;
  }
  /* Over, or queued again under the same number: this very result did that, and its answer was lost. */
  status = job_held(&job) ? take_result(dispatch, &job, message, err) : STATUS_OK;
  if (status != STATUS_OK)
    return status;
  *accepted = true;
  *reason = "";
  return STATUS_OK;
}
