#include "coordinator/metrics/metrics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "coordinator/metrics/internal.h"

#define FRESH_US ((int64_t)1000000)

/* ---- what there is of each database: NAN leaves the sample out ---- */

typedef struct Source {
  const OverviewRow *row;
  const Counted *counted; /* or NULL */
} Source;

static double seconds_at(int64_t us) {
  return us ? (double)(us / 1000) / 1e3 : NAN;
}
static double unless_negative(int64_t value) {
  return value >= 0 ? (double)value : NAN;
}
static double unless_unknown(double seconds) {
  return seconds > 0 ? seconds : NAN;
}

static double unless_zero(int64_t value) {
  return value > 0 ? (double)value : NAN;
}
static const LedgerNewest *sealed(const Source *of) {
  return of->row->newest && of->row->newest->sealed_id ? of->row->newest : NULL;
}

#define VALUE(name, ...)                                                                                               \
  static double name(const Source *of, int variant) {                                                                  \
    (void)variant;                                                                                                     \
    return __VA_ARGS__;                                                                                                \
  }
#define OF_SEALED(name, value) VALUE(name, sealed(of) ? (value) : NAN)

VALUE(attention, of->row->attention & 1u << variant ? 1 : NAN)
VALUE(failures, of->row->newest ? (double)of->row->newest->failures : 0)
VALUE(cordoned, of->row->cordoned != NULL)
VALUE(proof_age, unless_negative(of->row->proof_age_seconds))
VALUE(data_age, unless_negative(of->row->data_age_seconds))
OF_SEALED(sealed_at, seconds_at(sealed(of)->sealed_us))
OF_SEALED(proven_at, seconds_at(sealed(of)->proven_us))
OF_SEALED(size, (double)sealed(of)->size_bytes)
OF_SEALED(archive, (double)sealed(of)->archive_bytes)
OF_SEALED(tables, (double)sealed(of)->tables)
OF_SEALED(table_rows, (double)sealed(of)->rows)
OF_SEALED(omissions, (double)sealed(of)->omissions)
OF_SEALED(seconds, sealed(of)->seconds)
OF_SEALED(dump_seconds, unless_unknown(sealed(of)->dump_seconds)) /* of what was rebuilt */
OF_SEALED(drill_seconds, unless_unknown(sealed(of)->drill_seconds))
VALUE(proof_objective, unless_zero(of->row->proof_age_objective_seconds))
VALUE(data_objective, unless_zero(of->row->data_loss_objective_seconds))
VALUE(restore_objective, unless_zero(of->row->restore_objective_seconds))
VALUE(next_run, seconds_at(of->row->next_run_us))
VALUE(missed, of->row->schedule ? (double)of->row->schedule->missed_count : NAN)
VALUE(skipped, of->row->schedule ? (double)of->row->schedule->skipped_count : NAN)
VALUE(checkpoints, of->counted ? (double)of->counted->checkpoints[variant] : 0)

/* In the order of families.h. variants: how many values of one more label there are. */
static const struct Column {
  MetricsFamily family;
  double (*value)(const Source *of, int variant);
  int variants;
} columns[] = {
    {METRICS_DB_ATTENTION, attention, OVERVIEW_ATTENTIONS},
    {METRICS_DB_FAILURES, failures, 1},
    {METRICS_DB_CORDONED, cordoned, 1},
    {METRICS_DB_SEALED_AT, sealed_at, 1},
    {METRICS_DB_PROVEN_AT, proven_at, 1},
    {METRICS_DB_PROOF_AGE, proof_age, 1},
    {METRICS_DB_DATA_AGE, data_age, 1},
    {METRICS_DB_SIZE, size, 1},
    {METRICS_DB_ARCHIVE, archive, 1},
    {METRICS_DB_TABLES, tables, 1},
    {METRICS_DB_ROWS, table_rows, 1},
    {METRICS_DB_OMISSIONS, omissions, 1},
    {METRICS_DB_SECONDS, seconds, 1},
    {METRICS_DB_DUMP, dump_seconds, 1},
    {METRICS_DB_DRILL, drill_seconds, 1},
    {METRICS_DB_PROOF_OBJECTIVE, proof_objective, 1},
    {METRICS_DB_DATA_OBJECTIVE, data_objective, 1},
    {METRICS_DB_RESTORE_OBJECTIVE, restore_objective, 1},
    {METRICS_DB_NEXT_RUN, next_run, 1},
    {METRICS_DB_MISSED, missed, 1},
    {METRICS_DB_SKIPPED, skipped, 1},
    {METRICS_DB_CHECKPOINTS, checkpoints, COUNTED_OUTCOMES},
};
enum { VALUES = ARRAY_SIZE(columns) - 2 + OVERVIEW_ATTENTIONS + COUNTED_OUTCOMES };

