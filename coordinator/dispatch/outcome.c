/* Walks the tables. Whatever changes a state does so here or in request.c and lease.c, by *_walk alone. */
#include "coordinator/dispatch/internal.h"

#include <string.h>
#include <sys/random.h>

#include "common/base/memory.h"

enum { BACKOFF_US = 1000000, BACKOFF_MAX_US = 60000000 };

/* A walk that the table does not have is a defect: refused, and nothing is written. */
static Status walk_checkpoint(Checkpoint *checkpoint, CheckpointEvent event, Error *err) {
  if (checkpoint_walk(&checkpoint->state, event))
    return STATUS_OK;
  return error_set(err, ERR_INTERNAL, "checkpoint %s is %s: event %d does not apply", checkpoint->id,
                   checkpoint_state_name(checkpoint->state), (int)event);
}

static Status walk_job(LedgerJob *job, JobEvent event, Error *err) {
  if (job_walk(&job->state, event))
    return STATUS_OK;
  return error_set(err, ERR_INTERNAL, "job %s is %s: event %d does not apply", job->id, job_state_name(job->state),
                   (int)event);
}

static json_t *job_event_detail(const LedgerJob *job) {
  json_t *detail = json_pack("{s:s, s:i, s:s}", "kind", ledger_job_kind_name(job->kind), "attempt", job->attempt,
                             "state", job_state_name(job->state));
  if (detail && job->error_code)
    json_object_set_new(detail, "error", json_string(job->error_code));
  return detail;
}

/* Exponential, with jitter between half and all of it, so that jobs that failed together do not come back together. */
static int64_t backoff_us(int attempt) {
  int64_t delay = attempt > 6 ? BACKOFF_MAX_US : (int64_t)BACKOFF_US << (attempt > 0 ? attempt : 0);
  if (delay > BACKOFF_MAX_US)
    delay = BACKOFF_MAX_US;
  uint32_t random = 0;
  if (getrandom(&random, sizeof random, 0) != sizeof random)
    random = UINT32_MAX / 2;
  return delay / 2 + (int64_t)((uint64_t)(delay / 2) * random / UINT32_MAX);
}

Status job_end(Change *change, Work *work, LedgerJob *job, JobEvent event, Error *err) {
  Status status = walk_job(job, event, err);
  if (status != STATUS_OK)
    return status;
  job->finished_us = change->dispatch->wall_us();
  job->lease_until_us = 0;
  status = ledger_job_update(change->dispatch->ledger, job, err);
  if (status == STATUS_OK)
    status = change_event(change, "job.finished", &work->checkpoint, job, NULL, job_event_detail(job), err);
  change->work = true; /* its database, or its agent's slot, is free for the next */
  return status;
}

Status job_requeue(Change *change, Work *work, LedgerJob *job, const Error *cause, bool lost, Error *err) {
  Dispatch *dispatch = change->dispatch;
  Status status = walk_job(job, JOB_EVENT_RETRY, err);
  if (status == STATUS_OK && lost)
    status = ledger_fencing_next(dispatch->ledger, &job->fencing, err);
  if (status != STATUS_OK)
    return status;
  job->not_before_us = dispatch->wall_us() + backoff_us(job->attempt);
  job->attempt++;
  job->lease_until_us = 0;
  json_decref(job->progress); /* the next attempt has its own prefix: none of this holds for it */
  job->progress = NULL;
  job_set_error(job, cause);
  Checkpoint *checkpoint = &work->checkpoint;
  if (job->kind == LEDGER_JOB_DUMP && !checkpoint_state_final(checkpoint->state)) {
    status = walk_checkpoint(checkpoint, CHECKPOINT_EVENT_DUMP_REQUEUED, err);
    checkpoint->dump_attempt = job->attempt;
    checkpoint_set_prefix(checkpoint);
  } else if (job->kind == LEDGER_JOB_DRILL) {
    status = walk_checkpoint(checkpoint, CHECKPOINT_EVENT_DRILL_REQUEUED, err);
  }
  if (status == STATUS_OK)
    status = ledger_job_update(dispatch->ledger, job, err);
  if (status == STATUS_OK)
    status = work_save(dispatch, work, err);
  if (status == STATUS_OK)
    status = change_event(change, "job.requeued", checkpoint, job, NULL, job_event_detail(job), err);
  return status;
}

