#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"

enum { DENIED_WINDOW_US = 10 * 1000 * 1000, DENIED_LOGGED = 20, DENIED_PATH = 200 };

/* The one table of who may do what. A route that names no reach is for tokens of all databases only. docs/openapi.yaml
 * documents each of these; tests/e2e/test_api.py checks that, and tests/unit/coordinator/api/test_roles.c each role. */
static const Route routes[] = {
    {"POST", "/api/checkpoint", ROLE_ASKS, checkpoint_create_waiting, REACH_SCOPE, 0},
    {"POST", "/api/v1/checkpoints", ROLE_ASKS, checkpoint_create, REACH_SCOPE, 0},
    {"GET", "/api/v1/checkpoints", ROLE_LOOKS, checkpoint_list, REACH_SCOPE, 0},
    {"GET", "/api/v1/checkpoints/{}", ROLE_LOOKS, checkpoint_show, REACH_SCOPE, 0},
    {"GET", "/api/v1/checkpoints/{}/tables", ROLE_LOOKS, checkpoint_tables, REACH_SCOPE, 0},
    {"GET", "/api/v1/checkpoints/{}/events", ROLE_LOOKS, events_checkpoint, REACH_SCOPE, 0},
    {"POST", "/api/v1/checkpoints/{}/drills", ROLE_OPERATES, checkpoint_drill, REACH_SCOPE, 0},
    {"POST", "/api/v1/checkpoints/{}/cancel", ROLE_OPERATES, checkpoint_cancel, REACH_SCOPE, 0},
    {"POST", "/api/v1/checkpoints/{}/pin", ROLE_OPERATES, checkpoint_pin, REACH_SCOPE, 0},
    {"POST", "/api/v1/checkpoints/{}/unpin", ROLE_OPERATES, checkpoint_unpin, REACH_SCOPE, 0},
    {"GET", "/api/v1/drills", ROLE_READS, drill_list, REACH_SCOPE, 0},
    {"POST", "/api/v1/plans", ROLE_ASKS, plan_create, REACH_SCOPE, 0},
    {"POST", "/api/v1/restores", ROLE_OPERATES, restore_create, REACH_SCOPE, 0},
    {"POST", "/api/v1/rehearsals", ROLE_ASKS, rehearsal_create, REACH_SCOPE, API_LARGE_LIMIT},
    {"GET", "/api/v1/jobs", ROLE_READS, jobs_list, REACH_SCOPE, 0},
    {"GET", "/api/v1/jobs/{}", ROLE_LOOKS, jobs_show, REACH_SCOPE, 0},
    {"POST", "/api/v1/jobs/{}/approve", ROLE_OPERATES, jobs_approve, REACH_SCOPE, 0},
    {"POST", "/api/v1/jobs/{}/cancel", ROLE_ASKS, jobs_cancel, REACH_SCOPE, 0},
    {"POST", "/api/v1/jobs/{}/tunnel", ROLE_ASKS, jobs_tunnel, REACH_SCOPE, API_LARGE_LIMIT},
    {"GET", "/api/v1/overview", ROLE_LOOKS, overview_show, REACH_SCOPE, 0},
    {"GET", "/api/v1/databases", ROLE_LOOKS, database_list, REACH_SCOPE, 0},
    {"GET", "/api/v1/databases/{}/retention", ROLE_READS, retention_show, REACH_SCOPE, 0},
    {"POST", "/api/v1/databases/{}/prune", ROLE_OPERATES, retention_create, REACH_SCOPE, 0},
    {"POST", "/api/v1/databases/{}/inventory", ROLE_ADMIN, inventory_create, REACH_SCOPE, 0},
    {"POST", "/api/v1/databases/{}/cordon", ROLE_OPERATES, database_cordon, REACH_SCOPE, 0},
    {"POST", "/api/v1/databases/{}/uncordon", ROLE_OPERATES, database_uncordon, REACH_SCOPE, 0},
    {"GET", "/api/v1/holds", ROLE_READS, hold_list, REACH_SCOPE, 0},
    {"POST", "/api/v1/fleet/pause", ROLE_OPERATES, fleet_pause, REACH_FLEET, 0},
    {"POST", "/api/v1/fleet/resume", ROLE_OPERATES, fleet_resume, REACH_FLEET, 0},
    {"POST", "/api/v1/agents/{}/drain", ROLE_OPERATES, agent_drain, REACH_FLEET, 0},
    {"POST", "/api/v1/agents/{}/undrain", ROLE_OPERATES, agent_undrain, REACH_FLEET, 0},
    {"GET", "/api/v1/alerts", ROLE_READS, alert_list, REACH_SCOPE, 0},
    {"POST", "/api/v1/alerts/test", ROLE_OPERATES, alert_test, REACH_FLEET, 0},
    {"POST", "/api/v1/alerts/acknowledge", ROLE_OPERATES, alert_acknowledge, REACH_SCOPE, 0},
    {"GET", "/api/v1/silences", ROLE_READS, silence_list, REACH_SCOPE, 0},
    {"POST", "/api/v1/silences", ROLE_OPERATES, silence_create, REACH_SCOPE, 0},
    {"DELETE", "/api/v1/silences/{}", ROLE_OPERATES, silence_end, REACH_SCOPE, 0},
    {"GET", "/api/v1/notifications/{}", ROLE_READS, notification_show, REACH_FLEET, 0},
    {"GET", "/api/v1/rotation", ROLE_READS, rotation_view, REACH_FLEET, 0},
    {"GET", "/api/v1/fleet", ROLE_READS, fleet_show, REACH_FLEET, 0},
    {"PUT", "/api/v1/fleet", ROLE_ADMIN, fleet_apply, REACH_FLEET, FLEET_TEXT_LIMIT},
    {"GET", "/api/v1/schedule", ROLE_READS, schedule_show, REACH_SCOPE, 0},
    {"GET", "/api/v1/reports", ROLE_READS, report_show, REACH_SCOPE, 0},
    {"GET", "/api/v1/reports/plans", ROLE_READS, report_plans, REACH_FLEET, 0},
    {"POST", "/api/v1/reports/send", ROLE_OPERATES, report_send, REACH_FLEET, 0},
    {"GET", "/api/v1/agents", ROLE_READS, agent_list, REACH_SCOPE, 0},
    {"POST", "/api/v1/agents", ROLE_ADMIN, agent_invite, REACH_FLEET, 0},
    {"DELETE", "/api/v1/agents/{}", ROLE_ADMIN, agent_revoke, REACH_FLEET, 0},
    {"POST", "/api/v1/enroll", ROLE_NONE, agent_enroll, REACH_SCOPE, 0},
    {"GET", "/api/v1/authority", ROLE_NONE, authority_show, REACH_SCOPE, 0},
    {"GET", "/api/v1/ledger", ROLE_READS, ledger_events, REACH_SCOPE, 0},
    {"GET", "/api/v1/ledger/verify", ROLE_READS, ledger_verify, REACH_FLEET, 0},
    {"GET", "/api/v1/events", ROLE_READS, events_all, REACH_SCOPE, 0},
    {"GET", "/api/v1/tokens", ROLE_ADMIN, token_list, REACH_FLEET, 0},
    {"POST", "/api/v1/tokens", ROLE_ADMIN, token_create, REACH_FLEET, 0},
    {"POST", "/api/v1/tokens/{}/rotate", ROLE_ADMIN, token_rotate, REACH_FLEET, 0},
    {"DELETE", "/api/v1/tokens/{}", ROLE_ADMIN, token_revoke, REACH_FLEET, 0},
    {"POST", "/api/v1/session", ROLE_NONE, session_create, REACH_SCOPE, 0},
    {"GET", "/api/v1/session", ROLE_LOOKS, session_show, REACH_SCOPE, 0},
    {"DELETE", "/api/v1/session", ROLE_LOOKS, session_end, REACH_SCOPE, 0},
    {"DELETE", "/api/v1/sessions/{}", ROLE_ADMIN, session_end_all, REACH_FLEET, 0},
    {"GET", "/api/v1/sign-in", ROLE_NONE, sign_in_show, REACH_SCOPE, 0},
    {"POST", "/api/v1/sign-in", ROLE_NONE, sign_in_begin, REACH_SCOPE, 0},
    {"GET", "/api/v1/sign-in/callback", ROLE_NONE, sign_in_finish, REACH_SCOPE, 0},
    {"GET", "/healthz", ROLE_NONE, health_alive, REACH_SCOPE, 0},
    {"GET", "/readyz", ROLE_NONE, health_ready, REACH_SCOPE, 0},
    {"GET", "/metrics", ROLE_READS, metrics_show, REACH_FLEET, 0},
    {"GET", "/ui/{}", ROLE_NONE, web_asset, REACH_SCOPE, 0},
    {"GET", "/", ROLE_NONE, web_home, REACH_SCOPE, 0},
};

