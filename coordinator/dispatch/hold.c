/* What operators hold back: an agent that is drained, a database that is cordoned, the fleet that is paused. What runs
 * goes on; what waits keeps waiting, and no time runs out for it meanwhile. */
#include "coordinator/dispatch/internal.h"

#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"

enum { REASON_LIMIT = 200 };

static const struct {
  const char *what, *on, *off;
} holds[] = {[HOLD_AGENT] = {"agent", "agent.drained", "agent.undrained"},
             [HOLD_DATABASE] = {"database", "database.cordoned", "database.uncordoned"},
             [HOLD_FLEET] = {"fleet", "fleet.paused", "fleet.resumed"}};

Status hold_load(Dispatch *dispatch, Error *err) {
  LedgerHold *items = NULL;
  size_t count = 0;
  Status status = ledger_hold_list(dispatch->ledger, &items, &count, err);
  if (status != STATUS_OK)
    return status;
  ledger_hold_list_free(dispatch->holds, dispatch->hold_count);
  dispatch->holds = items;
  dispatch->hold_count = count;
  return STATUS_OK;
}

void hold_tick(Dispatch *dispatch) {
  Error err;
  if (hold_load(dispatch, &err) != STATUS_OK)
    log_failure(LOG_LEVEL_ERROR, "what is held back could not be read; what was known holds on", &err);
}

const LedgerHold *dispatch_held(const Dispatch *dispatch, HoldWhat what, const char *name) {
  for (size_t i = 0; i < dispatch->hold_count; i++)
    if (strcmp(dispatch->holds[i].what, holds[what].what) == 0 && strcmp(dispatch->holds[i].name, name) == 0)
      return &dispatch->holds[i];
  return NULL;
}

/* Routine stops; what a person asks for by name when something is wrong does not. */
static bool is_routine(LedgerJobKind kind) {
  return kind == LEDGER_JOB_DUMP || kind == LEDGER_JOB_DRILL || kind == LEDGER_JOB_TRIAL || kind == LEDGER_JOB_PRUNE;
}

bool hold_withholds(const Dispatch *dispatch, const LedgerJob *job) {
  if (is_routine(job->kind) && dispatch_held(dispatch, HOLD_FLEET, ""))
    return true;
  return (job->kind == LEDGER_JOB_DUMP || job->kind == LEDGER_JOB_PRUNE) &&
         dispatch_held(dispatch, HOLD_DATABASE, job->database);
}

Status hold_check_database(const Dispatch *dispatch, const char *database, Error *err) {
  const LedgerHold *hold = dispatch_held(dispatch, HOLD_DATABASE, database);
  if (!hold)
    return STATUS_OK;
  error_set(err, ERR_CONFLICT, "database %s is cordoned%s%s%s%s", database, hold->actor ? " by " : "",
            hold->actor ? hold->actor : "", hold->reason ? ": " : "", hold->reason ? hold->reason : "");
  error_remedy(err, "Ask again when it is not any more: pgseal uncordon %s", database);
  error_object(err, "%s", database);
  return ERR_CONFLICT;
}

static Status check(const Dispatch *dispatch, HoldWhat what, const char *name, const Requester *requester, Error *err) {
  if (what == HOLD_DATABASE)
    return request_check_database(dispatch, name, requester, err);
  if (what == HOLD_FLEET || agents_find(dispatch->agents, name))
    return STATUS_OK;
  error_set(err, ERR_NOT_FOUND, "there is no agent %s", name);
  error_object(err, "%s", name);
  return ERR_NOT_FOUND;
}

static Status note(Change *change, HoldWhat what, const char *name, bool on, const char *reason,
                   const Requester *requester, Error *err) {
  Dispatch *dispatch = change->dispatch;
  const LedgerHold hold = {.what = (char *)holds[what].what,
                           .name = (char *)name,
                           .since_us = dispatch->wall_us(),
                           .actor = (char *)requester->name,
                           .reason = (char *)reason};
  Status status =
      on ? ledger_hold_put(dispatch->ledger, &hold, err) : ledger_hold_remove(dispatch->ledger, hold.what, name, err);
  if (status != STATUS_OK)
    return status;
  json_t *detail = json_object();
  if (what == HOLD_AGENT)
    json_object_set_new(detail, "agent", json_string(name));
  if (on && reason)
    json_object_set_new(detail, "reason", intake_text(reason, REASON_LIMIT));
  change->work = true; /* there may be something that may go on now */
  return change_note(change, on ? holds[what].on : holds[what].off, what == HOLD_DATABASE ? name : NULL, requester,
                     detail, err);
}

Status hold_quarantine(Change *change, const char *agent, const char *reason, Error *err) {
  static const Requester requester = {.name = "rotation"};
  if (dispatch_held(change->dispatch, HOLD_AGENT, agent))
    return STATUS_OK;
  Status status = note(change, HOLD_AGENT, agent, true, reason, &requester, err);
  return status == STATUS_OK ? hold_load(change->dispatch, err) : status;
}

bool hold_quarantined(const Dispatch *dispatch, const char *agent) {
  const LedgerHold *hold = dispatch_held(dispatch, HOLD_AGENT, agent);
  return hold && hold->actor && strcmp(hold->actor, "rotation") == 0;
}

Status dispatch_hold(Dispatch *dispatch, HoldWhat what, const char *name, bool on, const char *reason,
                     const Requester *requester, Error *err) {
  CLEANUP(change_release) Change change = {0};
  Status status = check(dispatch, what, name, requester, err);
  if (status != STATUS_OK || on == (dispatch_held(dispatch, what, name) != NULL))
    return status;
  status = change_begin(dispatch, &change, err);
  if (status == STATUS_OK)
    status = note(&change, what, name, on, reason, requester, err);
  if (status == STATUS_OK)
    status = hold_load(dispatch, err); /* before those who wait are woken */
  if (status == STATUS_OK)
    status = change_commit(&change, err);
  if (status != STATUS_OK) { /* what is not durable does not hold */
    change_release(&change);
    hold_tick(dispatch);
  }
  return status;
}
