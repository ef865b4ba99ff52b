/* A time zone, by ICU: what clocks on the wall show at an instant. Times: milliseconds since 1970 in UTC; local ones
 * are those that a clock of the zone shows, counted as if they were UTC. One thread. */
#ifndef PGSEAL_COORDINATOR_SCHEDULE_ZONE_H
#define PGSEAL_COORDINATOR_SCHEDULE_ZONE_H

#include <stdint.h>

#include "common/base/error.h"

typedef struct Zone Zone;

/* name: of the tz database, such as "Europe/Berlin" or "UTC". ERR_CONFIG: there is none of that name. */
Status zone_open(const char *name, Zone **out, Error *err) MUST_CHECK;
void zone_close(Zone *zone); /* NULL is fine */
const char *zone_name(const Zone *zone);

int64_t zone_offset_ms(Zone *zone, int64_t utc_ms); /* local minus UTC */
/* The last change of the offset at or before that time; INT64_MIN if there is none. And the first after it; INT64_MAX.
 */
int64_t zone_change_before_ms(Zone *zone, int64_t utc_ms);
int64_t zone_change_after_ms(Zone *zone, int64_t utc_ms);
/* When clocks show that local time: for the first time, if they do so twice; the first moment after it, if they leave
 * it out. */
int64_t zone_instant_ms(Zone *zone, int64_t local_ms);

#endif
