/* The schedule over a real dispatch and ledger, with a clock that the test sets. */
#include "tests/unit/coordinator/dispatch/support.h"

#include "common/base/cleanup.h"
#include "coordinator/schedule/schedule.h"

#define MINUTES(n) ((int64_t)(n)*60 * 1000000)
#define HOURS(n) MINUTES((n)*60)

typedef struct Scene {
  Fixture *f;
  Schedule *schedule;
} Scene;

static int64_t at(const char *text) { /* "2026-03-29T00:30" */
  char whole[CLOCK_TEXT_SIZE];
  snprintf(whole, sizeof whole, "%.16s:00.000Z", text);
  int64_t us = clock_parse(whole);
  assert_true(us > 0);
  return us;
}

static void set_clock(const char *text) {
  clock_set_us = at(text) - clock_wall_us() - clock_moved_us;
}

static void apply(Scene *s, const char *text) {
  json_t *report = NULL;
  if (dispatch_apply_fleet(s->f->dispatch, "fleet.yaml", text, strlen(text), &me, false, &report, &s->f->err))
    fail_msg("%s", s->f->err.message);
  json_decref(report);
}

static int scene_setup(void **state) {
  Scene *s = memory_alloc(sizeof *s);
  setup((void **)&s->f);
  set_clock("2026-03-10T12:30");
  *state = s;
  return 0;
}

static int scene_teardown(void **state) {
  Scene *s = *state;
  schedule_close(s->schedule);
  void *fixture = s->f;
  teardown(&fixture);
  free(s);
  return 0;
}

static void begin(Scene *s, const char *fleet) {
  apply(s, fleet);
  OK(schedule_open(s->f->dispatch, s->f->ledger, &s->schedule, &s->f->err));
}

/* The coordinator dies, and another begins after a while. */
static void down_for(Scene *s, int64_t us) {
  schedule_close(s->schedule);
  restart(s->f);
  clock_moved_us += us;
  OK(schedule_open(s->f->dispatch, s->f->ledger, &s->schedule, &s->f->err));
}

/* Until nothing is due; the next call is wanted within a second. */
static void run(Scene *s) {
  int64_t wait;
  while ((wait = schedule_run(s->schedule)) == 0)
    ;
  assert_in_range(wait, 1, 1000000);
}

/* Checkpoints of the database, newest first: "TAG TAG ". */
static char *tags(Scene *s, const char *database) {
  Checkpoint *items;
  size_t count;
  Buffer text = {0};
  OK(ledger_checkpoint_list(s->f->ledger, &(CheckpointFilter){.database = database, .limit = 100}, &items, &count,
                            &s->f->err));
  for (size_t i = 0; i < count; i++)
    buffer_append_format(&text, "%s ", items[i].tag);
  checkpoint_list_free(items, count);
  return buffer_steal_text(&text);
}

static void expect_tags(Scene *s, const char *database, const char *expected) {
  CLEANUP_FREE char *found = tags(s, database);
  assert_string_equal(found, expected);
}

/* The details of the events of a kind, oldest first, one after the other. */
static char *details(Scene *s, const char *kind) {
  LedgerEvent *events;
  size_t count;
  Buffer text = {0};
  OK(ledger_event_list(s->f->ledger, &(EventFilter){.limit = -1}, &events, &count, &s->f->err));
  for (size_t i = 0; i < count; i++) {
    if (strcmp(events[i].kind, kind) != 0)
      continue;
    CLEANUP_FREE char *json = json_dumps(events[i].detail, JSON_COMPACT | JSON_SORT_KEYS);
    buffer_append_format(&text, "%s %s\n", events[i].database, json);
  }
  ledger_event_list_free(events, count);
  return buffer_steal_text(&text);
}

static void expect_details(Scene *s, const char *kind, const char *expected) {
  CLEANUP_FREE char *found = details(s, kind);
  assert_string_equal(found, expected);
}

/* Ends what is open: it is not what is tested. */
static void end_all(Scene *s) {
  LedgerJob *jobs;
  size_t count;
  OK(ledger_job_open(s->f->ledger, &jobs, &count, &s->f->err));
  for (size_t i = 0; i < count; i++)
    if (jobs[i].kind == LEDGER_JOB_DUMP)
      OK(dispatch_cancel(s->f->dispatch, jobs[i].checkpoint_id, &me, &s->f->err));
  ledger_job_list_free(jobs, count);
}

