#include "coordinator/overview/overview.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

#define SECOND_US ((int64_t)1000000)

struct Overview {
  Dispatch *dispatch;
  Ledger *ledger;
  Schedule *schedule;
  LedgerNewest *known; /* by name */
  size_t known_count;
  int64_t sequence; /* up to which event it is known; -1: nothing is */
  OverviewRow *rows;
};

static const char *const attention_names[OVERVIEW_ATTENTIONS] = {"never_sealed", "failing", "proof_old", "data_old",
                                                                 "restore_slow"};

const char *overview_attention_name(OverviewAttention attention) {
  for (int i = 0; i < OVERVIEW_ATTENTIONS; i++)
    if (attention == 1u << i)
      return attention_names[i];
  return "unknown";
}

Overview *overview_open(Dispatch *dispatch, Ledger *ledger) {
  Overview *overview = memory_alloc(sizeof *overview);
  *overview = (Overview){.dispatch = dispatch, .ledger = ledger, .sequence = -1};
  return overview;
}

void overview_schedule(Overview *overview, Schedule *schedule) {
  overview->schedule = schedule;
}

void overview_close(Overview *overview) {
  if (!overview)
    return;
  ledger_newest_list_free(overview->known, overview->known_count);
  free(overview->rows);
  free(overview);
}

/* ---- what the ledger says ---- */

static int by_name(const void *a, const void *b) {
  const LedgerNewest *left = a, *right = b;
  return strcmp(left->database, right->database);
}

static LedgerNewest *find(const Overview *overview, const char *database) {
  const LedgerNewest wanted = {.database = (char *)database};
  return overview->known_count
             ? bsearch(&wanted, overview->known, overview->known_count, sizeof *overview->known, by_name)
             : NULL;
}

/* Takes the items. */
static void merge(Overview *overview, LedgerNewest *items, size_t count) {
  size_t added = 0;
  for (size_t i = 0; i < count; i++) {
    LedgerNewest *known = find(overview, items[i].database);
    if (known) {
      ledger_newest_release(known);
      *known = items[i];
    } else {
      items[added++] = items[i];
    }
  }
  if (added > 0) {
    size_t all = overview->known_count + added;
    overview->known = memory_resize(overview->known, all, sizeof *overview->known);
    memcpy(overview->known + overview->known_count, items, added * sizeof *items);
    overview->known_count = all;
    qsort(overview->known, all, sizeof *overview->known, by_name);
  }
  free(items);
}

/* The sequence is read before the rows: what changes in between is read twice, and never missed. */
static Status refresh(Overview *overview, Error *err) {
  int64_t sequence = 0;
  LedgerNewest *items = NULL;
  size_t count = 0;
  Status status = ledger_sequence(overview->ledger, &sequence, err);
  if (status != STATUS_OK || sequence == overview->sequence)
    return status;
  status = ledger_newest_list(overview->ledger, overview->sequence, &items, &count, err);
  if (status != STATUS_OK)
    return status;
  merge(overview, items, count);
  overview->sequence = sequence;
  return STATUS_OK;
}

void overview_warm(Overview *overview) {
  Error ignored; /* who asks is told */
  if (refresh(overview, &ignored) != STATUS_OK)
    overview->sequence = -1;
}

/* ---- what follows from it, and from the fleet ---- */

static int64_t seconds_since(int64_t then_us, int64_t now_us) {
  return then_us == 0 ? -1 : now_us > then_us ? (now_us - then_us) / SECOND_US : 0;
}

OverviewMet overview_met(int64_t age_seconds, int64_t objective_seconds) {
  if (objective_seconds <= 0)
    return OVERVIEW_NO_OBJECTIVE;
  if (age_seconds < 0)
    return OVERVIEW_NOTHING;
  return age_seconds > objective_seconds ? OVERVIEW_MISSED : OVERVIEW_MET;
}

static unsigned attention_of(const OverviewRow *row) {
  const LedgerNewest *newest = row->newest;
  unsigned attention = 0;
  if (!newest || !newest->sealed_id)
    attention |= OVERVIEW_NEVER_SEALED;
  if (newest && newest->failures > 0)
    attention |= OVERVIEW_FAILING;
  if (overview_met(row->proof_age_seconds, row->proof_age_objective_seconds) == OVERVIEW_MISSED)
    attention |= OVERVIEW_PROOF_OLD;
  if (overview_met(row->data_age_seconds, row->data_loss_objective_seconds) == OVERVIEW_MISSED)
    attention |= OVERVIEW_DATA_OLD;
  if (newest && row->restore_objective_seconds && newest->drill_seconds > (double)row->restore_objective_seconds)
    attention |= OVERVIEW_RESTORE_SLOW;
  return attention;
}

static OverviewRow row_of(const Overview *overview, const FleetDatabase *database, int64_t now_us) {
  const FleetObjectives *objectives = &database->policy.objectives;
  const LedgerNewest *newest = find(overview, database->config.name);
  ScheduleEntry entry;
  OverviewRow row = {.database = database,
                     .newest = newest,
                     .proof_age_seconds = seconds_since(newest ? newest->proven_us : 0, now_us),
                     .data_age_seconds = seconds_since(newest ? newest->sealed_created_us : 0, now_us),
                     .proof_age_objective_seconds = objectives->proof_age,
                     .restore_objective_seconds = objectives->restore_time,
                     .data_loss_objective_seconds = objectives->data_loss,
                     .cordoned = dispatch_held(overview->dispatch, HOLD_DATABASE, database->config.name)};
  if (overview->schedule && schedule_entry(overview->schedule, database->config.name, &entry)) {
    /* another than the leader does not run it, and what it remembers is up to a minute old */
    row.schedule = dispatch_leads(overview->dispatch) ? entry.row : NULL;
    row.next_run_us = entry.due_us != INT64_MAX ? entry.due_us : 0;
  }
  row.attention = attention_of(&row);
  return row;
}

Status overview_read(Overview *overview, const OverviewRow **rows, size_t *count, Error *err) {
  Status status = refresh(overview, err);
  if (status != STATUS_OK)
    return status;
  const Fleet *fleet = dispatch_fleet(overview->dispatch);
  int64_t now_us = dispatch_wall_us(overview->dispatch);
  overview->rows = memory_resize(overview->rows, fleet_count(fleet) + 1, sizeof *overview->rows);
  for (size_t i = 0; i < fleet_count(fleet); i++)
    overview->rows[i] = row_of(overview, fleet_at(fleet, i), now_us);
  *rows = overview->rows;
  *count = fleet_count(fleet);
  return STATUS_OK;
}

bool overview_row(const Overview *overview, const char *database, OverviewRow *out) {
  const FleetDatabase *known = fleet_database(dispatch_fleet(overview->dispatch), database);
  if (known)
    *out = row_of(overview, known, dispatch_wall_us(overview->dispatch));
  return known != NULL;
}
