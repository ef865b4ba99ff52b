/*
 * The overview: what is known of each database of the fleet right now. The one answer to that question; the API, the
 * dashboard, metrics, alerts and reports ask here.
 *
 * It remembers what the ledger said, and with each reading asks only for the databases that events have named since:
 * one statement the first time, one small one later, however many databases there are. Several coordinators over one
 * ledger see each other's changes. Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_OVERVIEW_OVERVIEW_H
#define PGSEAL_COORDINATOR_OVERVIEW_OVERVIEW_H

#include "coordinator/dispatch/dispatch.h"
#include "coordinator/schedule/schedule.h"

typedef enum OverviewAttention { /* bits: what of a database is not as it should be; the first weighs most */
                                 OVERVIEW_NEVER_SEALED = 1,
                                 OVERVIEW_FAILING = 2,   /* checkpoints failed or errored since the last sealed one */
                                 OVERVIEW_PROOF_OLD = 4, /* older than its objective */
                                 OVERVIEW_DATA_OLD = 8,  /* a restore would lose more than its objective allows */
                                 OVERVIEW_RESTORE_SLOW = 16 /* the last drill took longer than its objective */
} OverviewAttention;
enum { OVERVIEW_ATTENTIONS = 5 };
const char *overview_attention_name(OverviewAttention attention); /* "never_sealed", "failing", ... */

/* Texts are borrowed. Times are wall clock; 0: never. */
typedef struct OverviewRow {
  const FleetDatabase *database; /* name, environment, owner, objectives, ... */
  const LedgerNewest *newest;    /* NULL: there never was a checkpoint */
  int64_t proof_age_seconds;     /* since the newest proof of the newest sealed checkpoint; -1: there is none */
  int64_t data_age_seconds;      /* since that checkpoint was asked for: what a restore would lose; -1: there is none */
  int64_t proof_age_objective_seconds, restore_objective_seconds, data_loss_objective_seconds; /* 0: none */
  int64_t next_run_us;            /* by schedule; 0: it has none, or another coordinator leads */
  const LedgerSchedule *schedule; /* how far it has come: missed and skipped runs, ...; NULL: it has none */
  const LedgerHold *cordoned;     /* NULL: it is not */
  unsigned attention;             /* OverviewAttention's */
} OverviewRow;

/* An age against its objective: the one rule of the API, the dashboard, alerts and `pgseal status`. */
typedef enum OverviewMet {
  OVERVIEW_NO_OBJECTIVE,
  OVERVIEW_MET,
  OVERVIEW_MISSED,
  OVERVIEW_NOTHING /* there is nothing that could have an age */
} OverviewMet;
/* Seconds; age -1: there is none; objective 0: none. */
OverviewMet overview_met(int64_t age_seconds, int64_t objective_seconds);

typedef struct Overview Overview;
/* schedule: or NULL; overview_schedule tells it later. All outlive the overview. */
Overview *overview_open(Dispatch *dispatch, Ledger *ledger);
void overview_schedule(Overview *overview, Schedule *schedule);
/* Reads what it would read with the first call, before anybody waits: of 10,000 databases, a quarter of a second. */
void overview_warm(Overview *overview);
void overview_close(Overview *overview); /* NULL is fine */

/* All databases of the fleet in force, in the order of their names; borrowed: valid in this turn of the loop, until the
 * next call. Who may see which is the caller's to say. */
Status overview_read(Overview *overview, const OverviewRow **rows, size_t *count, Error *err) MUST_CHECK;

/* One of them, as it is known without asking the ledger again; the same holds of what it points to. False: the fleet
 * has none of this name (any more). */
bool overview_row(const Overview *overview, const char *database, OverviewRow *out);

#endif