/* The dump that an agent with much room is given; NULL: none. Its database, for the caller to free. */
static char *next_dump(Scene *s, const char *checkpoint /* that it is of; NULL: any */) {
  Pgseal__Job *job = poll_as(s->f, 1, 20, 0, NULL);
  char *database = job ? memory_strdup(job->database) : NULL;
  if (job) {
    assert_int_equal(job->kind, DUMP);
    assert_true(!checkpoint || strcmp(job->checkpoint_id, checkpoint) == 0);
    pgseal__job__free_unpacked(job, NULL);
  }
  return database;
}

static void expect_dump(Scene *s, const char *database, const char *checkpoint) {
  CLEANUP_FREE char *found = next_dump(s, checkpoint);
  if (database)
    assert_string_equal(found, database);
  else
    assert_null(found);
}

#define HOURLY_SHOP "policies: [{name: p, match: {names: [shop]}, schedule: {cron: '@hourly'}}]"

static void test_runs_when_due_and_once(void **state) {
  Scene *s = *state;
  begin(s, HOURLY_SHOP);
  run(s);
  expect_tags(s, "shop", "");
  clock_moved_us += MINUTES(29);
  run(s);
  expect_tags(s, "shop", "");
  clock_moved_us += MINUTES(1);
  run(s);
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-10T13:00Z ");
  expect_tags(s, "prod-api", "");
  LedgerJob *jobs;
  size_t count;
  OK(ledger_job_open(s->f->ledger, &jobs, &count, &s->f->err));
  assert_int_equal(count, 2);
  assert_int_equal(jobs[0].priority, PRIORITY_SCHEDULED);
  assert_int_equal(jobs[1].priority, PRIORITY_SCHEDULED);
  ledger_job_list_free(jobs, count);
  end_all(s);
  clock_moved_us += MINUTES(60);
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-10T14:00Z scheduled-2026-03-10T13:00Z ");
  expect_details(s, "schedule.missed", "");
  expect_details(s, "schedule.skipped", "");
}

static void test_restarts_run_nothing_twice_and_lose_nothing(void **state) {
  Scene *s = *state;
  begin(s, HOURLY_SHOP);
  clock_moved_us += MINUTES(30);
  run(s);
  end_all(s);
  down_for(s, 0);
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-10T13:00Z ");
  clock_moved_us += MINUTES(59);
  down_for(s, MINUTES(1) + 5000000); /* on time all the same */
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-10T14:00Z scheduled-2026-03-10T13:00Z ");
  expect_details(s, "schedule.missed", "");
}

static void test_missed_runs(void **state) {
  Scene *s = *state;
  begin(s, "policies:\n"
           "  - {name: p, schedule: {cron: '@hourly'}}\n"
           "  - {name: q, match: {names: [shop]}, schedule: {missed: skip}}\n");
  down_for(s, HOURS(5)); /* 17:30 */
  run(s);
  expect_tags(s, "shop", "");
  expect_tags(s, "prod-api", "scheduled-2026-03-10T17:00Z ");
  expect_details(s, "schedule.missed",
                 "prod-api {\"action\":\"run_once\",\"first\":\"2026-03-10T13:00Z\",\"last\":\"2026-03-10T17:00Z\","
                 "\"or_more\":false,\"runs\":5}\n"
                 "shop {\"action\":\"skip\",\"first\":\"2026-03-10T13:00Z\",\"last\":\"2026-03-10T17:00Z\","
                 "\"or_more\":false,\"runs\":5}\n");
  run(s);
  down_for(s, 0);
  run(s);
  end_all(s);
  clock_moved_us += MINUTES(30); /* and then as ever */
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-10T18:00Z ");
  expect_tags(s, "prod-api", "scheduled-2026-03-10T18:00Z scheduled-2026-03-10T17:00Z ");
  ScheduleEntry entry;
  assert_true(schedule_entry(s->schedule, "shop", &entry));
  assert_int_equal(entry.row->missed_count, 5);
  assert_string_equal(entry.row->outcome, "requested");
}

