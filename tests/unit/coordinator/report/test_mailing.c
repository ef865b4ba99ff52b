/* Reports by mail: when one is due, that it is asked for once, whoever looks, and what a clock does to that. */
#include "tests/unit/coordinator/alerts/alerting.h"

#include "coordinator/report/mailing.h"

#define DAY_US ((int64_t)86400 * 1000000)

typedef struct Mailer {
  Test *t;
  AlertRoute route;
  ReportPlan plan;
  Mailing *mailing, *other;
} Mailer;

static void open_mailing(Mailer *m, Mailing **out) {
  Test *t = m->t;
  OK(mailing_open(&t->loop, &t->f->config, t->f->dispatch, t->f->ledger, t->alerts, out, &t->f->err));
}

static int setup_mailer(void **state) {
  static const char *to[] = {"a@example.com"};
  Mailer *m = memory_alloc(sizeof *m);
  setup_test((void **)&m->t);
  Test *t = m->t;
  m->route = (AlertRoute){.name = "mail",
                          .kind = ROUTE_EMAIL,
                          .url = "smtp://127.0.0.1:1",
                          .from = "p@example.com",
                          .to = to,
                          .to_count = 1,
                          .unencrypted = true};
  t->routes[2] = m->route;
  t->f->config.alerts.route_count = 3;
  m->plan = (ReportPlan){
      .name = "weekly", .route = "mail", .period = REPORT_WEEK, .cron_text = "0 6 * * MON", .time_zone = "UTC"};
  OK(cron_parse(m->plan.cron_text, &m->plan.cron, &t->f->err));
  t->f->config.ledger = t->f->path;
  t->f->config.reports = (ReportPlans){&m->plan, 1};
  close_alerts(t);
  open_alerts(t);
  open_mailing(m, &m->mailing);
  open_mailing(m, &m->other);
  *state = m;
  return 0;
}

static int teardown_mailer(void **state) {
  Mailer *m = *state;
  Test *t = m->t;
  alerts_stop(t->alerts);
  mailing_stop(m->mailing);
  mailing_stop(m->other);
  uv_run(&t->loop, UV_RUN_DEFAULT);
  mailing_close(m->mailing);
  mailing_close(m->other);
  t->f->config.reports = (ReportPlans){0};
  teardown_test((void **)&t);
  free(m);
  return 0;
}

/* How many were ever asked for: they wait, or were given up. */
static size_t asked(Mailer *m) {
  Fixture *f = m->t->f;
  LedgerNotification *rows;
  LedgerEvent *events;
  size_t waiting, count, over = 0;
  const EventFilter filter = {.after = 0, .limit = 1000};
  OK(ledger_notification_due(f->ledger, 1000, &rows, &waiting, &f->err));
  ledger_notification_list_free(rows, waiting);
  OK(ledger_event_list(f->ledger, &filter, &events, &count, &f->err));
  for (size_t i = 0; i < count; i++)
    over += strcmp(events[i].kind, "report.not_sent") == 0;
  ledger_event_list_free(events, count);
  return waiting + over;
}

static void pass_days(Mailer *m, int days) {
  for (int i = 0; i < 4 * days; i++) {
    clock_moved_us += DAY_US / 4;
    mailing_tick(m->mailing);
  }
}

static void test_once_each(void **state) {
  Mailer *m = *state;
  mailing_tick(m->mailing);
  assert_int_equal(asked(m), 0); /* of the weeks before nobody was promised any */
  pass_days(m, 7);
  assert_int_equal(asked(m), 1);
  pass_days(m, 14);
  assert_int_equal(asked(m), 3);
  clock_moved_us += 14 * DAY_US; /* nobody looked: each, later */
  for (int i = 0; i < 5; i++)
    mailing_tick(m->mailing);
  assert_int_equal(asked(m), 5);
}

/* Two that both take themselves for the one that leads. */
static void test_two_coordinators(void **state) {
  Mailer *m = *state;
  for (int week = 1; week < 4; week++) {
    for (int i = 0; i < 3; i++) {
      mailing_tick(m->mailing);
      mailing_tick(m->other);
    }
    clock_moved_us += 7 * DAY_US;
  }
  for (int i = 0; i < 3; i++) {
    mailing_tick(m->other);
    mailing_tick(m->mailing);
  }
  assert_int_equal(asked(m), 3);
}

/* A clock that ran ahead for a while keeps nobody's reports back until then. */
static void test_the_clock_was_set_back(void **state) {
  Mailer *m = *state;
  mailing_tick(m->mailing);
  clock_set_us = 360 * DAY_US;
  for (int i = 0; i < 100; i++)
    mailing_tick(m->mailing);
  size_t before = asked(m);
  assert_in_range(before, 51, 52); /* what was due by that clock */
  clock_set_us = 0;
  pass_days(m, 14);
  assert_int_equal(asked(m), before + 2);
  clock_set_us = 360 * DAY_US; /* and after a restart, the same */
  for (int i = 0; i < 100; i++)
    mailing_tick(m->mailing);
  before = asked(m);
  clock_set_us = 0;
  mailing_tick(m->other);
  clock_moved_us += 7 * DAY_US;
  mailing_tick(m->other);
  assert_int_equal(asked(m), before + 1);
  clock_set_us = -1000000; /* a second is no reason to send one twice */
  for (int i = 0; i < 5; i++)
    mailing_tick(m->mailing);
  assert_int_equal(asked(m), before + 1);
}

/* East of Greenwich a week is over by the zone's clocks before it is by UTC: until then the report is still to come. */
static void test_next_in_the_east(void **state) {
  Mailer *m = *state;
  mailing_close((mailing_stop(m->other), m->other));
  m->plan.time_zone = "Pacific/Kiritimati"; /* UTC+14 */
  open_mailing(m, &m->other);
  const int64_t week_us = 7 * DAY_US, monday_us = 4 * DAY_US; /* of 1970 */
  int64_t now_us = moved_wall_us(), next_us = monday_us + ((now_us - monday_us) / week_us + 2) * week_us;
  char wanted[CLOCK_TEXT_SIZE];
  clock_format(next_us, wanted);
  for (int hours = 20; hours > 0; hours -= 3) { /* it is Monday, six o'clock there, eight hours before that */
    clock_moved_us += next_us - (int64_t)hours * 3600 * 1000000 - moved_wall_us();
    json_t *list = mailing_list(m->other);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "next_at")), wanted);
    json_decref(list);
  }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup_mailer, teardown_mailer)

int main(void) {
  const struct CMUnitTest tests[] = {T(test_once_each), T(test_two_coordinators), T(test_the_clock_was_set_back),
                                     T(test_next_in_the_east)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
