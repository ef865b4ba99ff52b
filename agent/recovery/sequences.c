/* Sequences never go backwards: a value that was handed out once may be known elsewhere. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static char *quoted(const ArchiveEntry *entry) {
  return sql_qualified_name(entry->schema, entry->tag);
}

Status restore_sequences_note(Restore *restore, Error *err) {
  for (size_t i = 0; i < restore->order_count; i++) {
    const ArchiveEntry *entry = restore_entry(restore, restore->order[i]);
    if (!restore_is(entry, "SEQUENCE SET") ||
        archive_index_find(restore->run.now, "SEQUENCE", entry->schema, entry->tag) == ARCHIVE_NO_ENTRY)
      continue;
    CLEANUP(postgres_clear) PGresult *result = NULL;
    CLEANUP_FREE char *name = quoted(entry);
    Status status = restore_runf(restore, &result, err, "SELECT last_value, is_called FROM %s", name);
    if (status != STATUS_OK)
      return error_prefix(err, "the sequence %s", name);
    const RestoreFloor floor = {restore->order[i], strtoll(PQgetvalue(result, 0, 0), NULL, 10),
                                *PQgetvalue(result, 0, 1) == 't'};
    ARRAY_PUSH(restore->floors, restore->floor_count, floor);
  }
  return STATUS_OK;
}

/* Sets the sequence to `value` unless it is there or past it; "past" is further in the direction it counts in. */
static const char forward_sql[] =
    "SELECT pg_catalog.setval(%s::regclass, v.value, v.called) FROM %s s, pg_catalog.pg_sequence q,"
    " (SELECT (%s)::bigint AS value, %s AS called) v WHERE q.seqrelid = %s::regclass AND v.value BETWEEN q.seqmin AND "
    "q.seqmax"
    " AND CASE WHEN q.seqincrement > 0 THEN v.value > s.last_value ELSE v.value < s.last_value END"
    " OR (q.seqrelid = %s::regclass AND v.value = s.last_value AND v.called AND NOT s.is_called)";

static Status forward(Restore *restore, const char *name, const char *value, bool called, Error *err) {
  CLEANUP(buffer_release) Buffer literal = {0};
  sql_append_literal(&literal, name);
  const char *text = buffer_text(&literal);
  return restore_runf(restore, NULL, err, forward_sql, text, name, value, called ? "true" : "false", text, text);
}

/* The columns that it counts for: by ownership. The furthest value in them, in its direction. */
static const char columns_sql[] =
    "SELECT pg_catalog.format('SELECT %%s(%%I)::bigint FROM %%I.%%I', CASE WHEN q.seqincrement > 0 THEN "
    "'pg_catalog.max'"
    " ELSE 'pg_catalog.min' END, a.attname, n.nspname, c.relname) FROM pg_catalog.pg_sequence q"
    " JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = q.seqrelid"
    "  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid"
    " JOIN pg_catalog.pg_class c ON c.oid = d.refobjid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE q.seqrelid = %s::regclass AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)";

static Status past_column(Restore *restore, const char *name, Error *err) {
  CLEANUP(buffer_release) Buffer literal = {0};
  CLEANUP(postgres_clear) PGresult *columns = NULL, *most = NULL;
  sql_append_literal(&literal, name);
  Status status = restore_runf(restore, &columns, err, columns_sql, buffer_text(&literal));
  if (status != STATUS_OK || PQntuples(columns) == 0)
    return status;
  status = restore_run(restore, &most, err, PQgetvalue(columns, 0, 0));
  if (status != STATUS_OK || PQgetisnull(most, 0, 0))
    return status;
  return forward(restore, name, PQgetvalue(most, 0, 0), true, err);
}

Status restore_sequence(Restore *restore, long at, Error *err) {
  const ArchiveEntry *entry = restore_entry(restore, at);
  CLEANUP_FREE char *name = quoted(entry);
  Status status = restore_run(restore, NULL, err, entry->defn);
  if (status == STATUS_OK)
    status = past_column(restore, name, err);
  for (size_t i = 0; i < restore->floor_count && status == STATUS_OK; i++) {
    if (restore->floors[i].entry != at)
      continue;
    CLEANUP_FREE char *value = memory_format("%lld", (long long)restore->floors[i].value);
    status = forward(restore, name, value, restore->floors[i].called, err);
  }
  return status == STATUS_OK ? STATUS_OK : error_prefix(err, "the sequence %s", name);
}
