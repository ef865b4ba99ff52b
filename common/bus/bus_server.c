/*
 * The server side. One nng context and one aio per request that may be held at once. An aio's life:
 * RECEIVING (nng owns it) -> ready (in the queue) -> HELD (the user has the request) -> SENDING -> RECEIVING ...
 * nng's callback does nothing but push to the queue; all state is the loop's.
 *
 * A TLS configuration cannot be changed once it is in use: to admit others, the listener is closed, with its
 * connections, and another one opened. The port is free again a moment later (nng frees it on a thread of its own), so
 * that is tried until it works.
 */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/bus/address.h"
#include "common/bus/bus.h"
#include "common/bus/closing.h"
#include "common/bus/queue.h"
#include "common/bus/tls.h"
#include "common/bus/unproven.h"

enum { LISTEN_AGAIN_MS = 20, LISTEN_COMPLAIN = 500 };

typedef enum RequestState { RECEIVING, HELD, SENDING } RequestState;

struct BusRequest {
  QueueItem item; /* first: the queue hands out this */
  BusServer *server;
  nng_ctx ctx;
  nng_aio *aio;
  RequestState state;
  nng_pipe pipe; /* of the request that is held */
};

struct BusServer {
  uv_loop_t *loop;
  nng_socket socket;
  char *url;
  nng_listener listener;
  nng_tls_config *tls; /* NULL: plain */
  uv_timer_t again;    /* active: there is no listener, it is tried again */
  unsigned tries;
  Unproven *unproven; /* with tls */
  BusRequest *requests;
  size_t count;
  Queue queue;
  BusRequestCallback *callback;
  void *user;
  bool closing;
  void (*closed)(void *user);
  void *closed_user;
};

static void on_aio(void *arg) {
  BusRequest *request = arg;
  queue_push(&request->server->queue, &request->item);
}

static void receive(BusRequest *request) {
  request->state = RECEIVING;
  nng_ctx_recv(request->ctx, request->aio);
}

/* On the loop: an aio of nng's has ended. */
static void on_event(void *user, QueueItem *item) {
  BusServer *server = user;
  BusRequest *request = (BusRequest *)item;
  if (server->closing)
    return;
  int rc = nng_aio_result(request->aio);
  if (request->state == SENDING) {
    if (rc) /* the peer is gone; the message is still ours */
      nng_msg_free(nng_aio_get_msg(request->aio));
    receive(request);
    return;
  }
  if (rc) {
    if (rc != NNG_ECLOSED)
      receive(request);
    return;
  }
  nng_msg *message = nng_aio_get_msg(request->aio);
  nng_aio_set_msg(request->aio, NULL);
  request->state = HELD;
  request->pipe = nng_msg_get_pipe(message);
  server->callback(server->user, request, nng_msg_body(message), nng_msg_len(message));
  nng_msg_free(message);
}

static Status nng_failed(Error *err, const char *what, const char *url, int rc) {
  return error_set(err, ERR_UNAVAILABLE, "%s %s: %s", what, url, nng_strerror(rc));
}

static int open_requests(BusServer *server, size_t parallel) {
  server->requests = memory_alloc(parallel * sizeof *server->requests);
  for (size_t i = 0; i < parallel; i++) {
    BusRequest *request = &server->requests[i];
    request->server = server;
    int rc = nng_ctx_open(&request->ctx, server->socket);
    if (!rc)
      rc = nng_aio_alloc(&request->aio, on_aio, request);
    if (rc)
      return rc;
    server->count++;
  }
  return 0;
}

static int listen_on(BusServer *server) {
  int rc = nng_listener_create(&server->listener, server->socket, server->url);
  if (rc)
    return rc;
  if (server->tls)
    rc = nng_listener_set_ptr(server->listener, NNG_OPT_TLS_CONFIG, server->tls);
  if (!rc)
    rc = nng_listener_start(server->listener, 0);
  if (rc)
    nng_listener_close(server->listener);
  return rc;
}

static void free_server(BusServer *server) {
  if (server->tls)
    nng_tls_config_free(server->tls);
  free(server->requests);
  free(server->url);
  free(server);
}

static void on_again(uv_timer_t *timer) {
  BusServer *server = timer->data;
  int rc = listen_on(server);
  if (rc == 0) {
    uv_timer_stop(timer);
    return;
  }
  if (++server->tries % LISTEN_COMPLAIN == 0)
    log_error("cannot listen for agents; trying on", "url", server->url, "reason", nng_strerror(rc), NULL);
}

Status bus_server_admit(BusServer *server, const BusTls *tls, Error *err) {
  nng_tls_config *config = NULL;
  if (!server->tls) /* plain: nothing to do */
    return STATUS_OK;
  Status status = bus_tls_config(tls, NNG_TLS_MODE_SERVER, &config, err);
  if (status)
    return status;
  nng_tls_config_free(server->tls);
  server->tls = config;
  if (!uv_is_active((uv_handle_t *)&server->again))
    nng_listener_close(server->listener);
  server->tries = 0;
  uv_timer_start(&server->again, on_again, 0, LISTEN_AGAIN_MS);
  return STATUS_OK;
}

