/*
 * What a report is made of, gathered from the ledger into one document (common/report). It reads for seconds where a
 * fleet is large: in a thread of its own, over a ledger of its own, with what it has to know of the fleet copied
 * before.
 */
#ifndef PGSEAL_COORDINATOR_REPORT_GATHER_H
#define PGSEAL_COORDINATOR_REPORT_GATHER_H

#include <jansson.h>
#include <stdatomic.h>

#include "coordinator/ledger/ledger.h"

/* What is listed one by one; where there is more, what was proven is in its database's numbers and digest alone, and
 * plans and rehearsals are left out. Of the rest there may not be more: ERR_TOO_MANY. */
enum { GATHER_DRILLS_LIMIT = 20000, GATHER_RECOVERIES_LIMIT = 5000, GATHER_VERIFY_LIMIT = 200000 };

typedef struct GatherDatabase { /* as the fleet has it; texts owned */
  char *name, *environment, *owner;
  int64_t proof_age_seconds, restore_seconds, data_loss_seconds; /* objectives; 0: none */
} GatherDatabase;

typedef struct GatherAsk { /* owned */
  int64_t from_us, to_us;
  char *database, *owner, *environment, *scope; /* or NULL */
  char **names;                                 /* several databases, in order; database is NULL then */
  size_t name_count;
  GatherDatabase *databases; /* those that it is about, in the order of their names */
  size_t database_count;
  json_t *keys; /* of the agents that are listed in coordinator.yaml: as ledger_report_keys */
  size_t drills_limit, recoveries_limit;
} GatherAsk;
void gather_ask_release(GatherAsk *ask);

/* *report: new reference. ERR_CANCELED once *stop is set; ERR_NOT_FOUND: of that database there is nothing. */
Status gather(Ledger *ledger, const GatherAsk *ask, const atomic_bool *stop, json_t **report, Error *err) MUST_CHECK;

#endif