/* A drill whose dump was tried again had to start over through no fault of its own: those attempts are not counted. A
 * restore has one: nobody knows what it had done when it was lost. So has a rehearsal once its copy was handed over. */
static bool attempts_left(const Dispatch *dispatch, const Work *work, const LedgerJob *job) {
  if (job->kind == LEDGER_JOB_RESTORE || rehearsal_begun(dispatch, job))
    return false;
  int extra = job->kind == LEDGER_JOB_DRILL ? work->checkpoint.dump_attempt - 1 : 0;
  return job->attempt < dispatch->config->max_attempts + extra;
}

/* Whether the checkpoint, or who asked for a plan, still waits for this kind of job. */
static bool wanted(const Work *work, const LedgerJob *job) {
  CheckpointState state = work->checkpoint.state;
  return ledger_job_recovers(job->kind) || job->kind == LEDGER_JOB_PRUNE || job->kind == LEDGER_JOB_INVENTORY ||
         !checkpoint_state_final(state) || (job->kind == LEDGER_JOB_DRILL && state == CHECKPOINT_SEALED);
}

Status job_fail(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause, Error *err) {
  if (job->kind == LEDGER_JOB_DUMP)
    return dump_over(change, work, job, event, cause, err);
  if (job->kind == LEDGER_JOB_DRILL)
    return drill_over(change, work, job, event, OUTCOME_ERRORED, cause, err);
  if (job->kind == LEDGER_JOB_PRUNE)
    return prune_over(change, work, job, event, cause, NULL, err);
  if (job->kind == LEDGER_JOB_INVENTORY)
    return inventory_over(change, work, job, event, cause, err);
  return recovery_over(change, work, job, event, cause, NULL, err);
}

/* Its agent may still be at it, or have done it: neither its progress nor its result counts any more. */
static Status lost_for_good(Change *change, Work *work, LedgerJob *job, const Error *lost, Error *err) {
  Error cause;
  if (job->kind == LEDGER_JOB_RESTORE) {
    error_set(&cause, lost->status, "%s; what the restore had done by then is not known", lost->message);
    error_remedy(&cause, "It is not tried again by itself. Look at what is there now: pgseal plan %s", job->database);
  } else {
    error_set(&cause, lost->status, "%s; the copy is gone, and what was tried on it", lost->message);
    error_remedy(&cause, "Rehearse it again. Nothing but the copy was touched.");
  }
  error_object(&cause, "%s", lost->object);
  Status status = ledger_fencing_next(change->dispatch->ledger, &job->fencing, err);
  return status == STATUS_OK ? recovery_over(change, work, job, JOB_EVENT_GIVE_UP, &cause, NULL, err) : status;
}

Status job_retry(Change *change, Work *work, LedgerJob *job, const Error *cause, bool lost, Error *err) {
  if (lost && (job->kind == LEDGER_JOB_RESTORE || rehearsal_begun(change->dispatch, job)))
    return lost_for_good(change, work, job, cause, err);
  bool again = !job->cancel_requested && wanted(work, job) && attempts_left(change->dispatch, work, job);
  if (again)
    return job_requeue(change, work, job, cause, lost, err);
  Status status = lost ? ledger_fencing_next(change->dispatch->ledger, &job->fencing, err) : STATUS_OK;
  if (status != STATUS_OK)
    return status;
  if (job->cancel_requested) {
    if (ledger_job_recovers(job->kind))
      return recovery_over(change, work, job, JOB_EVENT_CANCEL, cause, NULL, err);
    if (job->kind == LEDGER_JOB_DRILL)
      return drill_over(change, work, job, JOB_EVENT_CANCEL, OUTCOME_CANCELED, cause, err);
    if (job->kind == LEDGER_JOB_INVENTORY)
      return inventory_over(change, work, job, JOB_EVENT_CANCEL, cause, err);
    return job_end(change, work, job, JOB_EVENT_CANCEL, err);
  }
  return job_fail(change, work, job, JOB_EVENT_GIVE_UP, cause, err);
}