static void test_one_that_is_due_makes_up_for_those_missed(void **state) {
  Scene *s = *state;
  begin(s, HOURLY_SHOP);
  down_for(s, HOURS(2) + MINUTES(30)); /* 15:00 sharp */
  run(s);
  end_all(s);
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-10T15:00Z ");
  expect_details(s, "schedule.missed",
                 "shop {\"action\":\"next\",\"first\":\"2026-03-10T13:00Z\",\"last\":\"2026-03-10T14:00Z\","
                 "\"or_more\":false,\"runs\":2}\n");
}

static void test_a_year_of_minutes(void **state) {
  Scene *s = *state;
  begin(s, "policies: [{name: p, match: {names: [shop]}, schedule: {cron: '* * * * *'}}]");
  down_for(s, HOURS(365 * 24));
  run(s);
  CLEANUP_FREE char *told = details(s, "schedule.missed");
  assert_non_null(strstr(told, "\"or_more\":true,\"runs\":1000"));
  CLEANUP_FREE char *made = tags(s, "shop");
  assert_non_null(strstr(made, "scheduled-2027-03-10T12:3"));
  assert_null(strchr(strchr(made, ' ') + 1, ' ')); /* one */
}

static void test_clock_set_back(void **state) {
  Scene *s = *state;
  begin(s, HOURLY_SHOP);
  clock_moved_us += MINUTES(31);
  run(s);
  end_all(s);
  clock_set_us -= HOURS(1); /* 12:01 */
  run(s);
  clock_moved_us += MINUTES(60); /* 13:01 again */
  run(s);
  down_for(s, 0);
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-10T13:00Z ");
  clock_moved_us += MINUTES(60);
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-10T14:00Z scheduled-2026-03-10T13:00Z ");
}

/* Set to 2030 by mistake, and right again: the schedule does not wait for four years. */
static void test_clock_that_was_wrong(void **state) {
  Scene *s = *state;
  begin(s, HOURLY_SHOP);
  clock_set_us += HOURS(4 * 365 * 24);
  run(s);
  end_all(s);
  clock_set_us -= HOURS(4 * 365 * 24);
  run(s);
  clock_moved_us += MINUTES(30);
  run(s);
  CLEANUP_FREE char *made = tags(s, "shop");
  assert_int_equal(strncmp(made, "scheduled-2026-03-10T13:00Z ", 28), 0);
}

static void test_never_two_at_once(void **state) {
  Scene *s = *state;
  begin(s, "policies:\n"
           "  - {name: p, schedule: {cron: '@hourly'}}\n"
           "  - {name: q, match: {names: [shop]}, schedule: {overlap: true}}\n");
  clock_moved_us += MINUTES(30);
  run(s);
  clock_moved_us += MINUTES(60);
  run(s);
  expect_tags(s, "prod-api", "scheduled-2026-03-10T13:00Z ");
  expect_tags(s, "shop", "scheduled-2026-03-10T14:00Z scheduled-2026-03-10T13:00Z ");
  expect_details(s, "schedule.skipped",
                 "prod-api {\"reason\":\"a dump of it is under way\",\"slot\":\"2026-03-10T14:00Z\"}\n");
  end_all(s);
  clock_moved_us += MINUTES(60);
  run(s);
  expect_tags(s, "prod-api", "scheduled-2026-03-10T15:00Z scheduled-2026-03-10T13:00Z ");
}

static void test_cordoned_databases(void **state) {
  Scene *s = *state;
  begin(s, "policies: [{name: p, match: {names: [shop]}, schedule: {cron: '@hourly', overlap: true}}]");
  OK(dispatch_hold(s->f->dispatch, HOLD_DATABASE, "shop", true, "moving", &me, &s->f->err));
  clock_moved_us += MINUTES(30);
  run(s);
  expect_tags(s, "shop", "");
  expect_details(s, "schedule.skipped", "shop {\"reason\":\"it is cordoned\",\"slot\":\"2026-03-10T13:00Z\"}\n");
  OK(dispatch_hold(s->f->dispatch, HOLD_DATABASE, "shop", false, NULL, &me, &s->f->err));
  clock_moved_us += MINUTES(60);
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-10T14:00Z ");
}

