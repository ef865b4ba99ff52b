/* Numbered migrations. A released one is never changed: add the next. After the seventh they are written for every
 * database: the words of columns are INTEGER, TEXT, REAL and, for a number given in order, INTEGER PRIMARY KEY; a table
 * ends with STRICT; PostgreSQL's driver puts its own words there (postgres_schema.c). Where that does not do, a
 * migration is written twice. SQLite cannot change a CHECK: there the table is made anew, as in the seventh; references
 * to it stay. */
#include "coordinator/ledger/db.h"

#include "common/base/memory.h"

static const char migration_0001[] =
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
    "  checkpoint_id TEXT NOT NULL REFERENCES checkpoint (id),"
    "  database TEXT NOT NULL,"
    "  kind INTEGER NOT NULL CHECK (kind IN (1, 2)),"
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
    "  progress TEXT"
    ") STRICT;"
    "CREATE INDEX job_checkpoint ON job (checkpoint_id);"
    "CREATE INDEX job_open ON job (number) WHERE state IN ('queued', 'leased', 'running');"
    "CREATE TABLE event ("
    "  sequence INTEGER PRIMARY KEY,"
    "  time_us INTEGER NOT NULL,"
    "  kind TEXT NOT NULL,"
    "  checkpoint_id TEXT, job_id TEXT, database TEXT, agent TEXT, actor TEXT,"
    "  detail TEXT,"
    "  hash TEXT NOT NULL"
    ") STRICT;"
    "CREATE INDEX event_checkpoint ON event (checkpoint_id, sequence) WHERE checkpoint_id IS NOT NULL;"
    "CREATE TRIGGER event_update BEFORE UPDATE ON event"
    "  BEGIN SELECT RAISE(ABORT, 'events are never changed'); END;"
    "CREATE TRIGGER event_delete BEFORE DELETE ON event"
    "  BEGIN SELECT RAISE(ABORT, 'events are never removed'); END;"
    "CREATE TABLE tip (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;"
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
    "  revoked_us INTEGER NOT NULL"
    ") STRICT;"
    "CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked_us = 0;"
    "CREATE TABLE agent ("
    "  name TEXT PRIMARY KEY,"
    "  version TEXT,"
    "  host TEXT,"
    "  detail TEXT,"
    "  first_seen_us INTEGER NOT NULL,"
    "  last_seen_us INTEGER NOT NULL"
    ") STRICT;";

/* Tokens for some databases only, for some time only, and two of one name while the old one is being replaced. */
static const char migration_0002[] =
    "ALTER TABLE token ADD COLUMN databases TEXT;"
    "ALTER TABLE token ADD COLUMN expires_us INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE token ADD COLUMN replaced_us INTEGER NOT NULL DEFAULT 0;"
    "DROP INDEX token_name;"
    "CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked_us = 0 AND replaced_us = 0;";

/* Agents that join by invitation. */
static const char migration_0003[] =
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
    "  CHECK (state NOT IN ('enrolled', 'renewing') OR (public_key IS NOT NULL AND serial IS NOT NULL))"
    ") STRICT;"
    "CREATE TABLE certificate ("
    "  serial TEXT PRIMARY KEY,"
    "  agent TEXT NOT NULL REFERENCES enrollment (name),"
    "  expires_us INTEGER NOT NULL,"
    "  revoked_us INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX certificate_agent ON certificate (agent);";

