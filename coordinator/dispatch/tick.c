/* Time passes: leases expire, nobody comes to take a job, backoff runs out. */
#include "coordinator/dispatch/internal.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"

/* Ticks come every second. Where the next one takes longer than this, the coordinator stood still. */
#define TICK_LATE_US ((int64_t)2 * 1000000)

static void forget_ended(Dispatch *dispatch) {
  for (size_t i = dispatch->track_count; i-- > 0;) { /* from the end: the last takes the place of one that goes */
    if (!open_jobs_find(dispatch, dispatch->tracks[i].job_id))
      track_remove(dispatch, dispatch->tracks[i].job_id);
  }
}

/* An earlier job of this tick may have ended it, or another coordinator given it to somebody, or renewed its lease. */
static bool as_found(const Dispatch *dispatch, const LedgerJob *job, const LedgerJob *found) {
  if (job_state_final(job->state) || job->fencing != found->fencing || job_held(job) != job_held(found))
    return false;
  const Track *track = job_held(job) && ledger_shared(dispatch->ledger) ? track_find(dispatch, job->id) : NULL;
  return !track || job->lease_until_us == track->seen_until_us;
}

/* One job in one transaction: what goes wrong with it must not hold up the others. */
static void end_attempt(Dispatch *dispatch, const LedgerJob *found, const Error *cause, bool give_up) {
  CLEANUP(change_release) Change change = {0};
  CLEANUP(work_release) Work work = {0};
  Error err;
  Status status = change_begin(dispatch, &change, &err);
  if (status == STATUS_OK)
    status = work_load_of(dispatch, found, &work, &err);
  LedgerJob *job = status == STATUS_OK ? work_job(&work, found->id) : NULL;
  if (job && as_found(dispatch, job, found)) {
    status = give_up ? job_fail(&change, &work, job, JOB_EVENT_GIVE_UP, cause, &err)
                     : job_retry(&change, &work, job, cause, true, &err);
  }
  if (status == STATUS_OK)
    status = change_commit(&change, &err);
  if (status != STATUS_OK)
    log_failure(LOG_LEVEL_ERROR, "job could not be taken on; it is tried again", &err);
}

static void check_lease(Dispatch *dispatch, const LedgerJob *job) {
  const Track *track = track_get(dispatch, job);
  if (dispatch->awake_us <= track->lease_until_us) /* not by how long this tick itself takes */
    return;
  Error cause;
  error_set(&cause, ERR_AGENT_LOST, "agent %s was not heard of for %d s; its lease of the %s job ran out",
            job->agent ? job->agent : "?", dispatch->config->lease_seconds, ledger_job_kind_name(job->kind));
  error_object(&cause, "%s", job->agent ? job->agent : "");
  end_attempt(dispatch, job, &cause, false);
}

static bool is_there(Dispatch *dispatch, const Agent *agent) {
  return dispatch_agent_live(dispatch, agent->who.name) && !dispatch_held(dispatch, HOLD_AGENT, agent->who.name);
}

bool dispatch_has_taker(Dispatch *dispatch, LedgerJobKind kind, const char *database) {
  for (size_t i = 0; i < agents_count(dispatch->agents); i++) {
    const Agent *agent = agents_at(dispatch->agents, i);
    if (agent_can(&agent->who, kind, database) && agent_offers(dispatch, agent, kind) && is_there(dispatch, agent))
      return true;
  }
  return false;
}

static bool has_capability(const ConfigAgent *agent, const char *capability) {
  for (size_t i = 0; i < agent->capability_count; i++)
    if (strcmp(agent->capabilities[i], capability) == 0)
      return true;
  return false;
}

/* Agents are many, and few of them are there for this. */
size_t dispatch_without_taker(Dispatch *dispatch, LedgerJobKind kind,
                              bool (*wanted)(void *user, const FleetDatabase *database), void *user) {
  CLEANUP_FREE const Agent **takers = NULL;
  size_t taker_count = 0, without = 0;
  for (size_t i = 0; i < agents_count(dispatch->agents); i++) {
    const Agent *agent = agents_at(dispatch->agents, i);
    if (agent_offers(dispatch, agent, kind) && has_capability(&agent->who, job_capability(kind)) &&
        is_there(dispatch, agent))
      ARRAY_PUSH(takers, taker_count, agent);
  }
  for (size_t i = 0; i < fleet_count(dispatch->fleet); i++) {
    const FleetDatabase *database = fleet_at(dispatch->fleet, i);
    size_t at = 0;
    if (!wanted(user, database))
      continue;
    while (at < taker_count && !agent_can(&takers[at]->who, kind, database->config.name))
      at++;
    without += at == taker_count;
  }
  return without;
}

static bool takes(Dispatch *dispatch, size_t index, const LedgerJob *job) {
  if (index >= agents_count(dispatch->agents))
    return false;
  const Agent *agent = agents_at(dispatch->agents, index);
  bool suits = job->kind == LEDGER_JOB_DRILL || job->kind == LEDGER_JOB_TRIAL || job->kind == LEDGER_JOB_INVENTORY
                   ? job_suits(dispatch, &agent->who, job)
                   : image_suits(dispatch, &agent->who, job) && agent_can(&agent->who, job->kind, job->database) &&
                         agent_offers(dispatch, agent, job->kind);
  return suits && is_there(dispatch, agent);
}

/* Most likely whoever could last. */
static bool has_taker(Dispatch *dispatch, Track *track, const LedgerJob *job) {
  if (takes(dispatch, track->taker, job))
    return true;
  for (size_t i = 0; i < agents_count(dispatch->agents); i++) {
    if (!takes(dispatch, i, job))
      continue;
    track->taker = i;
    return true;
  }
  return false;
}

