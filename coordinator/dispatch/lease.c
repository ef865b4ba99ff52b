/* Poll: which job an agent gets. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/signing.h"

enum { CROSSING_US = 5 * 1000 * 1000 };

static uint32_t *slots_for(Pgseal__Poll *poll, LedgerJobKind kind) {
  return kind == LEDGER_JOB_DUMP        ? &poll->free_dump
         : kind == LEDGER_JOB_DRILL     ? &poll->free_drill
         : kind == LEDGER_JOB_TRIAL     ? &poll->free_drill
         : kind == LEDGER_JOB_INVENTORY ? &poll->free_drill
         : kind == LEDGER_JOB_REHEARSE  ? &poll->free_rehearse
         : kind == LEDGER_JOB_PRUNE     ? &poll->free_prune
                                        : &poll->free_restore;
}

typedef struct Taker {
  const Dispatch *dispatch;
  const ConfigAgent *agent;
  Pgseal__Poll room; /* its slots that are free */
  const OpenJob *first;
  Limits limits;
} Taker;

static bool may_take(void *user, const OpenJob *open) {
  Taker *taker = user;
  const Dispatch *dispatch = taker->dispatch;
  const LedgerJob *job = &open->job;
  if (*slots_for(&taker->room, job->kind) == 0 || job_waits(dispatch, open) != WAIT_NONE)
    return false;
  if (!job_suits(dispatch, taker->agent, job) || !fleet_config(dispatch->fleet, job->database))
    return false;
  return job->kind != LEDGER_JOB_DUMP || limits_allow(dispatch, taker->first, job, &taker->limits);
}

/* The dump goes to an agent with another key than the drill that follows was told: that drill must be told anew. */
static Status take_over(Change *change, Work *work, const ConfigAgent *agent, const char *hex, Error *err) {
  LedgerJob *drill = work_drill(work);
  const char *before = json_string_value(json_object_get(work->checkpoint.detail, "dump_public_key"));
  if (!drill || !job_held(drill) || !before || strcmp(before, hex) == 0)
    return STATUS_OK;
  Error cause;
  error_set(&cause, ERR_AGENT_LOST, "the dump moved to agent %s; the drill starts over", agent->name);
  return job_requeue(change, work, drill, &cause, true, err);
}

static Status lease_dump(Change *change, Work *work, const ConfigAgent *agent, Error *err) {
  char hex[PUBLIC_KEY_HEX_SIZE];
  text_hex(agent->key, sizeof agent->key, hex);
  Status status = take_over(change, work, agent, hex, err);
  if (status != STATUS_OK)
    return status;
  Checkpoint *checkpoint = &work->checkpoint;
  if (!checkpoint_walk(&checkpoint->state, CHECKPOINT_EVENT_DUMP_STARTED))
    return error_set(err, ERR_INTERNAL, "checkpoint %s is %s and cannot be dumped", checkpoint->id,
                     checkpoint_state_name(checkpoint->state));
  text_set(&checkpoint->dump_agent, agent->name);
  json_object_set_new(checkpoint_detail(checkpoint), "dump_public_key", json_string(hex));
  change->work = true; /* its drill may start now */
  return STATUS_OK;
}

static Status lease_drill(Dispatch *dispatch, Work *work, const ConfigAgent *agent, Error *err) {
  Checkpoint *checkpoint = &work->checkpoint;
  if (!checkpoint_walk(&checkpoint->state, CHECKPOINT_EVENT_DRILL_STARTED))
    return error_set(err, ERR_INTERNAL, "checkpoint %s is %s and cannot be drilled", checkpoint->id,
                     checkpoint_state_name(checkpoint->state));
  json_t *detail = checkpoint_detail(checkpoint);
  json_object_set_new(detail, "drill_agent", json_string(agent->name));
  const ConfigDatabase *database = fleet_config(dispatch->fleet, checkpoint->database);
  json_object_set_new(detail, "assertions", json_integer(database ? (json_int_t)database->assertion_count : 0));
  return STATUS_OK;
}

