/* Two deployments, a server and clients over TLS. */
#ifndef PGSEAL_TESTS_UNIT_COMMON_BUS_TLS_SUPPORT_H
#define PGSEAL_TESTS_UNIT_COMMON_BUS_TLS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/bus/tls.h"
#include "common/crypto/authority.h"
#include "tests/unit/port.h"

/* nng 1.5.2 itself now and then loses memory of a connection that is closed while it is being made. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libnng.so\n";
}

typedef struct Party { /* a certificate and its key */
  char *certificate, *key;
  char serial[SERIAL_HEX_SIZE];
} Party;

typedef struct Deployment {
  Authority *authority;
  Party coordinator, agent, other;
} Deployment;

static char directory[64];
static Deployment ours, foreign;

static inline Party make_agent(const Authority *authority, int64_t seconds) {
  Party party = {0};
  char *request = NULL;
  Issued issued = {0};
  Error err;
  assert_int_equal(certificate_request("agent", &party.key, &request, &err), STATUS_OK);
  assert_int_equal(authority_issue_agent(authority, request, "agent", seconds, &issued, &err), STATUS_OK);
  party.certificate = issued.pem;
  memcpy(party.serial, issued.serial, sizeof party.serial);
  free(request);
  return party;
}

static inline Party make_coordinator(const Authority *authority, const char *name) {
  Party party = {0};
  Error err;
  const char *hosts[] = {"localhost", "127.0.0.1"};
  CLEANUP_FREE char *key = memory_format("%s/%s.key", directory, name);
  CLEANUP_FREE char *certificate = memory_format("%s/%s.crt", directory, name);
  assert_int_equal(authority_issue_coordinator(authority, key, certificate, hosts, 2, 10, &err), STATUS_OK);
  assert_int_equal(file_read_text(key, PEM_LIMIT, &party.key, &err), STATUS_OK);
  assert_int_equal(file_read_text(certificate, PEM_LIMIT, &party.certificate, &err), STATUS_OK);
  return party;
}

static inline void free_party(Party *party) {
  free(party->key);
  free(party->certificate);
}

static inline void make_deployment(Deployment *d, const char *name) {
  Error err;
  CLEANUP_FREE char *key = memory_format("%s/%s-ca.key", directory, name);
  CLEANUP_FREE char *certificate = memory_format("%s/%s-ca.crt", directory, name);
  assert_int_equal(authority_generate(key, certificate, name, 10, &err), STATUS_OK);
  assert_int_equal(authority_load(certificate, key, &d->authority, &err), STATUS_OK);
  d->coordinator = make_coordinator(d->authority, name);
  d->agent = make_agent(d->authority, 3600);
  d->other = make_agent(d->authority, 3600);
}

static inline int group_setup(void **state) {
  (void)state;
  Error err;
  snprintf(directory, sizeof directory, "/tmp/pgseal-test-tls.XXXXXX");
  assert_non_null(mkdtemp(directory));
  make_deployment(&ours, "ours");
  make_deployment(&foreign, "foreign");
  return file_remove_tree(directory, &err) == STATUS_OK && mkdir(directory, 0700) == 0 ? 0 : 1;
}

static inline int group_teardown(void **state) {
  (void)state;
  Deployment *all[] = {&ours, &foreign};
  for (size_t i = 0; i < 2; i++) {
    authority_free(all[i]->authority);
    free_party(&all[i]->coordinator);
    free_party(&all[i]->agent);
    free_party(&all[i]->other);
  }
  rmdir(directory);
  return 0;
}

typedef struct Fixture {
  uv_loop_t loop;
  int port;
  char url[64];
  BusServer *server;
  BusClient *clients[3];
  BusRequest *parked;
  size_t parked_count, served, served_bad, answered, failed;
  char last[64];
  uv_timer_t guard;
} Fixture;

static inline void on_guard(uv_timer_t *timer) {
  (void)timer;
  fail_msg("the test hangs");
}

/* 'p...' is parked (the newest of them), anything else is echoed. */
static inline void on_request(void *user, BusRequest *request, const uint8_t *data, size_t size) {
  Fixture *f = user;
  f->served++;
  f->served_bad += size > 0 && data[0] == 'b';
  if (size > 0 && data[0] == 'p') {
    if (f->parked)
      bus_request_drop(f->parked);
    f->parked = request;
    f->parked_count++;
  } else {
    bus_request_reply(request, data, size);
  }
}

static inline void on_reply(void *user, const Error *err, const uint8_t *data, size_t size) {
  Fixture *f = user;
  if (err) {
    f->failed++;
    return;
  }
  f->answered++;
  snprintf(f->last, sizeof f->last, "%.*s", (int)(size < 63 ? size : 63), (const char *)data);
}

static inline void on_closed(void *user) {
  *(void **)user = NULL;
}

static inline BusTls tls_of(const Deployment *d, const Party *party, const char *revocations) {
  return (BusTls){authority_pem(d->authority), revocations, party->certificate, party->key, AUTHORITY_COORDINATOR_NAME};
}

static inline void open_server(Fixture *f, const Party *party) {
  Error err;
  BusTls tls = tls_of(&ours, party, NULL);
  if (bus_server_open(&f->loop, f->url, &tls, 8, on_request, f, &f->server, &err) != STATUS_OK)
    fail_msg("%s", err.message);
}

static inline void open_client(Fixture *f, size_t which, const BusTls *tls) {
  Error err;
  CLEANUP_FREE char *url = memory_format("tls+tcp://127.0.0.1:%d", f->port);
  const char *urls[] = {url};
  if (bus_client_open(&f->loop, urls, 1, tls, 500, &f->clients[which], &err) != STATUS_OK)
    fail_msg("%s", err.message);
}

static inline void close_client(Fixture *f, size_t which) {
  bus_client_close(f->clients[which], on_closed, &f->clients[which]);
  while (f->clients[which])
    uv_run(&f->loop, UV_RUN_ONCE);
}

static inline int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  uv_loop_init(&f->loop);
  uv_timer_init(&f->loop, &f->guard);
  uv_timer_start(&f->guard, on_guard, 60000, 0);
  f->port = free_port();
  snprintf(f->url, sizeof f->url, "tls+tcp://127.0.0.1:%d", f->port);
  *state = f;
  return 0;
}

static inline int teardown(void **state) {
  Fixture *f = *state;
  for (size_t i = 0; i < 3; i++)
    if (f->clients[i])
      close_client(f, i);
  if (f->server)
    bus_server_close(f->server, on_closed, &f->server);
  while (f->server)
    uv_run(&f->loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&f->guard, NULL);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  int left = uv_loop_close(&f->loop);
  free(f);
  return left;
}

static inline void ask(Fixture *f, size_t which, const char *text, int timeout_ms) {
  bus_client_request(f->clients[which], text, strlen(text), timeout_ms, on_reply, f);
}

static inline void until(Fixture *f, const size_t *counter, size_t wanted) {
  while (*counter < wanted)
    uv_run(&f->loop, UV_RUN_ONCE);
}

#endif
