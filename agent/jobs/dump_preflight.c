#include <string.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"

/* pg_dumpall --no-role-passwords and pg_current_wal_lsn() came with 10. */
enum { OLDEST_MAJOR = 10, CONNINFO_LIMIT = 64 * 1024 };

/* A peer that vanished without a word must not hold the job for the two hours TCP would wait by itself. */
static void keep_alive(Conninfo *conninfo) {
  static const char *const settings[][2] = {{"keepalives_idle", "30"},
                                            {"keepalives_interval", "10"},
                                            {"keepalives_count", "6"},
                                            {"tcp_user_timeout", "120000"}};
  for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
    if (!conninfo_get(conninfo, settings[i][0]))
      conninfo_set(conninfo, settings[i][0], settings[i][1]);
}

static Status read_conninfo(DumpRun *run, Error *err) {
  CLEANUP_FREE char *text = NULL;
  Status status = file_read_text(run->database->conninfo_file, CONNINFO_LIMIT, &text, err);
  if (status != STATUS_OK)
    return error_prefix(err, "the connection string of %s", run->database->name);
  status = conninfo_parse(text, &run->conninfo, err);
  explicit_bzero(text, strlen(text));
  if (status != STATUS_OK)
    return error_prefix(err, "%s", run->database->conninfo_file);
  keep_alive(run->conninfo);
  return STATUS_OK;
}

/* No timeout of the server's may end a long dump, a filtered read is an error, and names resolve in no schema but
 * pg_catalog. One core of production at most: no parallel plans. */
static const char *const session_settings[] = {
    "SET search_path = ''",
    "SET row_security = off",
    "SET max_parallel_workers_per_gather = 0",
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout',"
    " 'idle_in_transaction_session_timeout', 'transaction_timeout', 'idle_session_timeout')",
};

static Status prepare_session(DumpRun *run, PGconn *session, Error *err) {
  for (size_t i = 0; i < ARRAY_SIZE(session_settings); i++) {
    Status status = postgres_query(session, NULL, err, session_settings[i]);
    if (status != STATUS_OK)
      return status;
  }
  CLEANUP_FREE char *timeouts =
      memory_format("SET lock_timeout = %d; SET statement_timeout = %d; SET idle_in_transaction_session_timeout = %d",
                    run->lock_timeout_ms, run->statement_timeout_ms, run->statement_timeout_ms);
  Status status = postgres_query(session, NULL, err, timeouts);
  if (status != STATUS_OK)
    return status;
  /* From 14 on the server can notice in mid-query that we are gone; where its platform cannot, it refuses the setting.
   */
  Error ignored;
  if (run->source.major >= 14 &&
      postgres_query(session, NULL, &ignored, "SET client_connection_check_interval = '5s'") == ERR_DATABASE_LOST) {
    *err = ignored;
    return err->status;
  }
  /* Names must come as the archive has them: in the database's own encoding. */
  if (run->source.encoding && PQsetClientEncoding(session, run->source.encoding) != 0)
    return error_set(err, ERR_QUERY, "the server does not accept client encoding %s: %s", run->source.encoding,
                     PQerrorMessage(session));
  return STATUS_OK;
}

Status dump_session_open(DumpRun *run, PGconn **out, Error *err) {
  CLEANUP(postgres_close) PGconn *session = NULL;
  Status status = postgres_connect(run->conninfo, run->application, &session, err);
  if (status == STATUS_OK)
    status = prepare_session(run, session, err);
  if (status == STATUS_OK)
    *out = STEAL(session);
  return status;
}

static char *copy_field(const PGresult *result, int column) {
  return memory_strdup(PQgetvalue(result, 0, column));
}

/* Columns that came with 15 and 17: by way of JSON their absence is no error. */
static const char facts_sql[] =
    "SELECT pg_catalog.current_setting('server_version'), pg_catalog.current_database(),"
    " pg_catalog.pg_encoding_to_char(d.encoding), r.rolname,"
    " (SELECT b.rolname FROM pg_catalog.pg_roles b WHERE b.oid = 10),"
    " COALESCE(pg_catalog.to_jsonb(d) ->> 'datcollversion', ''), pg_catalog.pg_is_in_recovery(), r.rolsuper,"
    " CASE COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocprovider', 'c')"
    " WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE '' END,"
    " COALESCE(pg_catalog.to_jsonb(d) ->> 'datlocale', pg_catalog.to_jsonb(d) ->> 'daticulocale', d.datcollate)"
    " FROM pg_catalog.pg_database d, pg_catalog.pg_roles r"
    " WHERE d.datname = pg_catalog.current_database() AND r.rolname = CURRENT_USER";

