#include "agent/recovery/restore.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { SUFFIX = 8 /* characters of a checkpoint's id */, REPORT_LIMIT = 2000000, REPORT_ITEMS_MAX = 1 << 20 };

/* ---- small things that all files use ---- */

void restore_note(Restore *restore, const char *format, ...) {
  char text[ERROR_MESSAGE_SIZE];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  json_array_append_new(restore->notes, recovery_text(&restore->run, text));
}

char *restore_schema_name(const Restore *restore, const char *prefix) {
  const char *id = restore->run.manifest.checkpoint_id;
  size_t size = strlen(id);
  return memory_format("%s%s", prefix, size > SUFFIX ? id + size - SUFFIX : id);
}

char *restore_schema_mark(const Restore *restore, const char *what) {
  return memory_format("pgseal: %s checkpoint %s", what, restore->run.manifest.checkpoint_id);
}

void restore_names_add(RestoreNames *names, const char *name) {
  if (names->count++ < RESTORE_NAMED_LIMIT)
    buffer_append_format(&names->text, "%s%s", names->text.size ? ", " : "", name);
}

const char *restore_names_text(RestoreNames *names) {
  if (names->count > RESTORE_NAMED_LIMIT) {
    buffer_append_format(&names->text, " and %zu more", names->count - RESTORE_NAMED_LIMIT);
    names->count = 0;
  }
  return buffer_text(&names->text);
}

void restore_names_release(RestoreNames *names) {
  buffer_release(&names->text);
}

void restore_texts_release(char **texts, size_t count) {
  for (size_t i = 0; i < count; i++)
    free(texts[i]);
  free(texts);
}

const ArchiveEntry *restore_entry(const Restore *restore, long entry) {
  return &archive_index_toc(restore->run.then)->entries[entry];
}

bool restore_is(const ArchiveEntry *entry, const char *desc) {
  return strcmp(entry->desc, desc) == 0;
}

/* ---- a schema of its own ---- */

/* Default privileges may have given it to others. */
static Status keep_to_ourselves(Restore *restore, const char *schema, const char *name, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  CLEANUP(buffer_release) Buffer literal = {0};
  sql_append_literal(&literal, schema);
  Status status = restore_runf(restore, &result, err,
                               "SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE "
                               "pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END"
                               " FROM pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a"
                               " WHERE n.nspname = %s AND a.grantee <> n.nspowner GROUP BY 1",
                               buffer_text(&literal));
  for (int i = 0; status == STATUS_OK && i < PQntuples(result); i++)
    status = restore_runf(restore, NULL, err, "REVOKE ALL ON SCHEMA %s FROM %s", name, PQgetvalue(result, i, 0));
  return status;
}

/* One that is there must be our own: in another's, tables may wait that have triggers, and a superuser would fire them.
 */
Status restore_schema_make(Restore *restore, const char *schema, const char *mark, bool *existed, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  CLEANUP(buffer_release) Buffer literal = {0}, comment = {0};
  CLEANUP_FREE char *name = sql_name(schema);
  sql_append_literal(&literal, schema);
  sql_append_literal(&comment, mark);
  Status status = restore_runf(restore, &result, err,
                               "SELECT COALESCE(pg_catalog.obj_description(n.oid, 'pg_namespace'), '') ="
                               " %s AND pg_catalog.pg_get_userbyid(n.nspowner) = CURRENT_USER"
                               " FROM pg_catalog.pg_namespace n WHERE n.nspname = %s",
                               buffer_text(&comment), buffer_text(&literal));
  if (status != STATUS_OK)
    return status;
  bool there = PQntuples(result) > 0;
  if (existed)
    *existed = there;
  if (there && *PQgetvalue(result, 0, 0) != 't') {
    error_set(err, ERR_CONFLICT, "the target has a schema %s already, which a restore of this checkpoint did not make",
              name);
    error_remedy(err, "Look what it is; then rename or drop it.");
    error_object(err, "%s", schema);
    return err->status;
  }
  if (there)
    return STATUS_OK;
  status = restore_runf(restore, NULL, err, "CREATE SCHEMA %s; COMMENT ON SCHEMA %s IS %s", name, name,
                        buffer_text(&comment));
  return status == STATUS_OK ? keep_to_ourselves(restore, schema, name, err) : status;
}

/* ---- the request ---- */

static const struct {
  const char *name;
  RestoreMode mode;
  Status (*run)(Restore *restore, Error *err);
} modes[] = {
    {"in_place", RESTORE_IN_PLACE, restore_in_place},
    {"beside", RESTORE_BESIDE, restore_beside},
    {"script", RESTORE_SCRIPT, restore_script},
    {"new_database", RESTORE_NEW_DATABASE, restore_new_database},
};

static Status take_request(Restore *restore, Error *err) {
  const json_t *request = restore->run.request;
  const char *mode = json_string_value(json_object_get(request, "mode"));
  const char *keys = json_string_value(json_object_get(request, "foreign_keys"));
  for (size_t i = 0; i <= ARRAY_SIZE(modes); i++) {
    if (i == ARRAY_SIZE(modes))
      return error_set(err, ERR_INVALID_ARGUMENT, "a restore's mode must be in_place, beside, script or new_database");
    if (mode && strcmp(mode, modes[i].name) == 0) {
      restore->mode = modes[i].mode;
      break;
    }
  }
  if (keys && strcmp(keys, "validate") != 0 && strcmp(keys, "not_valid") != 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "a restore's foreign_keys must be validate or not_valid");
  restore->not_valid = keys && strcmp(keys, "not_valid") == 0;
  restore->replace = json_is_true(json_object_get(request, "replace"));
  restore->roles = json_is_true(json_object_get(request, "roles"));
  return STATUS_OK;
}

