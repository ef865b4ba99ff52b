#include "coordinator/alerts/settings.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/base/text.h"
#include "common/config/yaml.h"
#include "common/crypto/authority.h"
#include "coordinator/config_schema.h"
#include "coordinator/delivery/url.h"

enum { SECRET_LIMIT = 4096, KEY_LEAST = 16, ADDRESS_LIMIT = 254 };

typedef struct RouteRule { /* what a kind of route needs, and what it may have */
  const char *name, *needed, *allowed;
} RouteRule;

static const RouteRule rules[ROUTE_KIND_COUNT] = {
    [ROUTE_WEBHOOK] = {"webhook", "key_file", "url url_file key_file ca_file unencrypted"},
    [ROUTE_SLACK] = {"slack", "url_file", "url_file ca_file unencrypted"},
    [ROUTE_TEAMS] = {"teams", "url_file", "url_file ca_file unencrypted"},
    [ROUTE_PAGERDUTY] = {"pagerduty", "key_file", "url key_file ca_file unencrypted"},
    [ROUTE_EMAIL] = {"email", "url from to", "url user password_file from to ca_file unencrypted"},
    [ROUTE_PING] = {"ping", "", "url url_file ca_file unencrypted every_seconds"},
};

const char *route_kind_name(RouteKind kind) {
  return (unsigned)kind < ROUTE_KIND_COUNT ? rules[kind].name : "unknown";
}

const AlertRoute *alert_route(const AlertSettings *settings, const char *name) {
  for (size_t i = 0; i < settings->route_count; i++)
    if (strcmp(settings->routes[i].name, name) == 0)
      return &settings->routes[i];
  return NULL;
}

/* ---- one route ---- */

static Status bad(const SettingsFrom *from, const RawAlertRoute *raw, const char *what, Error *err) {
  return config_error(err, from->path, "alerts: route %s: %s", raw->name, what);
}

static bool word_in(const char *words, const char *word) {
  size_t length = strlen(word);
  for (const char *at = words; (at = strstr(at, word)) != NULL; at += length)
    if ((at == words || at[-1] == ' ') && (!at[length] || at[length] == ' '))
      return true;
  return false;
}

static Status check_keys(const SettingsFrom *from, const RawAlertRoute *raw, const RouteRule *rule, Error *err) {
  const struct {
    const char *key;
    bool there;
  } keys[] = {{"url", raw->url},
              {"url_file", raw->url_file},
              {"key_file", raw->key_file},
              {"ca_file", raw->ca_file},
              {"user", raw->user},
              {"password_file", raw->password_file},
              {"from", raw->from},
              {"to", raw->to_count > 0},
              {"unencrypted", raw->unencrypted},
              {"every_seconds", raw->every_seconds}};
  for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
    if (keys[i].there && !word_in(rule->allowed, keys[i].key))
      return config_error(err, from->path, "alerts: route %s: %s is nothing that a route of type %s has", raw->name,
                          keys[i].key, rule->name);
    if (!keys[i].there && word_in(rule->needed, keys[i].key))
      return config_error(err, from->path, "alerts: route %s: %s is missing", raw->name, keys[i].key);
  }
  if (raw->url && raw->url_file)
    return bad(from, raw, "url and url_file are both given; one of them", err);
  if (!raw->url && !raw->url_file && word_in(rule->allowed, "url_file"))
    return bad(from, raw, "url or url_file is missing", err);
  if (!raw->user != !raw->password_file)
    return bad(from, raw, "user and password_file: both, or none", err);
  return STATUS_OK;
}

static bool address_valid(const char *text) {
  const char *at = strchr(text, '@');
  for (const char *p = text; *p; p++)
    if (*p <= ' ' || *p > '~' || strchr("<>()[],;:\\\"", *p))
      return false;
  return at && at > text && at[1] && !strchr(at + 1, '@') && strlen(text) <= ADDRESS_LIMIT;
}

static Status check_addresses(const SettingsFrom *from, const RawAlertRoute *raw, Error *err) {
  if (raw->from && !address_valid(raw->from))
    return bad(from, raw, "from is no e-mail address such as pgseal@example.com", err);
  for (unsigned i = 0; i < raw->to_count; i++)
    if (!address_valid(raw->to[i]))
      return bad(from, raw, "to has what is no e-mail address", err);
  return STATUS_OK;
}

