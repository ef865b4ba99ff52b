/* PostgreSQL's schema begins where SQLite's seventh migration ends; then both have the same ones. */
#include "coordinator/ledger/postgres.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

enum { SCHEMA_LOCK = 0x7067736c /* "pgsl" */ };

/* In the words of SQLite's migrations but for what it has not. */
const char schema_postgres_0007[] =
    "CREATE FUNCTION in_scope(name text, scope text) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE AS $in_scope$"
    "  SELECT scope IS NULL OR EXISTS (SELECT 1 FROM json_array_elements_text(scope::json) AS glob WHERE name LIKE"
    "    replace(replace(replace(replace(replace(glob, '\\', '\\\\'), '%', '\\%'), '_', '\\_'), '*', '%'), '?', '_'))"
    "$in_scope$;"
    "CREATE TABLE checkpoint ("
    "  number INTEGER PRIMARY KEY,"
    "  id TEXT NOT NULL UNIQUE,"
    "  database TEXT NOT NULL,"
    "  tag TEXT NOT NULL,"
    "  requested_by TEXT NOT NULL,"
    "  idempotency_key TEXT,"
    "  state TEXT NOT NULL CHECK (state IN"
    "    ('requested', 'dumping', 'stored', 'drilling', 'sealed', 'failed', 'errored', 'canceled')),"
    "  created_us INTEGER NOT NULL,"
    "  finished_us INTEGER NOT NULL,"
    "  dump_attempt INTEGER NOT NULL,"
    "  dump_agent TEXT,"
    "  manifest_sha256 TEXT,"
    "  proof_sha256 TEXT,"
    "  restore_drill TEXT CHECK (restore_drill IN ('proven', 'failed', 'errored', 'canceled')),"
    "  size_bytes INTEGER NOT NULL,"
    "  archive_bytes INTEGER NOT NULL,"
    "  tables INTEGER NOT NULL,"
    "  rows INTEGER NOT NULL,"
    "  server_major INTEGER NOT NULL,"
    "  seconds REAL NOT NULL,"
    "  error_code TEXT, error_message TEXT, error_remedy TEXT, error_object TEXT,"
    "  detail TEXT,"
    "  CHECK (state <> 'sealed' OR (manifest_sha256 IS NOT NULL AND proof_sha256 IS NOT NULL))"
    ") STRICT;"
    "CREATE INDEX checkpoint_database ON checkpoint (database, number);"
    "CREATE INDEX checkpoint_tag ON checkpoint (tag, number);"
    "CREATE UNIQUE INDEX checkpoint_key ON checkpoint (requested_by, idempotency_key)"
    "  WHERE idempotency_key IS NOT NULL;"
    "CREATE TABLE job ("
    "  number INTEGER PRIMARY KEY,"
    "  id TEXT NOT NULL UNIQUE,"
    "  checkpoint_id TEXT REFERENCES checkpoint (id),"
    "  database TEXT NOT NULL,"
    "  kind INTEGER NOT NULL CHECK (kind >= 1),"
    "  state TEXT NOT NULL CHECK (state IN"
    "    ('queued', 'leased', 'running', 'done', 'failed', 'errored', 'canceled')),"
    "  attempt INTEGER NOT NULL,"
    "  fencing INTEGER NOT NULL,"
    "  agent TEXT,"
    "  lease_until_us INTEGER NOT NULL,"
    "  not_before_us INTEGER NOT NULL,"
    "  created_us INTEGER NOT NULL,"
    "  started_us INTEGER NOT NULL,"
    "  finished_us INTEGER NOT NULL,"
    "  cancel_requested INTEGER NOT NULL,"
    "  error_code TEXT, error_message TEXT, error_remedy TEXT, error_object TEXT,"
    "  progress TEXT,"
    "  requested_by TEXT,"
    "  idempotency_key TEXT,"
    "  request TEXT,"
    "  approval TEXT CHECK (approval IN ('needed', 'given')),"
    "  approved_by TEXT,"
    "  CHECK (kind >= 6 OR checkpoint_id IS NOT NULL),"
    "  CHECK (kind IN (1, 2) OR (requested_by IS NOT NULL AND request IS NOT NULL)),"
    "  CHECK (approval IS NULL OR (approval = 'given') = (approved_by IS NOT NULL))"
    ") STRICT;"
    "CREATE INDEX job_checkpoint ON job (checkpoint_id);"
    "CREATE INDEX job_open ON job (number) WHERE state IN ('queued', 'leased', 'running');"
    "CREATE INDEX job_database ON job (database, number);"
    "CREATE UNIQUE INDEX job_key ON job (requested_by, idempotency_key) WHERE idempotency_key IS NOT NULL;"
    "CREATE TABLE report ("
    "  job BIGINT PRIMARY KEY REFERENCES job (number),"
    "  report TEXT NOT NULL"
    ") STRICT;"
    "CREATE TABLE event ("
    "  sequence BIGINT PRIMARY KEY,"
    "  time_us INTEGER NOT NULL,"
    "  kind TEXT NOT NULL,"
    "  checkpoint_id TEXT, job_id TEXT, database TEXT, agent TEXT, actor TEXT,"
    "  detail TEXT,"
    "  hash TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX event_checkpoint ON event (checkpoint_id, sequence) WHERE checkpoint_id IS NOT NULL;"
    "CREATE FUNCTION event_stays() RETURNS trigger LANGUAGE plpgsql AS $stays$"
    "  BEGIN RAISE EXCEPTION 'events are never changed or removed' USING ERRCODE = '23001'; END $stays$;"
    "CREATE TRIGGER event_update BEFORE UPDATE OR DELETE ON event FOR EACH ROW EXECUTE FUNCTION event_stays();"
    "CREATE TRIGGER event_truncate BEFORE TRUNCATE ON event FOR EACH STATEMENT EXECUTE FUNCTION event_stays();"
    "CREATE TABLE tip (one BIGINT PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;"
    "INSERT INTO tip VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');"
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;"
    "INSERT INTO counter VALUES ('fencing', 0);"
    "CREATE TABLE token ("
    "  id TEXT PRIMARY KEY,"
    "  name TEXT NOT NULL,"
    "  role TEXT NOT NULL,"
    "  hash TEXT NOT NULL UNIQUE,"
    "  created_us INTEGER NOT NULL,"
    "  last_used_us INTEGER NOT NULL,"
    "  revoked_us INTEGER NOT NULL,"
    "  databases TEXT,"
    "  expires_us INTEGER NOT NULL DEFAULT 0,"
    "  replaced_us INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked_us = 0 AND replaced_us = 0;"
    "CREATE TABLE agent ("
    "  name TEXT PRIMARY KEY,"
    "  version TEXT,"
    "  host TEXT,"
    "  detail TEXT,"
    "  first_seen_us INTEGER NOT NULL,"
    "  last_seen_us INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE enrollment ("
    "  name TEXT PRIMARY KEY,"
    "  state TEXT NOT NULL CHECK (state IN ('invited', 'enrolled', 'renewing', 'revoked', 'expired')),"
    "  capabilities TEXT NOT NULL,"
    "  databases TEXT NOT NULL,"
    "  public_key TEXT,"
    "  serial TEXT,"
    "  token_hash TEXT NOT NULL,"
    "  invited_us INTEGER NOT NULL,"
    "  token_expires_us INTEGER NOT NULL,"
    "  enrolled_us INTEGER NOT NULL,"
    "  issued_us INTEGER NOT NULL,"
    "  expires_us INTEGER NOT NULL,"
    "  revoked_us INTEGER NOT NULL,"
    "  spent_hash TEXT NOT NULL DEFAULT '',"
    "  request_sha256 TEXT NOT NULL DEFAULT '',"
    "  certificate TEXT,"
    "  CHECK (state NOT IN ('enrolled', 'renewing') OR (public_key IS NOT NULL AND serial IS NOT NULL))"
    ") STRICT;"
    "CREATE TABLE certificate ("
    "  serial TEXT PRIMARY KEY,"
    "  agent TEXT NOT NULL REFERENCES enrollment (name),"
    "  expires_us INTEGER NOT NULL,"
    "  revoked_us INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX certificate_agent ON certificate (agent);"
    "CREATE TABLE signing_key ("
    "  public_key TEXT PRIMARY KEY,"
    "  agent TEXT NOT NULL REFERENCES enrollment (name),"
    "  revoked_us INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX signing_key_agent ON signing_key (agent);";

