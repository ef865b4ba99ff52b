#include "cli/report/view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/api.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

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

/* "October 2026", if it is just that. */
static bool month_of(int64_t from_us, int64_t to_us, char out[VIEW_TEXT_SIZE]) {
  char text[VIEW_TEXT_SIZE];
  Error ignored;
  int64_t from, to;
  time_t seconds = (time_t)(from_us / 1000000);
  struct tm tm;
  return gmtime_r(&seconds, &tm) && strftime(text, sizeof text, "%Y-%m", &tm) > 0 &&
         report_month_parse(text, &from, &to, &ignored) == STATUS_OK && from == from_us && to == to_us &&
         strftime(out, VIEW_TEXT_SIZE, "%B %Y", &tm) > 0;
}

/* ---- its head, and what it comes to ---- */

static void add_head(View *view, const json_t *report) {
  const json_t *of = json_object_get(report, "of");
  const char *kind = api_text(of, "kind"), *name = api_text(of, "name");
  int64_t from_us = api_integer(report, "from_us"), to_us = api_integer(report, "to_us");
  char from[VIEW_TEXT_SIZE], to[VIEW_TEXT_SIZE], period[2 * VIEW_TEXT_SIZE], made[VIEW_TEXT_SIZE], end[VIEW_TEXT_SIZE];
  CLEANUP_FREE char *about =
      strcmp(kind, "fleet") == 0
          ? memory_strdup("The fleet")
          : memory_format("%s %s", strcmp(kind, "owner") == 0 ? "Databases of" : "Database", name);
  if (!month_of(from_us, to_us, period))
    snprintf(period, sizeof period, "%s to %s UTC", view_time(from_us, from), view_time(to_us, to));
  view_add(view, VIEW_TITLE, TONE_PLAIN, true, "Restores proven: %s", period);
  view_add(view, VIEW_SUBTITLE, TONE_DIM, true, "%s%s", about,
           api_true(of, "whole") ? "" : " (as far as the token that asked may see it)");
  view->title = memory_strdup(view->items[view->count - 2].text);
  static const ViewColumn facts_columns[] = {{"", 26, false, false}, {"", 74, false, false}};
  ViewItem *facts = view_table(view, VIEW_FACTS, false, facts_columns, 2);
  view_fact(facts, "Period", TONE_PLAIN, "%s (included) to %s (excluded), UTC. All times here are UTC.",
            view_time(from_us, from), view_time(to_us, to));
  if (api_integer(report, "end_us") < to_us)
    view_fact(facts, "Not over", TONE_WARN, "The period was not over when this was made: it tells of it up to %s.",
              view_time(api_integer(report, "end_us"), end));
  view_fact(facts, "Made", TONE_PLAIN, "%s by pgseal %s, out of its ledger up to event %" PRId64,
            view_time(api_integer(report, "made_us"), made), api_text(report, "pgseal_version"),
            api_integer(json_object_get(report, "chain"), "sequence"));
  CLEANUP_FREE char *footer = memory_format("%s \xc2\xb7 %s \xc2\xb7 made %s UTC", about, period, made);
  size_t size = strlen(footer) + 1;
  view->footer = memory_alloc(size);
  text_clean(footer, view->footer, size);
}

static const json_t *part(const json_t *totals, const char *name) {
  return json_object_get(totals, name);
}

static void add_coverage_fact(ViewItem *facts, const json_t *totals) {
  const json_t *coverage = part(totals, "coverage");
  int64_t all = api_integer(totals, "databases"), stale = api_integer(coverage, "stale"),
          unproven = api_integer(coverage, "unproven");
  view_fact(facts, "Databases", stale + unproven > 0 ? TONE_BAD : TONE_GOOD,
            "%" PRId64 ": %" PRId64 " with a proof not older than its objective, %" PRId64
            " with an older one, %" PRId64 " with a proof and no objective, %" PRId64 " without any proof",
            all, api_integer(coverage, "fresh"), stale, api_integer(coverage, "no_objective"), unproven);
}

static void add_totals(View *view, const json_t *report) {
  const json_t *totals = json_object_get(report, "totals");
  const json_t *drills = part(totals, "drills"), *problems = part(totals, "problems"),
               *checkpoints = part(totals, "checkpoints");
  const json_t *restore = part(totals, "restore"), *restores = part(totals, "restores"),
               *trials = part(totals, "trials");
  int64_t unresolved = api_integer(problems, "unresolved"), over = api_integer(restore, "over_objective");
  char took[VIEW_TEXT_SIZE];
  static const ViewColumn columns[] = {{"", 26, false, false}, {"", 74, false, false}};
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "In short");
  ViewItem *facts = view_table(view, VIEW_FACTS, true, columns, 2);
  add_coverage_fact(facts, totals);
  view_fact(facts, "Restore drills", api_integer(drills, "failed") > 0 ? TONE_WARN : TONE_PLAIN,
            "%" PRId64 " proven, %" PRId64 " failed, %" PRId64 " errored, %" PRId64 " canceled, %" PRId64 " not over",
            api_integer(drills, "proven"), api_integer(drills, "failed"), api_integer(drills, "errored"),
            api_integer(drills, "canceled"), api_integer(drills, "open"));
  view_fact(facts, "Checkpoints", TONE_PLAIN,
            "%" PRId64 " sealed, %" PRId64 " failed, %" PRId64 " errored, %" PRId64 " canceled, %" PRId64 " not over",
            api_integer(checkpoints, "sealed"), api_integer(checkpoints, "failed"), api_integer(checkpoints, "errored"),
            api_integer(checkpoints, "canceled"), api_integer(checkpoints, "open"));
  view_fact(facts, "Failures", unresolved > 0 ? TONE_BAD : TONE_PLAIN,
            "%" PRId64 " followed by a proof of the same database, %" PRId64 " not followed by one yet",
            api_integer(problems, "resolved"), unresolved);
  view_fact(facts, "Restore times", over > 0 ? TONE_WARN : TONE_PLAIN,
            "%" PRId64 " measured; the slowest took %s; %" PRId64 " took longer than their objective (%" PRId64
            " databases have one)",
            api_integer(restore, "measured"), view_took(api_integer(restore, "slowest_ms"), took), over,
            api_integer(restore, "databases_with_objective"));
  view_fact(facts, "Restores", TONE_PLAIN,
            "%" PRId64 " done, %" PRId64 " not done; %" PRId64 " approved by a second person",
            api_integer(restores, "done"),
            api_integer(restores, "failed") + api_integer(restores, "errored") + api_integer(restores, "canceled") +
                api_integer(restores, "open"),
            api_integer(restores, "approved"));
  view_fact(facts, "Damage on purpose", api_integer(trials, "survived") > 0 ? TONE_BAD : TONE_PLAIN,
            "Canaries refuted, as they must be: %" PRId64 "; survived: %" PRId64, api_integer(trials, "refuted"),
            api_integer(trials, "survived"));
  view_fact(facts, "Omissions", TONE_PLAIN, "Databases with something that a restore would not bring back: %" PRId64,
            api_integer(totals, "databases_with_omissions"));
}

void view_make(const ReportFile *file, ViewTrust trust, View *out) {
  *out = (View){0};
  add_head(out, file->report);
  add_totals(out, file->report);
  view_problems(out, file->report);
  view_databases(out, file->report);
  view_recoveries(out, file->report);
  view_omissions(out, file->report);
  view_trials(out, file->report);
  view_controls(out, file->report);
  view_evidence(out, file, trust);
}
