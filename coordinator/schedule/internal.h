/* What the schedule's files share.
 *
 *   schedule.c  running what is due; the view from outside
 *   entries.c   one entry for each database with a schedule, made of the fleet and what the ledger remembers
 *   heap.c      which of them is due first
 */
#ifndef PGSEAL_COORDINATOR_SCHEDULE_INTERNAL_H
#define PGSEAL_COORDINATOR_SCHEDULE_INTERNAL_H

#include "coordinator/schedule/cron.h"
#include "coordinator/schedule/schedule.h"

typedef struct Entry {
  LedgerSchedule row; /* owned; its database is the entry's name */
  Cron cron;
  Zone *zone; /* the schedule's */
  bool make_up, overlap;
  int64_t jitter_us;
  int64_t slot_us; /* of the next run */
  int64_t due_us;  /* with jitter */
} Entry;

struct Schedule {
  Dispatch *dispatch;
  Ledger *ledger;
  Zone **zones; /* each that some entry has */
  size_t zone_count;
  Entry *entries; /* in the order of their names */
  size_t count;
  size_t *heap;          /* indices of entries */
  int64_t fleet_changes; /* that the entries were made of */
  int64_t seen_us;       /* the wall clock, as it last was */
  bool known;            /* what the ledger remembers was read */
  int64_t looked_us;     /* monotonic: when one that only follows last read it */
};

/* entries.c */
void entries_free(Entry *entries, size_t count);
/* Makes the entries anew, of the fleet in force. Those that are new, or have another cron, begin now; those that are
 * gone are forgotten: in the ledger too, if it writes. Nothing is changed if it fails. */
Status entries_make(Schedule *schedule, bool writes, Error *err) MUST_CHECK;
Entry *entries_find(const Schedule *schedule, const char *database); /* NULL: none */
void entry_plan(Entry *entry, int64_t now_us);                       /* its next run, after the last slot */

/* heap.c */
void heap_make(Schedule *schedule);
void heap_sink(Schedule *schedule, size_t at); /* after what is there is due later than it was */

#endif
