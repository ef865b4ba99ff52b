/* The gathering under way. Internal to coordinator/report; the thread's that gathers. */
#ifndef PGSEAL_COORDINATOR_REPORT_INTERNAL_H
#define PGSEAL_COORDINATOR_REPORT_INTERNAL_H

#include "common/crypto/digest.h"
#include "common/report/report.h"
#include "coordinator/ledger/reporting.h"
#include "coordinator/report/gather.h"

enum { GATHER_OUTCOMES = 5 }; /* proven or sealed, failed, errored, canceled, open */

typedef struct Tally {     /* of one database */
  GatherDatabase database; /* borrowed, but of one that is not declared: its name is owned then */
  bool declared;
  int64_t drills[GATHER_OUTCOMES], checkpoints[GATHER_OUTCOMES];
  int64_t *took_ms; /* of those that were proven and measured */
  size_t took_count;
  int64_t over;
  Sha256 *proven;
} Tally;

typedef struct Gather {
  Ledger *ledger;
  const GatherAsk *ask;
  const atomic_bool *stop;
  ReportFilter filter;
  int64_t made_us, end_us; /* now; the end of the period, or now */
  bool all_drills, all_recoveries;
  Tally **tallies; /* in the order of their names */
  size_t count;
  json_t *drills, *checkpoints, *recoveries, *trials, *silences;
} Gather;

/* NULL: it is not of whom the report is about. One that the fleet does not have (any more) gets its own. */
Tally *tally_of(Gather *gather, const char *database);
bool gather_has(const Gather *gather, const char *database); /* it has one already */
json_t *gather_text(const char *text); /* new reference: cleaned; "..." where it is cut; "" for NULL */
void gather_put(json_t *row, const char *key, const char *text /* NULL or "": left out */);
char *gather_drill_id(const char *job_id, int attempt); /* as the repository names it; freed by the caller */
void gather_put_event(json_t *row, const char *key, const ReportEvent *event);
/* Of a drill or checkpoint that did not end well: the next proof of that database. */
Status gather_put_next(Gather *gather, json_t *row, const char *database, int64_t after_us, Error *err) MUST_CHECK;
/* row: stolen. ERR_TOO_MANY. */
Status gather_append(json_t *list, json_t *row, size_t limit, Error *err) MUST_CHECK;
Status gather_step(const Gather *gather, Error *err) MUST_CHECK; /* ERR_CANCELED: it is to end */

/* recoveries.c, silences.c, databases.c */
Status gather_recoveries(Gather *gather, Error *err) MUST_CHECK;
Status gather_silences(Gather *gather, Error *err) MUST_CHECK;
Status gather_databases(Gather *gather, json_t **rows, Error *err) MUST_CHECK;

#endif
