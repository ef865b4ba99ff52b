/* A report's lists: what is not covered, what went wrong, the databases, the restores, the omissions, the trials. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/report/view.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

enum { PLANS_SHOWN = 200, OBJECTS_SHOWN = 6, TABLES_SHOWN = 6 };
#define SECOND_US ((int64_t)1000000)
#define COLUMNS(columns) columns, sizeof(columns) / sizeof *(columns)

static bool is(const json_t *row, const char *key, const char *value) {
  return strcmp(view_text(row, key), value) == 0;
}

static const char *or_dash(const char *text) {
  return *text ? text : "-";
}

static void database_cell(ViewItem *table, const json_t *row) {
  const char *environment = view_text(row, "environment");
  view_cell(table, TONE_PLAIN, "%s%s%s%s%s", view_text(row, "name"), *environment ? " [" : "", environment,
            *environment ? "]" : "", view_true(row, "declared") ? "" : " (not in the fleet any more)");
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
  int64_t seconds = view_integer(json_object_get(row, "objectives"), "proof_age_seconds");
  database_cell(table, row);
  view_cell(table, TONE_PLAIN, "%s", or_dash(view_text(row, "owner")));
  view_cell(table, coverage_tone(row), "%s", coverage_text(row));
  view_cell(table, TONE_PLAIN, "%s", view_time(view_integer(proof, "finished_us"), when));
  view_cell(table, TONE_PLAIN, "%s", proof ? view_span(view_integer(row, "proof_age_us") / SECOND_US, age) : "-");
  view_cell(table, TONE_PLAIN, "%s", seconds ? view_span(seconds, objective) : "-");
}

static void add_coverage(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Database", 25, false, false},   {"Owner", 15, false, false},
                                       {"At the end", 18, false, false}, {"Last proof (UTC)", 21, false, false},
                                       {"Proof's age", 11, true, false}, {"Objective", 10, true, false}};
  const json_t *rows = json_object_get(report, "databases"), *row;
  static const char *const worst_first[] = {"unproven", "stale", "no_objective"};
  int64_t declared = view_integer(json_object_get(report, "totals"), "databases");
  size_t index;
  ViewItem *table = NULL;
  view_add(view, VIEW_HEADING, TONE_PLAIN, true,
           "Databases without a fresh proof, or without an objective for its age");
  for (size_t i = 0; i < ARRAY_SIZE(worst_first); i++) {
    json_array_foreach(rows, index, row) {
      if (!view_true(row, "declared") || !is(row, "coverage", worst_first[i]))
        continue;
      if (!table)
        table = view_table(view, VIEW_TABLE, true, COLUMNS(columns));
      add_uncovered(table, row);
    }
  }
  if (!table)
    view_add(view, VIEW_TEXT, TONE_PLAIN, true,
             declared > 0 ? "There is none: each has a proof that is not older than its objective."
                          : "No database that this report is about was declared when it was made.");
}

/* ---- what went wrong ---- */

static bool is_problem(const json_t *row, const char *key) {
  return is(row, key, "failed") || is(row, key, "errored");
}

static void free_json(json_t **json) {
  json_decref(*json);
}

/* New reference: the names of databases that have a row, and are not in the fleet any more, as keys. */
static json_t *gone_of(const json_t *report) {
  const json_t *rows = json_object_get(report, "databases"), *row;
  json_t *gone = json_object();
  size_t index;
  json_array_foreach(rows, index, row) {
    if (!view_true(row, "declared"))
      json_object_set_new(gone, view_text(row, "name"), json_true());
  }
  return gone;
}

static void add_problem(ViewItem *table, const json_t *row, const char *what, const json_t *gone) {
  const json_t *next = json_object_get(row, "next_proven");
  char when[VIEW_TEXT_SIZE], then[VIEW_TEXT_SIZE], later[VIEW_TEXT_SIZE];
  int64_t finished_us = view_integer(row, "finished_us"), next_us = view_integer(next, "finished_us");
  view_cell(table, TONE_PLAIN, "%s", view_time(finished_us, when));
  view_cell(table, TONE_PLAIN, "%s", view_text(row, "database"));
  view_cell(table, is(row, "outcome", "failed") ? TONE_BAD : TONE_WARN, "%s %s", what, view_text(row, "outcome"));
  view_cell(table, TONE_PLAIN, "%s%s%s", or_dash(view_text(row, "error")), *view_text(row, "message") ? ": " : "",
            view_text(row, "message"));
  if (next)
    view_cell(table, TONE_GOOD, "proven %s later, %s, by %s", view_span((next_us - finished_us) / SECOND_US, later),
              view_time(next_us, then), view_text(next, "checkpoint"));
  else if (json_object_get(gone, view_text(row, "database")))
    view_cell(table, TONE_WARN, "no proof of this database since; it is not in the fleet any more");
  else
    view_cell(table, TONE_BAD, "no proof of this database since");
}

