/*
 * When something is to run: cron's five fields, in a time zone. Minute, hour, day of the month, month, day of the week;
 * each a `*`, or a list of numbers, names (JAN, MON), ranges (1-5, MON-FRI) and steps (0-30/5, or * with a step).
 * Sunday is 0 and 7. Where neither of the two days begins with `*`, either will do, as in cron. Or @hourly, @daily
 * (@midnight), @weekly,
 * @monthly, @yearly (@annually). Fields are separated by blanks.
 *
 * Where clocks are changed: a time that they leave out runs at the first moment after it; a time that they show twice
 * runs once, the first time. But what runs every hour (hour is `*`) runs whenever clocks show such a time. Any thread.
 */
#ifndef PGSEAL_COORDINATOR_SCHEDULE_CRON_H
#define PGSEAL_COORDINATOR_SCHEDULE_CRON_H

#include "coordinator/schedule/zone.h"

typedef struct Cron { /* bits */
  uint64_t minutes;
  uint32_t hours, days, months, weekdays;
  bool every_hour;               /* the field is a `*` */
  bool every_day, every_weekday; /* the field begins with one: then both have to match */
} Cron;

/* ERR_CONFIG: what is wrong with it; also if it never comes, as on 30 February. */
Status cron_parse(const char *text, Cron *out, Error *err) MUST_CHECK;
/* The first time after that one; INT64_MAX if there is none. Microseconds of wall clock. */
int64_t cron_next(const Cron *cron, Zone *zone, int64_t after_us);
/* The longest time between two runs, in seconds, over the years; an hour longer where a zone's clocks are put back in
 * between. */
int64_t cron_longest_gap(const Cron *cron, Zone *zone);

#endif
