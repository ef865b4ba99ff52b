#include "coordinator/retention/retention.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

#define HOUR_US ((int64_t)3600 * 1000000)

void retention_view_release(RetentionView *view) {
  checkpoint_list_free(view->items, view->count);
  free(view->rules);
  *view = (RetentionView){0};
}

static const RetentionPolicy *policy_of(const FleetDatabase *database) {
  return database->policy.retains ? &database->policy.retention : NULL;
}

/* What is marked is not there for the rules any more: it stands for no day, and is no last one. */
static RetentionItem item_of(const Checkpoint *checkpoint) {
  return (RetentionItem){.id = checkpoint->id,
                         .tag = checkpoint->tag,
                         .taken_us = checkpoint->created_us,
                         .finished_us = checkpoint_state_final(checkpoint->state) ? checkpoint->finished_us : 0,
                         .locked_until_us = checkpoint->locked_until_us,
                         .rebuilt_us = json_integer_value(json_object_get(checkpoint->detail, "rebuilt_us")),
                         .sealed = checkpoint->state == CHECKPOINT_SEALED,
                         .stored = checkpoint->manifest_sha256 != NULL,
                         .pinned = checkpoint->pinned_us != 0};
}

static void decide(RetentionView *view, const RetentionPolicy *policy, int64_t now_us) {
  RetentionItem *items = memory_alloc((view->count + 1) * sizeof *items);
  unsigned *rules = memory_alloc((view->count + 1) * sizeof *rules);
  size_t kept = 0;
  for (size_t i = 0; i < view->count; i++)
    if (!view->items[i].pruning_us)
      items[kept++] = item_of(&view->items[i]);
  retention_decide(items, kept, policy, now_us, rules);
  view->rules = memory_alloc((view->count + 1) * sizeof *view->rules);
  for (size_t i = 0, j = 0; i < view->count; i++)
    view->rules[i] = view->items[i].pruning_us ? 0 : rules[j++];
  free(items);
  free(rules);
}

Status retention_look(const Dispatch *dispatch, Ledger *ledger, const char *database, RetentionView *out, Error *err) {
  const FleetDatabase *known = fleet_database(dispatch_fleet(dispatch), database);
  if (!known) {
    error_set(err, ERR_NOT_FOUND, "there is no database %s", database);
    error_object(err, "%s", database);
    return ERR_NOT_FOUND;
  }
  RetentionView view = {0};
  const CheckpointFilter filter = {.database = database, .there = true};
  Status status = ledger_checkpoint_list(ledger, &filter, &view.items, &view.count, err);
  if (status != STATUS_OK)
    return status;
  decide(&view, policy_of(known), clock_wall_us());
  *out = view;
  return STATUS_OK;
}

/* Attempts that were lost, and are not known to be gone or locked. */
static bool lost_attempts(const Checkpoint *checkpoint, const RetentionPolicy *policy, int64_t now_us) {
  int64_t gone = json_integer_value(json_object_get(checkpoint->detail, "attempts_pruned"));
  int64_t locked_us = json_integer_value(json_object_get(checkpoint->detail, "attempts_locked_until_us"));
  return policy && checkpoint_state_final(checkpoint->state) && gone < checkpoint->dump_attempt - 1 &&
         locked_us <= now_us && now_us - checkpoint->finished_us >= policy->grace_hours * HOUR_US;
}

RetentionAction retention_action(const RetentionView *view, size_t index, const RetentionPolicy *policy,
                                 int64_t now_us) {
  const Checkpoint *checkpoint = &view->items[index];
  if (checkpoint->pruning_us)
    return !checkpoint->pruned_us || checkpoint->locked_until_us <= now_us ? RETENTION_FINISH : RETENTION_NOTHING;
  if (!view->rules[index])
    return RETENTION_PRUNE;
  return lost_attempts(checkpoint, policy, now_us) ? RETENTION_ATTEMPTS : RETENTION_NOTHING;
}

/* How many more prunes there may be at once. */
static Status room(Ledger *ledger, size_t *left, Error *err) {
  LedgerJob *jobs = NULL;
  size_t count = 0, open = 0;
  Status status = ledger_job_open(ledger, &jobs, &count, err);
  for (size_t i = 0; status == STATUS_OK && i < count; i++)
    open += jobs[i].kind == LEDGER_JOB_PRUNE;
  ledger_job_list_free(jobs, count);
  *left = open < RETENTION_OPEN_MOST ? RETENTION_OPEN_MOST - open : 0;
  return status;
}

