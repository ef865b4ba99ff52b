#include "coordinator/ledger/postgres.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"

#define CONNECT_SECONDS "3"
#define IDLE "10s"
enum { RETRY_SECONDS = 2 };

/* ---- what goes wrong ---- */

bool postgres_lost(const Postgres *postgres) {
  return postgres->connection && PQstatus(postgres->connection) != CONNECTION_OK;
}

/* SQLSTATEs (PostgreSQL's manual, appendix A). Another try may do: connections, shutdowns, locks, resources. */
static Status classify(const char *state) {
  static const char *const again[] = {"08", "40", "53", "55", "57", "58", "25006"};
  if (strncmp(state, "23", 2) == 0)
    return ERR_CONFLICT;
  if (strncmp(state, "22", 2) == 0)
    return ERR_INVALID_ARGUMENT;
  if (strcmp(state, "53100") == 0)
    return ERR_DISK_FULL;
  for (size_t i = 0; i < ARRAY_SIZE(again); i++) {
    if (strncmp(state, again[i], strlen(again[i])) == 0)
      return ERR_UNAVAILABLE;
  }
  return ERR_IO;
}

static Status unavailable(const Postgres *postgres, const char *why, Error *err) {
  error_set(err, ERR_UNAVAILABLE, "the ledger %s is not to be had: %s", postgres->name, why);
  error_remedy(err, "See that its server runs and can be reached; the coordinator goes on by itself once it is back.");
  error_object(err, "%s", postgres->name);
  return ERR_UNAVAILABLE;
}

Status postgres_failure(Postgres *postgres, const PGresult *result, const char *what, Error *err) {
  const char *state = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
  const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
  postgres->broken = postgres->open; /* PostgreSQL does nothing more in a transaction of which a statement failed */
  if (postgres_lost(postgres) || !state)
    return unavailable(postgres, message ? message : "the connection was lost", err);
  Status status = classify(state);
  if (status == ERR_UNAVAILABLE)
    return unavailable(postgres, message ? message : state, err);
  error_set(err, status, "ledger %s: cannot %s: %s", postgres->name, what, message ? message : state);
  error_object(err, "%s", postgres->name);
  return status;
}

Status postgres_run(Postgres *postgres, const char *sql, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = PQexec(postgres->connection, sql);
  ExecStatusType got = PQresultStatus(result);
  return got == PGRES_COMMAND_OK || got == PGRES_TUPLES_OK ? STATUS_OK
                                                           : postgres_failure(postgres, result, "write", err);
}

/* ---- the connection ---- */

static void disconnect(Postgres *postgres) {
  postgres_close(&postgres->connection);
}

/* A commit is on disk before it is told, whatever the server's own settings say; who falls silent inside a transaction
 * loses it, since all others wait for it. */
static Status settle(Postgres *postgres, Error *err) {
  static const char settings[] =
      "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', "
      "'local');"
      "SET default_transaction_isolation = 'read committed'; SET lock_timeout = '10s'; SET statement_timeout = '60s';"
      "SET idle_in_transaction_session_timeout = '10s'; SET standard_conforming_strings = on;"
      "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;"
      "SET tcp_user_timeout = 10000";
  Status status = postgres_run(postgres, settings, err);
  if (status == STATUS_OK && postgres->read_only)
    return postgres_run(postgres, "SET default_transaction_read_only = on", err);
  if (status == STATUS_OK && postgres_server_major(postgres->connection) >= 14)
    status = postgres_run(postgres, "SET idle_session_timeout = '" IDLE "'", err);
  postgres->told = true; /* what was told meanwhile was not heard */
  return status == STATUS_OK ? postgres_run(postgres, "LISTEN pgseal", err) : status;
}

static Status connect(Postgres *postgres, Error *err) {
  disconnect(postgres);
  Error cause;
  int64_t now = clock_monotonic_us();
  if (now < postgres->retry_us)
    return unavailable(postgres, "the last attempt to connect failed", err);
  Status status = postgres_connect(postgres->conninfo, "pgseal-coordinator", &postgres->connection, &cause);
  postgres->number++;
  if (status == STATUS_OK)
    status = settle(postgres, &cause);
  if (status == STATUS_OK)
    return STATUS_OK;
  disconnect(postgres);
  postgres->retry_us = clock_monotonic_us() + RETRY_SECONDS * 1000000;
  return unavailable(postgres, cause.message, err);
}

