/*
 * What the metrics' files share.
 *
 *   text.c      names, HELP and TYPE, label values, numbers
 *   counters.c  what is counted of what dispatch tells
 *   fleet.c     everything but the databases: written at once
 *   metrics.c   the databases' values, and writing them piece by piece
 */
#ifndef PGSEAL_COORDINATOR_METRICS_INTERNAL_H
#define PGSEAL_COORDINATOR_METRICS_INTERNAL_H

#include "common/base/names.h"
#include "coordinator/metrics/families.h"
#include "coordinator/metrics/metrics.h"

/* ---- text.c ---- */

void text_family(Buffer *out, MetricsFamily family); /* its HELP and TYPE */
const char *text_family_name(MetricsFamily family);
/* Escaped, between quotes; what is no UTF-8 becomes question marks. */
void text_label(Buffer *out, const char *name, const char *value);
void text_number(Buffer *out, double value);
/* A sample: labels without their braces, or "". */
void text_sample(Buffer *out, MetricsFamily family, const char *labels, double value);
void text_sample_of(Buffer *out, MetricsFamily family, const char *label, const char *value, double number);

/* ---- counters.c ---- */

enum { COUNTED_OUTCOMES = 4, COUNTED_KINDS = 128 };
extern const char *const counted_checkpoints[COUNTED_OUTCOMES], *const counted_drills[COUNTED_OUTCOMES];

typedef struct Counted { /* of one database */
  char *database;
  uint64_t checkpoints[COUNTED_OUTCOMES];
} Counted;

typedef struct Counters {
  Counted **databases; /* owned */
  size_t database_count;
  Names names; /* of them */
  uint64_t drills[COUNTED_OUTCOMES];
  struct {
    char *kind;
    uint64_t count;
  } kinds[COUNTED_KINDS];
  size_t kind_count;
} Counters;

void counters_event(Counters *counters, const LedgerEvent *event);
const Counted *counters_of(const Counters *counters, const char *database); /* NULL: nothing was counted */
void counters_release(Counters *counters);

/* ---- fleet.c ---- */

struct Metrics {
  Dispatch *dispatch;
  Ledger *ledger;
  Overview *overview;
  const Rotation *rotation; /* or NULL */
  const Traces *traces;     /* or NULL */
  Counters counters;
  int64_t started_us;
  struct Snapshot *newest; /* or NULL */
};

void metrics_forget(Metrics *metrics); /* the moment that the last scrape was of: the next one is of a new one */
Status fleet_text(Metrics *metrics, const OverviewRow *rows, size_t count, Buffer *out, Error *err) MUST_CHECK;

#endif
