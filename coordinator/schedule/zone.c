#include "coordinator/schedule/zone.h"

#include <stdlib.h>
#include <string.h>
#include <unicode/ucal.h>
#include <unicode/ustring.h>

#include "common/base/memory.h"

enum { NAME_LIMIT = 64, DAY_MS = 86400 * 1000 };

struct Zone {
  UCalendar *calendar;
  char name[NAME_LIMIT];
};

/* What ICU does not know it takes to be GMT; and it knows "GMT+3:30", which is not of the tz database. */
static bool known(const UChar *name, UErrorCode *code) {
  UChar canonical[2 * NAME_LIMIT];
  UBool system = 0;
  ucal_getCanonicalTimeZoneID(name, -1, canonical, 2 * NAME_LIMIT, &system, code);
  return U_SUCCESS(*code) && system;
}

Status zone_open(const char *name, Zone **out, Error *err) {
  UChar wide[NAME_LIMIT];
  UErrorCode code = U_ZERO_ERROR;
  size_t length = strlen(name);
  bool plain = length > 0 && length < NAME_LIMIT;
  for (size_t i = 0; plain && i < length; i++) /* the tz database has no other characters in names */
    plain = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+-/", name[i]) != NULL;
  if (plain)
    u_charsToUChars(name, wide, (int32_t)length + 1);
  if (!plain || !known(wide, &code))
    return error_set(err, ERR_CONFIG, "'%.64s' is no time zone; write it as Europe/Berlin, or UTC", name);
  UCalendar *calendar = ucal_open(wide, -1, "en_US", UCAL_GREGORIAN, &code);
  if (U_FAILURE(code))
    return error_set(err, ERR_CONFIG, "the time zone %s cannot be used: %s", name, u_errorName(code));
  Zone *zone = memory_alloc(sizeof *zone);
  zone->calendar = calendar;
  memcpy(zone->name, name, length + 1);
  *out = zone;
  return STATUS_OK;
}

void zone_close(Zone *zone) {
  if (!zone)
    return;
  ucal_close(zone->calendar);
  free(zone);
}

const char *zone_name(const Zone *zone) {
  return zone->name;
}

int64_t zone_offset_ms(Zone *zone, int64_t utc_ms) {
  UErrorCode code = U_ZERO_ERROR;
  ucal_setMillis(zone->calendar, (UDate)utc_ms, &code);
  int32_t offset = ucal_get(zone->calendar, UCAL_ZONE_OFFSET, &code) + ucal_get(zone->calendar, UCAL_DST_OFFSET, &code);
  return U_SUCCESS(code) ? offset : 0;
}

static bool change(Zone *zone, int64_t utc_ms, UTimeZoneTransitionType type, int64_t *out) {
  UErrorCode code = U_ZERO_ERROR;
  UDate found = 0;
  ucal_setMillis(zone->calendar, (UDate)utc_ms, &code);
  bool any = ucal_getTimeZoneTransitionDate(zone->calendar, type, &found, &code);
  *out = (int64_t)found;
  return U_SUCCESS(code) && any;
}

int64_t zone_change_before_ms(Zone *zone, int64_t utc_ms) {
  int64_t found;
  return change(zone, utc_ms, UCAL_TZ_TRANSITION_PREVIOUS_INCLUSIVE, &found) ? found : INT64_MIN;
}

int64_t zone_change_after_ms(Zone *zone, int64_t utc_ms) {
  int64_t found;
  return change(zone, utc_ms, UCAL_TZ_TRANSITION_NEXT, &found) ? found : INT64_MAX;
}

/* No offset is larger than 14 hours: a day before, and a day after, what holds there held before, and holds after, any
 * change that concerns this time. */
int64_t zone_instant_ms(Zone *zone, int64_t local_ms) {
  int64_t before = zone_offset_ms(zone, local_ms - DAY_MS), after = zone_offset_ms(zone, local_ms + DAY_MS);
  int64_t early = local_ms - before, late = local_ms - after;
  bool early_holds = zone_offset_ms(zone, early) == before;
  if (before == after || early_holds)
    return early; /* of two, it is the first: the offset before is the larger one then */
  if (zone_offset_ms(zone, late) == after)
    return late;
  return zone_change_before_ms(zone, early);
}