/* ---- in PostgreSQL's words ---- */

static const char *const words[][2] = {
    /* the longest first */
    {"INTEGER PRIMARY KEY", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"},
    {"INTEGER", "BIGINT"},
    {"REAL", "DOUBLE PRECISION"},
    {"TEXT", "TEXT COLLATE \"C\""}, /* as SQLite orders it */
    {" STRICT", ""},
};

static bool word_part(char c) {
  return isalnum((unsigned char)c) || c == '_';
}

static const char *const *word_at(const char *sql, const char *at) {
  for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
    size_t length = strlen(words[i][0]);
    if (strncmp(at, words[i][0], length) == 0 && !word_part(at[length]) &&
        (at == sql || !word_part(at[-1]) || *at == ' '))
      return words[i];
  }
  return NULL;
}

/* Outside of literals; what is between $tag$ and $tag$, of functions, is PostgreSQL's own (a $ ahead of a tag's name
 * begins or ends it). */
static char *translated(const char *sql) {
  CLEANUP(buffer_release) Buffer out = {0};
  bool literal = false, body = false;
  for (const char *p = sql; *p; p++) {
    if (*p == '$' && !literal)
      body ^= word_part(p[1]);
    literal ^= *p == '\'';
    const char *const *word = literal || body ? NULL : word_at(sql, p);
    if (!word) {
      buffer_append_byte(&out, (uint8_t)*p);
      continue;
    }
    buffer_append_text(&out, word[1]);
    p += strlen(word[0]) - 1;
  }
  return memory_strndup((const char *)out.data, out.size);
}