Status postgres_ready(Postgres *postgres, Error *err) {
  if (postgres->broken)
    return unavailable(postgres, "the transaction was lost", err);
  if (postgres->connection)
    PQconsumeInput(postgres->connection); /* a connection that the server ended says so now */
  if (postgres->connection && !postgres_lost(postgres))
    return STATUS_OK;
  if (postgres->open) {
    postgres->broken = true;
    return unavailable(postgres, "the connection was lost", err);
  }
  bool had = postgres->connection != NULL;
  Status status = connect(postgres, err);
  if (status == STATUS_OK && had)
    log_info("the ledger's database is there again", "ledger", postgres->name, NULL);
  return status;
}

/* ---- transactions ---- */

static Status begin(void *driver, Error *err) {
  static const char sql[] = "BEGIN; SELECT sequence FROM tip WHERE one = 1 FOR UPDATE";
  Postgres *postgres = driver;
  Status status = postgres_ready(postgres, err);
  if (status == STATUS_OK)
    status = postgres_run(postgres, sql, err);
  if (status != STATUS_OK && postgres_lost(postgres)) { /* a server that was started anew cuts what it had */
    status = postgres_ready(postgres, err);
    if (status == STATUS_OK)
      status = postgres_run(postgres, sql, err);
  }
  if (status != STATUS_OK && postgres->connection && !postgres_lost(postgres)) {
    Error ignored;
    (void)!postgres_run(postgres, "ROLLBACK", &ignored);
  }
  postgres->open = status == STATUS_OK;
  return status;
}

