/* What can be in the way is found before anything is written, and told with what helps. */
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* ---- the target ---- */

static Status check_version(Restore *restore, Error *err) {
  const RecoveryRun *run = &restore->run;
  int then = run->manifest.server_major, now = run->live.source.major;
  if (now == then)
    return STATUS_OK;
  if (now > then) {
    restore_note(restore,
                 "The target runs PostgreSQL %d, the checkpoint is of %d: definitions may be worded differently.", now,
                 then);
    return STATUS_OK;
  }
  error_set(err, ERR_VERSION_MISMATCH, "the target runs PostgreSQL %d, the checkpoint is of a newer one, %d", now,
            then);
  error_remedy(err,
               "Restore into a server of PostgreSQL %d or later: what a newer pg_dump writes, an older server need not "
               "understand.",
               then);
  return err->status;
}

Status restore_check_target(Restore *restore, Error *err) {
  const RecoveryRun *run = &restore->run;
  const char *name = run->live.source.database_name;
  bool other = json_is_true(json_object_get(run->request, "other_database"));
  if (run->live.source.in_recovery) {
    error_set(err, ERR_CONFLICT, "the target is a standby, which nothing can be written to");
    error_remedy(err, "Let `restore_conninfo_file` (or `conninfo_file`) of agent.yaml lead to the primary.");
    return err->status;
  }
  if (strcmp(name, run->manifest.database_name) != 0 && !other && restore->mode != RESTORE_NEW_DATABASE) {
    error_set(err, ERR_CONFLICT, "the connection leads to the database \"%s\", the checkpoint is of \"%s\"", name,
              run->manifest.database_name);
    error_remedy(err,
                 "Correct the connection string in agent.yaml; if it is meant to be another database, ask for it as "
                 "`other_database`.");
    error_object(err, "%s", name);
    return err->status;
  }
  return check_version(restore, err);
}

/* ---- names ---- */

/* "orders orders_pkey": the tag of a part is the table's name, a blank, its own; and either may have blanks. */
static char *own_name(const ArchiveEntry *entry) {
  static const char marker[] = " ADD CONSTRAINT ";
  const char *at = strstr(entry->defn, marker), *end = entry->defn + strlen(entry->defn);
  char *name = NULL;
  if (!at)
    return NULL;
  at += strlen(marker);
  return sql_take_name(&at, end, &name) ? name : NULL;
}

char *restore_relation_name(const ArchiveEntry *entry) {
  if (archive_is_relation(entry) || restore_is(entry, "INDEX"))
    return memory_strdup(entry->tag);
  bool indexed =
      restore_is(entry, "CONSTRAINT") &&
      (strstr(entry->defn, " PRIMARY KEY ") || strstr(entry->defn, " UNIQUE ") || strstr(entry->defn, " EXCLUDE "));
  return indexed ? own_name(entry) : NULL;
}

bool restore_is_displaced(const Restore *restore, const char *schema, const char *name) {
  for (size_t i = 0; i < restore->moved_count; i++)
    if (strcmp(restore->moved[i].schema, schema) == 0 && strcmp(restore->moved[i].name, name) == 0)
      return true;
  return false;
}

/* Every name that will be made, and what has it now: of a relation itself or of the one it belongs to. */
static const char taken_sql[] =
    "SELECT w.schema, w.name, CASE c.relkind WHEN 'i' THEN 'index' WHEN 'I' THEN 'index' WHEN 'S' THEN 'sequence'"
    " WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END,"
    " COALESCE(onn.nspname, n.nspname), COALESCE(o.relname, c.relname)"
    " FROM wanted w JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema::name"
    " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name::name"
    " LEFT JOIN pg_catalog.pg_index x ON x.indexrelid = c.oid"
    " LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid"
    "  AND c.relkind = 'S' AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_catalog.pg_class'::regclass"
    " LEFT JOIN pg_catalog.pg_class o ON o.oid = COALESCE(x.indrelid, d.refobjid)"
    " LEFT JOIN pg_catalog.pg_namespace onn ON onn.oid = o.relnamespace ORDER BY 1, 2";

