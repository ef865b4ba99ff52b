/* Alerts, and the messages about them that are to be sent. */
#include "coordinator/ledger/db.h"

#include <stdlib.h>
#include <string.h>

#define ALERT                                                                                                          \
  "key, id, condition, subject, database, severity, state, since_us, fired_us, notified_us, resolved_us, summary, "    \
  "remedy, routes"
#define NOTIFICATION "id, route, state, test, attempts, created_us, not_before_us, ended_us, alerts, error"

/* ---- alerts ---- */

Status ledger_alert_put(Ledger *ledger, const LedgerAlert *alert, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "INSERT INTO alert (" ALERT ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET "
      "id = excluded.id, severity = excluded.severity, state = excluded.state, since_us = excluded.since_us, "
      "fired_us = excluded.fired_us, notified_us = excluded.notified_us, resolved_us = excluded.resolved_us, "
      "summary = excluded.summary, remedy = excluded.remedy, routes = excluded.routes";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, alert->key);
  db_bind_text(s, &at, alert->id);
  db_bind_text(s, &at, alert->condition);
  db_bind_text(s, &at, alert->subject);
  db_bind_text(s, &at, alert->database);
  db_bind_text(s, &at, alert->severity);
  db_bind_text(s, &at, alert_state_name(alert->state));
  db_bind_integer(s, &at, alert->since_us);
  db_bind_integer(s, &at, alert->fired_us);
  db_bind_integer(s, &at, alert->notified_us);
  db_bind_integer(s, &at, alert->resolved_us);
  db_bind_text(s, &at, alert->summary);
  db_bind_text(s, &at, alert->remedy);
  db_bind_json(s, &at, alert->routes);
  return db_change(ledger, s, "alert", alert->key, err);
}

static Status read_alert(DbStatement *s, LedgerAlert *out, Error *err) {
  (void)err;
  int at = 0;
  out->key = db_read_text(s, &at);
  out->id = db_read_text(s, &at);
  out->condition = db_read_text(s, &at);
  out->subject = db_read_text(s, &at);
  out->database = db_read_text(s, &at);
  out->severity = db_read_text(s, &at);
  CLEANUP_FREE char *state = db_read_text(s, &at);
  if (!state || !alert_state_from_name(state, &out->state))
    out->state = ALERT_RESOLVED; /* the table's CHECK does not let it be */
  out->since_us = db_read_integer(s, &at);
  out->fired_us = db_read_integer(s, &at);
  out->notified_us = db_read_integer(s, &at);
  out->resolved_us = db_read_integer(s, &at);
  out->summary = db_read_text(s, &at);
  out->remedy = db_read_text(s, &at);
  out->routes = db_read_json(s, &at);
  return STATUS_OK;
}

DB_LIST(read_alerts, LedgerAlert, read_alert, ledger_alert_list_free);

Status ledger_alert_list(Ledger *ledger, const char *scope, bool over, LedgerAlert **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] = "SELECT " ALERT " FROM alert WHERE in_scope(database, ?1) AND (?2 = 1 OR state <> "
                            "'resolved') ORDER BY severity, since_us DESC, key";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, scope);
  db_bind_integer(s, &at, over);
  return read_alerts(ledger, s, items, count, err);
}

void ledger_alert_release(LedgerAlert *alert) {
  char *texts[] = {alert->key,      alert->id,       alert->condition, alert->subject,
                   alert->database, alert->severity, alert->summary,   alert->remedy};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    free(texts[i]);
  json_decref(alert->routes);
  memset(alert, 0, sizeof *alert);
}

void ledger_alert_list_free(LedgerAlert *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    ledger_alert_release(&items[i]);
  free(items);
}

static Status run_with_text(Ledger *ledger, const char *sql, const char *text, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, sql, &s, err);
  int at = 1;
  bool row;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, text);
  return db_step(ledger, s, &row, err);
}

Status ledger_alert_remove(Ledger *ledger, const char *key, Error *err) {
  return run_with_text(ledger, "DELETE FROM alert WHERE key = ?", key, err);
}

/* ---- notifications ---- */

Status ledger_notification_put(Ledger *ledger, const LedgerNotification *row, Error *err) {
  STATEMENT(s);
  static const char sql[] = "INSERT INTO notification (" NOTIFICATION ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
                            "ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, "
                            "not_before_us = excluded.not_before_us, ended_us = excluded.ended_us, "
                            "alerts = excluded.alerts, error = excluded.error";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_text(s, &at, row->id);
  db_bind_text(s, &at, row->route);
  db_bind_text(s, &at, notification_state_name(row->state));
  db_bind_integer(s, &at, row->test);
  db_bind_integer(s, &at, row->attempts);
  db_bind_integer(s, &at, row->created_us);
  db_bind_integer(s, &at, row->not_before_us);
  db_bind_integer(s, &at, row->ended_us);
  db_bind_json(s, &at, row->alerts);
  db_bind_text(s, &at, row->error);
  return db_change(ledger, s, "notification", row->id, err);
}

