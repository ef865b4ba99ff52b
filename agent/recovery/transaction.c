/* The one session that writes. A commit whose answer never came is asked after, so that the report tells the truth. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/recovery/restore.h"
#include "common/archive/sql_text.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

enum { ASK_SECONDS = 120, ASK_FIRST_MS = 200, ASK_MOST_MS = 5000 };

static const char nothing_left[] = "nothing was changed: the whole of it was one transaction, which did not commit";

PGconn *restore_session(Restore *restore) {
  return restore->run.live.sessions[0];
}

typedef struct Words {
  Status from, to;
  const char *remedy;
} Words;

/* Codes that say something of a checkpoint's source, where it is the target that refuses. */
static const Words words[] = {
    {ERR_TABLE_UNREADABLE, ERR_FORBIDDEN,
     "The role of the restore lacks a privilege on the target: name one that owns the tables (or a superuser) in "
     "`restore_conninfo_file` of agent.yaml."},
    {ERR_ROW_SECURITY, ERR_ROW_SECURITY,
     "Row security would filter what this role reads and writes: give it BYPASSRLS, or restore as the tables' owner."},
    {ERR_LOCK_TIMEOUT, ERR_LOCK_TIMEOUT,
     "Another session holds a lock on a table that the restore has to change: end that session or wait for it, then "
     "ask "
     "again; or raise `lock_timeout_seconds`."},
    {ERR_TIMEOUT, ERR_TIMEOUT,
     "It took longer than the time budget allows: raise `budgets.timeout_seconds` of the database."},
    {ERR_DISK_FULL, ERR_DISK_FULL, "The target's disk is full: free space there, then ask again."},
    {ERR_DATABASE_LOST, ERR_DATABASE_LOST,
     "The server ended the session or went away: see its log, then ask again once it is up."},
};

Status restore_explain(Restore *restore, Error *err) {
  for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
    if (words[i].from != err->status)
      continue;
    err->status = words[i].to;
    error_remedy(err, "%s", words[i].remedy);
    break;
  }
  if (err->status == ERR_DISK_FULL && restore->bytes_expected > 0)
    error_remedy(err,
                 "The target's disk is full: the rows alone are %lld bytes, indexes come on top. Free space there, "
                 "then ask again.",
                 (long long)restore->bytes_expected);
  return err->status;
}

Status restore_run(Restore *restore, PGresult **result, Error *err, const char *sql) {
  const PostgresWatch watch = {recovery_check_hook, &restore->run};
  Status status = postgres_query_watched(restore_session(restore), result, err, sql, &watch);
  return status == STATUS_OK ? STATUS_OK : restore_explain(restore, err);
}

Status restore_runf(Restore *restore, PGresult **result, Error *err, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *sql = NULL;
  int size = vasprintf(&sql, format, args);
  va_end(args);
  if (size < 0)
    return error_set(err, ERR_NO_MEMORY, "out of memory");
  Status status = restore_run(restore, result, err, sql);
  free(sql);
  return status;
}

/* Should the agent's host vanish, the server ends the session by itself once the budget is over. */
static int limit_ms(const Restore *restore) {
  const Pgseal__Budgets *budgets = restore->run.context->job->budgets;
  uint32_t seconds = budgets ? budgets->total_seconds : 0;
  return seconds < INT_MAX / 1000 ? (int)seconds * 1000 : INT_MAX;
}

Status restore_settle(Restore *restore, Error *err) {
  CLEANUP(statement_list_release) StatementList settings = {0};
  archive_session_statements(archive_cut_toc(restore->run.cut), &settings);
  Status status = STATUS_OK;
  for (size_t i = 0; i < settings.count && status == STATUS_OK; i++)
    status = restore_run(restore, NULL, err, settings.items[i]);
  return status;
}

/* Should the coordinator have lost sight of an earlier one, and somebody ask anew, this one waits for it, and no longer
 * than for other locks. */
static Status be_alone(Restore *restore, Error *err) {
  Status status = restore_run(restore, NULL, err, "SELECT pg_catalog.pg_advisory_xact_lock(" RESTORE_ADVISORY_LOCK ")");
  if (status != ERR_LOCK_TIMEOUT)
    return status;
  error_set(err, ERR_CONFLICT, "another restore is at work in this database");
  error_remedy(err, "Wait until it ends (`pgseal jobs`), then ask again. One that no job is known of is a session "
                    "pgseal-... in pg_stat_activity.");
  return err->status;
}

