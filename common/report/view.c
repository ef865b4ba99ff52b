#include "common/report/view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

#define SECOND_US ((int64_t)1000000)
enum { DAY_SECONDS = 86400 };

/* ---- building ---- */

static char *cleaned(const char *format, va_list args) {
  char *text = NULL;
  if (vasprintf(&text, format, args) < 0)
    return memory_strdup("");
  size_t size = strlen(text) + 1;
  char *clean = memory_alloc(size);
  text_clean(text, clean, size);
  free(text);
  return clean;
}

ViewItem *view_add(View *view, ViewKind kind, ViewTone tone, bool brief, const char *format, ...) {
  va_list args;
  va_start(args, format);
  ViewItem item = {.kind = kind, .tone = tone, .brief = brief, .text = cleaned(format, args)};
  va_end(args);
  ARRAY_PUSH(view->items, view->count, item);
  return &view->items[view->count - 1];
}

ViewItem *view_table(View *view, ViewKind kind, bool brief, const ViewColumn *columns, size_t count) {
  ViewItem item = {.kind = kind, .brief = brief, .columns = columns, .column_count = count};
  ARRAY_PUSH(view->items, view->count, item);
  return &view->items[view->count - 1];
}

ViewItem *view_facts(View *view, bool brief) {
  static const ViewColumn columns[] = {{"", 22, false, false}, {"", 78, false, false}};
  return view_table(view, VIEW_FACTS, brief, columns, 2);
}

void view_cell(ViewItem *table, ViewTone tone, const char *format, ...) {
  va_list args;
  va_start(args, format);
  ViewCell cell = {.text = cleaned(format, args), .tone = tone};
  va_end(args);
  ARRAY_PUSH(table->cells, table->cell_count, cell);
}

void view_fact(ViewItem *facts, const char *name, ViewTone tone, const char *format, ...) {
  va_list args;
  view_cell(facts, TONE_DIM, "%s", name);
  va_start(args, format);
  ViewCell cell = {.text = cleaned(format, args), .tone = tone};
  va_end(args);
  ARRAY_PUSH(facts->cells, facts->cell_count, cell);
}

void view_release(View *view) {
  for (size_t i = 0; i < view->count; i++) {
    for (size_t j = 0; j < view->items[i].cell_count; j++)
      free(view->items[i].cells[j].text);
    free(view->items[i].cells);
    free(view->items[i].text);
  }
  free(view->items);
  free(view->title);
  free(view->footer);
  *view = (View){0};
}

/* ---- reading the document ---- */

