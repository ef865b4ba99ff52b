#include "coordinator/ledger/db.h"

#define COLUMNS                                                                                                        \
  "id, created_us, database, tag, requested_by, idempotency_key, state, finished_us, dump_attempt, dump_agent, "       \
  "manifest_sha256, proof_sha256, restore_drill, size_bytes, archive_bytes, tables, rows, server_major, seconds, "     \
  "error_code, error_message, error_remedy, error_object, detail, pinned_us, pruning_us, pruned_us, locked_until_us"

/* All but id and created_us, in the order of COLUMNS. */
static void bind_checkpoint(DbStatement *s, int *at, const Checkpoint *c) {
  db_bind_text(s, at, c->database);
  db_bind_text(s, at, c->tag);
  db_bind_text(s, at, c->requested_by);
  db_bind_text(s, at, c->idempotency_key);
  db_bind_text(s, at, checkpoint_state_name(c->state));
  db_bind_integer(s, at, c->finished_us);
  db_bind_integer(s, at, c->dump_attempt);
  db_bind_text(s, at, c->dump_agent);
  db_bind_text(s, at, c->manifest_sha256);
  db_bind_text(s, at, c->proof_sha256);
  db_bind_text(s, at, c->restore_drill);
  db_bind_integer(s, at, c->size_bytes);
  db_bind_integer(s, at, c->archive_bytes);
  db_bind_integer(s, at, c->tables);
  db_bind_integer(s, at, c->rows);
  db_bind_integer(s, at, c->server_major);
  db_bind_real(s, at, c->seconds);
  db_bind_text(s, at, c->error_code);
  db_bind_text(s, at, c->error_message);
  db_bind_text(s, at, c->error_remedy);
  db_bind_text(s, at, c->error_object);
  db_bind_json(s, at, c->detail);
  db_bind_integer(s, at, c->pinned_us);
  db_bind_integer(s, at, c->pruning_us);
  db_bind_integer(s, at, c->pruned_us);
  db_bind_integer(s, at, c->locked_until_us);
}

static Status read_checkpoint(DbStatement *s, Checkpoint *out, Error *err) {
  Checkpoint c = {0};
  int at = 0;
  c.id = db_read_text(s, &at);
  c.created_us = db_read_integer(s, &at);
  c.database = db_read_text(s, &at);
  c.tag = db_read_text(s, &at);
  c.requested_by = db_read_text(s, &at);
  c.idempotency_key = db_read_text(s, &at);
  CLEANUP_FREE char *state = db_read_text(s, &at);
  c.finished_us = db_read_integer(s, &at);
  c.dump_attempt = (int)db_read_integer(s, &at);
  c.dump_agent = db_read_text(s, &at);
  c.manifest_sha256 = db_read_text(s, &at);
  c.proof_sha256 = db_read_text(s, &at);
  c.restore_drill = db_read_text(s, &at);
  c.size_bytes = db_read_integer(s, &at);
  c.archive_bytes = db_read_integer(s, &at);
  c.tables = db_read_integer(s, &at);
  c.rows = db_read_integer(s, &at);
  c.server_major = (int)db_read_integer(s, &at);
  c.seconds = db_read_real(s, &at);
  c.error_code = db_read_text(s, &at);
  c.error_message = db_read_text(s, &at);
  c.error_remedy = db_read_text(s, &at);
  c.error_object = db_read_text(s, &at);
  c.detail = db_read_json(s, &at);
  c.pinned_us = db_read_integer(s, &at);
  c.pruning_us = db_read_integer(s, &at);
  c.pruned_us = db_read_integer(s, &at);
  c.locked_until_us = db_read_integer(s, &at);
  if (!state || !checkpoint_state_from_name(state, &c.state)) {
    error_set(err, ERR_CONFLICT, "the ledger's checkpoint %s has the unknown state '%s'", c.id ? c.id : "?",
              state ? state : "");
    checkpoint_release(&c);
    return ERR_CONFLICT;
  }
  *out = c;
  return STATUS_OK;
}

Status ledger_checkpoint_insert(Ledger *ledger, const Checkpoint *c, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO checkpoint (" COLUMNS ") VALUES "
                            "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, c->id);
  db_bind_integer(s, &at, c->created_us);
  bind_checkpoint(s, &at, c);
  return db_change(ledger, s, "checkpoint", c->id, err);
}

Status ledger_checkpoint_update(Ledger *ledger, const Checkpoint *c, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "UPDATE checkpoint SET database = ?, tag = ?, requested_by = ?, idempotency_key = ?, state = ?, finished_us = ?, "
      "dump_attempt = ?, dump_agent = ?, manifest_sha256 = ?, proof_sha256 = ?, restore_drill = ?, size_bytes = ?, "
      "archive_bytes = ?, tables = ?, rows = ?, server_major = ?, seconds = ?, error_code = ?, error_message = ?, "
      "error_remedy = ?, error_object = ?, detail = ?, pinned_us = ?, pruning_us = ?, pruned_us = ?, "
      "locked_until_us = ? WHERE id = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bind_checkpoint(s, &at, c);
  db_bind_text(s, &at, c->id);
  return db_change(ledger, s, "checkpoint", c->id, err);
}

