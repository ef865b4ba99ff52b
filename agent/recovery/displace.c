/* What stands where a table is put back is moved aside, whole, in the same transaction: nothing is dropped but foreign
 * keys of other tables that point at it, which are put back on the restored one. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static const char prefix[] = "pgseal_displaced_";

/* The relations named, their partitions and children, and the views on any of them. A table's own sequences move with
 * it. For a partition whose parent stays: that parent. */
static const char moved_sql[] =
    ", moved(oid) AS (SELECT c.oid FROM wanted w JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema::name"
    "  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name::name"
    "  WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') OR (c.relkind = 'S' AND NOT EXISTS (SELECT FROM "
    "pg_catalog.pg_depend d"
    "   WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')"
    "   AND d.refclassid = 'pg_catalog.pg_class'::regclass))"
    " UNION SELECT x.oid FROM moved m, LATERAL ("
    "  SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class k ON k.oid = i.inhrelid"
    "   WHERE i.inhparent = m.oid AND k.relkind IN ('r', 'p', 'f')"
    "  UNION ALL SELECT r.ev_class FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid"
    "   WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass"
    "   AND d.refobjid = m.oid AND r.rulename = '_RETURN' AND r.ev_class <> m.oid) x(oid)) ";

static const char list_sql[] =
    "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relispartition, p.parent FROM moved m"
    " JOIN pg_catalog.pg_class c ON c.oid = m.oid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN LATERAL (SELECT pg_catalog.format('%I.%I', pn.nspname, pc.relname) FROM pg_catalog.pg_inherits i"
    "  JOIN pg_catalog.pg_class pc ON pc.oid = i.inhparent JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace"
    "  WHERE i.inhrelid = c.oid AND c.relispartition AND i.inhparent NOT IN (SELECT oid FROM moved)) p(parent) ON true"
    " ORDER BY 2, 3";

/* Foreign keys of tables that stay. */
static const char keys_sql[] =
    "SELECT n.nspname, c.relname, k.conname FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = "
    "k.conrelid"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE k.contype = 'f' AND k.conparentid = 0"
    " AND k.confrelid IN (SELECT oid FROM moved) AND k.conrelid NOT IN (SELECT oid FROM moved) ORDER BY 1, 2, 3";

/* Whatever else uses them, their row types or their sequences, and is no part of any of them. */
static const char others_sql[] =
    ", owned(oid) AS (SELECT oid FROM moved UNION SELECT d.objid FROM pg_catalog.pg_depend d JOIN moved m"
    "  ON d.refobjid = m.oid WHERE d.classid = 'pg_catalog.pg_class'::regclass"
    "  AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i')),"
    " types(oid) AS (SELECT t.oid FROM pg_catalog.pg_type t JOIN owned o ON t.typrelid = o.oid UNION"
    "  SELECT a.oid FROM pg_catalog.pg_type t JOIN owned o ON t.typrelid = o.oid JOIN pg_catalog.pg_type a"
    "  ON a.oid = t.typarray)"
    " SELECT DISTINCT pg_catalog.pg_describe_object(d.classid, d.objid, 0) FROM pg_catalog.pg_depend d"
    " LEFT JOIN pg_catalog.pg_constraint k ON d.classid = 'pg_catalog.pg_constraint'::regclass AND k.oid = d.objid"
    " LEFT JOIN pg_catalog.pg_rewrite r ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND r.oid = d.objid"
    " LEFT JOIN pg_catalog.pg_policy p ON d.classid = 'pg_catalog.pg_policy'::regclass AND p.oid = d.objid"
    " LEFT JOIN pg_catalog.pg_trigger t ON d.classid = 'pg_catalog.pg_trigger'::regclass AND t.oid = d.objid"
    " LEFT JOIN pg_catalog.pg_attrdef f ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND f.oid = d.objid"
    " LEFT JOIN pg_catalog.pg_class c ON d.classid = 'pg_catalog.pg_class'::regclass AND c.oid = d.objid"
    " LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid"
    " WHERE d.deptype = 'n' AND ((d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid IN (SELECT oid FROM "
    "owned))"
    "  OR (d.refclassid = 'pg_catalog.pg_type'::regclass AND d.refobjid IN (SELECT oid FROM types)))"
    " AND COALESCE(CASE WHEN k.contype = 'f' THEN 0 END, k.conrelid, r.ev_class, p.polrelid, t.tgrelid, f.adrelid,"
    "  x.indrelid, c.oid, 1) NOT IN (SELECT 0 UNION SELECT oid FROM owned) ORDER BY 1";

