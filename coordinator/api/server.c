/* libmicrohttpd on the uv loop: its epoll descriptor is watched, its timeout is a timer, and it has no threads. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "coordinator/api/internal.h"
#include "common/crypto/signing.h"

enum {
  CONNECTION_SLACK = 64, /* those that were cut are still counted for a moment */
  IDLE_SECONDS = 30,
  MEMORY_PER_CONNECTION = 32 << 10,
  HEARTBEAT_MS = 15000,
  SWEEP_MS = 1000,
  DRAIN_MS = 2000,
  DRAIN_WAIT_MS = 10
};

static void on_timeout(uv_timer_t *timer);

/* A connection that is resumed from within MHD_run (one client's request ends what another waits for) may have missed
 * this round, and MHD_get_timeout does not know of it: there has to be another. */
static void run(Api *api) {
  MHD_UNSIGNED_LONG_LONG timeout = 0;
  api->resumed = false;
  MHD_run(api->daemon);
  if (api->resumed || MHD_get_timeout(api->daemon, &timeout) == MHD_YES)
    uv_timer_start(&api->timer, on_timeout, timeout, 0);
  else
    uv_timer_stop(&api->timer);
}

static void on_readable(uv_poll_t *poll, int status, int events) {
  (void)status, (void)events;
  run(poll->data);
}

static void on_timeout(uv_timer_t *timer) {
  run(timer->data);
}

static void on_heartbeat(uv_timer_t *timer) {
  events_heartbeat(timer->data);
}

static void on_sweep(uv_timer_t *timer) {
  tunnel_sweep(timer->data);
  peers_sweep(timer->data);
  certificate_watch(timer->data);
  reports_sweep(((Api *)timer->data)->reports);
}

void request_suspend(Request *request) {
  if (!request->suspended) {
    request->suspended = true;
    MHD_suspend_connection(request->connection);
  }
}

void request_resume(Request *request) {
  if (request->suspended) {
    request->suspended = false;
    MHD_resume_connection(request->connection);
    request->api->resumed = true;
    /* Not left to MHD's own wake-up: a resumed connection is served in the loop's next round. */
    uv_timer_start(&request->api->timer, on_timeout, 0, 0);
  }
}

static void link_request(Api *api, Request *request) {
  request->next = api->requests;
  api->requests = request;
}

static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
  (void)connection, (void)code;
  Api *api = user;
  Request *request = *state;
  if (!request)
    return;
  for (Request **at = &api->requests; *at; at = &(*at)->next)
    if (*at == request) {
      *at = request->next;
      break;
    }
  if (request->stream)
    request->stream->request = NULL;
  if (request->peer) {
    request->peer->request = NULL;
    peer_set(request->peer, PEER_READING);
  }
  sign_in_left(request);
  tables_left(request);
  buffer_release(&request->body);
  free(request->arg);
  free(request->waiting_for);
  free((char *)request->cookie);
  scope_release(&request->scope);
  free(request);
  *state = NULL;
}

static void note_address(Request *request) {
  const union MHD_ConnectionInfo *info =
      MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
  if (!info || !info->client_addr || !address_of(info->client_addr, &request->client))
    return;
  forwarded_client(request, &request->client);
  address_text(&request->client, request->address);
}

static enum MHD_Result serve(Request *request) {
  enum MHD_Result result = request->phase == PHASE_WAITING ? request->answer(request) : router_dispatch(request);
  if (request->peer)
    peer_set(request->peer, request->phase == PHASE_ANSWERED ? PEER_ANSWERING : PEER_LASTING);
  return result;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *data, size_t *size, void **state) {
  (void)version;
  Api *api = user;
  Request *request = *state;
  if (!request) {
    request = memory_alloc(sizeof *request);
    *request =
        (Request){.api = api, .connection = connection, .method = method, .path = url, .peer = peer_of(connection)};
    if (request->peer) {
      request->peer->request = request;
      peer_set(request->peer, PEER_READING); /* its body has a time of its own */
    }
    note_address(request);
    request->body_limit = router_body_limit(request);
    link_request(api, request);
    *state = request;
    return MHD_YES;
  }
  request->path = url;
  if (*size > 0) {
    /* What is too large is read to its end but not kept, so that the client sees the answer; within reason. */
    request->too_large |= request->body.size + *size > request->body_limit;
    if (!request->too_large)
      buffer_append(&request->body, data, *size);
    else
      request->discarded += *size;
    *size = 0;
    return request->discarded > API_BODY_PATIENCE ? MHD_NO : MHD_YES;
  }
  if (request->gone)
    return MHD_NO;
  if (request->phase == PHASE_WAITING)
    return request->finished ? serve(request) : (request_suspend(request), MHD_YES);
  return request->phase == PHASE_READING ? serve(request) : MHD_YES;
}

