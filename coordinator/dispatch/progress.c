/*
 * Progress. Of dumps, drills and trials it is kept in memory, and what is new is written once a second, all of it in
 * one transaction: there are a few messages a second of each job that runs. Only the first is written at once, since it
 * is what makes a lease a running job. Of jobs that are not tried again it tells how far they had come: that is on disk
 * before it is answered.
 */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum {
  PROGRESS_WRITE_US = 1000000,
  WRITING_US = 20 * 1000,  /* for so long others wait, at most */
  NEWEST_US = 3 * 1000000, /* what was written before that, another coordinator may have heard more of */
};

static bool phase_changed(const LedgerJob *job, const json_t *progress) {
  const char *before = json_string_value(json_object_get(job->progress, "phase"));
  const char *after = json_string_value(json_object_get(progress, "phase"));
  return !before || !after || strcmp(before, after) != 0;
}

/* The first and new phases at once; the rest once a second. */
static Status write_progress(Dispatch *dispatch, LedgerJob *job, json_t *progress, bool *written, bool *held,
                             Error *err) {
  Track *track = track_get(dispatch, job);
  int64_t now = dispatch->monotonic_us();
  bool due = job->state == JOB_LEASED || now - track->written_us >= PROGRESS_WRITE_US || phase_changed(job, progress);
  *written = due;
  if (!due)
    return STATUS_OK;
  if (!job_walk(&job->state, JOB_EVENT_PROGRESS))
    return error_set(err, ERR_INTERNAL, "job %s is %s and makes progress", job->id, job_state_name(job->state));
  json_decref(job->progress);
  job->progress = json_incref(progress);
  job->lease_until_us = dispatch->wall_us() + dispatch_lease_us(dispatch);
  track->written_until_us = job->lease_until_us;
  return ledger_job_progress(dispatch->ledger, job, held, err); /* one statement: a transaction of its own */
}

static bool holds(const LedgerJob *job, const char *agent, uint64_t fencing) {
  return job_held(job) && job->agent && strcmp(job->agent, agent) == 0 && job->fencing == fencing;
}

static void tell(const Dispatch *dispatch, const LedgerJob *job, json_t *progress) {
  for (size_t i = 0; i < dispatch->observer_count; i++) {
    if (dispatch->observers[i].progress)
      dispatch->observers[i].progress(dispatch->observers[i].user, job->checkpoint_id, job->id, progress);
  }
}

static Track *renew(Dispatch *dispatch, const LedgerJob *job, json_t *progress) {
  Track *track = track_get(dispatch, job);
  json_decref(track->progress);
  track->progress = progress;
  track->lease_until_us = dispatch->monotonic_us() + dispatch_lease_us(dispatch);
  return track;
}

/* ---- jobs that are tried again ---- */

/* !held: another coordinator gave the job to somebody else meanwhile, or ended it. */
static Status write_one(Dispatch *dispatch, const OpenJob *open, Track *track, bool *held, Error *err) {
  LedgerJob job = open->job;
  if (!job_walk(&job.state, JOB_EVENT_PROGRESS))
    return error_set(err, ERR_INTERNAL, "job %s is %s and makes progress", job.id, job_state_name(job.state));
  job.progress = track->progress;
  job.lease_until_us = dispatch->wall_us() + dispatch_lease_us(dispatch);
  Status status = ledger_job_progress(dispatch->ledger, &job, held, err);
  if (status != STATUS_OK)
    return status;
  track->unwritten = false;
  track->written_us = dispatch->monotonic_us();
  track->written_until_us = job.lease_until_us;
  if (!*held)
    open_jobs_forget(dispatch);
  return STATUS_OK;
}

