#include "coordinator/schedule/internal.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { BATCH = 500 };

void entries_free(Entry *entries, size_t count) {
  for (size_t i = 0; i < count; i++)
    ledger_schedule_release(&entries[i].row);
  free(entries);
}

static int by_name(const void *a, const void *b) {
  const Entry *left = a, *right = b;
  return strcmp(left->row.database, right->row.database);
}

Entry *entries_find(const Schedule *schedule, const char *database) {
  const Entry wanted = {.row = {.database = (char *)database}};
  return schedule->count ? bsearch(&wanted, schedule->entries, schedule->count, sizeof *schedule->entries, by_name)
                         : NULL;
}

/* FNV-1a, and then mixed: names that differ in their last character only are to be far apart. */
int64_t schedule_jitter_us(const char *database, int jitter_seconds) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char *at = database; *at; at++)
    hash = (hash ^ (uint8_t)*at) * 0x100000001b3u;
  hash = (hash ^ hash >> 31) * 0x9e3779b97f4a7c15u;
  hash ^= hash >> 29;
  return jitter_seconds > 0 ? (int64_t)(hash % ((uint64_t)jitter_seconds * 1000000)) : 0;
}

void entry_plan(Entry *entry, int64_t now_us) {
  int64_t last = entry->row.slot_us;
  if (last > now_us + SCHEDULE_AHEAD_US) {
    log_warn("the last run of a schedule lies in the future: the clock was wrong; it goes on from now", "database",
             entry->row.database, NULL);
    last = now_us;
  }
  entry->slot_us = cron_next(&entry->cron, entry->zone, last);
  entry->due_us = entry->slot_us == INT64_MAX ? INT64_MAX : entry->slot_us + entry->jitter_us;
}

static Status zone_of(Schedule *schedule, const char *name, Zone **out, Error *err) {
  for (size_t i = 0; i < schedule->zone_count; i++)
    if (strcmp(zone_name(schedule->zones[i]), name) == 0) {
      *out = schedule->zones[i];
      return STATUS_OK;
    }
  Status status = zone_open(name, out, err);
  if (status == STATUS_OK)
    ARRAY_PUSH(schedule->zones, schedule->zone_count, *out);
  return status;
}

/* known: what is remembered of it, or NULL. *begins: it begins now. */
static Status make_entry(Schedule *schedule, const FleetDatabase *database, const Entry *known, int64_t now_us,
                         Entry *out, bool *begins, Error *err) {
  const FleetSchedule *wanted = &database->policy.schedule;
  Entry entry = {.make_up = wanted->make_up,
                 .overlap = wanted->overlap,
                 .jitter_us = schedule_jitter_us(database->config.name, wanted->jitter_seconds)};
  Status status = cron_parse(wanted->cron, &entry.cron, err);
  if (status == STATUS_OK)
    status = zone_of(schedule, wanted->time_zone, &entry.zone, err);
  if (status != STATUS_OK)
    return error_prefix(err, "database %s", database->config.name);
  CLEANUP_FREE char *spec = memory_format("%s %s", wanted->cron, wanted->time_zone);
  *begins = !known || strcmp(known->row.spec, spec) != 0;
  entry.row =
      known ? ledger_schedule_copy(&known->row) : (LedgerSchedule){.database = memory_strdup(database->config.name)};
  if (*begins) {
    free(entry.row.spec);
    entry.row.spec = STEAL(spec);
    int64_t since = dispatch_fleet_since_us(schedule->dispatch);
    entry.row.slot_us = since < now_us ? since : now_us;
  }
  entry_plan(&entry, now_us);
  *out = entry;
  return STATUS_OK;
}

/* What is new is remembered, what is gone forgotten: so many in one transaction. */
static Status remember(Schedule *schedule, DispatchScheduled *changes, size_t count, Error *err) {
  Status status = STATUS_OK;
  for (size_t at = 0; status == STATUS_OK && at < count; at += BATCH)
    status = dispatch_schedule(schedule->dispatch, changes + at, count - at < BATCH ? count - at : BATCH, err);
  return status;
}

/* The rows of the ledger as if they were entries; only their rows count. */
static Status read_known(Schedule *schedule, Error *err) {
  LedgerSchedule *rows;
  size_t count;
  Status status = ledger_schedule_list(schedule->ledger, &rows, &count, err);
  if (status != STATUS_OK)
    return status;
  entries_free(schedule->entries, schedule->count);
  schedule->entries = memory_alloc((count + 1) * sizeof *schedule->entries);
  for (size_t i = 0; i < count; i++)
    schedule->entries[i].row = rows[i];
  schedule->count = count;
  qsort(schedule->entries, count, sizeof *schedule->entries, by_name);
  free(rows);
  schedule->known = true;
  return STATUS_OK;
}

typedef struct Making {
  Entry *entries;
  size_t count;
  DispatchScheduled *changes;
  size_t change_count;
} Making;

static void making_release(Making *making) {
  entries_free(making->entries, making->count);
  free(making->changes);
}

static Status make_all(Schedule *schedule, const Fleet *fleet, Making *making, Error *err) {
  int64_t now = dispatch_wall_us(schedule->dispatch);
  for (size_t i = 0; i < fleet_count(fleet); i++) {
    const FleetDatabase *database = fleet_at(fleet, i);
    if (!database->policy.schedule.cron)
      continue;
    bool begins = false;
    Entry *entry = &making->entries[making->count];
    Status status =
        make_entry(schedule, database, entries_find(schedule, database->config.name), now, entry, &begins, err);
    if (status != STATUS_OK)
      return status;
    making->count++;
    DispatchScheduled change = {.row = &entry->row};
    if (begins)
      ARRAY_PUSH(making->changes, making->change_count, change);
  }
  for (size_t i = 0; i < schedule->count; i++) {
    const FleetDatabase *database = fleet_database(fleet, schedule->entries[i].row.database);
    DispatchScheduled change = {.row = &schedule->entries[i].row, .removed = true};
    if (!database || !database->policy.schedule.cron)
      ARRAY_PUSH(making->changes, making->change_count, change);
  }
  return STATUS_OK;
}

Status entries_make(Schedule *schedule, bool writes, Error *err) {
  const Fleet *fleet = dispatch_fleet(schedule->dispatch);
  int64_t changes = dispatch_fleet_changes(schedule->dispatch);
  CLEANUP(making_release) Making making = {0};
  Status status = schedule->known ? STATUS_OK : read_known(schedule, err);
  making.entries = memory_alloc((fleet_count(fleet) + 1) * sizeof *making.entries);
  if (status == STATUS_OK)
    status = make_all(schedule, fleet, &making, err);
  if (status == STATUS_OK && writes)
    status = remember(schedule, making.changes, making.change_count, err);
  if (status != STATUS_OK)
    return status;
  entries_free(schedule->entries, schedule->count);
  schedule->entries = STEAL(making.entries);
  schedule->count = making.count;
  making.count = 0;
  schedule->heap = memory_resize(schedule->heap, schedule->count + 1, sizeof *schedule->heap);
  schedule->fleet_changes = changes;
  heap_make(schedule);
  return STATUS_OK;
}