/* Plans and restores. SQLite cannot change a CHECK: the table is made anew. */
static const char migration_0004[] =
    "CREATE TABLE job_4 ("
    "  number INTEGER PRIMARY KEY,"
    "  id TEXT NOT NULL UNIQUE,"
    "  checkpoint_id TEXT NOT NULL REFERENCES checkpoint (id),"
    "  database TEXT NOT NULL,"
    "  kind INTEGER NOT NULL CHECK (kind IN (1, 2, 3, 4)),"
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
    "  CHECK (kind IN (1, 2) OR (requested_by IS NOT NULL AND request IS NOT NULL)),"
    "  CHECK (approval IS NULL OR (approval = 'given') = (approved_by IS NOT NULL))"
    ") STRICT;"
    "INSERT INTO job_4 (number, id, checkpoint_id, database, kind, state, attempt, fencing, agent, lease_until_us,"
    "  not_before_us, created_us, started_us, finished_us, cancel_requested, error_code, error_message, error_remedy,"
    "  error_object, progress)"
    "  SELECT number, id, checkpoint_id, database, kind, state, attempt, fencing, agent, lease_until_us,"
    "  not_before_us, created_us, started_us, finished_us, cancel_requested, error_code, error_message, error_remedy,"
    "  error_object, progress FROM job;"
    "DROP TABLE job;"
    "ALTER TABLE job_4 RENAME TO job;"
    "CREATE INDEX job_checkpoint ON job (checkpoint_id);"
    "CREATE INDEX job_open ON job (number) WHERE state IN ('queued', 'leased', 'running');"
    "CREATE INDEX job_database ON job (database, number);"
    "CREATE UNIQUE INDEX job_key ON job (requested_by, idempotency_key) WHERE idempotency_key IS NOT NULL;"
    "CREATE TABLE report ("
    "  job INTEGER PRIMARY KEY REFERENCES job (number),"
    "  report TEXT NOT NULL"
    ") STRICT;";

/* Every signing key that an agent was ever enrolled with, since a row of enrollment has the last one only. */
static const char migration_0005[] =
    "CREATE TABLE signing_key ("
    "  public_key TEXT PRIMARY KEY,"
    "  agent TEXT NOT NULL REFERENCES enrollment (name),"
    "  revoked_us INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX signing_key_agent ON signing_key (agent);"
    "INSERT OR IGNORE INTO signing_key (public_key, agent, revoked_us)"
    "  SELECT json_extract(e.detail, '$.public_key'), e.agent, coalesce((SELECT min(r.time_us) FROM event r"
    "    WHERE r.kind = 'agent.revoked' AND r.agent = e.agent AND r.sequence > e.sequence), 0)"
    "  FROM event e WHERE e.kind = 'agent.enrolled' AND json_extract(e.detail, '$.public_key') IS NOT NULL"
    "  ORDER BY e.sequence;";

/* What an invitation was answered with, for who did not get the answer. */
static const char migration_0006[] = "ALTER TABLE enrollment ADD COLUMN spent_hash TEXT NOT NULL DEFAULT '';"
                                     "ALTER TABLE enrollment ADD COLUMN request_sha256 TEXT NOT NULL DEFAULT '';"
                                     "ALTER TABLE enrollment ADD COLUMN certificate TEXT;";

/* Jobs of more kinds, which ones the code says; and jobs of no checkpoint. */
static const char migration_0007[] =
    "CREATE TABLE job_7 ("
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
    "INSERT INTO job_7 (number, id, checkpoint_id, database, kind, state, attempt, fencing, agent, lease_until_us,"
    "  not_before_us, created_us, started_us, finished_us, cancel_requested, error_code, error_message, error_remedy,"
    "  error_object, progress, requested_by, idempotency_key, request, approval, approved_by)"
    "  SELECT number, id, checkpoint_id, database, kind, state, attempt, fencing, agent, lease_until_us,"
    "  not_before_us, created_us, started_us, finished_us, cancel_requested, error_code, error_message, error_remedy,"
    "  error_object, progress, requested_by, idempotency_key, request, approval, approved_by FROM job;"
    "DROP TABLE job;"
    "ALTER TABLE job_7 RENAME TO job;"
    "CREATE INDEX job_checkpoint ON job (checkpoint_id);"
    "CREATE INDEX job_open ON job (number) WHERE state IN ('queued', 'leased', 'running');"
    "CREATE INDEX job_database ON job (database, number);"
    "CREATE UNIQUE INDEX job_key ON job (requested_by, idempotency_key) WHERE idempotency_key IS NOT NULL;";

/* Documents of the fleet. */
static const char migration_0008[] = "CREATE TABLE fleet ("
                                     "  version INTEGER PRIMARY KEY,"
                                     "  name TEXT NOT NULL,"
                                     "  text TEXT NOT NULL,"
                                     "  applied_by TEXT,"
                                     "  applied_us INTEGER NOT NULL"
                                     ") STRICT;";