Status job_cancel(Change *change, Work *work, LedgerJob *job, Error *err) {
  if (job_state_final(job->state))
    return STATUS_OK;
  job->cancel_requested = true;
  if (job->state == JOB_QUEUED)
    return job_end(change, work, job, JOB_EVENT_CANCEL, err);
  return ledger_job_update(change->dispatch->ledger, job, err);
}

/* Since it was asked for. The wall clock, which may be set, counts only for the time before this coordinator's life. A
 * checkpoint's first two jobs are as old as it is, and one that ends it is still known. */
static double seconds_of(const Change *change, const Work *work) {
  Dispatch *dispatch = change->dispatch;
  int64_t elapsed = dispatch->wall_us() - work->checkpoint.created_us;
  for (size_t i = 0; i < work->job_count; i++) {
    const Track *track = track_find(dispatch, work->jobs[i].id);
    if (track && !ledger_job_recovers(work->jobs[i].kind))
      elapsed = dispatch->monotonic_us() - track->begun_us;
  }
  return elapsed > 1000 ? (double)elapsed / 1e6 : 0.001;
}

/* The checkpoint has just come to a final state. */
Status checkpoint_end(Change *change, Work *work, const Requester *requester, Error *err) {
  Checkpoint *checkpoint = &work->checkpoint;
  checkpoint->finished_us = change->dispatch->wall_us();
  if (checkpoint->seconds <= 0) /* else it was drilled anew */
    checkpoint->seconds = seconds_of(change, work);
  json_t *detail = json_object();
  if (checkpoint->error_code)
    json_object_set_new(detail, "error", json_string(checkpoint->error_code));
  if (checkpoint->manifest_sha256)
    json_object_set(detail, "verdict", json_object_get(checkpoint->detail, "verdict"));
  json_object_set_new(detail, "manifest_sha256", json_string(checkpoint->manifest_sha256));
  if (checkpoint->state == CHECKPOINT_SEALED)
    json_object_set_new(detail, "proof_sha256", json_string(checkpoint->proof_sha256));
  CLEANUP_FREE char *kind = memory_format("checkpoint.%s", checkpoint_state_name(checkpoint->state));
  Status status = ledger_checkpoint_update(change->dispatch->ledger, checkpoint, err);
  if (status == STATUS_OK)
    status = change_event(change, kind, checkpoint, NULL, requester, detail, err);
  else
    json_decref(detail);
  change_finished(change, checkpoint->id);
  return status;
}

Status dump_over(Change *change, Work *work, LedgerJob *job, JobEvent event, const Error *cause, Error *err) {
  job_set_error(job, cause);
  Status status = job_end(change, work, job, event, err);
  if (status != STATUS_OK || checkpoint_state_final(work->checkpoint.state))
    return status;
  CheckpointEvent how = event == JOB_EVENT_FAILED ? CHECKPOINT_EVENT_DUMP_FAILED : CHECKPOINT_EVENT_DUMP_ERRORED;
  status = walk_checkpoint(&work->checkpoint, how, err);
  checkpoint_copy_error(&work->checkpoint, job);
  LedgerJob *drill = work_drill(work);
  if (status == STATUS_OK && drill)
    status = job_cancel(change, work, drill, err); /* there is nothing left to follow */
  return status == STATUS_OK ? checkpoint_end(change, work, NULL, err) : status;
}

/* The dump's result is in *checkpoint already; the drill may be waiting, at work, or over. */
Status dump_stored(Change *change, Work *work, LedgerJob *job, Error *err) {
  Checkpoint *checkpoint = &work->checkpoint;
  job_set_error(job, NULL);
  Status status = job_end(change, work, job, JOB_EVENT_DONE, err);
  if (status != STATUS_OK || checkpoint_state_final(checkpoint->state))
    return status;
  status = walk_checkpoint(checkpoint, CHECKPOINT_EVENT_DUMP_STORED, err);
  if (status == STATUS_OK)
    status = change_event(change, "checkpoint.stored", checkpoint, job, NULL,
                          json_pack("{s:s, s:I, s:I, s:I}", "manifest_sha256", checkpoint->manifest_sha256,
                                    "size_bytes", (json_int_t)checkpoint->size_bytes, "tables",
                                    (json_int_t)checkpoint->tables, "rows", (json_int_t)checkpoint->rows),
                          err);
  if (status != STATUS_OK)
    return status;
  LedgerJob *drill = work_drill(work);
  if (drill && job_held(drill))
    status = walk_checkpoint(checkpoint, CHECKPOINT_EVENT_DRILL_STARTED, err);
  if (status == STATUS_OK && drill && drill->state == JOB_ERRORED) {
    checkpoint_copy_error(checkpoint, drill);
    status = walk_checkpoint(checkpoint, CHECKPOINT_EVENT_DRILL_ERRORED, err);
    return status == STATUS_OK ? checkpoint_end(change, work, NULL, err) : status;
  }
  return status == STATUS_OK ? ledger_checkpoint_update(change->dispatch->ledger, checkpoint, err) : status;
}

