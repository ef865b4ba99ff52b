/* Forecast: the same picking, over time to come. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/rotation/internal.h"

/* How much work a forecast may be: a few seconds at most. */
enum { STEPS_MOST = 1000, STEPS_LEAST = 30, WORK_MOST = 2000000, TRIES = 5 };

typedef struct Future {
  RotationItem *items;
  size_t count;
  const RotationBudget *budget;
  int64_t *served_us;
  size_t *picks;
  bool *late;   /* by item: it is too old already, and not made anew yet */
  bool *missed; /* by item */
  bool *counts; /* by item: its objective is one that may be missed */
  RotationPurse purse;
  int64_t first_us;
  size_t first, missed_count;
} Future;

static void future_release(Future *future) {
  free(future->items);
  free(future->served_us);
  free(future->picks);
  free(future->late);
  free(future->missed);
  free(future->counts);
}

static int64_t deadline_of(const RotationItem *item) {
  return item->proven_us + item->objective_us;
}

/* A newest checkpoint that others follow counts, too, where nobody is there to prove those. */
static bool is_at_stake(const RotationItem *item, bool barred) {
  return item->barred ? barred : rotation_concerns(item);
}

/* barred: what is barred counts, and is missed; else it is left out. */
static void future_open(Future *future, const RotationItem *items, size_t count, size_t databases,
                        const RotationBudget *budget, int64_t now_us, bool barred) {
  *future = (Future){.items = memory_alloc((count + 1) * sizeof *items),
                     .budget = budget,
                     .served_us = memory_alloc((databases + 1) * sizeof *future->served_us),
                     .picks = memory_alloc((count + 1) * sizeof *future->picks),
                     .late = memory_alloc(count + 1),
                     .missed = memory_alloc(count + 1),
                     .counts = memory_alloc(count + 1),
                     .count = count};
  for (size_t i = 0; i < count; i++) {
    future->items[i] = items[i];
    future->counts[i] = is_at_stake(&items[i], barred);
    future->items[i].blocked = items[i].barred || !future->counts[i];
    future->late[i] = future->counts[i] && deadline_of(&items[i]) < now_us;
  }
  rotation_fill(&future->purse, budget, now_us);
}

static void miss(Future *future, size_t index, int64_t when_us) {
  if (!future->missed[index])
    future->missed_count++;
  future->missed[index] = true;
  if (future->first_us == 0 || when_us < future->first_us) {
    future->first_us = when_us;
    future->first = index;
  }
}

static void look_for_misses(Future *future, int64_t now_us) {
  for (size_t i = 0; i < future->count; i++) {
    const RotationItem *item = &future->items[i];
    if (future->counts[i] && !future->late[i] && !future->missed[i] && deadline_of(item) < now_us)
      miss(future, i, deadline_of(item));
  }
}

/* What can be drilled in the step that ends at now_us, one after the other in the order of picking: as many drills as
 * there are items at the most, since where a drill costs next to nothing and a proof ages in less than a step, there is
 * no end. */
static void step(Future *future, int64_t now_us, int64_t step_us) {
  RotationPurse *purse = &future->purse;
  rotation_fill_up_to(purse, future->budget, now_us, fmax(ROTATION_PURSE_DAYS, (double)step_us / 86400e6));
  double seconds = purse->seconds, bytes = future->budget->bytes_per_day > 0 ? purse->bytes : INFINITY;
  double seconds_used = 0, bytes_used = 0;
  size_t left = future->count;
  for (size_t picked = 1; picked > 0 && left > 0; left -= picked) { /* one of each database at a time */
    picked = rotation_pick(future->items, future->count, future->budget, future->served_us, purse, now_us, left,
                           future->picks);
    for (size_t i = 0; i < picked; i++) {
      RotationItem *item = &future->items[future->picks[i]];
      seconds_used += item->seconds;
      bytes_used += (double)item->bytes;
      double used = fmin(1, fmax(seconds_used / seconds, bytes_used / bytes));
      item->proven_us = now_us - (int64_t)((1 - used) * (double)step_us);
      item->changed = 0;
      future->served_us[item->database] = item->proven_us;
      future->late[future->picks[i]] = false;
    }
  }
}

