/* The checkpoint's rows beside the live ones: a schema, tables without constraints, and nothing else is touched. */
#include "agent/recovery/beside.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static const char prefix[] = "pgseal_rescue_";

static void beside_release(Beside *beside) {
  for (size_t i = 0; i < beside->count; i++) {
    BesideTable *table = &beside->tables[i];
    for (size_t j = 0; j < table->column_count; j++) {
      free(table->columns[j].name);
      free(table->columns[j].type);
      free(table->columns[j].live_type);
    }
    free(table->columns);
    free(table->rescue);
    free(table->rescue_name);
    free(table->live_name);
    free(table->match);
  }
  free(beside->tables);
  change_list_release(&beside->changes);
  free(beside->schema);
}

static bool is_used(const Beside *beside, const char *name) {
  for (size_t i = 0; i < beside->count; i++)
    if (strcmp(beside->tables[i].rescue, name) == 0)
      return true;
  return strcmp(name, "pgseal_scripts") == 0;
}

/* A table of public keeps its name, another has its schema's before it; a number where that is
 * somebody's already, or too long. */
static char *rescue_name(const Beside *beside, const FingerprintTable *table) {
  bool plain = strcmp(table->schema, "public") == 0;
  CLEANUP_FREE char *wanted = plain ? memory_strdup(table->name) : memory_format("%s_%s", table->schema, table->name);
  char *name = strlen(wanted) < RESTORE_NAME_SIZE ? memory_strdup(wanted) : memory_strdup("table_1");
  for (int i = 2; is_used(beside, name); i++) {
    free(name);
    name = strlen(wanted) < RESTORE_NAME_SIZE - 6 ? memory_format("%s_%d", wanted, i) : memory_format("table_%d", i);
  }
  return name;
}

static void add_table(Beside *beside, long relation) {
  Restore *restore = beside->restore;
  const ArchiveEntry *entry = restore_entry(restore, relation);
  long data = archive_index_find(restore->run.then, "TABLE DATA", entry->schema, entry->tag);
  const FingerprintTable *then = data == ARCHIVE_NO_ENTRY ? NULL : restore_table_of(restore, data);
  if (!then || !*then->columns)
    return;
  BesideTable table = {.then = then, .data = data, .relation = relation, .now = ARCHIVE_NO_ENTRY};
  table.rescue = rescue_name(beside, then);
  CLEANUP_FREE char *quoted = sql_name(table.rescue);
  table.rescue_name = memory_format("%s.%s", beside->schema, quoted);
  long now = archive_index_relation(restore->run.now, entry->schema, entry->tag);
  if (now != ARCHIVE_NO_ENTRY && archive_is_table(&archive_index_toc(restore->run.now)->entries[now])) {
    table.now = now;
    table.live_name = sql_qualified_name(entry->schema, entry->tag);
  }
  ARRAY_PUSH(beside->tables, beside->count, table);
  ARRAY_PUSH(restore->order, restore->order_count, data);
}

static Status list_tables(Beside *beside, Error *err) {
  Restore *restore = beside->restore;
  restore->schema = restore_schema_name(restore, prefix);
  beside->schema = sql_name(restore->schema);
  for (size_t i = 0; i < restore->selection.relation_count; i++)
    add_table(beside, restore->selection.relations[i]);
  if (beside->count == 0)
    return error_set(err, ERR_INVALID_ARGUMENT, "what was chosen has no rows in the checkpoint");
  archive_changes(restore->run.then, restore->run.now, &beside->changes);
  return STATUS_OK;
}

/* What it may not read is not in the live schema, and would be taken for missing. */
static Status check_readable(const Beside *beside, Error *err) {
  CLEANUP(restore_names_release) RestoreNames names = {0};
  for (size_t i = 0; i < beside->count; i++) {
    const DumpTable *live =
        recovery_live_table(&beside->restore->run, beside->tables[i].then->schema, beside->tables[i].then->name);
    if (live && (!live->readable || live->row_security))
      restore_names_add(&names, live->quoted);
  }
  if (names.count == 0)
    return STATUS_OK;
  const char *text = restore_names_text(&names);
  error_set(err, ERR_FORBIDDEN, "role %s may not read all of the live tables: %s",
            beside->restore->run.live.source.role, text);
  error_remedy(err, "GRANT SELECT on them to it, and BYPASSRLS where row security is on; or restore as their owner: "
                    "`restore_conninfo_file` of agent.yaml.");
  error_object(err, "%s", text);
  return err->status;
}

/* ---- columns that are to be put back ---- */

static bool choose_column(BesideTable *table, const char *name) {
  for (size_t i = 0; i < table->column_count; i++)
    if (strcmp(table->columns[i].name, name) == 0 && !table->columns[i].key) {
      table->columns[i].chosen = true;
      return true;
    }
  return false;
}

/* "[schema.]table.column"; without a schema, public is meant if it has such a table. */
static bool choose_named(Beside *beside, char *const *names, size_t count) {
  const char *schema = count == 3 ? names[0] : "public", *table = names[count - 2], *column = names[count - 1];
  for (int any = 0; any < (count == 3 ? 1 : 2); any++)
    for (size_t i = 0; i < beside->count; i++) {
      const FingerprintTable *then = beside->tables[i].then;
      if (strcmp(then->name, table) == 0 && (any || strcmp(then->schema, schema) == 0))
        return choose_column(&beside->tables[i], column);
    }
  return false;
}

