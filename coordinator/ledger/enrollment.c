/* Agents that join by invitation, their signing keys and certificates. */
#include "coordinator/ledger/db.h"

#include <stdlib.h>

#define COLUMNS                                                                                                        \
  "name, state, capabilities, databases, public_key, serial, token_hash, invited_us, token_expires_us, enrolled_us, "  \
  "issued_us, expires_us, revoked_us, spent_hash, request_sha256, certificate"

Status ledger_enrollment_put(Ledger *ledger, const LedgerEnrollment *row, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "INSERT INTO enrollment (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
      "ON CONFLICT (name) DO UPDATE SET state = excluded.state, capabilities = excluded.capabilities, "
      "databases = excluded.databases, public_key = excluded.public_key, serial = excluded.serial, "
      "token_hash = excluded.token_hash, invited_us = excluded.invited_us, "
      "token_expires_us = excluded.token_expires_us, enrolled_us = excluded.enrolled_us, "
      "issued_us = excluded.issued_us, expires_us = excluded.expires_us, revoked_us = excluded.revoked_us, "
      "spent_hash = excluded.spent_hash, request_sha256 = excluded.request_sha256, certificate = excluded.certificate";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, row->name);
  db_bind_text(s, &at, agent_state_name(row->state));
  db_bind_json(s, &at, row->capabilities);
  db_bind_json(s, &at, row->databases);
  db_bind_text(s, &at, row->public_key);
  db_bind_text(s, &at, row->serial);
  db_bind_text(s, &at, row->token_hash);
  db_bind_integer(s, &at, row->invited_us);
  db_bind_integer(s, &at, row->token_expires_us);
  db_bind_integer(s, &at, row->enrolled_us);
  db_bind_integer(s, &at, row->issued_us);
  db_bind_integer(s, &at, row->expires_us);
  db_bind_integer(s, &at, row->revoked_us);
  db_bind_text(s, &at, row->spent_hash);
  db_bind_text(s, &at, row->request_sha256);
  db_bind_text(s, &at, row->certificate);
  return db_change(ledger, s, "agent", row->name, err);
}

static void read_hash(DbStatement *s, int *at, char out[65]) {
  CLEANUP_FREE char *text = db_read_text(s, at);
  snprintf(out, 65, "%s", text ? text : "");
}

static Status read_row(DbStatement *s, LedgerEnrollment *out, Error *err) {
  int at = 0;
  LedgerEnrollment row = {.name = db_read_text(s, &at)};
  CLEANUP_FREE char *state = db_read_text(s, &at);
  row.capabilities = db_read_json(s, &at);
  row.databases = db_read_json(s, &at);
  row.public_key = db_read_text(s, &at);
  row.serial = db_read_text(s, &at);
  read_hash(s, &at, row.token_hash);
  row.invited_us = db_read_integer(s, &at);
  row.token_expires_us = db_read_integer(s, &at);
  row.enrolled_us = db_read_integer(s, &at);
  row.issued_us = db_read_integer(s, &at);
  row.expires_us = db_read_integer(s, &at);
  row.revoked_us = db_read_integer(s, &at);
  read_hash(s, &at, row.spent_hash);
  read_hash(s, &at, row.request_sha256);
  row.certificate = db_read_text(s, &at);
  if (!row.name || !state || !agent_state_from_name(state, &row.state) || !json_is_array(row.capabilities) ||
      !json_is_array(row.databases)) {
    error_set(err, ERR_CONFLICT, "the ledger's row of agent %s makes no sense", row.name ? row.name : "?");
    ledger_enrollment_release(&row);
    return err->status;
  }
  *out = row;
  return STATUS_OK;
}

Status ledger_enrollment_get(Ledger *ledger, const char *name, LedgerEnrollment *out, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT " COLUMNS " FROM enrollment WHERE name = ?", &s, err);
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, name);
  status = db_row(ledger, s, err, "the ledger has no agent %s", name);
  return status == STATUS_OK ? read_row(s, out, err) : status;
}

static void list_free(LedgerEnrollment *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    ledger_enrollment_release(&items[i]);
  free(items);
}

DB_LIST(read_rows, LedgerEnrollment, read_row, list_free);

