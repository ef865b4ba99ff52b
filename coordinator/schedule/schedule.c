#include "coordinator/schedule/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { BATCH = 100, MISSED_LIMIT = 1000, TAG_SIZE = 48 };
#define AGAIN_US ((int64_t)1000000)
#define LOOK_US ((int64_t)60 * 1000000)

Status schedule_open(Dispatch *dispatch, Ledger *ledger, Schedule **out, Error *err) {
  Schedule *schedule = memory_alloc(sizeof *schedule);
  *schedule = (Schedule){.dispatch = dispatch, .ledger = ledger};
  Status status = entries_make(schedule, true, err);
  if (status != STATUS_OK) {
    schedule_close(schedule);
    return status;
  }
  *out = schedule;
  return STATUS_OK;
}

void schedule_close(Schedule *schedule) {
  if (!schedule)
    return;
  entries_free(schedule->entries, schedule->count);
  for (size_t i = 0; i < schedule->zone_count; i++)
    zone_close(schedule->zones[i]);
  free(schedule->zones);
  free(schedule->heap);
  free(schedule);
}

/* ---- one run ---- */

/* A run that is due, and what comes of it. The row is the entry's, changed; it is the entry's once it is durable. */
typedef struct Run {
  Entry *entry;
  LedgerSchedule row;
  char tag[TAG_SIZE];
  json_t *detail;
} Run;

static void run_release(Run *run) {
  ledger_schedule_release(&run->row);
  json_decref(run->detail);
}

static const char *slot_text(int64_t slot_us, char text[CLOCK_TEXT_SIZE]) { /* "2026-11-21T03:15Z" */
  clock_format(slot_us, text);
  memcpy(text + 16, "Z", 2);
  return text;
}

static void set_outcome(LedgerSchedule *row, const char *outcome) {
  free(row->outcome);
  row->outcome = memory_strdup(outcome);
}

typedef struct Missed {
  int64_t first_us, last_us, count; /* of slots; more than MISSED_LIMIT are not counted */
  int64_t on_time_us;               /* the slot that is due now and not late; 0: none */
} Missed;

/* The slots from the entry's next one up to now. */
static Missed look_back(const Entry *entry, int64_t now_us) {
  Missed missed = {.first_us = entry->slot_us};
  int64_t late_us = now_us - entry->jitter_us - SCHEDULE_LATE_US; /* slots before it are late */
  for (int64_t slot = entry->slot_us; slot + entry->jitter_us <= now_us;) {
    const int64_t gone = missed.on_time_us ? missed.on_time_us : slot < late_us ? slot : 0;
    if (gone && missed.count < MISSED_LIMIT) {
      missed.last_us = gone;
      missed.count++;
    }
    if (slot >= late_us)
      missed.on_time_us = slot;
    else if (missed.count == MISSED_LIMIT) /* the rest of them is passed over */
      missed.last_us = slot = late_us - 1;
    slot = cron_next(&entry->cron, entry->zone, slot);
    if (slot == INT64_MAX)
      break;
  }
  return missed;
}

static void ask(Run *run, DispatchScheduled *step, int64_t slot_us) {
  char text[CLOCK_TEXT_SIZE];
  snprintf(run->tag, sizeof run->tag, "scheduled-%s", slot_text(slot_us, text));
  step->tag = run->tag;
  set_outcome(&run->row, "requested");
}

static json_t *missed_detail(const Missed *missed, const char *action) {
  char first[CLOCK_TEXT_SIZE], last[CLOCK_TEXT_SIZE];
  return json_pack("{s:I, s:b, s:s, s:s, s:s}", "runs", (json_int_t)missed->count, "or_more",
                   missed->count == MISSED_LIMIT, "first", slot_text(missed->first_us, first), "last",
                   slot_text(missed->last_us, last), "action", action);
}