static Status choose_columns(Beside *beside, Error *err) {
  size_t count;
  CLEANUP_FREE const char **wanted = recovery_patterns(&beside->restore->run, "columns", &count);
  for (size_t i = 0; i < count; i++) {
    char *names[3] = {NULL};
    const char *at = wanted[i], *end = at + strlen(at);
    size_t parts = sql_take_qualified(&at, end, names, ARRAY_SIZE(names));
    bool found = at == end && parts >= 2 && parts <= 3 && choose_named(beside, names, parts);
    for (size_t j = 0; j < ARRAY_SIZE(names); j++)
      free(names[j]);
    if (found)
      continue;
    CLEANUP_FREE char *shown = archive_pattern_shown(wanted[i]);
    error_set(err, ERR_NOT_FOUND, "no table that was chosen has a column %s outside of its key", shown);
    error_remedy(err, "Write it as table.column or schema.table.column, with double quotes where SQL needs them.");
    error_object(err, "%s", shown);
    return err->status;
  }
  return STATUS_OK;
}

/* ---- tables ---- */

static Status clear_place(Beside *beside, const BesideTable *table, Error *err) {
  CLEANUP(buffer_release) Buffer literal = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  sql_append_literal(&literal, table->rescue_name);
  Status status = restore_runf(beside->restore, &result, err, "SELECT pg_catalog.to_regclass(%s) IS NOT NULL",
                               buffer_text(&literal));
  if (status != STATUS_OK || *PQgetvalue(result, 0, 0) != 't')
    return status;
  if (beside->restore->replace)
    return restore_runf(beside->restore, NULL, err, "DROP TABLE %s", table->rescue_name);
  error_set(err, ERR_CONFLICT, "an earlier restore left the table %s", table->rescue_name);
  error_remedy(err, "Ask for `replace` to have it made anew, or DROP SCHEMA %s CASCADE first.", beside->schema);
  error_object(err, "%s", table->rescue_name);
  return err->status;
}

static Status make_table(Beside *beside, const BesideTable *table, Error *err) {
  CLEANUP(buffer_release) Buffer sql = {0};
  buffer_append_format(&sql, "CREATE TABLE %s (", table->rescue_name);
  for (size_t i = 0; i < table->column_count; i++) {
    buffer_append_text(&sql, i ? ", " : "");
    sql_append_name(&sql, table->columns[i].name);
    buffer_append_format(&sql, " %s", table->columns[i].type);
  }
  buffer_append_text(&sql, ")");
  Status status = restore_run(beside->restore, NULL, err, buffer_text(&sql));
  if (status == ERR_QUERY)
    error_remedy(err, "Where a type is gone, put it back first: `pgseal plan` shows the statement.");
  return status == STATUS_OK ? STATUS_OK : error_prefix(err, "making %s", table->rescue_name);
}

static Status index_table(Beside *beside, const BesideTable *table, Error *err) {
  CLEANUP(buffer_release) Buffer sql = {0};
  size_t keys = 0;
  for (size_t i = 0; i < table->column_count; i++) {
    if (!table->columns[i].key)
      continue;
    buffer_append_text(&sql, keys++ ? ", " : "");
    sql_append_name(&sql, table->columns[i].name);
  }
  Status status = STATUS_OK;
  if (keys > 0)
    status = restore_runf(beside->restore, NULL, err, "CREATE INDEX ON %s (%s)", table->rescue_name, buffer_text(&sql));
  return status == STATUS_OK ? restore_runf(beside->restore, NULL, err, "ANALYZE %s", table->rescue_name) : status;
}

static Status fill_table(Beside *beside, BesideTable *table, Error *err) {
  Restore *restore = beside->restore;
  CLEANUP_FREE char *copy = memory_format("COPY %s %s FROM STDIN", table->rescue_name, table->then->columns);
  Status status = clear_place(beside, table, err);
  if (status == STATUS_OK)
    status = make_table(beside, table, err);
  if (status == STATUS_OK)
    status = restore_load(restore, table->data, copy, err);
  if (status == STATUS_OK)
    status = restore_verify_rows(restore, table->then, restore->schema, table->rescue, table->then->columns, err);
  return status == STATUS_OK ? index_table(beside, table, err) : status;
}

static Status write_all(Beside *beside, Error *err) {
  Restore *restore = beside->restore;
  CLEANUP_FREE char *mark = restore_schema_mark(restore, "rescue of");
  Status status = restore_schema_make(restore, restore->schema, mark, NULL, err);
  recovery_phase(&restore->run, "restoring");
  restore_announce(restore);
  for (size_t i = 0; i < beside->count && status == STATUS_OK; i++)
    status = fill_table(beside, &beside->tables[i], err);
  recovery_phase(&restore->run, "comparing");
  for (size_t i = 0; i < beside->count && status == STATUS_OK; i++)
    status = difference_find(beside, &beside->tables[i], err);
  return status == STATUS_OK ? script_write(beside, err) : status;
}

static Status prepare(Beside *beside, Error *err) {
  Restore *restore = beside->restore;
  Status status = restore_look(restore, err);
  if (status == STATUS_OK)
    status = list_tables(beside, err);
  if (status == STATUS_OK)
    status = check_readable(beside, err);
  for (size_t i = 0; i < beside->count && status == STATUS_OK; i++)
    status = difference_prepare(beside, &beside->tables[i], err);
  return status == STATUS_OK ? choose_columns(beside, err) : status;
}

Status restore_beside(Restore *restore, Error *err) {
  CLEANUP(beside_release) Beside beside = {.restore = restore};
  Status status = prepare(&beside, err);
  if (status == STATUS_OK)
    status = restore_begin(restore, err);
  if (status == STATUS_OK)
    status = write_all(&beside, err);
  return status == STATUS_OK ? restore_commit(restore, err) : status;
}
