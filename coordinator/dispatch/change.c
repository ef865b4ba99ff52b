#include "coordinator/dispatch/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"

Status change_begin(Dispatch *dispatch, Change *change, Error *err) {
  Status status = ledger_begin(dispatch->ledger, err);
  if (status != STATUS_OK)
    return status;
  change->dispatch = dispatch;
  change->open = true;
  return STATUS_OK;
}

/* event: its kind, detail and texts are owned by it, and are the change's then. */
static Status append(Change *change, LedgerEvent event, const Requester *requester, Error *err) {
  if (requester && requester->address) {
    event.detail = event.detail ? event.detail : json_object();
    json_object_set_new(event.detail, "address", json_string(requester->address));
  }
  text_set(&event.actor, requester ? requester->name : NULL);
  Status status = ledger_event_append(change->dispatch->ledger, &event, err);
  if (status != STATUS_OK) {
    ledger_event_release(&event);
    return status;
  }
  ARRAY_PUSH(change->events, change->event_count, event);
  return STATUS_OK;
}

Status change_event(Change *change, const char *kind, const Checkpoint *checkpoint, const LedgerJob *job,
                    const Requester *requester, json_t *detail, Error *err) {
  LedgerEvent event = {.kind = memory_strdup(kind), .database = memory_strdup(checkpoint->database), .detail = detail};
  text_set(&event.checkpoint_id, checkpoint->id);
  text_set(&event.job_id, job ? job->id : NULL);
  text_set(&event.agent, job ? job->agent : NULL);
  return append(change, event, requester, err);
}

Status change_note(Change *change, const char *kind, const char *database, const Requester *requester, json_t *detail,
                   Error *err) {
  LedgerEvent event = {.kind = memory_strdup(kind), .detail = detail};
  text_set(&event.database, database);
  return append(change, event, requester, err);
}

void change_finished(Change *change, const char *checkpoint_id) {
  ARRAY_PUSH(change->finished, change->finished_count, memory_strdup(checkpoint_id));
}

void observers_event(const Dispatch *dispatch, const LedgerEvent *event) {
  for (size_t i = 0; i < dispatch->observer_count; i++) {
    if (dispatch->observers[i].event)
      dispatch->observers[i].event(dispatch->observers[i].user, event);
  }
}

static void notify(const Change *change) {
  Dispatch *dispatch = change->dispatch;
  for (size_t i = 0; i < change->event_count; i++) {
    const LedgerEvent *event = &change->events[i];
    log_info(event->kind, "database", event->database ? event->database : "", "checkpoint",
             event->checkpoint_id ? event->checkpoint_id : "", "job", event->job_id ? event->job_id : "", "agent",
             event->agent ? event->agent : "", NULL);
    if (!ledger_shared(dispatch->ledger))
      observers_event(dispatch, event);
  }
  beside_pull(dispatch, change->event_count); /* in the order of the chain, others' too */
  for (size_t j = 0; j < dispatch->observer_count; j++) {
    const DispatchObserver *observer = &dispatch->observers[j];
    for (size_t i = 0; observer->finished && i < change->finished_count; i++)
      observer->finished(observer->user, change->finished[i]);
    if (observer->work && change->work)
      observer->work(observer->user);
  }
}

Status change_commit(Change *change, Error *err) {
  Status status = ledger_commit(change->dispatch->ledger, err);
  if (status != STATUS_OK)
    return status;
  change->open = false;
  notify(change);
  return STATUS_OK;
}

void change_release(Change *change) {
  if (change->open)
    ledger_rollback(change->dispatch->ledger);
  ledger_event_list_free(change->events, change->event_count);
  for (size_t i = 0; i < change->finished_count; i++)
    free(change->finished[i]);
  free(change->finished);
  memset(change, 0, sizeof *change);
}