static Status take_tables(Restore *restore, Error *err) {
  if (restore->mode != RESTORE_IN_PLACE && restore->mode != RESTORE_BESIDE)
    return STATUS_OK;
  size_t count;
  CLEANUP_FREE const char **patterns = recovery_patterns(&restore->run, "tables", &count);
  return archive_select(restore->run.then, patterns, count, &restore->selection, err);
}

/* ---- the report ---- */

static void restore_init(Restore *restore) {
  restore->tables = json_array();
  restore->objects = json_array();
  restore->foreign_keys = json_array();
  restore->displaced = json_array();
  restore->left_out = json_array();
  restore->differences = json_array();
  restore->notes = json_array();
}

static void restore_release(Restore *restore) {
  json_t *lists[] = {restore->tables,   restore->objects,     restore->foreign_keys, restore->displaced,
                     restore->left_out, restore->differences, restore->notes};
  for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    json_decref(lists[i]);
  for (size_t i = 0; i < restore->moved_count; i++) {
    free(restore->moved[i].schema);
    free(restore->moved[i].name);
    free(restore->moved[i].parent);
  }
  free(restore->moved);
  free(restore->hanging);
  free(restore->floors);
  statement_list_release(&restore->dropped_keys);
  free(restore->transaction);
  free(restore->schema);
  free(restore->script);
  free(restore->order);
  archive_resolution_release(&restore->resolution);
  archive_selection_release(&restore->selection);
  recovery_release(&restore->run);
}

/* The first `limit` of a list; *left_out grows by the others. A new array. */
static json_t *first_of(const json_t *list, size_t limit, size_t *left_out) {
  json_t *some = json_array(), *item;
  size_t index;
  json_array_foreach(list, index, item) {
    if (index == limit)
      break;
    json_array_append(some, item);
  }
  *left_out += json_array_size(list) - json_array_size(some);
  return some;
}

static json_t *report_of(Restore *restore, bool done, size_t limit, bool script) {
  const struct {
    const char *name;
    const json_t *list;
    bool always;
  } lists[] = {{"notes", restore->notes, true},
               {"tables", restore->tables, false},
               {"objects", restore->objects, false},
               {"foreign_keys", restore->foreign_keys, false},
               {"displaced", restore->displaced, false},
               {"left_out", restore->left_out, false},
               {"differences", restore->differences, false}};
  size_t untold = 0;
  json_t *json = recovery_report_head(&restore->run, "restore");
  json_object_set_new(json, "mode", json_string(modes[restore->mode].name));
  json_object_set_new(json, "committed", restore->unknown ? json_null() : json_boolean(restore->committed));
  json_object_set_new(json, "verified", json_boolean(done && !restore->differs));
  json_object_set_new(json, "rows_written", json_integer(restore->committed ? restore->rows_written : 0));
  json_object_set_new(json, "schema", restore->schema ? json_string(restore->schema) : json_null());
  for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
    if (done || lists[i].always)
      json_object_set_new(json, lists[i].name, first_of(lists[i].list, limit, &untold));
  if (done) {
    script = script && restore->script;
    json_object_set_new(json, "script", script ? recovery_text(&restore->run, restore->script) : json_null());
    json_object_set_new(json, "script_sha256", restore->script ? json_string(restore->script_sha256) : json_null());
  }
  json_object_set_new(json, "untold", json_integer((json_int_t)untold));
  return json;
}

/* Whatever became of the restore, its report fits into a message: first the script goes, which is kept in the target,
 * then ever more of what the lists hold. */
static char *report(Restore *restore, bool done) {
  bool script = true;
  for (size_t limit = REPORT_ITEMS_MAX;; limit /= script ? 1 : 2) {
    CLEANUP(json_decrefp) json_t *json = report_of(restore, done, limit, script);
    char *text = json_dumps(json, JSON_COMPACT);
    if (text && (strlen(text) <= REPORT_LIMIT || limit == 0))
      return text;
    if (!text)
      return memory_strdup("{}");
    free(text);
    script = false;
  }
}

static Status run(Restore *restore, Error *err) {
  Status status = take_request(restore, err);
  if (status != STATUS_OK)
    return status;
  recovery_phase(&restore->run, "preflight");
  status = recovery_target_open(&restore->run, false, err);
  if (status == STATUS_OK)
    status = take_tables(restore, err);
  if (status == STATUS_OK)
    status = restore_check_target(restore, err);
  return status == STATUS_OK ? modes[restore->mode].run(restore, err) : status;
}

Status restore_job_run(const JobContext *context, Pgseal__JobResult *result, Error *err) {
  CLEANUP(restore_release) Restore restore = {0};
  CLEANUP_FREE char *application = memory_format("pgseal-%s", context->job->id);
  restore_init(&restore);
  Status status = recovery_open(&restore.run, context, application, err);
  if (status != STATUS_OK)
    return status;
  status = run(&restore, err);
  if (status != STATUS_OK)
    restore_tell_rest(&restore, err);
  result->report_json = report(&restore, status == STATUS_OK);
  result->stages_json = memory_format("{\"restoring\":%.3f}", recovery_seconds(&restore.run));
  if (status != STATUS_OK)
    return status;
  log_info("the restore is done", "mode", modes[restore.mode].name, "verified", restore.differs ? "no" : "yes", NULL);
  return STATUS_OK;
}
