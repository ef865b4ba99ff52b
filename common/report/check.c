/* Does what a report says follow from its rows? */
#include "common/report/report.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/digest.h"

enum { ROW_OUTCOMES = 5 };
#define NUMBER_LIMIT ((json_int_t)9000000000000000) /* what is reckoned with them fits, too; and in a double */
static const char *const outcomes[ROW_OUTCOMES] = {"proven", "failed", "errored", "canceled", "open"};
static const char *const states[ROW_OUTCOMES] = {"sealed", "failed", "errored", "canceled", "open"};

typedef struct Added { /* of one database, by its rows */
  const json_t *row;
  int64_t drills[ROW_OUTCOMES], checkpoints[ROW_OUTCOMES];
  int64_t measured, slowest_ms, over;
  Sha256 *proven;
} Added;

typedef struct Check {
  const json_t *report;
  int64_t from_us, to_us, end_us;
  bool all; /* every drill is listed */
  Added *databases;
  size_t count;
  Error *err;
} Check;

static void check_release(Check *check) {
  for (size_t i = 0; i < check->count; i++)
    sha256_free(check->databases[i].proven);
  free(check->databases);
}

static Status refuse(Error *err, const char *where, const char *what) {
  char clean[128];
  error_set(err, ERR_PROOF_INVALID, "the report does not add up: %s%s%s", text_clean(where, clean, sizeof clean),
            *where ? ": " : "", what);
  error_remedy(err, "It was altered, or made by a pgseal that is none. Ask the coordinator for it again.");
  return err->status;
}

static const char *text_of(const json_t *object, const char *key) {
  const char *text = json_string_value(json_object_get(object, key));
  return text ? text : "";
}

static int64_t number_of(const json_t *object, const char *key) {
  return json_integer_value(json_object_get(object, key));
}

/* Whole numbers, and none that cannot be reckoned with. (How deep it goes, Jansson bounds.) */
static bool numbers_fit(const json_t *value) {
  const json_t *part;
  const char *key;
  size_t index;
  json_object_foreach((json_t *)value, key, part) {
    if (!numbers_fit(part))
      return false;
  }
  json_array_foreach(value, index, part) {
    if (!numbers_fit(part))
      return false;
  }
  return !json_is_real(value) && (!json_is_integer(value) || (json_integer_value(value) <= NUMBER_LIMIT &&
                                                              json_integer_value(value) >= -NUMBER_LIMIT));
}

/* Rows are in the order of their names. */
static Added *added_of(const Check *check, const char *database) {
  for (size_t low = 0, high = check->count; low < high;) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(text_of(check->databases[middle].row, "name"), database);
    if (order == 0)
      return &check->databases[middle];
    if (order < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return NULL;
}

static int outcome_of(const char *const *names, const char *name) {
  for (int i = 0; i < ROW_OUTCOMES; i++)
    if (strcmp(names[i], name) == 0)
      return i;
  return -1;
}

static Status begin(Check *check) {
  const json_t *rows = json_object_get(check->report, "databases");
  check->count = 0;
  check->databases = memory_alloc((json_array_size(rows) + 1) * sizeof *check->databases);
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *row = json_array_get(rows, i);
    const char *name = text_of(row, "name");
    if (!*name || (i > 0 && strcmp(text_of(check->databases[i - 1].row, "name"), name) >= 0))
      return refuse(check->err, name, "its row is twice, or out of order");
    check->databases[check->count++] = (Added){.row = row, .proven = sha256_new()};
  }
  return STATUS_OK;
}

/* Of a database that has a row, asked for within the period. */
static Status row_belongs(const Check *check, const json_t *row, Added **added) {
  const char *database = text_of(row, "database");
  int64_t asked_us = number_of(row, "asked_us");
  *added = added_of(check, database);
  if (!*added)
    return refuse(check->err, database, "a row is of a database that has none");
  if (asked_us < check->from_us || asked_us >= check->to_us)
    return refuse(check->err, database, "a row is of another time than the period");
  return STATUS_OK;
}

static Status add_drill(const Check *check, const json_t *row) {
  Added *added;
  Status status = row_belongs(check, row, &added);
  int outcome = outcome_of(outcomes, text_of(row, "outcome"));
  if (status)
    return status;
  if (outcome < 0)
    return refuse(check->err, text_of(row, "database"), "a drill has no outcome that there is");
  added->drills[outcome]++;
  if (outcome != 0)
    return STATUS_OK;
  const json_t *took = json_object_get(row, "milliseconds");
  int64_t objective_ms = 1000 * number_of(json_object_get(added->row, "objectives"), "restore_seconds");
  if (json_is_integer(took)) {
    int64_t ms = json_integer_value(took);
    added->measured++;
    added->slowest_ms = ms > added->slowest_ms ? ms : added->slowest_ms;
    added->over += objective_ms > 0 && ms > objective_ms;
  }
  CLEANUP_FREE char *line = report_proof_line(text_of(row, "drill"), text_of(row, "checkpoint"),
                                              json_string_value(json_object_get(row, "manifest_sha256")),
                                              json_string_value(json_object_get(row, "proof_sha256")));
  sha256_update(added->proven, line, strlen(line));
  return STATUS_OK;
}