/* Only what was missed is made up for, and only if nothing else is due now anyway. */
static void decide(Run *run, DispatchScheduled *step, int64_t now_us, const char *obstacle /* or NULL */) {
  const Entry *entry = run->entry;
  LedgerSchedule *row = &run->row;
  const Missed missed = look_back(entry, now_us);
  const int64_t slot = missed.on_time_us ? missed.on_time_us : missed.last_us;
  const bool wanted = missed.on_time_us || entry->make_up, runs = wanted && !obstacle;
  char text[CLOCK_TEXT_SIZE];
  row->slot_us = slot;
  row->handled_us = now_us;
  if (missed.count > 0) {
    const char *action = runs ? (missed.on_time_us ? "next" : "run_once") : wanted ? "skipped" : "skip";
    row->missed_us = now_us;
    row->missed_count += missed.count;
    step->event = "schedule.missed";
    run->detail = missed_detail(&missed, action);
    set_outcome(row, "missed");
  } else if (!runs) {
    step->event = "schedule.skipped";
    run->detail = json_pack("{s:s, s:s}", "slot", slot_text(slot, text), "reason", obstacle);
  }
  if (wanted && !runs) {
    row->skipped_us = now_us;
    row->skipped_count++;
    set_outcome(row, "skipped");
  }
  if (runs)
    ask(run, step, slot);
  step->detail = run->detail;
  step->row = row;
}

/* ---- many ---- */

typedef struct Runs {
  Run items[BATCH];
  DispatchScheduled steps[BATCH];
  size_t count;
} Runs;

static void runs_release(Runs **runs) {
  for (size_t i = 0; i < (*runs)->count; i++)
    run_release(&(*runs)->items[i]);
  free(*runs);
}

static int64_t next_due(const Schedule *schedule) {
  return schedule->count ? schedule->entries[schedule->heap[0]].due_us : INT64_MAX;
}

/* Why it may not run now; NULL: it may. */
static Status find_obstacle(Schedule *schedule, const Entry *entry, const char **obstacle, Error *err) {
  int64_t dumps = 0;
  Status status = ledger_job_open_dumps(schedule->ledger, entry->row.database, &dumps, err);
  *obstacle = dispatch_held(schedule->dispatch, HOLD_DATABASE, entry->row.database) ? "it is cordoned"
              : dumps > 0 && !entry->overlap                                        ? "a dump of it is under way"
                                                                                    : NULL;
  return status;
}

/* Those that are due first, a batch of them at most. They are put behind all others in the heap until settle. */
static Status collect(Schedule *schedule, int64_t now_us, Runs *runs, Error *err) {
  Status status = STATUS_OK;
  while (status == STATUS_OK && runs->count < BATCH && next_due(schedule) <= now_us) {
    Entry *entry = &schedule->entries[schedule->heap[0]];
    Run *run = &runs->items[runs->count];
    const char *obstacle;
    status = find_obstacle(schedule, entry, &obstacle, err);
    *run = (Run){.entry = entry, .row = ledger_schedule_copy(&entry->row)};
    runs->steps[runs->count] = (DispatchScheduled){.from_us = entry->row.slot_us};
    decide(run, &runs->steps[runs->count], now_us, obstacle);
    runs->count++;
    entry->due_us = INT64_MAX;
    heap_sink(schedule, 0);
  }
  return status;
}

static void settle(Schedule *schedule, Runs *runs, bool durable, int64_t now_us) {
  for (size_t i = 0; i < runs->count; i++) {
    Entry *entry = runs->items[i].entry;
    if (durable) {
      LedgerSchedule before = entry->row;
      entry->row = runs->items[i].row;
      runs->items[i].row = before;
    }
    entry_plan(entry, now_us);
  }
  heap_make(schedule);
}

void schedule_forget(Schedule *schedule) {
  schedule->known = false;
  schedule->fleet_changes = 0;
}

static Status run_due(Schedule *schedule, int64_t now_us, Error *err) {
  CLEANUP(runs_release) Runs *runs = memory_alloc(sizeof *runs);
  Status status = collect(schedule, now_us, runs, err);
  if (status == STATUS_OK)
    status = dispatch_schedule(schedule->dispatch, runs->steps, runs->count, err);
  settle(schedule, runs, status == STATUS_OK, now_us);
  if (status == ERR_CONFLICT)
    schedule_forget(schedule);
  return status;
}

