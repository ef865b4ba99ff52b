#include <inttypes.h>
#include <string.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/base/text.h"

/* What pg_dump locks (tables and partitioned ones) or must read (sequences), by its own rules:
 * selectDumpableNamespace, checkExtensionMembership, processExtensionTables and makeTableDataInfo in pg_dump.c. Of an
 * extension's tables it dumps the rows of those alone that pg_extension_config_dump() was called for. */
static const char list_sql[] =
    "SELECT c.oid, n.nspname, c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind,"
    " c.relkind = 'r' AND (c.relpersistence <> 'u' OR NOT pg_catalog.pg_is_in_recovery()),"
    " COALESCE(e.extcondition[pg_catalog.array_position(e.extconfig, c.oid)], ''),"
    " pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND CASE WHEN c.relkind = 'S'"
    "   THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') "
    "END,"
    " c.relkind = 'r' AND c.relrowsecurity AND pg_catalog.row_security_active(c.oid), c.relpages"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid"
    "   AND d.objsubid = 0 AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'"
    " LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND e.oid >= 16384"
    " WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'"
    " AND CASE WHEN d.objid IS NULL THEN n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    "   ELSE c.oid = ANY (e.extconfig) END"
    " ORDER BY c.relpages DESC, c.oid";

void dump_tables_release(DumpTables *tables) {
  for (size_t i = 0; i < tables->count; i++) {
    DumpTable *table = &tables->items[i];
    free(table->oid);
    free(table->schema);
    free(table->name);
    free(table->quoted);
    free(table->condition);
  }
  free(tables->items);
  *tables = (DumpTables){0};
}

static DumpTable table_from_row(const PGresult *result, int row) {
  return (DumpTable){
      .oid = memory_strdup(PQgetvalue(result, row, 0)),
      .schema = memory_strdup(PQgetvalue(result, row, 1)),
      .name = memory_strdup(PQgetvalue(result, row, 2)),
      .quoted = memory_strdup(PQgetvalue(result, row, 3)),
      .relkind = *PQgetvalue(result, row, 4),
      .data = *PQgetvalue(result, row, 5) == 't',
      .condition = memory_strdup(PQgetvalue(result, row, 6)),
      .readable = *PQgetvalue(result, row, 7) == 't',
      .row_security = *PQgetvalue(result, row, 8) == 't',
      .pages = strtoll(PQgetvalue(result, row, 9), NULL, 10),
      .rows = -1,
  };
}

Status dump_catalog_list(PGconn *session, DumpTables *out, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(session, &result, err, list_sql);
  if (status != STATUS_OK)
    return error_prefix(err, "listing the tables");
  DumpTables tables = {0};
  for (int row = 0; row < PQntuples(result); row++)
    ARRAY_PUSH(tables.items, tables.count, table_from_row(result, row));
  *out = tables;
  return STATUS_OK;
}

/* "a, b, c and 5 more": names for people, made harmless. */
static void append_name(Buffer *names, size_t number, const char *name) {
  char clean[DUMP_TABLE_TEXT_SIZE];
  if (number < DUMP_NAMED_LIMIT)
    buffer_append_format(names, "%s%s", number ? ", " : "", text_show(name, clean, sizeof clean));
}

enum { IDENTIFIER_SIZE = 2 * DUMP_TABLE_TEXT_SIZE };

/* As SQL wants it, in a remedy that somebody will paste. Whoever may make a schema chooses its name. */
static const char *identifier(const char *name, char out[IDENTIFIER_SIZE]) {
  char clean[DUMP_TABLE_TEXT_SIZE], *end = out;
  text_clean(name, clean, sizeof clean);
  *end++ = '"';
  for (const char *p = clean; *p && end < out + IDENTIFIER_SIZE - 3; p++) {
    if (*p == '"')
      *end++ = '"';
    *end++ = *p;
  }
  memcpy(end, "\"", 2);
  return out;
}

static void append_rest(Buffer *names, size_t count) {
  if (count > DUMP_NAMED_LIMIT)
    buffer_append_format(names, " and %zu more", count - DUMP_NAMED_LIMIT);
}

static const char *relation_word(const DumpTable *table) {
  return table->relkind == 'S' ? "sequence" : "table";
}