typedef struct Problem {
  const json_t *row;
  const char *what;
} Problem;

static int by_time(const void *a, const void *b) {
  int64_t x = view_integer(((const Problem *)a)->row, "finished_us");
  int64_t y = view_integer(((const Problem *)b)->row, "finished_us");
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
  static const ViewColumn columns[] = {{"Ended (UTC)", 13, false, false},
                                       {"Database", 15, false, false},
                                       {"What", 12, false, false},
                                       {"Error", 31, false, false},
                                       {"What followed, by which checkpoint", 29, false, false}};
  size_t count;
  CLEANUP(free_json) json_t *gone = gone_of(report);
  CLEANUP_FREE Problem *problems = problems_of(report, &count);
  add_coverage(view, report);
  view_add(view, VIEW_HEADING, TONE_PLAIN, true, "What went wrong, and what followed");
  if (count == 0) {
    view_add(view, VIEW_TEXT, TONE_PLAIN, true, "Nothing: no drill and no checkpoint failed or errored.");
    return;
  }
  ViewItem *table = view_table(view, VIEW_TABLE, true, COLUMNS(columns));
  for (size_t i = 0; i < count; i++)
    add_problem(table, problems[i].row, problems[i].what, gone);
  view_add(view, VIEW_TEXT, TONE_DIM, false,
           "A drill that failed condemns its checkpoint: it is not restored from. One that errored says nothing about "
           "it (no container, an agent lost). What followed is the first drill of the same database that was proven "
           "after it, up to when this was made. What caused an error, and who mended what, is not in the ledger.");
}

/* ---- the databases ---- */

/* Of how many that were asked for: a dump that does not end well has no drill that would be counted beside. */
static void sealed_cell(ViewItem *table, const json_t *checkpoints) {
  int64_t sealed = view_integer(checkpoints, "sealed"),
          wrong = view_integer(checkpoints, "failed") + view_integer(checkpoints, "errored"),
          all = sealed + wrong + view_integer(checkpoints, "canceled") + view_integer(checkpoints, "open");
  view_cell(table, wrong > 0 ? TONE_WARN : TONE_PLAIN, "%" PRId64 " / %" PRId64, sealed, all);
}

static void times_cells(ViewItem *table, const json_t *row) {
  const json_t *restore = json_object_get(row, "restore"), *objectives = json_object_get(row, "objectives");
  int64_t measured = view_integer(restore, "measured"), objective = view_integer(objectives, "restore_seconds");
  int64_t over = view_integer(restore, "over_objective");
  char took[VIEW_TEXT_SIZE], slow[VIEW_TEXT_SIZE], limit[VIEW_TEXT_SIZE];
  if (measured > 0)
    view_cell(table, TONE_PLAIN, "%s / %s", view_took(view_integer(restore, "median_ms"), took),
              view_took(view_integer(restore, "slowest_ms"), slow));
  else
    view_cell(table, TONE_DIM, "-");
  if (objective > 0)
    view_cell(table, over > 0 ? TONE_WARN : TONE_PLAIN, "%s%s", view_span(objective, limit),
              over > 0 ? ", exceeded" : "");
  else
    view_cell(table, TONE_DIM, "-");
}

