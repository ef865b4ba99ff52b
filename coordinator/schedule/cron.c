#include "coordinator/schedule/cron.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/cleanup.h"

enum { MINUTE_MS = 60 * 1000, DAY_MINUTES = 24 * 60, TEXT_LIMIT = 256 };
/* 29 February comes again after 8 years at most; on a given day of the week, after 40. */
enum { DAYS_LIMIT = 41 * 366 };

/* ---- reading ---- */

typedef struct Field {
  const char *name;
  int low, high;
  const char *const *words; /* of the numbers from low on; or NULL */
  int word_count;
} Field;

static const char *const months[] = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                                     "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"};
static const char *const weekdays[] = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"};

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS };
static const Field fields[FIELDS] = {{"minute", 0, 59, NULL, 0},
                                     {"hour", 0, 23, NULL, 0},
                                     {"day of the month", 1, 31, NULL, 0},
                                     {"month", 1, 12, months, 12},
                                     {"day of the week", 0, 7, weekdays, 7}};

static Status wrong(const Field *field, const char *text, Error *err) {
  return error_set(err, ERR_CONFIG, "the %s '%.40s' is not one: it has numbers from %d to %d, ranges and steps",
                   field->name, text, field->low, field->high);
}

/* A number or a word; -1 if it is neither. *at moves behind it. */
static int take_number(const Field *field, const char **at) {
  size_t digits = strspn(*at, "0123456789");
  if (digits > 0 && digits <= 2) {
    int value = (int)strtol(*at, NULL, 10);
    *at += digits;
    return value >= field->low && value <= field->high ? value : -1;
  }
  for (int i = 0; digits == 0 && i < field->word_count; i++)
    if (strncasecmp(*at, field->words[i], 3) == 0) {
      *at += 3;
      return field->low + i;
    }
  return -1;
}

/* One item of a list, up to its end: "5", "1-5", "1-30/5", or a star with a step. */
static bool take_item(const Field *field, const char *at, uint64_t *bits) {
  int low = field->low, high = field->high, step = 1;
  bool range = true;
  if (*at == '*') {
    at++;
    high = field->low == 0 && field->high == 7 ? 6 : field->high;
  } else {
    low = high = take_number(field, &at);
    range = low >= 0 && *at == '-';
    if (range) {
      at++;
      high = take_number(field, &at);
      high = field->high == 7 && high == 0 && low > 0 ? 7 : high; /* FRI-SUN */
    }
  }
  if (low < 0 || high < low)
    return false;
  if (*at == '/' && range) {
    at++;
    size_t digits = strspn(at, "0123456789");
    if (digits == 0 || digits > 2 || (step = (int)strtol(at, NULL, 10)) < 1)
      return false;
    at += digits;
  }
  for (int value = low; value <= high; value += step)
    *bits |= 1ull << value;
  return *at == '\0';
}

static Status take_field(const Field *field, char *text, uint64_t *bits, Error *err) {
  *bits = 0;
  for (char *item = text; item;) {
    char *comma = strchr(item, ',');
    if (comma)
      *comma = '\0';
    if (!take_item(field, item, bits))
      return wrong(field, item, err);
    item = comma ? comma + 1 : NULL;
  }
  return STATUS_OK;
}

