/* Requests that the schedule makes, with what it has to remember of them: many in one transaction. */
#include "coordinator/dispatch/internal.h"

#include "common/base/memory.h"

static const Requester schedule = {.name = DISPATCH_SCHEDULE};

static Status add_request(Change *change, DispatchScheduled *run, Error *err) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = {0};
  Status status = request_add_checkpoint(change, run->row->database, run->tag, &schedule, NULL, PRIORITY_SCHEDULED,
                                         &checkpoint, err);
  if (status == STATUS_OK)
    text_set(&run->row->checkpoint_id, checkpoint.id);
  return status;
}

Status dispatch_schedule(Dispatch *dispatch, DispatchScheduled *runs, size_t count, Error *err) {
  CLEANUP(change_release) Change change = {0};
  Status status = change_begin(dispatch, &change, err);
  for (size_t i = 0; status == STATUS_OK && i < count; i++) {
    DispatchScheduled *run = &runs[i];
    if (run->removed) {
      status = ledger_schedule_remove(dispatch->ledger, run->row->database, err);
      continue;
    }
    if (run->event)
      status = change_note(&change, run->event, run->row->database, &schedule, json_incref(run->detail), err);
    if (status == STATUS_OK && run->tag)
      status = add_request(&change, run, err);
    if (status == STATUS_OK)
      status = run->from_us ? ledger_schedule_advance(dispatch->ledger, run->row, run->from_us, err)
                            : ledger_schedule_put(dispatch->ledger, run->row, err);
  }
  return status == STATUS_OK ? change_commit(&change, err) : status;
}

int64_t dispatch_wall_us(const Dispatch *dispatch) {
  return dispatch->wall_us();
}
