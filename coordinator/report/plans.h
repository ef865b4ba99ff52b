/*
 * What coordinator.yaml says of reports that are sent by mail (`reports:`): of whom and what, when, by which route of
 * alerts. Owned by the CoordinatorConfig, read-only after load. They are not in fleet.yaml, so that nobody who may
 * apply one can have a report of others sent to himself.
 */
#ifndef PGSEAL_COORDINATOR_REPORT_PLANS_H
#define PGSEAL_COORDINATOR_REPORT_PLANS_H

#include "common/report/report.h"
#include "coordinator/alerts/settings.h"
#include "coordinator/schedule/cron.h"

enum { REPORT_PLANS_LIMIT = 100, REPORT_MEGABYTES = 10, REPORT_MEGABYTES_MOST = 100 };

typedef struct ReportPlan {
  const char *name, *route; /* of the alerts' routes one of kind email */
  ReportPeriod period;
  const char *cron_text, *time_zone;
  Cron cron;
  const char *database, *owner, *environment; /* at most one; NULL; database: several, with commas */
  size_t attached_limit;                      /* bytes of mail that attachments may make */
} ReportPlan;

typedef struct ReportPlans {
  ReportPlan *items;
  size_t count;
} ReportPlans;

const ReportPlan *report_plan(const ReportPlans *plans, const char *name); /* NULL: there is none */

struct RawReport; /* config_schema.h */
/* alerts: with the routes. ERR_CONFIG names the report. */
Status report_plans_take(const SettingsFrom *from, const AlertSettings *alerts, const struct RawReport *raw,
                         size_t count, ReportPlans *out, Error *err) MUST_CHECK;
void report_plans_release(ReportPlans *plans);

/* Where the schedule has come to is kept under this name: of a plan with another period or schedule it is another.
 * Freed by the caller. */
char *report_plan_key(const ReportPlan *plan);
/* The first time of its schedule after that one, and what it is a report of: the last period that was over when the
 * day began that clocks of the time zone show then. *due_us: the same time, but not before that period is over (in UTC,
 * as in all reports). INT64_MAX: there is none. zone: of the plan. */
typedef struct ReportSlot {
  int64_t slot_us, due_us, from_us, to_us;
} ReportSlot;
ReportSlot report_plan_next(const ReportPlan *plan, Zone *zone, int64_t after_us);

#endif
