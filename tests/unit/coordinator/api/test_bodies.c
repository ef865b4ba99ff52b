/* Bodies: bounded, JSON, and nothing in them but what is known. */
#include "tests/unit/coordinator/api/support.h"

#define CHUNKED "Transfer-Encoding: chunked\r\n"
static const char wish[] = "{\"database\": \"shop\", \"tag\": \"t\", \"wait\": false}";

static size_t checkpoints(Server *s) {
  ANSWER list = ask(s, "GET", "/api/v1/checkpoints", NULL);
  return json_array_size(json_object_get(list.json, "checkpoints"));
}

static void test_accepted(void **state) {
  Server *s = *state;
  ANSWER got = ask(s, "POST", "/api/checkpoint", wish);
  assert_int_equal(got.status, 202);
  CLEANUP_FREE char *location = memory_format("\r\nLocation: /api/v1/checkpoints/%s\r\n", text_of(got.json, "id"));
  assert_non_null(header_of(&got, location));
  assert_true(json_is_false(json_object_get(got.json, "ok")));
  assert_string_equal(text_of(got.json, "state"), "requested");
  assert_string_equal(text_of(got.json, "requested_by"), "admin");
  ANSWERED(ask(s, "POST", "/api/v1/checkpoints", "{\"database\": \"shop\", \"tag\": \"t\"}"), 202);
  assert_int_equal(checkpoints(s), 2);
}

static void test_what_is_refused(void **state) {
  Server *s = *state;
  static const char *const bodies[] = {"",
                                       " ",
                                       "{",
                                       "null",
                                       "[]",
                                       "\"text\"",
                                       "{} {}",
                                       "{\"database\": \"shop\", \"tag\": \"t\"} x",
                                       "{\"database\": \"shop\"}",
                                       "{\"tag\": \"t\"}",
                                       "{\"database\": 1, \"tag\": \"t\"}",
                                       "{\"database\": \"shop\", \"tag\": [\"t\"]}",
                                       "{\"database\": \"shop\", \"tag\": null}",
                                       "{\"database\": \"shop\", \"tag\": \"\"}",
                                       "{\"database\": \"shop\", \"tag\": \"a\\nb\"}",
                                       "{\"database\": \"shop\", \"tag\": \"a\\u0000b\"}",
                                       "{\"database\": \"shop\", \"tag\": \"a\\u007f\"}",
                                       "{\"database\": \"shop\", \"tag\": \"\\ud800\"}",
                                       "{\"database\": \"shop\", \"tag\": \"\xff\"}",
                                       "{\"database\": \"shop\", \"tag\": \"\xc0\xaf\"}",
                                       "{\"database\": \"shop\", \"tag\": \"a\tb\"}",
                                       "{\"database\": \"shop\", \"tag\": \"t\", \"wait\": \"false\"}",
                                       "{\"database\": \"shop\", \"tag\": \"t\", \"wait\": null}",
                                       "{\"database\": \"shop\", \"tag\": \"t\", \"wait\": 0}",
                                       "{\"database\": \"shop\", \"tag\": \"t\", \"wiat\": true}",
                                       "{\"database\": \"shop\", \"tag\": \"t\", \"\": 1}",
                                       "{\"database\": \"shop\", \"tag\": \"t\", \"tag\": \"u\"}",
                                       "{\"database\": \"shop\", \"tag\": \"t\", \"\\u0074ag\": \"u\"}",
                                       "{\"database\": \"shop\", \"tag\": \"t\", \"x\": 1e999}",
                                       "{\"database\": \"shop\", \"tag\": \"t\", \"x\": 99999999999999999999}",
                                       "{'database': 'shop', 'tag': 't'}",
                                       "\xef\xbb\xbf{\"database\": \"shop\", \"tag\": \"t\"}",
                                       "database=shop&tag=t"};
  static const char *const paths[] = {"/api/checkpoint", "/api/v1/checkpoints"};
  for (size_t p = 0; p < ARRAY_SIZE(paths); p++)
    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
      REFUSED(ask(s, "POST", paths[p], bodies[i]), 400, "invalid_argument");
  REFUSED(ask(s, "POST", "/api/checkpoint", NULL), 400, "invalid_argument");
  REFUSED(ask(s, "POST", "/api/checkpoint", "{\"database\": \"shp\", \"tag\": \"t\"}"), 404, "not_found");
  assert_int_equal(checkpoints(s), 0);
}