static size_t list_wanted(const Restore *restore, Buffer *sql) {
  size_t count = 0;
  buffer_append_text(sql, "WITH wanted(schema, name) AS (VALUES ");
  for (size_t i = 0; i < restore->order_count; i++) {
    const ArchiveEntry *entry = restore_entry(restore, restore->order[i]);
    CLEANUP_FREE char *name = restore_relation_name(entry);
    if (!name)
      continue;
    buffer_append_text(sql, count++ ? ", (" : "(");
    sql_append_literal(sql, entry->schema);
    buffer_append_text(sql, ", ");
    sql_append_literal(sql, name);
    buffer_append_text(sql, ")");
  }
  buffer_append_text(sql, ") ");
  buffer_append_text(sql, taken_sql);
  return count;
}

static void refuse_taken(const Restore *restore, RestoreNames *tables, RestoreNames *others, Error *err) {
  if (tables->count > 0 && !restore->replace) {
    error_set(err, ERR_CONFLICT, "the target has these already: %s", restore_names_text(tables));
    error_remedy(err, "To get lost rows back, restore beside them (mode `beside`), which changes nothing. To put the "
                      "checkpoint's in their place, ask for `replace`: what is there now is moved aside, whole.");
    return;
  }
  error_set(err, ERR_CONFLICT, "names that the restored tables need belong to something else: %s",
            restore_names_text(others));
  error_remedy(
      err, "Rename those (ALTER ... RENAME TO), then ask again. Was the table renamed? Then rename it back instead.");
}

static Status check_names(Restore *restore, Error *err) {
  CLEANUP(buffer_release) Buffer sql = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  CLEANUP(restore_names_release) RestoreNames tables = {0};
  CLEANUP(restore_names_release) RestoreNames others = {0};
  CLEANUP_FREE char *first = NULL;
  if (list_wanted(restore, &sql) == 0)
    return STATUS_OK;
  Status status = restore_run(restore, &result, err, buffer_text(&sql));
  if (status != STATUS_OK)
    return status;
  for (int i = 0; i < PQntuples(result); i++) {
    const char *schema = PQgetvalue(result, i, 0), *name = PQgetvalue(result, i, 1);
    const char *of_schema = PQgetvalue(result, i, 3), *of = PQgetvalue(result, i, 4);
    bool own = strcmp(schema, of_schema) == 0 && strcmp(name, of) == 0;
    if (restore_is_displaced(restore, of_schema, of))
      continue;
    CLEANUP_FREE char *full = sql_shown_name(schema, name), *owner = sql_shown_name(of_schema, of);
    CLEANUP_FREE char *text = own ? memory_format("%s %s", PQgetvalue(result, i, 2), full)
                                  : memory_format("%s %s (of %s)", PQgetvalue(result, i, 2), full, owner);
    long chosen = archive_index_relation(restore->run.then, schema, name);
    bool table = own && chosen != ARCHIVE_NO_ENTRY && restore->selection.classes[chosen] == ENTRY_CHOSEN;
    restore_names_add(table ? &tables : &others, text);
    if (!first)
      first = STEAL(full);
  }
  if (!first)
    return STATUS_OK;
  refuse_taken(restore, &tables, &others, err);
  error_object(err, "%s", first);
  return err->status;
}

/* ---- privileges ---- */

/* It, or something that is on it, is chosen, needed, or went with what is chosen. */
static bool concerns(const Restore *restore, long relation) {
  for (size_t i = 0; i < restore->selection.entry_count; i++)
    if (restore->selection.classes[i] != ENTRY_LEFT &&
        ((long)i == relation || archive_index_owner(restore->run.then, (long)i) == relation))
      return true;
  return false;
}