/* What the lease does to the checkpoint; a recovery job's does nothing to it. */
static Status lease_of_kind(Change *change, Work *work, const LedgerJob *job, const ConfigAgent *agent, Error *err) {
  if (job->kind == LEDGER_JOB_DUMP)
    return lease_dump(change, work, agent, err);
  if (job->kind == LEDGER_JOB_DRILL)
    return lease_drill(change->dispatch, work, agent, err);
  if (job->kind != LEDGER_JOB_RESTORE)
    return STATUS_OK;
  return change_event(change, "restore.started", &work->checkpoint, job, &(Requester){.name = job->requested_by},
                      recovery_summary(job), err);
}

/* The checkpoint may have been condemned since the restore was asked for. True: it has, and the job is over. */
static bool condemned_since(Change *change, Work *work, LedgerJob *job, Status *status, Error *err) {
  Error cause;
  if (!job || !ledger_job_recovers(job->kind) ||
      recovery_check_checkpoint(&work->checkpoint, job->kind, job->request, &cause) == STATUS_OK)
    return false;
  *status = job_fail(change, work, job, JOB_EVENT_GIVE_UP, &cause, err);
  if (*status == STATUS_OK)
    *status = change_commit(change, err);
  return true;
}

/* Inside the transaction: nobody else writes now, but another coordinator may have, since it was chosen. *chosen: NULL
 * if it may not be taken any more. */
static Status choose_anew(Dispatch *dispatch, Taker *taker, OpenJob **chosen, Error *err) {
  bool moved = false;
  Status status = ledger_moved(dispatch->ledger, &moved, err);
  if (status != STATUS_OK || !moved)
    return status;
  OpenJob *first;
  CLEANUP_FREE char *id = memory_strdup((*chosen)->job.id);
  open_jobs_forget(dispatch);
  status = open_jobs(dispatch, &first, err);
  if (status != STATUS_OK)
    return status;
  limits_release(&taker->limits); /* reckoned by what was known before */
  taker->first = first;
  OpenJob *open = open_jobs_find(dispatch, id);
  *chosen = open && open->job.state == JOB_QUEUED && may_take(taker, open) ? open : NULL;
  return STATUS_OK;
}

static Status lease(Dispatch *dispatch, Taker *taker, OpenJob *open, Pgseal__Job **out, Error *err) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  const ConfigAgent *agent = taker->agent;
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = choose_anew(dispatch, taker, &open, err);
  if (status != STATUS_OK || !open)
    return status;
  const LedgerJob *chosen = &open->job;
  status = work_load_of(dispatch, chosen, &work, err);
  if (status != STATUS_OK)
    return status;
  LedgerJob *job = work_job(&work, chosen->id);
  if (condemned_since(&change, &work, job, &status, err))
    return status;
  if (!job || !job_walk(&job->state, JOB_EVENT_LEASE))
    return error_set(err, ERR_INTERNAL, "job %s cannot be leased", chosen->id);
  text_set(&job->agent, agent->name);
  status = lease_of_kind(&change, &work, job, agent, err);
  if (status == STATUS_OK)
    status = ledger_fencing_next(dispatch->ledger, &job->fencing, err);
  if (status != STATUS_OK)
    return status;
  job->started_us = dispatch->wall_us();
  job->lease_until_us = job->started_us + dispatch_lease_us(dispatch);
  Pgseal__Job *message = NULL;
  status = message_job(dispatch, &work, job, &message, err);
  if (status == STATUS_OK)
    status = ledger_job_update(dispatch->ledger, job, err);
  if (status == STATUS_OK)
    status = work_save(dispatch, &work, err);
  if (status == STATUS_OK)
    status = change_event(&change, "job.leased", &work.checkpoint, job, NULL,
                          json_pack("{s:s, s:i, s:I}", "kind", ledger_job_kind_name(job->kind), "attempt", job->attempt,
                                    "fencing", (json_int_t)job->fencing),
                          err);
  if (status == STATUS_OK)
    status = change_commit(&change, err);
  if (status != STATUS_OK) {
    if (message)
      pgseal__job__free_unpacked(message, NULL);
    return status;
  }
  track_get(dispatch, job);
  *out = message;
  return STATUS_OK;
}

static bool runs(const Pgseal__Poll *poll, const char *job_id) {
  for (size_t i = 0; i < poll->n_running_jobs; i++) {
    if (strcmp(poll->running_jobs[i], job_id) == 0)
      return true;
  }
  return false;
}

