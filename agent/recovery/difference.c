/* What differs between the checkpoint's rows and the live ones, by the key that the checkpoint has. The server
 * compares; only counts come back. Values are compared as text, byte for byte: every type has that. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/beside.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* ---- columns ---- */

static const ArchiveColumn *find(const ArchiveColumns *columns, const char *name) {
  for (size_t i = 0; i < columns->count; i++)
    if (strcmp(columns->items[i].name, name) == 0)
      return &columns->items[i];
  return NULL;
}

static void take_columns(BesideTable *table, const ArchiveColumns *was, const ArchiveColumns *is) {
  for (size_t i = 0; i < was->count; i++) {
    BesideColumn column = {.name = memory_strdup(was->items[i].name), .type = memory_strdup(was->items[i].type)};
    const ArchiveColumn *live = find(is, column.name);
    if (live && !live->generated)
      column.live_type = memory_strdup(live->type);
    column.compared = column.live_type && strcmp(column.live_type, column.type) == 0;
    ARRAY_PUSH(table->columns, table->column_count, column);
  }
}

/* ---- the key ---- */

static size_t mark_key(BesideTable *table, const char *defn, const char *marker) {
  const char *at = strstr(defn, marker), *end = defn + strlen(defn);
  size_t named = 0, found = 0;
  char *name = NULL;
  if (!at)
    return 0;
  for (at += strlen(marker); sql_take_name(&at, end, &name); at += strspn(at, ", ")) {
    named++;
    for (size_t i = 0; i < table->column_count; i++)
      if (strcmp(table->columns[i].name, name) == 0 && table->columns[i].compared) {
        table->columns[i].key = true;
        found++;
      }
    free(name);
  }
  if (named == found)
    return found;
  for (size_t i = 0; i < table->column_count; i++)
    table->columns[i].key = false;
  return 0;
}

/* A row without a value in one of them is told apart from no other. */
static bool keys_have_values(const Beside *beside, const BesideTable *table) {
  CLEANUP(archive_columns_release) ArchiveColumns columns = {0};
  Error ignored;
  if (archive_table_columns(beside->restore->run.then, table->relation, &columns, &ignored) != STATUS_OK)
    return false;
  for (size_t i = 0; i < table->column_count; i++) {
    const ArchiveColumn *column = table->columns[i].key ? find(&columns, table->columns[i].name) : NULL;
    if (table->columns[i].key && !(column && column->not_null))
      return false;
  }
  return true;
}

static void find_key(Beside *beside, BesideTable *table) {
  static const char *const markers[] = {" PRIMARY KEY (", " UNIQUE ("};
  const long *parts;
  size_t count = archive_index_parts(beside->restore->run.then, table->relation, &parts);
  for (size_t kind = 0; kind < ARRAY_SIZE(markers); kind++)
    for (size_t i = 0; i < count && table->key_count == 0; i++) {
      const ArchiveEntry *entry = restore_entry(beside->restore, parts[i]);
      if (!restore_is(entry, "CONSTRAINT"))
        continue;
      table->key_count = mark_key(table, entry->defn, markers[kind]);
      if (table->key_count == 0 || kind == 0 || keys_have_values(beside, table))
        continue;
      table->key_count = 0;
      for (size_t j = 0; j < table->column_count; j++)
        table->columns[j].key = false;
    }
}

/* The type's own equality: search_path is empty, and it may be an extension's. */
static const char equality_sql[] =
    "SELECT 'OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.=)' FROM pg_catalog.pg_attribute a"
    " JOIN pg_catalog.pg_operator o ON o.oprname = '=' AND o.oprleft = a.atttypid AND o.oprright = a.atttypid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace"
    " WHERE a.attrelid = %s::pg_catalog.regclass AND a.attname = %s AND n.nspname <> 'pg_catalog'";

static Status append_match(Beside *beside, const BesideTable *table, const BesideColumn *column, Buffer *match,
                           Error *err) {
  CLEANUP(buffer_release) Buffer relation = {0}, name = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  CLEANUP_FREE char *quoted = sql_name(column->name);
  sql_append_literal(&relation, table->live_name);
  sql_append_literal(&name, column->name);
  Status status = restore_runf(beside->restore, &result, err, equality_sql, buffer_text(&relation), buffer_text(&name));
  if (status != STATUS_OK)
    return status;
  buffer_append_format(match, "%sr.%s %s l.%s", match->size ? " AND " : "", quoted,
                       PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "=", quoted);
  return STATUS_OK;
}

