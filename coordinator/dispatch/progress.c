#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/id.h"
#include "common/base/memory.h"

enum { PROGRESS_WRITE_US = 1000000 }; /* the ledger's copy is at most this old */

static bool phase_changed(const LedgerJob *job, const json_t *progress) {
  const char *before = json_string_value(json_object_get(job->progress, "phase"));
  const char *after = json_string_value(json_object_get(progress, "phase"));
  return !before || !after || strcmp(before, after) != 0;
}

/* First progress and new phases are written at once; the rest once a second. */
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

static Status take(Dispatch *dispatch, Work *work, LedgerJob *job, const Pgseal__JobProgress *message,
                   Pgseal__ProgressReply *reply, Error *err) {
  json_t *progress = intake_progress(message);
  if (rehearsal_begun(dispatch, job))
    json_object_set_new(progress, "begun", json_true());
  bool written = false, held = true;
  Status status = write_progress(dispatch, job, progress, &written, &held, err);
  if (status != STATUS_OK || !held) { /* it was held when it was read: another coordinator ended it since */
    reply->lease_lost = !held;
    json_decref(progress);
    return status;
  }
  Track *track = track_get(dispatch, job);
  json_decref(track->progress);
  track->progress = progress;
  track->lease_until_us = dispatch->monotonic_us() + dispatch_lease_us(dispatch);
  if (written)
    track->written_us = dispatch->monotonic_us();
  reply->cancel = job->cancel_requested;
  if (job->kind == LEDGER_JOB_DRILL)
    reply->follow = message_follow(dispatch, work);
  for (size_t i = 0; i < dispatch->observer_count; i++) {
    if (dispatch->observers[i].progress)
      dispatch->observers[i].progress(dispatch->observers[i].user, job->checkpoint_id, job->id, progress);
  }
  return STATUS_OK;
}

Status dispatch_progress(Dispatch *dispatch, const char *agent, const Pgseal__Progress *message,
                         Pgseal__ProgressReply **out, Error *err) {
  if (!agents_admitted(dispatch->agents, agent))
    return error_set(err, ERR_FORBIDDEN, "agent %s is not admitted (any more)", agent);
  dispatch_agent_seen(dispatch, agent);
  CLEANUP(ledger_job_release) LedgerJob found = {0};
  CLEANUP(work_release) Work work = {0};
  Error missing;
  Status status =
      id_valid(message->job_id) ? ledger_job_get(dispatch->ledger, message->job_id, &found, &missing) : ERR_NOT_FOUND;
  if (status != STATUS_OK && status != ERR_NOT_FOUND) {
    *err = missing;
    return status;
  }
  bool held = status == STATUS_OK && holds(&found, agent, message->fencing);
  if (held) {
    status = work_load_of(dispatch, &found, &work, err);
    if (status != STATUS_OK)
      return status;
  }
  Pgseal__ProgressReply *reply = memory_alloc(sizeof *reply);
  pgseal__progress_reply__init(reply);
  reply->lease_lost = !held;
  status = held ? take(dispatch, &work, work_job(&work, found.id), message->progress, reply, err) : STATUS_OK;
  if (status != STATUS_OK) {
    pgseal__progress_reply__free_unpacked(reply, NULL);
    return status;
  }
  *out = reply;
  return STATUS_OK;
}