static const char *more_label(MetricsFamily family, int variant, const char **value) {
  *value = family == METRICS_DB_ATTENTION ? overview_attention_name((OverviewAttention)(1u << variant))
                                          : counted_checkpoints[variant];
  return family == METRICS_DB_ATTENTION ? "reason" : "outcome";
}

/* ---- one moment ---- */

typedef struct Database {
  size_t info, name; /* where its labels are in `labels`, terminated: all of them, and its name's alone */
  double values[VALUES];
} Database;

typedef struct Snapshot {
  int references;
  int64_t made_us; /* monotonic */
  Buffer head, labels;
  Database *databases; /* owned */
  size_t count;
} Snapshot;

static void snapshot_leave(Snapshot *snapshot) {
  if (!snapshot || --snapshot->references > 0)
    return;
  buffer_release(&snapshot->head);
  buffer_release(&snapshot->labels);
  free(snapshot->databases);
  free(snapshot);
}

static void take_database(const Metrics *metrics, Snapshot *snapshot, const OverviewRow *row, Database *out) {
  const ConfigDatabase *config = &row->database->config;
  const Source of = {row, counters_of(&metrics->counters, config->name)};
  Buffer *labels = &snapshot->labels;
  out->name = labels->size;
  text_label(labels, "database", config->name);
  buffer_append_byte(labels, 0);
  out->info = labels->size;
  text_label(labels, "database", config->name);
  buffer_append_byte(labels, ',');
  text_label(labels, "environment", config->environment);
  buffer_append_byte(labels, ',');
  text_label(labels, "owner", config->owner);
  buffer_append_byte(labels, 0);
  size_t at = 0;
  for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
    for (int variant = 0; variant < columns[i].variants; variant++)
      out->values[at++] = columns[i].value(&of, variant);
}

static Status take_snapshot(Metrics *metrics, Snapshot **out, Error *err) {
  const OverviewRow *rows = NULL;
  size_t count = 0;
  Status status = overview_read(metrics->overview, &rows, &count, err);
  if (status != STATUS_OK)
    return status;
  Snapshot *snapshot = memory_alloc(sizeof *snapshot);
  *snapshot = (Snapshot){.references = 1, .made_us = clock_monotonic_us(), .count = count};
  status = fleet_text(metrics, rows, count, &snapshot->head, err);
  if (status != STATUS_OK) {
    snapshot_leave(snapshot);
    return status;
  }
  snapshot->databases = memory_alloc((count + 1) * sizeof *snapshot->databases);
  for (size_t i = 0; i < count; i++)
    take_database(metrics, snapshot, &rows[i], &snapshot->databases[i]);
  *out = snapshot;
  return STATUS_OK;
}

/* ---- writing it ---- */

struct MetricsScrape {
  Snapshot *snapshot;
  bool begun;
  bool informed;        /* the databases' info is written */
  size_t column, value; /* where it is; value: the index of the column's first in `values` */
  int variant;
  size_t database;
};

void metrics_forget(Metrics *metrics) {
  snapshot_leave(metrics->newest);
  metrics->newest = NULL;
}

Status metrics_scrape(Metrics *metrics, MetricsScrape **out, Error *err) {
  if (!metrics->newest || clock_monotonic_us() - metrics->newest->made_us >= FRESH_US) {
    Snapshot *taken = NULL;
    Status status = take_snapshot(metrics, &taken, err);
    if (status != STATUS_OK)
      return status;
    metrics_forget(metrics);
    metrics->newest = taken;
  }
  MetricsScrape *scrape = memory_alloc(sizeof *scrape);
  *scrape = (MetricsScrape){.snapshot = metrics->newest};
  scrape->snapshot->references++;
  *out = scrape;
  return STATUS_OK;
}

