/* Agents that join by invitation, their signing keys and certificates. */
#include "coordinator/ledger/sqlite.h"

#include <stdlib.h>

#include "common/base/memory.h"

#define COLUMNS                                                                                                        \
  "name, state, capabilities, databases, public_key, serial, token_hash, invited_us, token_expires_us, enrolled_us, "  \
  "issued_us, expires_us, revoked_us, spent_hash, request_sha256, certificate"

Status sqlite_enrollment_put(void *backend, const LedgerEnrollment *row, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "INSERT INTO enrollment (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
      "ON CONFLICT (name) DO UPDATE SET state = excluded.state, capabilities = excluded.capabilities, "
      "databases = excluded.databases, public_key = excluded.public_key, serial = excluded.serial, "
      "token_hash = excluded.token_hash, invited_us = excluded.invited_us, "
      "token_expires_us = excluded.token_expires_us, enrolled_us = excluded.enrolled_us, "
      "issued_us = excluded.issued_us, expires_us = excluded.expires_us, revoked_us = excluded.revoked_us, "
      "spent_hash = excluded.spent_hash, request_sha256 = excluded.request_sha256, certificate = excluded.certificate";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, row->name);
  sqlite_bind_text(s, &at, agent_state_name(row->state));
  sqlite_bind_json(s, &at, row->capabilities);
  sqlite_bind_json(s, &at, row->databases);
  sqlite_bind_text(s, &at, row->public_key);
  sqlite_bind_text(s, &at, row->serial);
  sqlite_bind_text(s, &at, row->token_hash);
  sqlite_bind_integer(s, &at, row->invited_us);
  sqlite_bind_integer(s, &at, row->token_expires_us);
  sqlite_bind_integer(s, &at, row->enrolled_us);
  sqlite_bind_integer(s, &at, row->issued_us);
  sqlite_bind_integer(s, &at, row->expires_us);
  sqlite_bind_integer(s, &at, row->revoked_us);
  sqlite_bind_text(s, &at, row->spent_hash);
  sqlite_bind_text(s, &at, row->request_sha256);
  sqlite_bind_text(s, &at, row->certificate);
  return sqlite_change(backend, s, "agent", row->name, err);
}

static void read_hash(sqlite3_stmt *s, int *at, char out[65]) {
  CLEANUP_FREE char *text = sqlite_read_text(s, at);
  snprintf(out, 65, "%s", text ? text : "");
}

static Status read_row(sqlite3_stmt *s, LedgerEnrollment *out, Error *err) {
  int at = 0;
  LedgerEnrollment row = {.name = sqlite_read_text(s, &at)};
  CLEANUP_FREE char *state = sqlite_read_text(s, &at);
  row.capabilities = sqlite_read_json(s, &at);
  row.databases = sqlite_read_json(s, &at);
  row.public_key = sqlite_read_text(s, &at);
  row.serial = sqlite_read_text(s, &at);
  read_hash(s, &at, row.token_hash);
  row.invited_us = sqlite_read_integer(s, &at);
  row.token_expires_us = sqlite_read_integer(s, &at);
  row.enrolled_us = sqlite_read_integer(s, &at);
  row.issued_us = sqlite_read_integer(s, &at);
  row.expires_us = sqlite_read_integer(s, &at);
  row.revoked_us = sqlite_read_integer(s, &at);
  read_hash(s, &at, row.spent_hash);
  read_hash(s, &at, row.request_sha256);
  row.certificate = sqlite_read_text(s, &at);
  if (!row.name || !state || !agent_state_from_name(state, &row.state) || !json_is_array(row.capabilities) ||
      !json_is_array(row.databases)) {
    error_set(err, ERR_CONFLICT, "the ledger's row of agent %s makes no sense", row.name ? row.name : "?");
    ledger_enrollment_release(&row);
    return err->status;
  }
  *out = row;
  return STATUS_OK;
}