/* libmicrohttpd's own complaints (a client that broke off, ...) are for debugging. */
static void on_mhd_log(void *user, const char *format, va_list args) {
  (void)user;
  char line[512];
  vsnprintf(line, sizeof line, format, args);
  line[strcspn(line, "\n")] = 0;
  log_debug("http", "message", line, NULL);
}

static Status parse_address(const char *text, struct sockaddr_storage *out, Error *err) {
  char host[64];
  const char *colon = strrchr(text, ':');
  size_t length = colon ? (size_t)(colon - text) : 0;
  if (!colon || length >= sizeof host)
    return error_set(err, ERR_CONFIG, "http: %s is not ADDRESS:PORT", text);
  memcpy(host, text, length);
  host[length] = 0;
  uint16_t port = htons((uint16_t)strtol(colon + 1, NULL, 10));
  struct sockaddr_in *four = (struct sockaddr_in *)out;
  struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
  memset(out, 0, sizeof *out);
  if (inet_pton(AF_INET, host, &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = port;
    return STATUS_OK;
  }
  char *end = host + length - (length > 0);
  if (host[0] == '[' && *end == ']') {
    *end = 0;
    if (inet_pton(AF_INET6, host + 1, &six->sin6_addr) == 1) {
      six->sin6_family = AF_INET6;
      six->sin6_port = port;
      return STATUS_OK;
    }
  }
  return error_set(err, ERR_CONFIG, "http: %s is not an IP address and port, such as 127.0.0.1:8420", text);
}

/* A zero byte would end the text early, and "/healthz%00x" be taken for "/healthz": it becomes a character that nothing
 * is named with. */
static size_t on_unescape(void *user, struct MHD_Connection *connection, char *text) {
  (void)user, (void)connection;
  for (char *at = text; (at = strstr(at, "%00")); at += 3)
    at[2] = '1';
  return MHD_http_unescape(text);
}

static struct MHD_Daemon *start(Api *api) {
  unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                   (api->address.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0) | (api->credentials ? MHD_USE_TLS : 0);
  const struct MHD_OptionItem tls[] = {{MHD_OPTION_HTTPS_PRIORITIES, 0, (char *)TLS_PRIORITIES},
                                       {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)certificate_callback()},
                                       {MHD_OPTION_END, 0, NULL}};
  const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
  return MHD_start_daemon(flags, 0, peers_accept, api, on_request, api, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
                          MHD_OPTION_SOCK_ADDR, &api->address, MHD_OPTION_NOTIFY_COMPLETED, on_completed, api,
                          MHD_OPTION_NOTIFY_CONNECTION, peers_notify, api, MHD_OPTION_CONNECTION_LIMIT,
                          api->peer_limit + CONNECTION_SLACK, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_PER_CONNECTION,
                          MHD_OPTION_UNESCAPE_CALLBACK, on_unescape, NULL, MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u,
                          MHD_OPTION_ARRAY, api->credentials ? tls : none, MHD_OPTION_END);
}

