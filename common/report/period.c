#include "common/report/report.h"

#include <string.h>
#include <time.h>

#include "common/base/memory.h"

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

static int64_t months_later(int64_t first, int months) {
  time_t seconds = (time_t)first;
  struct tm tm;
  if (!gmtime_r(&seconds, &tm))
    return first;
  tm.tm_mon += months; /* timegm puts the year right */
  return timegm(&tm);
}

Status report_quarter_parse(const char *text, int64_t *from_us, int64_t *to_us, Error *err) {
  const char *at = text;
  struct tm tm = {.tm_mday = 1};
  int64_t from;
  int quarter;
  bool fine = digits(&at, 4, &tm.tm_year) && mark(&at, '-') && mark(&at, 'Q') && digits(&at, 1, &quarter) && !*at &&
              quarter >= 1 && quarter <= 4;
  tm.tm_year -= 1900;
  tm.tm_mon = fine ? (quarter - 1) * 3 : 0;
  if (!fine || !seconds_of(tm, &from))
    return error_set(err, ERR_INVALID_ARGUMENT, "'%.40s' is no quarter; it is like 2026-Q4", text);
  *from_us = from * SECOND_US;
  *to_us = months_later(from, 3) * SECOND_US;
  return STATUS_OK;
}

/* Of the day that begins then: days since Monday. */
static int days_since_monday(int64_t day) {
  time_t seconds = (time_t)day;
  struct tm tm = {0};
  gmtime_r(&seconds, &tm);
  return (tm.tm_wday + 6) % 7;
}

/* The first week is the one with 4 January in it (ISO 8601). */
static bool week_begins(int year, int week, int64_t *monday) {
  struct tm tm = {.tm_year = year - 1900, .tm_mday = 4}, last = {.tm_year = year - 1900, .tm_mon = 11, .tm_mday = 28};
  int64_t fourth, last_28th;
  if (week < 1 || !seconds_of(tm, &fourth) || !seconds_of(last, &last_28th))
    return false;
  *monday = fourth - days_since_monday(fourth) * (int64_t)DAY_SECONDS + (week - 1) * 7 * (int64_t)DAY_SECONDS;
  return *monday <= last_28th; /* which is in the year's last week */
}

Status report_week_parse(const char *text, int64_t *from_us, int64_t *to_us, Error *err) {
  const char *at = text;
  int year, week;
  int64_t monday;
  if (!digits(&at, 4, &year) || !mark(&at, '-') || !mark(&at, 'W') || !digits(&at, 2, &week) || *at ||
      !week_begins(year, week, &monday))
    return error_set(err, ERR_INVALID_ARGUMENT, "'%.40s' is no week; it is like 2026-W45, as ISO 8601 counts them",
                     text);
  *from_us = monday * SECOND_US;
  *to_us = (monday + 7 * (int64_t)DAY_SECONDS) * SECOND_US;
  return STATUS_OK;
}

const char *report_period_name(ReportPeriod period) {
  static const char *const names[REPORT_PERIODS] = {"week", "month", "quarter"};
  return names[period];
}

void report_period_before(ReportPeriod period, int64_t at_us, int64_t *from_us, int64_t *to_us) {
  int64_t day = at_us / SECOND_US / DAY_SECONDS * DAY_SECONDS;
  time_t seconds = (time_t)day;
  struct tm tm = {0};
  if (period == REPORT_WEEK) {
    int64_t monday = day - days_since_monday(day) * (int64_t)DAY_SECONDS;
    *to_us = monday * SECOND_US;
    *from_us = (monday - 7 * (int64_t)DAY_SECONDS) * SECOND_US;
    return;
  }
  int months = period == REPORT_MONTH ? 1 : 3;
  gmtime_r(&seconds, &tm);
  struct tm first = {.tm_year = tm.tm_year, .tm_mon = tm.tm_mon / months * months, .tm_mday = 1};
  int64_t to = timegm(&first);
  *to_us = to * SECOND_US;
  *from_us = months_later(to, -months) * SECOND_US;
}

char *report_period_text(int64_t from_us, int64_t to_us) {
  static const char *const layouts[REPORT_PERIODS] = {"%G-W%V", "%Y-%m", "%Y-Q"};
  for (ReportPeriod period = REPORT_WEEK; period < REPORT_PERIODS; period++) {
    char text[32] = "";
    int64_t from, to;
    time_t seconds = (time_t)(from_us / SECOND_US);
    struct tm tm = {0};
    report_period_before(period, to_us, &from, &to);
    if (from != from_us || to != to_us || !gmtime_r(&seconds, &tm) ||
        strftime(text, sizeof text, layouts[period], &tm) == 0)
      continue;
    return period == REPORT_QUARTER ? memory_format("%s%d", text, tm.tm_mon / 3 + 1) : memory_strdup(text);
  }
  return NULL;
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