static Status take_number(const SettingsFrom *from, const char *what, const int *value, int fallback, int low, int high,
                          int *out, Error *err) {
  *out = value ? *value : fallback;
  if (*out < low || *out > high)
    return config_error(err, from->path, "alerts: %s is %d; it must be between %d and %d", what, *out, low, high);
  return STATUS_OK;
}

static Status take_route(const SettingsFrom *from, const RawAlertRoute *raw, AlertSettings *settings, Error *err) {
  AlertRoute route = {.name = raw->name,
                      .kind = ROUTE_KIND_COUNT,
                      .url = raw->url,
                      .user = raw->user,
                      .from = raw->from,
                      .to = (const char **)raw->to,
                      .to_count = raw->to_count,
                      .unencrypted = raw->unencrypted};
  if (!text_name_valid(raw->name))
    return config_error(err, from->path,
                        "alerts: route name '%s' is not valid: 1 to 63 of a-z, 0-9, '.', '_', '-', "
                        "alphanumeric first",
                        raw->name);
  if (alert_route(settings, raw->name))
    return bad(from, raw, "it is there twice", err);
  for (int i = 0; i < ROUTE_KIND_COUNT; i++)
    if (strcmp(rules[i].name, raw->type) == 0)
      route.kind = (RouteKind)i;
  if (route.kind == ROUTE_KIND_COUNT)
    return bad(from, raw, "type must be webhook, slack, teams, pagerduty, email or ping", err);
  Status status = check_keys(from, raw, &rules[route.kind], err);
  if (status == STATUS_OK)
    status = check_addresses(from, raw, err);
  if (status == STATUS_OK)
    status = take_number(from, "every_seconds", raw->every_seconds, 60, 1, 86400, &route.every_seconds, err);
  if (status != STATUS_OK)
    return status;
  if (route.kind == ROUTE_PAGERDUTY && !route.url)
    route.url = "https://events.pagerduty.com/v2/enqueue";
  const char *problem =
      route.url ? delivery_url_problem(route.kind == ROUTE_EMAIL, route.url, route.unencrypted) : NULL;
  if (problem)
    return config_error(err, from->path, "alerts: route %s: url: %s", raw->name, problem);
  route.url_file = settings_path(from, raw->url_file);
  route.key_file = settings_path(from, raw->key_file);
  route.ca_file = settings_path(from, raw->ca_file);
  route.password_file = settings_path(from, raw->password_file);
  ARRAY_PUSH(settings->routes, settings->route_count, route);
  return STATUS_OK;
}

/* ---- all of it ---- */

static Status take_fallback(const SettingsFrom *from, const RawAlerts *raw, AlertSettings *out, Error *err) {
  out->fallback = (const char **)raw->fallback;
  out->fallback_count = raw->fallback_count;
  for (unsigned i = 0; i < raw->fallback_count; i++) {
    const AlertRoute *route = alert_route(out, raw->fallback[i]);
    if (!route || route->kind == ROUTE_PING)
      return config_error(err, from->path, "alerts: default: %s",
                          route ? "a ping is no route for alerts" : "it names a route that is not there");
  }
  return STATUS_OK;
}

Status alert_settings_take(const SettingsFrom *from, const struct RawAlerts *given, AlertSettings *out, Error *err) {
  static const RawAlerts none;
  const RawAlerts *raw = given ? given : &none;
  Status status = STATUS_OK;
  for (unsigned i = 0; status == STATUS_OK && i < raw->routes_count; i++)
    status = take_route(from, &raw->routes[i], out, err);
  if (status == STATUS_OK)
    status = take_fallback(from, raw, out, err);
  const char *problem = raw->link ? delivery_url_problem(false, raw->link, true) : NULL;
  if (status == STATUS_OK && problem)
    return config_error(err, from->path, "alerts: link: %s", problem);
  out->link = raw->link;
  out->accept_unlocked = (const char **)raw->accept_unlocked;
  out->accept_unlocked_count = raw->accept_unlocked_count;
  out->table_except = (const char **)raw->table_except;
  out->table_except_count = raw->table_except_count;
  const struct {
    const char *what;
    const int *value;
    int fallback, low, high, *out;
  } numbers[] = {{"group_seconds", raw->group_seconds, 10, 0, 3600, &out->group_seconds},
                 {"repeat_hours", raw->repeat_hours, 24, 0, 8760, &out->repeat_hours},
                 {"agent_lost_seconds", raw->agent_lost_seconds, 180, 1, 86400, &out->agent_lost_seconds},
                 {"errored_times", raw->errored_times, 2, 1, 5, &out->errored_times},
                 {"fallen_percent", raw->fallen_percent, 30, 1, 100, &out->fallen_percent},
                 {"slower_percent", raw->slower_percent, 100, 10, 10000, &out->slower_percent},
                 {"table_fallen_percent", raw->table_percent, 50, 1, 100, &out->table_percent},
                 {"table_fallen_rows", raw->table_rows, 1000, 1, INT_MAX, &out->table_rows},
                 {"disk_free_percent", raw->disk_free_percent, 10, 0, 90, &out->disk_free_percent}};
  for (size_t i = 0; status == STATUS_OK && i < ARRAY_SIZE(numbers); i++)
    status = take_number(from, numbers[i].what, numbers[i].value, numbers[i].fallback, numbers[i].low, numbers[i].high,
                         numbers[i].out, err);
  return status;
}

