/*
 * A simulated month. As a unit test: of some hundred databases. With PGSEAL_ROTATION_DATABASES=2000 (`make bench`), of
 * so many; then it prints the tables of docs/rotation.md.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "common/base/cleanup.h"
#include "tests/unit/coordinator/rotation/month.h"

enum { DAYS = 30, QUICK = 100, SEED = 7 };

static size_t databases(void) {
  const char *text = getenv("PGSEAL_ROTATION_DATABASES");
  return text ? (size_t)strtoul(text, NULL, 10) : QUICK;
}

static bool printing(void) {
  return getenv("PGSEAL_ROTATION_DATABASES") != NULL;
}

/* How many drills each database's objectives need in the month. */
static double *needs(const Month *m) {
  double *needed = memory_alloc(m->database_count * sizeof *needed);
  for (size_t i = 0; i < m->item_count; i++) {
    const RotationItem *item = &m->items[i];
    const MonthDatabase *d = &m->databases[item->database];
    bool old = item->kind == ROTATION_OLD && d->every_us && d->every_us * (int64_t)d->kept < d->objective_us;
    if (item->objective_us > 0 && !old &&
        !(item->kind == ROTATION_LATEST && d->every_us && d->every_us < d->objective_us))
      needed[item->database] += (double)DAYS * DAY_US / (double)item->objective_us;
  }
  return needed;
}

typedef struct Told {
  RotationForecast forecast;
  double fairness;
  size_t unserved; /* databases that had something too old, and got no drill */
  Month month;
} Told;

static void one_month(double share, const RotationBudget *given, Told *out) {
  Month *m = &out->month;
  month_open(m, databases(), SEED);
  m->budget = given ? *given : month_budget(m, share);
  out->forecast =
      rotation_forecast(m->items, m->item_count, m->database_count, 0, &m->budget, m->now_us, DAYS * DAY_US, NULL);
  CLEANUP_FREE double *needed = needs(m);
  month_run(m, DAYS);
  out->fairness = month_fairness(m, needed);
  out->unserved = 0;
  for (size_t i = 0; i < m->database_count; i++) {
    bool late = false;
    for (size_t k = i * KEPT; k < (i + 1) * KEPT; k++)
      late = late || rotation_urgency(&m->items[k], m->now_us) > 1;
    out->unserved += late && m->drills[i] == 0;
  }
}

static double days(int64_t at_us) {
  return at_us ? (double)(at_us - MONTH_BEGINS) / DAY_US : 0;
}

static void print_row(double share, const Told *told) {
  if (!printing())
    return;
  char foreseen[32] = "none", first[32] = "none";
  if (told->forecast.first_us)
    snprintf(foreseen, sizeof foreseen, "%.1f", days(told->forecast.first_us));
  if (told->month.first_late_us)
    snprintf(first, sizeof first, "%.1f", days(told->month.first_late_us));
  printf("| %.2f | %zu | %.1f | %zu | %.2f | %s | %s | %.2f | %.2f | %zu |\n", share, told->month.drilled,
         told->month.seconds_used / 3600 / DAYS, told->month.late_count, told->month.worst, foreseen, first,
         told->fairness, told->month.longest_wait, told->unserved);
}

static void print_factors(const Month *m) {
  if (!printing())
    return;
  printf("\n| factor | drills, low | proof's age | drills, high | proof's age | |\n|---|---|---|---|---|---|\n");
  for (int i = 0; i < ROTATION_FACTOR_COUNT; i++) {
    double low = m->without[i].sum / (double)m->without[i].count, high = m->with[i].sum / (double)m->with[i].count;
    printf("| %s | %zu | %.3f | %zu | %.3f | %+.0f %% |\n", rotation_factor_name((RotationFactor)i),
           m->without[i].count, low, m->with[i].count, high, 100 * (high / low - 1));
  }
}

/* Enough: no proof is ever older than its objective, and that was foreseen. */
static void test_enough(void **state) {
  (void)state;
  const double shares[] = {2, 1.5, 1.2};
  if (printing())
    printf(
        "| budget | drills | hours a day | too old | oldest | foreseen, day | first, day | fairness | longest wait | "
        "unserved |\n|---|---|---|---|---|---|---|---|---|---|\n");
  for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
    Told told;
    one_month(shares[i], NULL, &told);
    print_row(shares[i], &told);
    assert_true(told.forecast.enough);
    assert_int_equal(told.month.late_count, 0);
    assert_true(told.month.worst <= 1);
    assert_int_equal(told.unserved, 0);
    assert_true(told.month.seconds_used <= told.month.budget.seconds_per_day * DAYS * 1.02 + 40000);
    month_close(&told.month);
  }
}

/* Not enough: foreseen, when and that; nobody is left out; and with what the forecast says is needed, it is enough. */
static void test_short(void **state) {
  (void)state;
  const double shares[] = {0.6, 0.3};
  for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
    Told told, better;
    one_month(shares[i], NULL, &told);
    print_row(shares[i], &told);
    assert_false(told.forecast.enough);
    assert_true(told.forecast.missed > 0 && told.month.late_count > 0);
    double foreseen = days(told.forecast.first_us), first = days(told.month.first_late_us);
    assert_true(fabs(foreseen - first) <= 2);
    assert_true(told.fairness > 0.6);
    assert_int_equal(told.unserved, 0);
    assert_true(told.forecast.attainable);
    one_month(0, &told.forecast.needed, &better);
    assert_int_equal(better.month.late_count, 0);
    month_close(&told.month);
    month_close(&better.month);
  }
}

/* What is risky is drilled when its proof is younger. */
static void test_factors(void **state) {
  (void)state;
  Told told;
  one_month(1.5, NULL, &told);
  print_factors(&told.month);
  for (int i = 0; i < ROTATION_FACTOR_COUNT; i++) {
    const MonthMean *with = &told.month.with[i], *without = &told.month.without[i];
    assert_true(with->count > 0 && without->count > 0);
    if (i != ROTATION_CHECKPOINT_AGE) /* goes with other things: keeping long goes with rare checkpoints */
      assert_true(with->sum / (double)with->count < without->sum / (double)without->count);
  }
  month_close(&told.month);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_enough),
      cmocka_unit_test(test_short),
      cmocka_unit_test(test_factors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
