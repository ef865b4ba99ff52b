#include "coordinator/report/mailing.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "coordinator/report/writing.h"

#define SECOND_US ((int64_t)1000000)
#define DAY_US (86400 * SECOND_US)
#define OLDEST_US (400 * DAY_US) /* what was missed longer ago is not sent */
enum { COMPLAIN_SECONDS = 60 };

typedef struct Planned {
  const ReportPlan *plan;
  Zone *zone;
  bool known;      /* next is */
  int64_t mark_us; /* as the ledger has it: next is the first after that */
  ReportSlot next;
} Planned;

struct Mailing {
  const CoordinatorConfig *config;
  Dispatch *dispatch;
  Ledger *ledger;
  Alerts *alerts;
  Planned *planned;
  size_t count;
  Writing *writing;
  int64_t complained_us, looked_us; /* monotonic; wall clock: the last tick */
};

/* ---- when ---- */

typedef struct Mark {
  const char *key;
  int64_t from_us, slot_us;
} Mark;

/* Inside a transaction, so that of two coordinators that take themselves for the one that leads one goes on. */
static Status put_mark(void *user, Ledger *ledger, Error *err) {
  const Mark *mark = user;
  int64_t at_us = 0;
  Status status = ledger_mark_get(ledger, mark->key, &at_us, err);
  if (!status && at_us != mark->from_us)
    return error_set(err, ERR_CONFLICT, "the schedule %s went on without this coordinator", mark->key);
  return status ? status : ledger_mark_put(ledger, mark->key, mark->slot_us, err);
}

/* One that is new begins now: of the periods before it nobody was promised a report. */
static Status begin(Mailing *mailing, Mark *mark, Error *err) {
  Status status = ledger_begin(mailing->ledger, err);
  if (!status)
    status = put_mark(mark, mailing->ledger, err);
  if (!status)
    status = ledger_commit(mailing->ledger, err);
  if (status)
    ledger_rollback(mailing->ledger);
  return status;
}

/* Nothing is ever marked before it is due: a clock that ran ahead was set back. By less than this, what was sent last
 * would be sent again. */
static bool is_ahead(int64_t mark_us, int64_t now_us) {
  return mark_us > now_us + DAY_US;
}

static Status find_next(Mailing *mailing, Planned *planned, int64_t now_us, Error *err) {
  CLEANUP_FREE char *key = report_plan_key(planned->plan);
  int64_t slot_us = 0;
  Status status = ledger_mark_get(mailing->ledger, key, &slot_us, err);
  if (!status && (slot_us == 0 || is_ahead(slot_us, now_us))) {
    status = begin(mailing, &(Mark){key, slot_us, now_us}, err);
    slot_us = now_us;
  }
  if (status)
    return status;
  planned->mark_us = slot_us;
  if (slot_us < now_us - OLDEST_US)
    slot_us = now_us - OLDEST_US;
  planned->next = report_plan_next(planned->plan, planned->zone, slot_us);
  planned->known = true;
  return STATUS_OK;
}

static json_t *item_of(const ReportPlan *plan, int64_t from_us, int64_t to_us, const char *actor) {
  return json_pack("{s:s, s:s, s:I, s:I, s:s?}", "event", "report", "report", plan->name, "from_us",
                   (json_int_t)from_us, "to_us", (json_int_t)to_us, "asked_by", actor);
}

static Status look(Mailing *mailing, Planned *planned, int64_t now_us, Error *err) {
  if (is_ahead(planned->mark_us, now_us) || now_us < mailing->looked_us)
    planned->known = false;
  Status status = planned->known ? STATUS_OK : find_next(mailing, planned, now_us, err);
  if (status || now_us < planned->next.due_us)
    return status;
  CLEANUP_FREE char *key = report_plan_key(planned->plan);
  Mark mark = {key, planned->mark_us, planned->next.slot_us};
  planned->known = false;
  return alerts_post(mailing->alerts, planned->plan->route,
                     item_of(planned->plan, planned->next.from_us, planned->next.to_us, NULL), false, put_mark, &mark,
                     NULL, err);
}

void mailing_tick(Mailing *mailing) {
  if (!mailing)
    return;
  bool leads = dispatch_leads(mailing->dispatch);
  int64_t now_us = dispatch_wall_us(mailing->dispatch);
  for (size_t i = 0; i < mailing->count; i++) {
    Error err;
    if (!leads) /* another one goes on with it */
      mailing->planned[i].known = false;
    else if (look(mailing, &mailing->planned[i], now_us, &err) &&
             clock_monotonic_us() - mailing->complained_us > COMPLAIN_SECONDS * SECOND_US) {
      mailing->complained_us = clock_monotonic_us();
      log_failure(LOG_LEVEL_ERROR, "reports cannot be looked after; what is due is sent later", &err);
    }
  }
  mailing->looked_us = now_us;
}