void metrics_scrape_free(MetricsScrape *scrape) {
  if (!scrape)
    return;
  snapshot_leave(scrape->snapshot);
  free(scrape);
}

static const char *labels_at(const Snapshot *snapshot, size_t at) {
  return (const char *)snapshot->labels.data + at;
}

/* Of all databases, until it is enough (but of one at least: HELP and TYPE come with the first); true: all are written.
 */
static bool write_info(MetricsScrape *scrape, Buffer *out, size_t enough) {
  const Snapshot *snapshot = scrape->snapshot;
  if (scrape->database == 0)
    text_family(out, METRICS_DB_INFO);
  for (; scrape->database < snapshot->count && (scrape->database == 0 || out->size < enough); scrape->database++)
    text_sample(out, METRICS_DB_INFO, labels_at(snapshot, snapshot->databases[scrape->database].info), 1);
  return scrape->database == snapshot->count;
}

static bool write_column(MetricsScrape *scrape, Buffer *out, size_t enough) {
  const Snapshot *snapshot = scrape->snapshot;
  const struct Column *column = &columns[scrape->column];
  char more[64] = "";
  if (column->variants > 1) {
    const char *value, *label = more_label(column->family, scrape->variant, &value);
    snprintf(more, sizeof more, ",%s=\"%s\"", label, value);
  }
  if (scrape->database == 0 && scrape->variant == 0)
    text_family(out, column->family);
  for (; scrape->database < snapshot->count && (scrape->database == 0 || out->size < enough); scrape->database++) {
    const Database *database = &snapshot->databases[scrape->database];
    double value = database->values[scrape->value + (size_t)scrape->variant];
    if (isnan(value))
      continue;
    buffer_append_text(out, text_family_name(column->family));
    buffer_append_byte(out, '{');
    buffer_append_text(out, labels_at(snapshot, database->name));
    buffer_append_text(out, more);
    buffer_append_text(out, "} ");
    text_number(out, value);
    buffer_append_byte(out, '\n');
  }
  return scrape->database == snapshot->count;
}

static void next_column(MetricsScrape *scrape) {
  scrape->database = 0;
  if (++scrape->variant < columns[scrape->column].variants)
    return;
  scrape->value += (size_t)columns[scrape->column].variants;
  scrape->variant = 0;
  scrape->column++;
}

bool metrics_next(MetricsScrape *scrape, Buffer *out) {
  size_t before = out->size, enough = before + METRICS_PIECE;
  if (!scrape->begun) {
    buffer_append(out, scrape->snapshot->head.data, scrape->snapshot->head.size);
    scrape->begun = true;
  }
  while (out->size < enough && scrape->column < ARRAY_SIZE(columns)) {
    if (scrape->informed) {
      if (write_column(scrape, out, enough))
        next_column(scrape);
    } else if (write_info(scrape, out, enough)) {
      scrape->informed = true;
      scrape->database = 0;
    }
  }
  return out->size > before;
}

/* ---- the object ---- */

static void on_event(void *user, const LedgerEvent *event) {
  counters_event(user, event);
}

Metrics *metrics_open(Dispatch *dispatch, Ledger *ledger, Overview *overview) {
  Metrics *metrics = memory_alloc(sizeof *metrics);
  *metrics = (Metrics){.dispatch = dispatch, .ledger = ledger, .overview = overview, .started_us = clock_wall_us()};
  dispatch_observe(dispatch, &(DispatchObserver){.user = &metrics->counters, .event = on_event});
  return metrics;
}

void metrics_rotation(Metrics *metrics, const Rotation *rotation) {
  metrics->rotation = rotation;
}

void metrics_traces(Metrics *metrics, const Traces *traces) {
  metrics->traces = traces;
}

void metrics_close(Metrics *metrics) {
  if (!metrics)
    return;
  metrics_forget(metrics);
  counters_release(&metrics->counters);
  free(metrics);
}
