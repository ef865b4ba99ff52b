/* Who silenced or acknowledged which alerts. */
#include "coordinator/report/internal.h"

#include <string.h>

/* Of some databases only those of theirs are told, and those that name no database and no alert: theirs, too. */
static bool belongs(const Gather *gather, const LedgerSilence *one) {
  const GatherAsk *ask = gather->ask;
  if (!ask->database && !ask->owner && !ask->environment && ask->name_count == 0)
    return true;
  return one->database ? gather_has(gather, one->database) : !one->key;
}

static json_t *row_of(const Gather *gather, const LedgerSilence *one, const ReportEvent *event) {
  json_t *row = json_pack("{s:s, s:b, s:I}", "silence", one->id, "acknowledged", one->alert_id != NULL, "since_us",
                          (json_int_t)one->created_us);
  gather_put(row, "key", one->key);
  gather_put(row, "database", one->database);
  gather_put(row, "condition", one->condition);
  gather_put(row, "by", one->actor);
  gather_put(row, "reason", one->reason);
  if (one->until_us > 0)
    json_object_set_new(row, "until_us", json_integer(one->until_us));
  if (one->ended_us > 0 && one->ended_us <= gather->made_us) {
    json_object_set_new(row, "ended_us", json_integer(one->ended_us));
    gather_put(row, "ended_by", one->ended_by);
  }
  gather_put_event(row, "event", event);
  return row;
}

static Status take(void *user, const LedgerSilence *one, const ReportEvent *event, Error *err) {
  Gather *gather = user;
  Status status = gather_step(gather, err);
  if (status || !belongs(gather, one))
    return status;
  return gather_append(gather->silences, row_of(gather, one, event), gather->ask->drills_limit, err);
}

Status gather_silences(Gather *gather, Error *err) {
  return ledger_report_silences(gather->ledger, &gather->filter, take, gather, err);
}