/* What is new or changed begins when it is applied; what is gone is forgotten. */
static void test_changes_of_the_fleet(void **state) {
  Scene *s = *state;
  ScheduleEntry entry;
  begin(s, HOURLY_SHOP);
  clock_moved_us += MINUTES(30);
  run(s);
  end_all(s);
  clock_moved_us += HOURS(20); /* 09:00 of the next day, not a minute of which this ran */
  apply(s, "policies: [{name: p, match: {names: [shop]}, schedule: {cron: '*/10 * * * *'}}]");
  clock_moved_us += MINUTES(10); /* before anybody looked at it */
  run(s);
  expect_details(s, "schedule.missed", "");
  expect_tags(s, "shop", "scheduled-2026-03-11T09:10Z scheduled-2026-03-10T13:00Z ");
  end_all(s);
  clock_moved_us += MINUTES(10);
  run(s);
  expect_tags(s, "shop", "scheduled-2026-03-11T09:20Z scheduled-2026-03-11T09:10Z scheduled-2026-03-10T13:00Z ");
  end_all(s);
  apply(s, "policies: [{name: p, match: {names: [prod-*]}, schedule: {cron: '@daily'}}]");
  run(s);
  assert_false(schedule_entry(s->schedule, "shop", &entry));
  clock_moved_us += HOURS(1);
  apply(s, HOURLY_SHOP); /* back again: what was not asked for was not missed */
  run(s);
  expect_details(s, "schedule.missed", "");
  assert_true(schedule_entry(s->schedule, "shop", &entry));
  assert_int_equal(entry.slot_us, at("2026-03-11T11:00"));
}

static void test_daylight_saving(void **state) {
  Scene *s = *state;
  set_clock("2026-03-28T12:00");
  begin(s, "policies: [{name: p, match: {names: [shop]}, schedule: {cron: '30 2 * * *', time_zone: Europe/Berlin}}]");
  for (int minutes = 0; minutes < 3 * 24 * 60; minutes += 30) { /* the 29th has 23 hours */
    clock_moved_us += MINUTES(30);
    run(s);
    end_all(s);
  }
  expect_tags(s, "shop", "scheduled-2026-03-31T00:30Z scheduled-2026-03-30T00:30Z scheduled-2026-03-29T01:00Z ");
  expect_details(s, "schedule.missed", "");
}

/* What was just applied is shown at once, and not only after the next run. */
static void test_shown_at_once(void **state) {
  Scene *s = *state;
  begin(s, "policies: []");
  ScheduleEntry *list;
  assert_int_equal(schedule_list(s->schedule, NULL, NULL, 10, &list), 0);
  free(list);
  apply(s, "policies: [{name: p, schedule: {cron: '@hourly'}}]");
  schedule_look(s->schedule);
  assert_int_equal(schedule_list(s->schedule, NULL, NULL, 10, &list), 2);
  assert_int_equal(list[0].slot_us, at("2026-03-10T13:00"));
  free(list);
  down_for(s, MINUTES(2)); /* it is remembered */
  assert_int_equal(schedule_list(s->schedule, NULL, NULL, 10, &list), 2);
  free(list);
}

static void test_jitter(void **state) {
  Scene *s = *state;
  begin(s, "policies: [{name: p, schedule: {cron: '@hourly', jitter_seconds: 3600}}]");
  ScheduleEntry *list;
  assert_int_equal(schedule_list(s->schedule, NULL, NULL, 10, &list), 2);
  assert_int_equal(list[0].slot_us, at("2026-03-10T13:00"));
  assert_true(list[0].due_us < list[1].due_us);
  int64_t due = list[0].due_us;
  CLEANUP_FREE char *first = memory_strdup(list[0].row->database);
  free(list);
  down_for(s, MINUTES(2));
  assert_int_equal(schedule_list(s->schedule, NULL, NULL, 1, &list), 1);
  assert_string_equal(list[0].row->database, first);
  assert_int_equal(list[0].due_us, due);
  free(list);
  enum { NAMES = 10000, SHARES = 60 };
  int counts[SHARES] = {0};
  for (int i = 0; i < NAMES; i++) {
    char name[32];
    snprintf(name, sizeof name, "db-%d", i);
    counts[schedule_jitter_us(name, SHARES) / 1000000]++;
  }
  for (int i = 0; i < SHARES; i++) /* 167 each; 13 is one standard deviation */
    assert_in_range(counts[i], 100, 234);
}

