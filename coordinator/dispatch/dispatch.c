#include "coordinator/dispatch/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"

static void dispatch_cleanup(Dispatch **dispatch) {
  if (*dispatch)
    dispatch_close(*dispatch);
}

Status dispatch_open(const CoordinatorConfig *config, Ledger *ledger, Dispatch **out, Error *err) {
  CLEANUP(dispatch_cleanup) Dispatch *dispatch = memory_alloc(sizeof *dispatch);
  dispatch->config = config;
  dispatch->ledger = ledger;
  dispatch->wall_us = clock_wall_us;
  dispatch->monotonic_us = clock_monotonic_us;
  dispatch->ticked_us = dispatch->wall_us();
  dispatch->awake_us = dispatch->monotonic_us();
  OpenJob *first = NULL;
  open_jobs_watch(dispatch);
  Status status = agents_open(config, ledger, &dispatch->agents, err);
  if (status != STATUS_OK)
    return status;
  status = fleet_open(dispatch, err);
  if (status == STATUS_OK)
    status = hold_load(dispatch, err);
  if (status != STATUS_OK)
    return status;
  agents_observe(dispatch->agents, dispatch_agent_changed, dispatch);
  dispatch->tunnels = tunnels_new(ledger);
  status = beside_open(dispatch, err);
  if (status == STATUS_OK)
    status = open_jobs(dispatch, &first, err);
  if (status != STATUS_OK)
    return status;
  for (OpenJob *open = first; open; open = open->after)
    track_get(dispatch, &open->job); /* a full lease from now on, whatever the ledger says */
  *out = STEAL(dispatch);
  return STATUS_OK;
}

static void track_release(Track *track) {
  free(track->job_id);
  json_decref(track->progress);
}

void dispatch_close(Dispatch *dispatch) {
  if (!dispatch)
    return;
  for (size_t i = 0; i < dispatch->track_count; i++)
    track_release(&dispatch->tracks[i]);
  free(dispatch->tracks);
  names_release(&dispatch->track_names);
  open_jobs_close(dispatch);
  free(dispatch->observers);
  free(dispatch->seen_us);
  free(dispatch->told_us);
  free(dispatch->id);
  json_decref(dispatch->beats);
  free(dispatch->offers);
  free(dispatch->majors);
  free(dispatch->machines);
  images_close(dispatch);
  agents_close(dispatch->agents);
  fleet_free(dispatch->fleet);
  tunnels_free(dispatch->tunnels);
  ledger_hold_list_free(dispatch->holds, dispatch->hold_count);
  free(dispatch->fleet_problem);
  free(dispatch);
}

void dispatch_observe(Dispatch *dispatch, const DispatchObserver *observer) {
  ARRAY_PUSH(dispatch->observers, dispatch->observer_count, *observer);
}

int64_t dispatch_lease_us(const Dispatch *dispatch) {
  return (int64_t)dispatch->config->lease_seconds * 1000000;
}

static void track_renew(Dispatch *dispatch, Track *track, const LedgerJob *job) {
  int64_t now = dispatch->monotonic_us();
  json_decref(track->progress);
  *track = (Track){.job_id = track->job_id,
                   .begun_us = track->begun_us,
                   .taker = track->taker,
                   .fencing = job->fencing,
                   .granted_us = now,
                   .lease_until_us = now + dispatch_lease_us(dispatch),
                   .capable_us = now};
}

Track *track_find(const Dispatch *dispatch, const char *job_id) {
  size_t place = (size_t)(uintptr_t)names_get(&dispatch->track_names, job_id);
  return place ? &dispatch->tracks[place - 1] : NULL;
}

static void track_name(Dispatch *dispatch, size_t index) {
  names_put(&dispatch->track_names, dispatch->tracks[index].job_id, (void *)(uintptr_t)(index + 1));
}

Track *track_get(Dispatch *dispatch, const LedgerJob *job) {
  Track *known = track_find(dispatch, job->id);
  if (known) {
    if (known->fencing != job->fencing)
      track_renew(dispatch, known, job);
    return known;
  }
  int64_t age = dispatch->wall_us() - job->created_us;
  Track track = {.job_id = memory_strdup(job->id), .begun_us = dispatch->monotonic_us() - (age > 0 ? age : 0)};
  track_renew(dispatch, &track, job);
  ARRAY_PUSH(dispatch->tracks, dispatch->track_count, track);
  track_name(dispatch, dispatch->track_count - 1);
  return &dispatch->tracks[dispatch->track_count - 1];
}

