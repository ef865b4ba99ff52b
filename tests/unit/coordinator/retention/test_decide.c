/* Which checkpoints are kept: each rule by itself, and what must hold of any list under any policy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/retention/decide.h"

#define HOUR ((int64_t)3600 * 1000000)
#define DAY (24 * HOUR)
/* Thursday, 2026-01-01 00:00 UTC */
#define NEW_YEAR ((int64_t)1767225600 * 1000000)

enum { MOST = 400, ROUNDS = 400 };

static RetentionItem items[MOST];
static char ids[MOST][16];
static unsigned rules[MOST];
static size_t count;

static RetentionItem *add(int64_t taken_us, bool sealed, const char *tag) {
  snprintf(ids[count], sizeof ids[count], "%06zu", count);
  items[count] = (RetentionItem){.id = ids[count],
                                 .tag = tag,
                                 .taken_us = taken_us,
                                 .finished_us = taken_us + 60 * 1000000,
                                 .sealed = sealed,
                                 .stored = sealed};
  return &items[count++];
}

static int setup(void **state) {
  (void)state;
  count = 0;
  return 0;
}

static size_t kept(const RetentionPolicy *policy, int64_t now_us) {
  size_t n = 0;
  retention_decide(items, count, policy, now_us, rules);
  for (size_t i = 0; i < count; i++)
    n += rules[i] != 0;
  return n;
}

static void test_no_policy_keeps_all(void **state) {
  (void)state;
  for (int i = 0; i < 5; i++)
    add(NEW_YEAR + i * DAY, i % 2 == 0, "t");
  assert_int_equal(kept(NULL, NEW_YEAR + 9999 * DAY), 5);
  assert_true(rules[1] & RETENTION_ALL);
}

static void test_last(void **state) {
  (void)state;
  for (int i = 0; i < 6; i++)
    add(NEW_YEAR + i * HOUR, true, "t");
  assert_int_equal(kept(&(RetentionPolicy){.last = 2}, NEW_YEAR + 30 * DAY), 2);
  assert_int_equal(rules[5], RETENTION_LAST | RETENTION_NEWEST);
  assert_int_equal(rules[4], RETENTION_LAST);
  add(NEW_YEAR + 5 * HOUR, true, "t"); /* of the same moment: each counts, the greater id is the newer */
  assert_int_equal(kept(&(RetentionPolicy){.last = 2}, NEW_YEAR + 30 * DAY), 2);
  assert_true(rules[6] & RETENTION_NEWEST);
  assert_int_equal(rules[5], RETENTION_LAST);
}

/* The newest of a period stands for it; periods without one are not counted. */
static void test_periods(void **state) {
  (void)state;
  for (int day = 0; day < 60; day++)
    if (day != 58)
      for (int hour = 0; hour < 24; hour += 6)
        add(NEW_YEAR + day * DAY + hour * HOUR, true, "t");
  assert_int_equal(kept(&(RetentionPolicy){.daily = 3}, NEW_YEAR + 90 * DAY), 3);
  size_t last = count - 1;
  assert_true(rules[last] & RETENTION_DAILY);         /* day 59, 18:00 */
  assert_int_equal(rules[last - 4], RETENTION_DAILY); /* day 57, 18:00 */
  assert_int_equal(rules[last - 8], RETENTION_DAILY); /* day 56 */
  assert_int_equal(rules[last - 1], 0);
  /* 2026: January has 31 days, and day 59 is the first of March */
  assert_int_equal(kept(&(RetentionPolicy){.monthly = 12}, NEW_YEAR + 90 * DAY), 3);
  assert_int_equal(items[30 * 4 + 3].taken_us, NEW_YEAR + 30 * DAY + 18 * HOUR);
  assert_int_equal(rules[30 * 4 + 3], RETENTION_MONTHLY);
  assert_int_equal(kept(&(RetentionPolicy){.yearly = 3}, NEW_YEAR + 90 * DAY), 1);
  assert_int_equal(kept(&(RetentionPolicy){.hourly = 5}, NEW_YEAR + 90 * DAY), 5);
}

static void test_week_begins_on_monday(void **state) {
  (void)state;
  add(NEW_YEAR + 3 * DAY + 23 * HOUR, true, "t");  /* Sunday */
  add(NEW_YEAR + 4 * DAY, true, "t");              /* Monday */
  add(NEW_YEAR + 10 * DAY + 23 * HOUR, true, "t"); /* Sunday of the same week */
  assert_int_equal(kept(&(RetentionPolicy){.weekly = 9}, NEW_YEAR + 90 * DAY), 2);
  assert_int_equal(rules[0], RETENTION_WEEKLY);
  assert_int_equal(rules[1], 0);
  assert_int_equal(rules[2], RETENTION_WEEKLY | RETENTION_NEWEST);
}

