/* Behind reverse proxies: the limits are those of who is behind them, as far as the proxies are ours. */
#include "tests/unit/coordinator/api/support.h"

#define FORWARDED "X-Forwarded-For: "
static const char *const proxies[] = {"10.0.0.0/8", "127.0.0.2", "2001:db8:ffff::/48"};
static Network networks[ARRAY_SIZE(proxies)];

static int proxied_setup(void **state) {
  if (api_setup(state) != 0)
    return -1;
  Server *s = *state;
  for (size_t i = 0; i < ARRAY_SIZE(proxies); i++)
    assert_true(network_parse(proxies[i], &networks[i]));
  s->f->config.http_proxies = networks;
  s->f->config.http_proxy_count = ARRAY_SIZE(proxies);
  return 0;
}

static Origin *origin_named(Server *s, const char *text) {
  Address address;
  assert_true(address_parse(text, strlen(text), &address));
  return origin_find(s->api, &address);
}

static Answer ask_with(Server *s, int last, const char *token, const char *headers) {
  CLEANUP_FREE char *text =
      memory_format("GET /api/v1/databases HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n%s\r\n", token, headers);
  return ask_from(s, last, text);
}

/* Whoever's bucket is empty is the one that is refused, by name. */
static void expect_client(Server *s, int last, const char *headers, const char *client) {
  Origin *origin = origin_named(s, client);
  s->f->config.http_requests_per_second = 1;
  origin->requests = -60; /* and stays so */
  ANSWER got = ask_with(s, last, ADMIN, headers);
  if (got.status != 429)
    print_error("'%s' is not taken for %s\n", headers, client);
  expect_refusal(&got, 429, "too_many");
  CLEANUP_FREE char *named = memory_format("from %s\"", client);
  assert_non_null(strstr(got.body, named));
  origin = origin_named(s, client);
  origin->requests = 5;
  ANSWERED(ask_with(s, last, ADMIN, headers), 200);
}