void track_remove(Dispatch *dispatch, const char *job_id) {
  Track *track = track_find(dispatch, job_id);
  if (!track)
    return;
  Track *last = &dispatch->tracks[--dispatch->track_count];
  names_remove(&dispatch->track_names, track->job_id);
  track_release(track);
  if (track == last)
    return;
  *track = *last;
  track_name(dispatch, (size_t)(track - dispatch->tracks));
}

const char *job_capability(LedgerJobKind kind) {
  return kind == LEDGER_JOB_PLAN                                    ? "restore"
         : kind == LEDGER_JOB_TRIAL || kind == LEDGER_JOB_INVENTORY ? "drill"
                                                                    : ledger_job_kind_name(kind);
}

bool agent_can(const ConfigAgent *agent, LedgerJobKind kind, const char *database) {
  return agent_may(agent, job_capability(kind), database);
}

const char *job_needs(const LedgerJob *job) {
  return trial_kind(job) == ROTATION_BARE ? "bare" : job_capability(job->kind);
}

bool job_suits(const Dispatch *dispatch, const ConfigAgent *agent, const LedgerJob *job) {
  if (!agent_may(agent, job_needs(job), job->database) || !image_suits(dispatch, agent, job))
    return false;
  const Agent *known = agents_find(dispatch->agents, agent->name);
  uint32_t offers = known && known->index < dispatch->seen_count ? dispatch->offers[known->index] : 0;
  uint64_t majors = known && known->index < dispatch->seen_count ? dispatch->majors[known->index] : 0;
  if (job->kind == LEDGER_JOB_INVENTORY)
    return majors & MAJORS_INVENTORIES;
  if (job->kind != LEDGER_JOB_TRIAL)
    return job->kind != LEDGER_JOB_DRILL || !offers ||
           (offers & (trial_kind(job) == ROTATION_BARE ? OFFERS_BARE : 1u << LEDGER_JOB_DRILL));
  int forward = trial_forward_major(job);
  return (majors & MAJORS_TRIALS) && (forward == 0 || (forward < 64 && (majors & (uint64_t)1 << forward)));
}

Agents *dispatch_agents(Dispatch *dispatch) {
  return dispatch->agents;
}

Tunnels *dispatch_tunnels(Dispatch *dispatch) {
  return dispatch->tunnels;
}

/* Makes room for what is known of it; NULL: there is no such agent. */
static const Agent *remember(Dispatch *dispatch, const char *agent) {
  const Agent *known = agents_find(dispatch->agents, agent);
  while (known && dispatch->seen_count <= known->index) {
    size_t count = dispatch->seen_count;
    size_t too = count;
    ARRAY_PUSH(dispatch->offers, count, 0);
    ARRAY_PUSH(dispatch->majors, too, 0);
    too = dispatch->seen_count;
    ARRAY_PUSH(dispatch->images, too, (AgentImages){0});
    too = dispatch->seen_count;
    ARRAY_PUSH(dispatch->told_us, too, 0);
    too = dispatch->seen_count;
    ARRAY_PUSH(dispatch->machines, too, (AgentMachine){0});
    ARRAY_PUSH(dispatch->seen_us, dispatch->seen_count, 0);
  }
  return known;
}

void dispatch_agent_seen(Dispatch *dispatch, const char *agent) {
  const Agent *known = remember(dispatch, agent);
  if (known)
    dispatch->seen_us[known->index] = dispatch->monotonic_us();
}

void dispatch_agent_told(Dispatch *dispatch, const char *agent, int64_t heard_us, uint32_t offers, uint64_t majors) {
  const Agent *known = remember(dispatch, agent);
  if (!known || dispatch->told_us[known->index] >= heard_us)
    return;
  dispatch->told_us[known->index] = heard_us;
  if (dispatch->seen_us[known->index] >= heard_us)
    return;
  dispatch->offers[known->index] = offers;
  dispatch->majors[known->index] = majors;
}