/* What it may not read is not in the live schema, and would be taken for missing. */
static Status check_readable(Restore *restore, Error *err) {
  CLEANUP(restore_names_release) RestoreNames names = {0};
  const DumpTables *tables = &restore->run.live.tables;
  for (size_t i = 0; i < tables->count; i++) {
    const DumpTable *table = &tables->items[i];
    long then = archive_index_relation(restore->run.then, table->schema, table->name);
    if (!table->readable && then != ARCHIVE_NO_ENTRY && concerns(restore, then))
      restore_names_add(&names, table->quoted);
  }
  if (names.count == 0)
    return STATUS_OK;
  const char *text = restore_names_text(&names);
  error_set(err, ERR_FORBIDDEN, "role %s may not read tables that the restore has to do with: %s",
            restore->run.live.source.role, text);
  error_remedy(err,
               "Restore as a role that may, the tables' owner or a superuser: `restore_conninfo_file` of agent.yaml.");
  error_object(err, "%s", text);
  return err->status;
}

/* Schemas that things are made in, with who will own them; tables that are altered because something is put on them. */
static void list_altered(const Restore *restore, Buffer *schemas, Buffer *tables) {
  for (size_t i = 0; i < restore->order_count; i++) {
    const ArchiveEntry *entry = restore_entry(restore, restore->order[i]);
    long parent = archive_index_parent(restore->run.then, restore->order[i]);
    long owner = archive_index_owner(restore->run.then, restore->order[i]);
    if (archive_is_relation(entry)) {
      buffer_append_text(schemas, schemas->size ? ", (" : "(");
      sql_append_literal(schemas, entry->schema);
      buffer_append_text(schemas, ", ");
      sql_append_literal(schemas, *entry->owner ? entry->owner : restore->run.live.source.role);
      buffer_append_text(schemas, ")");
    } else if (parent != ARCHIVE_NO_ENTRY && owner != ARCHIVE_NO_ENTRY && !restore->resolution.take[owner] &&
               archive_is_table(restore_entry(restore, owner))) {
      const ArchiveEntry *table = restore_entry(restore, owner);
      CLEANUP_FREE char *name = sql_qualified_name(table->schema, table->tag);
      buffer_append_text(tables, tables->size ? ", " : "");
      sql_append_literal(tables, name);
    }
  }
}

/* Whoever makes a table in a schema, and whoever gets it, need CREATE there. */
static const char schemas_sql[] =
    "SELECT DISTINCT pg_catalog.quote_ident(n.nspname) || ' (' || pg_catalog.quote_ident(r.rolname) || ')'"
    " FROM (VALUES %s) w(schema, owner) JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema::name"
    " JOIN pg_catalog.pg_roles r ON r.rolname IN (w.owner::name, CURRENT_USER)"
    " WHERE NOT (pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')"
    " AND (r.rolname <> CURRENT_USER OR pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE'))) ORDER BY 1";

static Status refuse_privilege(const Restore *restore, const PGresult *result, const char *what, Error *err) {
  CLEANUP(restore_names_release) RestoreNames names = {0};
  for (int i = 0; i < PQntuples(result); i++)
    restore_names_add(&names, PQgetvalue(result, i, 0));
  error_set(err, ERR_FORBIDDEN, "role %s %s: %s", restore->run.live.source.role, what, restore_names_text(&names));
  error_remedy(err,
               "Restore as a role that may, the tables' owner or a superuser: `restore_conninfo_file` of agent.yaml.");
  error_object(err, "%s", PQgetvalue(result, 0, 0));
  return err->status;
}

static Status check_privileges(Restore *restore, Error *err) {
  if (restore->run.live.source.superuser)
    return STATUS_OK;
  CLEANUP(buffer_release) Buffer schemas = {0}, tables = {0};
  CLEANUP(postgres_clear) PGresult *denied = NULL, *foreign = NULL;
  list_altered(restore, &schemas, &tables);
  Status status = STATUS_OK;
  if (schemas.size > 0)
    status = restore_runf(restore, &denied, err, schemas_sql, buffer_text(&schemas));
  if (status == STATUS_OK && denied && PQntuples(denied) > 0)
    return refuse_privilege(restore, denied,
                            "cannot have tables made in these schemas, for want of CREATE (of the role in parentheses)",
                            err);
  if (status == STATUS_OK && tables.size > 0)
    status =
        restore_runf(restore, &foreign, err,
                     "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                     " ON n.oid = c.relnamespace WHERE pg_catalog.quote_ident(n.nspname) || '.' ||"
                     " pg_catalog.quote_ident(c.relname) IN (%s) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')"
                     " ORDER BY 1",
                     buffer_text(&tables));
  if (status == STATUS_OK && foreign && PQntuples(foreign) > 0)
    return refuse_privilege(restore, foreign, "is not the owner of these tables, which take constraints back", err);
  return status;
}