static Status add_checkpoint(const Check *check, const json_t *row) {
  Added *added;
  Status status = row_belongs(check, row, &added);
  int state = outcome_of(states, text_of(row, "outcome"));
  if (!status && state < 1)
    status = refuse(check->err, text_of(row, "database"), "a checkpoint that is listed has no outcome that there is");
  if (!status)
    added->checkpoints[state]++;
  return status;
}

/* ---- one database's row ---- */

static Status check_proof(const Check *check, const json_t *row) {
  const json_t *proof = json_object_get(row, "last_proof"), *age = json_object_get(row, "proof_age_us");
  int64_t objective = number_of(json_object_get(row, "objectives"), "proof_age_seconds");
  int64_t age_us = json_is_object(proof) ? check->end_us - number_of(proof, "finished_us") : -1;
  if (json_is_object(proof) && age_us < 0)
    return refuse(check->err, text_of(row, "name"), "its last proof is of after the period");
  if (json_is_integer(age) != (age_us >= 0) || (age_us >= 0 && json_integer_value(age) != age_us))
    return refuse(check->err, text_of(row, "name"), "the age of its proof is not the one that follows");
  if (strcmp(text_of(row, "coverage"), report_coverage_name(report_coverage(age_us, objective))) != 0)
    return refuse(check->err, text_of(row, "name"), "its coverage is not what its proof's age makes it");
  return STATUS_OK;
}

static Status check_database(const Check *check, const Added *added) {
  const char *name = text_of(added->row, "name");
  const json_t *drills = json_object_get(added->row, "drills"), *restore = json_object_get(added->row, "restore");
  const json_t *checkpoints = json_object_get(added->row, "checkpoints");
  for (int i = 0; i < ROW_OUTCOMES; i++) {
    if ((i > 0 || check->all) && number_of(drills, outcomes[i]) != added->drills[i])
      return refuse(check->err, name, "its number of drills is not that of its rows");
    if (i > 0 && number_of(checkpoints, states[i]) != added->checkpoints[i])
      return refuse(check->err, name, "its number of checkpoints is not that of its rows");
  }
  if (!check->all)
    return check_proof(check, added->row);
  if (number_of(restore, "measured") != added->measured || number_of(restore, "slowest_ms") != added->slowest_ms ||
      number_of(restore, "over_objective") != added->over)
    return refuse(check->err, name, "its restore times are not those of its rows");
  uint8_t digest[SHA256_SIZE];
  char hex[SHA256_HEX_SIZE];
  sha256_finish(added->proven, digest);
  text_hex(digest, sizeof digest, hex);
  if (strcmp(text_of(added->row, "proven_sha256"), hex) != 0)
    return refuse(check->err, name, "the digest of its proofs is not that of its rows");
  return check_proof(check, added->row);
}

static Status check_rows(const Check *check, const char *key, Status (*add)(const Check *check, const json_t *row)) {
  const json_t *rows = json_object_get(check->report, key);
  Status status = json_is_array(rows) ? STATUS_OK : refuse(check->err, key, "there is no such list");
  for (size_t i = 0; !status && i < json_array_size(rows); i++)
    status = add(check, json_array_get(rows, i));
  return status;
}

static Status any_row(const Check *check, const json_t *row) {
  return json_is_object(row) ? STATUS_OK : refuse(check->err, "", "a row is none");
}

static Status recovery_row(const Check *check, const json_t *row) {
  Added *added;
  return row_belongs(check, row, &added);
}

/* In force at some time of the period. */
static Status silence_row(const Check *check, const json_t *row) {
  const json_t *until = json_object_get(row, "until_us"), *ended = json_object_get(row, "ended_us");
  if (!json_is_object(row) || number_of(row, "since_us") >= check->to_us ||
      (until && json_integer_value(until) <= check->from_us) || (ended && json_integer_value(ended) <= check->from_us))
    return refuse(check->err, text_of(row, "silence"), "a silence is of another time than the period");
  return STATUS_OK;
}

Status report_check(const json_t *report, Error *err) {
  CLEANUP(check_release)
  Check check = {.report = report,
                 .from_us = number_of(report, "from_us"),
                 .to_us = number_of(report, "to_us"),
                 .end_us = number_of(report, "end_us"),
                 .all = strcmp(text_of(json_object_get(report, "listed"), "drills"), "all") == 0,
                 .err = err};
  if (!numbers_fit(report))
    return refuse(err, "", "a number in it cannot be");
  if (check.from_us >= check.to_us || check.end_us > check.to_us || check.end_us > number_of(report, "made_us"))
    return refuse(err, "", "its period is none");
  Status status = check_rows(&check, "databases", any_row);
  if (!status)
    status = begin(&check);
  if (!status)
    status = check_rows(&check, "drills", add_drill);
  if (!status)
    status = check_rows(&check, "checkpoints", add_checkpoint);
  if (!status)
    status = check_rows(&check, "recoveries", recovery_row);
  if (!status)
    status = check_rows(&check, "trials", recovery_row);
  if (!status && json_object_get(report, "silences")) /* reports were made without */
    status = check_rows(&check, "silences", silence_row);
  for (size_t i = 0; !status && i < check.count; i++)
    status = check_database(&check, &check.databases[i]);
  if (status)
    return status;
  json_t *totals = report_totals(report);
  bool equal = json_equal(totals, json_object_get(report, "totals"));
  json_decref(totals);
  return equal ? STATUS_OK : refuse(err, "", "its totals are not the sums of its rows");
}
