/* The client side: one nng context and one aio per open request; made for it, and freed on the loop when it ended. */
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/bus/address.h"
#include "common/bus/bus.h"
#include "common/bus/closing.h"
#include "common/bus/queue.h"
#include "common/bus/tls.h"

typedef struct Call {
  QueueItem item; /* first */
  BusClient *client;
  nng_ctx ctx;
  nng_aio *aio;
  bool sending;
  int timeout_ms;
  int64_t ends_us; /* monotonic */
  BusReplyCallback *callback;
  void *user;
  struct Call *previous, *next;
} Call;

enum { LOOK_MS = 250 };

struct BusClient {
  nng_socket socket;
  char **urls;
  size_t url_count, current;
  nng_tls_config *tls; /* NULL: no url wants it */
  nng_dialer dialer;   /* of the current url */
  bool dialed;
  BusDrops *drops;    /* those of the urls before */
  atomic_uint wanted; /* that dialer's number: others' connections are refused */
  atomic_uint pipe;   /* its connection, by nng's threads; 0: there is none */
  int64_t missed_us;  /* monotonic: since when there is none; 0: there is one, or it is not known yet */
  uv_timer_t look;    /* with more than one url */
  Queue queue;
  Call *calls;
  void (*closed)(void *user);
  void *closed_user;
};

static void on_aio(void *arg) {
  Call *call = arg;
  queue_push(&call->client->queue, &call->item);
}

static void unlink_call(Call *call) {
  if (call->previous)
    call->previous->next = call->next;
  else
    call->client->calls = call->next;
  if (call->next)
    call->next->previous = call->previous;
}

/* Ends a call: tells the user, exactly once, and frees it. rc 0: message is the reply. */
static void finish(Call *call, int rc, nng_msg *message) {
  unlink_call(call);
  nng_ctx_close(call->ctx);
  nng_aio_free(call->aio);
  if (rc == 0) {
    call->callback(call->user, NULL, nng_msg_body(message), nng_msg_len(message));
    nng_msg_free(message);
  } else {
    Error err;
    if (rc == NNG_ETIMEDOUT)
      error_set(&err, ERR_TIMEOUT, "no coordinator answered within %d s", call->timeout_ms / 1000);
    else if (rc == NNG_EMSGSIZE)
      error_set(&err, ERR_PROTOCOL, "a message of more than %d bytes is not sent", BUS_MESSAGE_LIMIT);
    else
      error_set(&err, ERR_UNAVAILABLE, "no coordinator can be reached: %s", nng_strerror(rc));
    call->callback(call->user, &err, NULL, 0);
  }
  free(call);
}

static void move_on(BusClient *client);

static void on_event(void *user, QueueItem *item) {
  (void)user;
  Call *call = (Call *)item;
  int rc = nng_aio_result(call->aio);
  if (call->sending && rc == 0) {
    call->sending = false;
    int64_t left_ms = (call->ends_us - clock_monotonic_us()) / 1000;
    nng_aio_set_timeout(call->aio, left_ms > 1 ? (nng_duration)left_ms : 1);
    nng_ctx_recv(call->ctx, call->aio);
    return;
  }
  nng_msg *message = nng_aio_get_msg(call->aio);
  if (call->sending && message) {
    nng_msg_free(message);
    message = NULL;
  }
  if (rc == NNG_ETIMEDOUT)
    move_on(call->client);
  finish(call, rc, message);
}

/* ---- dialing ---- */

/* A new connection to the current coordinator; the one there was is closed. */
static Status dial(BusClient *client, nng_tls_config *tls, Error *err) {
  nng_dialer dialer;
  const char *url = client->urls[client->current];
  int rc = nng_dialer_create(&dialer, client->socket, url);
  if (!rc) {
    unsigned before = atomic_exchange(&client->wanted, (unsigned)nng_dialer_id(dialer));
    rc = bus_address_secure(url) ? nng_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, tls) : 0;
    rc = rc ? rc : nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    if (rc) {
      atomic_store(&client->wanted, before);
      bus_drop_dialer(client->drops, dialer);
    }
  }
  if (rc)
    return error_set(err, ERR_UNAVAILABLE, "cannot dial the coordinator: %s", nng_strerror(rc));
  if (client->dialed)
    bus_drop_dialer(client->drops, client->dialer);
  client->dialer = dialer;
  client->dialed = true;
  client->missed_us = 0;
  return STATUS_OK;
}

Status bus_client_admit(BusClient *client, const BusTls *tls, Error *err) {
  nng_tls_config *config = NULL;
  bool secure = false;
  for (size_t i = 0; i < client->url_count; i++)
    secure = secure || bus_address_secure(client->urls[i]);
  Status status = secure ? bus_tls_config(tls, NNG_TLS_MODE_CLIENT, &config, err) : STATUS_OK;
  if (!status)
    status = dial(client, config, err);
  nng_tls_config *old = status ? config : client->tls;
  if (!status)
    client->tls = config;
  if (old)
    nng_tls_config_free(old);
  return status;
}

/* To the next coordinator. What is asked from now on is not asked of the old one, however long it takes to close. */
static void move_on(BusClient *client) {
  Error ignored; /* then the old one is dialed on, and this is tried again */
  nng_pipe pipe = {.id = atomic_load(&client->pipe)};
  if (client->url_count < 2)
    return;
  client->current = (client->current + 1) % client->url_count;
  if (dial(client, client->tls, &ignored))
    client->missed_us = 0;
  else
    nng_pipe_close(pipe);
}

static void on_look(uv_timer_t *timer) {
  BusClient *client = timer->data;
  int64_t now = clock_monotonic_us();
  if (atomic_load(&client->pipe))
    client->missed_us = 0;
  else if (!client->missed_us)
    client->missed_us = now;
  else if (now - client->missed_us >= BUS_PATIENCE_MS * 1000)
    move_on(client);
}

