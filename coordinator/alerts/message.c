#include "coordinator/alerts/message.h"

#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/crypto/authority.h"

enum { TEXT_ALERTS = 20, SUBJECT_SIZE = 160, PAGER_SUMMARY = 1000 };

static const char *member(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

static bool is(const json_t *alert, const char *event) {
  return strcmp(member(alert, "event"), event) == 0;
}

static char *dumped(json_t *json) {
  char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
  json_decref(json);
  return text ? text : memory_strdup("{}");
}

/* "CRITICAL", "still CRITICAL", "resolved", "test" */
static const char *heading(const json_t *alert) {
  bool critical = strcmp(member(alert, "severity"), "critical") == 0;
  if (is(alert, "resolved"))
    return "resolved";
  if (is(alert, "test"))
    return "test";
  if (is(alert, "still_firing"))
    return critical ? "still CRITICAL" : "still WARNING";
  return critical ? "CRITICAL" : "WARNING";
}

void message_sign(const char *key, int64_t now_s, const char *body, size_t size, char out[SIGNATURE_TEXT]) {
  CLEANUP(buffer_release) Buffer text = {0};
  uint8_t mac[32];
  unsigned length = sizeof mac;
  buffer_append_format(&text, "%lld.", (long long)now_s);
  buffer_append(&text, body, size);
  memcpy(out, "v1=", 4);
  if (HMAC(EVP_sha256(), key, (int)strlen(key), text.data, text.size, mac, &length))
    text_hex(mac, sizeof mac, out + 3);
}

/* ---- the bodies ---- */

char *message_webhook(const AlertSettings *settings, const LedgerNotification *row) {
  char when[CLOCK_TEXT_SIZE];
  json_t *json = json_pack("{s:i, s:s, s:s, s:s, s:b, s:O}", "version", 1, "id", row->id, "route", row->route,
                           "created_at", clock_format(row->created_us, when), "test", row->test, "alerts", row->alerts);
  if (settings->link)
    json_object_set_new(json, "link", json_string(settings->link));
  return dumped(json);
}

/* What Slack and those that follow it take for markup or a mention is text. */
static void append_slack(Buffer *out, const char *text) {
  for (const char *p = text; *p; p++) {
    const char *escaped = *p == '&'   ? "&amp;"
                          : *p == '<' ? "&lt;"
                          : *p == '>' ? "&gt;"
                          : *p == '@' ? "@\xe2\x80\x8b"
                                      : NULL;
    if (escaped)
      buffer_append_text(out, escaped);
    else
      buffer_append_byte(out, (uint8_t)*p);
  }
}

char *message_slack(const AlertSettings *settings, const LedgerNotification *row) {
  CLEANUP(buffer_release) Buffer text = {0};
  size_t index;
  const json_t *alert;
  json_array_foreach(row->alerts, index, alert) {
    if (index == TEXT_ALERTS)
      break;
    buffer_append_format(&text, "%s*%s* ", index ? "\n" : "", heading(alert));
    append_slack(&text, member(alert, "summary"));
    if (*member(alert, "remedy") && !is(alert, "resolved")) {
      buffer_append_text(&text, "\n> ");
      append_slack(&text, member(alert, "remedy"));
    }
  }
  if (json_array_size(row->alerts) > TEXT_ALERTS)
    buffer_append_format(&text, "\n... and %zu more: pgseal alert list", json_array_size(row->alerts) - TEXT_ALERTS);
  if (settings->link)
    buffer_append_format(&text, "\n%s", settings->link);
  return dumped(json_pack("{s:s}", "text", buffer_text(&text)));
}

static json_t *teams_block(const char *text, bool bold, const char *color) {
  json_t *run = json_pack("{s:s, s:s}", "type", "TextRun", "text", text);
  if (bold)
    json_object_set_new(run, "weight", json_string("Bolder"));
  if (color)
    json_object_set_new(run, "color", json_string(color));
  return json_pack("{s:s, s:[o]}", "type", "RichTextBlock", "inlines", run);
}

/* An adaptive card of blocks that know no markup (RichTextBlock), as a workflow's webhook takes it. */
char *message_teams(const AlertSettings *settings, const LedgerNotification *row) {
  json_t *body = json_array();
  size_t index;
  const json_t *alert;
  json_array_foreach(row->alerts, index, alert) {
    if (index == TEXT_ALERTS)
      break;
    const char *color = is(alert, "resolved") || is(alert, "test")           ? "Good"
                        : strcmp(member(alert, "severity"), "critical") == 0 ? "Attention"
                                                                             : "Warning";
    json_array_append_new(body, teams_block(heading(alert), true, color));
    json_array_append_new(body, teams_block(member(alert, "summary"), false, NULL));
    if (*member(alert, "remedy") && !is(alert, "resolved"))
      json_array_append_new(body, teams_block(member(alert, "remedy"), false, NULL));
  }
  if (json_array_size(row->alerts) > TEXT_ALERTS)
    json_array_append_new(body, teams_block("... and more: pgseal alert list", false, NULL));
  json_t *card = json_pack("{s:s, s:s, s:s, s:o}", "type", "AdaptiveCard", "$schema",
                           "http://adaptivecards.io/schemas/adaptive-card.json", "version", "1.4", "body", body);
  if (settings->link)
    json_object_set_new(
        card, "actions",
        json_pack("[{s:s, s:s, s:s}]", "type", "Action.OpenUrl", "title", "Open pgseal", "url", settings->link));
  return dumped(json_pack("{s:s, s:[{s:s, s:o}]}", "type", "message", "attachments", "contentType",
                          "application/vnd.microsoft.card.adaptive", "content", card));
}

char *message_pagerduty(const AlertSettings *settings, const LedgerNotification *row, const char *routing_key) {
  const json_t *alert = json_array_get(row->alerts, 0);
  CLEANUP_FREE char *dedup = memory_format("pgseal/%.100s/%.100s", member(alert, "condition"), member(alert, "id"));
  char summary[PAGER_SUMMARY];
  text_clip(member(alert, "summary"), summary, sizeof summary);
  json_t *json = json_pack("{s:s, s:s, s:s}", "routing_key", routing_key, "event_action",
                           is(alert, "resolved") ? "resolve" : "trigger", "dedup_key", dedup);
  json_t *payload = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:O}", "summary", summary, "source",
                              *member(alert, "subject") ? member(alert, "subject") : "pgseal", "severity",
                              is(alert, "test")                                    ? "info"
                              : strcmp(member(alert, "severity"), "critical") == 0 ? "critical"
                                                                                   : "warning",
                              "timestamp", member(alert, "at"), "component", "pgseal", "class",
                              member(alert, "condition"), "custom_details", alert);
  json_object_set_new(json, "payload", payload);
  if (settings->link) {
    json_object_set_new(json, "client", json_string("pgseal"));
    json_object_set_new(json, "client_url", json_string(settings->link));
  }
  return dumped(json);
}