Status sqlite_enrollment_list(void *backend, LedgerEnrollment **items, size_t *count, Error *err) {
  STATEMENT(s);
  Status status = sqlite_statement(backend, "SELECT " COLUMNS " FROM enrollment ORDER BY name", &s, err);
  LedgerEnrollment *list = NULL;
  size_t used = 0;
  for (bool row = true; status == STATUS_OK;) {
    LedgerEnrollment next;
    status = sqlite_step(backend, s, &row, err);
    if (status == STATUS_OK && row)
      status = read_row(s, &next, err);
    if (status != STATUS_OK || !row)
      break;
    ARRAY_PUSH(list, used, next);
  }
  if (status != STATUS_OK) {
    for (size_t i = 0; i < used; i++)
      ledger_enrollment_release(&list[i]);
    free(list);
    return status;
  }
  *items = list;
  *count = used;
  return STATUS_OK;
}

Status sqlite_certificate_insert(void *backend, const char *serial, const char *agent, int64_t expires_us, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO certificate (serial, agent, expires_us, revoked_us) VALUES (?, ?, ?, 0)";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, serial);
  sqlite_bind_text(s, &at, agent);
  sqlite_bind_integer(s, &at, expires_us);
  return sqlite_change(backend, s, "certificate", serial, err);
}

static Status revoke_all(void *backend, const char *sql, const char *agent, int64_t now_us, Error *err) {
  STATEMENT(s);
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  bool row = false;
  sqlite_bind_integer(s, &at, now_us);
  sqlite_bind_text(s, &at, agent);
  return sqlite_step(backend, s, &row, err);
}

Status sqlite_certificate_revoke(void *backend, const char *agent, int64_t now_us, Error *err) {
  static const char sql[] = "UPDATE certificate SET revoked_us = ? WHERE agent = ? AND revoked_us = 0";
  return revoke_all(backend, sql, agent, now_us, err);
}

Status sqlite_signing_key_insert(void *backend, const char *public_key, const char *agent, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO signing_key (public_key, agent, revoked_us) VALUES (?, ?, 0) "
                            "ON CONFLICT (public_key) DO UPDATE SET agent = excluded.agent "
                            "WHERE agent = excluded.agent AND revoked_us = 0";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  sqlite_bind_text(s, &at, public_key);
  sqlite_bind_text(s, &at, agent);
  status = sqlite_change(backend, s, "signing key", public_key, err);
  return status == ERR_NOT_FOUND ? error_set(err, ERR_CONFLICT, "a signing key is another agent's, or revoked")
                                 : status;
}

Status sqlite_signing_key_revoke(void *backend, const char *agent, int64_t now_us, Error *err) {
  static const char sql[] = "UPDATE signing_key SET revoked_us = ? WHERE agent = ? AND revoked_us = 0";
  return revoke_all(backend, sql, agent, now_us, err);
}

Status sqlite_signing_key_get(void *backend, const char *public_key, char **agent, bool *revoked, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT agent, revoked_us FROM signing_key WHERE public_key = ?";
  Status status = sqlite_statement(backend, sql, &s, err);
  int at = 1;
  bool row = false;
  if (status == STATUS_OK) {
    sqlite_bind_text(s, &at, public_key);
    status = sqlite_step(backend, s, &row, err);
  }
  if (status != STATUS_OK)
    return status;
  at = 0;
  *agent = row ? sqlite_read_text(s, &at) : NULL;
  *revoked = row && sqlite_read_integer(s, &at) != 0;
  return STATUS_OK;
}

Status sqlite_certificate_revoked(void *backend, int64_t now_us, char ***serials, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT serial FROM certificate WHERE revoked_us <> 0 AND expires_us > ? ORDER BY serial";
  Status status = sqlite_statement(backend, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int bound = 1;
  sqlite_bind_integer(s, &bound, now_us);
  char **list = NULL;
  size_t used = 0;
  for (bool row = true; status == STATUS_OK;) {
    status = sqlite_step(backend, s, &row, err);
    if (status != STATUS_OK || !row)
      break;
    int at = 0;
    ARRAY_PUSH(list, used, sqlite_read_text(s, &at));
  }
  if (status != STATUS_OK) {
    for (size_t i = 0; i < used; i++)
      free(list[i]);
    free(list);
    return status;
  }
  *serials = list;
  *count = used;
  return STATUS_OK;
}
