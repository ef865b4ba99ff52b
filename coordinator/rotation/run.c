#include "coordinator/rotation/run.h"

#include <string.h>
#include <sys/random.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "coordinator/rotation/run_internal.h"

enum { PICK_TICKS = 3, FORECAST_SECONDS = 300, SETTLE_SECONDS = 60 };

Rotation *rotation_open(uv_loop_t *loop, Dispatch *dispatch, Ledger *ledger) {
  Rotation *rotation = memory_alloc(sizeof *rotation);
  *rotation = (Rotation){
      .loop = loop, .dispatch = dispatch, .ledger = ledger, .fleet_changes = -1, .opened_us = clock_monotonic_us()};
  return rotation;
}

bool rotation_settled(const Rotation *rotation) {
  return clock_monotonic_us() - rotation->opened_us > (int64_t)SETTLE_SECONDS * 1000000;
}

/* One that was made before agents had come is soon made again. */
static bool forecast_old(const Rotation *rotation) {
  bool early = rotation->foreseen_us - rotation->opened_us < 2 * (int64_t)SETTLE_SECONDS * 1000000;
  int64_t age_us = clock_monotonic_us() - rotation->foreseen_us;
  return !rotation->forecast_us || age_us > (int64_t)(early ? SETTLE_SECONDS : FORECAST_SECONDS) * 1000000;
}

static void release_entries(Rotation *rotation) {
  for (size_t i = 0; i < rotation->database_count; i++)
    rotation_entries_release(&rotation->entries[i]);
  free(rotation->entries);
  free(rotation->busy);
  free(rotation->served_us);
}

void rotation_close(Rotation *rotation) {
  if (!rotation)
    return;
  release_entries(rotation);
  rotation_forget(rotation);
  free(rotation->asked);
  free(rotation);
}

/* Another fleet: everything anew, but for the purse. */
static void begin(Rotation *rotation, const Fleet *fleet) {
  const FleetCapacity *capacity = fleet_capacity(fleet);
  release_entries(rotation);
  rotation->database_count = fleet_count(fleet);
  rotation->entries = memory_alloc((rotation->database_count + 1) * sizeof *rotation->entries);
  rotation->busy = memory_alloc(rotation->database_count + 1);
  rotation->served_us = memory_alloc((rotation->database_count + 1) * sizeof *rotation->served_us);
  rotation->next = 0;
  rotation->complete = false;
  rotation->budget = (RotationBudget){.slots = capacity->slots > 0 ? capacity->slots : 1,
                                      .seconds_per_day = 3600.0 * capacity->hours_per_day,
                                      .bytes_per_day = (double)capacity->bytes_per_day};
  rotation->fleet_changes = dispatch_fleet_changes(rotation->dispatch);
  rotation_forget(rotation);
}

static Status go_round(Rotation *rotation, Error *err) {
  size_t turn = rotation->database_count / ROTATION_ROUND_SECONDS + 1;
  for (size_t i = 0; i < turn && rotation->next < rotation->database_count; i++) {
    Status status = rotation_collect(rotation, rotation->next, &rotation->entries[rotation->next], err);
    if (status != STATUS_OK)
      return status;
    rotation->next++;
  }
  if (rotation->next < rotation->database_count)
    return STATUS_OK;
  rotation->next = 0;
  rotation->complete = true;
  return STATUS_OK;
}

size_t rotation_items(const Rotation *rotation, RotationItem **items, const RotationEntry ***entries) {
  size_t count = 0;
  for (size_t i = 0; i < rotation->database_count; i++)
    count += rotation->entries[i].count;
  *items = memory_alloc((count + 1) * sizeof **items);
  *entries = memory_alloc((count + 1) * sizeof **entries);
  size_t at = 0;
  for (size_t i = 0; i < rotation->database_count; i++) {
    for (size_t j = 0; j < rotation->entries[i].count; j++) {
      (*entries)[at] = &rotation->entries[i].list[j];
      (*items)[at] = (*entries)[at]->item;
      (*items)[at++].blocked |= rotation->busy[i];
    }
  }
  return count;
}

/* ---- what is under way ---- */

static void settle(Rotation *rotation, const RotationAsked *asked) {
  CLEANUP(ledger_job_release) LedgerJob job = {0};
  Error ignored; /* then what was expected stands */
  if (ledger_job_get(rotation->ledger, asked->job, &job, &ignored) != STATUS_OK || !job.started_us)
    return;
  rotation_settle(&rotation->purse, (double)(job.finished_us - job.started_us) / 1e6 - asked->expected, 0);
}

static bool is_open(const LedgerJob *jobs, size_t count, const char *id) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(jobs[i].id, id) == 0)
      return true;
  return false;
}