void view_databases(View *view, const json_t *report) {
  static const ViewColumn columns[] = {
      {"Database", 27, false, false},    {"Proven", 8, true, false},
      {"Failed", 8, true, false},        {"Errored", 9, true, false},
      {"Sealed of all", 9, true, false}, {"Restore, typical / slowest", 15, true, false},
      {"Objective", 11, true, false},    {"Proof's age at the end", 13, true, false}};
  const json_t *rows = json_object_get(report, "databases"), *row;
  size_t index;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "The databases");
  ViewItem *table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
  json_array_foreach(rows, index, row) {
    const json_t *drills = json_object_get(row, "drills");
    int64_t failed = view_integer(drills, "failed"), errored = view_integer(drills, "errored");
    char age[VIEW_TEXT_SIZE];
    database_cell(table, row);
    view_cell(table, TONE_PLAIN, "%" PRId64, view_integer(drills, "proven"));
    view_cell(table, failed ? TONE_BAD : TONE_PLAIN, "%" PRId64, failed);
    view_cell(table, errored ? TONE_WARN : TONE_PLAIN, "%" PRId64, errored);
    sealed_cell(table, json_object_get(row, "checkpoints"));
    times_cells(table, row);
    if (json_is_object(json_object_get(row, "last_proof")))
      view_cell(table, coverage_tone(row), "%s", view_span(view_integer(row, "proof_age_us") / SECOND_US, age));
    else
      view_cell(table, TONE_BAD, "no proof");
  }
  view_add(
      view, VIEW_TEXT, TONE_DIM, false,
      "Proven, failed, errored: drills that were asked for in the period, wherever they ended. Sealed of all: the "
      "checkpoints that were asked for in it. "
      "Restore: what a drill's stages took, from preparing a server to having compared all of it: more than a restore "
      "alone takes, on the drill agents' machines. A proof's age is that of the newest proof of the newest proven "
      "checkpoint. Objectives, owners and the list of databases are those in force when this was made.");
}

/* ---- who restored what ---- */

static const char *mode_words(const char *mode) {
  static const char *const words[][2] = {
      {"in_place", "in place"}, {"new_database", "as a new database"}, {"script", "by a script"}, {"guard", "guard"}};
  for (size_t i = 0; i < ARRAY_SIZE(words); i++)
    if (strcmp(words[i][0], mode) == 0)
      return words[i][1];
  return mode;
}

static void what_cell(ViewItem *table, const json_t *row) {
  const json_t *tables = json_object_get(row, "tables"), *name;
  size_t index;
  CLEANUP(buffer_release) Buffer text = {0};
  const char *how = *view_text(row, "mode") ? view_text(row, "mode") : view_text(row, "purpose");
  buffer_append_text(&text, mode_words(how));
  json_array_foreach(tables, index, name) {
    if (index < TABLES_SHOWN) {
      buffer_append_text(&text, index ? ", " : text.size ? ": " : "");
      buffer_append_text(&text, json_string_value(name) ? json_string_value(name) : "?");
    }
  }
  if (view_integer(row, "tables_count") > TABLES_SHOWN)
    buffer_append_format(&text, " and %" PRId64 " more", view_integer(row, "tables_count") - TABLES_SHOWN);
  if (*view_text(row, "target_name"))
    buffer_append_format(&text, "%s%s", text.size ? " " : "", view_text(row, "target_name"));
  view_cell(table, TONE_PLAIN, "%s%scheckpoint %s", buffer_text(&text), text.size ? " of " : "",
            view_text(row, "checkpoint"));
}

/* What a rehearsal or a guard found is more than that it came to its end. */
static void outcome_cell(ViewItem *table, const json_t *row) {
  bool done = is(row, "outcome", "done"), rehearsal = is(row, "kind", "rehearse");
  int64_t written = view_integer(row, "rows_written");
  const char *error = is(row, "error", view_text(row, "outcome")) ? "" : view_text(row, "error");
  if (done && rehearsal && is(row, "verdict", "dangerous"))
    view_cell(table, TONE_BAD, "done: found something dangerous");
  else if (rehearsal && is(row, "verdict", "failed"))
    view_cell(table, TONE_BAD, "the migration failed");
  else if (done && rehearsal && is(row, "verdict", "clean"))
    view_cell(table, TONE_GOOD, "done: found nothing dangerous");
  else if (done && is(row, "damage", "lost"))
    view_cell(table, TONE_BAD, "done: found that something is lost");
  else if (done && written > 0)
    view_cell(table, TONE_GOOD, "done: %" PRId64 " row%s written", written, written == 1 ? "" : "s");
  else
    view_cell(table,
              done && !(rehearsal && !*view_text(row, "verdict")) ? TONE_GOOD
              : done || is(row, "outcome", "open")                ? TONE_DIM
                                                                  : TONE_WARN,
              "%s%s%s", is(row, "outcome", "open") ? "not over" : view_text(row, "outcome"), *error ? ": " : "", error);
}

