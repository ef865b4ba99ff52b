#include "coordinator/ledger/sqlite.h"

#include <string.h>

#include "common/base/memory.h"

#define COLUMNS                                                                                                        \
  "id, created_us, database, tag, requested_by, idempotency_key, state, finished_us, dump_attempt, dump_agent, "       \
  "manifest_sha256, proof_sha256, restore_drill, size_bytes, archive_bytes, tables, rows, server_major, seconds, "     \
  "error_code, error_message, error_remedy, error_object, detail"

/* All but id and created_us, in the order of COLUMNS. */
static void bind_checkpoint(sqlite3_stmt *s, int *at, const Checkpoint *c) {
  sqlite_bind_text(s, at, c->database);
  sqlite_bind_text(s, at, c->tag);
  sqlite_bind_text(s, at, c->requested_by);
  sqlite_bind_text(s, at, c->idempotency_key);
  sqlite_bind_text(s, at, checkpoint_state_name(c->state));
  sqlite_bind_integer(s, at, c->finished_us);
  sqlite_bind_integer(s, at, c->dump_attempt);
  sqlite_bind_text(s, at, c->dump_agent);
  sqlite_bind_text(s, at, c->manifest_sha256);
  sqlite_bind_text(s, at, c->proof_sha256);
  sqlite_bind_text(s, at, c->restore_drill);
  sqlite_bind_integer(s, at, c->size_bytes);
  sqlite_bind_integer(s, at, c->archive_bytes);
  sqlite_bind_integer(s, at, c->tables);
  sqlite_bind_integer(s, at, c->rows);
  sqlite_bind_integer(s, at, c->server_major);
  sqlite_bind_real(s, at, c->seconds);
  sqlite_bind_text(s, at, c->error_code);
  sqlite_bind_text(s, at, c->error_message);
  sqlite_bind_text(s, at, c->error_remedy);
  sqlite_bind_text(s, at, c->error_object);
  sqlite_bind_json(s, at, c->detail);
}

static Status read_checkpoint(sqlite3_stmt *s, Checkpoint *out, Error *err) {
  Checkpoint c = {0};
  int at = 0;
  c.id = sqlite_read_text(s, &at);
  c.created_us = sqlite_read_integer(s, &at);
  c.database = sqlite_read_text(s, &at);
  c.tag = sqlite_read_text(s, &at);
  c.requested_by = sqlite_read_text(s, &at);
  c.idempotency_key = sqlite_read_text(s, &at);
  CLEANUP_FREE char *state = sqlite_read_text(s, &at);
  c.finished_us = sqlite_read_integer(s, &at);
  c.dump_attempt = (int)sqlite_read_integer(s, &at);
  c.dump_agent = sqlite_read_text(s, &at);
  c.manifest_sha256 = sqlite_read_text(s, &at);
  c.proof_sha256 = sqlite_read_text(s, &at);
  c.restore_drill = sqlite_read_text(s, &at);
  c.size_bytes = sqlite_read_integer(s, &at);
  c.archive_bytes = sqlite_read_integer(s, &at);
  c.tables = sqlite_read_integer(s, &at);
  c.rows = sqlite_read_integer(s, &at);
  c.server_major = (int)sqlite_read_integer(s, &at);
  c.seconds = sqlite_read_real(s, &at);
  c.error_code = sqlite_read_text(s, &at);
  c.error_message = sqlite_read_text(s, &at);
  c.error_remedy = sqlite_read_text(s, &at);
  c.error_object = sqlite_read_text(s, &at);
  c.detail = sqlite_read_json(s, &at);
  if (!state || !checkpoint_state_from_name(state, &c.state)) {
    error_set(err, ERR_CONFLICT, "the ledger's checkpoint %s has the unknown state '%s'", c.id ? c.id : "?",
              state ? state : "");
    checkpoint_release(&c);
    return ERR_CONFLICT;
  }
  *out = c;
  return STATUS_OK;
}

Status sqlite_checkpoint_insert(void *backend, const Checkpoint *c, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO checkpoint (" COLUMNS ") VALUES "
                            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, c->id);
  sqlite_bind_integer(s, &at, c->created_us);
  bind_checkpoint(s, &at, c);
  return sqlite_change(backend, s, "checkpoint", c->id, err);
}

