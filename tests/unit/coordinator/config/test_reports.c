/* The section `reports` of coordinator.yaml: what is taken, what is refused; when a report is due, and of what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "coordinator/config.h"

typedef struct Fixture {
  char dir[64];
  CoordinatorConfig *config;
  Error err;
} Fixture;

static int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  snprintf(f->dir, sizeof f->dir, "/tmp/pgseal-test-reports-XXXXXX");
  assert_non_null(mkdtemp(f->dir));
  *state = f;
  return 0;
}

static int teardown(void **state) {
  Fixture *f = *state;
  coordinator_config_free(f->config);
  assert_int_equal(file_remove_tree(f->dir, &f->err), STATUS_OK);
  free(f);
  return 0;
}

static Status load(Fixture *f, const char *reports) {
  CLEANUP_FREE char *path = memory_format("%s/coordinator.yaml", f->dir);
  CLEANUP_FREE char *text =
      memory_format("databases: [{name: shop}]\nalerts:\n  routes:\n"
                    "    - {name: mail, type: email, url: 'smtps://m.example', from: a@b.c, to: [d@e.f]}\n"
                    "    - {name: hook, type: webhook, url: 'https://a.example/x', key_file: k}\nreports: [%s]\n",
                    reports);
  assert_int_equal(file_write_atomic(path, 0600, text, strlen(text), &f->err), STATUS_OK);
  coordinator_config_free(f->config);
  f->config = NULL;
  return coordinator_config_load(path, &f->config, &f->err);
}

static void refuse(Fixture *f, const char *report, const char *what) {
  Status status = load(f, report);
  if (status != ERR_CONFIG || !strstr(f->err.message, what) || !strstr(f->err.message, "coordinator.yaml"))
    fail_msg("status %d, message '%s', wanted '%s' of %s", status, f->err.message, what, report);
}

static void test_taken(void **state) {
  Fixture *f = *state;
  assert_int_equal(load(f, "{name: all, to: mail}, {name: api, to: mail, period: week, owner: team api, "
                           "attach_megabytes: 0}, {name: two, to: mail, period: quarter, databases: [b, a]}"),
                   STATUS_OK);
  const ReportPlans *plans = &f->config->reports;
  assert_int_equal(plans->count, 3);
  const ReportPlan *all = report_plan(plans, "all"), *api = report_plan(plans, "api"), *two = report_plan(plans, "two");
  assert_string_equal(all->cron_text, "0 6 1 * *");
  assert_string_equal(all->time_zone, "UTC");
  assert_int_equal(all->attached_limit, 10000000);
  assert_null(all->owner);
  assert_int_equal(api->period, REPORT_WEEK);
  assert_string_equal(api->owner, "team api");
  assert_int_equal(api->attached_limit, 0);
  assert_string_equal(two->cron_text, "0 6 1 1,4,7,10 *");
  assert_string_equal(two->database, "b,a");
  assert_null(report_plan(plans, "none"));
}

static void test_refused(void **state) {
  Fixture *f = *state;
  refuse(f, "{name: a, to: nobody}", "reports: a: to names a route that is not under `alerts`");
  refuse(f, "{name: a, to: hook}", "to must name a route of type email");
  refuse(f, "{name: 'a\\nb', to: mail}", "is no name");
  refuse(f, "{name: a, to: mail}, {name: a, to: mail}", "it is there twice");
  refuse(f, "{name: a, to: mail, period: day}", "period must be week, month or quarter");
  refuse(f, "{name: a, to: mail, cron: '0 6 30 2 *'}", "reports: a: ");
  refuse(f, "{name: a, to: mail, time_zone: Berlin}", "is no time zone");
  refuse(f, "{name: a, to: mail, owner: x, environment: y}", "one of them");
  refuse(f, "{name: a, to: mail, databases: ['A b']}", "no name");
  refuse(f, "{name: a, to: mail, attach_megabytes: 101}", "between 0 and 100");
  refuse(f, "{name: a, to: mail, hour: 5}", "hour");
  refuse(f, "{name: a}", "to");
}

/* ---- when ---- */

static int64_t at(const char *text) {
  int64_t wall_us;
  Error err;
  assert_int_equal(report_time_parse(text, &wall_us, &err), STATUS_OK);
  return wall_us;
}

static void expect(Fixture *f, const char *plan, const char *after, const char *slot, const char *due,
                   const char *period) {
  Zone *zone = NULL;
  assert_int_equal(load(f, plan), STATUS_OK);
  const ReportPlan *of = &f->config->reports.items[0];
  assert_int_equal(zone_open(of->time_zone, &zone, &f->err), STATUS_OK);
  ReportSlot next = report_plan_next(of, zone, at(after));
  zone_close(zone);
  CLEANUP_FREE char *text = report_period_text(next.from_us, next.to_us);
  assert_int_equal(next.slot_us, at(slot));
  assert_int_equal(next.due_us, at(due));
  assert_string_equal(text, period);
}

static void test_slots(void **state) {
  Fixture *f = *state;
  expect(f, "{name: a, to: mail}", "2026-10-15", "2026-11-01T06:00:00Z", "2026-11-01T06:00:00Z", "2026-10");
  /* what a restart finds: the slot it was at is not made again */
  expect(f, "{name: a, to: mail}", "2026-11-01T06:00:00Z", "2026-12-01T06:00:00Z", "2026-12-01T06:00:00Z", "2026-11");
  expect(f, "{name: a, to: mail, period: week}", "2026-11-03", "2026-11-09T06:00:00Z", "2026-11-09T06:00:00Z",
         "2026-W45");
  expect(f, "{name: a, to: mail, period: quarter}", "2026-11-03", "2027-01-01T06:00:00Z", "2027-01-01T06:00:00Z",
         "2026-Q4");
  expect(f, "{name: a, to: mail, time_zone: America/New_York}", "2026-10-15", "2026-11-01T11:00:00Z",
         "2026-11-01T11:00:00Z", "2026-10");
  /* ahead of UTC: the month is over there, and not yet here */
  expect(f, "{name: a, to: mail, time_zone: Pacific/Auckland}", "2026-10-15", "2026-10-31T17:00:00Z",
         "2026-11-01T00:00:00Z", "2026-10");
  /* in the middle of a month: of the one before */
  expect(f, "{name: a, to: mail, cron: '0 0 15 * *'}", "2026-10-15", "2026-11-15T00:00:00Z", "2026-11-15T00:00:00Z",
         "2026-10");
}

/* Another schedule is another mark: what it would have had before is not sent. */
static void test_keys(void **state) {
  Fixture *f = *state;
  assert_int_equal(load(f, "{name: a, to: mail}, {name: b, to: mail}, {name: c, to: mail, cron: '0 7 1 * *'}"),
                   STATUS_OK);
  CLEANUP_FREE char *a = report_plan_key(&f->config->reports.items[0]),
                    *b = report_plan_key(&f->config->reports.items[1]);
  CLEANUP_FREE char *c = report_plan_key(&f->config->reports.items[2]);
  assert_string_equal(a, "report/a/month/UTC/0 6 1 * *");
  assert_string_not_equal(a, b);
  assert_non_null(strstr(c, "/0 7 1 * *"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
                                     cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                                     cmocka_unit_test_setup_teardown(test_slots, setup, teardown),
                                     cmocka_unit_test_setup_teardown(test_keys, setup, teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
