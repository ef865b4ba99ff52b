/* A report's lists: what is not covered, what went wrong, the databases, the restores, the omissions, the trials. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/api.h"
#include "cli/report/view.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { PLANS_SHOWN = 200, OBJECTS_SHOWN = 6, TABLES_SHOWN = 6 };
#define SECOND_US ((int64_t)1000000)
#define COLUMNS(columns) columns, sizeof(columns) / sizeof *(columns)

static bool is(const json_t *row, const char *key, const char *value) {
  return strcmp(api_text(row, key), value) == 0;
}

static const char *or_dash(const char *text) {
  return *text ? text : "-";
}

static void database_cell(ViewItem *table, const json_t *row) {
  const char *environment = api_text(row, "environment");
  view_cell(table, TONE_PLAIN, "%s%s%s%s", api_text(row, "name"), *environment ? " [" : "", environment,
            *environment ? "]" : "");
}

/* ---- what has no fresh proof ---- */

static ViewTone coverage_tone(const json_t *row) {
  return is(row, "coverage", "fresh") ? TONE_GOOD : is(row, "coverage", "no_objective") ? TONE_WARN : TONE_BAD;
}

static const char *coverage_text(const json_t *row) {
  return is(row, "coverage", "fresh")          ? "fresh"
         : is(row, "coverage", "stale")        ? "older than its objective"
         : is(row, "coverage", "no_objective") ? "no objective"
                                               : "no proof at all";
}

static void add_uncovered(ViewItem *table, const json_t *row) {
  const json_t *proof = json_object_get(row, "last_proof");
  char when[VIEW_TEXT_SIZE], age[VIEW_TEXT_SIZE], objective[VIEW_TEXT_SIZE];
  int64_t seconds = api_integer(json_object_get(row, "objectives"), "proof_age_seconds");
  database_cell(table, row);
  view_cell(table, TONE_PLAIN, "%s", or_dash(api_text(row, "owner")));
  view_cell(table, coverage_tone(row), "%s", coverage_text(row));
  view_cell(table, TONE_PLAIN, "%s", view_time(api_integer(proof, "finished_us"), when));
  view_cell(table, TONE_PLAIN, "%s", proof ? view_span(api_integer(row, "proof_age_us") / SECOND_US, age) : "-");
  view_cell(table, TONE_PLAIN, "%s", seconds ? view_span(seconds, objective) : "-");
}

static void add_coverage(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Database", 26, false, false},   {"Owner", 16, false, false},
                                       {"At the end", 18, false, false}, {"Last proof (UTC)", 18, false, false},
                                       {"Proof's age", 11, true, false}, {"Objective", 11, true, false}};
  const json_t *rows = json_object_get(report, "databases"), *row;
  size_t index;
  ViewItem *table = NULL;
  view_add(view, VIEW_HEADING, TONE_PLAIN, true, "Databases without a fresh proof at the end of the period");
  json_array_foreach(rows, index, row) {
    if (!api_true(row, "declared") || is(row, "coverage", "fresh"))
      continue;
    if (!table)
      table = view_table(view, VIEW_TABLE, true, COLUMNS(columns));
    add_uncovered(table, row);
  }
  if (!table)
    view_add(view, VIEW_TEXT, TONE_PLAIN, true,
             "There is none: each has a proof that is not older than its objective.");
}

/* ---- what went wrong ---- */

static bool is_problem(const json_t *row, const char *key) {
  return is(row, key, "failed") || is(row, key, "errored");
}

static void add_problem(ViewItem *table, const json_t *row, const char *what) {
  const json_t *next = json_object_get(row, "next_proven");
  char when[VIEW_TEXT_SIZE], then[VIEW_TEXT_SIZE], later[VIEW_TEXT_SIZE];
  int64_t finished_us = api_integer(row, "finished_us"), next_us = api_integer(next, "finished_us");
  view_cell(table, TONE_PLAIN, "%s", view_time(finished_us, when));
  view_cell(table, TONE_PLAIN, "%s", api_text(row, "database"));
  view_cell(table, is(row, "outcome", "failed") ? TONE_BAD : TONE_WARN, "%s %s", what, api_text(row, "outcome"));
  view_cell(table, TONE_PLAIN, "%s%s%s", or_dash(api_text(row, "error")), *api_text(row, "message") ? ": " : "",
            api_text(row, "message"));
  if (next)
    view_cell(table, TONE_GOOD, "proven %s, %s later (checkpoint %s)", view_time(next_us, then),
              view_span((next_us - finished_us) / SECOND_US, later), api_text(next, "checkpoint"));
  else
    view_cell(table, TONE_BAD, "no proof of this database since");
}

