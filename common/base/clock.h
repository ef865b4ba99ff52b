/* Time. Wall-clock values are UTC; durations come from the monotonic clock only. Any thread. */
#ifndef PGSEAL_COMMON_BASE_CLOCK_H
#define PGSEAL_COMMON_BASE_CLOCK_H

#include <stdint.h>

int64_t clock_wall_us(void);      /* microseconds since 1970-01-01 UTC */
int64_t clock_monotonic_us(void); /* microseconds since some fixed point */
enum { CLOCK_TEXT_SIZE = 32 };
/* "2026-11-21T04:00:11.123Z" (RFC 3339) into text; returns text. */
const char *clock_format(int64_t wall_us, char text[CLOCK_TEXT_SIZE]);
int64_t clock_parse(const char *text); /* of what clock_format writes; -1 if it is not that */

#endif