const Route *router_routes(size_t *count) {
  *count = sizeof routes / sizeof *routes;
  return routes;
}

/* Does the path match? *arg: the part for "{}", still encoded as libmicrohttpd decoded it. */
static bool match(const char *pattern, const char *path, const char **arg, size_t *arg_size) {
  const char *hole = strstr(pattern, "{}");
  *arg = NULL;
  if (!hole)
    return strcmp(pattern, path) == 0;
  size_t head = (size_t)(hole - pattern), tail = strlen(hole + 2), length = strlen(path);
  if (length <= head + tail || strncmp(pattern, path, head) != 0 || strcmp(path + length - tail, hole + 2) != 0)
    return false;
  *arg = path + head;
  *arg_size = length - head - tail;
  return tail > 0 || !memchr(*arg, '/', *arg_size); /* a tag with a slash: ask for it by ?tag= */
}

static void allow(Request *request, const char *method) {
  size_t used = strlen(request->allow);
  snprintf(request->allow + used, sizeof request->allow - used, "%s%s%s", used ? ", " : "", method,
           strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

static enum MHD_Result refuse(Request *request, unsigned status, Status code, const char *message) {
  Error err;
  error_set(&err, code, "%s: %s %s", message, request->method, request->path);
  if (code != ERR_UNAVAILABLE)
    error_remedy(&err, "docs/openapi.yaml lists what there is.");
  return respond_error(request, status, &err, NULL);
}

static void too_many(const Request *request, const char *what, Error *err) {
  error_set(err, ERR_TOO_MANY, "too many %s from %s", what, request->address);
  error_remedy(err, "Wait %d second%s and ask again; `http_limits` in coordinator.yaml has the limits.",
               request->retry_after, request->retry_after == 1 ? "" : "s");
}

/* What was not allowed is logged, but not without bound: whoever is denied can ask again, as fast as he likes. */
void router_note_denied(Request *request, Error *err) {
  Api *api = request->api;
  int64_t now = clock_monotonic_us();
  if (now - api->denied_since_us > DENIED_WINDOW_US) {
    if (api->denied_left_out > 0) {
      CLEANUP_FREE char *count = memory_format("%d", api->denied_left_out);
      log_warn("more requests were denied than are logged", "count", count, NULL);
    }
    api->denied_since_us = now;
    api->denied_logged = api->denied_left_out = 0;
  }
  if (api->denied_logged < DENIED_LOGGED) {
    CLEANUP_FREE char *path = memory_strndup(request->path, DENIED_PATH);
    log_warn("denied", "address", request->address, "token", request->actor, "method", request->method, "path", path,
             "code", error_code(err->status), "reason", err->message, NULL);
    api->denied_logged++;
  } else {
    api->denied_left_out++;
  }
  bool failed = err->status == ERR_UNAUTHORIZED && request->peer;
  if (failed && !origin_may_fail(api, origin_find(api, &request->client), &request->retry_after))
    too_many(request, "failed authentications", err);
}

enum MHD_Result router_deny(Request *request, Error *err) {
  router_note_denied(request, err);
  return respond_failure(request, err);
}

/* Only whoever may take the route has a large one: what anybody could make this process keep is bounded. */
size_t router_body_limit(Request *request) {
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    const char *arg;
    size_t arg_size;
    Error ignored;
    if (routes[i].body_limit && strcmp(routes[i].method, request->method) == 0 &&
        match(routes[i].pattern, request->path, &arg, &arg_size) &&
        auth_check(request, &routes[i], &ignored) == STATUS_OK)
      return routes[i].body_limit;
  }
  return API_BODY_LIMIT;
}

/* Of who may take it: a session with the copy is as many requests as it has round trips. */
static bool is_tunnel(const Request *request) {
  static const char end[] = "/tunnel";
  size_t length = strlen(request->path), tail = sizeof end - 1;
  return request->body_limit > API_BODY_LIMIT && length > tail && strcmp(request->path + length - tail, end) == 0;
}

enum MHD_Result router_dispatch(Request *request) {
  if (request->api->closing) /* nothing may be left waiting */
    return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, ERR_UNAVAILABLE, "the coordinator is stopping");
  Error err;
  /* Whether the process lives is asked by those who would restart it. */
  if (request->peer && strcmp(request->path, "/healthz") != 0 && !is_tunnel(request) &&
      !origin_may_request(request->api, origin_find(request->api, &request->client), &request->retry_after)) {
    too_many(request, "requests", &err);
    return respond_failure(request, &err);
  }
  const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
  for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
    const char *arg;
    size_t arg_size = 0;
    if (!match(routes[i].pattern, request->path, &arg, &arg_size))
      continue;
    if (strcmp(routes[i].method, method) != 0) {
      allow(request, routes[i].method);
      continue;
    }
    request->allow[0] = 0;
    if (auth_check(request, &routes[i], &err) != STATUS_OK)
      return router_deny(request, &err);
    if (request->too_large) {
      error_set(&err, ERR_INVALID_ARGUMENT, "the body is larger than %zu KiB", request->body_limit >> 10);
      return respond_error(request, MHD_HTTP_CONTENT_TOO_LARGE, &err, NULL);
    }
    if (arg)
      request->arg = memory_strndup(arg, arg_size);
    return routes[i].handler(request);
  }
  return request->allow[0]
             ? refuse(request, MHD_HTTP_METHOD_NOT_ALLOWED, ERR_INVALID_ARGUMENT, "not a method of this path")
             : refuse(request, MHD_HTTP_NOT_FOUND, ERR_NOT_FOUND, "no such path");
}
