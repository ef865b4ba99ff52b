/*
 * What coordinator.yaml says of alerts (`alerts:`): where they go, and when. Owned by the CoordinatorConfig, read-only
 * after load. Secrets, and URLs that hold one, are in files that are only named here: they are read whenever something
 * is sent, so that a new one holds at once, and never kept.
 */
#ifndef PGSEAL_COORDINATOR_ALERTS_SETTINGS_H
#define PGSEAL_COORDINATOR_ALERTS_SETTINGS_H

#include <stddef.h>

#include "common/base/error.h"
#include "coordinator/settings_from.h"

typedef enum RouteKind {
  ROUTE_WEBHOOK,
  ROUTE_SLACK,
  ROUTE_TEAMS,
  ROUTE_PAGERDUTY,
  ROUTE_EMAIL,
  ROUTE_PING, /* a dead man's switch: called while all is well here; no alerts go there */
  ROUTE_KIND_COUNT
} RouteKind;

typedef struct AlertRoute {
  const char *name;
  RouteKind kind;
  const char *url;                         /* or NULL: */
  const char *url_file;                    /* a path; or NULL */
  const char *key_file;                    /* webhook: of the HMAC; pagerduty: the routing key. A path, or NULL */
  const char *ca_file;                     /* whom it trusts; NULL: the system's */
  bool unencrypted;                        /* consents to http://, or to mail without TLS */
  const char *user, *password_file, *from; /* of e-mail; user NULL: none */
  const char **to;
  size_t to_count;
  int every_seconds; /* of a ping */
} AlertRoute;

typedef struct AlertSettings {
  AlertRoute *routes;
  size_t route_count;
  const char **fallback; /* `default`: routes of what no policy routes, and of what is of no database */
  size_t fallback_count;
  const char **accept_unlocked; /* globs of agents whose repository needs no lock */
  size_t accept_unlocked_count;
  const char *link;          /* in messages: where to look; or NULL */
  int group_seconds;         /* a message waits for more of its route; default 10 */
  int repeat_hours;          /* what still fires is told again; default 24; 0: never */
  int agent_lost_seconds;    /* default 180 */
  int errored_times;         /* in a row; default 2 */
  int fallen_percent;        /* of size or rows, since the checkpoint before; default 30 */
  int slower_percent;        /* than restores of it were before; default 100 */
  int disk_free_percent;     /* of a file system that an agent writes to; default 10; 0: nobody is told */
  int table_percent;         /* of a single table's rows; default 50 */
  int table_rows;            /* tables that had fewer are nobody's trouble; default 1000 */
  const char **table_except; /* globs of tables that may fall: "schema.name", or "database:schema.name" */
  size_t table_except_count;
} AlertSettings;

const char *route_kind_name(RouteKind kind);                                    /* "webhook", "slack", ... */
const AlertRoute *alert_route(const AlertSettings *settings, const char *name); /* NULL: there is none */

struct RawAlerts; /* config_schema.h */
/* raw NULL: the defaults. ERR_CONFIG. */
Status alert_settings_take(const SettingsFrom *from, const struct RawAlerts *raw, AlertSettings *out,
                           Error *err) MUST_CHECK;
void alert_settings_release(AlertSettings *settings);
/* Can the files be read, and is in them what can be used? ERR_CONFIG names the route. */
Status alert_settings_check(const AlertSettings *settings, Error *err) MUST_CHECK;
/* Told one by one: files with secrets that others may read. */
void alert_settings_warn(const AlertSettings *settings, void (*tell)(void *user, const char *text), void *user);

/* What a file holds, for sending: freed with secret_text_free. ERR_CONFIG names the route and the file's name, and
 * nothing of what is in it. */
Status alert_route_url(const AlertRoute *route, char **out, Error *err) MUST_CHECK;
Status alert_route_secret(const AlertRoute *route, const char *path, char **out, Error *err) MUST_CHECK;

#endif