static void add_recovery(ViewItem *table, const json_t *row) {
  char when[VIEW_TEXT_SIZE], approved[VIEW_TEXT_SIZE];
  view_cell(table, TONE_PLAIN, "%s", view_time(view_integer(row, "asked_us"), when));
  view_cell(table, TONE_PLAIN, "%s", is(row, "kind", "rehearse") ? "rehearsal" : view_text(row, "kind"));
  view_cell(table, TONE_PLAIN, "%s", view_text(row, "database"));
  if (*view_text(row, "approved_by"))
    view_cell(table, TONE_PLAIN, "%s; approved by %s, %s", or_dash(view_text(row, "asked_by")),
              view_text(row, "approved_by"), view_time(view_integer(row, "approved_us"), approved));
  else
    view_cell(table, TONE_PLAIN, "%s", or_dash(view_text(row, "asked_by")));
  what_cell(table, row);
  outcome_cell(table, row);
}

void view_recoveries(View *view, const json_t *report) {
  static const ViewColumn columns[] = {
      {"Asked for (UTC)", 13, false, false}, {"Kind", 10, false, false}, {"Database", 14, false, false},
      {"By, approved by", 20, false, false}, {"What", 28, false, false}, {"Outcome", 15, false, false}};
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
  bool any = false;
  ViewItem *table = NULL;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "Omissions: what a restore would not bring back");
  json_array_foreach(rows, index, row) {
    const json_t *omissions = json_object_get(row, "omissions");
    int64_t count = view_integer(row, "omissions_count");
    CLEANUP(buffer_release) Buffer text = {0};
    any = any || json_is_object(json_object_get(row, "last_proof"));
    if (!view_true(row, "declared") || count == 0)
      continue;
    json_array_foreach(omissions, inner, omission) {
      if (inner >= OBJECTS_SHOWN)
        break;
      bool same = inner > 0 && is(omission, "kind", view_text(json_array_get(omissions, inner - 1), "kind"));
      buffer_append_format(&text, "%s%s%s%s",
                           same    ? ""
                           : inner ? "; "
                                   : "",
                           same ? "" : view_text(omission, "kind"),
                           !*view_text(omission, "object") ? ""
                           : same                          ? ", "
                                                           : ": ",
                           view_text(omission, "object"));
    }
    if (count > OBJECTS_SHOWN)
      buffer_append_format(&text, "; and %" PRId64 " more", count - OBJECTS_SHOWN);
    if (!table)
      table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
    database_cell(table, row);
    view_cell(table, TONE_PLAIN, "%s", buffer_text(&text));
  }
  if (!table)
    view_add(view, VIEW_TEXT, TONE_PLAIN, false,
             any ? "The newest proven checkpoints state none." : "There is no proven checkpoint that would state any.");
}

void view_trials(View *view, const json_t *report) {
  static const ViewColumn columns[] = {{"Asked for (UTC)", 21, false, false},
                                       {"Database", 25, false, false},
                                       {"Trial", 20, false, false},
                                       {"Agent", 22, false, false},
                                       {"Answer", 12, false, false}};
  const json_t *rows = json_object_get(report, "trials"), *row;
  size_t index;
  if (json_array_size(rows) == 0)
    return;
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "Trials: is damage seen, is the next major version ready");
  ViewItem *table = view_table(view, VIEW_TABLE, false, COLUMNS(columns));
  json_array_foreach(rows, index, row) {
    char when[VIEW_TEXT_SIZE];
    const char *verdict = view_text(row, "verdict");
    bool bad = is(row, "verdict", "survived"), no_answer = is(row, "verdict", "no_answer"),
         not_ready = is(row, "verdict", "not_ready");
    view_cell(table, TONE_PLAIN, "%s", view_time(view_integer(row, "asked_us"), when));
    view_cell(table, TONE_PLAIN, "%s", view_text(row, "database"));
    view_cell(table, TONE_PLAIN, "%s%s%s", view_text(row, "kind"), *view_text(row, "damage") ? ": " : "",
              view_text(row, "damage"));
    view_cell(table, TONE_PLAIN, "%s", or_dash(view_text(row, "agent")));
    view_cell(table,
              bad                                                            ? TONE_BAD
              : is(row, "verdict", "refuted") || is(row, "verdict", "ready") ? TONE_GOOD
                                                                             : TONE_WARN,
              "%s",
              no_answer   ? "no answer"
              : not_ready ? "not ready"
                          : verdict);
  }
  view_add(view, VIEW_TEXT, TONE_DIM, false,
           "A canary is a checkpoint that was damaged on purpose, in the drill agent's own copy. It has to be refuted; "
           "where "
           "one survived, that agent gets no more drills until somebody looked into it.");
}
