#include "coordinator/retention/decide.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

#define HOUR_US ((int64_t)3600 * 1000000)
#define DAY_US (24 * HOUR_US)

enum { MONDAY = 3 }; /* days from the Monday before the epoch to the epoch, a Thursday */

/* ---- periods: of two moments in the same one, the same number ---- */

static int64_t floor_div(int64_t a, int64_t b) {
  return a / b - (a % b < 0);
}

static int64_t hour_of(int64_t us) {
  return floor_div(us, HOUR_US);
}

static int64_t day_of(int64_t us) {
  return floor_div(us, DAY_US);
}

static int64_t week_of(int64_t us) {
  return floor_div(day_of(us) + MONDAY, 7);
}

static int64_t month_of(int64_t us) {
  time_t seconds = (time_t)floor_div(us, 1000000);
  struct tm tm = {0};
  return gmtime_r(&seconds, &tm) ? (int64_t)tm.tm_year * 12 + tm.tm_mon : 0;
}

static int64_t year_of(int64_t us) {
  return floor_div(month_of(us), 12);
}

static int64_t each(int64_t us) {
  return us;
}

/* ---- rules ---- */

typedef struct Ordered { /* newest first */
  const RetentionItem *item;
  unsigned *rules;
} Ordered;

static int newest_first(const void *a, const void *b) {
  const RetentionItem *x = ((const Ordered *)a)->item, *y = ((const Ordered *)b)->item;
  if (x->taken_us != y->taken_us)
    return x->taken_us > y->taken_us ? -1 : 1;
  return strcmp(y->id, x->id); /* ids grow with time */
}

/* The newest of each of the last `most` periods that have one; where each is a period of its own, the last ones. */
static void keep_periods(const Ordered *sealed, size_t count, int most, int64_t (*period_of)(int64_t),
                         RetentionRule rule) {
  int64_t before = 0;
  int seen = 0;
  for (size_t i = 0; i < count && seen < most; i++) {
    int64_t period = period_of(sealed[i].item->taken_us);
    if (i > 0 && period == before && period_of != each)
      continue;
    before = period;
    seen++;
    *sealed[i].rules |= (unsigned)rule;
  }
}

/* Has so much time passed since? What lies in the future has not even begun: the clock is wrong, or was. */
static bool is_within(int64_t since_us, int64_t for_us, int64_t now_us) {
  return now_us - since_us < for_us;
}

static void keep_tags(const Ordered *sealed, size_t count, const RetentionPolicy *policy, int64_t now_us) {
  for (size_t i = 0; i < count; i++) {
    for (size_t j = 0; j < policy->tag_count; j++) {
      const RetentionTag *tag = &policy->tags[j];
      if (text_glob(tag->match, sealed[i].item->tag) &&
          is_within(sealed[i].item->taken_us, tag->keep_days * DAY_US, now_us))
        *sealed[i].rules |= RETENTION_TAG;
    }
  }
}

static void keep_sealed(const Ordered *sealed, size_t count, const RetentionPolicy *policy, int64_t now_us) {
  if (count > 0)
    *sealed[0].rules |= RETENTION_NEWEST;
  keep_periods(sealed, count, policy->last, each, RETENTION_LAST);
  keep_periods(sealed, count, policy->hourly, hour_of, RETENTION_HOURLY);
  keep_periods(sealed, count, policy->daily, day_of, RETENTION_DAILY);
  keep_periods(sealed, count, policy->weekly, week_of, RETENTION_WEEKLY);
  keep_periods(sealed, count, policy->monthly, month_of, RETENTION_MONTHLY);
  keep_periods(sealed, count, policy->yearly, year_of, RETENTION_YEARLY);
  keep_tags(sealed, count, policy, now_us);
}

static void keep_unsealed(const RetentionItem *item, int64_t newest_sealed_us, const RetentionPolicy *policy,
                          int64_t now_us, unsigned *rules) {
  if (item->stored && item->taken_us >= newest_sealed_us)
    *rules |= RETENTION_UNPROVEN;
  if (is_within(item->finished_us, policy->grace_hours * HOUR_US, now_us))
    *rules |= RETENTION_GRACE;
}

static unsigned of_itself(const RetentionItem *item, int64_t now_us) {
  return (item->pinned ? RETENTION_PINNED : 0u) | (item->finished_us == 0 ? RETENTION_OPEN : 0u) |
         (item->locked_until_us > now_us ? RETENTION_LOCKED : 0u);
}

void retention_decide(const RetentionItem *items, size_t count, const RetentionPolicy *policy, int64_t now_us,
                      unsigned *rules) {
  Ordered *sealed = memory_alloc((count + 1) * sizeof *sealed);
  size_t sealed_count = 0;
  for (size_t i = 0; i < count; i++) {
    rules[i] = of_itself(&items[i], now_us) | (policy ? 0u : RETENTION_ALL);
    if (items[i].sealed && items[i].finished_us != 0)
      sealed[sealed_count++] = (Ordered){&items[i], &rules[i]};
  }
  qsort(sealed, sealed_count, sizeof *sealed, newest_first);
  int64_t newest_us = sealed_count ? sealed[0].item->taken_us : INT64_MIN;
  if (policy)
    keep_sealed(sealed, sealed_count, policy, now_us);
  for (size_t i = 0; policy && i < count; i++)
    if (!items[i].sealed && items[i].finished_us != 0)
      keep_unsealed(&items[i], newest_us, policy, now_us, &rules[i]);
  for (size_t i = 0; policy && i < count; i++)
    if (items[i].rebuilt_us && is_within(items[i].rebuilt_us, policy->grace_hours * HOUR_US, now_us))
      rules[i] |= RETENTION_GRACE;
  free(sealed);
}

const char *retention_rule_name(RetentionRule rule) {
  static const char *const names[] = {"no policy", "pinned", "not over", "last sealed", "tag",      "last",  "hourly",
                                      "daily",     "weekly", "monthly",  "yearly",      "unproven", "grace", "locked"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if ((unsigned)rule == 1u << i)
      return names[i];
  return NULL;
}
