/* The whole checkpoint into a database of its own, by pg_restore as a drill does it: rows as they are read, then
 * indexes and constraints side by side. What was made is read back; what failed is dropped again. */
#include "agent/recovery/new_database.h"

#include <stdlib.h>
#include <string.h>

#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"

/* ---- what it is to become ---- */

bool new_database_is_of_it(const ArchiveEntry *entry) {
  static const char *const descs[] = {"DATABASE", "DATABASE PROPERTIES", "ENCODING", "STDSTRINGS", "SEARCHPATH"};
  for (size_t i = 0; i < ARRAY_SIZE(descs); i++)
    if (restore_is(entry, descs[i]))
      return true;
  bool about = restore_is(entry, "COMMENT") || restore_is(entry, "ACL") || restore_is(entry, "SECURITY LABEL");
  return about && strncmp(entry->tag, "DATABASE ", 9) == 0;
}

static bool is_dress(const ArchiveEntry *entry) {
  static const char *const descs[] = {"DATABASE PROPERTIES", "COMMENT", "ACL", "SECURITY LABEL"};
  for (size_t i = 0; i < ARRAY_SIZE(descs); i++)
    if (restore_is(entry, descs[i]))
      return true;
  return false;
}

/* Everything but the database itself. */
static void take_all(Restore *restore) {
  const ArchiveToc *toc = archive_index_toc(restore->run.then);
  restore->resolution.take = memory_alloc(toc->entry_count + 1);
  restore->order = memory_alloc((toc->entry_count + 1) * sizeof *restore->order);
  for (size_t i = 0; i < toc->entry_count; i++) {
    const ArchiveEntry *entry = &toc->entries[i];
    if (new_database_is_of_it(entry))
      continue;
    restore->resolution.take[i] = true;
    restore->order[restore->order_count++] = (long)i;
  }
}

/* "CREATE DATABASE shop WITH ...;" with another name; NULL if it is no such statement. */
static char *create_sql(const ArchiveToc *toc, const char *quoted) {
  static const char start[] = "CREATE DATABASE ";
  for (size_t i = 0; i < toc->entry_count; i++) {
    const char *defn = toc->entries[i].defn, *at = defn + strlen(start), *end = defn + strlen(defn);
    char *name = NULL;
    if (!restore_is(&toc->entries[i], "DATABASE") || strncmp(defn, start, strlen(start)) != 0 ||
        !sql_take_name(&at, end, &name))
      continue;
    free(name);
    return memory_format("%s%s%s", start, quoted, at);
  }
  return NULL;
}

/* What follows DATABASE in each statement is the new one's name. The caller frees. */
static char *renamed_sql(const char *sql, const char *quoted) {
  CLEANUP(buffer_release) Buffer text = {0};
  for (const char *at = sql, *end = sql + strlen(sql); at < end;) {
    const char *next = sql_skip_token(at, end), *behind = next + strspn(next, " ");
    char *name = NULL;
    if (sql_at_word(at, end, "DATABASE") && sql_take_name(&behind, end, &name)) {
      buffer_append_format(&text, "DATABASE %s", quoted);
      next = behind;
    } else {
      buffer_append(&text, at, (size_t)(next - at));
    }
    free(name);
    at = next;
  }
  return buffer_steal_text(&text);
}

static const char *owner_of(const ArchiveToc *toc) {
  for (size_t i = 0; i < toc->entry_count; i++)
    if (restore_is(&toc->entries[i], "DATABASE"))
      return toc->entries[i].owner;
  return "";
}

/* ---- the database ---- */

static Status find(NewDatabase *new, Error *err) {
  Restore *restore = new->restore;
  CLEANUP(buffer_release) Buffer literal = {0};
  CLEANUP(postgres_clear) PGresult *result = NULL;
  sql_append_literal(&literal, new->name);
  Status status =
      restore_runf(restore, &result, err,
                   "SELECT r.rolsuper OR r.rolcreatedb, EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname ="
                   " %s) FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER",
                   buffer_text(&literal));
  if (status != STATUS_OK)
    return status;
  new->existed = *PQgetvalue(result, 0, 1) == 't';
  if (new->existed && !restore->replace) {
    error_set(err, ERR_CONFLICT, "the server has a database %s already", new->quoted);
    error_remedy(err, "Choose another name; or, if it is empty and meant for this, ask for `replace`.");
    error_object(err, "%s", new->name);
    return err->status;
  }
  if (new->existed || *PQgetvalue(result, 0, 0) == 't')
    return STATUS_OK;
  error_set(err, ERR_FORBIDDEN, "role %s may not create databases", restore->run.live.source.role);
  error_remedy(err, "ALTER ROLE ... CREATEDB, or restore as a superuser: `restore_conninfo_file` of agent.yaml.");
  return err->status;
}