static void test_before_the_epoch(void **state) {
  (void)state;
  add(-1, true, "t");
  add(0, true, "t");
  items[1].finished_us = 1; /* 0 would be: not over */
  assert_int_equal(kept(&(RetentionPolicy){.yearly = 9}, DAY), 2);
  assert_int_equal(kept(&(RetentionPolicy){.hourly = 9}, DAY), 2);
}

static void test_tags(void **state) {
  (void)state;
  const RetentionTag tags[] = {{"pre-deploy-*", 30}, {"release-*", 3650}};
  const RetentionPolicy policy = {.tags = tags, .tag_count = 2};
  add(NEW_YEAR, true, "pre-deploy-1");
  add(NEW_YEAR, true, "release-1");
  add(NEW_YEAR, true, "nightly");
  add(NEW_YEAR + DAY, true, "newest");
  assert_int_equal(kept(&policy, NEW_YEAR + 30 * DAY - 1), 3);
  assert_int_equal(rules[0], RETENTION_TAG);
  assert_int_equal(kept(&policy, NEW_YEAR + 30 * DAY), 2);
  assert_int_equal(rules[0], 0);
  assert_int_equal(rules[1], RETENTION_TAG);
}

static void test_pinned_open_locked(void **state) {
  (void)state;
  add(NEW_YEAR, true, "t")->pinned = true;
  add(NEW_YEAR, false, "t")->finished_us = 0;
  add(NEW_YEAR, true, "t")->locked_until_us = NEW_YEAR + 100 * DAY;
  add(NEW_YEAR + DAY, true, "t");
  const RetentionPolicy nothing = {0};
  assert_int_equal(kept(&nothing, NEW_YEAR + 99 * DAY), 4);
  assert_int_equal(rules[0], RETENTION_PINNED);
  assert_int_equal(rules[1], RETENTION_OPEN);
  assert_int_equal(rules[2], RETENTION_LOCKED);
  assert_int_equal(rules[3], RETENTION_NEWEST);
  assert_int_equal(kept(&nothing, NEW_YEAR + 100 * DAY), 3);
  assert_int_equal(kept(&nothing, NEW_YEAR + 5000 * DAY), 3);
}

/* What was never sealed goes after the grace time, but never the best there is. */
static void test_unsealed(void **state) {
  (void)state;
  const RetentionPolicy policy = {.last = 5, .grace_hours = 48};
  add(NEW_YEAR, false, "t");                       /* its dump failed */
  add(NEW_YEAR + HOUR, false, "t")->stored = true; /* its drill errored */
  int64_t later = NEW_YEAR + 30 * DAY;
  assert_int_equal(kept(&policy, NEW_YEAR + 24 * HOUR), 2);
  assert_int_equal(kept(&policy, later), 1);
  assert_int_equal(rules[1], RETENTION_UNPROVEN);
  add(NEW_YEAR + 2 * HOUR, true, "t");
  assert_int_equal(kept(&policy, later), 1);
  assert_true(rules[2] & RETENTION_NEWEST);
  add(NEW_YEAR + 3 * HOUR, false, "t")->stored = true;
  assert_int_equal(kept(&policy, later), 2);
  assert_int_equal(rules[3], RETENTION_UNPROVEN);
}

/* A clock that is set back makes nothing older than it is. */
static void test_future(void **state) {
  (void)state;
  const RetentionTag tag = {"t", 1};
  add(NEW_YEAR + 100 * DAY, false, "t");
  add(NEW_YEAR + 100 * DAY, true, "t");
  add(NEW_YEAR + 101 * DAY, true, "other");
  assert_int_equal(kept(&(RetentionPolicy){.tags = &tag, .tag_count = 1, .grace_hours = 1}, NEW_YEAR), 3);
}

static void test_names(void **state) {
  (void)state;
  assert_string_equal(retention_rule_name(RETENTION_ALL), "no policy");
  assert_string_equal(retention_rule_name(RETENTION_DAILY), "daily");
  assert_string_equal(retention_rule_name(RETENTION_LOCKED), "locked");
  assert_null(retention_rule_name(RETENTION_LOCKED << 1));
  assert_null(retention_rule_name(0));
}

/* ---- properties, over lists and policies drawn by a generator whose seed is told ---- */

static uint64_t seed;

static uint32_t draw(uint32_t below) {
  seed = seed * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(seed >> 33) % below;
}

static const char *const tag_names[] = {"nightly", "pre-deploy-1", "pre-deploy-2", "release-7"};
static const RetentionTag some_tags[] = {{"pre-*", 20}, {"release-*", 200}};

