/* What a report comes to, in its first lines: the worst first. */
#include "common/report/view.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static const json_t *part(const json_t *totals, const char *name) {
  return json_object_get(totals, name);
}

static bool is(const json_t *row, const char *key, const char *value) {
  return strcmp(view_text(row, key), value) == 0;
}

/* ---- what follows from the rows ---- */

/* Freed by the caller: the ids of checkpoints that no drill could do anything with, since their dump had not ended
 * well; in order. */
static const char **without_dump(const json_t *report, size_t *count) {
  const json_t *rows = json_object_get(report, "checkpoints"), *row;
  const char **ids = NULL;
  size_t index;
  *count = 0;
  json_array_foreach(rows, index, row) {
    const char *id = view_text(row, "checkpoint");
    if (is(row, "restore_drill", "canceled") && (is(row, "outcome", "failed") || is(row, "outcome", "errored")))
      ARRAY_PUSH(ids, *count, id);
  }
  return ids;
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of the drills that were canceled: how many because there was nothing to drill. */
static int64_t without_subject(const json_t *report) {
  const json_t *rows = json_object_get(report, "drills"), *row;
  size_t count, index;
  int64_t found = 0;
  CLEANUP_FREE const char **ids = without_dump(report, &count);
  if (count == 0)
    return 0;
  qsort(ids, count, sizeof *ids, by_text);
  json_array_foreach(rows, index, row) {
    const char *id = view_text(row, "checkpoint");
    found += is(row, "outcome", "canceled") && bsearch(&id, ids, count, sizeof *ids, by_text) != NULL;
  }
  return found;
}

/* How many recovery jobs of that kind are done, with that member. */
static int64_t done_with(const json_t *report, const char *kind, const char *key, const char *value) {
  const json_t *rows = json_object_get(report, "recoveries"), *row;
  size_t index;
  int64_t count = 0;
  json_array_foreach(rows, index, row) {
    count += is(row, "kind", kind) && is(row, "outcome", "done") && is(row, key, value);
  }
  return count;
}

/* How many of that list are of that kind, with that member. */
static int64_t rows_with(const json_t *report, const char *list, const char *kind, const char *key, const char *value) {
  const json_t *rows = json_object_get(report, list), *row;
  size_t index;
  int64_t count = 0;
  json_array_foreach(rows, index, row) {
    count += is(row, "kind", kind) && is(row, key, value);
  }
  return count;
}

/* ---- the first sentences ---- */

static const char *has(int64_t count) {
  return count == 1 ? "has" : "have";
}

static ViewTone coverage_of(const json_t *totals, Buffer *out) {
  const json_t *coverage = part(totals, "coverage");
  int64_t all = view_integer(totals, "databases"), stale = view_integer(coverage, "stale"),
          unproven = view_integer(coverage, "unproven"), unknown = view_integer(coverage, "no_objective");
  if (all == 0) {
    buffer_append_text(out, "It is of no database that is declared.");
    return TONE_WARN;
  }
  if (all == 1 && stale + unproven > 0) {
    buffer_append_text(out, unproven ? "The database has no proof at all."
                                     : "The database has no proof that is not older than its objective.");
    return TONE_BAD;
  }
  if (stale + unproven > 0) {
    buffer_append_format(out, "%" PRId64 " of %" PRId64 " databases %s no fresh proof: ", stale + unproven, all,
                         has(stale + unproven));
    if (unproven > 0)
      buffer_append_format(out, "%" PRId64 " %s none at all%s", unproven, has(unproven), stale > 0 ? ", " : ".");
    if (stale > 0)
      buffer_append_format(out, "%" PRId64 " %s one that is older than its objective.", stale, has(stale));
    return TONE_BAD;
  }
  if (unknown > 0 && all == 1) {
    buffer_append_text(out, "The database has a proof, and no objective: nothing says how old its proof may be.");
    return TONE_WARN;
  }
  if (unknown > 0) {
    buffer_append_format(out, "%" PRId64 " of %" PRId64 " databases %s no objective: nothing says how old %s may be. ",
                         unknown, all, has(unknown), unknown == 1 ? "its proof" : "their proofs");
    buffer_append_text(out, unknown == all       ? "Each has a proof."
                            : all - unknown == 1 ? "The other one has a fresh proof."
                                                 : "The others have a fresh proof.");
    return TONE_WARN;
  }
  buffer_append_text(out, all == 1 ? "The database has a proof that is not older than its objective."
                                   : "Each database has a proof that is not older than its objective.");
  return TONE_GOOD;
}

static ViewTone worse(ViewTone tone, ViewTone other) {
  return tone == TONE_BAD || other == TONE_BAD ? TONE_BAD : tone == TONE_WARN ? tone : other;
}

char *view_headline(const json_t *report, ViewTone *tone) {
  const json_t *totals = json_object_get(report, "totals");
  int64_t unresolved = view_integer(part(totals, "problems"), "unresolved"),
          survived = view_integer(part(totals, "trials"), "survived");
  CLEANUP(buffer_release) Buffer out = {0};
  *tone = coverage_of(totals, &out);
  if (unresolved > 0) {
    buffer_append_format(&out, " %" PRId64 " failure%s not followed by a proof.", unresolved,
                         unresolved == 1 ? " was" : "s were");
    *tone = worse(*tone, TONE_WARN);
  }
  if (survived > 0) {
    buffer_append_format(&out, " %" PRId64 " canar%s: a drill took what was damaged on purpose for whole.", survived,
                         survived == 1 ? "y survived" : "ies survived");
    *tone = TONE_BAD;
  }
  if (view_integer(report, "end_us") < view_integer(report, "to_us")) {
    buffer_append_text(&out, " The period is not over.");
    *tone = worse(*tone, TONE_WARN);
  }
  return buffer_steal_text(&out);
}

/* ---- in short ---- */

static void add_coverage(ViewItem *facts, const json_t *totals) {
  const json_t *coverage = part(totals, "coverage");
  int64_t all = view_integer(totals, "databases"), stale = view_integer(coverage, "stale"),
          unproven = view_integer(coverage, "unproven"), unknown = view_integer(coverage, "no_objective"),
          gone = view_integer(totals, "databases_gone");
  CLEANUP_FREE char *more = memory_format(
      "; %" PRId64 " more %s not in the fleet any more, but counted in what follows", gone, gone == 1 ? "is" : "are");
  view_fact(facts, "Databases",
            stale + unproven > 0      ? TONE_BAD
            : unknown > 0 || all == 0 ? TONE_WARN
                                      : TONE_GOOD,
            "%" PRId64 ": %" PRId64 " with a proof not older than its objective, %" PRId64
            " with an older one, %" PRId64 " with a proof and no objective, %" PRId64 " without any proof%s",
            all, view_integer(coverage, "fresh"), stale, unknown, unproven, gone > 0 ? more : "");
}

static void add_drills(ViewItem *facts, const json_t *report, const json_t *totals) {
  const json_t *drills = part(totals, "drills"), *checkpoints = part(totals, "checkpoints");
  int64_t empty = without_subject(report);
  CLEANUP_FREE char *never =
      memory_format("; %" PRId64 " more had nothing to restore: the dump had not ended well", empty);
  view_fact(facts, "Restore drills", view_integer(drills, "failed") > 0 ? TONE_WARN : TONE_PLAIN,
            "%" PRId64 " proven, %" PRId64 " failed, %" PRId64 " errored, %" PRId64 " canceled, %" PRId64 " not over%s",
            view_integer(drills, "proven"), view_integer(drills, "failed"), view_integer(drills, "errored"),
            view_integer(drills, "canceled") - empty, view_integer(drills, "open"), empty > 0 ? never : "");
  view_fact(facts, "Checkpoints", TONE_PLAIN,
            "%" PRId64 " sealed, %" PRId64 " failed, %" PRId64 " errored, %" PRId64 " canceled, %" PRId64 " not over",
            view_integer(checkpoints, "sealed"), view_integer(checkpoints, "failed"),
            view_integer(checkpoints, "errored"), view_integer(checkpoints, "canceled"),
            view_integer(checkpoints, "open"));
}

/* What a restore changed is told apart: one that puts rows beside their tables, for people to look at, put nothing
 * back. */
static void add_restores(ViewItem *facts, const json_t *report, const json_t *totals) {
  static const char *const modes[][2] = {{"in_place", "in place"},
                                         {"new_database", "as a new database"},
                                         {"script", "by a script that another one made"},
                                         {"beside", "beside the tables (nothing was put back)"}};
  const json_t *restores = part(totals, "restores");
  int64_t done = view_integer(restores, "done");
  CLEANUP(buffer_release) Buffer how = {0};
  if (view_integer(part(totals, "recoveries"), "restore") == 0) {
    view_fact(facts, "Restores", TONE_PLAIN, "none was asked for");
    return;
  }
  for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
    int64_t count = done_with(report, "restore", "mode", modes[i][0]);
    if (count > 0)
      buffer_append_format(&how, "%s%" PRId64 " %s", how.size ? ", " : ": ", count, modes[i][1]);
  }
  view_fact(facts, "Restores", TONE_PLAIN,
            "%" PRId64 " done%s; %" PRId64 " not done; %" PRId64 " approved by a second person", done,
            how.size ? buffer_text(&how) : "",
            view_integer(restores, "failed") + view_integer(restores, "errored") + view_integer(restores, "canceled") +
                view_integer(restores, "open"),
            view_integer(restores, "approved"));
}

