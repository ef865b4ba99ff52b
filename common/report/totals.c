/* What follows from a report's rows. */
#include "common/report/report.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"

const char *report_coverage_name(ReportCoverage coverage) {
  static const char *const names[REPORT_COVERAGES] = {"fresh", "stale", "no_objective", "unproven"};
  return names[coverage];
}

ReportCoverage report_coverage(int64_t age_us, int64_t objective_seconds) {
  if (age_us < 0)
    return REPORT_UNPROVEN;
  if (objective_seconds <= 0)
    return REPORT_NO_OBJECTIVE;
  return (age_us + 999999) / 1000000 <= objective_seconds ? REPORT_FRESH : REPORT_STALE;
}

char *report_proof_line(const char *drill, const char *checkpoint, const char *manifest_sha256,
                        const char *proof_sha256) {
  return memory_format("drill=%s checkpoint=%s manifest=%s proof=%s\n", drill, checkpoint,
                       manifest_sha256 ? manifest_sha256 : "-", proof_sha256 ? proof_sha256 : "-");
}

static void count(json_t *counts, const char *key, json_int_t more) {
  json_int_t sum;
  if (__builtin_add_overflow(json_integer_value(json_object_get(counts, key)), more, &sum))
    sum = INT64_MAX; /* of a document that is none: its totals are others */
  json_object_set_new(counts, key, json_integer(sum));
}

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

/* New reference: an object of zeros. */
static json_t *zeros(const char *const *names, size_t size) {
  json_t *counts = json_object();
  for (size_t i = 0; i < size; i++)
    json_object_set_new(counts, names[i], json_integer(0));
  return counts;
}
#define ZEROS(...)                                                                                                     \
  zeros((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void add_all(json_t *counts, const json_t *more) {
  const char *key;
  json_t *value;
  json_object_foreach((json_t *)more, key, value) {
    count(counts, key, json_integer_value(value));
  }
}

static void add_database(json_t *totals, const json_t *row) {
  const json_t *restore = json_object_get(row, "restore"), *objectives = json_object_get(row, "objectives");
  json_t *into = json_object_get(totals, "restore");
  add_all(json_object_get(totals, "drills"), json_object_get(row, "drills"));
  add_all(json_object_get(totals, "checkpoints"), json_object_get(row, "checkpoints"));
  json_int_t slowest = json_integer_value(json_object_get(restore, "slowest_ms"));
  if (slowest > json_integer_value(json_object_get(into, "slowest_ms")))
    json_object_set_new(into, "slowest_ms", json_integer(slowest));
  count(into, "measured", json_integer_value(json_object_get(restore, "measured")));
  count(into, "over_objective", json_integer_value(json_object_get(restore, "over_objective")));
  count(into, "databases_with_objective",
        json_integer_value(json_object_get(objectives, "restore_seconds")) > 0 ? 1 : 0);
  if (!json_is_true(json_object_get(row, "declared"))) {
    count(totals, "databases_gone", 1);
    return;
  }
  count(totals, "databases", 1);
  count(json_object_get(totals, "coverage"), text_of(row, "coverage"), 1);
  count(totals, "databases_with_omissions", json_integer_value(json_object_get(row, "omissions_count")) > 0 ? 1 : 0);
}

static void add_recovery(json_t *totals, const json_t *row) {
  const char *kind = text_of(row, "kind");
  count(json_object_get(totals, "recoveries"), kind, 1);
  if (strcmp(kind, "restore") != 0)
    return;
  count(json_object_get(totals, "restores"), text_of(row, "outcome"), 1);
  count(json_object_get(totals, "restores"), "approved", *text_of(row, "approved_by") ? 1 : 0);
}

static bool is_problem(const char *outcome) {
  return strcmp(outcome, "failed") == 0 || strcmp(outcome, "errored") == 0;
}

/* A checkpoint that its drill ended is counted with that drill. */
static void add_problem(json_t *problems, const json_t *row) {
  if (is_problem(text_of(row, "outcome")) && !is_problem(text_of(row, "restore_drill")))
    count(problems, json_is_object(json_object_get(row, "next_proven")) ? "resolved" : "unresolved", 1);
}

/* New reference: all of them, zero. */
static json_t *nothing_yet(void) {
  json_t *totals = ZEROS("databases", "databases_gone", "databases_with_omissions");
  json_object_set_new(totals, "coverage", ZEROS("fresh", "stale", "no_objective", "unproven"));
  json_object_set_new(totals, "drills", ZEROS("proven", "failed", "errored", "canceled", "open"));
  json_object_set_new(totals, "checkpoints", ZEROS("sealed", "failed", "errored", "canceled", "open"));
  json_object_set_new(totals, "restore", ZEROS("measured", "slowest_ms", "over_objective", "databases_with_objective"));
  json_object_set_new(totals, "problems", ZEROS("resolved", "unresolved"));
  json_object_set_new(totals, "recoveries", ZEROS("plan", "restore", "rehearse"));
  json_object_set_new(totals, "restores", ZEROS("done", "failed", "errored", "canceled", "open", "approved"));
  json_object_set_new(totals, "trials", ZEROS("refuted", "survived", "ready", "not_ready", "no_answer"));
  return totals;
}

json_t *report_totals(const json_t *report) {
  json_t *totals = nothing_yet(), *row;
  json_t *problems = json_object_get(totals, "problems");
  size_t index;
  json_array_foreach(json_object_get(report, "databases"), index, row) {
    add_database(totals, row);
  }
  json_array_foreach(json_object_get(report, "drills"), index, row) {
    add_problem(problems, row);
  }
  json_array_foreach(json_object_get(report, "checkpoints"), index, row) {
    add_problem(problems, row);
  }
  json_array_foreach(json_object_get(report, "recoveries"), index, row) {
    add_recovery(totals, row);
  }
  json_array_foreach(json_object_get(report, "trials"), index, row) {
    count(json_object_get(totals, "trials"), text_of(row, "verdict"), 1);
  }
  return totals;
}