/* Who waits for it goes before what the schedule asked for earlier. */
static void test_what_is_asked_for_goes_first(void **state) {
  Scene *s = *state;
  begin(s, "policies: [{name: p, schedule: {cron: '@hourly'}}]");
  clock_moved_us += MINUTES(30);
  run(s);
  CLEANUP_FREE char *mine = request(s->f, "shop", "mine");
  expect_dump(s, "shop", mine);
  expect_dump(s, "prod-api", NULL);
  expect_dump(s, NULL, NULL); /* shop's scheduled one waits for the other */
}

static void test_limits_of_hosts_owners_and_the_fleet(void **state) {
  Scene *s = *state;
#define DATABASES                                                                                                      \
  "databases: [{name: a, host: h1, owner: x}, {name: b, host: h1, owner: y}, {name: c, host: h2, owner: y}]\n"
  begin(s, DATABASES "limits: {host_running: 1}");
  CLEANUP_FREE char *a = request(s->f, "a", "t"), *b = request(s->f, "b", "t"), *c = request(s->f, "c", "t");
  expect_dump(s, "a", a);
  apply(s, DATABASES "limits: {running: 1}");
  expect_dump(s, NULL, NULL);
  apply(s, DATABASES "limits: {host_running: 1}");
  expect_dump(s, "c", NULL);
  expect_dump(s, NULL, NULL);
  apply(s, DATABASES "quotas: [{owner: y, running: 1, queued: 2}]");
  expect_dump(s, NULL, NULL);
  Checkpoint refused = {0};
  bool joined;
  assert_int_equal(dispatch_request_checkpoint(s->f->dispatch, "b", "t", &me, NULL, &refused, &joined, &s->f->err),
                   ERR_TOO_MANY);
  assert_non_null(strstr(s->f->err.remedy, "quotas"));
  apply(s, DATABASES "quotas: [{owner: y, running: 2, queued: 3}]");
  free(request(s->f, "b", "t"));
  expect_dump(s, "b", NULL);
}

static void test_ten_thousand(void **state) {
  Scene *s = *state;
  enum { MANY = 10000 };
  CLEANUP(buffer_release) Buffer text = {0};
  buffer_append_text(&text, "policies: [{name: all, schedule: {cron: '@hourly', jitter_seconds: 3600}}]\ndatabases:\n");
  for (int i = 0; i < MANY; i++)
    buffer_append_format(&text, "  - {name: db-%d}\n", i);
  begin(s, buffer_text(&text));
  clock_moved_us += MINUTES(30);
  int64_t begun = clock_monotonic_us(), before = 0, made = 0, slowest = 0;
  for (int second = 0; second < 20; second++, clock_moved_us += 1000000) {
    do {
      before = clock_monotonic_us();
      made = schedule_run(s->schedule);
      slowest = clock_monotonic_us() - before > slowest ? clock_monotonic_us() - before : slowest;
    } while (made == 0);
  }
  LedgerJob *jobs;
  size_t count;
  OK(ledger_job_open(s->f->ledger, &jobs, &count, &s->f->err));
  ledger_job_list_free(jobs, count);
  size_t took = (size_t)((clock_monotonic_us() - begun) / 1000000); /* goes by, besides */
  assert_in_range(count / 2, 25, 100 + 4 * took);                   /* 2.8 in a second */
  expect_details(s, "schedule.missed", "");
  print_message("slowest: %d us\n", (int)slowest);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
      T(test_runs_when_due_and_once),
      T(test_restarts_run_nothing_twice_and_lose_nothing),
      T(test_missed_runs),
      T(test_one_that_is_due_makes_up_for_those_missed),
      T(test_a_year_of_minutes),
      T(test_clock_set_back),
      T(test_clock_that_was_wrong),
      T(test_never_two_at_once),
      T(test_cordoned_databases),
      T(test_changes_of_the_fleet),
      T(test_daylight_saving),
      T(test_shown_at_once),
      T(test_jitter),
      T(test_what_is_asked_for_goes_first),
      T(test_limits_of_hosts_owners_and_the_fleet),
      T(test_ten_thousand),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