typedef struct Problem {
  const json_t *row;
  const char *what;
} Problem;

static int by_time(const void *a, const void *b) {
  int64_t x = api_integer(((const Problem *)a)->row, "finished_us");
  int64_t y = api_integer(((const Problem *)b)->row, "finished_us");
  return (x > y) - (x < y);
}

/* Of drills, and of checkpoints that never came to one. Freed by the caller. */
static Problem *problems_of(const json_t *report, size_t *count) {
  static const char *const lists[][2] = {{"drills", "Drill"}, {"checkpoints", "Checkpoint"}};
  Problem *problems = NULL;
  size_t index;
  *count = 0;
  for (size_t i = 0; i < 2; i++) {
    const json_t *rows = json_object_get(report, lists[i][0]), *row;
    json_array_foreach(rows, index, row) {
      Problem problem = {row, lists[i][1]};
      if (is_problem(row, "outcome") && !is_problem(row, "restore_drill"))
        ARRAY_PUSH(problems, *count, problem);
    }
  }
  if (*count > 0)
    qsort(problems, *count, sizeof *problems, by_time);
  return problems;
}

void view_problems(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Ended (UTC)", 15, false, false},
                                       {"Database", 18, false, false},
                                       {"What", 13, false, false},
                                       {"Why", 26, false, false},
                                       {"What followed", 28, false, false}};
  size_t count;
  CLEANUP_FREE Problem *problems = problems_of(report, &count);
  add_coverage(view, report);
  view_add(view, VIEW_HEADING, TONE_PLAIN, true, "What went wrong, and what followed");
  if (count == 0) {
    view_add(view, VIEW_TEXT, TONE_PLAIN, true, "Nothing: no drill and no checkpoint failed or errored.");
    return;
  }
  ViewItem *table = view_table(view, VIEW_TABLE, true, COLUMNS(columns));
  for (size_t i = 0; i < count; i++)
    add_problem(table, problems[i].row, problems[i].what);
  view_add(view, VIEW_TEXT, TONE_DIM, false,
           "A drill that failed condemns its checkpoint: it is not restored from. One that errored says nothing about "
           "it (no container, an agent lost). What followed is the first drill of the same database that was proven "
           "after it, up to when this was made. Why it went wrong, and who mended what, is not in the ledger.");
}

/* ---- the databases ---- */

static void times_cells(ViewItem *table, const json_t *row) {
  const json_t *restore = json_object_get(row, "restore"), *objectives = json_object_get(row, "objectives");
  int64_t measured = api_integer(restore, "measured"), objective = api_integer(objectives, "restore_seconds");
  int64_t over = api_integer(restore, "over_objective");
  char took[VIEW_TEXT_SIZE], slow[VIEW_TEXT_SIZE], limit[VIEW_TEXT_SIZE];
  if (measured > 0)
    view_cell(table, TONE_PLAIN, "%s / %s", view_took(api_integer(restore, "median_ms"), took),
              view_took(api_integer(restore, "slowest_ms"), slow));
  else
    view_cell(table, TONE_DIM, "-");
  if (objective > 0)
    view_cell(table, over > 0 ? TONE_WARN : TONE_PLAIN, "%s%s", view_span(objective, limit),
              over > 0 ? ", exceeded" : "");
  else
    view_cell(table, TONE_DIM, "-");
}

