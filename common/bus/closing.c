#include "common/bus/closing.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/memory.h"

enum { CLOSE_LIMIT_MS = 2000 };

struct BusDrops {
  pthread_mutex_t lock;
  pthread_cond_t none;
  int count; /* of threads */
};

typedef struct Drop {
  BusDrops *drops;
  nng_dialer dialer;
} Drop;

typedef struct Closing {
  nng_socket socket;
  BusDrops *drops; /* or NULL */
  uv_async_t async;
  uv_timer_t timer;
  pthread_mutex_t lock; /* over the two that follow */
  bool done, abandoned;
  atomic_int holders; /* the thread and the loop; the last one frees it */
  int handles;
  void (*closed)(void *user);
  void *user;
} Closing;

/* ---- dialers ---- */

BusDrops *bus_drops_new(void) {
  BusDrops *drops = memory_alloc(sizeof *drops);
  pthread_mutex_init(&drops->lock, NULL);
  pthread_cond_init(&drops->none, NULL);
  return drops;
}

static void *drop(void *arg) {
  Drop *it = arg;
  BusDrops *drops = it->drops;
  nng_dialer_close(it->dialer);
  free(it);
  pthread_mutex_lock(&drops->lock);
  if (--drops->count == 0)
    pthread_cond_signal(&drops->none);
  pthread_mutex_unlock(&drops->lock);
  return NULL;
}

void bus_drop_dialer(BusDrops *drops, nng_dialer dialer) {
  pthread_t thread;
  Drop *it = memory_alloc(sizeof *it);
  *it = (Drop){drops, dialer};
  pthread_mutex_lock(&drops->lock);
  drops->count++;
  pthread_mutex_unlock(&drops->lock);
  if (pthread_create(&thread, NULL, drop, it) == 0)
    pthread_detach(thread);
  else
    drop(it);
}

void bus_drops_end(BusDrops *drops) {
  pthread_mutex_lock(&drops->lock);
  while (drops->count > 0)
    pthread_cond_wait(&drops->none, &drops->lock);
  pthread_mutex_unlock(&drops->lock);
  pthread_cond_destroy(&drops->none);
  pthread_mutex_destroy(&drops->lock);
  free(drops);
}

/* ---- the socket ---- */

/* nng's exit handler waits for its threads, one of which hangs. */
static void leave_at_once(int status, void *unused) {
  (void)unused;
  fflush(NULL);
  _exit(status);
}

static void release(Closing *closing) {
  if (atomic_fetch_sub(&closing->holders, 1) > 1)
    return;
  pthread_mutex_destroy(&closing->lock);
  free(closing);
}

static void on_handle_closed(uv_handle_t *handle) {
  Closing *closing = handle->data;
  if (--closing->handles > 0)
    return;
  closing->closed(closing->user);
  release(closing);
}

static void finish(Closing *closing) {
  if (uv_is_closing((uv_handle_t *)&closing->timer))
    return;
  uv_close((uv_handle_t *)&closing->timer, on_handle_closed);
  uv_close((uv_handle_t *)&closing->async, on_handle_closed);
}

static void on_done(uv_async_t *async) {
  finish(async->data);
}

static void on_limit(uv_timer_t *timer) {
  Closing *closing = timer->data;
  pthread_mutex_lock(&closing->lock);
  bool abandoned = closing->abandoned = !closing->done;
  pthread_mutex_unlock(&closing->lock);
  if (abandoned) {
    log_debug("a connection that was being made does not close; it is left to the end of the process", NULL);
    on_exit(leave_at_once, NULL);
  }
  finish(closing);
}

static void *close_it(void *arg) {
  Closing *closing = arg;
  if (closing->drops)
    bus_drops_end(closing->drops);
  nng_close(closing->socket);
  pthread_mutex_lock(&closing->lock);
  closing->done = true;
  if (!closing->abandoned)
    uv_async_send(&closing->async);
  pthread_mutex_unlock(&closing->lock);
  release(closing);
  return NULL;
}

void bus_close_socket(uv_loop_t *loop, nng_socket socket, BusDrops *drops, void (*closed)(void *user), void *user) {
  Closing *closing = memory_alloc(sizeof *closing);
  *closing = (Closing){.socket = socket, .drops = drops, .holders = 2, .handles = 2, .closed = closed, .user = user};
  pthread_mutex_init(&closing->lock, NULL);
  uv_async_init(loop, &closing->async, on_done);
  uv_timer_init(loop, &closing->timer);
  closing->async.data = closing->timer.data = closing;
  uv_timer_start(&closing->timer, on_limit, CLOSE_LIMIT_MS, 0);
  pthread_t thread;
  if (pthread_create(&thread, NULL, close_it, closing) == 0)
    pthread_detach(thread);
  else
    close_it(closing);
}
