/* Sign-ins by OpenID Connect: what people are called, and which sign-ins have been used up. */
#include "coordinator/ledger/sign_in.h"

#include <stdio.h>

#include "common/base/cleanup.h"
#include "coordinator/ledger/db.h"

static Status is_taken(Ledger *ledger, const char *subject, const char *name, bool *taken, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT 1 FROM person WHERE name = ? AND subject <> ?", &s, err);
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, name);
  db_bind_text(s, &at, subject);
  return db_step(ledger, s, taken, err);
}

Status ledger_person_name(Ledger *ledger, const char *subject, const char *other, int64_t now_us,
                          char name[LEDGER_NAME_SIZE], Error *err) {
  STATEMENT(insert);
  STATEMENT(select);
  bool row, taken = false;
  int at = 1;
  Status status = is_taken(ledger, subject, name, &taken, err);
  if (status != STATUS_OK)
    return status;
  status = db_statement(
      ledger, "INSERT INTO person (subject, name, first_seen_us) VALUES (?, ?, ?) ON CONFLICT (subject) DO NOTHING",
      &insert, err);
  if (status != STATUS_OK)
    return status;
  db_bind_text(insert, &at, subject);
  db_bind_text(insert, &at, taken ? other : name);
  db_bind_integer(insert, &at, now_us);
  status = db_step(ledger, insert, &row, err);
  if (status == STATUS_OK)
    status = db_statement(ledger, "SELECT name FROM person WHERE subject = ?", &select, err);
  if (status != STATUS_OK)
    return status;
  at = 1;
  db_bind_text(select, &at, subject);
  status = db_row(ledger, select, err, "there is no such person");
  if (status != STATUS_OK)
    return status;
  at = 0;
  CLEANUP_FREE char *kept = db_read_text(select, &at);
  snprintf(name, LEDGER_NAME_SIZE, "%s", kept ? kept : "");
  return STATUS_OK;
}

Status ledger_sign_in_used(Ledger *ledger, const char *hash, bool *used, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT 1 FROM sign_in WHERE hash = ?", &s, err);
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, hash);
  return db_step(ledger, s, used, err);
}

Status ledger_sign_in_insert(Ledger *ledger, const char *hash, int64_t now_us, int64_t expires_us, Error *err) {
  STATEMENT(tidy);
  STATEMENT(insert);
  bool row;
  int at = 1;
  Status status = db_statement(ledger, "DELETE FROM sign_in WHERE expires_us <= ?", &tidy, err);
  if (status != STATUS_OK)
    return status;
  db_bind_integer(tidy, &at, now_us);
  status = db_step(ledger, tidy, &row, err);
  if (status == STATUS_OK)
    status = db_statement(ledger, "INSERT INTO sign_in (hash, expires_us) VALUES (?, ?)", &insert, err);
  if (status != STATUS_OK)
    return status;
  at = 1;
  db_bind_text(insert, &at, hash);
  db_bind_integer(insert, &at, expires_us);
  return db_change(ledger, insert, "sign_in", "", err);
}

Status ledger_person_has_token(Ledger *ledger, const char *person, const char *token, bool *has, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT 1 FROM token WHERE name = ? AND person = ?", &s, err);
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, token);
  db_bind_text(s, &at, person);
  return db_step(ledger, s, has, err);
}

Status ledger_person_sessions_end(Ledger *ledger, const char *name, int64_t *count, Error *err) {
  STATEMENT(counted);
  STATEMENT(gone);
  bool row;
  int at = 1;
  Status status = db_statement(ledger, "SELECT count(*) FROM session WHERE name = ?", &counted, err);
  if (status != STATUS_OK)
    return status;
  db_bind_text(counted, &at, name);
  status = db_row(ledger, counted, err, "there is no count");
  if (status != STATUS_OK)
    return status;
  at = 0;
  *count = db_read_integer(counted, &at);
  status = db_statement(ledger, "DELETE FROM session WHERE name = ?", &gone, err);
  if (status != STATUS_OK)
    return status;
  at = 1;
  db_bind_text(gone, &at, name);
  return db_step(ledger, gone, &row, err);
}