static void list_wanted(const Restore *restore, Buffer *sql) {
  size_t count = 0;
  buffer_append_text(sql, "WITH RECURSIVE wanted(schema, name) AS (VALUES ");
  for (size_t i = 0; i < restore->selection.relation_count; i++) {
    const ArchiveEntry *entry = restore_entry(restore, restore->selection.relations[i]);
    buffer_append_text(sql, count++ ? ", (" : "(");
    sql_append_literal(sql, entry->schema);
    buffer_append_text(sql, ", ");
    sql_append_literal(sql, entry->tag);
    buffer_append_text(sql, ")");
  }
  buffer_append_text(sql, ")");
  buffer_append_text(sql, moved_sql);
}

/* It is put back with all its parts. */
static void take_again(Restore *restore, long entry) {
  const long *parts;
  size_t count = archive_index_parts(restore->run.then, entry, &parts);
  restore->resolution.take[entry] = true;
  for (size_t i = 0; i < count; i++)
    if (!restore->resolution.take[parts[i]])
      take_again(restore, parts[i]);
}

static char *copy(const PGresult *result, int row, int column) {
  return PQgetisnull(result, row, column) ? NULL : memory_strdup(PQgetvalue(result, row, column));
}

/* Which of them may move: what was chosen, partitions that came since, and views that the checkpoint can make again. */
static void take_moved(Restore *restore, const PGresult *result, RestoreNames *refused) {
  for (int i = 0; i < PQntuples(result); i++) {
    RestoreMoved one = {.schema = copy(result, i, 1),
                        .name = copy(result, i, 2),
                        .kind = *PQgetvalue(result, i, 3),
                        .parent = copy(result, i, 5)};
    long then = archive_index_relation(restore->run.then, one.schema, one.name);
    bool view = one.kind == 'v' || one.kind == 'm', partition = *PQgetvalue(result, i, 4) == 't';
    bool chosen = then != ARCHIVE_NO_ENTRY && restore->selection.classes[then] == ENTRY_CHOSEN;
    CLEANUP_FREE char *name = sql_qualified_name(one.schema, one.name);
    if (!chosen && view && then != ARCHIVE_NO_ENTRY) {
      take_again(restore, then);
    } else if (!chosen && partition) {
      restore_note(restore, "The partition %s, which the checkpoint has not, moves with its table.", name);
    } else if (!chosen) {
      CLEANUP_FREE char *text = memory_format("%s %s", view ? "view" : "table", name);
      restore_names_add(refused, text);
    }
    ARRAY_PUSH(restore->moved, restore->moved_count, one);
  }
}

static void take_keys(Restore *restore, const PGresult *result, RestoreNames *refused) {
  for (int i = 0; i < PQntuples(result); i++) {
    const char *schema = PQgetvalue(result, i, 0), *table = PQgetvalue(result, i, 1), *key = PQgetvalue(result, i, 2);
    CLEANUP_FREE char *tag = memory_format("%s %s", table, key);
    long then = archive_index_find(restore->run.then, "FK CONSTRAINT", schema, tag);
    CLEANUP_FREE char *name = sql_qualified_name(schema, table), *quoted = sql_name(key);
    if (then == ARCHIVE_NO_ENTRY) {
      CLEANUP_FREE char *text = memory_format("foreign key %s of %s", quoted, name);
      restore_names_add(refused, text);
      continue;
    }
    take_again(restore, then);
    statement_list_add(&restore->dropped_keys, memory_format("ALTER TABLE %s DROP CONSTRAINT %s", name, quoted));
  }
}

static Status query(Restore *restore, const Buffer *wanted, const char *sql, PGresult **result, Error *err) {
  CLEANUP_FREE char *text = memory_format("%.*s%s", (int)wanted->size, (const char *)wanted->data, sql);
  return restore_run(restore, result, err, text);
}

/* What would move, the foreign keys of others that point at it, and what else hangs on it. */
typedef struct Found {
  PGresult *results[3];
} Found;

static void found_release(Found *found) {
  for (size_t i = 0; i < ARRAY_SIZE(found->results); i++)
    PQclear(found->results[i]);
}

static Status look(Restore *restore, Found *found, Error *err) {
  static const char *const queries[] = {list_sql, keys_sql, others_sql};
  CLEANUP(buffer_release) Buffer wanted = {0};
  Status status = STATUS_OK;
  list_wanted(restore, &wanted);
  for (size_t i = 0; i < ARRAY_SIZE(queries) && status == STATUS_OK; i++)
    status = query(restore, &wanted, queries[i], &found->results[i], err);
  return status;
}

/* All of it as one text, to be compared. */
static char *found_text(const Found *found) {
  CLEANUP(buffer_release) Buffer text = {0};
  for (size_t i = 0; i < ARRAY_SIZE(found->results); i++)
    for (int row = 0; row < PQntuples(found->results[i]); row++)
      for (int column = 0; column < PQnfields(found->results[i]); column++)
        buffer_append_format(&text, "%zu %s\n", i, PQgetvalue(found->results[i], row, column));
  return buffer_steal_text(&text);
}