static void on_pipe(nng_pipe pipe, nng_pipe_ev event, void *arg) {
  BusClient *client = arg;
  unsigned id = pipe.id;
  if (event == NNG_PIPE_EV_REM_POST)
    atomic_compare_exchange_strong(&client->pipe, &id, 0);
  else if ((unsigned)nng_dialer_id(nng_pipe_dialer(pipe)) != atomic_load(&client->wanted))
    nng_pipe_close(pipe); /* it came while the dialer was being closed */
  else if (event == NNG_PIPE_EV_ADD_POST)
    atomic_store(&client->pipe, id);
}

static void free_client(BusClient *client) {
  for (size_t i = 0; i < client->url_count; i++)
    free(client->urls[i]);
  free(client->urls);
  if (client->tls)
    nng_tls_config_free(client->tls);
  free(client);
}

Status bus_client_open(uv_loop_t *loop, const char *const *urls, size_t url_count, const BusTls *tls, int resend_ms,
                       BusClient **out, Error *err) {
  for (size_t i = 0; i < url_count; i++) {
    Status status = bus_address_check(urls[i], err);
    if (status)
      return status;
  }
  BusClient *client = memory_alloc(sizeof *client);
  for (size_t i = 0; i < url_count; i++)
    ARRAY_PUSH(client->urls, client->url_count, memory_strdup(urls[i]));
  int rc = nng_req0_open(&client->socket);
  if (rc) {
    free_client(client);
    return error_set(err, ERR_UNAVAILABLE, "cannot open the bus: %s", nng_strerror(rc));
  }
  client->drops = bus_drops_new();
  nng_socket_set_size(client->socket, NNG_OPT_RECVMAXSZ, BUS_MESSAGE_LIMIT);
  nng_socket_set_ms(client->socket, NNG_OPT_REQ_RESENDTIME, resend_ms);
  nng_socket_set_ms(client->socket, NNG_OPT_RECONNMINT, 100);
  nng_socket_set_ms(client->socket, NNG_OPT_RECONNMAXT, 3000);
  nng_pipe_notify(client->socket, NNG_PIPE_EV_ADD_PRE, on_pipe, client);
  nng_pipe_notify(client->socket, NNG_PIPE_EV_ADD_POST, on_pipe, client);
  nng_pipe_notify(client->socket, NNG_PIPE_EV_REM_POST, on_pipe, client);
  Status status = bus_client_admit(client, tls, err);
  if (!status && queue_open(&client->queue, loop, on_event, client) != 0)
    status = error_set(err, ERR_INTERNAL, "the event loop takes no more");
  if (status) {
    bus_drops_end(client->drops);
    nng_close(client->socket);
    free_client(client);
    return status;
  }
  uv_timer_init(loop, &client->look);
  client->look.data = client;
  if (url_count > 1)
    uv_timer_start(&client->look, on_look, LOOK_MS, LOOK_MS);
  *out = client;
  return STATUS_OK;
}

void bus_client_request(BusClient *client, const void *data, size_t size, int timeout_ms, BusReplyCallback *callback,
                        void *user) {
  Call *call = memory_alloc(sizeof *call);
  *call = (Call){.client = client,
                 .timeout_ms = timeout_ms,
                 .ends_us = clock_monotonic_us() + (int64_t)timeout_ms * 1000,
                 .callback = callback,
                 .user = user,
                 .sending = true,
                 .next = client->calls};
  nng_msg *message = NULL;
  bool too_large = size > BUS_MESSAGE_LIMIT;
  if (nng_ctx_open(&call->ctx, client->socket) != 0 || nng_aio_alloc(&call->aio, on_aio, call) != 0 ||
      nng_msg_alloc(&message, 0) != 0 || (!too_large && nng_msg_append(message, data, size) != 0))
    abort(); /* out of memory, as in memory.h */
  if (client->calls)
    client->calls->previous = call;
  client->calls = call;
  nng_aio_set_timeout(call->aio, timeout_ms);
  nng_aio_set_msg(call->aio, message);
  if (!too_large)
    nng_ctx_send(call->ctx, call->aio);
  else if (nng_aio_begin(call->aio))
    nng_aio_finish(call->aio, NNG_EMSGSIZE); /* the server would refuse it, again and again */
}

static void on_closed(uv_handle_t *handle) {
  BusClient *client = ((Queue *)handle->data)->user;
  pthread_mutex_destroy(&client->queue.lock);
  if (client->closed)
    client->closed(client->closed_user);
  free_client(client);
}

static void on_socket_closed(void *user) {
  BusClient *client = user;
  queue_close(&client->queue, on_closed);
}

void bus_client_close(BusClient *client, void (*closed)(void *user), void *user) {
  client->closed = closed;
  client->closed_user = user;
  uv_close((uv_handle_t *)&client->look, NULL);
  nng_pipe_notify(client->socket, NNG_PIPE_EV_ADD_PRE, NULL, NULL);
  nng_pipe_notify(client->socket, NNG_PIPE_EV_ADD_POST, NULL, NULL);
  nng_pipe_notify(client->socket, NNG_PIPE_EV_REM_POST, NULL, NULL);
  while (client->calls) {
    Call *call = client->calls;
    nng_aio_stop(call->aio); /* after this nothing pushes it any more */
    queue_remove(&client->queue, &call->item);
    nng_msg *message = nng_aio_get_msg(call->aio);
    int rc = nng_aio_result(call->aio);
    if (message && (call->sending ? rc != 0 : rc == 0))
      nng_msg_free(message);
    finish(call, NNG_ECLOSED, NULL);
  }
  bus_close_socket(client->queue.async.loop, client->socket, client->drops, on_socket_closed, client);
}