void bus_server_limit(BusServer *server, size_t of_address, size_t in_all) {
  if (server->unproven)
    unproven_limit(server->unproven, of_address, in_all);
}

Status bus_server_open(uv_loop_t *loop, const char *url, const BusTls *tls, size_t parallel,
                       BusRequestCallback *callback, void *user, BusServer **out, Error *err) {
  nng_tls_config *config = NULL;
  Status status = bus_address_check(url, err);
  if (!status && bus_address_secure(url))
    status = bus_tls_config(tls, NNG_TLS_MODE_SERVER, &config, err);
  if (status)
    return status;
  BusServer *server = memory_alloc(sizeof *server);
  *server = (BusServer){.loop = loop, .callback = callback, .user = user, .url = memory_strdup(url), .tls = config};
  int rc = nng_rep0_open(&server->socket);
  if (rc) {
    free_server(server);
    return nng_failed(err, "cannot open the bus", url, rc);
  }
  nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ, BUS_MESSAGE_LIMIT);
  rc = listen_on(server);
  if (!rc)
    rc = open_requests(server, parallel);
  if (!rc)
    rc = queue_open(&server->queue, loop, on_event, server) ? NNG_EINTERNAL : 0;
  if (rc) {
    nng_close(server->socket);
    for (size_t i = 0; i < server->count; i++)
      nng_aio_free(server->requests[i].aio);
    free_server(server);
    return nng_failed(err, "cannot listen for agents on", url, rc);
  }
  if (server->tls)
    server->unproven = unproven_open(loop, server->socket, (int)strtol(strrchr(url, ':') + 1, NULL, 10));
  uv_timer_init(loop, &server->again);
  server->again.data = server;
  for (size_t i = 0; i < parallel; i++)
    receive(&server->requests[i]);
  *out = server;
  return STATUS_OK;
}

void bus_request_reply(BusRequest *request, const void *data, size_t size) {
  nng_msg *message;
  if (request->server->closing || nng_msg_alloc(&message, 0) != 0) {
    bus_request_drop(request);
    return;
  }
  if (nng_msg_append(message, data, size) != 0) {
    nng_msg_free(message);
    bus_request_drop(request);
    return;
  }
  request->state = SENDING;
  nng_aio_set_msg(request->aio, message);
  nng_ctx_send(request->ctx, request->aio);
}

bool bus_request_alive(const BusRequest *request) {
  nng_sockaddr address; /* any option will do: a closed pipe has none */
  return !request->server->closing && nng_pipe_get_addr(request->pipe, NNG_OPT_REMADDR, &address) == 0;
}

void bus_request_drop(BusRequest *request) {
  if (!request->server->closing)
    receive(request); /* receiving anew discards the request that was held */
}

static void on_closed(uv_handle_t *handle) {
  BusServer *server = ((Queue *)handle->data)->user;
  pthread_mutex_destroy(&server->queue.lock);
  if (server->closed)
    server->closed(server->closed_user);
  free_server(server);
}

static void on_unproven_closed(uv_handle_t *handle) {
  BusServer *server = handle->data;
  unproven_free(server->unproven);
  queue_close(&server->queue, on_closed);
}

static void on_again_closed(uv_handle_t *handle) {
  BusServer *server = handle->data;
  if (server->unproven)
    unproven_close(server->unproven, on_unproven_closed, server);
  else
    queue_close(&server->queue, on_closed);
}

static void on_socket_closed(void *user) {
  uv_close((uv_handle_t *)&((BusServer *)user)->again, on_again_closed);
}

/* nng_aio_stop waits for the aio's callback: after it nothing of nng's can reach the queue. */
void bus_server_close(BusServer *server, void (*closed)(void *user), void *user) {
  server->closing = true;
  server->closed = closed;
  server->closed_user = user;
  uv_timer_stop(&server->again);
  if (server->unproven)
    unproven_stop(server->unproven);
  for (size_t i = 0; i < server->count; i++) {
    BusRequest *request = &server->requests[i];
    nng_aio_stop(request->aio);
    queue_remove(&server->queue, &request->item); /* where the aio's end has put it: the aio is freed now */
    nng_msg *message = request->state != HELD ? nng_aio_get_msg(request->aio) : NULL;
    if (message &&
        (request->state == RECEIVING ? nng_aio_result(request->aio) == 0 : nng_aio_result(request->aio) != 0))
      nng_msg_free(message);
    nng_ctx_close(request->ctx);
    nng_aio_free(request->aio);
  }
  bus_close_socket(server->loop, server->socket, NULL, on_socket_closed, server);
}