/* The one row of a bound statement. */
static Status read_one(Ledger *ledger, DbStatement *s, const char *name, Checkpoint *out, Error *err) {
  Status status = db_row(ledger, s, err, "there is no checkpoint %s", name);
  if (status == ERR_NOT_FOUND)
    error_object(err, "%s", name);
  return status == STATUS_OK ? read_checkpoint(s, out, err) : status;
}

Status ledger_checkpoint_get(Ledger *ledger, const char *id, Checkpoint *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM checkpoint WHERE id = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, id);
  return read_one(ledger, s, id, out, err);
}

Status ledger_checkpoint_find(Ledger *ledger, const char *database, const char *id_or_tag, const char *scope,
                              Checkpoint *out, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "SELECT " COLUMNS " FROM checkpoint WHERE (id = ?1 OR tag = ?1) "
      "AND (?2 IS NULL OR database = ?2) AND in_scope(database, ?3) ORDER BY id = ?1 DESC, number DESC LIMIT 1";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, id_or_tag);
  db_bind_text(s, &at, database);
  db_bind_text(s, &at, scope);
  return read_one(ledger, s, id_or_tag, out, err);
}

Status ledger_checkpoint_by_key(Ledger *ledger, const char *token_name, const char *key, Checkpoint *out, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM checkpoint WHERE requested_by = ? AND idempotency_key = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, token_name);
  db_bind_text(s, &at, key);
  return read_one(ledger, s, "with this idempotency key", out, err);
}

DB_LIST(read_all, Checkpoint, read_checkpoint, checkpoint_list_free);

Status ledger_checkpoint_newest(Ledger *ledger, const char *database, bool sealed, int limit, Checkpoint **items,
                                size_t *count, Error *err) {
  STATEMENT(s);
  static const char ended[] = "SELECT " COLUMNS " FROM checkpoint WHERE database = ? "
                              "AND state IN ('sealed', 'failed', 'errored') ORDER BY number DESC LIMIT ?";
  static const char kept[] = "SELECT " COLUMNS " FROM checkpoint WHERE database = ? AND state = 'sealed' "
                             "AND pruning_us = 0 ORDER BY number DESC LIMIT ?";
  Status status = db_statement(ledger, sealed ? kept : ended, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, database);
  db_bind_integer(s, &at, limit);
  return read_all(ledger, s, items, count, err);
}

Status ledger_checkpoint_list(Ledger *ledger, const CheckpointFilter *filter, Checkpoint **items, size_t *count,
                              Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " COLUMNS " FROM checkpoint WHERE (?1 IS NULL OR database = ?1) "
                            "AND (?2 IS NULL OR tag = ?2) AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR "
                            "number < (SELECT number FROM checkpoint WHERE id = ?4)) AND in_scope(database, ?6) "
                            "AND (?7 = 0 OR pruning_us = 0) AND (?8 = 0 OR pruned_us = 0 OR locked_until_us <> 0) "
                            "ORDER BY number DESC LIMIT ?5";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, filter->database);
  db_bind_text(s, &at, filter->tag);
  db_bind_text(s, &at, filter->state);
  db_bind_text(s, &at, filter->before_id);
  db_bind_integer(s, &at, filter->limit > 0 ? filter->limit : DB_NO_LIMIT);
  db_bind_text(s, &at, filter->scope);
  db_bind_integer(s, &at, filter->kept);
  db_bind_integer(s, &at, filter->there);
  return read_all(ledger, s, items, count, err);
}

/* The names, by one step in the index for each. */
#define PAGE_OF_NEWEST(which)                                                                                          \
  "WITH RECURSIVE found (name) AS (SELECT min(database) FROM checkpoint WHERE database >= ?1 UNION ALL "               \
  "SELECT (SELECT min(database) FROM checkpoint WHERE database > found.name) FROM found WHERE found.name < ?2) "       \
  "SELECT " COLUMNS " FROM found JOIN checkpoint ON number = (SELECT x.number FROM checkpoint AS x "                   \
  "WHERE x.database = found.name " which " ORDER BY x.number DESC LIMIT 1) "                                           \
  "WHERE found.name <= ?2 AND in_scope(found.name, ?3) ORDER BY found.name"

Status ledger_checkpoint_page(Ledger *ledger, const char *first, const char *last, const char *scope, bool sealed,
                              Checkpoint **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char newest[] = PAGE_OF_NEWEST(""),
                    kept[] = PAGE_OF_NEWEST("AND x.state = 'sealed' AND x.pruning_us = 0");
  Status status = db_statement(ledger, sealed ? kept : newest, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, first);
  db_bind_text(s, &at, last);
  db_bind_text(s, &at, scope);
  return read_all(ledger, s, items, count, err);
}

Status ledger_checkpoint_count(Ledger *ledger, const char *state, int64_t *count, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT count(*) FROM checkpoint WHERE state = ?", &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  db_bind_text(s, &at, state);
  status = db_step(ledger, s, &row, err);
  at = 0;
  if (status == STATUS_OK)
    *count = row ? db_read_integer(s, &at) : 0;
  return status;
}