static const char *expand(const char *text) {
  static const char *const names[][2] = {
      {"@hourly", "0 * * * *"},  {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
      {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(names); i++)
    if (strcasecmp(text, names[i][0]) == 0)
      return names[i][1];
  return text;
}

/* ---- reckoning: local time in minutes since 1970, by the Gregorian calendar ---- */

typedef struct Date {
  int year, month, day, weekday;
} Date;

/* Days since 1970 as a date (H. Hinnant's chrono algorithms: eras of 400 years, which begin in March). */
static Date date_of(int64_t days) {
  int64_t shifted = days + 719468, era = shifted / 146097, of_era = shifted % 146097;
  int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * year + year / 4 - year / 100), month = (5 * of_year + 2) / 153;
  Date date = {.day = (int)(of_year - (153 * month + 2) / 5 + 1),
               .month = (int)(month < 10 ? month + 3 : month - 9),
               .weekday = (int)((days + 4) % 7)};
  date.year = (int)(year + era * 400 + (date.month <= 2));
  return date;
}

static bool day_matches(const Cron *cron, const Date *date) {
  bool day = cron->days >> date->day & 1, weekday = cron->weekdays >> date->weekday & 1;
  if (!(cron->months >> date->month & 1))
    return false;
  if (cron->every_day || cron->every_weekday)
    return day && weekday;
  return day || weekday;
}

/* The first minute of the day, from that one on, that matches; -1 if there is none. */
static int minute_of_day(const Cron *cron, int from) {
  for (int hour = from / 60; hour < 24; hour++) {
    if (!(cron->hours >> hour & 1))
      continue;
    int first = hour == from / 60 ? from % 60 : 0;
    uint64_t left = cron->minutes >> first;
    if (left)
      return hour * 60 + first + __builtin_ctzll(left);
  }
  return -1;
}

/* The first local minute, from that one on, that matches; -1: there is none within DAYS_LIMIT. */
static int64_t local_from(const Cron *cron, int64_t minute) {
  int64_t day = minute / DAY_MINUTES;
  int from = (int)(minute % DAY_MINUTES);
  for (int64_t last = day + DAYS_LIMIT; day <= last; day++, from = 0) {
    Date date = date_of(day);
    if (!day_matches(cron, &date))
      continue;
    int found = minute_of_day(cron, from);
    if (found >= 0)
      return day * DAY_MINUTES + found;
  }
  return -1;
}

Status cron_parse(const char *text, Cron *out, Error *err) {
  char copy[TEXT_LIMIT];
  Cron cron = {0};
  uint64_t bits[FIELDS];
  bool star[FIELDS]; /* it begins with one */
  int count = 0;
  if (snprintf(copy, sizeof copy, "%s", expand(text)) >= TEXT_LIMIT)
    return error_set(err, ERR_CONFIG, "it is longer than %d characters", TEXT_LIMIT);
  char *rest = copy;
  for (char *part; (part = strsep(&rest, " \t"));) {
    if (!*part)
      continue;
    if (count == FIELDS)
      return error_set(err, ERR_CONFIG, "'%.80s' has more than five fields", text);
    star[count] = *part == '*';
    if (count == HOUR)
      cron.every_hour = strcmp(part, "*") == 0;
    Status status = take_field(&fields[count], part, &bits[count], err);
    if (status != STATUS_OK)
      return status;
    count++;
  }
  if (count < FIELDS)
    return error_set(err, ERR_CONFIG, "'%.80s' has %d of five fields: minute, hour, day, month, day of the week", text,
                     count);
  cron.minutes = bits[MINUTE];
  cron.hours = (uint32_t)bits[HOUR];
  cron.days = (uint32_t)bits[DAY];
  cron.months = (uint32_t)bits[MONTH];
  cron.weekdays = (uint32_t)(bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f;
  cron.every_day = star[DAY];
  cron.every_weekday = star[WEEKDAY];
  if (local_from(&cron, 0) < 0)
    return error_set(err, ERR_CONFIG, "'%.80s' never comes", text);
  *out = cron;
  return STATUS_OK;
}

/* Whenever clocks show such a time. */
static int64_t next_shown_ms(const Cron *cron, Zone *zone, int64_t after_ms) {
  for (int64_t from = after_ms + 1;;) {
    int64_t offset = zone_offset_ms(zone, from), change = zone_change_after_ms(zone, from);
    int64_t local = local_from(cron, (from + offset + MINUTE_MS - 1) / MINUTE_MS);
    int64_t found = local * MINUTE_MS - offset;
    if (local >= 0 && found < change)
      return found;
    if (change == INT64_MAX)
      return INT64_MAX;
    from = change;
  }
}

/* The instants of local times come in their order; those of a time that is shown twice are of the first. */
static int64_t next_ms(const Cron *cron, Zone *zone, int64_t after_ms) {
  int64_t local = (after_ms + zone_offset_ms(zone, after_ms)) / MINUTE_MS;
  for (local = local < 0 ? 0 : local; (local = local_from(cron, local)) >= 0; local++) {
    int64_t found = zone_instant_ms(zone, local * MINUTE_MS);
    if (found > after_ms)
      return found;
  }
  return INT64_MAX;
}

/* From the last run of a day to the first one of a later day; within a day, from one to the next. */
int64_t cron_longest_gap(const Cron *cron, Zone *zone) {
  static const int64_t some_time_ms =
      INT64_C(1767225600000); /* 2026: a zone whose clocks are changed has one to come */
  int first = minute_of_day(cron, 0), last = first;
  int64_t within = 0, across = 0, before = -1, from = some_time_ms / MINUTE_MS / DAY_MINUTES;
  for (int at = first; at >= 0; at = at + 1 < DAY_MINUTES ? minute_of_day(cron, at + 1) : -1) {
    within = at - last > within ? at - last : within;
    last = at;
  }
  for (int64_t day = from; day < from + DAYS_LIMIT; day++) {
    Date date = date_of(day);
    if (!day_matches(cron, &date))
      continue;
    int64_t gap = before < 0 ? 0 : (day - before) * DAY_MINUTES + first - last;
    across = gap > across ? gap : across;
    before = day;
  }
  bool changes = zone_change_after_ms(zone, some_time_ms) != INT64_MAX;
  int64_t longest = within > across ? within : across;
  if (changes && !cron->every_hour)
    longest += 60;
  return longest * 60;
}

int64_t cron_next(const Cron *cron, Zone *zone, int64_t after_us) {
  int64_t after_ms = after_us < 0 ? 0 : after_us / 1000;
  int64_t found = cron->every_hour ? next_shown_ms(cron, zone, after_ms) : next_ms(cron, zone, after_ms);
  return found == INT64_MAX ? INT64_MAX : found * 1000;
}