static Status create(NewDatabase *new, Error *err) {
  Restore *restore = new->restore;
  const ArchiveToc *toc = archive_index_toc(restore->run.then);
  CLEANUP_FREE char *sql = create_sql(toc, new->quoted), *owner = sql_name(*owner_of(toc) ? owner_of(toc) : "nobody");
  if (new->existed)
    return STATUS_OK;
  if (!sql)
    return error_set(err, ERR_ARCHIVE_FORMAT, "the archive does not say how its database is created");
  Status status = restore_run(restore, NULL, err, sql);
  if (status != STATUS_OK)
    return error_prefix(err, "creating the database %s", new->quoted);
  new->created = true;
  if (*owner_of(toc))
    status = restore_runf(restore, NULL, err, "ALTER DATABASE %s OWNER TO %s", new->quoted, owner);
  return status == STATUS_OK
             ? restore_runf(restore, NULL, err, "COMMENT ON DATABASE %s IS 'pgseal: being restored, not complete'",
                            new->quoted)
             : status;
}

/* From here on the job's session and its tools are in the new database; the first session stays for what is left. */
static Status enter(NewDatabase *new, Error *err) {
  DumpRun *live = &new->restore->run.live;
  char **environment = NULL;
  conninfo_set(live->conninfo, "dbname", new->name);
  Status status = conninfo_environment(live->conninfo, live->context->scratch, &environment, err);
  if (status != STATUS_OK)
    return status;
  environment_free(live->environment);
  live->environment = environment;
  PGconn *session = NULL;
  status = dump_session_open(live, &session, err);
  if (status != STATUS_OK)
    return status;
  new->admin = live->sessions[0];
  live->sessions[0] = session;
  return STATUS_OK;
}

static Status check_empty(NewDatabase *new, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  if (!new->existed)
    return STATUS_OK;
  Status status =
      restore_run(new->restore, &result, err,
                  "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid ="
                  " c.relnamespace WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')");
  if (status != STATUS_OK || *PQgetvalue(result, 0, 0) != 't')
    return status;
  error_set(err, ERR_CONFLICT, "the database %s is not empty", new->quoted);
  error_remedy(
      err, "Drop what is in it, or choose another name: a whole checkpoint is restored into an empty database only.");
  error_object(err, "%s", new->name);
  return err->status;
}

/* ---- proof ---- */

/* Settings, comment and grants of the database itself: last, so that it is not taken for whole before. One that this
 * role may not make is told. */
static Status dress(NewDatabase *new, Error *err) {
  Restore *restore = new->restore;
  const ArchiveToc *toc = archive_index_toc(restore->run.then);
  Status status = restore_runf(restore, NULL, err, "COMMENT ON DATABASE %s IS NULL", new->quoted);
  for (size_t i = 0; i < toc->entry_count && status == STATUS_OK; i++) {
    const ArchiveEntry *entry = &toc->entries[i];
    Error failure;
    if (!new_database_is_of_it(entry) || !is_dress(entry))
      continue;
    CLEANUP_FREE char *sql = renamed_sql(entry->defn, new->quoted);
    status = restore_run(restore, NULL, &failure, sql);
    if (status != STATUS_OK && status != ERR_FORBIDDEN && status != ERR_QUERY) {
      *err = failure;
      return err->status;
    }
    if (status != STATUS_OK) {
      restore_note(restore, "%s of the database itself is not on the new one: %s", entry->desc, failure.message);
      restore->differs = true;
    }
    status = STATUS_OK;
  }
  return status;
}