Status restore_displace_check(Restore *restore, Error *err) {
  CLEANUP(found_release) Found found = {0};
  CLEANUP(restore_names_release) RestoreNames refused = {0};
  if (!restore->replace || restore->selection.relation_count == 0)
    return STATUS_OK;
  Status status = look(restore, &found, err);
  if (status != STATUS_OK)
    return status;
  const PGresult *others = found.results[2];
  take_moved(restore, found.results[0], &refused);
  take_keys(restore, found.results[1], &refused);
  for (int i = 0; i < PQntuples(others); i++)
    restore_names_add(&refused, PQgetvalue(others, i, 0));
  restore->hanging = found_text(&found);
  if (refused.count == 0)
    return STATUS_OK;
  error_set(err, ERR_CONFLICT,
            "these hang on what would be moved aside, and the checkpoint cannot put them on the restored tables: %s",
            restore_names_text(&refused));
  error_remedy(err,
               "Drop or change them first, and make them anew afterwards; or restore beside (mode `beside`), which "
               "leaves everything where it is.");
  return err->status;
}

static const char *kind_word(char kind) {
  return kind == 'v'   ? "VIEW"
         : kind == 'm' ? "MATERIALIZED VIEW"
         : kind == 'S' ? "SEQUENCE"
         : kind == 'f' ? "FOREIGN TABLE"
                       : "TABLE";
}

static Status move_one(Restore *restore, const RestoreMoved *one, const char *schema, Error *err) {
  CLEANUP_FREE char *name = sql_qualified_name(one->schema, one->name);
  Status status = STATUS_OK;
  if (one->parent)
    status = restore_runf(restore, NULL, err, "ALTER TABLE %s DETACH PARTITION %s", one->parent, name);
  if (status == STATUS_OK)
    status = restore_runf(restore, NULL, err, "ALTER %s %s SET SCHEMA %s", kind_word(one->kind), name, schema);
  if (status != STATUS_OK) {
    error_prefix(err, "moving %s aside", name);
    error_object(err, "%s", name);
    return err->status;
  }
  json_t *json = json_object();
  json_object_set_new(json, "desc", json_string(kind_word(one->kind)));
  json_object_set_new(json, "schema", recovery_text(&restore->run, one->schema));
  json_object_set_new(json, "name", recovery_text(&restore->run, one->name));
  json_object_set_new(json, "to", json_string(restore->schema));
  json_array_append_new(restore->displaced, json);
  return STATUS_OK;
}

/* From the first lock on nothing comes to hang on them: a view, a foreign key, a partition. What came before is found.
 */
static Status lock_moved(Restore *restore, Error *err) {
  CLEANUP(found_release) Found found = {0};
  Status status = STATUS_OK;
  for (size_t i = 0; i < restore->moved_count && status == STATUS_OK; i++) {
    CLEANUP_FREE char *name = sql_qualified_name(restore->moved[i].schema, restore->moved[i].name);
    status = recovery_check(&restore->run, err);
    if (status == STATUS_OK && strchr("rpv", restore->moved[i].kind))
      status = restore_runf(restore, NULL, err, "LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", name);
    if (status != STATUS_OK)
      return error_prefix(err, "moving %s aside", name);
  }
  status = look(restore, &found, err);
  CLEANUP_FREE char *now = found_text(&found);
  if (status != STATUS_OK || strcmp(now, restore->hanging) == 0)
    return status;
  error_set(err, ERR_CONFLICT, "what stands in the way, or what hangs on it, was changed while the restore looked");
  error_remedy(err, "Ask again; and stop whoever changes definitions meanwhile.");
  return err->status;
}

Status restore_displace(Restore *restore, Error *err) {
  if (restore->moved_count == 0)
    return STATUS_OK;
  recovery_phase(&restore->run, "displacing");
  Status status = lock_moved(restore, err);
  if (status != STATUS_OK)
    return status;
  CLEANUP_FREE char *mark = restore_schema_mark(restore, "displaced by a restore of");
  restore->schema = restore_schema_name(restore, prefix);
  CLEANUP_FREE char *schema = sql_name(restore->schema);
  status = restore_schema_make(restore, restore->schema, mark, NULL, err);
  for (size_t i = 0; i < restore->dropped_keys.count && status == STATUS_OK; i++)
    status = restore_run(restore, NULL, err, restore->dropped_keys.items[i]);
  for (size_t i = 0; i < restore->moved_count && status == STATUS_OK; i++)
    status = move_one(restore, &restore->moved[i], schema, err);
  if (status == STATUS_OK)
    restore_note(restore,
                 "What stood there is in schema %s, with its rows, indexes and foreign keys: drop the schema once "
                 "nobody needs it.",
                 restore->schema);
  return status;
}
