/* Ranking, picking and forecasting, one rule at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/coordinator/rotation/month.h"

#define NOW MONTH_BEGINS
static const RotationBudget plenty = {.slots = 100};

static RotationItem item_of(size_t database, double urgency) {
  return (RotationItem){.database = database,
                        .kind = ROTATION_LATEST,
                        .proven_us = NOW - (int64_t)(urgency * 10 * DAY_US),
                        .objective_us = 10 * DAY_US,
                        .finished_us = NOW - 20 * DAY_US,
                        .bytes = 1000000,
                        .seconds = 60,
                        .environment = 0.25};
}

static RotationPurse full_purse(const RotationBudget *budget) {
  RotationPurse purse = {0};
  rotation_fill(&purse, budget, NOW - DAY_US);
  rotation_fill(&purse, budget, NOW);
  return purse;
}

static size_t pick(const RotationItem *items, size_t count, const RotationBudget *budget, size_t limit, size_t *picks) {
  int64_t served[64] = {0};
  RotationPurse purse = full_purse(budget);
  return rotation_pick(items, count, budget, served, &purse, NOW, limit, picks);
}

static void test_names(void **state) {
  (void)state;
  RotationKind kind;
  for (int i = 0; i < ROTATION_KINDS; i++) {
    assert_true(rotation_kind_from_name(rotation_kind_name((RotationKind)(1 << i)), &kind));
    assert_int_equal(kind, 1 << i);
  }
  assert_false(rotation_kind_from_name("newest", &kind));
  assert_string_equal(rotation_kind_name(ROTATION_LATEST | ROTATION_OLD), "unknown");
  assert_string_equal(rotation_factor_name(ROTATION_MAJOR_CHANGED), "major_changed");
  assert_true(rotation_environment("production") > rotation_environment("Staging"));
  assert_true(rotation_environment("staging-2") > rotation_environment(""));
}

static void test_weights_add_up(void **state) {
  (void)state;
  double sum = 0;
  for (int i = 0; i < ROTATION_FACTOR_COUNT; i++) {
    assert_true(rotation_weights[i] > 0);
    sum += rotation_weights[i];
  }
  assert_true(fabs(sum - 1) < 1e-9);
}

/* Each factor alone raises the risk, by its weight, and nothing else does. */
static void test_each_factor_counts(void **state) {
  (void)state;
  RotationItem plain = item_of(0, 0.5);
  plain.environment = 0;
  plain.finished_us = NOW;
  assert_true(rotation_risk(&plain, NOW, NULL) == 0);
  for (int factor = 0; factor < ROTATION_FACTOR_COUNT; factor++) {
    RotationItem risky = plain;
    double factors[ROTATION_FACTOR_COUNT];
    if (factor == ROTATION_ENVIRONMENT)
      risky.environment = 7; /* bounded */
    else if (factor == ROTATION_CHECKPOINT_AGE)
      risky.finished_us = NOW - 3000 * DAY_US;
    else if (factor == ROTATION_CHANGE)
      risky.change = INFINITY;
    else
      risky.changed = 1u << factor;
    double risk = rotation_risk(&risky, NOW, factors);
    assert_true(fabs(risk - rotation_weights[factor] * factors[factor]) < 1e-9);
    assert_true(factors[factor] > 0.98 && factors[factor] <= 1);
    assert_true(rotation_score(&risky, NOW) > rotation_score(&plain, NOW));
  }
}

static void test_odd_numbers_are_bounded(void **state) {
  (void)state;
  RotationItem item = item_of(0, 0.5);
  item.change = NAN;
  item.environment = -3;
  item.finished_us = NOW + DAY_US; /* the clock was set back */
  assert_true(rotation_risk(&item, NOW, NULL) == 0);
  item.proven_us = NOW + DAY_US;
  assert_true(rotation_urgency(&item, NOW) == 0);
  item.objective_us = 0;
  size_t picks[1];
  assert_int_equal(pick(&item, 1, &plenty, 1, picks), 0);
}