static void add_rehearsals(ViewItem *facts, const json_t *report, const json_t *totals) {
  int64_t all = view_integer(part(totals, "recoveries"), "rehearse");
  int64_t dangerous = done_with(report, "rehearse", "verdict", "dangerous"),
          clean = done_with(report, "rehearse", "verdict", "clean"),
          failed = rows_with(report, "recoveries", "rehearse", "verdict", "failed"),
          others = all - clean - dangerous - failed;
  CLEANUP(buffer_release) Buffer rest = {0};
  if (failed > 0)
    buffer_append_format(&rest, ", %" PRId64 " found that the migration fails", failed);
  if (others > 0)
    buffer_append_format(&rest, ", %" PRId64 " found nothing out", others);
  if (all > 0)
    view_fact(facts, "Rehearsals", dangerous + failed > 0 ? TONE_WARN : TONE_PLAIN,
              "%" PRId64 ": %" PRId64 " found nothing dangerous, %" PRId64 " found something dangerous%s", all, clean,
              dangerous, rest.size ? buffer_text(&rest) : "");
}

static void add_restore_times(ViewItem *facts, const json_t *totals) {
  const json_t *restore = part(totals, "restore");
  int64_t measured = view_integer(restore, "measured"), over = view_integer(restore, "over_objective"),
          with = view_integer(restore, "databases_with_objective");
  char took[VIEW_TEXT_SIZE];
  if (measured == 0) {
    view_fact(facts, "Restore times", TONE_PLAIN, "none was measured");
    return;
  }
  CLEANUP_FREE char *against =
      with > 0 ? memory_format("%" PRId64 " took longer than the objective (%" PRId64 " database%s one)", over, with,
                               with == 1 ? " has" : "s have")
               : memory_strdup("no database has an objective for them");
  view_fact(facts, "Restore times", over > 0 ? TONE_WARN : TONE_PLAIN, "%" PRId64 " measured; the slowest took %s; %s",
            measured, view_took(view_integer(restore, "slowest_ms"), took), against);
}