Status difference_prepare(Beside *beside, BesideTable *table, Error *err) {
  RecoveryRun *run = &beside->restore->run;
  CLEANUP(archive_columns_release) ArchiveColumns was = {0};
  CLEANUP(archive_columns_release) ArchiveColumns is = {0};
  CLEANUP(buffer_release) Buffer match = {0};
  Status status = archive_copy_columns(run->then, table->data, &was, err);
  if (status == STATUS_OK && table->live_name)
    status = archive_table_columns(run->now, table->now, &is, err);
  if (status != STATUS_OK)
    return error_prefix(err, "the columns of %s.%s", table->then->schema, table->then->name);
  take_columns(table, &was, &is);
  find_key(beside, table);
  if (!table->live_name || table->key_count == 0)
    return STATUS_OK;
  for (size_t i = 0; i < table->column_count && status == STATUS_OK; i++)
    if (table->columns[i].key)
      status = append_match(beside, table, &table->columns[i], &match, err);
  if (status == STATUS_OK)
    table->match = buffer_steal_text(&match);
  return status;
}

/* ---- rows ---- */

void difference_append_column(Buffer *sql, const char *column) {
  CLEANUP_FREE char *name = sql_name(column);
  buffer_append_format(sql, "r.%s::text COLLATE pg_catalog.\"C\" IS DISTINCT FROM l.%s::text COLLATE pg_catalog.\"C\"",
                       name, name);
}

Status difference_count(Beside *beside, int64_t *number, const char *sql, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = restore_run(beside->restore, &result, err, sql);
  if (status == STATUS_OK)
    *number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  return status;
}

static Status compare_by_key(Beside *beside, BesideTable *table, Error *err) {
  CLEANUP(buffer_release) Buffer sql = {0}, any = {0}, each = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  for (size_t i = 0; i < table->column_count; i++) {
    if (!table->columns[i].compared || table->columns[i].key)
      continue;
    CLEANUP(buffer_release) Buffer one = {0};
    difference_append_column(&one, table->columns[i].name);
    buffer_append_format(&any, "%s%s", any.size ? " OR " : "", buffer_text(&one));
    buffer_append_format(
        &each, ", pg_catalog.count(*) FILTER (WHERE r.tableoid IS NOT NULL AND l.tableoid IS NOT NULL AND %s)",
        buffer_text(&one));
  }
  buffer_append_format(
      &sql,
      "SELECT pg_catalog.count(*) FILTER (WHERE l.tableoid IS NULL),"
      " pg_catalog.count(*) FILTER (WHERE r.tableoid IS NULL),"
      " pg_catalog.count(*) FILTER (WHERE r.tableoid IS NOT NULL AND l.tableoid IS NOT NULL AND (%s))%s"
      " FROM %s r FULL JOIN ONLY %s l ON %s",
      any.size ? buffer_text(&any) : "false", buffer_text(&each), table->rescue_name, table->live_name, table->match);
  Status status = restore_run(beside->restore, &result, err, buffer_text(&sql));
  if (status != STATUS_OK)
    return status;
  table->missing = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  table->fresh = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
  table->changed = strtoll(PQgetvalue(result, 0, 2), NULL, 10);
  int field = 3;
  for (size_t i = 0; i < table->column_count; i++)
    if (table->columns[i].compared && !table->columns[i].key)
      table->columns[i].changed = strtoll(PQgetvalue(result, 0, field++), NULL, 10);
  return STATUS_OK;
}

static void append_whole(Buffer *sql, const BesideTable *table, const char *from) {
  size_t count = 0;
  buffer_append_text(sql, "SELECT ");
  for (size_t i = 0; i < table->column_count; i++) {
    if (!table->columns[i].compared)
      continue;
    CLEANUP_FREE char *name = sql_name(table->columns[i].name);
    buffer_append_format(sql, "%s%s::text COLLATE pg_catalog.\"C\"", count++ ? ", " : "", name);
  }
  buffer_append_format(sql, " FROM %s", from);
}

