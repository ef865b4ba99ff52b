/* What is newest of each database, in one statement. */
#include "coordinator/ledger/db.h"

#include <stdlib.h>

/* Per database two rows by their numbers, each found by a step or two in the index (database, number); how long its
 * history is does not matter. */
#define NEWEST                                                                                                         \
  "SELECT n.database, n.id, n.tag, n.state, n.restore_drill, n.created_us, n.finished_us, n.error_code,"               \
  "  (SELECT count(*) FROM checkpoint AS f WHERE f.database = n.database AND f.number > coalesce(s.number, -1)"        \
  "    AND f.state IN ('failed', 'errored')),"                                                                         \
  "  s.id, s.tag, s.created_us, s.finished_us, s.size_bytes, s.archive_bytes, s.tables, s.rows, s.server_major,"       \
  "  s.seconds, s.detail "                                                                                             \
  "FROM found JOIN checkpoint AS n ON n.number = (SELECT max(x.number) FROM checkpoint AS x"                           \
  "  WHERE x.database = found.name) "                                                                                  \
  "LEFT JOIN checkpoint AS s ON s.number = (SELECT y.number FROM checkpoint AS y WHERE y.database = found.name"        \
  "  AND y.state = 'sealed' AND y.pruning_us = 0 ORDER BY y.number DESC LIMIT 1)"

double ledger_stage_seconds(const json_t *detail, const char *job) {
  json_t *stages = json_object_get(json_object_get(detail, "stages"), job);
  const char *name;
  json_t *stage;
  double seconds = 0;
  json_object_foreach(stages, name, stage) seconds += json_number_value(stage);
  return seconds;
}

static void read_sealed(DbStatement *s, int *at, LedgerNewest *row) {
  row->sealed_id = db_read_text(s, at);
  row->sealed_tag = db_read_text(s, at);
  row->sealed_created_us = db_read_integer(s, at);
  row->sealed_us = db_read_integer(s, at);
  row->size_bytes = db_read_integer(s, at);
  row->archive_bytes = db_read_integer(s, at);
  row->tables = db_read_integer(s, at);
  row->rows = db_read_integer(s, at);
  row->server_major = (int)db_read_integer(s, at);
  row->seconds = db_read_real(s, at);
  json_t *detail = db_read_json(s, at);
  row->proven_us = json_integer_value(json_object_get(detail, "proven_us"));
  row->dump_seconds = ledger_stage_seconds(detail, "dump");
  row->drill_seconds = ledger_stage_seconds(detail, "drill");
  row->omissions = (int64_t)json_array_size(json_object_get(detail, "omissions"));
  json_decref(detail);
  if (row->proven_us < row->sealed_us)
    row->proven_us = row->sealed_us;
}

static Status read_row(DbStatement *s, LedgerNewest *out, Error *err) {
  LedgerNewest row = {0};
  int at = 0;
  row.database = db_read_text(s, &at);
  row.id = db_read_text(s, &at);
  row.tag = db_read_text(s, &at);
  CLEANUP_FREE char *state = db_read_text(s, &at);
  row.restore_drill = db_read_text(s, &at);
  row.created_us = db_read_integer(s, &at);
  row.finished_us = db_read_integer(s, &at);
  row.error_code = db_read_text(s, &at);
  row.failures = db_read_integer(s, &at);
  read_sealed(s, &at, &row);
  if (!state || !checkpoint_state_from_name(state, &row.state)) {
    error_set(err, ERR_CONFLICT, "the ledger's checkpoint %s has the unknown state '%s'", row.id ? row.id : "?",
              state ? state : "");
    ledger_newest_release(&row);
    return ERR_CONFLICT;
  }
  *out = row;
  return STATUS_OK;
}

void ledger_newest_release(LedgerNewest *row) {
  char *texts[] = {row->database,   row->id,        row->tag,       row->restore_drill,
                   row->error_code, row->sealed_id, row->sealed_tag};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    free(texts[i]);
  *row = (LedgerNewest){0};
}

void ledger_newest_list_free(LedgerNewest *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    ledger_newest_release(&items[i]);
  free(items);
}

DB_LIST(read_all, LedgerNewest, read_row, ledger_newest_list_free);

Status ledger_newest_list(Ledger *ledger, int64_t after, LedgerNewest **items, size_t *count, Error *err) {
  STATEMENT(s);
  /* The names, by one step in the index for each: a GROUP BY would read the whole of it. */
  static const char all[] = "WITH RECURSIVE found (name) AS (SELECT min(database) FROM checkpoint UNION ALL "
                            "SELECT (SELECT min(database) FROM checkpoint WHERE database > found.name) FROM found "
                            "WHERE found.name IS NOT NULL) " NEWEST;
  static const char changed[] = "WITH found (name) AS (SELECT DISTINCT database FROM event WHERE sequence > ?1 "
                                "AND database IS NOT NULL) " NEWEST;
  Status status = db_statement(ledger, after < 0 ? all : changed, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  if (after >= 0)
    db_bind_integer(s, &at, after);
  return read_all(ledger, s, items, count, err);
}

Status ledger_sequence(Ledger *ledger, int64_t *sequence, Error *err) {
  LedgerTip tip;
  Status status = ledger_tip_get(ledger, &tip, err);
  if (status == STATUS_OK)
    *sequence = tip.sequence;
  return status;
}