/* What is due may be sooner than it was thought to be. */
static void watch_clock(Schedule *schedule, int64_t now_us) {
  if (now_us < schedule->seen_us - SCHEDULE_LATE_US) {
    log_warn("the clock was set back; schedules wait until it has passed their last runs again", NULL);
    for (size_t i = 0; i < schedule->count; i++)
      entry_plan(&schedule->entries[i], now_us);
    heap_make(schedule);
  }
  schedule->seen_us = now_us;
}

int64_t schedule_run(Schedule *schedule) {
  Error err;
  Status status = STATUS_OK;
  if (schedule->fleet_changes != dispatch_fleet_changes(schedule->dispatch))
    status = entries_make(schedule, true, &err);
  int64_t now = dispatch_wall_us(schedule->dispatch);
  if (status == STATUS_OK)
    watch_clock(schedule, now);
  if (status == STATUS_OK && next_due(schedule) <= now)
    status = run_due(schedule, now, &err);
  if (status != STATUS_OK) {
    log_failure(LOG_LEVEL_ERROR, "what is due by schedule cannot be requested; it is tried again", &err);
    return AGAIN_US;
  }
  int64_t due = next_due(schedule), left = due == INT64_MAX ? AGAIN_US : due - dispatch_wall_us(schedule->dispatch);
  return left < 0 ? 0 : left > AGAIN_US ? AGAIN_US : left;
}

/* What is due is dealt with by the one that leads; what became of it is seen when its row is read again. */
static void pass_over(Schedule *schedule, int64_t now_us) {
  while (next_due(schedule) <= now_us) {
    Entry *entry = &schedule->entries[schedule->heap[0]];
    entry->row.slot_us = now_us - entry->jitter_us;
    entry_plan(entry, now_us);
    heap_sink(schedule, 0);
  }
}

void schedule_follow(Schedule *schedule) {
  int64_t changes = dispatch_fleet_changes(schedule->dispatch), now_us = clock_monotonic_us();
  if (schedule->fleet_changes != changes || now_us - schedule->looked_us >= LOOK_US) {
    Error err;
    schedule_forget(schedule);
    if (entries_make(schedule, false, &err) != STATUS_OK) {
      log_failure(LOG_LEVEL_WARN, "what the schedule remembers cannot be read; it is tried again", &err);
      return;
    }
    schedule->looked_us = now_us;
  }
  pass_over(schedule, dispatch_wall_us(schedule->dispatch));
}

/* ---- the view from outside ---- */

void schedule_look(Schedule *schedule) {
  Error err;
  if (schedule->fleet_changes == dispatch_fleet_changes(schedule->dispatch) || !dispatch_leads(schedule->dispatch))
    return;
  if (entries_make(schedule, true, &err) != STATUS_OK)
    log_failure(LOG_LEVEL_WARN, "the schedules of the new fleet cannot be made; it is tried again", &err);
}

static ScheduleEntry shown(const Entry *entry) {
  return (ScheduleEntry){&entry->row, entry->slot_us, entry->due_us};
}

static int by_due(const void *a, const void *b) {
  const ScheduleEntry *left = a, *right = b;
  if (left->due_us != right->due_us)
    return left->due_us < right->due_us ? -1 : 1;
  return strcmp(left->row->database, right->row->database);
}

size_t schedule_list(Schedule *schedule, bool (*sees)(const void *user, const char *database), const void *user,
                     size_t limit, ScheduleEntry **out) {
  ScheduleEntry *list = memory_alloc((schedule->count + 1) * sizeof *list);
  size_t count = 0;
  for (size_t i = 0; i < schedule->count; i++)
    if (!sees || sees(user, schedule->entries[i].row.database))
      list[count++] = shown(&schedule->entries[i]);
  qsort(list, count, sizeof *list, by_due);
  *out = list;
  return count < limit ? count : limit;
}

bool schedule_entry(Schedule *schedule, const char *database, ScheduleEntry *out) {
  const Entry *entry = entries_find(schedule, database);
  if (entry)
    *out = shown(entry);
  return entry != NULL;
}