/* ---- a route's delivery ---- */

/* Without where it goes, which may be secret. */
static Delivery *delivery_new(const AlertRoute *route, const char *id) {
  Delivery *delivery = memory_alloc(sizeof *delivery);
  delivery->of = route;
  delivery->receiver = (DeliveryTo){.mail = route->kind == ROUTE_EMAIL,
                                    .unencrypted = route->unencrypted,
                                    .ca_file = route->ca_file,
                                    .from = route->from,
                                    .to = route->to,
                                    .to_count = route->to_count};
  snprintf(delivery->id, sizeof delivery->id, "%s", id);
  return delivery;
}

static Status sign(const AlertRoute *route, Delivery *delivery, int64_t now_s, Error *err) {
  CLEANUP(secret_text_free) char *key = NULL;
  char signature[SIGNATURE_TEXT] = "";
  Status status = alert_route_secret(route, route->key_file, &key, err);
  if (status != STATUS_OK)
    return status;
  message_sign(key, now_s, delivery->body, strlen(delivery->body), signature);
  delivery_header(delivery, memory_format("X-Pgseal-Delivery: %s", delivery->id));
  delivery_header(delivery, memory_format("X-Pgseal-Timestamp: %lld", (long long)now_s));
  delivery_header(delivery, memory_format("X-Pgseal-Signature: %s", signature));
  return STATUS_OK;
}