/* Retention's marks, and what operators hold back. */
static const char migration_0009[] = "ALTER TABLE checkpoint ADD COLUMN pinned_us INTEGER NOT NULL DEFAULT 0;"
                                     "ALTER TABLE checkpoint ADD COLUMN pruning_us INTEGER NOT NULL DEFAULT 0;"
                                     "ALTER TABLE checkpoint ADD COLUMN pruned_us INTEGER NOT NULL DEFAULT 0;"
                                     "ALTER TABLE checkpoint ADD COLUMN locked_until_us INTEGER NOT NULL DEFAULT 0;"
                                     "CREATE TABLE hold ("
                                     "  what TEXT NOT NULL CHECK (what IN ('agent', 'database', 'fleet')),"
                                     "  name TEXT NOT NULL,"
                                     "  since_us INTEGER NOT NULL,"
                                     "  actor TEXT,"
                                     "  reason TEXT,"
                                     "  PRIMARY KEY (what, name)"
                                     ") STRICT;";

/* Who goes first; and how far each database's schedule has come. */
static const char migration_0010[] = "ALTER TABLE job ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;"
                                     "CREATE INDEX job_open_database ON job (database)"
                                     "  WHERE state IN ('queued', 'leased', 'running');"
                                     "CREATE TABLE schedule ("
                                     "  database TEXT PRIMARY KEY,"
                                     "  spec TEXT NOT NULL,"
                                     "  slot_us INTEGER NOT NULL,"
                                     "  handled_us INTEGER NOT NULL,"
                                     "  outcome TEXT CHECK (outcome IN ('requested', 'skipped', 'missed')),"
                                     "  checkpoint_id TEXT,"
                                     "  missed_us INTEGER NOT NULL,"
                                     "  missed_count INTEGER NOT NULL,"
                                     "  skipped_us INTEGER NOT NULL,"
                                     "  skipped_count INTEGER NOT NULL"
                                     ") STRICT;";

#define BOTH(migration)                                                                                                \
  { migration, migration }
/* Coordinators that share this ledger. */
static const char migration_0011[] = "CREATE TABLE coordinator ("
                                     "  id TEXT PRIMARY KEY,"
                                     "  beat INTEGER NOT NULL,"
                                     "  agents TEXT NOT NULL,"
                                     "  seen_us INTEGER NOT NULL"
                                     ") STRICT;";

/* Who is signed in at the dashboard. */
static const char migration_0012[] = "CREATE TABLE session ("
                                     "  hash TEXT PRIMARY KEY,"
                                     "  token_hash TEXT NOT NULL,"
                                     "  created_us INTEGER NOT NULL,"
                                     "  seen_us INTEGER NOT NULL,"
                                     "  expires_us INTEGER NOT NULL"
                                     ") STRICT;"
                                     "CREATE INDEX session_token ON session (token_hash);";

/* Alerts, and what is still to be told of them. */
static const char migration_0013[] =
    "CREATE TABLE alert ("
    "  key TEXT PRIMARY KEY,"
    "  id TEXT NOT NULL,"
    "  condition TEXT NOT NULL,"
    "  subject TEXT NOT NULL,"
    "  database TEXT,"
    "  severity TEXT NOT NULL CHECK (severity IN ('critical', 'warning')),"
    "  state TEXT NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')),"
    "  since_us INTEGER NOT NULL,"
    "  fired_us INTEGER NOT NULL,"
    "  notified_us INTEGER NOT NULL,"
    "  resolved_us INTEGER NOT NULL,"
    "  summary TEXT NOT NULL,"
    "  remedy TEXT NOT NULL,"
    "  routes TEXT"
    ") STRICT;"
    "CREATE TABLE notification ("
    "  id TEXT PRIMARY KEY,"
    "  route TEXT NOT NULL,"
    "  state TEXT NOT NULL CHECK (state IN ('due', 'sent', 'failed')),"
    "  test INTEGER NOT NULL,"
    "  attempts INTEGER NOT NULL,"
    "  created_us INTEGER NOT NULL,"
    "  not_before_us INTEGER NOT NULL,"
    "  ended_us INTEGER NOT NULL,"
    "  alerts TEXT NOT NULL,"
    "  error TEXT"
    ") STRICT;"
    "CREATE INDEX notification_due ON notification (created_us, id) WHERE state = 'due';"
    "CREATE INDEX notification_route ON notification (route, ended_us);";

/* What is in checkpoints: their tables. */
static const char migration_0014[] = "CREATE TABLE table_list ("
                                     "  checkpoint INTEGER PRIMARY KEY REFERENCES checkpoint (number),"
                                     "  packed TEXT NOT NULL"
                                     ") STRICT;";

