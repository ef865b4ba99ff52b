#include "coordinator/report/plans.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/config/yaml.h"
#include "coordinator/config_schema.h"

const ReportPlan *report_plan(const ReportPlans *plans, const char *name) {
  for (size_t i = 0; i < plans->count; i++)
    if (strcmp(plans->items[i].name, name) == 0)
      return &plans->items[i];
  return NULL;
}

void report_plans_release(ReportPlans *plans) {
  free(plans->items);
  *plans = (ReportPlans){0};
}

/* ---- one of them ---- */

static Status bad(const SettingsFrom *from, const RawReport *raw, const char *what, Error *err) {
  return config_error(err, from->path, "reports: %s: %s", raw->name, what);
}

static Status take_period(const SettingsFrom *from, const RawReport *raw, ReportPlan *plan, Error *err) {
  plan->period = raw->period ? REPORT_PERIODS : REPORT_MONTH;
  for (ReportPeriod i = REPORT_WEEK; raw->period && i < REPORT_PERIODS; i++)
    if (strcmp(report_period_name(i), raw->period) == 0)
      plan->period = i;
  return plan->period == REPORT_PERIODS ? bad(from, raw, "period must be week, month or quarter", err) : STATUS_OK;
}

static Status take_schedule(const SettingsFrom *from, const RawReport *raw, ReportPlan *plan, Error *err) {
  static const char *const usual[REPORT_PERIODS] = {"0 6 * * MON", "0 6 1 * *", "0 6 1 1,4,7,10 *"};
  Error cause;
  Zone *zone = NULL;
  plan->cron_text = raw->cron ? raw->cron : usual[plan->period];
  plan->time_zone = raw->time_zone ? raw->time_zone : "UTC";
  if (cron_parse(plan->cron_text, &plan->cron, &cause) != STATUS_OK ||
      zone_open(plan->time_zone, &zone, &cause) != STATUS_OK)
    return bad(from, raw, cause.message, err);
  zone_close(zone);
  return STATUS_OK;
}

static Status take_route(const SettingsFrom *from, const AlertSettings *alerts, const RawReport *raw, ReportPlan *plan,
                         Error *err) {
  const AlertRoute *route = alert_route(alerts, raw->to);
  if (!route)
    return bad(from, raw, "to names a route that is not under `alerts`", err);
  if (route->kind != ROUTE_EMAIL)
    return bad(from, raw, "to must name a route of type email", err);
  plan->route = route->name;
  return STATUS_OK;
}

/* Of whom it is: texts are looked at as those of a request are. */
static Status take_subject(const SettingsFrom *from, const RawReport *raw, ReportPlan *plan, Error *err) {
  CLEANUP(buffer_release) Buffer names = {0};
  int given = (raw->owner != NULL) + (raw->environment != NULL) + (raw->databases_count > 0);
  if (given > 1)
    return bad(from, raw, "owner, environment or databases: one of them", err);
  if ((raw->owner && !text_tag_valid(raw->owner)) || (raw->environment && !text_tag_valid(raw->environment)))
    return bad(from, raw, "the owner or environment is no name that there can be", err);
  for (unsigned i = 0; i < raw->databases_count; i++) {
    if (!text_name_valid(raw->databases[i]))
      return bad(from, raw, "databases has what is no name of one", err);
    buffer_append_format(&names, "%s%s", i ? "," : "", raw->databases[i]);
  }
  plan->owner = raw->owner;
  plan->environment = raw->environment;
  plan->database = raw->databases_count > 0 ? from->own(from->user, buffer_steal_text(&names)) : NULL;
  return STATUS_OK;
}

static Status take(const SettingsFrom *from, const AlertSettings *alerts, const RawReport *raw, ReportPlans *plans,
                   Error *err) {
  ReportPlan plan = {.name = raw->name};
  int megabytes = raw->attach_megabytes ? *raw->attach_megabytes : REPORT_MEGABYTES;
  if (!text_name_valid(raw->name))
    return config_error(err, from->path,
                        "reports: '%.64s' is no name: 1 to 63 of a-z, 0-9, '.', '_', '-', "
                        "alphanumeric first",
                        raw->name);
  if (report_plan(plans, raw->name))
    return bad(from, raw, "it is there twice", err);
  if (megabytes < 0 || megabytes > REPORT_MEGABYTES_MOST)
    return bad(from, raw, "attach_megabytes must be between 0 and 100", err);
  plan.attached_limit = (size_t)megabytes * 1000000;
  Status status = take_period(from, raw, &plan, err);
  if (!status)
    status = take_schedule(from, raw, &plan, err);
  if (!status)
    status = take_route(from, alerts, raw, &plan, err);
  if (!status)
    status = take_subject(from, raw, &plan, err);
  if (!status)
    ARRAY_PUSH(plans->items, plans->count, plan);
  return status;
}

Status report_plans_take(const SettingsFrom *from, const AlertSettings *alerts, const struct RawReport *raw,
                         size_t count, ReportPlans *out, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; !status && i < count; i++)
    status = take(from, alerts, &raw[i], out, err);
  return status;
}

/* ---- when ---- */

char *report_plan_key(const ReportPlan *plan) {
  return memory_format("report/%s/%s/%s/%s", plan->name, report_period_name(plan->period), plan->time_zone,
                       plan->cron_text);
}

ReportSlot report_plan_next(const ReportPlan *plan, Zone *zone, int64_t after_us) {
  ReportSlot slot = {.slot_us = cron_next(&plan->cron, zone, after_us), .due_us = INT64_MAX};
  if (slot.slot_us == INT64_MAX)
    return slot;
  int64_t local_us = slot.slot_us + zone_offset_ms(zone, slot.slot_us / 1000) * 1000;
  report_period_before(plan->period, local_us, &slot.from_us, &slot.to_us);
  slot.due_us = slot.slot_us > slot.to_us ? slot.slot_us : slot.to_us;
  return slot;
}