/* A drill has time while its dump is not stored yet: its agent may join until then. */
static bool must_have_agent(const Dispatch *dispatch, const LedgerJob *job) {
  return job->kind != LEDGER_JOB_DRILL || !open_jobs_dump(dispatch, job->checkpoint_id);
}

static void check_taker(Dispatch *dispatch, const LedgerJob *job, bool must) {
  Error cause;
  if (!fleet_config(dispatch->fleet, job->database)) {
    error_set(&cause, ERR_CONFIG, "database %s is not in the coordinator's configuration any more", job->database);
    error_remedy(&cause, "Put the database back into fleet.yaml or coordinator.yaml, and ask again.");
    end_attempt(dispatch, job, &cause, true);
    return;
  }
  Track *track = track_get(dispatch, job);
  int64_t now = dispatch->monotonic_us();
  if (!must || !track->waiting || hold_withholds(dispatch, job) || has_taker(dispatch, track, job)) {
    track->waiting = must;
    track->capable_us = now;
    return;
  }
  if (now - track->capable_us < (int64_t)dispatch->config->agent_wait_seconds * 1000000)
    return;
  const char *image = image_of_job(dispatch, job);
  CLEANUP_FREE char *place = *image ? memory_format(" in image %s", image) : memory_strdup("");
  error_set(&cause, ERR_NO_AGENT, "no agent that can %s database %s%s has been there for %d s", job_needs(job),
            job->database, place, dispatch->config->agent_wait_seconds);
  error_object(&cause, "%s", job->database);
  error_remedy(&cause, "Start an agent with the capability '%s' for database %s (`pgseal agents` lists them)%s%s.",
               job_needs(job), job->database, *image ? ", which `drill.allow_images` lets use that image" : "",
               job->kind == LEDGER_JOB_DRILL ? ", then drill the checkpoint again: it is stored" : "");
  end_attempt(dispatch, job, &cause, true);
}

/* True if it waits for a second person; not for ever: who asked has long gone on to something else. */
static bool check_approval(Dispatch *dispatch, const LedgerJob *job) {
  if (!job->approval || strcmp(job->approval, "needed") != 0)
    return false;
  if (dispatch->monotonic_us() - track_get(dispatch, job)->begun_us < (int64_t)APPROVAL_SECONDS * 1000000)
    return true;
  Error cause;
  error_set(&cause, ERR_TIMEOUT, "nobody approved the restore within %d minutes", APPROVAL_SECONDS / 60);
  error_remedy(&cause, "Ask again, and have somebody else with the role operator approve it in time.");
  end_attempt(dispatch, job, &cause, true);
  return true;
}

static void wake(const Dispatch *dispatch) {
  for (size_t i = 0; i < dispatch->observer_count; i++) {
    if (dispatch->observers[i].work)
      dispatch->observers[i].work(dispatch->observers[i].user);
  }
}

static int64_t sooner(int64_t a, int64_t b) {
  return a < b ? a : b;
}

/* This process was stopped, its machine paused, its disk hung: that counts against nobody. What the agents sent
 * meanwhile waits in the sockets, and is read after this tick. What is late beyond TICK_LATE_US is left out, and not
 * all of it, so that time passes on a machine that is always late, too. */
static void leave_out_standstill(Dispatch *dispatch) {
  int64_t now = dispatch->monotonic_us();
  int64_t late = now - dispatch->awake_us - TICK_LATE_US;
  dispatch->awake_us = now;
  if (late <= 0)
    return;
  char text[32];
  snprintf(text, sizeof text, "%lld", (long long)(late + TICK_LATE_US) / 1000000);
  log_warn("this coordinator stood still; that counts against no lease", "seconds", text, NULL);
  for (size_t i = 0; i < dispatch->track_count; i++) {
    Track *track = &dispatch->tracks[i];
    track->lease_until_us = sooner(track->lease_until_us + late, now + dispatch_lease_us(dispatch));
    track->capable_us = sooner(track->capable_us + late, now);
  }
  for (size_t i = 0; i < dispatch->seen_count; i++) {
    if (dispatch->seen_us[i])
      dispatch->seen_us[i] = sooner(dispatch->seen_us[i] + late, now);
    if (dispatch->told_us[i])
      dispatch->told_us[i] = sooner(dispatch->told_us[i] + late, now);
  }
}

void dispatch_tick(Dispatch *dispatch) {
  OpenJob *first;
  bool due = false; /* others may have something to do now */
  Error err;
  leave_out_standstill(dispatch);
  beside_lead(dispatch);
  if (dispatch->leads)
    agents_tick(dispatch->agents);
  fleet_tick(dispatch);
  hold_tick(dispatch);
  Status status = ledger_moved(dispatch->ledger, &due, &err);
  if (due)
    open_jobs_forget(dispatch);
  if (status != STATUS_OK || open_jobs(dispatch, &first, &err) != STATUS_OK) {
    log_failure(LOG_LEVEL_ERROR, "open jobs could not be read", &err);
    return;
  }
  beside_take_renewals(dispatch);
  int64_t now = dispatch->wall_us();
  forget_ended(dispatch);
  for (OpenJob *open = first; open; open = open->after) {
    const LedgerJob *job = &open->job;
    if (!job_held(job))
      due = due || (job->not_before_us > dispatch->ticked_us && job->not_before_us <= now);
    if (open->over || !dispatch->leads) /* an earlier one of this tick has ended it */
      continue;
    if (job_held(job)) {
      check_lease(dispatch, job);
      continue;
    }
    if (!check_approval(dispatch, job))
      check_taker(dispatch, job, must_have_agent(dispatch, job));
  }
  progress_write(dispatch);
  dispatch->ticked_us = now;
  if (due)
    wake(dispatch);
}