static Status check_taker(Dispatch *dispatch, const char *database, Error *err) {
  if (dispatch_held(dispatch, HOLD_FLEET, "") || dispatch_held(dispatch, HOLD_DATABASE, database))
    return error_set(err, ERR_CONFLICT, "database %s is cordoned, or the fleet is paused", database);
  if (dispatch_has_taker(dispatch, LEDGER_JOB_PRUNE, database))
    return STATUS_OK;
  error_set(err, ERR_NO_AGENT, "no agent that can prune database %s is there", database);
  error_remedy(err, "Start an agent with the capability 'prune' (docs/retention.md), or let the bucket's lifecycle "
                    "rules do it.");
  error_object(err, "%s", database);
  return ERR_NO_AGENT;
}

/* What cannot be now, will be another time: that is no failure of the others. */
static Status mark(Dispatch *dispatch, const Checkpoint *checkpoint, RetentionAction action, const Requester *requester,
                   size_t *marked, Error *err) {
  Error refusal;
  PruneWhat what = action == RETENTION_ATTEMPTS ? PRUNE_LOST_ATTEMPTS : PRUNE_CHECKPOINT;
  Status status = dispatch_prune(dispatch, checkpoint->id, what, requester, &refusal);
  *marked += status == STATUS_OK;
  if (status == STATUS_OK || status == ERR_CONFLICT)
    return STATUS_OK;
  *err = refusal;
  return status;
}

static void view_cleanup(RetentionView *view) {
  retention_view_release(view);
}

/* Looks first, since most of the time there is nothing to do. */
static Status prune(Dispatch *dispatch, Ledger *ledger, const FleetDatabase *database, const Requester *requester,
                    size_t *marked, Error *err) {
  CLEANUP(view_cleanup) RetentionView view = {0};
  int64_t now_us = clock_wall_us();
  size_t left = 0;
  bool asked = false;
  Status status = retention_look(dispatch, ledger, database->config.name, &view, err);
  for (size_t i = view.count; status == STATUS_OK && i-- > 0;) { /* the oldest first */
    RetentionAction action = retention_action(&view, i, policy_of(database), now_us);
    if (action == RETENTION_NOTHING)
      continue;
    if (!asked)
      status = check_taker(dispatch, database->config.name, err);
    if (!asked && status == STATUS_OK)
      status = room(ledger, &left, err);
    asked = true;
    if (status != STATUS_OK || *marked >= left)
      break;
    status = mark(dispatch, &view.items[i], action, requester, marked, err);
  }
  return status;
}

Status retention_prune(Dispatch *dispatch, Ledger *ledger, const char *database, const Requester *requester,
                       size_t *marked, Error *err) {
  const FleetDatabase *known = fleet_database(dispatch_fleet(dispatch), database);
  *marked = 0;
  return known ? prune(dispatch, ledger, known, requester, marked, err)
               : error_set(err, ERR_NOT_FOUND, "there is no database %s", database);
}

/* ---- by itself ---- */

/* False: this round is over, and the next one has time. */
static bool has_turn(Retention *retention, const Dispatch *dispatch, size_t count) {
  int64_t now_us = clock_monotonic_us(), changes = dispatch_fleet_changes(dispatch);
  bool late = now_us - retention->began_us >= (int64_t)RETENTION_ROUND_SECONDS * 1000000;
  if (retention->began_us && !late && retention->fleet_changes == changes)
    return retention->next < count;
  if (retention->began_us && retention->next < count && retention->fleet_changes == changes)
    return true; /* a round that takes longer is not begun anew */
  *retention = (Retention){.began_us = now_us, .fleet_changes = changes};
  return count > 0;
}

void retention_tick(Retention *retention, Dispatch *dispatch, Ledger *ledger) {
  static const Requester requester = {.name = "retention"};
  const Fleet *fleet = dispatch_fleet(dispatch);
  size_t count = fleet_count(fleet), turn = count / RETENTION_ROUND_SECONDS + 1;
  for (size_t i = 0; i < turn && has_turn(retention, dispatch, count); i++) {
    size_t marked = 0;
    Error err;
    const FleetDatabase *database = fleet_at(fleet, retention->next++);
    if (!policy_of(database))
      continue;
    Status status = prune(dispatch, ledger, database, &requester, &marked, &err);
    if (status != STATUS_OK && status != ERR_NO_AGENT &&
        status != ERR_CONFLICT) /* what health says, it need not say every time */
      log_failure(LOG_LEVEL_ERROR, "the retention of a database could not be looked after", &err);
  }
}