static Status take_user(const AlertRoute *route, Delivery *delivery, Error *err) {
  if (!route->user)
    return STATUS_OK;
  delivery->user = memory_strdup(route->user);
  return alert_route_secret(route, route->password_file, &delivery->password, err);
}

static Status fill(const AlertSettings *settings, const AlertRoute *route, const LedgerNotification *row, int64_t now_s,
                   Delivery *delivery, Error *err) {
  CLEANUP(secret_text_free) char *key = NULL;
  Status status = STATUS_OK;
  switch (route->kind) {
  case ROUTE_WEBHOOK:
    delivery->body = message_webhook(settings, row);
    status = sign(route, delivery, now_s, err);
    break;
  case ROUTE_SLACK:
    delivery->body = message_slack(settings, row);
    break;
  case ROUTE_TEAMS:
    delivery->body = message_teams(settings, row);
    break;
  case ROUTE_PAGERDUTY:
    status = alert_route_secret(route, route->key_file, &key, err);
    if (status == STATUS_OK)
      delivery->body = message_pagerduty(settings, row, key);
    break;
  case ROUTE_EMAIL:
    delivery->body = message_email(settings, route, row);
    status = take_user(route, delivery, err);
    break;
  case ROUTE_PING:
  case ROUTE_KIND_COUNT:
    break;
  }
  if (delivery->body)
    delivery->size = strlen(delivery->body);
  if (delivery->body && route->kind != ROUTE_EMAIL)
    delivery_header(delivery, memory_strdup("Content-Type: application/json"));
  return status;
}

Status delivery_make(const AlertSettings *settings, const AlertRoute *route, const LedgerNotification *row,
                     int64_t now_s, Delivery **out, Error *err) {
  CLEANUP(delivery_cleanup) Delivery *delivery = delivery_new(route, row ? row->id : "");
  Status status = alert_route_url(route, &delivery->url, err);
  if (status == STATUS_OK)
    status = fill(settings, route, row, now_s, delivery, err);
  if (status == STATUS_OK)
    *out = STEAL(delivery);
  return status;
}

Status delivery_letter(const AlertRoute *route, const char *id, char *body, size_t size, Delivery **out, Error *err) {
  CLEANUP(delivery_cleanup) Delivery *delivery = delivery_new(route, id);
  delivery->body = body;
  delivery->size = size;
  delivery->letter = true;
  Status status = alert_route_url(route, &delivery->url, err);
  if (status == STATUS_OK)
    status = take_user(route, delivery, err);
  if (status == STATUS_OK)
    *out = STEAL(delivery);
  return status;
}

/* ---- a summary ---- */

char *message_subject(const LedgerNotification *row) {
  size_t index, count = json_array_size(row->alerts), over = 0;
  const json_t *alert = json_array_get(row->alerts, 0);
  if (count == 1) {
    char summary[SUBJECT_SIZE];
    text_clip(member(alert, "summary"), summary, sizeof summary);
    return memory_format("[pgseal] %s: %s", heading(alert), summary);
  }
  json_array_foreach(row->alerts, index, alert) over += is(alert, "resolved");
  if (over == count)
    return memory_format("[pgseal] %zu alerts: all resolved", count);
  return over ? memory_format("[pgseal] %zu alerts: %zu firing, %zu resolved", count, count - over, over)
              : memory_format("[pgseal] %zu alerts firing", count);
}