Status sqlite_checkpoint_update(void *backend, const Checkpoint *c, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "UPDATE checkpoint SET database = ?, tag = ?, requested_by = ?, idempotency_key = ?, state = ?, finished_us = ?, "
      "dump_attempt = ?, dump_agent = ?, manifest_sha256 = ?, proof_sha256 = ?, restore_drill = ?, size_bytes = ?, "
      "archive_bytes = ?, tables = ?, rows = ?, server_major = ?, seconds = ?, error_code = ?, error_message = ?, "
      "error_remedy = ?, error_object = ?, detail = ? WHERE id = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bind_checkpoint(s, &at, c);
  sqlite_bind_text(s, &at, c->id);
  return sqlite_change(backend, s, "checkpoint", c->id, err);
}

/* The one row of a bound statement. */
static Status read_one(SqliteLedger *ledger, sqlite3_stmt *s, const char *name, Checkpoint *out, Error *err) {
  bool row = false;
  Status status = sqlite_step(ledger, s, &row, err);
  if (status != STATUS_OK)
    return status;
  if (!row) {
    error_set(err, ERR_NOT_FOUND, "there is no checkpoint %s", name);
    error_object(err, "%s", name);
    return ERR_NOT_FOUND;
  }
  return read_checkpoint(s, out, err);
}

Status sqlite_checkpoint_get(void *backend, const char *id, Checkpoint *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM checkpoint WHERE id = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, id);
  return read_one(backend, s, id, out, err);
}

Status sqlite_checkpoint_find(void *backend, const char *database, const char *id_or_tag, const char *scope,
                              Checkpoint *out, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "SELECT " COLUMNS " FROM checkpoint WHERE (id = ?1 OR tag = ?1) "
      "AND (?2 IS NULL OR database = ?2) AND " SQLITE_IN_SCOPE("?3") " ORDER BY id = ?1 DESC, number DESC LIMIT 1";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, id_or_tag);
  sqlite_bind_text(s, &at, database);
  sqlite_bind_text(s, &at, scope);
  return read_one(backend, s, id_or_tag, out, err);
}

Status sqlite_checkpoint_by_key(void *backend, const char *token_name, const char *key, Checkpoint *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM checkpoint WHERE requested_by = ? AND idempotency_key = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, token_name);
  sqlite_bind_text(s, &at, key);
  return read_one(backend, s, "with this idempotency key", out, err);
}

Status sqlite_checkpoint_list(void *backend, const CheckpointFilter *filter, Checkpoint **items, size_t *count,
                              Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM checkpoint WHERE (?1 IS NULL OR database = ?1) "
                            "AND (?2 IS NULL OR tag = ?2) AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR "
                            "number < (SELECT number FROM checkpoint WHERE id = ?4)) AND " SQLITE_IN_SCOPE(
                                "?6") " ORDER BY number DESC LIMIT ?5";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, filter->database);
  sqlite_bind_text(s, &at, filter->tag);
  sqlite_bind_text(s, &at, filter->state);
  sqlite_bind_text(s, &at, filter->before_id);
  sqlite_bind_integer(s, &at, filter->limit > 0 ? filter->limit : -1);
  sqlite_bind_text(s, &at, filter->scope);
  Checkpoint *list = NULL;
  size_t used = 0;
  for (bool row = true;;) {
    Checkpoint next;
    status = sqlite_step(backend, s, &row, err);
    if (status == STATUS_OK && row)
      status = read_checkpoint(s, &next, err);
    if (status != STATUS_OK) {
      checkpoint_list_free(list, used);
      return status;
    }
    if (!row)
      break;
    ARRAY_PUSH(list, used, next);
  }
  *items = list;
  *count = used;
  return STATUS_OK;
}

Status sqlite_checkpoint_count(void *backend, const char *state, int64_t *count, Error *err) {
  STATEMENT(s);
  Status status = sqlite_statement(backend, "SELECT count(*) FROM checkpoint WHERE state = ?", &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  sqlite_bind_text(s, &at, state);
  status = sqlite_step(backend, s, &row, err);
  if (status == STATUS_OK)
    *count = row ? sqlite3_column_int64(s, 0) : 0;
  return status;
}
