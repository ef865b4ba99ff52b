/* The tables of checkpoints, each list as coordinator/tables packs it. Apart from the checkpoints' rows, which are read
 * far more often. */
#include "coordinator/ledger/db.h"

Status ledger_tables_put(Ledger *ledger, const char *checkpoint_id, const char *packed, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO table_list (checkpoint, packed) SELECT number, ? FROM checkpoint WHERE id = ? "
                            "ON CONFLICT (checkpoint) DO UPDATE SET packed = excluded.packed";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, packed);
  db_bind_text(s, &at, checkpoint_id);
  return db_change(ledger, s, "checkpoint", checkpoint_id, err);
}

Status ledger_tables_get(Ledger *ledger, const char *checkpoint_id, char **packed, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT packed FROM table_list JOIN checkpoint ON checkpoint = number WHERE id = ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  db_bind_text(s, &at, checkpoint_id);
  status = db_step(ledger, s, &row, err);
  at = 0;
  if (status == STATUS_OK)
    *packed = row ? db_read_text(s, &at) : NULL;
  return status;
}

Status ledger_tables_remove(Ledger *ledger, const char *checkpoint_id, Error *err) {
  STATEMENT(s);
  static const char sql[] = "DELETE FROM table_list WHERE checkpoint = (SELECT number FROM checkpoint WHERE id = ?)";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row;
  db_bind_text(s, &at, checkpoint_id);
  return db_step(ledger, s, &row, err);
}