static void test_due_go_by_deadline(void **state) {
  (void)state;
  RotationItem items[] = {item_of(0, 0.85), item_of(1, 0.95), item_of(2, 0.9), item_of(3, 0.3)};
  items[0].environment = 1; /* the riskiest is not before an earlier deadline */
  size_t picks[4];
  assert_int_equal(pick(items, 4, &plenty, 4, picks), 3);
  assert_int_equal(picks[0], 1);
  assert_int_equal(picks[1], 2);
  assert_int_equal(picks[2], 0);
}

static void test_early_ones_go_by_score(void **state) {
  (void)state;
  RotationItem items[] = {item_of(0, 0.6), item_of(1, 0.55), item_of(2, 0.2)};
  items[1].environment = 1;
  items[1].changed = 1u << ROTATION_KEY_CHANGED;
  items[2].environment = 1; /* too early, whatever its risk */
  size_t picks[3];
  assert_int_equal(pick(items, 3, &plenty, 3, picks), 2);
  assert_int_equal(picks[0], 1);
  assert_int_equal(picks[1], 0);
}

static void test_one_of_a_database_and_none_blocked(void **state) {
  (void)state;
  RotationItem items[] = {item_of(0, 0.95), item_of(0, 0.9), item_of(1, 0.85), item_of(2, 0.99)};
  items[1].kind = ROTATION_OLD;
  items[3].blocked = true;
  size_t picks[4];
  assert_int_equal(pick(items, 4, &plenty, 4, picks), 2);
  assert_int_equal(picks[0], 0);
  assert_int_equal(picks[1], 2);
}

static void test_limit_and_budget_hold(void **state) {
  (void)state;
  RotationItem items[10];
  size_t picks[10];
  for (size_t i = 0; i < 10; i++)
    items[i] = item_of(i, 0.9 + 0.001 * (double)i);
  assert_int_equal(pick(items, 10, &plenty, 3, picks), 3);
  RotationBudget hours = {.slots = 10, .seconds_per_day = 600}; /* a quarter of it is in the purse: 150 s */
  assert_int_equal(pick(items, 10, &hours, 10, picks), 3);
  RotationBudget bytes = {.slots = 10, .bytes_per_day = 6000000};
  assert_int_equal(pick(items, 10, &bytes, 10, picks), 2);
}

/* A database that is larger than a day's budget gets its drill, and the others wait until that is paid. */
static void test_a_large_one_overdraws_and_is_paid_back(void **state) {
  (void)state;
  RotationItem items[] = {item_of(0, 0.99), item_of(1, 0.9)};
  items[0].seconds = 7200;
  RotationBudget budget = {.slots = 2, .seconds_per_day = 3600};
  int64_t served[2] = {0};
  size_t picks[2];
  RotationPurse purse = full_purse(&budget);
  assert_int_equal(rotation_pick(items, 2, &budget, served, &purse, NOW, 2, picks), 1);
  assert_int_equal(picks[0], 0);
  items[0].proven_us = NOW;
  rotation_fill(&purse, &budget, NOW + DAY_US);
  assert_int_equal(rotation_pick(items, 2, &budget, served, &purse, NOW + DAY_US, 2, picks), 0);
  rotation_fill(&purse, &budget, NOW + 2 * DAY_US);
  assert_int_equal(rotation_pick(items, 2, &budget, served, &purse, NOW + 2 * DAY_US, 2, picks), 1);
  assert_int_equal(picks[0], 1);
}

static void test_what_a_drill_took_is_settled(void **state) {
  (void)state;
  RotationBudget budget = {.slots = 1, .seconds_per_day = 4000};
  RotationPurse purse = full_purse(&budget);
  assert_true(fabs(purse.seconds - 1000) < 1e-6);
  rotation_settle(&purse, 300, 0);
  assert_true(fabs(purse.seconds - 700) < 1e-6);
  rotation_fill(&purse, &budget, NOW - DAY_US); /* the clock was set back: nothing is given out twice */
  assert_true(fabs(purse.seconds - 700) < 1e-6);
}