void view_databases(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Database", 23, false, false}, {"Proven", 9, true, false},
                                       {"Failed", 8, true, false},     {"Errored", 9, true, false},
                                       {"Sealed", 9, true, false},     {"Restore, typical / slowest", 16, true, false},
                                       {"Objective", 12, true, false}, {"Proof's age at the end", 15, true, false}};
  const json_t *rows = json_object_get(report, "databases"), *row;
  size_t index;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "The databases");
  ViewItem *table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
  json_array_foreach(rows, index, row) {
    const json_t *drills = json_object_get(row, "drills");
    int64_t failed = api_integer(drills, "failed"), errored = api_integer(drills, "errored");
    char age[VIEW_TEXT_SIZE];
    database_cell(table, row);
    view_cell(table, TONE_PLAIN, "%" PRId64, api_integer(drills, "proven"));
    view_cell(table, failed ? TONE_BAD : TONE_PLAIN, "%" PRId64, failed);
    view_cell(table, errored ? TONE_WARN : TONE_PLAIN, "%" PRId64, errored);
    view_cell(table, TONE_PLAIN, "%" PRId64, api_integer(json_object_get(row, "checkpoints"), "sealed"));
    times_cells(table, row);
    if (json_is_object(json_object_get(row, "last_proof")))
      view_cell(table, coverage_tone(row), "%s", view_span(api_integer(row, "proof_age_us") / SECOND_US, age));
    else
      view_cell(table, TONE_BAD, "no proof");
  }
  view_add(
      view, VIEW_TEXT, TONE_DIM, false,
      "Proven, failed, errored: drills that were asked for in the period, wherever they ended. Sealed: checkpoints. "
      "Restore: what a drill's stages took, from preparing a server to having compared all of it: more than a restore "
      "alone takes, on the drill agents' machines. A proof's age is that of the newest proof of the newest proven "
      "checkpoint. Objectives, owners and the list of databases are those in force when this was made.");
}

/* ---- who restored what ---- */

static void what_cell(ViewItem *table, const json_t *row) {
  const json_t *tables = json_object_get(row, "tables"), *name;
  size_t index;
  CLEANUP(buffer_release) Buffer text = {0};
  buffer_append_text(&text, or_dash(*api_text(row, "mode") ? api_text(row, "mode") : api_text(row, "purpose")));
  json_array_foreach(tables, index, name) {
    if (index < TABLES_SHOWN) {
      buffer_append_text(&text, index ? ", " : ": ");
      buffer_append_text(&text, json_string_value(name) ? json_string_value(name) : "?");
    }
  }
  if (api_integer(row, "tables_count") > TABLES_SHOWN)
    buffer_append_format(&text, " and %" PRId64 " more", api_integer(row, "tables_count") - TABLES_SHOWN);
  if (*api_text(row, "target_name")) {
    buffer_append_text(&text, " as ");
    buffer_append_text(&text, api_text(row, "target_name"));
  }
  view_cell(table, TONE_PLAIN, "%s of checkpoint %s", buffer_text(&text), api_text(row, "checkpoint"));
}

static void add_recovery(ViewItem *table, const json_t *row) {
  char when[VIEW_TEXT_SIZE], approved[VIEW_TEXT_SIZE];
  bool done = is(row, "outcome", "done");
  view_cell(table, TONE_PLAIN, "%s", view_time(api_integer(row, "asked_us"), when));
  view_cell(table, TONE_PLAIN, "%s", api_text(row, "kind"));
  view_cell(table, TONE_PLAIN, "%s", api_text(row, "database"));
  view_cell(table, TONE_PLAIN, "%s", or_dash(api_text(row, "asked_by")));
  if (*api_text(row, "approved_by"))
    view_cell(table, TONE_PLAIN, "%s, %s", api_text(row, "approved_by"),
              view_time(api_integer(row, "approved_us"), approved));
  else
    view_cell(table, TONE_DIM, "-");
  what_cell(table, row);
  view_cell(table,
            done                         ? TONE_GOOD
            : is(row, "outcome", "open") ? TONE_DIM
                                         : TONE_WARN,
            "%s%s%s", api_text(row, "outcome"), *api_text(row, "error") ? ": " : "", api_text(row, "error"));
}

