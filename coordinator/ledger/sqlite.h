/*
 * SQLite backend of the ledger: what its files share. Loop thread only.
 *
 *   sqlite.c             opening, transactions, the function table
 *   sqlite_schema.c      numbered migrations
 *   sqlite_statement.c   prepared statements, binding, reading
 *   sqlite_checkpoint.c  sqlite_job.c  sqlite_event.c  sqlite_people.c (tokens and agents)
 *   sqlite_enrollment.c  (agents that join by invitation, and their certificates)
 */
#ifndef PGSEAL_COORDINATOR_LEDGER_SQLITE_H
#define PGSEAL_COORDINATOR_LEDGER_SQLITE_H

#include <sqlite3.h>

#include "common/base/cleanup.h"
#include "coordinator/ledger/ledger_ops.h"

typedef struct SqliteStatement {
  const char *sql; /* a literal: compared by address */
  sqlite3_stmt *statement;
} SqliteStatement;

typedef struct SqliteLedger {
  sqlite3 *db;
  char *path;
  int lock_fd; /* -1 when read-only */
  SqliteStatement *statements;
  size_t statement_count;
} SqliteLedger;

/* Brings an open database up to this version. ERR_CONFIG if it is of a newer pgseal, or not a ledger. */
Status sqlite_migrate(SqliteLedger *ledger, Error *err) MUST_CHECK;
Status sqlite_check_version(SqliteLedger *ledger, Error *err) MUST_CHECK;

/* The last error of the connection, for `what`. Never STATUS_OK. */
Status sqlite_failure(SqliteLedger *ledger, const char *what, Error *err) MUST_CHECK;
Status sqlite_run(SqliteLedger *ledger, const char *sql, Error *err) MUST_CHECK; /* no parameters, no rows */

/* A statement ready to bind; prepared once per literal. Declare it with STATEMENT so that it is reset at scope exit. */
Status sqlite_statement(SqliteLedger *ledger, const char *sql, sqlite3_stmt **out, Error *err) MUST_CHECK;
void sqlite_statement_reset(sqlite3_stmt **statement);
#define STATEMENT(name) CLEANUP(sqlite_statement_reset) sqlite3_stmt *name = NULL
/* One step. *row: there is one. A violated constraint is ERR_CONFLICT. */
Status sqlite_step(SqliteLedger *ledger, sqlite3_stmt *statement, bool *row, Error *err) MUST_CHECK;
/* For INSERT and UPDATE: runs to the end; ERR_NOT_FOUND ("no such `what`: id") if no row was changed. */
Status sqlite_change(SqliteLedger *ledger, sqlite3_stmt *statement, const char *what, const char *id,
                     Error *err) MUST_CHECK;

/* Of a row with the column `database`: is it in the scope (JSON text, or NULL for all) of this parameter? */
#define SQLITE_IN_SCOPE(parameter)                                                                                     \
  "(" parameter " IS NULL OR EXISTS (SELECT 1 FROM json_each(" parameter ") WHERE database GLOB value))"

/* Binding in order: *at is the next parameter's number, start with 1. NULL text and JSON bind NULL. */
void sqlite_bind_text(sqlite3_stmt *statement, int *at, const char *text);
void sqlite_bind_integer(sqlite3_stmt *statement, int *at, int64_t value);
void sqlite_bind_real(sqlite3_stmt *statement, int *at, double value);
void sqlite_bind_json(sqlite3_stmt *statement, int *at, const json_t *json);

/* Reading in order: *at is the next column, start with 0. Text is a new string, NULL for NULL. */
char *sqlite_read_text(sqlite3_stmt *statement, int *at);
int64_t sqlite_read_integer(sqlite3_stmt *statement, int *at);
double sqlite_read_real(sqlite3_stmt *statement, int *at);
json_t *sqlite_read_json(sqlite3_stmt *statement, int *at); /* NULL for NULL, and for what is no JSON */

Status sqlite_checkpoint_insert(void *backend, const Checkpoint *checkpoint, Error *err);
Status sqlite_checkpoint_update(void *backend, const Checkpoint *checkpoint, Error *err);
Status sqlite_checkpoint_get(void *backend, const char *id, Checkpoint *out, Error *err);
Status sqlite_checkpoint_find(void *backend, const char *database, const char *id_or_tag, const char *scope,
                              Checkpoint *out, Error *err);
Status sqlite_checkpoint_by_key(void *backend, const char *token_name, const char *key, Checkpoint *out, Error *err);
Status sqlite_checkpoint_list(void *backend, const CheckpointFilter *filter, Checkpoint **items, size_t *count,
                              Error *err);
Status sqlite_checkpoint_count(void *backend, const char *state, int64_t *count, Error *err);

Status sqlite_job_insert(void *backend, const LedgerJob *job, Error *err);
Status sqlite_job_update(void *backend, const LedgerJob *job, Error *err);
Status sqlite_job_get(void *backend, const char *id, LedgerJob *out, Error *err);
Status sqlite_job_list(void *backend, const char *checkpoint_id, LedgerJob **items, size_t *count, Error *err);
Status sqlite_job_by_key(void *backend, const char *token_name, const char *key, LedgerJob *out, Error *err);
Status sqlite_job_recent(void *backend, const JobFilter *filter, LedgerJob **items, size_t *count, Error *err);
Status sqlite_job_report_put(void *backend, const LedgerJob *job, const json_t *report, Error *err);
Status sqlite_job_report_get(void *backend, const char *job_id, json_t **report, Error *err);
Status sqlite_job_open(void *backend, LedgerJob **items, size_t *count, Error *err);
Status sqlite_fencing_next(void *backend, uint64_t *fencing, Error *err);

Status sqlite_tip_get(void *backend, LedgerTip *tip, Error *err);
Status sqlite_event_insert(void *backend, const LedgerEvent *event, const char *detail, Error *err);
Status sqlite_event_walk(void *backend, const EventFilter *filter, LedgerEventVisit *visit, void *user, Error *err);

Status sqlite_token_insert(void *backend, const LedgerToken *token, Error *err);
Status sqlite_token_by_hash(void *backend, const char *hash, LedgerToken *out, Error *err);
Status sqlite_token_update(void *backend, const LedgerToken *token, Error *err);
Status sqlite_token_list(void *backend, LedgerToken **items, size_t *count, Error *err);
Status sqlite_agent_put(void *backend, const LedgerAgent *agent, Error *err);
Status sqlite_agent_list(void *backend, LedgerAgent **items, size_t *count, Error *err);

Status sqlite_enrollment_put(void *backend, const LedgerEnrollment *row, Error *err);
Status sqlite_enrollment_list(void *backend, LedgerEnrollment **items, size_t *count, Error *err);
Status sqlite_signing_key_insert(void *backend, const char *public_key, const char *agent, Error *err);
Status sqlite_signing_key_revoke(void *backend, const char *agent, int64_t now_us, Error *err);
Status sqlite_signing_key_get(void *backend, const char *public_key, char **agent, bool *revoked, Error *err);
Status sqlite_certificate_insert(void *backend, const char *serial, const char *agent, int64_t expires_us, Error *err);
Status sqlite_certificate_revoke(void *backend, const char *agent, int64_t now_us, Error *err);
Status sqlite_certificate_revoked(void *backend, int64_t now_us, char ***serials, size_t *count, Error *err);

#endif