const char *view_text(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

int64_t view_integer(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

bool view_true(const json_t *object, const char *key) {
  return json_is_true(json_object_get(object, key));
}

/* ---- times ---- */

const char *view_time(int64_t wall_us, char out[VIEW_TEXT_SIZE]) {
  time_t seconds = (time_t)(wall_us / 1000000);
  struct tm tm;
  if (wall_us <= 0 || !gmtime_r(&seconds, &tm) || strftime(out, VIEW_TEXT_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0)
    snprintf(out, VIEW_TEXT_SIZE, "-");
  return out;
}

const char *view_span(int64_t seconds, char out[VIEW_TEXT_SIZE]) {
  if (seconds < 120)
    snprintf(out, VIEW_TEXT_SIZE, "%" PRId64 " s", seconds);
  else if (seconds < 7200)
    snprintf(out, VIEW_TEXT_SIZE, "%" PRId64 " min", seconds / 60);
  else if (seconds < 172800)
    snprintf(out, VIEW_TEXT_SIZE, "%.3g h", (double)(seconds / 360) / 10);
  else
    snprintf(out, VIEW_TEXT_SIZE, "%.4g d", (double)(seconds / 8640) / 10);
  return out;
}

const char *view_took(int64_t ms, char out[VIEW_TEXT_SIZE]) {
  if (ms < 10000)
    snprintf(out, VIEW_TEXT_SIZE, "%.1f s", (double)ms / 1000);
  else if (ms < 600000)
    snprintf(out, VIEW_TEXT_SIZE, "%" PRId64 " s", (ms + 500) / 1000);
  else if (ms < 3600000)
    snprintf(out, VIEW_TEXT_SIZE, "%" PRId64 " min", (ms + 30000) / 60000);
  else
    snprintf(out, VIEW_TEXT_SIZE, "%" PRId64 " h %02" PRId64 " min", ms / 3600000, ms / 60000 % 60);
  return out;
}

static bool is_midnight(int64_t wall_us, struct tm *tm) {
  time_t seconds = (time_t)(wall_us / SECOND_US);
  return wall_us % SECOND_US == 0 && gmtime_r(&seconds, tm) && tm->tm_hour == 0 && tm->tm_min == 0 && tm->tm_sec == 0;
}

/* "October 2026", "the third quarter of 2026", if it is just that. */
static char *calendar_period(const struct tm *from, const struct tm *to) {
  static const char *const quarters[] = {"first", "second", "third", "fourth"};
  char month[VIEW_TEXT_SIZE];
  int months = (to->tm_year - from->tm_year) * 12 + to->tm_mon - from->tm_mon;
  if (from->tm_mday != 1 || to->tm_mday != 1)
    return NULL;
  if (months == 1 && strftime(month, sizeof month, "%B %Y", from) > 0)
    return memory_strdup(month);
  if (months == 3 && from->tm_mon % 3 == 0)
    return memory_format("the %s quarter of %d", quarters[from->tm_mon / 3], from->tm_year + 1900);
  return months == 12 && from->tm_mon == 0 ? memory_format("the year %d", from->tm_year + 1900) : NULL;
}

char *view_period(int64_t from_us, int64_t to_us) {
  struct tm first, after, last_day;
  char from[VIEW_TEXT_SIZE], to[VIEW_TEXT_SIZE];
  if (is_midnight(from_us, &first) && is_midnight(to_us, &after) && to_us > from_us) {
    char *whole = calendar_period(&first, &after);
    if (whole)
      return whole;
    time_t seconds = (time_t)(to_us / SECOND_US) - DAY_SECONDS;
    if (gmtime_r(&seconds, &last_day) && strftime(from, sizeof from, "%Y-%m-%d", &first) > 0 &&
        strftime(to, sizeof to, "%Y-%m-%d", &last_day) > 0)
      return strcmp(from, to) == 0 ? memory_strdup(from) : memory_format("%s to %s", from, to);
  }
  return memory_format("%s to %s UTC", view_time(from_us, from), view_time(to_us, to));
}

char *view_subject(const json_t *report) {
  const json_t *of = json_object_get(report, "of"), *names = json_object_get(of, "names"), *name;
  const char *kind = view_text(of, "kind");
  size_t index;
  CLEANUP(buffer_release) Buffer text = {0};
  if (strcmp(kind, "databases") == 0) {
    buffer_append_text(&text, "The databases ");
    json_array_foreach(names, index, name) {
      buffer_append_format(&text, "%s%s", index ? ", " : "", json_string_value(name) ? json_string_value(name) : "?");
    }
    return buffer_steal_text(&text);
  }
  if (strcmp(kind, "fleet") == 0)
    return memory_strdup("The fleet");
  return memory_format("%s %s",
                       strcmp(kind, "owner") == 0         ? "Databases of"
                       : strcmp(kind, "environment") == 0 ? "Databases of the environment"
                                                          : "Database",
                       view_text(of, "name"));
}

/* ---- its head ---- */

static void add_head(View *view, const json_t *report) {
  const json_t *of = json_object_get(report, "of");
  int64_t from_us = view_integer(report, "from_us"), to_us = view_integer(report, "to_us");
  char from[VIEW_TEXT_SIZE], to[VIEW_TEXT_SIZE], made[VIEW_TEXT_SIZE], end[VIEW_TEXT_SIZE];
  CLEANUP_FREE char *about = view_subject(report);
  CLEANUP_FREE char *period = view_period(from_us, to_us);
  view_add(view, VIEW_TITLE, TONE_PLAIN, true, "Restore report: %s", period);
  view_add(view, VIEW_SUBTITLE, TONE_DIM, true, "%s%s", about,
           view_true(of, "whole") ? "" : " (as far as the token that asked may see it)");
  view->title = memory_strdup(view->items[view->count - 2].text);
  ViewItem *facts = view_facts(view, false);
  view_fact(facts, "Period", TONE_PLAIN, "%s (included) to %s (excluded), UTC. All times here are UTC.",
            view_time(from_us, from), view_time(to_us, to));
  if (view_integer(report, "end_us") < to_us)
    view_fact(facts, "Not over", TONE_WARN, "The period was not over when this was made: it tells of it up to %s.",
              view_time(view_integer(report, "end_us"), end));
  view_fact(facts, "Made", TONE_PLAIN, "%s by pgseal %s, out of its ledger up to event %" PRId64,
            view_time(view_integer(report, "made_us"), made), view_text(report, "pgseal_version"),
            view_integer(json_object_get(report, "chain"), "sequence"));
  CLEANUP_FREE char *footer = memory_format("%s \xc2\xb7 %s \xc2\xb7 made %s UTC", about, period, made);
  size_t size = strlen(footer) + 1;
  view->footer = memory_alloc(size);
  text_clean(footer, view->footer, size);
}

void view_make(const ReportFile *file, ViewTrust trust, View *out) {
  *out = (View){0};
  add_head(out, file->report);
  view_summary(out, file->report);
  view_problems(out, file->report);
  view_databases(out, file->report);
  view_recoveries(out, file->report);
  view_omissions(out, file->report);
  view_trials(out, file->report);
  view_silences(out, file->report);
  view_controls(out, file->report);
  view_evidence(out, file, trust);
}