/* What canaries and forward drills answered. */
static void add_trials(ViewItem *facts, const json_t *report) {
  int64_t refuted = rows_with(report, "trials", "canary", "verdict", "refuted"),
          survived = rows_with(report, "trials", "canary", "verdict", "survived"),
          silent = rows_with(report, "trials", "canary", "verdict", "no_answer"),
          ready = rows_with(report, "trials", "forward", "verdict", "ready"),
          not_ready = rows_with(report, "trials", "forward", "verdict", "not_ready"),
          unknown = rows_with(report, "trials", "forward", "verdict", "no_answer");
  if (refuted + survived + silent == 0)
    view_fact(facts, "Damage on purpose", TONE_PLAIN, "no canary was asked for");
  else
    view_fact(facts, "Damage on purpose", survived > 0 ? TONE_BAD : TONE_PLAIN,
              "Canaries refuted, as they must be: %" PRId64 "; survived: %" PRId64 "; without an answer: %" PRId64,
              refuted, survived, silent);
  if (ready + not_ready + unknown > 0)
    view_fact(facts, "Next major version", not_ready > 0 ? TONE_WARN : TONE_PLAIN,
              "Forward drills that found a database ready: %" PRId64 "; not ready: %" PRId64
              "; without an answer: %" PRId64,
              ready, not_ready, unknown);
}

void view_summary(View *view, const json_t *report) {
  const json_t *totals = json_object_get(report, "totals");
  const json_t *problems = part(totals, "problems");
  int64_t unresolved = view_integer(problems, "unresolved");
  ViewTone tone;
  CLEANUP_FREE char *headline = view_headline(report, &tone);
  view_add(view, VIEW_HEADING, TONE_PLAIN, false, "In short");
  view_add(view, VIEW_TEXT, tone, true, "%s", headline);
  ViewItem *facts = view_facts(view, true);
  add_coverage(facts, totals);
  add_drills(facts, report, totals);
  if (view_integer(problems, "resolved") + unresolved == 0)
    view_fact(facts, "Failures", TONE_PLAIN, "none: no drill and no checkpoint failed or errored");
  else
    view_fact(facts, "Failures", unresolved > 0 ? TONE_BAD : TONE_PLAIN,
              "%" PRId64 " followed by a proof of the same database, %" PRId64 " not followed by one yet",
              view_integer(problems, "resolved"), unresolved);
  add_restore_times(facts, totals);
  add_restores(facts, report, totals);
  add_rehearsals(facts, report, totals);
  add_trials(facts, report);
  view_summary_silences(facts, report);
  view_fact(facts, "Omissions", TONE_PLAIN, "Databases with something that a restore would not bring back: %" PRId64,
            view_integer(totals, "databases_with_omissions"));
}