static void draw_items(void) {
  count = 0;
  size_t wanted = draw(120);
  int64_t spread = draw(2) ? 3 * DAY : 900 * DAY;
  for (size_t i = 0; i < wanted; i++) {
    RetentionItem *item = add(NEW_YEAR + (int64_t)draw(100000) * (spread / 100000), draw(4) > 0, tag_names[draw(4)]);
    item->stored = item->sealed || draw(2);
    item->pinned = draw(15) == 0;
    if (draw(10) == 0)
      item->locked_until_us = item->taken_us + (int64_t)draw(1000) * DAY;
    if (!item->sealed && draw(6) == 0)
      item->finished_us = 0;
  }
}

static RetentionPolicy draw_policy(void) {
  return (RetentionPolicy){.last = (int)draw(5),
                           .hourly = (int)draw(30),
                           .daily = (int)draw(10),
                           .weekly = (int)draw(6),
                           .monthly = (int)draw(14),
                           .yearly = (int)draw(3),
                           .tags = some_tags,
                           .tag_count = draw(3),
                           .grace_hours = (int)draw(500)};
}

static const RetentionItem *newest_sealed(void) {
  const RetentionItem *newest = NULL;
  for (size_t i = 0; i < count; i++)
    if (items[i].sealed && (!newest || items[i].taken_us > newest->taken_us ||
                            (items[i].taken_us == newest->taken_us && strcmp(items[i].id, newest->id) > 0)))
      newest = &items[i];
  return newest;
}

static void check_always_kept(int64_t now_us) {
  const RetentionItem *newest = newest_sealed();
  for (size_t i = 0; i < count; i++) {
    bool must = items[i].pinned || items[i].finished_us == 0 || items[i].locked_until_us > now_us ||
                &items[i] == newest || (!newest && items[i].stored);
    if (must && !rules[i])
      fail_msg("%s was to be kept", items[i].id);
  }
}

static RetentionPolicy more_than(RetentionPolicy policy) {
  int *numbers[] = {&policy.last,    &policy.hourly, &policy.daily,      &policy.weekly,
                    &policy.monthly, &policy.yearly, &policy.grace_hours};
  for (size_t i = 0; i < 7; i++)
    *numbers[i] += (int)draw(4);
  policy.tag_count += policy.tag_count < 2 ? draw(2) : 0;
  return policy;
}

static void check_monotone(const RetentionPolicy *policy, int64_t now_us) {
  static unsigned more[MOST];
  const RetentionPolicy larger = more_than(*policy);
  retention_decide(items, count, &larger, now_us, more);
  for (size_t i = 0; i < count; i++)
    assert_true(!rules[i] || more[i]);
}

/* By id, so that it can be found again in a list of another order. */
static bool was_kept(const char *id) {
  size_t index;
  assert_int_equal(sscanf(id, "%zu", &index), 1);
  return rules[index] != 0;
}

static void check_again(const RetentionPolicy *policy, int64_t now_us) {
  static RetentionItem left[MOST];
  static unsigned again[MOST];
  size_t n = 0;
  for (size_t i = 0; i < count; i++)
    if (rules[i])
      left[n++] = items[i];
  retention_decide(left, n, policy, now_us, again);
  for (size_t i = 0; i < n; i++)
    if (!again[i])
      fail_msg("%s was kept, and is not any more", left[i].id);
}

static void check_order(const RetentionPolicy *policy, int64_t now_us) {
  static RetentionItem mixed[MOST];
  static unsigned other[MOST];
  memcpy(mixed, items, count * sizeof *items);
  for (size_t i = count; i > 1; i--) {
    size_t j = draw((uint32_t)i);
    RetentionItem swap = mixed[i - 1];
    mixed[i - 1] = mixed[j];
    mixed[j] = swap;
  }
  retention_decide(mixed, count, policy, now_us, other);
  for (size_t i = 0; i < count; i++)
    assert_int_equal(other[i] != 0, was_kept(mixed[i].id));
}

static void test_properties(void **state) {
  (void)state;
  for (unsigned round = 1; round <= ROUNDS; round++) {
    seed = round;
    draw_items();
    const RetentionPolicy policy = draw_policy();
    int64_t now_us = NEW_YEAR + (int64_t)draw(2000) * DAY;
    retention_decide(items, count, &policy, now_us, rules);
    check_always_kept(now_us);
    check_monotone(&policy, now_us);
    check_again(&policy, now_us);
    check_order(&policy, now_us);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup(test_no_policy_keeps_all, setup),
                                     cmocka_unit_test_setup(test_last, setup),
                                     cmocka_unit_test_setup(test_periods, setup),
                                     cmocka_unit_test_setup(test_week_begins_on_monday, setup),
                                     cmocka_unit_test_setup(test_before_the_epoch, setup),
                                     cmocka_unit_test_setup(test_tags, setup),
                                     cmocka_unit_test_setup(test_pinned_open_locked, setup),
                                     cmocka_unit_test_setup(test_unsealed, setup),
                                     cmocka_unit_test_setup(test_future, setup),
                                     cmocka_unit_test_setup(test_names, setup),
                                     cmocka_unit_test_setup(test_properties, setup)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