static Status verify(NewDatabase *new, Error *err) {
  Restore *restore = new->restore;
  const Fingerprint *expected = &restore->run.manifest.fingerprint;
  recovery_phase(&restore->run, "verifying");
  restore->tables_total = expected->table_count;
  restore->tables_done = 0;
  Status status = restore_settle(restore, err);
  for (size_t i = 0; i < expected->table_count && status == STATUS_OK; i++) {
    const FingerprintTable *table = &expected->tables[i];
    status = restore_verify_rows(restore, table, table->schema, table->name, table->columns, err);
  }
  if (status == STATUS_OK)
    status = new_database_check_large_objects(new, err);
  if (status != STATUS_OK)
    return status;
  restore->rows_written = expected->rows;
  restore->committed = true;
  status = restore_verify_definitions(restore, err);
  return status == STATUS_OK && new->created ? dress(new, err) : status;
}

/* What did not become whole is not left behind for somebody to trust. */
static bool drop(NewDatabase *new, PGconn *admin) {
  DumpRun *live = &new->restore->run.live;
  Error failure;
  if (!new->created)
    return true;
  if (new->admin)
    postgres_close(&live->sessions[0]);
  CLEANUP_FREE char *sql =
      memory_format("DROP DATABASE %s%s", new->quoted, live->source.major >= 13 ? " WITH (FORCE)" : "");
  if (postgres_query(admin, NULL, &failure, sql) == STATUS_OK)
    return true;
  log_failure(LOG_LEVEL_WARN, "the half restored database cannot be dropped", &failure);
  return false;
}

static void undo(NewDatabase *new, Error *err) {
  Error before = *err;
  PGconn *admin = new->admin ? new->admin : restore_session(new->restore);
  bool gone = drop(new, admin), without_roles = new_database_drop_roles(new, admin);
  new->restore->committed = false;
  CLEANUP_FREE char *database = !new->created ? memory_strdup("")
                                              : memory_format("; the database %s %s", new->quoted,
                                                              !gone           ? "is there, not complete: drop it"
                                                              : without_roles ? "was dropped again: nothing is left"
                                                                              : "was dropped again");
  error_set(err, before.status, "%s%s%s", before.message, database,
            without_roles ? "" : "; roles that were made are left (`notes` names them)");
  error_remedy(err, "%s", before.remedy);
  error_object(err, "%s", before.object);
}

static void new_database_release(NewDatabase *new) {
  postgres_close(&new->admin);
  new_database_release_roles(new);
  free(new->quoted);
}

/* One at a time of each database that is restored from, since they make the same roles; and one in the database that is
 * filled, as of other restores. Sessions hold them, to their end. */
static Status be_alone(Restore *restore, const char *key, Error *err) {
  Status status = restore_runf(restore, NULL, err, "SELECT pg_catalog.pg_advisory_lock(%s)", key);
  if (status != ERR_LOCK_TIMEOUT)
    return status;
  error_set(err, ERR_CONFLICT, "another restore into a new database is at work");
  error_remedy(err, "Wait until it ends (`pgseal jobs`), then ask again. One that no job is known of is a session "
                    "pgseal-... in pg_stat_activity.");
  return err->status;
}

static Status make(NewDatabase *new, Error *err) {
  Status status = be_alone(new->restore, "123589619966317", err);
  if (status == STATUS_OK)
    status = find(new, err);
  if (status == STATUS_OK)
    status = new_database_roles(new, err);
  if (status == STATUS_OK)
    status = create(new, err);
  if (status == STATUS_OK)
    status = enter(new, err);
  if (status == STATUS_OK)
    status = be_alone(new->restore, RESTORE_ADVISORY_LOCK, err);
  if (status == STATUS_OK)
    status = check_empty(new, err);
  if (status == STATUS_OK)
    status = new_database_fill(new, err);
  return status == STATUS_OK ? verify(new, err) : status;
}

Status restore_new_database(Restore *restore, Error *err) {
  CLEANUP(new_database_release) NewDatabase new = {.restore = restore};
  new.name = json_string_value(json_object_get(restore->run.request, "target_name"));
  if (!new.name || !*new.name)
    return error_set(err, ERR_INVALID_ARGUMENT, "a restore into a new database names it by target_name");
  new.quoted = sql_name(new.name);
  take_all(restore);
  Status status = make(&new, err);
  if (status != STATUS_OK && !restore->committed)
    undo(&new, err);
  return status;
}
