/* Other coordinators on the same ledger: what they do is told here, too; whom they hear of is there; one of all leads.
 */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { FOLLOW_SECONDS = 2, PRESENT_SECONDS = 5, PAGE = 500 };

Status beside_open(Dispatch *dispatch, Error *err) {
  dispatch->leads = !ledger_shared(dispatch->ledger);
  if (dispatch->leads)
    return STATUS_OK;
  dispatch->id = memory_strdup(id_new().text);
  dispatch->beats = json_object();
  return ledger_sequence(dispatch->ledger, &dispatch->followed, err);
}

bool dispatch_leads(const Dispatch *dispatch) {
  return dispatch->leads;
}

/* ---- what the others do ---- */

/* The checkpoint is in a final state after such an event, unless another drill was begun since. */
static bool ends_checkpoint(const char *kind) {
  static const char *const kinds[] = {"checkpoint.sealed",   "checkpoint.failed", "checkpoint.errored",
                                      "checkpoint.canceled", "drill.proven",      "drill.failed",
                                      "drill.errored",       "drill.canceled"};
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    if (strcmp(kind, kinds[i]) == 0)
      return true;
  }
  return false;
}

static void tell(Dispatch *dispatch, const LedgerEvent *event) {
  observers_event(dispatch, event);
  if (strncmp(event->kind, "agent.", 6) == 0 && strcmp(event->kind, "agent.joined") != 0)
    agents_refresh(dispatch->agents);
  if (!event->checkpoint_id || !ends_checkpoint(event->kind))
    return;
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Error ignored; /* who waits for it is told when the server is back, or asks again */
  if (ledger_checkpoint_get(dispatch->ledger, event->checkpoint_id, &checkpoint, &ignored) != STATUS_OK ||
      !checkpoint_state_final(checkpoint.state))
    return;
  for (size_t i = 0; i < dispatch->observer_count; i++) {
    if (dispatch->observers[i].finished)
      dispatch->observers[i].finished(dispatch->observers[i].user, event->checkpoint_id);
  }
}

static Status pull_page(Dispatch *dispatch, size_t *count, Error *err) {
  LedgerEvent *events = NULL;
  const EventFilter filter = {.after = dispatch->followed, .limit = PAGE};
  Status status = ledger_event_list(dispatch->ledger, &filter, &events, count, err);
  if (status != STATUS_OK)
    return status;
  for (size_t i = 0; i < *count; i++) {
    dispatch->followed = events[i].sequence;
    tell(dispatch, &events[i]);
  }
  ledger_event_list_free(events, *count);
  return STATUS_OK;
}

void beside_pull(Dispatch *dispatch, size_t own) {
  Error ignored; /* the server is away: then the next time */
  size_t count = PAGE, all = 0;
  while (ledger_shared(dispatch->ledger) && count == PAGE) {
    if (pull_page(dispatch, &count, &ignored) != STATUS_OK)
      break;
    all += count;
    dispatch->followed_us = dispatch->monotonic_us();
  }
  if (all > own)
    open_jobs_forget(dispatch);
}

/* Now and then without being told, too: a notification may have been lost with a connection. */
void dispatch_follow(Dispatch *dispatch) {
  if (!ledger_shared(dispatch->ledger))
    return;
  bool due = dispatch->monotonic_us() - dispatch->followed_us >= FOLLOW_SECONDS * 1000000;
  if (!ledger_changed(dispatch->ledger) && !due)
    return;
  int64_t before = dispatch->followed;
  beside_pull(dispatch, 0);
  for (size_t i = 0; dispatch->followed != before && i < dispatch->observer_count; i++) {
    if (dispatch->observers[i].work)
      dispatch->observers[i].work(dispatch->observers[i].user);
  }
}

void beside_renew(Dispatch *dispatch, const LedgerJob *found) {
  if (!ledger_shared(dispatch->ledger))
    return;
  LedgerJob job = *found;
  bool held = false;
  Error ignored; /* the lease runs out, or the agent tells its result again before it does */
  job.lease_until_us = dispatch->wall_us() + dispatch_lease_us(dispatch);
  if (ledger_job_progress(dispatch->ledger, &job, &held, &ignored) != STATUS_OK)
    log_failure(LOG_LEVEL_WARN, "a lease was not renewed", &ignored);
}

/* What time it is on their machines is of no matter: another value than before is a renewal, of a moment ago. */
void beside_take_renewals(Dispatch *dispatch) {
  LedgerLease *leases = NULL;
  size_t count = 0;
  Error err;
  if (!ledger_shared(dispatch->ledger) || !dispatch->leads)
    return;
  if (ledger_job_leases(dispatch->ledger, &leases, &count, &err) != STATUS_OK) {
    log_failure(LOG_LEVEL_ERROR, "leases could not be read", &err);
    return;
  }
  for (size_t i = 0; i < count; i++) {
    Track *track = track_find(dispatch, leases[i].job_id);
    if (!track || track->seen_until_us == leases[i].until_us)
      continue;
    track->seen_until_us = leases[i].until_us;
    if (track->written_until_us != leases[i].until_us)
      track->lease_until_us = dispatch->monotonic_us() + dispatch_lease_us(dispatch);
  }
  ledger_lease_list_free(leases, count);
}

