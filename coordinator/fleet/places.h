/* Where things stand in a fleet.yaml, for messages. Internal to coordinator/fleet. */
#ifndef PGSEAL_COORDINATOR_FLEET_PLACES_H
#define PGSEAL_COORDINATOR_FLEET_PLACES_H

#include <stddef.h>

#include "common/base/error.h"

typedef enum PlaceSection { PLACE_ROOT, PLACE_DATABASES, PLACE_POLICIES, PLACE_QUOTAS, PLACE_SECTIONS } PlaceSection;

typedef struct Place {
  PlaceSection section;
  unsigned item;
  char *path; /* "schedule.cron"; "" is the item itself */
  int line;
} Place;

typedef struct Places {
  Place *items; /* in the order of the text */
  size_t count;
  size_t *starts[PLACE_SECTIONS]; /* of each item: the index of its first Place */
  size_t start_counts[PLACE_SECTIONS];
} Places;

/* What is no YAML ends the reading early and is no error here: who loads it tells. ERR_CONFIG: a key that is there
 * twice, more keys than anything has, or a second document. */
Status places_read(const char *name, const char *text, size_t size, Places *out, Error *err) MUST_CHECK;
void places_release(Places *places);

/* The line of a path of an item; if it is not there, the item's; 0 if that is not there either. */
int places_line(const Places *places, PlaceSection section, unsigned item, const char *path);

#endif
