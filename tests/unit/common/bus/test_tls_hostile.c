/* What hostile peers do to the bus over TLS: garbage, silence, crowds. */
#include "tests/unit/common/bus/tls_support.h"

/* From 127.0.0.<last>. */
static int connect_from(const Fixture *f, uint8_t last) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, from = address;
  from.sin_addr.s_addr = htonl(0x7f000000u + last);
  address.sin_port = htons((uint16_t)f->port);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&from, sizeof from) == 0 &&
      connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  if (fd >= 0)
    close(fd);
  return -1;
}

static int connect_to(const Fixture *f) {
  return connect_from(f, 1);
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

static size_t count_open(const int *fds, size_t count) {
  size_t open = 0;
  for (size_t i = 0; i < count; i++) {
    char byte;
    open += recv(fds[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN;
  }
  return open;
}

/* Waits for the sweep after which so many are open. */
static void until_open(Fixture *f, const int *fds, size_t count, size_t wanted) {
  while (count_open(fds, count) != wanted)
    uv_run(&f->loop, UV_RUN_ONCE);
}

/* Without a handshake: so many of an address, so many in all, and the oldest give way. */
static void test_crowds_are_bounded(void **state) {
  Fixture *f = *state;
  int fds[16], *first = fds, *second = fds + 3, *third = fds + 10;
  open_server(f, &ours.coordinator);
  bus_server_limit(f->server, 5, 8);
  for (size_t i = 0; i < 3; i++)
    assert_true((first[i] = connect_from(f, 2)) >= 0);
  for (int64_t end = clock_monotonic_us() + 2500000; clock_monotonic_us() < end; uv_sleep(50))
    uv_run(&f->loop, UV_RUN_NOWAIT); /* their age is known */
  assert_int_equal(count_open(first, 3), 3);
  for (size_t i = 0; i < 7; i++)
    assert_true((second[i] = connect_from(f, 2)) >= 0);
  until_open(f, first, 3, 0); /* the oldest of their address */
  until_open(f, second, 7, 5);
  for (size_t i = 0; i < 6; i++)
    assert_true((third[i] = connect_from(f, (uint8_t)(3 + i))) >= 0);
  until_open(f, second, 7, 2); /* the oldest of all */
  assert_int_equal(count_open(third, 6), 6);
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  open_client(f, 0, &tls);
  ask(f, 0, "through", 20000);
  until(f, &f->answered, 1);
  for (size_t i = 0; i < 16; i++)
    close(fds[i]);
}

static void test_those_with_certificates_are_bounded(void **state) {
  Fixture *f = *state;
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  open_server(f, &ours.coordinator);
  bus_server_limit(f->server, 2, 8);
  for (size_t i = 0; i < 2; i++) {
    open_client(f, i, &tls);
    ask(f, i, "x", 20000);
    until(f, &f->answered, i + 1);
  }
  open_client(f, 2, &tls);
  ask(f, 2, "parked", 30000);
  until(f, &f->parked_count, 3); /* closed, and there again, and again */
  ask(f, 0, "x", 20000);
  ask(f, 1, "x", 20000);
  until(f, &f->answered, 4); /* those that were there are not touched */
  close_client(f, 0);        /* makes room */
  ask(f, 2, "x", 20000);
  until(f, &f->answered, 5);
  assert_int_equal(f->failed, 0);
  bus_request_reply(f->parked, "at last", 7);
  f->parked = NULL;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
      cmocka_unit_test_setup_teardown(test_huge_message_by_tls, setup, teardown),
      cmocka_unit_test_setup_teardown(test_idle_connections_starve_nobody, setup, teardown),
      cmocka_unit_test_setup_teardown(test_silent_connections_are_shut, setup, teardown),
      cmocka_unit_test_setup_teardown(test_crowds_are_bounded, setup, teardown),
      cmocka_unit_test_setup_teardown(test_those_with_certificates_are_bounded, setup, teardown),
  };
  return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