/* ---- whom they hear of ---- */

/* Three times over, since the others miss one now and then; what is older they know. */
static json_t *machine_heard(const Dispatch *dispatch, size_t index, int64_t now) {
  const AgentMachine *machine = &dispatch->machines[index];
  int64_t age = now - machine->told_us;
  if (machine->told_us == 0 || machine->told_by_others || age > 3 * (int64_t)PRESENT_SECONDS * 1000000)
    return json_null();
  json_t *json = machine_json(machine);
  json_object_set_new(json, "age_us", json_integer((json_int_t)age));
  return json;
}

static json_t *heard_of(const Dispatch *dispatch) {
  json_t *agents = json_object();
  int64_t now = dispatch->monotonic_us();
  for (size_t i = 0; i < dispatch->seen_count && i < agents_count(dispatch->agents); i++) {
    int64_t age = now - dispatch->seen_us[i];
    if (dispatch->seen_us[i] && age <= 2 * (int64_t)dispatch->config->poll_seconds * 1000000)
      json_object_set_new(agents, agents_at(dispatch->agents, i)->who.name,
                          json_pack("[I, I, I, o]", (json_int_t)age, (json_int_t)dispatch->offers[i],
                                    (json_int_t)dispatch->majors[i], machine_heard(dispatch, i, now)));
  }
  return agents;
}

static void take_machine(Dispatch *dispatch, const char *agent, const json_t *said) {
  AgentMachine machine;
  json_int_t age = json_integer_value(json_object_get(said, "age_us"));
  if (!json_is_object(said))
    return;
  machine_from_json(said, dispatch->monotonic_us() - (age > 0 ? age : 0), &machine);
  machine.told_by_others = true;
  dispatch_machine_told(dispatch, agent, &machine);
}

/* (They tell whom they hear themselves, not what they were told: else nobody would ever be gone.) */
static void take_word(Dispatch *dispatch, const json_t *agents) {
  const char *name;
  json_t *said;
  json_object_foreach((json_t *)agents, name, said) {
    json_int_t age = json_integer_value(json_array_get(said, 0)), offers = json_integer_value(json_array_get(said, 1));
    json_int_t majors = json_integer_value(json_array_get(said, 2));
    dispatch_agent_told(dispatch, name, dispatch->monotonic_us() - (age > 0 ? age : 0), (uint32_t)offers,
                        (uint64_t)majors);
    take_machine(dispatch, name, json_array_get(said, 3));
  }
}

static Status hear_others(Dispatch *dispatch, Error *err) {
  LedgerPresence *rows = NULL;
  size_t count = 0;
  Status status = ledger_presence_list(dispatch->ledger, &rows, &count, err);
  for (size_t i = 0; i < count; i++) {
    const json_t *before = json_object_get(dispatch->beats, rows[i].id);
    if (strcmp(rows[i].id, dispatch->id) == 0 || (before && json_integer_value(before) == rows[i].beat))
      continue; /* itself, or one that may be dead */
    if (before) /* what was said before this one came is of no known age */
      take_word(dispatch, rows[i].agents);
    json_object_set_new(dispatch->beats, rows[i].id, json_integer(rows[i].beat));
  }
  ledger_presence_list_free(rows, count);
  return status;
}

static Status be_present(Dispatch *dispatch, Error *err) {
  int64_t now = dispatch->monotonic_us(), period = PRESENT_SECONDS;
  if (dispatch->config->poll_seconds < period)
    period = dispatch->config->poll_seconds;
  if (dispatch->present_us && now - dispatch->present_us < period * 1000000)
    return STATUS_OK;
  CLEANUP(intake_json_free) json_t *agents = heard_of(dispatch);
  const LedgerPresence presence = {
      .id = dispatch->id, .beat = ++dispatch->beat, .agents = agents, .seen_us = dispatch->wall_us()};
  Status status = ledger_presence_put(dispatch->ledger, &presence, err);
  if (status == STATUS_OK)
    status = hear_others(dispatch, err);
  if (status == STATUS_OK)
    dispatch->present_us = now;
  return status;
}

/* ---- who leads ---- */

static void begin_to_lead(Dispatch *dispatch) {
  int64_t now = dispatch->monotonic_us();
  log_info("this coordinator leads", "coordinator", dispatch->id, NULL);
  for (size_t i = 0; i < dispatch->track_count; i++) {
    Track *track = &dispatch->tracks[i];
    track->lease_until_us = now + dispatch_lease_us(dispatch);
    track->capable_us = now;
  }
}

void beside_lead(Dispatch *dispatch) {
  if (!ledger_shared(dispatch->ledger))
    return;
  bool led = dispatch->leads;
  Error err;
  Status status = be_present(dispatch, &err);
  if (status == STATUS_OK)
    status = ledger_lead(dispatch->ledger, &dispatch->leads, &err);
  if (status != STATUS_OK) {
    dispatch->leads = false;
    log_failure(LOG_LEVEL_WARN, "nothing is known of other coordinators now", &err);
  }
  if (dispatch->leads && !led)
    begin_to_lead(dispatch);
}