/* ---- migrating ---- */

Status postgres_version(void *driver, int64_t *version, Error *err) {
  Postgres *postgres = driver;
  CLEANUP(postgres_clear) PGresult *there = NULL;
  CLEANUP(postgres_clear) PGresult *result = NULL;
  Status status = postgres_ready(postgres, err);
  if (status != STATUS_OK)
    return status;
  *version = 0;
  /* (Of pg_class, since to_regclass alone does not notice what was committed since it was last asked.) */
  there = PQexec(postgres->connection, "SELECT 1 FROM pg_class WHERE oid = to_regclass('schema_version')");
  if (PQresultStatus(there) != PGRES_TUPLES_OK)
    return postgres_failure(postgres, there, "read", err);
  if (PQntuples(there) == 0)
    return STATUS_OK;
  result = PQexec(postgres->connection, "SELECT version FROM schema_version");
  if (PQresultStatus(result) != PGRES_TUPLES_OK)
    return postgres_failure(postgres, result, "read", err);
  *version = PQntuples(result) ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
  return STATUS_OK;
}

/* Numbers that a table made anew took over are not given again. */
static const char numbers_go_on[] =
    "DO $numbers$ DECLARE c RECORD; BEGIN FOR c IN SELECT table_name AS t, column_name AS n"
    " FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES' LOOP "
    "EXECUTE format('SELECT setval(pg_get_serial_sequence(%L, %L), (SELECT coalesce(max(%I), 0) + 1 FROM %I), false)',"
    " quote_ident(c.t), c.n, c.n, c.t); END LOOP; END $numbers$";

Status postgres_number_on(void *driver, Error *err) {
  return postgres_run(driver, numbers_go_on, err);
}

static Status migrate(Postgres *postgres, int64_t number, const char *sql, Error *err) {
  int64_t version = 0; /* read under the lock: another coordinator may have been faster */
  Status status = postgres_version(postgres, &version, err);
  if (status != STATUS_OK || version >= number)
    return status;
  CLEANUP_FREE char *text = translated(sql);
  char mark[160];
  snprintf(mark, sizeof mark,
           "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL); DELETE FROM schema_version;"
           "INSERT INTO schema_version VALUES (%lld)",
           (long long)number);
  status = postgres_run(postgres, text, err);
  if (status == STATUS_OK)
    status = postgres_run(postgres, numbers_go_on, err);
  return status == STATUS_OK ? postgres_run(postgres, mark, err) : status;
}

Status postgres_migrate(void *driver, int64_t number, const char *sql, Error *err) {
  Postgres *postgres = driver;
  char lock[64];
  snprintf(lock, sizeof lock, "BEGIN; SELECT pg_advisory_xact_lock(%d)", SCHEMA_LOCK);
  Status status = postgres_ready(postgres, err);
  if (status == STATUS_OK)
    status = postgres_run(postgres, lock, err);
  if (status == STATUS_OK)
    status = migrate(postgres, number, sql, err);
  if (status == STATUS_OK)
    return postgres_run(postgres, "COMMIT", err);
  Error ignored;
  if (postgres->connection && !postgres_lost(postgres))
    (void)!postgres_run(postgres, "ROLLBACK", &ignored);
  return status;
}