Status ledger_enrollment_list(Ledger *ledger, LedgerEnrollment **items, size_t *count, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, "SELECT " COLUMNS " FROM enrollment ORDER BY name", &s, err);
  return status == STATUS_OK ? read_rows(ledger, s, items, count, err) : status;
}

Status ledger_certificate_insert(Ledger *ledger, const char *serial, const char *agent, int64_t expires_us,
                                 Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO certificate (serial, agent, expires_us, revoked_us) VALUES (?, ?, ?, 0)";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, serial);
  db_bind_text(s, &at, agent);
  db_bind_integer(s, &at, expires_us);
  return db_change(ledger, s, "certificate", serial, err);
}

static Status revoke_all(Ledger *ledger, const char *sql, const char *agent, int64_t now_us, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  db_bind_integer(s, &at, now_us);
  db_bind_text(s, &at, agent);
  return db_step(ledger, s, &row, err);
}

Status ledger_certificate_revoke(Ledger *ledger, const char *agent, int64_t now_us, Error *err) {
  static const char sql[] = "UPDATE certificate SET revoked_us = ? WHERE agent = ? AND revoked_us = 0";
  return revoke_all(ledger, sql, agent, now_us, err);
}

Status ledger_signing_key_insert(Ledger *ledger, const char *public_key, const char *agent, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO signing_key (public_key, agent, revoked_us) VALUES (?, ?, 0) "
                            "ON CONFLICT (public_key) DO UPDATE SET agent = excluded.agent "
                            "WHERE signing_key.agent = excluded.agent AND signing_key.revoked_us = 0";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, public_key);
  db_bind_text(s, &at, agent);
  status = db_change(ledger, s, "signing key", public_key, err);
  return status == ERR_NOT_FOUND ? error_set(err, ERR_CONFLICT, "a signing key is another agent's, or revoked")
                                 : status;
}

Status ledger_signing_key_revoke(Ledger *ledger, const char *agent, int64_t now_us, Error *err) {
  static const char sql[] = "UPDATE signing_key SET revoked_us = ? WHERE agent = ? AND revoked_us = 0";
  return revoke_all(ledger, sql, agent, now_us, err);
}

Status ledger_signing_key_get(Ledger *ledger, const char *public_key, char **agent, bool *revoked, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT agent, revoked_us FROM signing_key WHERE public_key = ?";
  Status status = db_statement(ledger, sql, &s, err);
  int at = 1;
  bool row = false;
  if (status == STATUS_OK) {
    db_bind_text(s, &at, public_key);
    status = db_step(ledger, s, &row, err);
  }
  if (status != STATUS_OK)
    return status;
  at = 0;
  *agent = row ? db_read_text(s, &at) : NULL;
  *revoked = row && db_read_integer(s, &at) != 0;
  return STATUS_OK;
}

void ledger_signing_key_list_free(LedgerSigningKey *items, size_t count) {
  for (size_t i = 0; i < count; i++) {
    free(items[i].public_key);
    free(items[i].agent);
  }
  free(items);
}

static Status read_key(DbStatement *s, LedgerSigningKey *out, Error *err) {
  (void)err;
  int at = 0;
  out->public_key = db_read_text(s, &at);
  out->agent = db_read_text(s, &at);
  out->revoked_us = db_read_integer(s, &at);
  return STATUS_OK;
}

DB_LIST(read_keys, LedgerSigningKey, read_key, ledger_signing_key_list_free);

Status ledger_signing_key_list(Ledger *ledger, LedgerSigningKey **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT public_key, agent, revoked_us FROM signing_key ORDER BY agent, public_key";
  Status status = db_statement(ledger, sql, &s, err);
  return status == STATUS_OK ? read_keys(ledger, s, items, count, err) : status;
}

static Status read_serial(DbStatement *s, char **out, Error *err) {
  (void)err;
  int at = 0;
  *out = db_read_text(s, &at);
  return STATUS_OK;
}

static void serials_free(char **items, size_t count) {
  for (size_t i = 0; i < count; i++)
    free(items[i]);
  free(items);
}

DB_LIST(read_serials, char *, read_serial, serials_free);

Status ledger_certificate_revoked(Ledger *ledger, int64_t now_us, char ***serials, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT serial FROM certificate WHERE revoked_us <> 0 AND expires_us > ? ORDER BY serial";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, now_us);
  return read_serials(ledger, s, serials, count, err);
}