static Status give_one_back(Dispatch *dispatch, const LedgerJob *job, Error *err) {
  Error cause;
  error_set(&cause, ERR_AGENT_LOST, "agent %s does not run job %s any more", job->agent, job->id);
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  Status status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = work_load_of(dispatch, job, &work, err);
  LedgerJob *now = status == STATUS_OK ? work_job(&work, job->id) : NULL;
  if (now && job_held(now) && now->fencing == job->fencing) /* another coordinator may have been faster */
    status = job_retry(&change, &work, now, &cause, true, err);
  return status == STATUS_OK ? change_commit(&change, err) : status;
}

/* An agent that was restarted does not run what it held. Jobs just given to it are left alone: their assignment and
 * this poll may have crossed. */
static Status give_back(Dispatch *dispatch, const ConfigAgent *agent, const Pgseal__Poll *poll, Error *err) {
  int64_t lease_us = dispatch_lease_us(dispatch), poll_us = 2 * (int64_t)dispatch->config->poll_seconds * 1000000;
  int64_t grace = lease_us > poll_us ? lease_us : poll_us;
  for (OpenJob *open = open_jobs_held(dispatch, agent->name), *next; open; open = next) {
    next = open->next_of_agent;
    if (runs(poll, open->job.id))
      continue;
    const Track *track = track_get(dispatch, &open->job);
    if (track->held || dispatch->monotonic_us() - track->granted_us < grace)
      continue;
    Status status = give_one_back(dispatch, &open->job, err);
    if (status != STATUS_OK)
      return status;
    next = open_jobs_held(dispatch, agent->name); /* others of its jobs may have ended with this one */
  }
  return STATUS_OK;
}

/* What was given to it a moment ago and is not in its list crossed with this poll: that slot is not free any more. */
static void take_crossed(Dispatch *dispatch, const ConfigAgent *agent, const Pgseal__Poll *poll, Pgseal__Poll *room) {
  for (OpenJob *open = open_jobs_held(dispatch, agent->name); open; open = open->next_of_agent) {
    const LedgerJob *job = &open->job;
    if (runs(poll, job->id) || dispatch->monotonic_us() - track_get(dispatch, job)->granted_us > CROSSING_US)
      continue;
    uint32_t *slots = slots_for(room, job->kind);
    *slots -= *slots > 0;
  }
}

bool dispatch_waits_for(Dispatch *dispatch, const char *agent, const Pgseal__Poll *poll) {
  OpenJob *first;
  Error ignored; /* dispatch_poll says it */
  const ConfigAgent *known = agents_admitted(dispatch->agents, agent);
  if (!known || open_jobs(dispatch, &first, &ignored) != STATUS_OK)
    return true;
  Taker taker = {.dispatch = dispatch, .agent = known, .room = *poll, .first = first};
  bool waits = open_jobs_next(dispatch, may_take, &taker) != NULL;
  limits_release(&taker.limits);
  return waits;
}

Status dispatch_poll(Dispatch *dispatch, const char *agent, const Pgseal__Poll *poll, Pgseal__Job **job, Error *err) {
  const ConfigAgent *known = agents_admitted(dispatch->agents, agent);
  if (!known)
    return error_set(err, ERR_FORBIDDEN, "agent %s is not admitted (any more)", agent);
  dispatch_agent_seen(dispatch, agent);
  OpenJob *open;
  Status status = open_jobs(dispatch, &open, err);
  if (status == STATUS_OK)
    status = give_back(dispatch, known, poll, err);
  if (status != STATUS_OK)
    return status;
  Pgseal__Job *given = NULL;
  Taker taker = {.dispatch = dispatch, .agent = known, .room = *poll, .first = open};
  take_crossed(dispatch, known, poll, &taker.room);
  *job = NULL;
  if (dispatch_held(dispatch, HOLD_AGENT, agent))
    return STATUS_OK;
  while (status == STATUS_OK && !given && (open = open_jobs_next(dispatch, may_take, &taker)))
    status = lease(dispatch, &taker, open, &given, err); /* none given: as it turned out, it may not be taken */
  limits_release(&taker.limits);
  if (status == STATUS_OK)
    *job = given;
  return status;
}
