/* Runs a script that an earlier restore made, exactly as it is kept in the target, in one transaction. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

typedef struct ScriptStep {
  char verb[16];
  int64_t rows; /* -1: any number */
  char *name, *sql;
} ScriptStep;

static void step_release(ScriptStep *step) {
  free(step->name);
  free(step->sql);
  *step = (ScriptStep){0};
}

/* Reads "-- step N: VERB [ROWS rows of ]NAME" and the statement up to the next step or the COMMIT. False at the end. */
static bool next_step(const char **text, size_t number, ScriptStep *step) {
  CLEANUP_FREE char *marker = memory_format("-- step %zu: ", number);
  CLEANUP_FREE char *next = memory_format("\n-- step %zu: ", number + 1);
  const char *at = strstr(*text, marker);
  if (!at)
    return false;
  at += strlen(marker);
  size_t verb = strcspn(at, " \n");
  if (verb == 0 || verb >= sizeof step->verb)
    return false;
  memcpy(step->verb, at, verb);
  step->verb[verb] = '\0';
  at += verb + (at[verb] == ' ');
  char *digits = NULL;
  long long rows = strtoll(at, &digits, 10);
  bool counted = digits > at && strncmp(digits, " rows of ", 9) == 0;
  step->rows = counted ? rows : -1;
  at = counted ? digits + 9 : at;
  size_t line = strcspn(at, "\n");
  step->name = memory_strndup(at, line);
  at += line;
  const char *end = strstr(at, next);
  if (!end)
    end = strstr(at, "\nCOMMIT;\n");
  if (!end)
    return false;
  step->sql = memory_strndup(at, (size_t)(end - at));
  *text = end;
  return true;
}

static Status refuse_count(const ScriptStep *step, int64_t rows, Error *err) {
  long long less = (long long)(step->rows - rows);
  bool insert = strcmp(step->verb, "insert") == 0;
  if (less > 0)
    error_set(err, ERR_CONFLICT, "%s: %lld of %lld rows could be %s: %lld %s since the script was made", step->name,
              (long long)rows, (long long)step->rows, insert ? "put back" : "updated", less,
              insert ? "were re-created, or others stand in their place," : "were written, or are gone,");
  else
    error_set(err, ERR_CONFLICT,
              "%s: %lld more rows than the %lld of the script would be %s: more of them are %s since it was "
              "made",
              step->name, -less, (long long)step->rows, insert ? "put back" : "updated",
              insert ? "gone" : "as they were");
  error_remedy(err, "Compare again (mode `beside` with `replace`), look at the new numbers, and run the new script.");
  error_object(err, "%s", step->name);
  return err->status;
}

static Status run_step(Restore *restore, const ScriptStep *step, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = restore_run(restore, &result, err, step->sql);
  if (status != STATUS_OK) {
    error_prefix(err, "%s of %s", step->verb, step->name);
    error_object(err, "%s", step->name);
    return err->status;
  }
  if (step->rows < 0)
    return STATUS_OK;
  bool answered = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
  int64_t rows = strtoll(answered ? PQgetvalue(result, 0, 0) : PQcmdTuples(result), NULL, 10);
  if (rows != step->rows)
    return refuse_count(step, rows, err);
  restore->rows_written += rows;
  restore_count(restore, rows, 0);
  json_array_append_new(restore->tables,
                        json_pack("{s:o, s:s, s:I, s:b}", "name", recovery_text(&restore->run, step->name), "step",
                                  step->verb, "rows", (json_int_t)rows, "verified", 1));
  return STATUS_OK;
}

static Status run_steps(Restore *restore, const char *text, Error *err) {
  Status status = STATUS_OK;
  for (size_t number = 1; status == STATUS_OK; number++) {
    CLEANUP(step_release) ScriptStep step = {0};
    if (!next_step(&text, number, &step))
      return number > 1 ? STATUS_OK : error_set(err, ERR_CONFLICT, "the script has no steps");
    status = run_step(restore, &step, err);
  }
  return status;
}

/* The text, if it is the one that was looked at; in a schema that a restore of this checkpoint made, in tables of ours.
 */
static Status read_script(Restore *restore, char **text, Error *err) {
  const json_t *request = restore->run.request;
  const char *job = json_string_value(json_object_get(request, "script_of"));
  const char *digest = json_string_value(json_object_get(request, "script_sha256"));
  CLEANUP(postgres_clear) PGresult *result = NULL;
  CLEANUP(buffer_release) Buffer literal = {0};
  CLEANUP_FREE char *mark = restore_schema_mark(restore, "rescue of"), *schema = sql_name(restore->schema);
  if (!job || !digest)
    return error_set(err, ERR_INVALID_ARGUMENT, "a script is named by script_of and script_sha256");
  bool existed = false;
  Status status = restore_schema_make(restore, restore->schema, mark, &existed, err);
  if (status != STATUS_OK)
    return status;
  sql_append_literal(&literal, job);
  if (existed)
    status = restore_runf(restore, &result, err, "SELECT script FROM %s.pgseal_scripts WHERE job = %s", schema,
                          buffer_text(&literal));
  if (status == ERR_QUERY || !existed || (status == STATUS_OK && PQntuples(result) != 1)) {
    error_set(err, ERR_NOT_FOUND, "the target has no script of job %s in schema %s", job, schema);
    error_remedy(err, "It was dropped, or made in another database: restore beside again.");
    return err->status;
  }
  if (status != STATUS_OK)
    return status;
  char found[SHA256_HEX_SIZE];
  const char *value = PQgetvalue(result, 0, 0);
  sha256_hex(value, strlen(value), found);
  if (strcmp(found, digest) != 0) {
    error_set(err, ERR_CONFLICT, "the script of job %s in schema %s is not the one that was asked for: it was altered",
              job, schema);
    error_remedy(err, "Restore beside again, and look at what the new script says. An edited script is for psql.");
    return err->status;
  }
  *text = memory_strdup(value);
  return STATUS_OK;
}

Status restore_script(Restore *restore, Error *err) {
  CLEANUP_FREE char *text = NULL;
  restore->schema = restore_schema_name(restore, "pgseal_rescue_");
  Status status = restore_begin(restore, err);
  if (status == STATUS_OK)
    status = read_script(restore, &text, err);
  if (status != STATUS_OK)
    return status;
  recovery_phase(&restore->run, "restoring");
  status = restore_run(restore, NULL, err, "SET CONSTRAINTS ALL DEFERRED");
  if (status == STATUS_OK)
    status = run_steps(restore, text, err);
  return status == STATUS_OK ? restore_commit(restore, err) : status;
}
