/* How much of the API one client can take from others: connections that say nothing, requests that never end, storms.
 */
#include <sys/resource.h>

#include "tests/unit/coordinator/api/support.h"

#define HEALTH "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
#define DATABASES "GET /api/v1/databases HTTP/1.1\r\nHost: x\r\n" BEARER "\r\n"
#define WAITING                                                                                                        \
  "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER                                                                \
  "Content-Length: 32\r\n\r\n{\"database\": \"shop\", \"tag\": \"t\"}"

static bool is_open(Server *s, Client *client) {
  for (int i = 0; i < 5; i++)
    turn(s, client);
  return !client->closed;
}

static Origin *origin_of(Server *s, int last) {
  Address address;
  char text[NETWORK_TEXT_SIZE];
  int length = snprintf(text, sizeof text, "127.0.0.%d", last);
  assert_true(address_parse(text, (size_t)length, &address));
  return origin_find(s->api, &address);
}

/* ---- rates ---- */

static void test_too_many_requests(void **state) {
  Server *s = *state;
  s->f->config.http_requests_per_second = 2;
  for (int i = 0; i < 10; i++) /* five seconds' worth */
    ANSWERED(ask_from(s, 2, DATABASES), 200);
  origin_of(s, 2)->requests = 0; /* however long that took */
  ANSWER got = ask_from(s, 2, DATABASES);
  expect_refusal(&got, 429, "too_many");
  assert_non_null(header_of(&got, "\r\nRetry-After: 1\r\n"));
  assert_non_null(strstr(got.body, "127.0.0.2"));
  ANSWERED(ask_from(s, 2, HEALTH), 200);
  ANSWERED(ask_from(s, 3, DATABASES), 200);
  origin_of(s, 2)->filled_us -= 1000000;
  ANSWERED(ask_from(s, 2, DATABASES), 200);
  s->f->config.http_requests_per_second = 0;
  for (int i = 0; i < 30; i++)
    ANSWERED(ask_from(s, 2, DATABASES), 200);
}

static void test_too_many_failures(void **state) {
  Server *s = *state;
  static const char wrong[] = "GET /api/v1/databases HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\n\r\n";
  s->f->config.http_failures_per_minute = 6;
  for (int i = 0; i < 6; i++)
    REFUSED(ask_from(s, 2, wrong), 401, "unauthorized");
  origin_of(s, 2)->failures = 0;
  ANSWER got = ask_from(s, 2, wrong);
  expect_refusal(&got, 429, "too_many");
  assert_non_null(header_of(&got, "\r\nRetry-After: 10\r\n"));
  ANSWERED(ask_from(s, 2, DATABASES), 200); /* others behind the same address go on */
  REFUSED(ask_from(s, 3, wrong), 401, "unauthorized");
  origin_of(s, 2)->filled_us -= 11 * 1000000;
  REFUSED(ask_from(s, 2, wrong), 401, "unauthorized");
}

/* An invitation is a secret to guess, too. */
static void test_too_many_enrolments_that_fail(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *body = memory_format("{\"token\": \"pgseal_x\", \"request\": \"r\", \"public_key\": \"%064d\", "
                                          "\"signature\": \"%0128d\"}",
                                          1, 1);
  CLEANUP_FREE char *text =
      memory_format("POST /api/v1/enroll HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
  s->f->config.http_failures_per_minute = 6;
  for (int i = 0; i < 6; i++)
    REFUSED(ask_from(s, 2, text), 401, "unauthorized");
  origin_of(s, 2)->failures = 0;
  REFUSED(ask_from(s, 2, text), 429, "too_many");
  REFUSED(ask_from(s, 3, text), 401, "unauthorized");
}

static void test_origins_are_forgotten(void **state) {
  Server *s = *state;
  s->f->config.http_requests_per_second = 5;
  for (int last = 2; last < 30; last++)
    ANSWERED(ask_from(s, last, DATABASES), 200);
  settle(s, NULL);
  assert_true(s->api->origin_count >= 28);
  for (int last = 2; last < 30; last++)
    origin_of(s, last)->filled_us -= 1000000;
  origins_sweep(s->api);
  assert_int_equal(s->api->origin_count, 0);
  Address six, same;
  assert_true(address_parse("2001:db8:1:2:3:4:5:6", 20, &six) && address_parse("2001:db8:1:2:ffff::1", 20, &same));
  const Origin *first = origin_find(s->api, &six);
  assert_ptr_equal(first, origin_find(s->api, &same)); /* of one /64 */
  for (uint32_t i = 0; i < 40000; i++) {
    memcpy(&six.bytes[4], &i, sizeof i);
    origin_find(s->api, &six)->requests = 0;
  }
  assert_true(s->api->origin_count <= 16384);
}

/* ---- slowness ---- */

static void test_slow_requests_are_cut(void **state) {
  Server *s = *state;
  static const char head[] = "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER "Content-Length: 1000\r\n\r\n";
  CLIENT in_head = client_open(s), in_body = client_open(s), silent = client_open(s), waits = client_open(s);
  CLIENT kept = client_open(s), stream = client_open(s);
  static const char events[] = "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n" BEARER "\r\n";
  assert_true(client_send(s, &in_body, head, sizeof head - 1));
  assert_true(client_send(s, &waits, WAITING, strlen(WAITING)));
  assert_true(client_send(s, &stream, events, sizeof events - 1));
  assert_true(client_send(s, &kept, HEALTH, strlen(HEALTH)));
  ANSWER health = client_answer(s, &kept, false);
  assert_int_equal(health.status, 200);
  uv_timer_stop(&s->api->sweep); /* only the test sweeps: else all of it may happen before the limit is looked at */
  peers_sweep(s->api);
  assert_true(is_open(s, &in_head) && is_open(s, &in_body) && is_open(s, &silent) && is_open(s, &kept));
  s->api->read_limit_us = 100000;
  int64_t end = clock_monotonic_us() + 150000;
  while (clock_monotonic_us() < end) { /* both are busy all the time */
    assert_true(client_send(s, &in_head, "G", 1) && client_send(s, &in_body, "{", 1));
    settle(s, NULL);
  }
  peers_sweep(s->api);
  assert_false(is_open(s, &in_head) || is_open(s, &in_body) || is_open(s, &silent) || is_open(s, &kept));
  assert_true(is_open(s, &waits) && is_open(s, &stream));
  assert_int_equal(s->api->peer_count, 2);
}

static void test_slow_readers_are_cut(void **state) {
  Server *s = *state;
  for (int i = 0; i < 60; i++)
    free(request(s->f, "shop", "t"));
  static const char list[] = "GET /api/v1/ledger?limit=1000 HTTP/1.1\r\nHost: x\r\n" BEARER "\r\n";
  CLIENT slow = client_open(s);
  int small = 1024;
  setsockopt(slow.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  CLEANUP(buffer_release) Buffer many = {0};
  for (int i = 0; i < 400; i++)
    buffer_append_text(&many, list);
  send(slow.fd, many.data, many.size, MSG_DONTWAIT | MSG_NOSIGNAL);
  settle(s, NULL);
  assert_int_equal(s->api->newest->state, PEER_ANSWERING);
  peers_sweep(s->api);
  settle(s, NULL);
  assert_int_equal(s->api->peer_count, 1);
  s->api->answer_limit_us = 1;
  peers_sweep(s->api);
  settle(s, NULL);
  assert_int_equal(s->api->peer_count, 0);
}

/* libmicrohttpd does not see a FIN that comes with the data, nor one of who waits. */
static void test_those_who_left(void **state) {
  Server *s = *state;
  static const char *const said[] = {"", "GET /hea", "POST /api/checkpoint HTTP/1.1\r\nContent-Length: 9\r\n\r\n{",
                                     WAITING, "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n" BEARER "\r\n"};
  for (size_t i = 0; i < ARRAY_SIZE(said); i++) {
    Client client = client_open(s);
    send(client.fd, said[i], strlen(said[i]), MSG_NOSIGNAL);
    client_close(&client);
    settle(s, NULL);
    peers_sweep(s->api);
    settle(s, NULL);
    peers_sweep(s->api);
    settle(s, NULL);
    assert_int_equal(s->api->peer_count, 0);
    assert_null(s->api->requests);
    assert_null(s->api->streams);
  }
  ANSWER list = ask(s, "GET", "/api/v1/checkpoints", NULL); /* who leaves cancels nothing */
  const json_t *checkpoints = json_object_get(list.json, "checkpoints");
  assert_int_equal(json_array_size(checkpoints), 1);
  assert_string_equal(text_of(json_array_get(checkpoints, 0), "state"), "requested");
}

/* ---- crowds ---- */

enum { CROWD = 2000 };

static void test_idle_ones_give_way(void **state) {
  Server *s = *state;
  static Client crowd[CROWD];
  const struct rlimit files = {.rlim_cur = 2 * CROWD + 500, .rlim_max = 2 * CROWD + 500};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0)
    fail_msg("this test wants %ld files", (long)files.rlim_cur);
  s->f->config.http_connections = 50;
  s->api->peer_limit = 300;
  CLIENT waits = client_from(s, 2);
  assert_true(client_send(s, &waits, WAITING, strlen(WAITING)));
  settle(s, &waits);
  for (int i = 0; i < CROWD; i++) {
    crowd[i] = client_from(s, 2 + i % 20);
    if (i % 3 == 0)
      send(crowd[i].fd, "GET /", 5, MSG_NOSIGNAL);
    turn(s, NULL);
    if (i % 500 == 0)
      ANSWERED(ask_from(s, 2 + i % 20, DATABASES), 200);
  }
  settle(s, NULL);
  assert_true(s->api->peer_count <= 300);
  assert_true(origin_of(s, 2)->connections <= 50);
  ANSWERED(ask_from(s, 2, DATABASES), 200); /* of the same address */
  ANSWERED(ask_from(s, 200, DATABASES), 200);
  assert_true(is_open(s, &waits)); /* who is at work is not touched */
  for (int i = 0; i < CROWD; i++)
    client_close(&crowd[i]);
  settle(s, NULL);
  assert_int_equal(s->api->peer_count, 1);
}

static void test_those_at_work_are_bounded(void **state) {
  Server *s = *state;
  Client waiting[10];
  s->f->config.http_connections = 10;
  for (int i = 0; i < 10; i++) {
    waiting[i] = client_from(s, 2);
    assert_true(client_send(s, &waiting[i], WAITING, strlen(WAITING)));
    settle(s, NULL);
  }
  CLIENT refused = client_from(s, 2);
  settle(s, &refused);
  assert_true(refused.closed);
  ANSWERED(ask_from(s, 3, DATABASES), 200);
  client_close(&waiting[0]);
  settle(s, NULL);
  peers_sweep(s->api);
  peers_sweep(s->api);
  settle(s, NULL);
  ANSWERED(ask_from(s, 2, DATABASES), 200);
  for (int i = 1; i < 10; i++) {
    assert_true(is_open(s, &waiting[i]));
    client_close(&waiting[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)
      T(test_too_many_requests),     T(test_too_many_failures),     T(test_too_many_enrolments_that_fail),
      T(test_origins_are_forgotten), T(test_slow_requests_are_cut), T(test_slow_readers_are_cut),
      T(test_those_who_left),        T(test_idle_ones_give_way),    T(test_those_at_work_are_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