Status mailing_send(Mailing *mailing, const char *name, int64_t from_us, int64_t to_us, const char *actor, char **id,
                    Error *err) {
  const ReportPlan *plan = mailing ? report_plan(&mailing->config->reports, name) : NULL;
  if (!plan) {
    error_set(err, ERR_NOT_FOUND, "there is no report %s", name);
    error_object(err, "%s", name);
    error_remedy(err, "Reports that are sent are in coordinator.yaml, under `reports`.");
    return ERR_NOT_FOUND;
  }
  if (from_us == 0)
    report_period_before(plan->period, dispatch_wall_us(mailing->dispatch), &from_us, &to_us);
  return alerts_post(mailing->alerts, plan->route, item_of(plan, from_us, to_us, actor), true, NULL, NULL, id, err);
}

/* East of Greenwich a time may have come whose period is not over yet. */
static ReportSlot first_due(const Planned *planned, int64_t now_us) {
  ReportSlot next = report_plan_next(planned->plan, planned->zone, now_us - DAY_US);
  while (next.due_us <= now_us)
    next = report_plan_next(planned->plan, planned->zone, next.slot_us);
  return next;
}

json_t *mailing_list(Mailing *mailing) {
  json_t *list = json_array();
  for (size_t i = 0; mailing && i < mailing->count; i++) {
    const ReportPlan *plan = mailing->planned[i].plan;
    ReportSlot next = first_due(&mailing->planned[i], dispatch_wall_us(mailing->dispatch));
    char when[CLOCK_TEXT_SIZE];
    json_t *row =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s?, s:s?}", "name", plan->name, "to", plan->route, "period",
                  report_period_name(plan->period), "cron", plan->cron_text, "time_zone", plan->time_zone, "owner",
                  plan->owner, "environment", plan->environment, "databases", plan->database);
    json_object_set_new(row, "next_at",
                        next.due_us == INT64_MAX ? json_null() : json_string(clock_format(next.due_us, when)));
    json_array_append_new(list, row);
  }
  return list;
}

/* ---- what alerts ask for ---- */

static const char *report_of(const LedgerNotification *row) {
  const char *name = json_string_value(json_object_get(json_array_get(row->alerts, 0), "report"));
  return name ? name : "";
}

static Status body_of(void *user, const LedgerNotification *row, char **body, size_t *size, Error *err) {
  Mailing *mailing = user;
  const ReportPlan *plan = report_plan(&mailing->config->reports, report_of(row));
  if (!plan)
    return error_set(err, ERR_NOT_FOUND, "the report %.64s is not in coordinator.yaml any more", report_of(row));
  return writing_ask(mailing->writing, plan, row, body, size, err);
}

static Status over(void *user, const LedgerNotification *row, Error *err) {
  Mailing *mailing = user;
  const json_t *item = json_array_get(row->alerts, 0);
  const char *digest = writing_digest(mailing->writing, row->id),
             *actor = json_string_value(json_object_get(item, "asked_by"));
  char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE];
  bool sent = row->state == NOTIFICATION_SENT;
  json_t *detail = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:s?}", "report", report_of(row), "route", row->route,
                             "from", clock_format(json_integer_value(json_object_get(item, "from_us")), from), "to",
                             clock_format(json_integer_value(json_object_get(item, "to_us")), to), "message", row->id,
                             "sha256", sent ? digest : NULL, "error", sent ? NULL : row->error);
  LedgerEvent event = {
      .kind = (char *)(sent ? "report.sent" : "report.not_sent"), .actor = (char *)actor, .detail = detail};
  Status status = ledger_event_append(mailing->ledger, &event, err);
  json_decref(detail);
  if (!status)
    writing_forget(mailing->writing, row->id);
  return status;
}

static void written(void *user) {
  alerts_letter_made(((Mailing *)user)->alerts);
}

/* ---- its life ---- */

Status mailing_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, Ledger *ledger,
                    Alerts *alerts, Mailing **out, Error *err) {
  const ReportPlans *plans = &config->reports;
  *out = NULL;
  if (plans->count == 0)
    return STATUS_OK;
  Mailing *mailing = memory_alloc(sizeof *mailing);
  *mailing = (Mailing){.config = config, .dispatch = dispatch, .ledger = ledger, .alerts = alerts};
  mailing->planned = memory_alloc(plans->count * sizeof *mailing->planned);
  Status status = writing_open(loop, config, dispatch, written, mailing, &mailing->writing, err);
  for (size_t i = 0; !status && i < plans->count; i++) {
    Planned planned = {.plan = &plans->items[i]};
    status = zone_open(planned.plan->time_zone, &planned.zone, err);
    mailing->planned[mailing->count++] = planned;
  }
  if (status) {
    mailing_stop(mailing);
    mailing_close(mailing);
    return status;
  }
  alerts_letters(alerts, &(AlertsLetters){mailing, body_of, over});
  *out = mailing;
  return STATUS_OK;
}

void mailing_stop(Mailing *mailing) {
  if (mailing && mailing->writing)
    writing_stop(mailing->writing);
}

void mailing_close(Mailing *mailing) {
  if (!mailing)
    return;
  for (size_t i = 0; i < mailing->count; i++)
    zone_close(mailing->planned[i].zone);
  writing_free(mailing->writing);
  free(mailing->planned);
  free(mailing);
}