void dispatch_agent_offers(Dispatch *dispatch, const char *agent, char *const *capabilities, size_t count) {
  const Agent *known = remember(dispatch, agent);
  if (!known)
    return;
  uint32_t offers = OFFERS_TOLD;
  for (size_t i = 0; i < count; i++) {
    for (int kind = LEDGER_JOB_DUMP; kind <= LEDGER_JOB_TRIAL; kind++)
      if (strcmp(capabilities[i], job_capability((LedgerJobKind)kind)) == 0)
        offers |= 1u << kind;
    if (strcmp(capabilities[i], "bare") == 0)
      offers |= OFFERS_BARE;
  }
  dispatch->offers[known->index] = offers;
}

void dispatch_agent_tools(Dispatch *dispatch, const char *agent, Pgseal__Tool *const *tools, size_t count) {
  static const char dump[] = "pg_dump-";
  const Agent *known = remember(dispatch, agent);
  if (!known)
    return;
  uint64_t majors = 0;
  for (size_t i = 0; i < count; i++) {
    long major = strncmp(tools[i]->name, dump, strlen(dump)) == 0 ? strtol(tools[i]->name + strlen(dump), NULL, 10) : 0;
    if (strcmp(tools[i]->name, "trials") == 0)
      majors |= MAJORS_TRIALS;
    else if (strcmp(tools[i]->name, "inventories") == 0)
      majors |= MAJORS_INVENTORIES;
    else if (major > 1 && major < 64)
      majors |= (uint64_t)1 << major;
  }
  dispatch->majors[known->index] = majors;
  dispatch->agents_told++;
  images_told(&dispatch->images[known->index], tools, count);
}

int64_t dispatch_agents_told(const Dispatch *dispatch) {
  return dispatch->agents_told;
}

void dispatch_agent_machine(Dispatch *dispatch, const char *agent, const Pgseal__Machine *message) {
  AgentMachine machine;
  machine_intake(message, dispatch->monotonic_us(), &machine);
  dispatch_machine_told(dispatch, agent, &machine);
}

void dispatch_machine_told(Dispatch *dispatch, const char *agent, const AgentMachine *machine) {
  const Agent *known = remember(dispatch, agent);
  if (known && dispatch->machines[known->index].told_us <= machine->told_us)
    dispatch->machines[known->index] = *machine;
}

const AgentMachine *dispatch_machine(Dispatch *dispatch, const char *agent, int64_t *age_us) {
  const Agent *known = agents_find(dispatch->agents, agent);
  if (!known || !dispatch_agent_live(dispatch, agent) || dispatch->machines[known->index].told_us == 0)
    return NULL;
  *age_us = dispatch->monotonic_us() - dispatch->machines[known->index].told_us;
  return &dispatch->machines[known->index];
}

bool agent_offers(const Dispatch *dispatch, const Agent *agent, LedgerJobKind kind) {
  uint32_t offers = agent->index < dispatch->seen_count ? dispatch->offers[agent->index] : 0;
  return !offers || (offers & (1u << kind));
}

int64_t dispatch_agent_silent_us(Dispatch *dispatch, const char *agent) {
  const Agent *known = agents_find(dispatch->agents, agent);
  int64_t seen = 0;
  if (known && agent_admitted(known) && known->index < dispatch->seen_count)
    seen = dispatch->seen_us[known->index] > dispatch->told_us[known->index] ? dispatch->seen_us[known->index]
                                                                             : dispatch->told_us[known->index];
  return seen > 0 ? dispatch->monotonic_us() - seen : -1;
}

bool dispatch_agent_live(Dispatch *dispatch, const char *agent) {
  int64_t silent_us = dispatch_agent_silent_us(dispatch, agent);
  return silent_us >= 0 && silent_us <= 2 * (int64_t)dispatch->config->poll_seconds * 1000000;
}

Status dispatch_walk_jobs(Dispatch *dispatch, void (*visit)(void *user, const LedgerJob *job), void *user, Error *err) {
  OpenJob *first = NULL;
  Status status = open_jobs(dispatch, &first, err);
  for (OpenJob *open = status == STATUS_OK ? first : NULL; open; open = open->after)
    if (!open->over)
      visit(user, &open->job);
  return status;
}