void view_recoveries(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Asked for (UTC)", 14, false, false}, {"Kind", 11, false, false},
                                       {"Database", 16, false, false},        {"By", 12, false, false},
                                       {"Approved by", 15, false, false},     {"What", 22, false, false},
                                       {"Outcome", 10, false, false}};
  const json_t *rows = json_object_get(report, "recoveries"), *row;
  size_t index, plans = 0;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "Who restored what: restores, rehearsals and plans");
  if (json_array_size(rows) == 0) {
    view_add(view, VIEW_TEXT, TONE_PLAIN, false, "Nobody asked for any.");
    return;
  }
  ViewItem *table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
  json_array_foreach(rows, index, row) {
    plans += is(row, "kind", "plan");
    if (!is(row, "kind", "plan") || plans <= PLANS_SHOWN)
      add_recovery(table, row);
  }
  if (plans > PLANS_SHOWN)
    view_add(view, VIEW_TEXT, TONE_DIM, false, "%zu more plans are in the JSON document.", plans - PLANS_SHOWN);
  if (!is(json_object_get(report, "listed"), "recoveries", "all"))
    view_add(
        view, VIEW_TEXT, TONE_WARN, false,
        "There were too many to list plans and rehearsals: only restores are listed. Ask for one owner or database.");
}

/* ---- omissions, trials ---- */

void view_omissions(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Database", 28, false, false},
                                       {"Not in its newest proven checkpoint", 72, false, false}};
  const json_t *rows = json_object_get(report, "databases"), *row, *omission;
  size_t index, inner;
  ViewItem *table = NULL;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "Omissions: what a restore would not bring back");
  json_array_foreach(rows, index, row) {
    const json_t *omissions = json_object_get(row, "omissions");
    int64_t count = api_integer(row, "omissions_count");
    CLEANUP(buffer_release) Buffer text = {0};
    if (!api_true(row, "declared") || count == 0)
      continue;
    json_array_foreach(omissions, inner, omission) {
      if (inner >= OBJECTS_SHOWN)
        break;
      buffer_append_format(&text, "%s%s%s%s", inner ? "; " : "", api_text(omission, "kind"),
                           *api_text(omission, "object") ? " " : "", api_text(omission, "object"));
    }
    if (count > OBJECTS_SHOWN)
      buffer_append_format(&text, "; and %" PRId64 " more", count - OBJECTS_SHOWN);
    if (!table)
      table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
    database_cell(table, row);
    view_cell(table, TONE_PLAIN, "%s", buffer_text(&text));
  }
  if (!table)
    view_add(view, VIEW_TEXT, TONE_PLAIN, false, "The newest proven checkpoints state none.");
}

void view_trials(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Asked for (UTC)", 18, false, false},
                                       {"Database", 26, false, false},
                                       {"Trial", 26, false, false},
                                       {"Agent", 16, false, false},
                                       {"Answer", 14, false, false}};
  const json_t *rows = json_object_get(report, "trials"), *row;
  size_t index;
  if (json_array_size(rows) == 0)
    return;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "Trials: is damage seen, is the next major version ready");
  ViewItem *table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
  json_array_foreach(rows, index, row) {
    char when[VIEW_TEXT_SIZE];
    bool bad = is(row, "verdict", "survived"), unclear = is(row, "verdict", "no_answer");
    view_cell(table, TONE_PLAIN, "%s", view_time(api_integer(row, "asked_us"), when));
    view_cell(table, TONE_PLAIN, "%s", api_text(row, "database"));
    view_cell(table, TONE_PLAIN, "%s%s%s", api_text(row, "kind"), *api_text(row, "damage") ? ": " : "",
              api_text(row, "damage"));
    view_cell(table, TONE_PLAIN, "%s", or_dash(api_text(row, "agent")));
    view_cell(table, bad ? TONE_BAD : unclear ? TONE_WARN : TONE_GOOD, "%s", api_text(row, "verdict"));
  }
  view_add(view, VIEW_TEXT, TONE_DIM, false,
           "A canary is a checkpoint that was damaged on purpose, in the drill agent's own copy. It has to be refuted; "
           "where "
           "one survived, that agent gets no more drills until somebody looked into it.");
}
