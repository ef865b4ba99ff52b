#include <math.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "coordinator/rotation/run_internal.h"

#define DAY_US ((int64_t)86400 * 1000000)
enum { HORIZON_DAYS = 60, OBJECTIVES_AHEAD = 2 };

/* ---- forecasts, on the pool ---- */

typedef struct RotationWork {
  uv_work_t request;
  Rotation *rotation;
  int64_t fleet_changes, now_us, horizon_us;
  RotationItem *items;
  char (*checkpoints)[ROTATION_ID_SIZE];
  size_t count, databases, unproven;
  bool *missed;
  RotationBudget budget;
  RotationForecast forecast;
} RotationWork;

static void work_free(RotationWork *work) {
  free(work->items);
  free(work->checkpoints);
  free(work->missed);
  free(work);
}

static void foresee(uv_work_t *request) { /* on the pool: it has what it needs to itself */
  RotationWork *work = request->data;
  work->forecast = rotation_forecast(work->items, work->count, work->databases, work->unproven, &work->budget,
                                     work->now_us, work->horizon_us, work->missed);
}

void rotation_forget(Rotation *rotation) {
  for (size_t i = 0; i < rotation->missing_count; i++)
    free(rotation->missing[i]);
  free(rotation->missing);
  free(rotation->first_database);
  rotation->missing = NULL;
  rotation->first_database = NULL;
  rotation->missing_count = 0;
  rotation->forecast_us = 0;
}

static void on_foreseen(uv_work_t *request, int status) {
  RotationWork *work = request->data;
  Rotation *rotation = work->rotation;
  const Fleet *fleet = dispatch_fleet(rotation->dispatch);
  rotation->work = NULL;
  if (status == 0 && work->fleet_changes == dispatch_fleet_changes(rotation->dispatch)) {
    rotation_forget(rotation);
    rotation->forecast = work->forecast;
    rotation->forecast_us = work->now_us;
    rotation->foreseen_us = clock_monotonic_us();
    for (size_t i = 0; i < work->databases && rotation->missing_count < ROTATION_SHOWN; i++)
      if (work->missed[i])
        ARRAY_PUSH(rotation->missing, rotation->missing_count, memory_strdup(fleet_at(fleet, i)->config.name));
    if (work->forecast.first_us) {
      size_t first = work->forecast.first;
      rotation->first_database = memory_strdup(fleet_at(fleet, work->items[first].database)->config.name);
      memcpy(rotation->first_checkpoint, work->checkpoints[first], ROTATION_ID_SIZE);
    }
  }
  work_free(work);
}

void rotation_foresee(Rotation *rotation) {
  if (rotation->work)
    return;
  CLEANUP_FREE const RotationEntry **entries = NULL;
  RotationWork *work = memory_alloc(sizeof *work);
  *work = (RotationWork){.rotation = rotation,
                         .fleet_changes = rotation->fleet_changes,
                         .now_us = clock_wall_us(),
                         .databases = rotation->database_count,
                         .budget = rotation->budget};
  work->request.data = work;
  work->count = rotation_items(rotation, &work->items, &entries);
  work->checkpoints = memory_alloc((work->count + 1) * sizeof *work->checkpoints);
  work->missed = memory_alloc(work->databases + 1);
  for (size_t i = 0; i < work->databases; i++)
    work->unproven += rotation->entries[i].unproven;
  int64_t longest_us = 0;
  for (size_t i = 0; i < work->count; i++) {
    memcpy(work->checkpoints[i], entries[i]->checkpoint, ROTATION_ID_SIZE);
    if (work->items[i].objective_us > longest_us)
      longest_us = work->items[i].objective_us;
  }
  work->horizon_us =
      OBJECTIVES_AHEAD * longest_us < HORIZON_DAYS * DAY_US ? OBJECTIVES_AHEAD * longest_us + 1 : HORIZON_DAYS * DAY_US;
  rotation->work = work;
  if (uv_queue_work(rotation->loop, &work->request, foresee, on_foreseen) == 0)
    return;
  rotation->work = NULL;
  work_free(work);
}

/* ---- what the API shows ---- */

static json_t *time_of(int64_t wall_us) {
  char text[CLOCK_TEXT_SIZE];
  return wall_us ? json_string(clock_format(wall_us, text)) : json_null();
}

static json_t *rounded(double value) {
  return json_real(round(value * 1000) / 1000);
}