static size_t number_of(const Rotation *rotation, const char *name) {
  const Fleet *fleet = dispatch_fleet(rotation->dispatch);
  size_t low = 0, high = rotation->database_count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(fleet_at(fleet, middle)->config.name, name);
    if (order == 0)
      return middle;
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return SIZE_MAX;
}

static Status look(Rotation *rotation, Error *err) {
  LedgerJob *jobs = NULL;
  size_t count = 0;
  Status status = ledger_job_open(rotation->ledger, &jobs, &count, err);
  if (status != STATUS_OK)
    return status;
  memset(rotation->busy, 0, rotation->database_count);
  rotation->running = 0;
  for (size_t i = 0; i < count; i++) {
    size_t number = jobs[i].kind == LEDGER_JOB_DRILL || jobs[i].kind == LEDGER_JOB_TRIAL
                        ? number_of(rotation, jobs[i].database)
                        : SIZE_MAX;
    if (number != SIZE_MAX)
      rotation->busy[number] = true;
    rotation->running += dispatch_is_rotation(&jobs[i]);
  }
  for (size_t i = rotation->asked_count; i-- > 0;) {
    if (is_open(jobs, count, rotation->asked[i].job))
      continue;
    settle(rotation, &rotation->asked[i]);
    rotation->asked[i] = rotation->asked[--rotation->asked_count];
  }
  ledger_job_list_free(jobs, count);
  return STATUS_OK;
}

/* ---- asking ---- */

static uint64_t any_number(void) {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
    number = (uint64_t)clock_monotonic_us();
  return number;
}

static void ask(Rotation *rotation, const RotationEntry *entry) {
  size_t number = entry->item.database;
  const char *name = fleet_at(dispatch_fleet(rotation->dispatch), number)->config.name;
  CLEANUP_FREE char *key = entry->period ? rotation_key_of(name, entry->item.kind, entry->period) : NULL;
  CLEANUP_FREE char *job = NULL;
  bool joined = false;
  Error err;
  Status status = dispatch_request_rotation(rotation->dispatch, entry->checkpoint, entry->item.kind, any_number(), key,
                                            &job, &joined, &err);
  rotation->busy[number] = true; /* whatever came of it: something else first */
  rotation->served_us[number] = clock_wall_us();
  if (status != STATUS_OK || joined) { /* it was condemned or pruned meanwhile, or somebody else asked */
    rotation_settle(&rotation->purse, -entry->item.seconds, -(double)entry->item.bytes);
    if (status != STATUS_OK && status != ERR_CONFLICT && status != ERR_NOT_FOUND && status != ERR_TOO_MANY)
      log_failure(LOG_LEVEL_ERROR, "a drill of the rotation could not be asked for", &err);
    return;
  }
  RotationAsked asked = {.expected = entry->item.seconds};
  snprintf(asked.job, sizeof asked.job, "%s", job);
  ARRAY_PUSH(rotation->asked, rotation->asked_count, asked);
  rotation->running++;
}

static void ask_for_some(Rotation *rotation) {
  int64_t now_us = clock_wall_us();
  rotation_fill(&rotation->purse, &rotation->budget, now_us);
  size_t slots = (size_t)rotation->budget.slots;
  if (rotation->running >= slots)
    return;
  CLEANUP_FREE RotationItem *items = NULL;
  CLEANUP_FREE const RotationEntry **entries = NULL;
  size_t count = rotation_items(rotation, &items, &entries), room = slots - rotation->running;
  CLEANUP_FREE size_t *picks = memory_alloc((room + 1) * sizeof *picks);
  size_t picked =
      rotation_pick(items, count, &rotation->budget, rotation->served_us, &rotation->purse, now_us, room, picks);
  for (size_t i = 0; i < picked; i++)
    ask(rotation, entries[picks[i]]);
}

static bool anything(const Rotation *rotation) {
  for (size_t i = 0; i < rotation->database_count; i++)
    if (rotation->entries[i].count > 0)
      return true;
  return false;
}

void rotation_tick(Rotation *rotation) {
  const Fleet *fleet = dispatch_fleet(rotation->dispatch);
  Error err;
  if (rotation->fleet_changes != dispatch_fleet_changes(rotation->dispatch))
    begin(rotation, fleet);
  Status status = go_round(rotation, &err);
  if (status == STATUS_OK && rotation->complete && rotation->ticks++ % PICK_TICKS == 0 && anything(rotation)) {
    status = look(rotation, &err);
    if (status == STATUS_OK)
      ask_for_some(rotation);
  }
  if (status != STATUS_OK)
    log_failure(LOG_LEVEL_ERROR, "the rotation of drills could not be looked after", &err);
  else if (rotation->complete && forecast_old(rotation))
    rotation_foresee(rotation);
}
