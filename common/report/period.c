#include "common/report/report.h"

#include <string.h>
#include <time.h>

#include "common/base/clock.h"

#define SECOND_US ((int64_t)1000000)
enum { DAY_SECONDS = 86400, YEAR_FIRST = 2000, YEAR_LAST = 9998 };

/* Exactly as many digits. */
static bool digits(const char **at, int count, int *out) {
  *out = 0;
  for (int i = 0; i < count; i++, (*at)++) {
    if (**at < '0' || **at > '9')
      return false;
    *out = *out * 10 + (**at - '0');
  }
  return true;
}

static bool mark(const char **at, char wanted) {
  return **at == wanted && (*at)++;
}

/* False: there is no such day. */
static bool seconds_of(struct tm wanted, int64_t *seconds) {
  struct tm tm = wanted;
  time_t made = timegm(&tm);
  *seconds = made;
  return wanted.tm_year >= YEAR_FIRST - 1900 && wanted.tm_year <= YEAR_LAST - 1900 && tm.tm_mon == wanted.tm_mon &&
         tm.tm_mday == wanted.tm_mday && tm.tm_hour == wanted.tm_hour && tm.tm_min == wanted.tm_min &&
         tm.tm_sec == wanted.tm_sec;
}

static bool read_month(const char **at, struct tm *tm) {
  bool fine = digits(at, 4, &tm->tm_year) && mark(at, '-') && digits(at, 2, &tm->tm_mon);
  tm->tm_year -= 1900;
  tm->tm_mon -= 1;
  return fine;
}

static bool read_clock(const char **at, struct tm *tm, int64_t *fraction_us) {
  bool fine = mark(at, 'T') && digits(at, 2, &tm->tm_hour) && mark(at, ':') && digits(at, 2, &tm->tm_min) &&
              mark(at, ':') && digits(at, 2, &tm->tm_sec);
  if (fine && mark(at, '.')) {
    int64_t unit = SECOND_US / 10;
    fine = **at >= '0' && **at <= '9';
    for (; fine && **at >= '0' && **at <= '9' && unit > 0; (*at)++, unit /= 10)
      *fraction_us += (**at - '0') * unit;
  }
  return fine && mark(at, 'Z');
}

Status report_time_parse(const char *text, int64_t *wall_us, Error *err) {
  const char *at = text;
  struct tm tm = {0};
  int64_t seconds, fraction_us = 0;
  bool fine = read_month(&at, &tm) && mark(&at, '-') && digits(&at, 2, &tm.tm_mday);
  if (fine && *at)
    fine = read_clock(&at, &tm, &fraction_us);
  if (!fine || *at || !seconds_of(tm, &seconds))
    return error_set(err, ERR_INVALID_ARGUMENT,
                     "'%.40s' is no time; it is a day such as 2026-10-01, or 2026-10-01T12:00:00Z, in UTC", text);
  *wall_us = seconds * SECOND_US + fraction_us;
  return STATUS_OK;
}

Status report_month_parse(const char *text, int64_t *from_us, int64_t *to_us, Error *err) {
  const char *at = text;
  struct tm tm = {.tm_mday = 1}, next;
  int64_t from, to;
  if (!read_month(&at, &tm) || *at || !seconds_of(tm, &from))
    return error_set(err, ERR_INVALID_ARGUMENT, "'%.40s' is no month; it is like 2026-10", text);
  next = tm;
  next.tm_year += tm.tm_mon == 11;
  next.tm_mon = (tm.tm_mon + 1) % 12;
  to = timegm(&next);
  *from_us = from * SECOND_US;
  *to_us = to * SECOND_US;
  return STATUS_OK;
}

Status report_period_check(int64_t from_us, int64_t to_us, int64_t now_us, Error *err) {
  if (to_us <= from_us)
    return error_set(err, ERR_INVALID_ARGUMENT, "the period ends before it begins, or with it");
  if (to_us - from_us > REPORT_DAYS_LIMIT * (int64_t)DAY_SECONDS * SECOND_US)
    return error_set(err, ERR_INVALID_ARGUMENT, "the period is longer than %d days", REPORT_DAYS_LIMIT);
  if (from_us > now_us)
    return error_set(err, ERR_INVALID_ARGUMENT, "the period has not begun yet");
  return STATUS_OK;
}
