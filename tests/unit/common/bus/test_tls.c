/* The bus over TLS: who is admitted, who is not, certificates exchanged under way, and what hostile peers do to it. */
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

static Party make_agent(const Authority *authority, int64_t seconds) {
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

static Party make_coordinator(const Authority *authority, const char *name) {
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

static void free_party(Party *party) {
  free(party->key);
  free(party->certificate);
}

static void make_deployment(Deployment *d, const char *name) {
  Error err;
  CLEANUP_FREE char *key = memory_format("%s/%s-ca.key", directory, name);
  CLEANUP_FREE char *certificate = memory_format("%s/%s-ca.crt", directory, name);
  assert_int_equal(authority_generate(key, certificate, name, 10, &err), STATUS_OK);
  assert_int_equal(authority_load(certificate, key, &d->authority, &err), STATUS_OK);
  d->coordinator = make_coordinator(d->authority, name);
  d->agent = make_agent(d->authority, 3600);
  d->other = make_agent(d->authority, 3600);
}

static int group_setup(void **state) {
  (void)state;
  Error err;
  snprintf(directory, sizeof directory, "/tmp/pgseal-test-tls.XXXXXX");
  assert_non_null(mkdtemp(directory));
  make_deployment(&ours, "ours");
  make_deployment(&foreign, "foreign");
  return file_remove_tree(directory, &err) == STATUS_OK && mkdir(directory, 0700) == 0 ? 0 : 1;
}

static int group_teardown(void **state) {
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
  BusClient *clients[2];
  BusRequest *parked;
  size_t parked_count, served, served_bad, answered, failed;
  char last[64];
  uv_timer_t guard;
} Fixture;

static void on_guard(uv_timer_t *timer) {
  (void)timer;
  fail_msg("the test hangs");
}

static int free_port(void) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

/* 'p...' is parked (the newest of them), anything else is echoed. */
static void on_request(void *user, BusRequest *request, const uint8_t *data, size_t size) {
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

static void on_reply(void *user, const Error *err, const uint8_t *data, size_t size) {
  Fixture *f = user;
  if (err) {
    f->failed++;
    return;
  }
  f->answered++;
  snprintf(f->last, sizeof f->last, "%.*s", (int)(size < 63 ? size : 63), (const char *)data);
}

static void on_closed(void *user) {
  *(void **)user = NULL;
}

static BusTls tls_of(const Deployment *d, const Party *party, const char *revocations) {
  return (BusTls){authority_pem(d->authority), revocations, party->certificate, party->key, AUTHORITY_COORDINATOR_NAME};
}

static void open_server(Fixture *f, const Party *party) {
  Error err;
  BusTls tls = tls_of(&ours, party, NULL);
  if (bus_server_open(&f->loop, f->url, &tls, 8, on_request, f, &f->server, &err) != STATUS_OK)
    fail_msg("%s", err.message);
}

static void open_client(Fixture *f, size_t which, const BusTls *tls) {
  Error err;
  CLEANUP_FREE char *url = memory_format("tls+tcp://127.0.0.1:%d", f->port);
  const char *urls[] = {url};
  if (bus_client_open(&f->loop, urls, 1, tls, 500, &f->clients[which], &err) != STATUS_OK)
    fail_msg("%s", err.message);
}

static void close_client(Fixture *f, size_t which) {
  bus_client_close(f->clients[which], on_closed, &f->clients[which]);
  while (f->clients[which])
    uv_run(&f->loop, UV_RUN_ONCE);
}

static int setup(void **state) {
  Fixture *f = memory_alloc(sizeof *f);
  uv_loop_init(&f->loop);
  uv_timer_init(&f->loop, &f->guard);
  uv_timer_start(&f->guard, on_guard, 60000, 0);
  f->port = free_port();
  snprintf(f->url, sizeof f->url, "tls+tcp://127.0.0.1:%d", f->port);
  *state = f;
  return 0;
}

static int teardown(void **state) {
  Fixture *f = *state;
  for (size_t i = 0; i < 2; i++)
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

static void ask(Fixture *f, size_t which, const char *text, int timeout_ms) {
  bus_client_request(f->clients[which], text, strlen(text), timeout_ms, on_reply, f);
}

static void until(Fixture *f, const size_t *counter, size_t wanted) {
  while (*counter < wanted)
    uv_run(&f->loop, UV_RUN_ONCE);
}

static void test_mutual(void **state) {
  Fixture *f = *state;
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  open_server(f, &ours.coordinator);
  open_client(f, 0, &tls);
  ask(f, 0, "hello", 20000);
  until(f, &f->answered, 1);
  assert_string_equal(f->last, "hello");
}

/* Nobody gets through whose certificate is not ours, not valid any more, or not for this side. */
static void refused(Fixture *f, const BusTls *tls) {
  size_t before = f->failed;
  open_client(f, 0, tls);
  ask(f, 0, "x", 700);
  until(f, &f->failed, before + 1);
  assert_int_equal(f->served, 0);
  close_client(f, 0);
}

static void test_strangers_are_refused(void **state) {
  Fixture *f = *state;
  open_server(f, &ours.coordinator);
  BusTls stranger = tls_of(&foreign, &foreign.agent, NULL);
  stranger.authority = authority_pem(ours.authority); /* it trusts us, we do not trust it */
  refused(f, &stranger);
  Party old = make_agent(ours.authority, -60);
  BusTls expired = tls_of(&ours, &old, NULL);
  refused(f, &expired);
  free_party(&old);
  BusTls server_as_client = tls_of(&ours, &ours.coordinator, NULL);
  refused(f, &server_as_client);
}

static void test_no_one_plays_the_coordinator(void **state) {
  Fixture *f = *state;
  Error err;
  BusTls good = tls_of(&ours, &ours.agent, NULL);
  open_server(f, &ours.other); /* an agent's certificate: of our authority, but no coordinator's */
  refused(f, &good);
  BusTls theirs = tls_of(&foreign, &foreign.coordinator, NULL);
  assert_int_equal(bus_server_admit(f->server, &theirs, &err), STATUS_OK);
  refused(f, &good);
}

static void test_revoked_at_once(void **state) {
  Fixture *f = *state;
  Error err;
  BusTls bad = tls_of(&ours, &ours.agent, NULL), good = tls_of(&ours, &ours.other, NULL);
  open_server(f, &ours.coordinator);
  open_client(f, 0, &bad);
  open_client(f, 1, &good);
  ask(f, 0, "bad", 20000);
  ask(f, 1, "good", 20000);
  until(f, &f->answered, 2);
  ask(f, 1, "parked", 30000);
  until(f, &f->parked_count, 1);
  CLEANUP_FREE char *revocations = NULL;
  const char *serials[] = {ours.agent.serial};
  assert_int_equal(authority_revocations(ours.authority, serials, 1, &revocations, &err), STATUS_OK);
  BusTls server = tls_of(&ours, &ours.coordinator, revocations);
  assert_int_equal(bus_server_admit(f->server, &server, &err), STATUS_OK);
  until(f, &f->parked_count, 2); /* the good one came back by itself, its request too */
  ask(f, 0, "bad", 1500);
  until(f, &f->failed, 1);
  assert_int_equal(f->served_bad, 1); /* before */
  bus_request_reply(f->parked, "at last", 7);
  f->parked = NULL;
  until(f, &f->answered, 3);
  assert_string_equal(f->last, "at last");
}

static void test_rotation_under_way(void **state) {
  Fixture *f = *state;
  Error err;
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  open_server(f, &ours.coordinator);
  open_client(f, 0, &tls);
  ask(f, 0, "parked", 30000);
  until(f, &f->parked_count, 1);
  BusTls next = tls_of(&ours, &ours.other, NULL);
  assert_int_equal(bus_client_admit(f->clients[0], &next, &err), STATUS_OK);
  until(f, &f->parked_count, 2);
  Party renewed = make_coordinator(ours.authority, "renewed");
  BusTls server = tls_of(&ours, &renewed, NULL);
  assert_int_equal(bus_server_admit(f->server, &server, &err), STATUS_OK);
  assert_int_equal(bus_server_admit(f->server, &server, &err), STATUS_OK); /* again, before it listens again */
  free_party(&renewed);
  until(f, &f->parked_count, 3);
  bus_request_reply(f->parked, "kept", 4);
  f->parked = NULL;
  until(f, &f->answered, 1);
  assert_string_equal(f->last, "kept");
  BusTls broken = tls;
  broken.key = ours.coordinator.key; /* of another certificate */
  broken.certificate = "no certificate";
  assert_int_equal(bus_client_admit(f->clients[0], &broken, &err), ERR_KEY_UNREADABLE);
  ask(f, 0, "still", 20000);
  until(f, &f->answered, 2);
  CLEANUP_FREE char *key = memory_format("%s/renewed.key", directory);
  CLEANUP_FREE char *certificate = memory_format("%s/renewed.crt", directory);
  unlink(key);
  unlink(certificate);
}

/* ---- hostile peers ---- */

static int connect_to(const Fixture *f) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  address.sin_port = htons((uint16_t)f->port);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  if (fd >= 0)
    close(fd);
  return -1;
}

/* An unauthenticated peer that says `bytes`; waits until the server closes, or for a moment. */
static void say(const Fixture *f, const void *bytes, size_t size) {
  CLEANUP_CLOSE int fd = connect_to(f);
  assert_true(fd >= 0);
  assert_int_equal(
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_usec = 200000}, sizeof(struct timeval)), 0);
  char answer[512];
  (void)!send(fd, bytes, size, MSG_NOSIGNAL);
  while (recv(fd, answer, sizeof answer, 0) > 0)
    ;
}

static void test_garbage(void **state) {
  Fixture *f = *state;
  static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  static const uint8_t plain[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 1};
  static const uint8_t record[] = {0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xff, 3, 3};
  static const uint8_t alert[] = {0x15, 3, 3, 0, 2, 2, 40};
  uint8_t noise[4096];
  unsigned seed = 1;
  for (size_t i = 0; i < sizeof noise; i++)
    noise[i] = (uint8_t)((seed = seed * 1103515245 + 12345) >> 16);
  open_server(f, &ours.coordinator);
  for (size_t size = 0; size <= sizeof noise; size = size ? size * 4 : 1)
    say(f, noise, size);
  say(f, http, sizeof http - 1);
  say(f, plain, sizeof plain);
  say(f, record, sizeof record);
  say(f, alert, sizeof alert);
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  open_client(f, 0, &tls);
  ask(f, 0, "still here", 20000);
  until(f, &f->answered, 1);
  assert_int_equal(f->served, 1);
}

static int exchange(nng_stream *stream, nng_aio *aio, void (*how)(nng_stream *, nng_aio *), void *data, size_t size) {
  nng_iov iov = {data, size};
  assert_int_equal(nng_aio_set_iov(aio, 1, &iov), 0);
  how(stream, aio);
  nng_aio_wait(aio);
  return nng_aio_result(aio);
}

/* A peer that is admitted, and announces a message of 1 GB. */
static void test_huge_message_by_tls(void **state) {
  Fixture *f = *state;
  open_server(f, &ours.coordinator);
  Error err;
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  nng_tls_config *config;
  nng_stream_dialer *dialer;
  nng_aio *aio;
  assert_int_equal(bus_tls_config(&tls, NNG_TLS_MODE_CLIENT, &config, &err), STATUS_OK);
  assert_int_equal(nng_stream_dialer_alloc(&dialer, f->url), 0);
  assert_int_equal(nng_stream_dialer_set_ptr(dialer, NNG_OPT_TLS_CONFIG, config), 0);
  assert_int_equal(nng_aio_alloc(&aio, NULL, NULL), 0);
  nng_aio_set_timeout(aio, 10000);
  nng_stream_dialer_dial(dialer, aio);
  nng_aio_wait(aio);
  assert_int_equal(nng_aio_result(aio), 0);
  nng_stream *stream = nng_aio_get_output(aio, 0);
  static const uint8_t greeting[] = {0, 'S', 'P', 0, 0, 0x30, 0, 0};
  static const uint8_t gigabyte[] = {0, 0, 0, 0, 0x40, 0, 0, 0, 0x80, 0, 0, 1};
  uint8_t back[64];
  assert_int_equal(exchange(stream, aio, nng_stream_send, (void *)greeting, sizeof greeting), 0);
  assert_int_equal(exchange(stream, aio, nng_stream_recv, back, 8), 0); /* the server's own greeting */
  assert_int_equal(exchange(stream, aio, nng_stream_send, (void *)gigabyte, sizeof gigabyte), 0);
  int rc = exchange(stream, aio, nng_stream_recv, back, sizeof back);
  assert_true(rc != 0 && rc != NNG_ETIMEDOUT); /* cut */
  nng_stream_free(stream);
  nng_stream_dialer_free(dialer);
  nng_tls_config_free(config);
  nng_aio_free(aio);
  open_client(f, 0, &tls);
  ask(f, 0, "still here", 20000);
  until(f, &f->answered, 1);
  assert_int_equal(f->served, 1);
}

enum { IDLE = 400 };

static void test_idle_connections_starve_nobody(void **state) {
  Fixture *f = *state;
  int idle[IDLE];
  open_server(f, &ours.coordinator);
  for (int i = 0; i < IDLE; i++)
    assert_true((idle[i] = connect_to(f)) >= 0);
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  open_client(f, 0, &tls);
  ask(f, 0, "through", 20000);
  until(f, &f->answered, 1);
  for (int i = 0; i < IDLE; i++)
    close(idle[i]);
  ask(f, 0, "after", 20000);
  until(f, &f->answered, 2);
}

/* Who connects and does not get on is shut; who is admitted and silent, is not. */
static void test_silent_connections_are_shut(void **state) {
  Fixture *f = *state;
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  open_server(f, &ours.coordinator);
  open_client(f, 0, &tls);
  ask(f, 0, "parked", 50000); /* resent, should its connection be lost */
  until(f, &f->parked_count, 1);
  int silent[3];
  for (int i = 0; i < 3; i++)
    assert_true((silent[i] = connect_to(f)) >= 0);
  static const uint8_t begun[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
  assert_int_equal(send(silent[1], begun, sizeof begun, MSG_NOSIGNAL), sizeof begun);
  int64_t start = clock_monotonic_us();
  for (int i = 0; i < 3; i++) {
    char answer[64];
    ssize_t got = -1;
    while ((got = recv(silent[i], answer, sizeof answer, MSG_DONTWAIT)) != 0 && (got > 0 || errno == EAGAIN))
      uv_run(&f->loop, UV_RUN_ONCE);
    close(silent[i]);
  }
  int64_t took = clock_monotonic_us() - start;
  assert_true(took > 5 * 1000000LL && took < 40 * 1000000LL);
  bus_request_reply(f->parked, "still", 5);
  f->parked = NULL;
  until(f, &f->answered, 1);
}

static void test_needs_certificates(void **state) {
  Fixture *f = *state;
  Error err;
  const char *urls[] = {"tls+tcp://coordinator.example.org:8421"};
  assert_int_equal(bus_server_open(&f->loop, f->url, NULL, 1, on_request, f, &f->server, &err), ERR_CONFIG);
  assert_int_equal(bus_client_open(&f->loop, urls, 1, NULL, 500, &f->clients[0], &err), ERR_CONFIG);
  assert_non_null(strstr(err.remedy, "enroll"));
  BusTls broken = {.authority = "", .certificate = "", .key = "", .peer_name = "x"};
  assert_int_equal(bus_server_open(&f->loop, f->url, &broken, 1, on_request, f, &f->server, &err), ERR_KEY_UNREADABLE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_mutual, setup, teardown),
      cmocka_unit_test_setup_teardown(test_strangers_are_refused, setup, teardown),
      cmocka_unit_test_setup_teardown(test_no_one_plays_the_coordinator, setup, teardown),
      cmocka_unit_test_setup_teardown(test_revoked_at_once, setup, teardown),
      cmocka_unit_test_setup_teardown(test_rotation_under_way, setup, teardown),
      cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
      cmocka_unit_test_setup_teardown(test_huge_message_by_tls, setup, teardown),
      cmocka_unit_test_setup_teardown(test_idle_connections_starve_nobody, setup, teardown),
      cmocka_unit_test_setup_teardown(test_silent_connections_are_shut, setup, teardown),
      cmocka_unit_test_setup_teardown(test_needs_certificates, setup, teardown),
  };
  return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