static void test_load(void **state) {
  (void)state;
  RotationItem items[] = {item_of(0, 0), item_of(1, 0)};
  items[1].every_us = 2 * DAY_US; /* proves itself anew */
  RotationBudget budget = {.slots = 1, .seconds_per_day = 12};
  RotationLoad load = rotation_load(items, 2, &budget);
  assert_true(fabs(load.seconds - 6) < 1e-9 && fabs(load.bytes - 1e5) < 1e-3 && fabs(load.share - 0.5) < 1e-9);
  items[1].every_us = 20 * DAY_US;
  assert_true(fabs(rotation_load(items, 2, &budget).share - 1) < 1e-9);
  budget.bytes_per_day = 1e5;
  assert_true(fabs(rotation_load(items, 2, &budget).share - 2) < 1e-9);
}

/* One database keeps many, and all of them are late: the others' are not behind them. */
static void test_short_of_budget_no_database_starves(void **state) {
  (void)state;
  enum { MANY = 200, OTHERS = 10 };
  RotationItem items[MANY + OTHERS];
  for (size_t i = 0; i < MANY; i++) {
    items[i] = item_of(0, 5);
    items[i].kind = i ? ROTATION_OLD : ROTATION_LATEST;
  }
  for (size_t i = 0; i < OTHERS; i++) {
    items[MANY + i] = item_of(1 + i, 1.1);
    items[MANY + i].kind = i % 2 ? ROTATION_OLD : ROTATION_LATEST;
  }
  RotationBudget budget = {.slots = 1, .seconds_per_day = 600};
  int64_t served[OTHERS + 1] = {0};
  RotationPurse purse = {0};
  for (int64_t at = NOW; at < NOW + 3 * DAY_US; at += DAY_US / 24) {
    size_t picked;
    rotation_fill(&purse, &budget, at);
    if (rotation_pick(items, MANY + OTHERS, &budget, served, &purse, at, 1, &picked) == 0)
      continue;
    items[picked].proven_us = served[items[picked].database] = at;
  }
  for (size_t i = 0; i <= OTHERS; i++)
    assert_true(served[i] > 0);
}

static void test_queue_is_the_order_of_picking(void **state) {
  (void)state;
  RotationItem items[] = {item_of(0, 0.85), item_of(1, 0.95), item_of(2, 0.6), item_of(1, 0.96), item_of(4, 0.1)};
  int64_t served[8] = {0};
  size_t order[5];
  items[1].blocked = true; /* is shown all the same */
  assert_int_equal(rotation_queue(items, 5, &plenty, served, NOW, order), 4);
  const size_t expected[] = {3, 1, 0, 2};
  for (size_t i = 0; i < 4; i++)
    assert_int_equal(order[i], expected[i]);
}

static void test_forecast_of_nothing(void **state) {
  (void)state;
  RotationForecast forecast = rotation_forecast(NULL, 0, 0, 0, &plenty, NOW, 30 * DAY_US, NULL);
  assert_true(forecast.enough && forecast.attainable && forecast.missed == 0 && forecast.first_us == 0);
  RotationItem item = item_of(0, 0.5);
  for (int64_t horizon_us = 0; horizon_us < 2; horizon_us++) /* no time: nothing to foresee */
    assert_true(rotation_forecast(&item, 1, 1, 0, &plenty, NOW, horizon_us, NULL).enough);
}

/* A database so small that its drill takes no time, and an objective shorter than any step: due again at once. */
static void test_forecast_ends_where_drills_cost_nothing(void **state) {
  (void)state;
  RotationItem items[] = {item_of(0, 0.5), item_of(1, 0.5)};
  items[0].seconds = 0;
  items[0].bytes = 0;
  items[0].objective_us = 1000000;
  RotationForecast forecast = rotation_forecast(items, 2, 2, 0, &plenty, NOW, 30 * DAY_US, NULL);
  assert_int_equal(forecast.until_us, NOW + 30 * DAY_US);
}

static void test_forecast_counts_what_is_late_apart(void **state) {
  (void)state;
  RotationItem items[] = {item_of(0, 1.5), item_of(1, 0.2)};
  RotationForecast forecast = rotation_forecast(items, 2, 2, 0, &plenty, NOW, 30 * DAY_US, NULL);
  assert_int_equal(forecast.late, 1);
  assert_true(forecast.enough); /* it is made up for, and does not happen again */
}