static void run(Future *future, int64_t now_us, int64_t horizon_us) {
  int64_t shortest_us = horizon_us;
  for (size_t i = 0; i < future->count; i++)
    if (!future->items[i].blocked && future->items[i].objective_us < shortest_us)
      shortest_us = future->items[i].objective_us;
  double steps = fmin(64.0 * (double)horizon_us / (double)(shortest_us > 0 ? shortest_us : 1), STEPS_MOST);
  double bearable = (double)WORK_MOST / (double)(future->count + 1);
  steps = fmax(STEPS_LEAST, fmin(steps, bearable));
  int64_t step_us = (int64_t)((double)horizon_us / steps);
  if (future->count == 0 || step_us <= 0)
    return;
  for (int64_t at = now_us + step_us; at <= now_us + horizon_us; at += step_us) {
    look_for_misses(future, at);
    step(future, at, step_us);
  }
}

static size_t foresee(const RotationItem *items, size_t count, size_t databases, const RotationBudget *budget,
                      int64_t now_us, int64_t horizon_us, RotationForecast *out, bool *missed) {
  CLEANUP(future_release) Future future;
  future_open(&future, items, count, databases, budget, now_us, out != NULL);
  run(&future, now_us, horizon_us);
  if (!out)
    return future.missed_count;
  CLEANUP_FREE bool *seen = memory_alloc(databases + 1);
  for (size_t i = 0; i < count; i++) {
    out->late += future.counts[i] && deadline_of(&items[i]) < now_us;
    if (!future.missed[i] || seen[items[i].database])
      continue;
    seen[items[i].database] = true;
    out->databases++;
  }
  if (missed)
    memcpy(missed, seen, databases);
  out->first_us = future.first_us;
  out->first = future.first;
  out->missed = future.missed_count;
  return future.missed_count;
}

static RotationBudget scaled(const RotationBudget *budget, const RotationLoad *load, double factor) {
  RotationBudget more = *budget;
  double slots = budget->slots > 0 ? budget->slots : 1;
  double seconds = fmax(load->seconds * factor, budget->seconds_per_day);
  if (budget->seconds_per_day > 0)
    more.seconds_per_day = ceil(seconds / 3600) * 3600;
  if (budget->bytes_per_day > 0)
    more.bytes_per_day = ceil(fmax(load->bytes * factor, budget->bytes_per_day));
  more.slots = (int)fmin(fmax(slots, ceil(fmax(load->seconds * factor, more.seconds_per_day) / 86400)), 1e6);
  return more;
}

static size_t count_barred(const RotationItem *items, size_t count, size_t databases) {
  CLEANUP_FREE bool *seen = memory_alloc(databases + 1);
  size_t barred = 0;
  for (size_t i = 0; i < count; i++) {
    barred += items[i].barred && !seen[items[i].database];
    seen[items[i].database] |= items[i].barred;
  }
  return barred;
}

RotationForecast rotation_forecast(const RotationItem *items, size_t count, size_t databases, size_t unproven,
                                   const RotationBudget *budget, int64_t now_us, int64_t horizon_us, bool *missed) {
  RotationForecast forecast = {.load = rotation_load(items, count, budget),
                               .until_us = now_us + horizon_us,
                               .barred = count_barred(items, count, databases),
                               .unproven = unproven,
                               .needed = *budget};
  bool none_missed = foresee(items, count, databases, budget, now_us, horizon_us, &forecast, missed) == 0;
  forecast.enough = none_missed && forecast.barred == 0 && unproven == 0;
  forecast.attainable = none_missed || (forecast.barred > 0 &&
                                        foresee(items, count, databases, budget, now_us, horizon_us, NULL, NULL) == 0);
  double factor = 1.1;
  for (int i = 0; !forecast.attainable && i < TRIES; i++, factor *= 1.5) {
    forecast.needed = scaled(budget, &forecast.load, factor);
    forecast.attainable = foresee(items, count, databases, &forecast.needed, now_us, horizon_us, NULL, NULL) == 0;
  }
  return forecast;
}