/* What is not told of alerts for a while, and what somebody looks after. */
static const char migration_0015[] = "CREATE TABLE silence ("
                                     "  id TEXT PRIMARY KEY,"
                                     "  key TEXT,"
                                     "  alert_id TEXT,"
                                     "  database TEXT,"
                                     "  condition TEXT,"
                                     "  actor TEXT,"
                                     "  reason TEXT NOT NULL,"
                                     "  created_us INTEGER NOT NULL,"
                                     "  until_us INTEGER NOT NULL,"
                                     "  ended_us INTEGER NOT NULL,"
                                     "  ended_by TEXT"
                                     ") STRICT;";

/* Who is signed in by OpenID Connect. A person keeps the name that he had first, so that nobody is two people by
 * another address; and a sign-in that was used up is known until it would be too old anyway. */
static const char migration_0016[] = "ALTER TABLE session ADD COLUMN name TEXT;"
                                     "ALTER TABLE session ADD COLUMN grant_key TEXT;"
                                     "CREATE TABLE person ("
                                     "  subject TEXT PRIMARY KEY,"
                                     "  name TEXT NOT NULL,"
                                     "  first_seen_us INTEGER NOT NULL"
                                     ") STRICT;"
                                     "CREATE TABLE sign_in ("
                                     "  hash TEXT PRIMARY KEY,"
                                     "  expires_us INTEGER NOT NULL"
                                     ") STRICT;";

/* A token that a person made, or gave a new secret, is that person's second name: he has seen it. */
static const char migration_0017[] = "ALTER TABLE token ADD COLUMN person TEXT;";

static const struct Migration {
  const char *sqlite, *postgres; /* NULL: PostgreSQL's schema begins later */
} migrations[] = {
    {migration_0001, NULL},
    {migration_0002, NULL},
    {migration_0003, NULL},
    {migration_0004, NULL},
    {migration_0005, NULL},
    {migration_0006, NULL},
    {migration_0007, schema_postgres_0007},
    BOTH(migration_0008),
    BOTH(migration_0009),
    BOTH(migration_0010),
    BOTH(migration_0011),
    BOTH(migration_0012),
    BOTH(migration_0013),
    BOTH(migration_0014),
    BOTH(migration_0015),
    BOTH(migration_0016),
    BOTH(migration_0017),
};

static Status read_version(Ledger *ledger, int64_t *version, Error *err) {
  Status status = ledger->ops->version(ledger->driver, version, err);
  if (status != STATUS_OK || *version <= (int64_t)ARRAY_SIZE(migrations))
    return status;
  error_set(err, ERR_CONFIG, "the ledger %s has schema %lld; this pgseal knows up to %zu", ledger->name,
            (long long)*version, ARRAY_SIZE(migrations));
  error_remedy(err, "Use the pgseal version that wrote it, or a newer one.");
  return ERR_CONFIG;
}

int64_t schema_latest(void) {
  return (int64_t)ARRAY_SIZE(migrations);
}

Status schema_migrate_to(Ledger *ledger, int64_t wanted, Error *err) {
  int64_t version = 0;
  Status status = read_version(ledger, &version, err);
  for (size_t i = (size_t)version; status == STATUS_OK && i < (size_t)wanted; i++) {
    const char *sql = ledger->ops->postgres ? migrations[i].postgres : migrations[i].sqlite;
    if (!sql)
      continue;
    status = ledger->ops->migrate(ledger->driver, (int64_t)i + 1, sql, err);
    if (status != STATUS_OK)
      return error_prefix(err, "ledger migration %zu", i + 1);
  }
  return status;
}

Status schema_migrate(Ledger *ledger, Error *err) {
  return schema_migrate_to(ledger, schema_latest(), err);
}

Status schema_check_version(Ledger *ledger, Error *err) {
  int64_t version = 0;
  Status status = read_version(ledger, &version, err);
  if (status == STATUS_OK && version != (int64_t)ARRAY_SIZE(migrations)) {
    error_set(err, ERR_CONFIG, "the ledger %s has schema %lld, this pgseal needs %zu", ledger->name, (long long)version,
              ARRAY_SIZE(migrations));
    error_remedy(err, "Start the coordinator of this version once: it brings the ledger up to date.");
    return ERR_CONFIG;
  }
  return status;
}