/* Half of what is needed: it says when, who, and what would do. */
static void test_forecast_of_a_shortfall(void **state) {
  (void)state;
  enum { COUNT = 20 };
  RotationItem items[COUNT];
  bool missed[COUNT] = {0};
  for (size_t i = 0; i < COUNT; i++)
    items[i] = item_of(i, 0.04 * (double)i);
  RotationBudget half = {.slots = 1, .seconds_per_day = 60, .bytes_per_day = 5e6};
  RotationForecast forecast = rotation_forecast(items, COUNT, COUNT, 0, &half, NOW, 30 * DAY_US, missed);
  assert_true(forecast.load.share > 1.9 && !forecast.enough && forecast.attainable);
  assert_true(forecast.first_us > NOW + 2 * DAY_US && forecast.first_us < NOW + 20 * DAY_US);
  assert_true(forecast.missed > 0 && forecast.databases == forecast.missed);
  assert_true(missed[items[forecast.first].database]);
  assert_true(forecast.needed.seconds_per_day >= 120 && forecast.needed.bytes_per_day == half.bytes_per_day);
  RotationForecast again = rotation_forecast(items, COUNT, COUNT, 0, &forecast.needed, NOW, 30 * DAY_US, missed);
  assert_true(again.enough && again.missed == 0);
}

/* No budget helps where no agent offers what a drill needs: it is not enough, and none is asked for. */
static void test_forecast_counts_on_nobody_for_what_is_barred(void **state) {
  (void)state;
  RotationItem items[] = {item_of(0, 0.2), item_of(1, 0.2), item_of(1, 0.1)};
  bool missed[2] = {0};
  items[1].barred = items[2].barred = true;
  items[1].every_us = DAY_US; /* others follow it, and nobody is there to prove those */
  items[2].kind = ROTATION_OLD;
  RotationForecast forecast = rotation_forecast(items, 3, 2, 0, &plenty, NOW, 30 * DAY_US, missed);
  assert_false(forecast.enough);
  assert_true(!missed[0] && missed[1]);
  assert_int_equal(forecast.barred, 1);
  assert_int_equal(forecast.missed, 2);
  assert_int_equal(forecast.first_us, NOW + 8 * DAY_US);
  assert_true(forecast.attainable && memcmp(&forecast.needed, &plenty, sizeof plenty) == 0);
  /* within its objective still: yet nobody is there */
  assert_false(rotation_forecast(items, 3, 2, 0, &plenty, NOW, DAY_US, NULL).enough);
}

static void test_forecast_of_what_was_never_proven(void **state) {
  (void)state;
  RotationForecast forecast = rotation_forecast(NULL, 0, 3, 3, &plenty, NOW, 30 * DAY_US, NULL);
  assert_true(!forecast.enough && forecast.attainable && forecast.missed == 0);
  assert_int_equal(forecast.unproven, 3);
  RotationItem item = item_of(0, 0.5);
  assert_false(rotation_forecast(&item, 1, 2, 1, &plenty, NOW, 30 * DAY_US, NULL).enough);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names),
      cmocka_unit_test(test_weights_add_up),
      cmocka_unit_test(test_each_factor_counts),
      cmocka_unit_test(test_odd_numbers_are_bounded),
      cmocka_unit_test(test_due_go_by_deadline),
      cmocka_unit_test(test_early_ones_go_by_score),
      cmocka_unit_test(test_one_of_a_database_and_none_blocked),
      cmocka_unit_test(test_limit_and_budget_hold),
      cmocka_unit_test(test_a_large_one_overdraws_and_is_paid_back),
      cmocka_unit_test(test_what_a_drill_took_is_settled),
      cmocka_unit_test(test_load),
      cmocka_unit_test(test_short_of_budget_no_database_starves),
      cmocka_unit_test(test_queue_is_the_order_of_picking),
      cmocka_unit_test(test_forecast_of_nothing),
      cmocka_unit_test(test_forecast_ends_where_drills_cost_nothing),
      cmocka_unit_test(test_forecast_counts_what_is_late_apart),
      cmocka_unit_test(test_forecast_of_a_shortfall),
      cmocka_unit_test(test_forecast_counts_on_nobody_for_what_is_barred),
      cmocka_unit_test(test_forecast_of_what_was_never_proven),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
