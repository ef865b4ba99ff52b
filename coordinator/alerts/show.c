/* What the API shows of alerts: from the ledger, so that every coordinator can. No secret, and no address, is in it. */
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "coordinator/alerts/internal.h"

enum { SHOWN_WAITING = 5000 };

static json_t *time_of(int64_t wall_us) {
  char text[CLOCK_TEXT_SIZE];
  return wall_us ? json_string(clock_format(wall_us, text)) : json_null();
}

typedef struct Quiet { /* what is silenced now */
  LedgerSilence *items;
  size_t count;
} Quiet;

static json_t *show_quiet(const Quiet *quiet, const LedgerAlert *row, bool acknowledged) {
  const LedgerSilence *one =
      row->state == ALERT_RESOLVED ? NULL : silence_of(quiet->items, quiet->count, row, acknowledged);
  return one ? silence_show(one) : json_null();
}

static json_t *show_alert(const LedgerAlert *row, const Quiet *quiet) {
  json_t *json = json_pack(
      "{s:s, s:s, s:s, s:s, s:s?, s:s, s:s, s:o, s:o, s:o, s:s, s:s, s:O?}", "id", row->id, "key", row->key,
      "condition", row->condition, "subject", row->subject, "database", row->database, "severity", row->severity,
      "state", alert_state_name(row->state), "since", time_of(row->since_us), "fired_at", time_of(row->fired_us),
      "resolved_at", time_of(row->resolved_us), "summary", row->summary, "remedy", row->remedy, "routes", row->routes);
  json_object_set_new(json, "silenced", show_quiet(quiet, row, false));
  json_object_set_new(json, "acknowledged", show_quiet(quiet, row, true));
  return json;
}

/* ---- routes ---- */

static json_t *show_ping(const Alerts *alerts, const AlertRoute *route, const RouteNow *now) {
  return json_pack("{s:s, s:s, s:i, s:o, s:o}", "name", route->name, "type", route_kind_name(route->kind), "waiting", 0,
                   "sent_at", time_of(now->ping_ended_us), "error",
                   alerts->leads && now->ping_error[0] ? json_string(now->ping_error) : json_null());
}

/* Absent: fine. */
static Status read_last(const Alerts *alerts, const AlertRoute *route, bool sent, LedgerNotification *out, Error *err) {
  Error cause;
  Status status = ledger_notification_last(alerts->ledger, route->name, sent, out, &cause);
  if (status == STATUS_OK || status == ERR_NOT_FOUND)
    return STATUS_OK;
  *err = cause;
  return status;
}

/* What is wrong with it now, or how its last message ended; a test is one, and says so. NULL: nothing. Freed by the
 * caller. */
static char *problem_of(const LedgerNotification *last, const char *waiting) {
  if (waiting)
    return memory_strdup(waiting);
  if (last->state != NOTIFICATION_FAILED || !last->error)
    return NULL;
  return last->test ? memory_format("the last test: %s", last->error) : memory_strdup(last->error);
}

static Status show_route(const Alerts *alerts, const AlertRoute *route, const LedgerNotification *waiting, size_t count,
                         json_t *list, Error *err) {
  CLEANUP(ledger_notification_release) LedgerNotification last = {.state = NOTIFICATION_DUE}, sent = {0};
  const char *error = NULL;
  size_t number = 0;
  Status status = read_last(alerts, route, false, &last, err);
  if (status == STATUS_OK)
    status = read_last(alerts, route, true, &sent, err);
  if (status != STATUS_OK)
    return status;
  for (size_t i = 0; i < count; i++) {
    if (waiting[i].test || strcmp(waiting[i].route, route->name) != 0)
      continue;
    error = error ? error : waiting[i].error;
    number++;
  }
  CLEANUP_FREE char *problem = problem_of(&last, error);
  json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:o, s:s?}", "name", route->name, "type",
                                        route_kind_name(route->kind), "waiting", (json_int_t)number, "sent_at",
                                        time_of(sent.ended_us), "error", problem));
  return STATUS_OK;
}

static Status show_routes(const Alerts *alerts, json_t **out, Error *err) {
  LedgerNotification *waiting = NULL;
  size_t count = 0;
  Status status = ledger_notification_due(alerts->ledger, SHOWN_WAITING, &waiting, &count, err);
  if (status != STATUS_OK)
    return status;
  json_t *list = json_array();
  for (size_t i = 0; status == STATUS_OK && i < alerts->settings->route_count; i++) {
    const AlertRoute *route = &alerts->settings->routes[i];
    if (route->kind == ROUTE_PING)
      json_array_append_new(list, show_ping(alerts, route, &alerts->routes[i]));
    else
      status = show_route(alerts, route, waiting, count, list, err);
  }
  ledger_notification_list_free(waiting, count);
  if (status == STATUS_OK)
    *out = list;
  else
    json_decref(list);
  return status;
}

/* ---- all of it ---- */

static json_t *count_of(const LedgerAlert *rows, size_t count, const Quiet *quiet) {
  json_int_t firing = 0, pending = 0, critical = 0, silenced = 0;
  for (size_t i = 0; i < count; i++) {
    firing += rows[i].state == ALERT_FIRING;
    pending += rows[i].state == ALERT_PENDING;
    critical += rows[i].state == ALERT_FIRING && strcmp(rows[i].severity, "critical") == 0;
    silenced += rows[i].state == ALERT_FIRING && silence_of(quiet->items, quiet->count, &rows[i], false);
  }
  return json_pack("{s:I, s:I, s:I, s:I}", "firing", firing, "critical", critical, "pending", pending, "silenced",
                   silenced);
}

Status alerts_show(Alerts *alerts, const char *scope, bool over, json_t **out, Error *err) {
  LedgerAlert *rows = NULL;
  size_t count = 0;
  json_t *routes = NULL;
  Quiet quiet = {0};
  Status status = ledger_alert_list(alerts->ledger, scope, over, &rows, &count, err);
  if (status == STATUS_OK)
    status =
        ledger_silence_list(alerts->ledger, dispatch_wall_us(alerts->dispatch), false, &quiet.items, &quiet.count, err);
  if (status == STATUS_OK && !scope) /* routes are no one database's */
    status = show_routes(alerts, &routes, err);
  if (status == STATUS_OK) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
      json_array_append_new(list, show_alert(&rows[i], &quiet));
    *out = json_pack("{s:o, s:o, s:o}", "alerts", list, "counts", count_of(rows, count, &quiet), "routes",
                     routes ? routes : json_array());
  }
  ledger_silence_list_free(quiet.items, quiet.count);
  ledger_alert_list_free(rows, count);
  return status;
}

Status alerts_notification(Alerts *alerts, const char *id, json_t **out, Error *err) {
  CLEANUP(ledger_notification_release) LedgerNotification row = {0};
  Status status = ledger_notification_get(alerts->ledger, id, &row, err);
  if (status != STATUS_OK)
    return status;
  json_t *first = json_array_get(row.alerts, 0), *answer = json_incref(json_object_get(first, OUTBOX_ANSWER));
  json_object_del(first, OUTBOX_ANSWER);
  *out = json_pack("{s:s, s:s, s:s, s:b, s:i, s:o, s:o, s:s?, s:o?, s:O?}", "id", row.id, "route", row.route, "state",
                   notification_state_name(row.state), "test", row.test, "attempts", row.attempts, "created_at",
                   time_of(row.created_us), "ended_at", time_of(row.ended_us), "error", row.error, OUTBOX_ANSWER,
                   answer, "alerts", row.alerts);
  return STATUS_OK;
}
