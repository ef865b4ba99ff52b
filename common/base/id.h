/*
 * Identifiers: 26 characters of Crockford base32, lower case, sorting by time of creation
 * (ULID: 48 bits of milliseconds, 80 random bits), so that `ls` of a repository is in order.
 */
#ifndef PGSEAL_COMMON_BASE_ID_H
#define PGSEAL_COMMON_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

enum { ID_SIZE = 27 };

typedef struct Id {
  char text[ID_SIZE];
} Id;

Id id_new(void); /* random bytes from getrandom(2); any thread */
bool id_valid(const char *text);
/* When it was made, by the clock of who made it: microseconds since 1970. 0 if it is not valid. */
int64_t id_time_us(const char *text);

#endif