static void note_drill(Checkpoint *checkpoint, Outcome outcome) {
  bool says_nothing = outcome == OUTCOME_ERRORED || outcome == OUTCOME_CANCELED;
  if (says_nothing && checkpoint->restore_drill && strcmp(checkpoint->restore_drill, "proven") == 0)
    return;
  text_set(&checkpoint->restore_drill, outcome_name(outcome));
}

/* What the end of a drill does to a checkpoint that waits for it. */
static Status apply_drill(Change *change, Work *work, const LedgerJob *job, Outcome outcome, Error *err) {
  Checkpoint *checkpoint = &work->checkpoint;
  CheckpointState before = checkpoint->state;
  CheckpointEvent event = outcome == OUTCOME_PROVEN   ? CHECKPOINT_EVENT_DRILL_PROVEN
                          : outcome == OUTCOME_FAILED ? CHECKPOINT_EVENT_DRILL_FAILED
                                                      : CHECKPOINT_EVENT_DRILL_ERRORED;
  note_drill(checkpoint, outcome);
  Status status = walk_checkpoint(checkpoint, event, err);
  if (status != STATUS_OK)
    return status;
  if (before == CHECKPOINT_SEALED && checkpoint->state == CHECKPOINT_SEALED) {
    change_finished(change, checkpoint->id);
    return ledger_checkpoint_update(change->dispatch->ledger, checkpoint, err);
  }
  if (!checkpoint_state_final(checkpoint->state)) /* its dump goes on */
    return ledger_checkpoint_update(change->dispatch->ledger, checkpoint, err);
  if (checkpoint->state == CHECKPOINT_SEALED)
    checkpoint_set_error(checkpoint, NULL);
  else
    checkpoint_copy_error(checkpoint, job);
  if (!job_state_final(work_dump(work)->state))
    status = job_cancel(change, work, work_dump(work), err);
  return status == STATUS_OK ? checkpoint_end(change, work, NULL, err) : status;
}

/* What was proven, by what, and how long it took: the checkpoint's row has the newest proof alone, the chain has all.
 */
static void note_proof(const Checkpoint *checkpoint, json_t *detail) {
  double seconds = 0;
  const char *name;
  json_t *stage;
  json_object_foreach(json_object_get(json_object_get(checkpoint->detail, "stages"), "drill"), name, stage) {
    seconds += json_number_value(stage);
  }
  json_object_set(detail, "verdict", json_object_get(checkpoint->detail, "verdict"));
  json_object_set_new(detail, "milliseconds", json_integer((json_int_t)(seconds * 1000 + 0.5)));
}

Status drill_over(Change *change, Work *work, LedgerJob *job, JobEvent event, Outcome outcome, const Error *cause,
                  Error *err) {
  job_set_error(job, cause);
  Status status = job_end(change, work, job, event, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *kind = memory_format("drill.%s", outcome_name(outcome));
  CLEANUP_FREE char *drill_id = drill_id_of(job);
  json_t *detail = json_pack("{s:s}", "drill_id", drill_id);
  if (detail && job->error_code)
    json_object_set_new(detail, "error", json_string(job->error_code));
  if (detail && outcome == OUTCOME_PROVEN)
    note_proof(&work->checkpoint, detail);
  status = change_event(change, kind, &work->checkpoint, job, NULL, detail, err);
  if (status != STATUS_OK || !wanted(work, job))
    return status;
  return apply_drill(change, work, job, outcome, err);
}
