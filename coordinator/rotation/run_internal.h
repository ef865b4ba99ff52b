/*
 * What the rotation's files share.
 *
 *   run.c      rounds, and asking for drills
 *   collect.c  what of one database there is to drill
 *   show.c     forecasts, and what the API shows
 */
#ifndef PGSEAL_COORDINATOR_ROTATION_RUN_INTERNAL_H
#define PGSEAL_COORDINATOR_ROTATION_RUN_INTERNAL_H

#include "coordinator/rotation/run.h"

enum { ROTATION_ID_SIZE = 32 };

typedef struct RotationEntry {
  RotationItem item;
  char checkpoint[ROTATION_ID_SIZE];
  int64_t period; /* of bare, forward, canary: which; part of their key */
} RotationEntry;

typedef struct RotationEntries { /* of one database */
  RotationEntry *list;
  size_t count;
  bool unproven; /* it has an objective, and nothing that is sealed */
} RotationEntries;

typedef struct RotationAsked {
  char job[ROTATION_ID_SIZE];
  double expected; /* seconds */
} RotationAsked;

struct Rotation {
  uv_loop_t *loop;
  Dispatch *dispatch;
  Ledger *ledger;
  int64_t fleet_changes; /* what all this is of */
  size_t database_count, next;
  bool complete;            /* a round is over: everything is known */
  RotationEntries *entries; /* by database */
  bool *busy;               /* by database */
  int64_t *served_us;       /* by database */
  RotationBudget budget;
  RotationPurse purse;
  RotationAsked *asked; /* jobs that are under way */
  size_t asked_count;
  size_t running;
  int ticks;
  struct RotationWork *work; /* a forecast that is being made */
  RotationForecast forecast;
  char **missing; /* databases that will miss an objective; some of them */
  size_t missing_count;
  char first_checkpoint[ROTATION_ID_SIZE];
  char *first_database;
  int64_t forecast_us;            /* when it was made; 0: none yet */
  int64_t opened_us, foreseen_us; /* monotonic: clocks may be set; the latter: when that forecast was made */
};

/* collect.c: replaces *out. */
Status rotation_collect(Rotation *rotation, size_t database, RotationEntries *out, Error *err) MUST_CHECK;
void rotation_entries_release(RotationEntries *entries);
char *rotation_key_of(const char *database, RotationKind kind, int64_t period); /* new string */

/* run.c: have agents had the time to come, since this coordinator began? */
bool rotation_settled(const Rotation *rotation);
/* run.c: all items of all databases, as rotation_pick wants them. *entries: where each is from. Freed by the caller. */
size_t rotation_items(const Rotation *rotation, RotationItem **items, const RotationEntry ***entries);

/* show.c */
void rotation_foresee(Rotation *rotation); /* begins a forecast, unless one is being made */
void rotation_forget(Rotation *rotation);  /* the last one */

#endif