static void test_who_is_the_client(void **state) {
  static const struct {
    const char *headers, *client;
  } cases[] = {
      {"", "127.0.0.2"},
      {FORWARDED "\r\n", "127.0.0.2"},
      {FORWARDED "203.0.113.7\r\n", "203.0.113.7"},
      {FORWARDED "\t 203.0.113.7 \t\r\n", "203.0.113.7"},
      {FORWARDED "203.0.113.7:65000\r\n", "203.0.113.7"},
      {FORWARDED "2001:db8::7\r\n", "2001:db8::7"},
      {FORWARDED "[2001:db8::7]\r\n", "2001:db8::7"},
      {FORWARDED "[2001:db8::7]:443\r\n", "2001:db8::7"},
      {FORWARDED "::ffff:203.0.113.7\r\n", "203.0.113.7"},
      /* what the client wrote itself comes before what the proxy saw */
      {FORWARDED "198.51.100.1, 203.0.113.7\r\n", "203.0.113.7"},
      {FORWARDED "junk, 203.0.113.7\r\n", "203.0.113.7"},
      {FORWARDED "10.1.1.1,203.0.113.7\r\n", "203.0.113.7"},
      {FORWARDED "198.51.100.1\r\n" FORWARDED "203.0.113.7\r\n", "203.0.113.7"},
      /* several proxies of ours */
      {FORWARDED "198.51.100.1, 203.0.113.7, 10.1.1.1\r\n", "203.0.113.7"},
      {FORWARDED "203.0.113.7\r\nx-forwarded-for: 10.1.1.1,2001:db8:ffff::1\r\n", "203.0.113.7"},
      {FORWARDED "10.1.1.1, 10.2.2.2\r\n", "10.1.1.1"}, /* nobody but ours: the outermost */
      /* what makes no sense ends it: the last that was sure */
      {FORWARDED "203.0.113.7, unknown\r\n", "127.0.0.2"},
      {FORWARDED "203.0.113.7,, 10.1.1.1\r\n", "10.1.1.1"},
      {FORWARDED "203.0.113.7,\r\n", "127.0.0.2"},
      {FORWARDED "[2001:db8::7\r\n", "127.0.0.2"},
      {FORWARDED "203.0.113.7; 10.1.1.1\r\n", "127.0.0.2"},
      {FORWARDED "203.0.113.7\r\n" FORWARDED "\r\n", "127.0.0.2"},
      {"Forwarded: for=203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\n", "127.0.0.2"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    expect_client(*state, 2, cases[i].headers, cases[i].client);
  expect_client(*state, 3, FORWARDED "203.0.113.7\r\n", "127.0.0.3"); /* no proxy of ours */
  ((Server *)*state)->f->config.http_proxy_count = 0;
  expect_client(*state, 2, FORWARDED "203.0.113.7\r\n", "127.0.0.2");
}

/* Whatever is in it, it takes no more than its size, and no address of anybody's choice. */
static void test_hostile_headers(void **state) {
  Server *s = *state;
  CLEANUP(buffer_release) Buffer many = {0}, lines = {0}, commas = {0}, digits = {0};
  buffer_append_text(&many, FORWARDED "203.0.113.7");
  buffer_append_text(&commas, FORWARDED);
  buffer_append_text(&digits, FORWARDED "203.0.113.7, ");
  for (int i = 1; i <= 200; i++) {
    buffer_append_format(&many, ", 10.0.0.%d", i);
    buffer_append_format(&lines, FORWARDED "10.0.0.%d\r\n", i);
    buffer_append_text(&commas, ",,,,,,,,,,,,,,,,,,,,");
    buffer_append_text(&digits, "11111111111111111111");
  }
  buffer_append_text(&many, "\r\n");
  buffer_append_text(&commas, "\r\n");
  buffer_append_text(&digits, "\r\n");
  expect_client(s, 2, buffer_text(&many), "10.0.0.185");
  expect_client(s, 2, buffer_text(&lines), "10.0.0.193");
  expect_client(s, 2, buffer_text(&commas), "127.0.0.2");
  expect_client(s, 2, buffer_text(&digits), "127.0.0.2");
}

static void test_failures_are_the_clients(void **state) {
  Server *s = *state;
  s->f->config.http_failures_per_minute = 6;
  origin_named(s, "203.0.113.7")->failures = 0;
  REFUSED(ask_with(s, 2, "wrong", FORWARDED "203.0.113.7\r\n"), 429, "too_many");
  REFUSED(ask_with(s, 2, "wrong", FORWARDED "203.0.113.8\r\n"), 401, "unauthorized");
  REFUSED(ask_with(s, 2, "wrong", ""), 401, "unauthorized");
}

/* Of one connection, which a proxy keeps for all its clients. */
static void test_each_request_is_its_own_client_s(void **state) {
  Server *s = *state;
  CLIENT proxy = client_from(s, 2);
  for (int i = 0; i < 4; i++) {
    CLEANUP_FREE char *text =
        memory_format("GET /api/v1/databases HTTP/1.1\r\nHost: x\r\n" BEARER FORWARDED "203.0.113.%d\r\n\r\n", i % 2);
    s->f->config.http_requests_per_second = 1;
    origin_named(s, "203.0.113.1")->requests = -60;
    assert_true(client_send(s, &proxy, text, strlen(text)));
    ANSWER got = client_answer(s, &proxy, false);
    assert_int_equal(got.status, i % 2 ? 429 : 200);
  }
}

static void test_a_proxy_s_connections_are_many_clients(void **state) {
  Server *s = *state;
  Client open[20];
  static const char events[] = "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n" BEARER "\r\n";
  s->f->config.http_connections = 5;
  for (size_t i = 0; i < ARRAY_SIZE(open); i++) {
    open[i] = client_from(s, 2);
    assert_true(client_send(s, &open[i], events, sizeof events - 1));
    settle(s, NULL);
  }
  assert_int_equal(s->api->peer_count, ARRAY_SIZE(open));
  Client others[6];
  for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
    others[i] = client_from(s, 3);
    client_send(s, &others[i], events, sizeof events - 1);
    settle(s, &others[i]);
  }
  assert_true(others[5].closed && !others[4].closed);
  s->api->peer_limit = (unsigned)ARRAY_SIZE(open) + 5; /* all that there may be are there */
  CLIENT beyond = client_from(s, 2);
  settle(s, &beyond);
  assert_true(beyond.closed);
  for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    client_close(&others[i]);
  for (size_t i = 0; i < ARRAY_SIZE(open); i++)
    client_close(&open[i]);
}

static void test_the_ledger_has_the_client(void **state) {
  Server *s = *state;
  static const char make[] = "POST /api/v1/checkpoints HTTP/1.1\r\nHost: x\r\n" BEARER FORWARDED
                             "203.0.113.7\r\nContent-Length: 32\r\n\r\n{\"database\": \"shop\", \"tag\": \"t\"}";
  ANSWERED(ask_from(s, 2, make), 202);
  ANSWER ledger = ask(s, "GET", "/api/v1/ledger", NULL);
  assert_non_null(strstr(ledger.body, "\"203.0.113.7\""));
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, proxied_setup, api_teardown)
      T(test_who_is_the_client),
      T(test_hostile_headers),
      T(test_failures_are_the_clients),
      T(test_each_request_is_its_own_client_s),
      T(test_a_proxy_s_connections_are_many_clients),
      T(test_the_ledger_has_the_client),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