/* Without a key: how many rows of one side the other has not, each as often as it is there. */
static Status compare_whole(Beside *beside, BesideTable *table, Error *err) {
  CLEANUP(buffer_release) Buffer then = {0}, now = {0};
  CLEANUP_FREE char *only = memory_format("ONLY %s", table->live_name);
  append_whole(&then, table, table->rescue_name);
  append_whole(&now, table, only);
  static const char format[] = "SELECT pg_catalog.count(*) FROM (%s EXCEPT ALL %s) x";
  CLEANUP_FREE char *missing = memory_format(format, buffer_text(&then), buffer_text(&now));
  CLEANUP_FREE char *fresh = memory_format(format, buffer_text(&now), buffer_text(&then));
  table->multiset = true;
  Status status = difference_count(beside, &table->missing, missing, err);
  return status == STATUS_OK ? difference_count(beside, &table->fresh, fresh, err) : status;
}

bool difference_only_deleted(const BesideTable *table) {
  for (size_t i = 0; i < table->column_count; i++)
    if (!table->columns[i].compared)
      return false;
  return table->multiset && table->fresh == 0 && table->column_count > 0;
}

static void note_keyless(Beside *beside, const BesideTable *table) {
  const char *what = "";
  if (table->missing > 0)
    what =
        difference_only_deleted(table)
            ? ", none is there that was not there then, and the script inserts those that are missing"
            : ". Those that are new or have other columns may be the missing ones, changed: the script leaves it out. "
              "Look at them beside each other, and copy by hand what is wanted";
  restore_note(beside->restore, "%s has no key by which its rows can be told apart: whole rows were compared%s.",
               table->live_name, what);
}

static void tell(Beside *beside, const BesideTable *table) {
  RecoveryRun *run = &beside->restore->run;
  json_t *json = json_object(), *key = json_array(), *columns = json_object();
  for (size_t i = 0; i < table->column_count; i++) {
    json_t *name = recovery_text(run, table->columns[i].name);
    if (table->columns[i].key)
      json_array_append(key, name);
    if (table->columns[i].changed > 0)
      json_object_set_new(columns, json_string_value(name), json_integer(table->columns[i].changed));
    json_decref(name);
  }
  json_object_set_new(json, "schema", recovery_text(run, table->then->schema));
  json_object_set_new(json, "name", recovery_text(run, table->then->name));
  json_object_set_new(json, "rescue", recovery_text(run, table->rescue));
  json_object_set_new(json, "live", json_boolean(table->live_name != NULL));
  json_object_set_new(json, "missing", json_integer(table->missing));
  json_object_set_new(json, "changed", table->multiset ? json_null() : json_integer(table->changed));
  json_object_set_new(json, "new", json_integer(table->fresh));
  json_object_set_new(json, "key", key);
  json_object_set_new(json, "columns", columns);
  json_array_append_new(beside->restore->differences, json);
}

static void note_columns(Beside *beside, const BesideTable *table) {
  for (size_t i = 0; i < table->column_count && table->live_name; i++) {
    const BesideColumn *column = &table->columns[i];
    if (!column->compared)
      restore_note(beside->restore, "Column %s of %s is %s: it was not compared.", column->name, table->live_name,
                   column->live_type ? "of another type now" : "gone");
  }
}

Status difference_find(Beside *beside, BesideTable *table, Error *err) {
  Restore *restore = beside->restore;
  Status status = STATUS_OK;
  recovery_progress(&restore->run, restore->tables_done, restore->tables_total, table->then->schema, table->then->name);
  if (!table->live_name) {
    table->missing = table->then->rows;
    restore_note(restore, "Table %s.%s is gone: put it back in place (mode `in_place`), or copy from %s.",
                 table->then->schema, table->then->name, table->rescue_name);
  } else if (table->match) {
    status = compare_by_key(beside, table, err);
  } else {
    status = compare_whole(beside, table, err);
    if (status == STATUS_OK)
      note_keyless(beside, table);
  }
  if (status != STATUS_OK)
    return error_prefix(err, "comparing %s.%s", table->then->schema, table->then->name);
  note_columns(beside, table);
  tell(beside, table);
  return STATUS_OK;
}