static Status read_notification(DbStatement *s, LedgerNotification *out, Error *err) {
  (void)err;
  int at = 0;
  *out = (LedgerNotification){0};
  out->id = db_read_text(s, &at);
  out->route = db_read_text(s, &at);
  CLEANUP_FREE char *state = db_read_text(s, &at);
  if (!state || !notification_state_from_name(state, &out->state))
    out->state = NOTIFICATION_FAILED; /* the table's CHECK does not let it be */
  out->test = db_read_integer(s, &at) != 0;
  out->attempts = (int)db_read_integer(s, &at);
  out->created_us = db_read_integer(s, &at);
  out->not_before_us = db_read_integer(s, &at);
  out->ended_us = db_read_integer(s, &at);
  out->alerts = db_read_json(s, &at);
  out->error = db_read_text(s, &at);
  return STATUS_OK;
}

static Status read_one(Ledger *ledger, const char *sql, const char *text, const char *what, LedgerNotification *out,
                       Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, sql, &s, err);
  int at = 1;
  if (status != STATUS_OK)
    return status;
  db_bind_text(s, &at, text);
  status = db_row(ledger, s, err, "there is no notification %s %s", what, text);
  return status == STATUS_OK ? read_notification(s, out, err) : status;
}

Status ledger_notification_get(Ledger *ledger, const char *id, LedgerNotification *out, Error *err) {
  static const char sql[] = "SELECT " NOTIFICATION " FROM notification WHERE id = ?";
  return read_one(ledger, sql, id, "with the id", out, err);
}

Status ledger_notification_last(Ledger *ledger, const char *route, bool sent, LedgerNotification *out, Error *err) {
  static const char ended_sql[] = "SELECT " NOTIFICATION " FROM notification WHERE route = ? AND ended_us > 0 "
                                  "ORDER BY ended_us DESC, id DESC LIMIT 1";
  static const char sent_sql[] = "SELECT " NOTIFICATION " FROM notification WHERE route = ? AND state = 'sent' "
                                 "ORDER BY ended_us DESC, id DESC LIMIT 1";
  return read_one(ledger, sent ? sent_sql : ended_sql, route, "that has ended, of the route", out, err);
}

DB_LIST(read_notifications, LedgerNotification, read_notification, ledger_notification_list_free);

Status ledger_notification_due(Ledger *ledger, int limit, LedgerNotification **items, size_t *count, Error *err) {
  STATEMENT(s);
  static const char sql[] =
      "SELECT " NOTIFICATION " FROM notification WHERE state = 'due' ORDER BY created_us, id LIMIT ?";
  Status status = db_statement(ledger, sql, &s, err);
  if (status != STATUS_OK)
    return status;
  int at = 1;
  db_bind_integer(s, &at, limit);
  return read_notifications(ledger, s, items, count, err);
}

void ledger_notification_release(LedgerNotification *row) {
  free(row->id);
  free(row->route);
  free(row->error);
  json_decref(row->alerts);
  memset(row, 0, sizeof *row);
}

void ledger_notification_list_free(LedgerNotification *items, size_t count) {
  for (size_t i = 0; i < count; i++)
    ledger_notification_release(&items[i]);
  free(items);
}

Status ledger_notification_remove(Ledger *ledger, const char *id, Error *err) {
  return run_with_text(ledger, "DELETE FROM notification WHERE id = ?", id, err);
}

/* ---- what is over ---- */

static Status trim(Ledger *ledger, const char *sql, int64_t before_us, Error *err) {
  STATEMENT(s);
  Status status = db_statement(ledger, sql, &s, err);
  int at = 1;
  bool row;
  if (status != STATUS_OK)
    return status;
  db_bind_integer(s, &at, before_us);
  return db_step(ledger, s, &row, err);
}

Status ledger_alerts_trim(Ledger *ledger, int64_t before_us, Error *err) {
  Status status = trim(ledger, "DELETE FROM alert WHERE state = 'resolved' AND resolved_us < ?", before_us, err);
  if (status != STATUS_OK)
    return status;
  status = trim(ledger,
                "DELETE FROM silence WHERE ended_us + until_us > 0 AND CASE WHEN ended_us > 0 THEN ended_us "
                "ELSE until_us END < ?",
                before_us, err);
  if (status != STATUS_OK)
    return status;
  return trim(ledger, "DELETE FROM notification WHERE state <> 'due' AND ended_us < ?", before_us, err);
}