void alert_settings_release(AlertSettings *settings) {
  free(settings->routes);
  *settings = (AlertSettings){0};
}

/* ---- secrets ---- */

Status alert_route_secret(const AlertRoute *route, const char *path, char **out, Error *err) {
  CLEANUP(secret_text_free) char *text = NULL;
  Error cause;
  if (file_read_text(path, SECRET_LIMIT, &text, &cause) != STATUS_OK)
    return error_set(err, ERR_CONFIG, "alerts: route %s: %s", route->name, cause.message);
  if (!*text)
    return error_set(err, ERR_CONFIG, "alerts: route %s: %s is empty", route->name, path);
  for (const char *p = text; *p; p++)
    if ((unsigned char)*p < ' ' || *p == 127)
      return error_set(err, ERR_CONFIG, "alerts: route %s: %s has control characters, or more than one line",
                       route->name, path);
  if (route->kind == ROUTE_WEBHOOK && path == route->key_file && strlen(text) < KEY_LEAST)
    return error_set(err, ERR_CONFIG, "alerts: route %s: the key in %s has less than %d characters", route->name, path,
                     KEY_LEAST);
  *out = STEAL(text);
  return STATUS_OK;
}

Status alert_route_url(const AlertRoute *route, char **out, Error *err) {
  CLEANUP(secret_text_free) char *text = NULL;
  if (!route->url_file) {
    *out = memory_strdup(route->url);
    return STATUS_OK;
  }
  Status status = alert_route_secret(route, route->url_file, &text, err);
  const char *problem =
      status == STATUS_OK ? delivery_url_problem(route->kind == ROUTE_EMAIL, text, route->unencrypted) : NULL;
  if (problem)
    return error_set(err, ERR_CONFIG, "alerts: route %s: the URL in %s: %s", route->name, route->url_file, problem);
  if (status == STATUS_OK)
    *out = STEAL(text);
  return status;
}

Status alert_settings_check(const AlertSettings *settings, Error *err) {
  Status status = STATUS_OK;
  for (size_t i = 0; status == STATUS_OK && i < settings->route_count; i++) {
    const AlertRoute *route = &settings->routes[i];
    const char *const secrets[] = {route->key_file, route->password_file};
    CLEANUP(secret_text_free) char *url = NULL;
    status = alert_route_url(route, &url, err);
    for (size_t j = 0; status == STATUS_OK && j < ARRAY_SIZE(secrets); j++) {
      CLEANUP(secret_text_free) char *text = NULL;
      if (secrets[j])
        status = alert_route_secret(route, secrets[j], &text, err);
    }
    if (status == STATUS_OK && route->ca_file && !file_exists(route->ca_file))
      status = error_set(err, ERR_CONFIG, "alerts: route %s: there is no %s", route->name, route->ca_file);
  }
  return status;
}

static void warn_file(const AlertRoute *route, const char *path, void (*tell)(void *user, const char *text),
                      void *user) {
  struct stat found;
  if (!path || stat(path, &found) != 0 || (found.st_mode & (S_IRWXG | S_IRWXO)) == 0)
    return;
  CLEANUP_FREE char *text =
      memory_format("alerts: route %s: %s has mode %04o: what is secret in it should be its owner's alone (chmod 600)",
                    route->name, path, (unsigned)found.st_mode & 07777);
  tell(user, text);
}

void alert_settings_warn(const AlertSettings *settings, void (*tell)(void *user, const char *text), void *user) {
  for (size_t i = 0; i < settings->route_count; i++) {
    const AlertRoute *route = &settings->routes[i];
    warn_file(route, route->url_file, tell, user);
    warn_file(route, route->key_file, tell, user);
    warn_file(route, route->password_file, tell, user);
  }
}