static Status has_role(Restore *restore, const char *role, bool *has, Error *err) {
  CLEANUP(buffer_release) Buffer literal = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  sql_append_literal(&literal, role);
  Status status =
      restore_runf(restore, &result, err, "SELECT pg_catalog.pg_has_role(%s::name, 'USAGE')", buffer_text(&literal));
  *has = status == STATUS_OK && *PQgetvalue(result, 0, 0) == 't';
  return status;
}

/* Its rows are read back before the commit, when its policies are in force already. */
static Status check_row_security(Restore *restore, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  CLEANUP(restore_names_release) RestoreNames names = {0};
  Status status = restore_run(restore, &result, err,
                              "SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER");
  if (status != STATUS_OK || *PQgetvalue(result, 0, 0) == 't')
    return status;
  for (size_t i = 0; i < restore->order_count; i++) {
    const ArchiveEntry *entry = restore_entry(restore, restore->order[i]);
    if (!restore_is(entry, "ROW SECURITY"))
      continue;
    long owner = archive_index_owner(restore->run.then, restore->order[i]);
    const ArchiveEntry *table = owner == ARCHIVE_NO_ENTRY ? entry : restore_entry(restore, owner);
    bool forced = strstr(table->defn, " FORCE ROW LEVEL SECURITY") != NULL;
    bool own = false;
    status = has_role(restore, table->owner, &own, err);
    if (status != STATUS_OK)
      return status;
    if (own && !forced)
      continue;
    CLEANUP_FREE char *name = sql_shown_name(table->schema, table->tag);
    restore_names_add(&names, name);
  }
  if (names.count == 0)
    return STATUS_OK;
  error_set(err, ERR_ROW_SECURITY,
            "row security would hide rows from role %s, so that it cannot check what it restored: %s",
            restore->run.live.source.role, restore_names_text(&names));
  error_remedy(err, "Give it BYPASSRLS (ALTER ROLE ... BYPASSRLS), or restore as a superuser.");
  return err->status;
}

/* ---- extensions ---- */

static Status check_extensions(Restore *restore, Error *err) {
  CLEANUP(restore_names_release) RestoreNames names = {0};
  for (size_t i = 0; i < restore->order_count; i++) {
    const ArchiveEntry *entry = restore_entry(restore, restore->order[i]);
    if (!restore_is(entry, "EXTENSION"))
      continue;
    CLEANUP(buffer_release) Buffer literal = {0};
    CLEANUP(postgres_clear) PGresult *result = NULL;
    sql_append_literal(&literal, entry->tag);
    Status status = restore_runf(
        restore, &result, err, "SELECT FROM pg_catalog.pg_available_extensions WHERE name = %s", buffer_text(&literal));
    if (status != STATUS_OK)
      return status;
    if (PQntuples(result) == 0)
      restore_names_add(&names, entry->tag);
  }
  if (names.count == 0)
    return STATUS_OK;
  const char *text = restore_names_text(&names);
  error_set(err, ERR_EXTENSION_ABSENT, "what is to be restored needs extensions that the target's server has not: %s",
            text);
  error_remedy(err, "Install their packages on that server, then ask again.");
  error_object(err, "%s", text);
  return err->status;
}

Status restore_check_place(Restore *restore, Error *err) {
  Status (*const checks[])(Restore *, Error *) = {check_readable,   check_names,        restore_check_roles,
                                                  check_privileges, check_row_security, check_extensions};
  Status status = STATUS_OK;
  for (size_t i = 0; i < ARRAY_SIZE(checks) && status == STATUS_OK; i++)
    status = checks[i](restore, err);
  return status;
}
