#include "common/base/clock.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t clock_read(clockid_t id) {
  struct timespec now;
  clock_gettime(id, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t clock_wall_us(void) {
  return clock_read(CLOCK_REALTIME);
}

int64_t clock_monotonic_us(void) {
  return clock_read(CLOCK_MONOTONIC);
}

const char *clock_format(int64_t wall_us, char text[CLOCK_TEXT_SIZE]) {
  if (wall_us < 0)
    wall_us = 0;
  time_t seconds = (time_t)(wall_us / 1000000);
  struct tm tm;
  if (!gmtime_r(&seconds, &tm) || tm.tm_year > 9999 - 1900) {
    snprintf(text, CLOCK_TEXT_SIZE, "9999-12-31T23:59:59.999Z");
    return text;
  }
  size_t used = strftime(text, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
  snprintf(text + used, CLOCK_TEXT_SIZE - used, ".%03dZ", (int)(wall_us / 1000 % 1000));
  return text;
}

static bool clock_digits(const char *text, int count, int low, int high, int *value) {
  *value = 0;
  for (int i = 0; i < count; i++) {
    if (text[i] < '0' || text[i] > '9')
      return false;
    *value = *value * 10 + (text[i] - '0');
  }
  return *value >= low && *value <= high;
}

int64_t clock_parse(const char *text) {
  static const char shape[] = "0000-00-00T00:00:00.000Z";
  if (strnlen(text, CLOCK_TEXT_SIZE) != sizeof shape - 1)
    return -1;
  for (size_t i = 0; shape[i]; i++)
    if (shape[i] != '0' && text[i] != shape[i])
      return -1;
  int year, month, day, hour, minute, second, millisecond;
  if (!clock_digits(text, 4, 1970, 9999, &year) || !clock_digits(text + 5, 2, 1, 12, &month) ||
      !clock_digits(text + 8, 2, 1, 31, &day) || !clock_digits(text + 11, 2, 0, 23, &hour) ||
      !clock_digits(text + 14, 2, 0, 59, &minute) || !clock_digits(text + 17, 2, 0, 59, &second) ||
      !clock_digits(text + 20, 3, 0, 999, &millisecond))
    return -1;
  struct tm tm = {
      .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = hour, .tm_min = minute, .tm_sec = second};
  time_t seconds = timegm(&tm);
  if (tm.tm_mday != day) /* 31 February */
    return -1;
  return (int64_t)seconds * 1000000 + (int64_t)millisecond * 1000;
}
