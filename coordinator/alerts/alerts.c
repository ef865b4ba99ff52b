#include "coordinator/alerts/alerts.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "coordinator/alerts/internal.h"

#define SECOND_US ((int64_t)1000000)
#define DAY_US (86400 * SECOND_US)
enum { EVALUATE_TICKS = 5, DUE_AT_ONCE = 1000, LOOK_TICKS = 2, COMPLAIN_SECONDS = 60 };

Status alerts_open(const AlertsParts *parts, Alerts **out, Error *err) {
  Alerts *alerts = memory_alloc(sizeof *alerts);
  *alerts = (Alerts){.loop = parts->loop,
                     .settings = &parts->config->alerts,
                     .config = parts->config,
                     .dispatch = parts->dispatch,
                     .ledger = parts->ledger,
                     .overview = parts->overview,
                     .schedule = parts->schedule,
                     .fleet_changes = -1};
  alerts->routes = memory_alloc((alerts->settings->route_count + 1) * sizeof *alerts->routes);
  Status status = STATUS_OK;
  Error cause;
  if (alerts->settings->route_count > 0)
    status = sender_open(parts->loop, outbox_done, alerts, &alerts->sender, err);
  if (status != STATUS_OK) {
    free(alerts->routes);
    free(alerts);
    return status;
  }
  /* It is tried again whenever something is sent: that is no reason not to take checkpoints. */
  if (alert_settings_check(alerts->settings, &cause) != STATUS_OK)
    log_failure(LOG_LEVEL_ERROR, "alerts cannot be sent by all routes", &cause);
  collect_observe(alerts);
  *out = alerts;
  return STATUS_OK;
}

void alerts_stop(Alerts *alerts) {
  if (!alerts || alerts->stopped)
    return;
  alerts->stopped = true;
  if (alerts->sender)
    sender_stop(alerts->sender);
}

void alerts_close(Alerts *alerts) {
  if (!alerts)
    return;
  outbox_forget(alerts);
  ledger_silence_list_free(alerts->silences, alerts->silence_count);
  collect_release(alerts);
  sender_free(alerts->sender);
  free(alerts->routes);
  free(alerts);
}

void alerts_failed(Alerts *alerts, const Error *err) {
  int64_t now_us = clock_monotonic_us();
  outbox_forget(alerts);
  if (alerts->failing && now_us - alerts->failed_us < COMPLAIN_SECONDS * SECOND_US)
    return;
  alerts->failing = true;
  alerts->failed_us = now_us;
  log_failure(LOG_LEVEL_ERROR, "alerts cannot be looked after; what happens is told later", err);
}

static Status trim(Alerts *alerts, Error *err) {
  int64_t now_us = clock_monotonic_us();
  if (alerts->trimmed_us && now_us - alerts->trimmed_us < DAY_US)
    return STATUS_OK;
  Status status = ledger_begin(alerts->ledger, err);
  if (status == STATUS_OK)
    status = ledger_alerts_trim(alerts->ledger, dispatch_wall_us(alerts->dispatch) - ALERTS_KEPT_DAYS * DAY_US, err);
  if (status == STATUS_OK)
    status = ledger_commit(alerts->ledger, err);
  if (status != STATUS_OK)
    ledger_rollback(alerts->ledger);
  else
    alerts->trimmed_us = now_us;
  return status;
}

/* A part of a large fleet in each turn; a small one now and then. What something happened to is due at once. */
static void make_due(Alerts *alerts) {
  for (size_t i = 0; i < DUE_AT_ONCE && i < alerts->database_count; i++) {
    alerts->due[alerts->next] = true;
    alerts->next = (alerts->next + 1) % alerts->database_count;
  }
}

static Status look(Alerts *alerts, Error *err) {
  int64_t told = dispatch_agents_told(alerts->dispatch);
  bool fresh = told != alerts->told || alerts->dirty_count > 0 || alerts->ticks % EVALUATE_TICKS == 0 ||
               alerts->fleet_changes != dispatch_fleet_changes(alerts->dispatch);
  Status status = fresh ? collect_databases(alerts, err) : STATUS_OK;
  if (status != STATUS_OK || (!fresh && alerts->database_count <= DUE_AT_ONCE))
    return status;
  make_due(alerts);
  status = evaluate(alerts, err);
  if (status == STATUS_OK)
    alerts->told = told;
  return status;
}

static Status turn(Alerts *alerts, Error *err) {
  Status status = alerts->loaded ? STATUS_OK : outbox_load(alerts, err);
  if (status == STATUS_OK)
    status = outbox_settle(alerts, err);
  if (status == STATUS_OK && ledger_shared(alerts->ledger) && alerts->ticks % LOOK_TICKS == 0)
    status = outbox_look(alerts, err);
  if (status == STATUS_OK)
    status = collect_minute(alerts, err);
  if (status == STATUS_OK)
    status = look(alerts, err);
  if (status == STATUS_OK)
    status = outbox_send(alerts, dispatch_wall_us(alerts->dispatch), err);
  return status == STATUS_OK ? trim(alerts, err) : status;
}

static bool leads(Alerts *alerts) {
  bool now = dispatch_leads(alerts->dispatch) && !alerts->stopped;
  if (now && !alerts->leads)
    alerts->led_us = clock_monotonic_us();
  if (!now && alerts->leads && !alerts->stopped) {
    outbox_forget(alerts); /* the next one sends what is not recorded: it cannot know better */
    alerts->record_count = 0;
  }
  alerts->leads = now;
  return now;
}

void alerts_tick(Alerts *alerts) {
  Error err;
  if (!leads(alerts))
    return;
  if (turn(alerts, &err) != STATUS_OK) {
    alerts_failed(alerts, &err);
    return;
  }
  alerts->failing = false;
  alerts->ticks++;
  outbox_ping(alerts);
}

/* Also of what was under way when the coordinator stopped. */
void alerts_go_on(Alerts *alerts) {
  Error err;
  if (!dispatch_leads(alerts->dispatch))
    return;
  Status status = alerts->loaded ? STATUS_OK : outbox_load(alerts, &err);
  if (status == STATUS_OK)
    status = outbox_settle(alerts, &err);
  if (status == STATUS_OK && !alerts->stopped)
    status = outbox_send(alerts, dispatch_wall_us(alerts->dispatch), &err);
  if (status != STATUS_OK)
    alerts_failed(alerts, &err);
}

Status alerts_test(Alerts *alerts, const char *name, const char *actor, char **id, Error *err) {
  const AlertRoute *route = alert_route(alerts->settings, name);
  if (!route) {
    error_set(err, ERR_NOT_FOUND, "there is no route %s", name);
    error_object(err, "%s", name);
    error_remedy(err, "Routes are in coordinator.yaml, under `alerts`; `pgseal alert list` shows them.");
    return ERR_NOT_FOUND;
  }
  if (route->kind == ROUTE_PING)
    return error_set(err, ERR_INVALID_ARGUMENT, "route %s is a ping: no messages go there", name);
  CLEANUP_FREE char *fresh = NULL;
  Status status = ledger_begin(alerts->ledger, err);
  if (status == STATUS_OK)
    status = outbox_test(alerts, route, actor, dispatch_wall_us(alerts->dispatch), &fresh, err);
  if (status == STATUS_OK)
    status = ledger_commit(alerts->ledger, err);
  if (status != STATUS_OK) {
    ledger_rollback(alerts->ledger);
    outbox_forget(alerts);
    return status;
  }
  alerts_go_on(alerts);
  *id = STEAL(fresh);
  return STATUS_OK;
}