Status restore_begin(Restore *restore, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  int limit = limit_ms(restore);
  Status status = restore_settle(restore, err);
  if (status == STATUS_OK)
    status = restore_run(restore, NULL, err, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
  if (status == STATUS_OK)
    status = restore_runf(restore, NULL, err,
                          "SET LOCAL lock_timeout = %d; SET LOCAL statement_timeout = %d;"
                          " SET LOCAL idle_in_transaction_session_timeout = %d; SET LOCAL synchronous_commit = on",
                          restore->run.live.lock_timeout_ms, limit, limit);
  if (status == STATUS_OK)
    status = be_alone(restore, err);
  if (status == STATUS_OK)
    status = restore_run(restore, &result, err, "SELECT pg_catalog.txid_current()");
  if (status != STATUS_OK)
    return status;
  restore->begun = true;
  restore->transaction = memory_strdup(PQgetvalue(result, 0, 0));
  return STATUS_OK;
}

typedef enum Fate { FATE_UNKNOWN, FATE_OPEN, FATE_COMMITTED, FATE_ABORTED } Fate;

static Fate ask_once(Restore *restore, PGconn **session) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Error ignored;
  const char *values[] = {restore->transaction};
  if (!*session && dump_session_open(&restore->run.live, session, &ignored) != STATUS_OK)
    return FATE_UNKNOWN;
  if (postgres_query_params(*session, &result, &ignored, "SELECT pg_catalog.txid_status($1::bigint)", 1, values) !=
      STATUS_OK) {
    postgres_close(session);
    return FATE_UNKNOWN;
  }
  const char *said = PQgetvalue(result, 0, 0);
  return strcmp(said, "committed") == 0     ? FATE_COMMITTED
         : strcmp(said, "aborted") == 0     ? FATE_ABORTED
         : strcmp(said, "in progress") == 0 ? FATE_OPEN
                                            : FATE_UNKNOWN;
}

/* The server may be starting up again. On FATE_COMMITTED the new session takes the old one's place. */
static Fate ask_after(Restore *restore) {
  CLEANUP(postgres_close) PGconn *session = NULL;
  int64_t deadline = clock_monotonic_us() + (int64_t)ASK_SECONDS * 1000000;
  Fate fate = FATE_UNKNOWN;
  Error over;
  for (int wait_ms = ASK_FIRST_MS; clock_monotonic_us() < deadline;
       wait_ms = 2 * wait_ms < ASK_MOST_MS ? 2 * wait_ms : ASK_MOST_MS) {
    fate = ask_once(restore, &session);
    if (fate == FATE_COMMITTED || fate == FATE_ABORTED || recovery_check(&restore->run, &over) != STATUS_OK)
      break;
    usleep((useconds_t)wait_ms * 1000);
  }
  if (fate == FATE_COMMITTED) {
    postgres_close(&restore->run.live.sessions[0]);
    restore->run.live.sessions[0] = STEAL(session);
  }
  return fate;
}

/* lost: what the connection's end looked like. */
static Status judge_lost(Restore *restore, const Error *lost, Error *err) {
  log_warn("the answer to the commit was lost", NULL);
  Fate fate = ask_after(restore);
  if (fate == FATE_COMMITTED) {
    restore->committed = true;
    restore_note(restore, "The connection was lost at the commit; asked again, the server said that it is committed.");
    return STATUS_OK;
  }
  *err = *lost;
  if (fate == FATE_ABORTED)
    return error_prefix(err, "at the commit, which the server says did not happen");
  restore->unknown = true; /* do not say that nothing was changed */
  error_prefix(err, "at the commit: whether it happened is not known, since the server cannot be asked");
  error_remedy(
      err,
      "Once the server is up: `SELECT txid_status(%s)` says whether the restore is committed; or make a plan and "
      "look.",
      restore->transaction);
  return err->status;
}

static Status never(void *user, Error *err) {
  (void)user, (void)err;
  return STATUS_OK;
}

Status restore_commit(Restore *restore, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = recovery_check(&restore->run, err);
  if (status != STATUS_OK)
    return status;
  recovery_phase(&restore->run, "committing");
  /* from here on a cancel comes too late */
  const PostgresWatch watch = {never, NULL};
  Error failure;
  status = postgres_query_watched(restore_session(restore), &result, &failure, "COMMIT", &watch);
  if (status != STATUS_OK) {
    restore_explain(restore, &failure);
    if (status == ERR_DATABASE_LOST)
      return judge_lost(restore, &failure, err);
    *err = failure;
    return err->status;
  }
  if (strcmp(PQcmdStatus(result), "COMMIT") != 0)
    return error_set(err, ERR_QUERY, "the server rolled the restore back instead of committing it");
  restore->committed = true;
  return STATUS_OK;
}

void restore_tell_rest(const Restore *restore, Error *err) {
  if (!restore->begun || restore->unknown)
    return;
  Error before = *err;
  if (restore->committed)
    error_set(err, before.status, "%s (what was restored is committed)", before.message);
  else
    error_set(err, before.status, "%s; %s", before.message, nothing_left);
  error_remedy(err, "%s", before.remedy);
  error_object(err, "%s", before.object);
}
