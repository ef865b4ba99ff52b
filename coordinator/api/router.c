#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "coordinator/api/internal.h"

typedef struct Route {
  const char *method, *pattern; /* "{}" stands for one decoded part, which may hold anything */
  Role role;
  Handler *handler;
} Route;

/* docs/openapi.yaml documents each of these; tests/e2e/test_api.py checks that. */
static const Route routes[] = {
    {"POST", "/api/checkpoint", ROLE_CI, checkpoint_create_waiting},
    {"POST", "/api/v1/checkpoints", ROLE_CI, checkpoint_create},
    {"GET", "/api/v1/checkpoints", ROLE_CI, checkpoint_list},
    {"GET", "/api/v1/checkpoints/{}", ROLE_CI, checkpoint_show},
    {"GET", "/api/v1/checkpoints/{}/events", ROLE_CI, events_checkpoint},
    {"POST", "/api/v1/checkpoints/{}/drills", ROLE_CI, checkpoint_drill},
    {"POST", "/api/v1/checkpoints/{}/cancel", ROLE_ADMIN, checkpoint_cancel},
    {"GET", "/api/v1/drills", ROLE_CI, drill_list},
    {"GET", "/api/v1/databases", ROLE_CI, database_list},
    {"GET", "/api/v1/agents", ROLE_CI, agent_list},
    {"GET", "/api/v1/ledger", ROLE_CI, ledger_events},
    {"GET", "/api/v1/ledger/verify", ROLE_CI, ledger_verify},
    {"GET", "/api/v1/events", ROLE_CI, events_all},
    {"GET", "/api/v1/tokens", ROLE_ADMIN, token_list},
    {"POST", "/api/v1/tokens", ROLE_ADMIN, token_create},
    {"DELETE", "/api/v1/tokens/{}", ROLE_ADMIN, token_revoke},
    {"GET", "/healthz", ROLE_NONE, health_alive},
    {"GET", "/readyz", ROLE_NONE, health_ready},
    {"GET", "/metrics", ROLE_CI, health_metrics},
    {"GET", "/", ROLE_NONE, health_home},
};

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

enum MHD_Result router_dispatch(Request *request) {
  if (request->api->closing) /* nothing may be left waiting */
    return refuse(request, MHD_HTTP_SERVICE_UNAVAILABLE, ERR_UNAVAILABLE, "the coordinator is stopping");
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
    Error err;
    if (auth_check(request, routes[i].role, &err) != STATUS_OK)
      return respond_failure(request, &err);
    if (request->too_large) {
      error_set(&err, ERR_INVALID_ARGUMENT, "the body is larger than %d KiB", API_BODY_LIMIT >> 10);
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