/* What the library says by now: before 15 of a collation that is the database's own by its name, which may be written
 * in two ways (de_DE.UTF-8, and de_DE.utf8 where initdb has asked the system). */
static const char collation_sql[] = "SELECT COALESCE(pg_catalog.pg_database_collation_actual_version(d.oid), '')"
                                    " FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";
static const char collation_sql_14[] =
    "SELECT COALESCE((SELECT pg_catalog.pg_collation_actual_version(c.oid) FROM pg_catalog.pg_collation c"
    " WHERE c.collprovider = 'c' AND pg_catalog.lower(pg_catalog.replace(c.collcollate, '-', '')) ="
    " pg_catalog.lower(pg_catalog.replace(d.datcollate, '-', '')) AND c.collencoding IN (-1, d.encoding)"
    " ORDER BY c.oid LIMIT 1), '') FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

static Status learn_collation(DumpRun *run, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status =
      postgres_query(run->sessions[0], &result, err, run->source.major >= 15 ? collation_sql : collation_sql_14);
  if (status == STATUS_OK)
    run->source.collation_actual = memory_strdup(PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : "");
  return status;
}

static Status learn_facts(DumpRun *run, Error *err) {
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_query(run->sessions[0], &result, err, facts_sql);
  if (status != STATUS_OK)
    return status;
  if (PQntuples(result) != 1)
    return error_set(err, ERR_QUERY, "the server of %s does not describe its own database", run->database->name);
  DumpSource *source = &run->source;
  source->server_version = copy_field(result, 0);
  source->database_name = copy_field(result, 1);
  source->encoding = copy_field(result, 2);
  source->role = copy_field(result, 3);
  source->bootstrap_role = copy_field(result, 4);
  source->collation_version = copy_field(result, 5);
  source->in_recovery = *PQgetvalue(result, 0, 6) == 't';
  source->superuser = *PQgetvalue(result, 0, 7) == 't';
  source->collation_provider = copy_field(result, 8);
  source->collation = copy_field(result, 9);
  return learn_collation(run, err);
}

static Status find_tools(DumpRun *run, Error *err) {
  DumpSource *source = &run->source;
  if (source->major < OLDEST_MAJOR) {
    error_set(err, ERR_VERSION_MISMATCH, "%s runs PostgreSQL %s; pgseal dumps version %d and later",
              run->database->name, source->server_version, OLDEST_MAJOR);
    error_remedy(err, "Upgrade the server.");
    return err->status;
  }
  const AgentConfig *config = run->context->config;
  Status status = postgres_tools_find(config->bin_dirs, config->bin_dir_count, source->major, &source->tools_dir,
                                      &source->tools_version, err);
  if (status != STATUS_OK)
    return error_prefix(err, "%s runs PostgreSQL %s", run->database->name, source->server_version);
  return STATUS_OK;
}

static void report_source(DumpRun *run) {
  pthread_mutex_lock(&run->lock);
  run->progress.server_major = (uint32_t)run->source.major;
  run->progress.bootstrap_role = run->source.bootstrap_role;
  run->progress.database_name = run->source.database_name;
  pthread_mutex_unlock(&run->lock);
  dump_run_report(run, true);
}

Status dump_source_learn(DumpRun *run, Error *err) {
  Status status = run->conninfo ? STATUS_OK : read_conninfo(run, err);
  if (status == STATUS_OK)
    status = dump_session_open(run, &run->sessions[0], err);
  if (status != STATUS_OK)
    return status;
  run->session_count = 1;
  run->source.major = postgres_server_major(run->sessions[0]);
  status = learn_facts(run, err);
  if (status == STATUS_OK)
    status = find_tools(run, err);
  /* Again, now that version and encoding are known. */
  return status == STATUS_OK ? prepare_session(run, run->sessions[0], err) : status;
}

Status dump_preflight(DumpRun *run, Error *err) {
  Status status = dump_source_learn(run, err);
  if (status == STATUS_OK)
    status = conninfo_environment(run->conninfo, run->context->scratch, &run->environment, err);
  if (status == STATUS_OK)
    report_source(run);
  return status;
}
