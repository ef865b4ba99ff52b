#include <string.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/text.h"

enum { SNAPSHOT_TRIES = 5, LOCK_BATCH = 200 };

/* Fewer sessions count more slowly, no worse: what the server does not grant beyond the first is done without. */
static Status open_sessions(DumpRun *run, Error *err) {
  size_t wanted = run->context->job->budgets ? run->context->job->budgets->connections : 0;
  wanted = wanted < DUMP_SESSIONS_MAX ? wanted : DUMP_SESSIONS_MAX;
  while (run->session_count < wanted) {
    Status status = dump_run_check(run, err);
    if (status != STATUS_OK)
      return status;
    Error failure;
    if (dump_session_open(run, &run->sessions[run->session_count], &failure) != STATUS_OK) {
      log_failure(LOG_LEVEL_WARN, "rows are counted over fewer connections", &failure);
      break;
    }
    run->session_count++;
  }
  return STATUS_OK;
}

static Status everywhere(DumpRun *run, const char *sql, Error *err) {
  for (size_t i = 0; i < run->session_count; i++) {
    Status status = postgres_query(run->sessions[i], NULL, err, sql);
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

/* Each table to the session with the least to count so far; they come largest first. */
static void share_out(const DumpRun *run, DumpTables *tables) {
  int64_t load[DUMP_SESSIONS_MAX] = {0};
  for (size_t i = 0; i < tables->count; i++) {
    size_t least = 0;
    for (size_t j = 1; j < run->session_count; j++)
      least = load[j] < load[least] ? j : least;
    tables->items[i].session = least;
    if (tables->items[i].data)
      load[least] += tables->items[i].pages + 1;
  }
}

/* Who holds what we wait for: the wait itself only says that it was too long. */
static const char blockers_sql[] =
    "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), l.pid, COALESCE(a.application_name, ''),"
    " COALESCE(a.state, 'in an unknown state') FROM pg_catalog.pg_locks l"
    " JOIN pg_catalog.pg_class c ON c.oid = l.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    " WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock' AND c.relkind = 'r'"
    " AND n.nspname !~ '^pg_' AND l.database ="
    " (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())"
    " ORDER BY l.granted DESC, c.oid LIMIT 1";

static void name_blocker(DumpRun *run, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Error ignored;
  if (everywhere(run, "ROLLBACK", &ignored) != STATUS_OK ||
      postgres_query(run->sessions[0], &result, &ignored, blockers_sql) != STATUS_OK || PQntuples(result) == 0) {
    error_set(err, ERR_LOCK_TIMEOUT, "a table was locked by another session for more than %d seconds",
              run->lock_timeout_ms / 1000);
    return;
  }
  char table[DUMP_TABLE_TEXT_SIZE], application[DUMP_TABLE_TEXT_SIZE];
  text_show(PQgetvalue(result, 0, 0), table, sizeof table);
  text_show(PQgetvalue(result, 0, 2), application, sizeof application);
  error_set(
      err, ERR_LOCK_TIMEOUT,
      "table %s was locked for more than %d seconds by another session (server process %s, application \"%s\", %s)",
      table, run->lock_timeout_ms / 1000, PQgetvalue(result, 0, 1), application, PQgetvalue(result, 0, 3));
  error_object(err, "%s", table);
}

/* A cancel must not wait for the lock, with every later query of the table queued behind us. */
static Status lock_share(DumpRun *run, const DumpTables *tables, size_t session, Error *err) {
  for (size_t i = 0; i < tables->count;) {
    CLEANUP(buffer_release) Buffer sql = {0};
    size_t batch = 0;
    for (; i < tables->count && batch < LOCK_BATCH; i++) {
      if (!tables->items[i].data || tables->items[i].session != session)
        continue;
      buffer_append_text(&sql, batch++ ? ", ONLY " : "LOCK TABLE ONLY ");
      buffer_append_text(&sql, tables->items[i].quoted);
    }
    if (batch == 0)
      break;
    buffer_append_text(&sql, " IN ACCESS SHARE MODE");
    Status status = postgres_query_watched(run->sessions[session], NULL, err, buffer_text(&sql),
                                           &(PostgresWatch){dump_run_check_hook, run});
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

static Status lock_tables(DumpRun *run, const DumpTables *tables, Error *err) {
  for (size_t i = 0; i < run->session_count; i++) {
    Status status = lock_share(run, tables, i, err);
    if (status != STATUS_OK)
      return status;
  }
  return STATUS_OK;
}

static int by_oid(const void *a, const void *b) {
  return strcmp((*(const DumpTable *const *)a)->oid, (*(const DumpTable *const *)b)->oid);
}

/* Gives every table of `now` the session that it had in `before`, and so is locked in. False: it was not there. */
static bool inherit_sessions(const DumpTables *before, DumpTables *now) {
  bool known = true;
  CLEANUP_FREE const DumpTable **sorted = memory_alloc((before->count + 1) * sizeof(DumpTable *));
  for (size_t i = 0; i < before->count; i++)
    sorted[i] = &before->items[i];
  qsort(sorted, before->count, sizeof *sorted, by_oid);
  for (size_t i = 0; i < now->count; i++) {
    DumpTable *table = &now->items[i];
    const DumpTable **found = bsearch(&table, sorted, before->count, sizeof *sorted, by_oid);
    if (found && strcmp((*found)->quoted, table->quoted) == 0)
      table->session = (*found)->session;
    else
      known = false;
  }
  return known;
}

static const char export_sql[] =
    "SELECT pg_catalog.pg_export_snapshot(), CASE WHEN pg_catalog.pg_is_in_recovery()"
    " THEN pg_catalog.pg_last_wal_replay_lsn() WHEN pg_catalog.has_function_privilege("
    "'pg_catalog.pg_current_wal_lsn()', 'EXECUTE') THEN pg_catalog.pg_current_wal_lsn() END";

static Status export_snapshot(DumpRun *run, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(run->sessions[0], &result, err, export_sql);
  if (status != STATUS_OK)
    return status;
  free(run->snapshot);
  free(run->lsn);
  run->snapshot = memory_strdup(PQgetvalue(result, 0, 0));
  run->lsn = memory_strdup(PQgetvalue(result, 0, 1)); /* NULL reads as "" */

  CLEANUP_FREE char *literal = PQescapeLiteral(run->sessions[0], run->snapshot, strlen(run->snapshot));
  CLEANUP_FREE char *import = memory_format("SET TRANSACTION SNAPSHOT %s", literal ? literal : "''");
  for (size_t i = 1; i < run->session_count && status == STATUS_OK; i++)
    status = postgres_query(run->sessions[i], NULL, err, import);
  return status;
}

/* One try. The locks come before the snapshot (LOCK TABLE takes none), so that no TRUNCATE or rewrite can commit
 * between the two: those are not MVCC-safe, and would empty a table for the dump and for the counts. And each
 * session locks at the start what it will count, for a lock asked for later would queue behind a migration that
 * waits for pg_dump. *again: the catalog moved in between. */
static Status try_snapshot(DumpRun *run, bool *again, Error *err) {
  CLEANUP(dump_tables_release) DumpTables before = {0}, now = {0};
  *again = false;
  Status status = dump_catalog_list(run->sessions[0], &before, err);
  if (status == STATUS_OK)
    status = dump_catalog_admit(run, &before, err);
  if (status == STATUS_OK)
    status = everywhere(run, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
  if (status != STATUS_OK)
    return status;
  share_out(run, &before);
  status = lock_tables(run, &before, err);
  if (status == ERR_LOCK_TIMEOUT) {
    name_blocker(run, err);
    return err->status;
  }
  if (status != STATUS_OK) {
    *again = status == ERR_QUERY; /* most likely a table was dropped or renamed since */
    return status;
  }
  status = export_snapshot(run, err);
  if (status == STATUS_OK)
    status = dump_catalog_list(run->sessions[0], &now, err);
  if (status != STATUS_OK)
    return status;
  *again = !inherit_sessions(&before, &now);
  dump_tables_release(&run->tables);
  run->tables = now;
  now = (DumpTables){0};
  return STATUS_OK;
}

static Status estimate_total(DumpRun *run, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(run->sessions[0], &result, err,
                                 "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())");
  if (status != STATUS_OK)
    return status;
  int64_t tables = 0;
  for (size_t i = 0; i < run->tables.count; i++)
    tables += run->tables.items[i].data;
  pthread_mutex_lock(&run->lock);
  run->progress.tables_total = tables;
  run->progress.bytes_total = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  pthread_mutex_unlock(&run->lock);
  return STATUS_OK;
}

Status dump_snapshot_take(DumpRun *run, Error *err) {
  Status status = open_sessions(run, err);
  if (status != STATUS_OK)
    return status;
  bool again = true;
  for (int try = 1; again; try++) {
    Error failure;
    status = try_snapshot(run, &again, &failure);
    again = again && try < SNAPSHOT_TRIES; /* a table created only just now is then counted unlocked */
    if (again)
      status = everywhere(run, "ROLLBACK", &failure);
    if (status == STATUS_OK)
      status = dump_run_check(run, &failure);
    if (status != STATUS_OK) {
      *err = failure;
      return status;
    }
  }
  status = dump_catalog_admit(run, &run->tables, err);
  if (status == STATUS_OK)
    status = dump_catalog_check_large_objects(run, err);
  if (status == STATUS_OK)
    status = estimate_total(run, err);
  return status;
}
