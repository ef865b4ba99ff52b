/* A server, or two, and a client over a real socket, on one loop. */
#ifndef PGSEAL_TESTS_UNIT_BUS_FIXTURE_H
#define PGSEAL_TESTS_UNIT_BUS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/bus/bus.h"
#include "tests/unit/port.h"

/* nng 1.5.2 itself now and then loses memory of a connection that is closed while it is being made. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libnng.so\n";
}

enum { PARKED_LIMIT = 64 };

typedef struct Fixture {
  uv_loop_t loop;
  char url[64];
  BusServer *server;
  BusClient *client;
  BusRequest *parked[PARKED_LIMIT]; /* what began with 'p' */
  size_t parked_count, served, drops;
  size_t answered, failed;
  Status last_failure;
  char last[64];
  size_t last_size;
  bool wrong_answer;
  uv_timer_t guard;
  struct Fixture *second; /* of a test that has two servers */
} Fixture;

static inline void on_guard(uv_timer_t *timer) {
  (void)timer;
  fail_msg("the test hangs");
}

/* 'p...' is parked, 'd...' is dropped twice and then echoed, anything else is echoed. */
static inline void on_request(void *user, BusRequest *request, const uint8_t *data, size_t size) {
  Fixture *f = user;
  f->served++;
  if (size > 0 && data[0] == 'p' && f->parked_count < PARKED_LIMIT) {
    f->parked[f->parked_count++] = request;
  } else if (size > 0 && data[0] == 'd' && f->drops < 2) {
    f->drops++;
    bus_request_drop(request);
  } else {
    bus_request_reply(request, data, size);
  }
}

static inline void on_reply(void *user, const Error *err, const uint8_t *data, size_t size) {
  Fixture *f = user;
  if (err) {
    f->failed++;
    f->last_failure = err->status;
    return;
  }
  f->answered++;
  f->last_size = size;
  snprintf(f->last, sizeof f->last, "%.*s", (int)(size < 63 ? size : 63), (const char *)data);
}

static inline void on_closed(void *user) {
  *(void **)user = NULL;
}

static inline void open_server(Fixture *f, size_t parallel) {
  Error err;
  int64_t until = clock_monotonic_us() + 5000000; /* a port that was closed just now may take a moment */
  while (bus_server_open(&f->loop, f->url, NULL, parallel, on_request, f, &f->server, &err) != STATUS_OK) {
    if (clock_monotonic_us() > until)
      fail_msg("%s", err.message);
    usleep(50000);
  }
}

static inline void open_client(Fixture *f, int resend_ms) {
  Error err;
  const char *urls[] = {f->url};
  assert_int_equal(bus_client_open(&f->loop, urls, 1, NULL, resend_ms, &f->client, &err), STATUS_OK);
}

static inline void close_server(Fixture *f) {
  bus_server_close(f->server, on_closed, &f->server);
  while (f->server)
    uv_run(&f->loop, UV_RUN_ONCE);
}

static inline void close_client(Fixture *f) {
  bus_client_close(f->client, on_closed, &f->client);
  while (f->client)
    uv_run(&f->loop, UV_RUN_ONCE);
}

static inline void close_beside(Fixture *f) {
  bus_server_close(f->second->server, on_closed, &f->second->server);
  while (f->second->server)
    uv_run(&f->loop, UV_RUN_ONCE);
}

static inline int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  uv_loop_init(&f->loop);
  uv_timer_init(&f->loop, &f->guard);
  uv_timer_start(&f->guard, on_guard, 30000, 0);
  snprintf(f->url, sizeof f->url, "tcp://127.0.0.1:%d", free_port());
  *state = f;
  return 0;
}

static inline int teardown(void **state) {
  Fixture *f = *state;
  if (f->client)
    close_client(f);
  if (f->server)
    close_server(f);
  if (f->second && f->second->server)
    close_beside(f);
  free(f->second);
  uv_close((uv_handle_t *)&f->guard, NULL);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  int left = uv_loop_close(&f->loop);
  free(f);
  return left;
}

static inline void ask(Fixture *f, const char *text, int timeout_ms) {
  bus_client_request(f->client, text, strlen(text), timeout_ms, on_reply, f);
}

static inline void until(Fixture *f, const size_t *counter, size_t wanted) {
  while (*counter < wanted)
    uv_run(&f->loop, UV_RUN_ONCE);
}

#endif