static json_t *budget_of(const RotationBudget *budget) {
  return json_pack("{s:i, s:o, s:o}", "slots", budget->slots, "hours_per_day",
                   budget->seconds_per_day > 0 ? rounded(budget->seconds_per_day / 3600) : json_null(), "bytes_per_day",
                   budget->bytes_per_day > 0 ? json_integer((json_int_t)budget->bytes_per_day) : json_null());
}

static json_t *entry_json(const Rotation *rotation, const RotationEntry *entry, int64_t now_us) {
  const RotationItem *item = &entry->item;
  double factors[ROTATION_FACTOR_COUNT];
  json_t *risks = json_object();
  double risk = rotation_risk(item, now_us, factors);
  for (int i = 0; i < ROTATION_FACTOR_COUNT; i++)
    json_object_set_new(risks, rotation_factor_name((RotationFactor)i), rounded(factors[i]));
  return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "database",
                   fleet_at(dispatch_fleet(rotation->dispatch), item->database)->config.name, "checkpoint",
                   entry->checkpoint, "kind", rotation_kind_name(item->kind), "proven_at", time_of(item->proven_us),
                   "due_at", time_of(item->proven_us + item->objective_us), "urgency",
                   rounded(rotation_urgency(item, now_us)), "risk", rounded(risk), "score",
                   rounded(rotation_score(item, now_us)), "factors", risks);
}

static json_t *forecast_of(const Rotation *rotation) {
  const RotationForecast *forecast = &rotation->forecast;
  if (!rotation->forecast_us)
    return json_null();
  json_t *missing = json_array();
  for (size_t i = 0; i < rotation->missing_count; i++)
    json_array_append_new(missing, json_string(rotation->missing[i]));
  json_t *first = rotation->first_database
                      ? json_pack("{s:s, s:s, s:o}", "database", rotation->first_database, "checkpoint",
                                  rotation->first_checkpoint, "at", time_of(forecast->first_us))
                      : json_null();
  return json_pack("{s:o, s:o, s:b, s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "made_at", time_of(rotation->forecast_us),
                   "until", time_of(forecast->until_us), "enough", forecast->enough, "first_miss", first, "missed",
                   (json_int_t)forecast->missed, "missing_databases", (json_int_t)forecast->databases, "barred",
                   (json_int_t)forecast->barred, "unproven", (json_int_t)forecast->unproven, "databases", missing,
                   "needed", forecast->attainable ? budget_of(&forecast->needed) : json_null());
}

json_t *rotation_show(Rotation *rotation) {
  int64_t now_us = clock_wall_us();
  CLEANUP_FREE RotationItem *items = NULL;
  CLEANUP_FREE const RotationEntry **entries = NULL;
  size_t count = 0, late = 0;
  /* of another fleet: what there was is not there any more */
  if (rotation->fleet_changes == dispatch_fleet_changes(rotation->dispatch))
    count = rotation_items(rotation, &items, &entries);
  CLEANUP_FREE size_t *order = memory_alloc((count + 1) * sizeof *order);
  json_t *queue = json_array();
  size_t queued = count ? rotation_queue(items, count, &rotation->budget, rotation->served_us, now_us, order) : 0;
  for (size_t i = 0; i < queued && i < ROTATION_SHOWN; i++)
    json_array_append_new(queue, entry_json(rotation, entries[order[i]], now_us));
  for (size_t i = 0; i < count; i++)
    late += rotation_urgency(&items[i], now_us) > 1;
  RotationLoad load = rotation_load(items, count, &rotation->budget);
  return json_pack("{s:b, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "complete", rotation->complete, "budget",
                   budget_of(&rotation->budget), "load", rounded(load.share), "items", (json_int_t)count, "running",
                   (json_int_t)rotation->running, "late", (json_int_t)late, "queued", (json_int_t)queued, "queue",
                   queue, "forecast", forecast_of(rotation));
}

RotationNumbers rotation_numbers(const Rotation *rotation) {
  int64_t now_us = clock_wall_us();
  CLEANUP_FREE RotationItem *items = NULL;
  CLEANUP_FREE const RotationEntry **entries = NULL;
  RotationNumbers numbers = {.running = rotation->running,
                             .known = rotation->complete &&
                                      rotation->fleet_changes == dispatch_fleet_changes(rotation->dispatch),
                             .foreseen = rotation->forecast_us != 0,
                             .missed = rotation->forecast.databases};
  if (!numbers.known)
    return numbers;
  size_t count = rotation_items(rotation, &items, &entries);
  for (size_t i = 0; i < count; i++)
    numbers.late += rotation_urgency(&items[i], now_us) > 1;
  numbers.load = rotation_load(items, count, &rotation->budget).share;
  return numbers;
}