static void test_unknown_database(void **state) {
  Server *s = *state;
  ANSWER near = ask(s, "POST", "/api/checkpoint", "{\"database\": \"shpo\", \"tag\": \"t\"}");
  expect_refusal(&near, 404, "not_found");
  assert_non_null(strstr(text_of(json_object_get(near.json, "error"), "message"), "did you mean shop?"));
  ANSWER odd = ask(s, "POST", "/api/checkpoint", "{\"database\": \"a\\\"b\\n\xe2\x82\xac\", \"tag\": \"t\"}");
  expect_refusal(&odd, 404, "not_found");
  char longest[2000];
  memset(longest, 'x', sizeof longest);
  CLEANUP_FREE char *body = memory_format("{\"database\": \"%.*s\", \"tag\": \"t\"}", (int)sizeof longest, longest);
  REFUSED(ask(s, "POST", "/api/checkpoint", body), 404, "not_found");
}

static void test_long_tags(void **state) {
  Server *s = *state;
  char tag[130];
  memset(tag, 't', sizeof tag);
  for (int size = 127; size <= 130; size++) {
    CLEANUP_FREE char *body = memory_format("{\"database\": \"shop\", \"tag\": \"%.*s\"}", size, tag);
    ANSWERED(ask(s, "POST", "/api/v1/checkpoints", body), size <= 128 ? 202 : 400);
  }
}

static void test_zero_bytes(void **state) {
  Server *s = *state;
  static const char zero[] = "{\"database\": \"shop\", \"tag\": \"t\"}\0";
  static const char inside[] = "{\"database\": \"sh\0op\", \"tag\": \"t\"}";
  REFUSED(ask_bytes(s, "POST", "/api/v1/checkpoints", BEARER, zero, sizeof zero - 1), 400, "invalid_argument");
  REFUSED(ask_bytes(s, "POST", "/api/v1/checkpoints", BEARER, inside, sizeof inside - 1), 400, "invalid_argument");
}

static void test_deep(void **state) {
  Server *s = *state;
  enum { DEEP = 60000 };
  char *text = memory_alloc(DEEP + 1);
  static const char pieces[] = "[{\"";
  for (const char *piece = pieces; *piece; piece++) {
    memset(text, *piece, DEEP);
    REFUSED(ask(s, "POST", "/api/checkpoint", text), 400, "invalid_argument");
  }
  for (size_t i = 0; i + 5 <= DEEP; i += 5)
    memcpy(text + i, "{\"a\":", 5);
  REFUSED(ask(s, "POST", "/api/checkpoint", text), 400, "invalid_argument");
  free(text);
}

static char *padded(size_t size) { /* a valid body of that many bytes */
  char *text = memory_alloc(size + 1);
  memset(text, ' ', size);
  memcpy(text, wish, strlen(wish));
  return text;
}

static void test_size_limit(void **state) {
  Server *s = *state;
  static const struct {
    size_t size;
    int status;
  } rows[] = {{API_BODY_LIMIT - 1, 202}, {API_BODY_LIMIT, 202}, {API_BODY_LIMIT + 1, 413}, {500 << 10, 413}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char *body = padded(rows[i].size);
    ANSWER got = ask(s, "POST", "/api/checkpoint", body);
    assert_int_equal(got.status, rows[i].status);
    if (got.status == 413)
      expect_refusal(&got, 413, "invalid_argument");
    free(body);
  }
}

static bool send_chunks(Server *s, Client *client, size_t count, size_t size) {
  CLEANUP(buffer_release) Buffer chunk = {0};
  buffer_append_format(&chunk, "%zx\r\n", size);
  for (size_t i = 0; i < size; i++)
    buffer_append_byte(&chunk, ' ');
  buffer_append_text(&chunk, "\r\n");
  for (size_t i = 0; i < count; i++)
    if (!client_send(s, client, chunk.data, chunk.size))
      return false;
  return true;
}

static void test_chunks(void **state) {
  Server *s = *state;
  static const char head[] = "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER CHUNKED "\r\n";
  static const struct {
    size_t count;
    int status;
  } rows[] = {{0, 202}, {15, 202}, {17, 413}, {100, 413}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    CLIENT client = client_open(s);
    CLEANUP_FREE char *first = memory_format("%s%zx\r\n%s\r\n", head, strlen(wish), wish);
    assert_true(client_send(s, &client, first, strlen(first)));
    assert_true(send_chunks(s, &client, rows[i].count, 4000));
    assert_true(client_send(s, &client, "0\r\n\r\n", 5));
    ANSWER got = client_answer(s, &client, false);
    assert_int_equal(got.status, rows[i].status);
  }
}

