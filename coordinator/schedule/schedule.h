/*
 * The schedule: asks dispatch for the checkpoints that are due by the policies of the fleet.
 *
 * A run is due at a time of its cron (its slot), and is made a little later by its database's share of the jitter: that
 * follows from the database's name, so that it is the same over restarts. Which slot of a database was dealt with last
 * is in the ledger, in the transaction that requested its checkpoint: no run is made twice, none is lost.
 *
 * The wall clock says what is due. A run that is late by more than SCHEDULE_LATE_US was missed: this coordinator did
 * not run, stood still, or its clock was set forward. Missed runs are recorded, and by policy made up for by one run,
 * or not. If the clock is set back, runs wait until it has passed the last slot again; but if that is more than
 * SCHEDULE_AHEAD_US ahead, the clock was wrong then, and they go on from now.
 *
 * A run that is due while a dump of the same database waits or runs is skipped, and recorded, unless `overlap` is set;
 * and so is one of a database that is cordoned. While the fleet is paused, what is due is requested, and waits.
 * Loop thread only.
 */
#ifndef PGSEAL_COORDINATOR_SCHEDULE_SCHEDULE_H
#define PGSEAL_COORDINATOR_SCHEDULE_SCHEDULE_H

#include "coordinator/dispatch/dispatch.h"

#define SCHEDULE_LATE_US ((int64_t)60 * 1000000)
#define SCHEDULE_AHEAD_US ((int64_t)25 * 3600 * 1000000)

typedef struct Schedule Schedule;

Status schedule_open(Dispatch *dispatch, Ledger *ledger, Schedule **out, Error *err) MUST_CHECK;
void schedule_close(Schedule *schedule); /* NULL is fine */

/* Makes what is due, a part of it if it is much. In how many microseconds it wants to be called again: at most a
 * second, since clocks may be set. */
int64_t schedule_run(Schedule *schedule);

/* Instead of schedule_run, of one that does not lead: asks for nothing and writes nothing, but what is seen from
 * outside goes on: next runs are right, and what the ledger remembers of the last ones is read anew every minute.
 * Cheap. */
void schedule_follow(Schedule *schedule);

/* Another coordinator may have run it meanwhile: what the ledger remembers is read anew with the next run. */
void schedule_forget(Schedule *schedule);

/* A fleet that was just applied is looked at now, and not only with the next run. Not from an observer. */
void schedule_look(Schedule *schedule);
/* One database, as it is seen from outside; borrowed until the next call of schedule_run, schedule_follow or
 * schedule_look. */
typedef struct ScheduleEntry {
  const LedgerSchedule *row;
  int64_t slot_us, due_us; /* of the next run; due is with jitter */
} ScheduleEntry;
/* Those of which sees says so (NULL: all), what is due first first; at most limit of them. The array is the caller's to
 * free. */
size_t schedule_list(Schedule *schedule, bool (*sees)(const void *user, const char *database), const void *user,
                     size_t limit, ScheduleEntry **out);
bool schedule_entry(Schedule *schedule, const char *database, ScheduleEntry *out); /* false: it has no schedule */

/* What of the jitter is this database's. */
int64_t schedule_jitter_us(const char *database, int jitter_seconds);

#endif