Status api_open(uv_loop_t *loop, const CoordinatorConfig *config, Dispatch *dispatch, Ledger *ledger, Api **out,
                Error *err) {
  Api *api = memory_alloc(sizeof *api);
  *api = (Api){.loop = loop, .config = config, .dispatch = dispatch, .ledger = ledger};
  peers_open(api);
  Status status = auth_first_token(api, err);
  if (!status)
    status = parse_address(config->http, &api->address, err);
  if (!status)
    status = certificate_load(api, err);
  if (!status)
    status = reports_open(loop, config, dispatch, reports_made, api, &api->reports, err);
  if (!status && config->oidc.issuer)
    status = oidc_open(loop, &config->oidc, sign_in_ended, api, &api->oidc, err);
  if (!status && !(api->daemon = start(api)))
    status = error_set_errno(err, errno, "cannot listen for HTTP on %s", config->http);
  if (status) {
    if (status == ERR_IO) {
      err->status = status = ERR_UNAVAILABLE;
      error_remedy(err,
                   "Is another program, or another coordinator, using this port? `http` in coordinator.yaml names it.");
    }
    tls_release(api->credentials);
    reports_close(api->reports);
    if (api->oidc)
      oidc_close(api->oidc, NULL, NULL);
    origins_free(api);
    free(api);
    return status;
  }
  api->port = MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
  uv_poll_init(loop, &api->poll, MHD_get_daemon_info(api->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
  uv_timer_init(loop, &api->timer);
  uv_timer_init(loop, &api->heartbeat);
  uv_timer_init(loop, &api->sweep);
  api->poll.data = api->timer.data = api->heartbeat.data = api->sweep.data = api;
  uv_poll_start(&api->poll, UV_READABLE, on_readable);
  uv_timer_start(&api->heartbeat, on_heartbeat, HEARTBEAT_MS, HEARTBEAT_MS);
  uv_timer_start(&api->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
  events_observe(api);
  tunnel_observe(api);
  *out = api;
  return STATUS_OK;
}

Status api_check(const CoordinatorConfig *config, Error *err) {
  Credentials *credentials = NULL;
  SigningKey *signer = NULL;
  Status status = config->signing_key ? signing_key_load(config->signing_key, &signer, err) : STATUS_OK;
  signing_key_free(signer);
  if (status || !config->tls_certificate)
    return status;
  status = tls_load(config->tls_certificate, config->tls_key, &credentials, err);
  tls_release(credentials);
  return status;
}

void api_show_schedule(Api *api, Schedule *schedule) {
  api->schedule = schedule;
}

int api_port(const Api *api) {
  return api->port;
}

static void on_closed(void *user) {
  Api *api = user;
  if (--api->handles > 0)
    return;
  reports_close(api->reports);
  tls_release(api->credentials);
  origins_free(api);
  free(api);
}

static void on_handle_closed(uv_handle_t *handle) {
  on_closed(handle->data);
}

/* Every suspended connection is woken and answered (a suspended one may not be left to MHD_stop_daemon). */
void api_close(Api *api) {
  api->closing = true;
  tunnels_observe(dispatch_tunnels(api->dispatch), TUNNEL_CLIENT, NULL, NULL);
  MHD_socket listener = MHD_quiesce_daemon(api->daemon);
  for (Stream *stream = api->streams; stream; stream = stream->next)
    stream->ended = true;
  for (Request *request = api->requests; request; request = request->next) {
    request->finished = true;
    request_resume(request);
  }
  /* By the clock: a round may be over at once, with nothing sent, however many of them there are. */
  const int64_t until_us = clock_monotonic_us() + (int64_t)DRAIN_MS * 1000;
  while (api->requests && clock_monotonic_us() < until_us)
    MHD_run_wait(api->daemon, DRAIN_WAIT_MS);
  uv_poll_stop(&api->poll);
  MHD_stop_daemon(api->daemon);
  if (listener != MHD_INVALID_SOCKET)
    close(listener);
  api->handles = 4 + (api->oidc != NULL);
  if (api->oidc)
    oidc_close(api->oidc, on_closed, api);
  uv_close((uv_handle_t *)&api->poll, on_handle_closed);
  uv_close((uv_handle_t *)&api->timer, on_handle_closed);
  uv_close((uv_handle_t *)&api->heartbeat, on_handle_closed);
  uv_close((uv_handle_t *)&api->sweep, on_handle_closed);
}
