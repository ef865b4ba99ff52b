/* Cron in time zones, against glibc's tz database: minute by minute, what clocks show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "coordinator/schedule/cron.h"

#define OK(call) assert_int_equal((call), STATUS_OK)

static Zone *zone(const char *name) {
  Zone *out = NULL;
  Error err;
  if (zone_open(name, &out, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return out;
}

static void close_zone(Zone **it) {
  zone_close(*it);
}
#define ZONE CLEANUP(close_zone) Zone

static Cron cron(const char *text) {
  Cron out;
  Error err;
  if (cron_parse(text, &out, &err) != STATUS_OK)
    fail_msg("%s: %s", text, err.message);
  return out;
}

static int64_t at(const char *text) { /* "2026-03-29T00:30Z" */
  char whole[CLOCK_TEXT_SIZE];
  snprintf(whole, sizeof whole, "%.16s:00.000Z", text);
  int64_t us = clock_parse(whole);
  assert_true(us > 0);
  return us;
}

/* After the first, the others come, in that order; times in UTC. */
static void comes(const char *text, const char *where, const char *const *times, size_t count) {
  Cron it = cron(text);
  ZONE *in = zone(where);
  int64_t now = at(times[0]);
  for (size_t i = 1; i < count; i++) {
    char shown[CLOCK_TEXT_SIZE];
    now = cron_next(&it, in, now);
    clock_format(now, shown);
    if (now != at(times[i]))
      fail_msg("%s in %s: %s instead of %s", text, where, shown, times[i]);
  }
}
#define COMES(text, where, ...)                                                                                        \
  comes(text, where, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_plain(void **state) {
  (void)state;
  COMES("15 3 * * *", "UTC", "2026-02-27T03:15Z", "2026-02-28T03:15Z", "2026-03-01T03:15Z");
  COMES("@daily", "Asia/Kathmandu", "2026-01-01T00:00Z", "2026-01-01T18:15Z", "2026-01-02T18:15Z");
  COMES("*/20 9-17/4 * * MON-FRI", "UTC", "2026-11-20T17:00Z", "2026-11-20T17:20Z", "2026-11-20T17:40Z",
        "2026-11-23T09:00Z");
  COMES("0 0 13 * FRI", "UTC", "2026-11-12T12:00Z", "2026-11-13T00:00Z", "2026-11-20T00:00Z", "2026-11-27T00:00Z",
        "2026-12-04T00:00Z", "2026-12-11T00:00Z", "2026-12-13T00:00Z");
  COMES("0 0 */2 * 1", "UTC", "2026-11-01T00:00Z", "2026-11-09T00:00Z", "2026-11-23T00:00Z");
  COMES("0 12 29 feb *", "UTC", "2096-03-01T00:00Z", "2104-02-29T12:00Z");
  COMES("5,35 4 1 jan,JUL sun-mon,7", "UTC", "2026-06-30T00:00Z", "2026-07-01T04:05Z", "2026-07-01T04:35Z",
        "2026-07-05T04:05Z");
  COMES("0 22 * * fri-sun", "UTC", "2026-11-19T23:00Z", "2026-11-20T22:00Z", "2026-11-21T22:00Z", "2026-11-22T22:00Z",
        "2026-11-27T22:00Z");
  COMES("@yearly", "Pacific/Auckland", "2026-11-21T00:00Z", "2026-12-31T11:00Z");
}

/* Half past two is left out in March, and comes twice in October. */
static void test_berlin(void **state) {
  (void)state;
  COMES("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00Z", "2026-03-28T01:30Z", "2026-03-29T01:00Z",
        "2026-03-30T00:30Z");
  COMES("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z");
  COMES("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45Z", "2026-10-26T01:30Z");
  COMES("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T01:00Z", "2026-03-29T01:30Z",
        "2026-03-30T00:00Z");
  COMES("30 * * * *", "Europe/Berlin", "2026-03-29T00:00Z", "2026-03-29T00:30Z", "2026-03-29T01:30Z");
  COMES("30 * 25 10 *", "Europe/Berlin", "2026-10-24T23:40Z", "2026-10-25T00:30Z", "2026-10-25T01:30Z",
        "2026-10-25T02:30Z");
}

/* Half an hour: 2:00 becomes 2:30 in October, 2:00 becomes 1:30 in April. */
static void test_lord_howe(void **state) {
  (void)state;
  COMES("15 2 * * *", "Australia/Lord_Howe", "2026-10-02T16:00Z", "2026-10-03T15:30Z", "2026-10-04T15:15Z");
  COMES("45 1 * * *", "Australia/Lord_Howe", "2026-04-03T14:50Z", "2026-04-04T14:45Z", "2026-04-05T15:15Z");
  COMES("45 * * * *", "Australia/Lord_Howe", "2026-04-04T14:00Z", "2026-04-04T14:45Z", "2026-04-04T15:15Z",
        "2026-04-04T16:15Z");
}

/* Samoa had no 30 December 2011. */
static void test_a_day_that_was_not(void **state) {
  (void)state;
  COMES("0 3 * * *", "Pacific/Apia", "2011-12-28T13:00Z", "2011-12-29T13:00Z", "2011-12-30T10:00Z", "2011-12-30T13:00Z",
        "2011-12-31T13:00Z");
}

/* ---- against glibc ---- */

static bool shown(const Cron *it, int64_t local_minutes) {
  if (!(it->minutes >> local_minutes % 60 & 1) || !(it->hours >> local_minutes / 60 % 24 & 1))
    return false;
  time_t seconds = (time_t)local_minutes * 60;
  struct tm tm;
  gmtime_r(&seconds, &tm);
  bool day = it->days >> tm.tm_mday & 1, weekday = it->weekdays >> tm.tm_wday & 1;
  return (it->months >> (tm.tm_mon + 1) & 1) && (it->every_day || it->every_weekday ? day && weekday : day || weekday);
}

/* What clocks of a zone show, minute by minute. */
typedef struct Clocks {
  const char *zone;
  int64_t from, to; /* minutes */
  int64_t *local;
} Clocks;

static Clocks clocks_of(const char *where, int64_t from_us, int64_t to_us) {
  Clocks clocks = {.zone = where, .from = from_us / 60000000, .to = to_us / 60000000};
  clocks.local = malloc((size_t)(clocks.to - clocks.from + 1) * sizeof *clocks.local);
  setenv("TZ", where, 1);
  tzset();
  for (int64_t minute = clocks.from; minute <= clocks.to; minute++) {
    time_t seconds = (time_t)minute * 60;
    struct tm tm;
    localtime_r(&seconds, &tm);
    clocks.local[minute - clocks.from] = minute + tm.tm_gmtoff / 60;
  }
  return clocks;
}

/* Is cron_next's list the one that clocks give? */
static void same_as_clocks(const char *text, const Clocks *clocks) {
  Cron it = cron(text);
  ZONE *in = zone(clocks->zone);
  int64_t next = cron_next(&it, in, clocks->from * 60000000), latest = clocks->local[0], found = 0;
  for (int64_t minute = clocks->from + 1; minute <= clocks->to; minute++) {
    int64_t local = clocks->local[minute - clocks->from];
    bool due = shown(&it, local) && (it.every_hour || local > latest);
    for (int64_t skipped = latest + 1; skipped < local && !it.every_hour; skipped++)
      due = due || shown(&it, skipped);
    latest = local > latest ? local : latest;
    if (!due)
      continue;
    if (next != minute * 60000000) {
      char mine[CLOCK_TEXT_SIZE], theirs[CLOCK_TEXT_SIZE];
      fail_msg("%s in %s: %s instead of %s", text, clocks->zone, clock_format(next, mine),
               clock_format(minute * 60000000, theirs));
    }
    next = cron_next(&it, in, next);
    found++;
  }
  assert_true(found > 0);
}

static void test_as_clocks_show_it(void **state) {
  (void)state;
  static const char *const zones[] = {"UTC",
                                      "Europe/Berlin",
                                      "Europe/Dublin", /* its standard time is the summer's */
                                      "America/New_York",
                                      "America/Santiago", /* at midnight */
                                      "America/St_Johns",
                                      "Africa/Casablanca", /* four times a year */
                                      "Asia/Tehran",
                                      "Australia/Lord_Howe",
                                      "Antarctica/Troll", /* two hours */
                                      "Pacific/Apia"};
  static const char *const texts[] = {"30 2 * * *", "0 * * * *", "*/15 0-3 * * *", "45 1,23 * * SAT,SUN", "0 0 * * *"};
  for (size_t i = 0; i < ARRAY_SIZE(zones); i++) { /* of a time of which both know the same rules */
    Clocks clocks = clocks_of(zones[i], at("2011-09-20T00:00Z"), at("2012-05-05T00:00Z"));
    for (size_t j = 0; j < ARRAY_SIZE(texts); j++)
      same_as_clocks(texts[j], &clocks);
    free(clocks.local);
  }
}

static void test_refused(void **state) {
  (void)state;
  static const char *const texts[] = {"",
                                      "* * * *",
                                      "* * * * * *",
                                      "60 * * * *",
                                      "* 24 * * *",
                                      "* * 0 * *",
                                      "* * 32 * *",
                                      "* * * 13 *",
                                      "* * * * 8",
                                      "5-1 * * * *",
                                      "*/0 * * * *",
                                      "5/10 * * * *",
                                      "1,,2 * * * *",
                                      "@often",
                                      "x * * * *",
                                      "0 0 30 2 *",
                                      "0 0 31 4,6 *",
                                      "*-5 * * * *",
                                      "1- * * * *",
                                      "0 0 L * *",
                                      "-1 * * * *",
                                      "100 * * * *",
                                      "*5 * * * *",
                                      "1-5/ * * * *",
                                      "JAN * * * *"};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    Cron out;
    Error err;
    if (cron_parse(texts[i], &out, &err) != ERR_CONFIG)
      fail_msg("'%s' is not refused", texts[i]);
  }
  static const char *const zones[] = {"", "Europe/Atlantis", "GMT+3:30", "../UTC", "Europe/Berlin\n", "berlin"};
  for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
    Zone *out = NULL;
    Error err;
    if (zone_open(zones[i], &out, &err) != ERR_CONFIG)
      fail_msg("'%s' is not refused", zones[i]);
  }
}