/* Without an end: it is not read for ever. */
static void test_endless(void **state) {
  Server *s = *state;
  static const char head[] = "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER CHUNKED "\r\n";
  CLIENT client = client_open(s);
  assert_true(client_send(s, &client, head, strlen(head)));
  assert_false(send_chunks(s, &client, 40 * API_BODY_PATIENCE / 32768, 32768));
  settle(s, NULL);
  assert_null(s->api->requests);
  ANSWERED(ask(s, "GET", "/healthz", NULL), 200);
}

static void test_broken_framing(void **state) {
  Server *s = *state;
  static const char *const requests[] = {
      "\r\n\r\n\r\n",
      "GET\r\n\r\n",
      "GET /healthz\r\n\r\n",
      "GET /healthz HTTP/9.9\r\n\r\n",
      "\x16\x03\x01\x02\x01\x01\x01\x02\r\n\r\n",
      "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER "Content-Length: -1\r\n\r\n",
      "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER "Content-Length: 99999999999999999999999\r\n\r\n",
      "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
      "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER CHUNKED "\r\nzz\r\n{}\r\n0\r\n\r\n",
      "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER CHUNKED "\r\nffffffffffffffffff\r\n",
  };
  for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
    CLIENT client = client_open(s);
    client_send(s, &client, requests[i], strlen(requests[i]));
    settle(s, &client);
    shutdown(client.fd, SHUT_WR);
    ANSWER got = client_answer(s, &client, false);
    assert_true(got.status == 0 || got.status >= 400);
  }
  assert_int_equal(checkpoints(s), 0);
}

/* A body that comes byte by byte, and one that never ends because its client went away. (The hang-up follows the data
 * at some distance: libmicrohttpd notices one that comes together with data only when the connection has been idle.) */
static void test_slow_and_cut(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *whole = memory_format(
      "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\n" BEARER "Content-Length: %zu\r\n\r\n%s", strlen(wish), wish);
  CLIENT slow = client_open(s);
  for (size_t i = 0; i < strlen(whole); i++)
    assert_true(client_send(s, &slow, whole + i, 1));
  ANSWER got = client_answer(s, &slow, false);
  assert_int_equal(got.status, 202);
  for (size_t cut = 1; cut < strlen(whole); cut += 7) {
    CLIENT client = client_open(s);
    client_send(s, &client, whole, cut);
    settle(s, &client);
  }
  settle(s, NULL);
  assert_int_equal(checkpoints(s), 1);
  assert_true(!s->api->requests || !s->api->requests->next);
}

/* ---- Idempotency-Key ---- */

static Answer with_key(Server *s, const char *key, const char *body) {
  CLEANUP_FREE char *headers = memory_format(BEARER "Idempotency-Key: %s\r\n", key);
  return ask_bytes(s, "POST", "/api/checkpoint", headers, body, strlen(body));
}

static void test_idempotency(void **state) {
  Server *s = *state;
  ANSWER first = with_key(s, "k-1", wish);
  ANSWER again = with_key(s, "k-1", wish);
  assert_int_equal(again.status, 202);
  assert_string_equal(text_of(first.json, "id"), text_of(again.json, "id"));
  REFUSED(with_key(s, "k-1", "{\"database\": \"shop\", \"tag\": \"u\", \"wait\": false}"), 409, "conflict");
  REFUSED(with_key(s, "k-1", "{\"database\": \"prod-api\", \"tag\": \"t\", \"wait\": false}"), 409, "conflict");
  assert_int_equal(checkpoints(s), 1);
}

static void test_bad_keys(void **state) {
  Server *s = *state;
  char key[203];
  memset(key, 'k', sizeof key);
  static const char *const bad[] = {"", "a b", "\x7f", "\xc3\xbc", "\x01"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    REFUSED(with_key(s, bad[i], wish), 400, "invalid_argument");
  for (int size = 199; size <= 202; size++) {
    CLEANUP_FREE char *text = memory_format("%.*s", size, key);
    ANSWERED(with_key(s, text, wish), size <= 200 ? 202 : 400);
  }
}

static void test_too_many(void **state) {
  Server *s = *state;
  for (int i = 0; i < 64; i++)
    ANSWERED(ask(s, "POST", "/api/checkpoint", wish), 202);
  REFUSED(ask(s, "POST", "/api/checkpoint", wish), 429, "too_many");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)
      T(test_accepted),       T(test_what_is_refused), T(test_unknown_database),
      T(test_long_tags),      T(test_zero_bytes),      T(test_deep),
      T(test_size_limit),     T(test_chunks),          T(test_endless),
      T(test_broken_framing), T(test_slow_and_cut),    T(test_idempotency),
      T(test_bad_keys),       T(test_too_many),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