static Status snapshot(void *driver, Error *err) {
  Postgres *postgres = driver;
  Status status = postgres_ready(postgres, err);
  if (status == STATUS_OK)
    status = postgres_run(postgres, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
  postgres->open = status == STATUS_OK;
  return status;
}

static void rollback(void *driver) {
  Postgres *postgres = driver;
  Error ignored;
  if (postgres->open && !postgres_lost(postgres))
    (void)!postgres_run(postgres, "ROLLBACK", &ignored);
  postgres->open = postgres->broken = false;
}

static Status commit(void *driver, Error *err) {
  Postgres *postgres = driver;
  if (postgres->broken) {
    rollback(postgres);
    return unavailable(postgres, "the transaction was lost; nothing of it was written", err);
  }
  Status status = postgres_run(postgres, "NOTIFY pgseal; COMMIT", err);
  if (status != STATUS_OK && postgres_lost(postgres))
    status = unavailable(postgres, "the connection was lost at the commit: whether it was written is not known", err);
  if (status != STATUS_OK)
    rollback(postgres);
  postgres->open = postgres->broken = false;
  return status;
}

static bool in_transaction(const void *driver) {
  const Postgres *postgres = driver;
  return postgres->open;
}

/* ---- others ---- */

static bool changed(void *driver) {
  Postgres *postgres = driver;
  if (!postgres->connection)
    return false;
  PQconsumeInput(postgres->connection);
  for (PGnotify *notify; (notify = PQnotifies(postgres->connection));) {
    postgres->told = postgres->told || notify->be_pid != PQbackendPID(postgres->connection);
    PQfreemem(notify);
  }
  bool told = postgres->told;
  postgres->told = false;
  return told;
}

static Status lead(void *driver, bool *leads, Error *err) {
  Postgres *postgres = driver;
  Status status = postgres_ready(postgres, err);
  *leads = status == STATUS_OK && postgres->leads == postgres->number;
  if (status != STATUS_OK || *leads)
    return status;
  CLEANUP(postgres_clear)
  PGresult *result =
      PQexec(postgres->connection, "SELECT pg_try_advisory_lock(1885827948, 'tip'::regclass::oid::int)"); /* "pgsl" */
  if (PQresultStatus(result) != PGRES_TUPLES_OK)
    return postgres_failure(postgres, result, "read", err);
  *leads = PQgetvalue(result, 0, 0)[0] == 't';
  postgres->leads = *leads ? postgres->number : 0;
  return STATUS_OK;
}

/* ---- opening ---- */

static void driver_close(void *driver) {
  Postgres *postgres = driver;
  disconnect(postgres);
  conninfo_free(postgres->conninfo);
  free(postgres->name);
  free(postgres);
}

static const DbOps postgres_ops = {
    .postgres = true,
    .close = driver_close,
    .begin = begin,
    .commit = commit,
    .snapshot = snapshot,
    .rollback = rollback,
    .in_transaction = in_transaction,
    .prepare = postgres_prepare,
    .release = postgres_release,
    .bind_text = postgres_bind_text,
    .bind_integer = postgres_bind_integer,
    .bind_real = postgres_bind_real,
    .bind_null = postgres_bind_null,
    .step = postgres_step,
    .changes = postgres_changes,
    .read_text = postgres_read_text,
    .read_integer = postgres_read_integer,
    .read_real = postgres_read_real,
    .columns = postgres_columns,
    .column = postgres_column,
    .type = postgres_type,
    .reset = postgres_reset,
    .changed = changed,
    .lead = lead,
    .version = postgres_version,
    .migrate = postgres_migrate,
    .number_on = postgres_number_on,
};

/* A machine that is gone, or cut off, is noticed within seconds; of several servers, the one that takes writes. */
static void set_defaults(Conninfo *conninfo, bool read_only) {
  static const char *const values[][2] = {
      {"connect_timeout", CONNECT_SECONDS}, {"tcp_user_timeout", "10000"}, {"keepalives_idle", "10"},
      {"keepalives_interval", "3"},         {"keepalives_count", "3"},     {"target_session_attrs", "read-write"}};
  for (size_t i = 0; i < ARRAY_SIZE(values) - read_only; i++) {
    const char *given = conninfo_get(conninfo, values[i][0]);
    if (!given || (i + 1 == ARRAY_SIZE(values) && strcmp(given, "any") == 0))
      conninfo_set(conninfo, values[i][0], values[i][1]);
  }
}

static char *name_of(const Conninfo *conninfo) {
  const char *host = conninfo_get(conninfo, "host"), *port = conninfo_get(conninfo, "port"),
             *database = conninfo_get(conninfo, "dbname");
  return memory_format("postgresql://%s%s%s/%s", host ? host : "", port ? ":" : "", port ? port : "",
                       database ? database : "");
}

static void ledger_cleanup(Ledger **ledger) {
  ledger_close(*ledger);
}

Status postgres_open(const char *text, bool read_only, Ledger **out, Error *err) {
  Conninfo *conninfo = NULL;
  Status status = conninfo_parse(text, &conninfo, err);
  if (status != STATUS_OK)
    return error_prefix(err, "ledger");
  set_defaults(conninfo, read_only);
  Postgres *postgres = memory_alloc(sizeof *postgres);
  *postgres = (Postgres){.conninfo = conninfo, .name = name_of(conninfo), .read_only = read_only};
  CLEANUP(ledger_cleanup) Ledger *ledger = db_new(&postgres_ops, postgres, postgres->name);
  status = postgres_ready(postgres, err);
  if (status == STATUS_OK)
    *out = STEAL(ledger);
  return status;
}

Status ledger_open_postgres(const char *text, bool read_only, Ledger **out, Error *err) {
  CLEANUP(ledger_cleanup) Ledger *ledger = NULL;
  Status status = postgres_open(text, read_only, &ledger, err);
  if (status == STATUS_OK)
    status = read_only ? schema_check_version(ledger, err) : schema_migrate(ledger, err);
  if (status == STATUS_OK && !read_only)
    status = ledger_chain_check_end(ledger, err);
  if (status != STATUS_OK)
    return status;
  *out = STEAL(ledger);
  return STATUS_OK;
}