/* What a database can lose at worst. */
static void test_longest_gap(void **state) {
  (void)state;
  static const struct {
    const char *text, *where;
    int64_t minutes;
  } cases[] = {
      {"* * * * *", "UTC", 1},
      {"*/15 * * * *", "Europe/Berlin", 15},
      {"@hourly", "Europe/Berlin", 60},
      {"@daily", "UTC", 24 * 60},
      {"@daily", "Asia/Tokyo", 24 * 60},
      {"@daily", "Europe/Berlin", 25 * 60},
      {"0 8,20 * * *", "UTC", 12 * 60},
      {"0 6,8 * * *", "UTC", 22 * 60},
      {"0-30/10 9 * * *", "UTC", 24 * 60 - 30},
      {"0 9-17 * * MON-FRI", "UTC", (2 * 24 + 16) * 60},
      {"0 0 1 * *", "UTC", 31 * 24 * 60},
      {"0 0 29 2 *", "UTC", 1461 * 24 * 60},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    Cron it = cron(cases[i].text);
    ZONE *in = zone(cases[i].where);
    if (cron_longest_gap(&it, in) != 60 * cases[i].minutes)
      fail_msg("%s: %lld s", cases[i].text, (long long)cron_longest_gap(&it, in));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plain),
      cmocka_unit_test(test_berlin),
      cmocka_unit_test(test_lord_howe),
      cmocka_unit_test(test_a_day_that_was_not),
      cmocka_unit_test(test_as_clocks_show_it),
      cmocka_unit_test(test_longest_gap),
      cmocka_unit_test(test_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