static Status check_readable(const DumpTables *tables, const DumpSource *source, Error *err) {
  CLEANUP(buffer_release) Buffer names = {0};
  const DumpTable *first = NULL;
  size_t count = 0;
  for (size_t i = 0; i < tables->count; i++) {
    const DumpTable *table = &tables->items[i];
    if (table->readable)
      continue;
    first = first ? first : table;
    append_name(&names, count++, table->quoted);
  }
  if (!first)
    return STATUS_OK;
  append_rest(&names, count);
  char role[IDENTIFIER_SIZE], object[DUMP_TABLE_TEXT_SIZE], schema[IDENTIFIER_SIZE];
  text_show(first->quoted, object, sizeof object);
  identifier(source->role, role);
  error_set(err, ERR_TABLE_UNREADABLE, "role %s may not read %zu of the database's tables and sequences: %s", role,
            count, buffer_text(&names));
  error_remedy(err, "GRANT USAGE ON SCHEMA %s TO %s; GRANT SELECT ON %s %s TO %s; and likewise for the others%s.",
               identifier(first->schema, schema), role, relation_word(first), object, role,
               source->major >= 14 ? ". GRANT pg_read_all_data gives all of them" : "");
  error_object(err, "%s", object);
  return err->status;
}

Status dump_catalog_check(const DumpTables *tables, const DumpSource *source, Error *err) {
  Status status = check_readable(tables, source, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP(buffer_release) Buffer names = {0};
  const DumpTable *first = NULL;
  size_t count = 0;
  for (size_t i = 0; i < tables->count; i++) {
    const DumpTable *table = &tables->items[i];
    if (!table->data || !table->row_security)
      continue;
    first = first ? first : table;
    append_name(&names, count++, table->quoted);
  }
  if (!first)
    return STATUS_OK;
  append_rest(&names, count);
  char role[IDENTIFIER_SIZE], object[DUMP_TABLE_TEXT_SIZE];
  identifier(source->role, role);
  text_show(first->quoted, object, sizeof object);
  error_set(err, ERR_ROW_SECURITY, "row-level security hides rows from role %s in %zu of the database's tables: %s",
            role, count, buffer_text(&names));
  error_remedy(err, "ALTER ROLE %s BYPASSRLS, or dump as the tables' owner: a filtered dump is not a copy.", role);
  error_object(err, "%s", object);
  return err->status;
}

Status dump_catalog_admit(DumpRun *run, DumpTables *tables, Error *err) {
  if (!run->partial)
    return dump_catalog_check(tables, &run->source, err);
  for (size_t i = 0; i < tables->count; i++) {
    DumpTable *table = &tables->items[i];
    table->data = table->data && table->readable && !table->row_security;
  }
  return STATUS_OK;
}

/* pg_read_all_data does not cover large objects, and there is no has_largeobject_privilege() before 18. */
static const char large_objects_sql[] =
    "SELECT m.oid, pg_catalog.count(*) OVER () FROM pg_catalog.pg_largeobject_metadata m"
    " WHERE pg_catalog.current_setting('lo_compat_privileges') = 'off'"
    " AND NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE') AND NOT EXISTS ("
    "   SELECT 1 FROM pg_catalog.aclexplode(m.lomacl) a WHERE a.privilege_type = 'SELECT'"
    "   AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE'))) ORDER BY m.oid LIMIT 10";

Status dump_catalog_check_large_objects(DumpRun *run, Error *err) {
  if (run->source.superuser || run->partial)
    return STATUS_OK;
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(run->sessions[0], &result, err, large_objects_sql);
  if (status != STATUS_OK || PQntuples(result) == 0)
    return status;
  CLEANUP(buffer_release) Buffer names = {0};
  for (int row = 0; row < PQntuples(result); row++)
    append_name(&names, (size_t)row, PQgetvalue(result, row, 0));
  char role[IDENTIFIER_SIZE];
  identifier(run->source.role, role);
  error_set(err, ERR_TABLE_UNREADABLE, "role %s may not read %s of the large objects, the first ones being %s", role,
            PQgetvalue(result, 0, 1), buffer_text(&names));
  error_remedy(err,
               "GRANT SELECT ON LARGE OBJECT %s TO %s; and likewise for the others (pg_read_all_data does not "
               "cover large objects), or dump as their owner or a superuser.",
               PQgetvalue(result, 0, 0), role);
  error_object(err, "large object %s", PQgetvalue(result, 0, 0));
  return err->status;
}