/* From where the last time ended, so that everybody's turn comes. */
static Status write_some(Dispatch *dispatch, Error *err) {
  int64_t until_us = clock_monotonic_us() + WRITING_US;
  for (size_t n = dispatch->track_count; n > 0 && clock_monotonic_us() < until_us; n--) {
    Track *track = &dispatch->tracks[dispatch->progress_at++ % dispatch->track_count];
    const OpenJob *open = track->unwritten ? open_jobs_find(dispatch, track->job_id) : NULL;
    if (!open || !job_held(&open->job) || open->job.fencing != track->fencing)
      continue;
    bool held;
    Status status = write_one(dispatch, open, track, &held, err);
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

void progress_write(Dispatch *dispatch) {
  bool any = false;
  Error err;
  for (size_t i = 0; i < dispatch->track_count && !any; i++)
    any = dispatch->tracks[i].unwritten;
  if (!any)
    return;
  Status status = ledger_begin(dispatch->ledger, &err);
  if (status == STATUS_OK) {
    status = write_some(dispatch, &err);
    if (status == STATUS_OK)
      status = ledger_commit(dispatch->ledger, &err);
    else
      ledger_rollback(dispatch->ledger);
  }
  if (status != STATUS_OK && !dispatch->progress_fails)
    log_failure(LOG_LEVEL_ERROR, "what running jobs do cannot be written; they go on", &err);
  dispatch->progress_fails = status != STATUS_OK;
}

static Status follow_of(Dispatch *dispatch, const LedgerJob *drill, Pgseal__Follow **out, Error *err) {
  const OpenJob *dump = open_jobs_dump(dispatch, drill->checkpoint_id);
  const Track *track = dump && job_held(&dump->job) ? track_get(dispatch, &dump->job) : NULL;
  bool newest = !ledger_shared(dispatch->ledger) || (track && dispatch->monotonic_us() - track->written_us < NEWEST_US);
  if (track && track->progress && newest) {
    *out = message_follow_dumping(&dump->job, track->progress);
    return STATUS_OK;
  }
  CLEANUP(work_release) Work work = {0};
  Status status = work_load(dispatch, drill->checkpoint_id, &work, err);
  if (status == STATUS_OK)
    *out = message_follow(dispatch, &work);
  return status;
}

static Status take_note(Dispatch *dispatch, OpenJob *open, const Pgseal__JobProgress *message,
                        Pgseal__ProgressReply *reply, Error *err) {
  json_t *progress = intake_progress(message);
  Track *track = renew(dispatch, &open->job, progress);
  track->unwritten = true;
  bool held = true;
  Status status = open->job.state == JOB_LEASED ? write_one(dispatch, open, track, &held, err) : STATUS_OK;
  reply->lease_lost = !held;
  if (status != STATUS_OK || !held)
    return status;
  if (open->job.kind == LEDGER_JOB_DRILL)
    status = follow_of(dispatch, &open->job, &reply->follow, err);
  reply->cancel = open->job.cancel_requested;
  if (status == STATUS_OK)
    tell(dispatch, &open->job, progress);
  return status;
}

/* ---- jobs that are not ---- */

static Status take(Dispatch *dispatch, OpenJob *open, const Pgseal__JobProgress *message, Pgseal__ProgressReply *reply,
                   Error *err) {
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  Status status = ledger_job_get(dispatch->ledger, open->job.id, &job, err);
  reply->lease_lost = status == STATUS_OK && !holds(&job, open->job.agent, open->job.fencing);
  if (status != STATUS_OK || reply->lease_lost)
    return status;
  json_t *progress = intake_progress(message);
  if (rehearsal_begun(dispatch, &job))
    json_object_set_new(progress, "begun", json_true());
  bool written = false, held = true;
  status = write_progress(dispatch, &job, progress, &written, &held, err);
  if (status != STATUS_OK || !held) { /* it was held when it was read: another coordinator ended it since */
    reply->lease_lost = !held;
    json_decref(progress);
    return status;
  }
  Track *track = renew(dispatch, &job, progress);
  if (written)
    track->written_us = dispatch->monotonic_us();
  reply->cancel = job.cancel_requested;
  tell(dispatch, &job, progress);
  return STATUS_OK;
}

static bool is_routine(LedgerJobKind kind) {
  return kind == LEDGER_JOB_DUMP || kind == LEDGER_JOB_DRILL || kind == LEDGER_JOB_TRIAL;
}

Status dispatch_progress(Dispatch *dispatch, const char *agent, const Pgseal__Progress *message,
                         Pgseal__ProgressReply **out, Error *err) {
  OpenJob *open;
  if (!agents_admitted(dispatch->agents, agent))
    return error_set(err, ERR_FORBIDDEN, "agent %s is not admitted (any more)", agent);
  dispatch_agent_seen(dispatch, agent);
  Status status = open_jobs(dispatch, &open, err);
  if (status != STATUS_OK)
    return status;
  open = open_jobs_find(dispatch, message->job_id);
  bool held = open && holds(&open->job, agent, message->fencing);
  Pgseal__ProgressReply *reply = memory_alloc(sizeof *reply);
  pgseal__progress_reply__init(reply);
  reply->lease_lost = !held;
  if (held)
    status = (is_routine(open->job.kind) ? take_note : take)(dispatch, open, message->progress, reply, err);
  if (status != STATUS_OK) {
    pgseal__progress_reply__free_unpacked(reply, NULL);
    return status;
  }
  *out = reply;
  return STATUS_OK;
}
