/* Paths, methods, query parameters: what is answered, and with which status. */
#include "tests/unit/coordinator/api/support.h"

#include <zstd.h>

static void test_known_paths(void **state) {
  Server *s = *state;
  static const char *const paths[] = {"/",
                                      "/healthz",
                                      "/readyz",
                                      "/metrics",
                                      "/api/v1/checkpoints",
                                      "/api/v1/drills",
                                      "/api/v1/databases",
                                      "/api/v1/agents",
                                      "/api/v1/ledger",
                                      "/api/v1/ledger/verify",
                                      "/api/v1/tokens"};
  for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
    ANSWER got = ask(s, "GET", paths[i], NULL);
    assert_int_equal(got.status, 200);
    assert_true(got.size > 0);
    assert_non_null(header_of(&got, "\r\nCache-Control: no-store"));
    assert_non_null(header_of(&got, "\r\nX-Content-Type-Options: nosniff"));
    ANSWER head = ask(s, "HEAD", paths[i], NULL);
    assert_int_equal(head.status, 200);
    assert_int_equal(strtoul(header_of(&head, "\r\nContent-Length: "), NULL, 10), got.size);
  }
}

/* Without what frames its chunks. */
static Buffer dechunked(const Buffer *answer) {
  Buffer body = {0};
  const char *at = strstr((const char *)answer->data, "\r\n\r\n");
  assert_non_null(at);
  assert_non_null(strstr((const char *)answer->data, "chunked"));
  for (at += 4;;) {
    char *end;
    size_t size = strtoul(at, &end, 16);
    assert_true(strncmp(end, "\r\n", 2) == 0);
    if (size == 0)
      break;
    buffer_append(&body, end + 2, size);
    at = end + 2 + size + 2;
  }
  return body;
}

/* The frame does not say how large it is: it was not known. */
static char *unpacked(const Buffer *packed) {
  enum { ROOM = 8 << 20 };
  ZSTD_DCtx *context = ZSTD_createDCtx();
  char *text = memory_alloc(ROOM);
  ZSTD_inBuffer in = {packed->data, packed->size, 0};
  ZSTD_outBuffer out = {text, ROOM - 1, 0};
  assert_int_equal(ZSTD_decompressStream(context, &out, &in), 0); /* one frame, whole */
  assert_true(in.pos == in.size);
  ZSTD_freeDCtx(context);
  return text;
}

static char *large_answer(Server *s, const char *path, bool packed) {
  CLEANUP_FREE char *get = memory_format("GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s" BEARER "\r\n", path,
                                         packed ? "Accept-Encoding: gzip, zstd\r\n" : "");
  CLIENT client = client_open(s);
  assert_true(client_send(s, &client, get, strlen(get)));
  for (int i = 0; i < 5; i++) { /* before the first client has read all of it */
    uv_run(&s->loop, UV_RUN_NOWAIT);
    ANSWERED(ask(s, "GET", "/healthz", NULL), 200);
  }
  int64_t until = clock_monotonic_us() + ANSWER_MS * 1000;
  while (!client.closed && clock_monotonic_us() < until)
    turn(s, &client);
  buffer_append_byte(&client.in, 0);
  CLEANUP(buffer_release) Buffer body = dechunked(&client.in);
  assert_int_equal(strstr((const char *)client.in.data, "\r\nContent-Encoding: zstd\r\n") != NULL, packed);
  return packed ? unpacked(&body) : buffer_steal_text(&body);
}

/* Of a fleet of some size, in chunks: all of it comes, and others are answered meanwhile. */
static void test_large_answers(void **state) {
  Server *s = *state;
  CLEANUP(buffer_release) Buffer fleet = {0};
  buffer_append_text(&fleet, "databases:\n");
  for (int i = 0; i < 3000; i++)
    buffer_append_format(&fleet, "  - name: db-%d\n", i);
  json_t *report = NULL;
  OK(dispatch_apply_fleet(s->f->dispatch, "fleet.yaml", buffer_text(&fleet), fleet.size, &me, false, &report,
                          &s->f->err));
  json_decref(report);
  CLEANUP_FREE char *metrics = large_answer(s, "/metrics", false),
                    *overview = large_answer(s, "/api/v1/overview", false),
                    *packed = large_answer(s, "/api/v1/overview", true);
  assert_string_equal(packed, overview);
  assert_true(strlen(metrics) > 500000);
  assert_non_null(strstr(metrics, "\npgseal_databases 3002\n"));
  assert_non_null(strstr(metrics, "\npgseal_database_checkpoints_total{database=\"shop\",outcome=\"canceled\"} 0\n"));
  json_t *json = json_loads(overview, JSON_REJECT_DUPLICATES, NULL);
  assert_int_equal(json_array_size(json_object_get(json, "databases")), 3002);
  assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "attention"), "never_sealed")), 3002);
  json_decref(json);
  ANSWER some = ask(s, "GET", "/api/v1/overview?limit=3&order=attention", NULL);
  const json_t *rows = json_object_get(some.json, "databases");
  assert_int_equal(json_array_size(rows), 3);
  assert_string_equal(text_of(json_array_get(rows, 0), "database"), "db-0");
  ANSWER none = ask(s, "GET", "/api/v1/overview?database=nonesuch", NULL);
  assert_int_equal(json_array_size(json_object_get(none.json, "databases")), 0);
  assert_int_equal(none.status, 200);
  REFUSED(ask(s, "GET", "/api/v1/overview?order=size", NULL), 400, "invalid_argument");
  REFUSED(ask(s, "GET", "/api/v1/overview?limit=0", NULL), 400, "invalid_argument");
}

static void test_head_has_no_body(void **state) {
  Server *s = *state;
  static const char two[] = "HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";
  CLIENT client = client_open(s);
  assert_true(client_send(s, &client, two, strlen(two)));
  ANSWER head = client_answer(s, &client, true);
  ANSWER get = client_answer(s, &client, false);
  assert_int_equal(head.status, 200);
  assert_int_equal(get.status, 200);
  assert_true(json_is_object(get.json));
}

static void test_unknown_paths(void **state) {
  Server *s = *state;
  static const char *const paths[] = {"/nope",
                                      "/healthz/",
                                      "//healthz",
                                      "/HEALTHZ",
                                      "/api",
                                      "/api/",
                                      "/api/checkpoint/",
                                      "/api/v1",
                                      "/api/v1/checkpoints/",
                                      "/api/v1/checkpoints//",
                                      "/api/v1/checkpoints/a/b",
                                      "/api/v1/checkpoints/a%2Fb",
                                      "/api/v1/checkpoints/a/nothing",
                                      "/api/v1/ledger/verify/",
                                      "/api/v1/../../healthz",
                                      "/./healthz",
                                      "/healthz%00",
                                      "/healthz%00/more",
                                      "/%00healthz",
                                      "/api/v1/events/",
                                      "/{}",
                                      "/%FF%FE",
                                      "/%0d%0aSet-Cookie:%20x",
                                      "/%",
                                      "/%zz"};
  for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
    ANSWER got = ask(s, "GET", paths[i], NULL);
    expect_refusal(&got, 404, "not_found");
    assert_null(header_of(&got, "Set-Cookie"));
    assert_null(header_of(&got, "\r\nAllow:"));
  }
}

static void test_empty_hole_is_no_checkpoint(void **state) {
  Server *s = *state;
  REFUSED(ask(s, "POST", "/api/v1/checkpoints//cancel", ""), 404, "not_found");
  REFUSED(ask(s, "DELETE", "/api/v1/tokens/", NULL), 404, "not_found");
}

static void test_wrong_methods_name_the_right_ones(void **state) {
  Server *s = *state;
  static const struct {
    const char *method, *path, *allow;
  } rows[] = {{"GET", "/api/checkpoint", "POST\r\n"},
              {"PUT", "/api/v1/checkpoints", "POST, GET, HEAD\r\n"},
              {"OPTIONS", "/api/v1/tokens", "GET, HEAD, POST\r\n"},
              {"DELETE", "/healthz", "GET, HEAD\r\n"},
              {"POST", "/", "GET, HEAD\r\n"},
              {"GET", "/api/v1/tokens/x", "DELETE\r\n"},
              {"HEAD", "/api/v1/tokens/x", "DELETE\r\n"},
              {"get", "/healthz", "GET, HEAD\r\n"},
              {"BREW", "/api/v1/events", "GET, HEAD\r\n"}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    ANSWER got = ask(s, rows[i].method, rows[i].path, NULL);
    assert_int_equal(got.status, 405);
    const char *allow = header_of(&got, "\r\nAllow: ");
    assert_non_null(allow);
    assert_memory_equal(allow, rows[i].allow, strlen(rows[i].allow));
  }
}

static void test_a_path_of_two_routes(void **state) {
  Server *s = *state;
  /* "/api/v1/checkpoints/{}/drills": the other method's route of this pattern is not "a checkpoint of that name" */
  REFUSED(ask(s, "GET", "/api/v1/checkpoints/x/drills", NULL), 405, "invalid_argument");
  REFUSED(ask(s, "POST", "/api/v1/checkpoints/x/events", ""), 405, "invalid_argument");
}

static char *quoted(const char *text) { /* percent-encoded, every byte */
  char *out = memory_alloc(3 * strlen(text) + 1);
  for (size_t i = 0; text[i]; i++)
    snprintf(out + 3 * i, 4, "%%%02X", (unsigned char)text[i]);
  return out;
}

static void test_odd_tags_are_found_by_their_path(void **state) {
  Server *s = *state;
  static const char *const tags[] = {
      "plain", "it's \"quoted\"", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x94\x92", "100%", "a+b c", "?limit=1&x", "a\\b", "%41"};
  for (size_t i = 0; i < ARRAY_SIZE(tags); i++) {
    char *id = request(s->f, "shop", tags[i]), *name = quoted(tags[i]);
    CLEANUP_FREE char *target = memory_format("/api/v1/checkpoints/%s", name);
    CLEANUP_FREE char *query = memory_format("/api/v1/checkpoints?tag=%s", name);
    ANSWER one = ask(s, "GET", target, NULL);
    assert_int_equal(one.status, 200);
    assert_string_equal(text_of(one.json, "id"), id);
    assert_string_equal(text_of(one.json, "tag"), tags[i]);
    ANSWER list = ask(s, "GET", query, NULL);
    assert_int_equal(json_array_size(json_object_get(list.json, "checkpoints")), 1);
    free(id);
    free(name);
  }
}

static void test_a_tag_with_a_slash(void **state) {
  Server *s = *state;
  char *id = request(s->f, "shop", "release/1.2");
  REFUSED(ask(s, "GET", "/api/v1/checkpoints/release%2F1.2", NULL), 404, "not_found");
  ANSWER list = ask(s, "GET", "/api/v1/checkpoints?tag=release/1.2", NULL);
  assert_string_equal(text_of(json_array_get(json_object_get(list.json, "checkpoints"), 0), "id"), id);
  ANSWER cancel = ask(s, "POST", "/api/v1/checkpoints/release/1.2/cancel", "");
  assert_int_equal(cancel.status, 202);
  assert_string_equal(text_of(cancel.json, "id"), id);
  free(id);
}

static void test_a_tag_of_two_databases(void **state) {
  Server *s = *state;
  char *shop = request(s->f, "shop", "both"), *prod = request(s->f, "prod-api", "both");
  ANSWER newest = ask(s, "GET", "/api/v1/checkpoints/both", NULL);
  ANSWER one = ask(s, "GET", "/api/v1/checkpoints/both?database=shop", NULL);
  assert_string_equal(text_of(newest.json, "id"), prod);
  assert_string_equal(text_of(one.json, "id"), shop);
  REFUSED(ask(s, "GET", "/api/v1/checkpoints/both?database=other", NULL), 404, "not_found");
  REFUSED(ask(s, "GET", "/api/v1/checkpoints/both/events?database=other", NULL), 404, "not_found");
  free(shop);
  free(prod);
}

static void test_over_long(void **state) {
  Server *s = *state;
  static const struct {
    size_t size;
    int status;
  } rows[] = {{1000, 404}, {9000, 404}, {60000, 414}, {1 << 20, 414}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    char *path = memory_alloc(rows[i].size + 2);
    memset(path, 'a', rows[i].size);
    path[0] = '/';
    ANSWER got = ask(s, "GET", path, NULL);
    assert_true(got.status == rows[i].status || (got.status == 0 && rows[i].size > 100000));
    if (got.status == 404)
      expect_refusal(&got, 404, "not_found");
    free(path);
  }
  ANSWERED(ask(s, "GET", "/healthz", NULL), 200);
}

/* ---- query parameters ---- */

static void test_numbers(void **state) {
  Server *s = *state;
  static const char *const bad[] = {"0",
                                    "-1",
                                    "+1",
                                    "%2B1",
                                    "1001",
                                    "1x",
                                    "0x10",
                                    "1e2",
                                    "%201",
                                    "1%20",
                                    "9999999999999999999999",
                                    "-9999999999999999999999",
                                    "one",
                                    "%FF",
                                    "1%00",
                                    "1;2"};
  static const char *const paths[] = {"/api/v1/checkpoints", "/api/v1/drills", "/api/v1/ledger"};
  for (size_t p = 0; p < ARRAY_SIZE(paths); p++) {
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
      CLEANUP_FREE char *target = memory_format("%s?limit=%s", paths[p], bad[i]);
      REFUSED(ask(s, "GET", target, NULL), 400, "invalid_argument");
    }
    CLEANUP_FREE char *most = memory_format("%s?limit=1000", paths[p]);
    CLEANUP_FREE char *none = memory_format("%s?limit=", paths[p]);
    CLEANUP_FREE char *bare = memory_format("%s?limit", paths[p]);
    CLEANUP_FREE char *padded = memory_format("%s?limit=0000001", paths[p]);
    ANSWERED(ask(s, "GET", most, NULL), 200);
    ANSWERED(ask(s, "GET", none, NULL), 200);
    ANSWERED(ask(s, "GET", bare, NULL), 200);
    ANSWERED(ask(s, "GET", padded, NULL), 200);
  }
  REFUSED(ask(s, "GET", "/api/v1/ledger?after=-1", NULL), 400, "invalid_argument");
  REFUSED(ask(s, "GET", "/api/v1/ledger?after=9223372036854775808", NULL), 400, "invalid_argument");
  ANSWERED(ask(s, "GET", "/api/v1/ledger?after=9223372036854775807", NULL), 200);
}

static void test_lists_are_bounded_and_paged(void **state) {
  Server *s = *state;
  char *ids[5];
  for (int i = 0; i < 5; i++)
    ids[i] = request(s->f, "shop", "t");
  ANSWER first = ask(s, "GET", "/api/v1/checkpoints?limit=2", NULL);
  const json_t *list = json_object_get(first.json, "checkpoints");
  assert_int_equal(json_array_size(list), 2);
  assert_string_equal(text_of(json_array_get(list, 0), "id"), ids[4]);
  CLEANUP_FREE char *target = memory_format("/api/v1/checkpoints?limit=2&before=%s", ids[3]);
  ANSWER next = ask(s, "GET", target, NULL);
  list = json_object_get(next.json, "checkpoints");
  assert_int_equal(json_array_size(list), 2);
  assert_string_equal(text_of(json_array_get(list, 0), "id"), ids[2]);
  ANSWER drills = ask(s, "GET", "/api/v1/drills?limit=3", NULL);
  assert_int_equal(json_array_size(json_object_get(drills.json, "drills")), 3);
  ANSWER events = ask(s, "GET", "/api/v1/ledger?limit=2&after=3", NULL);
  assert_int_equal(
      json_integer_value(json_object_get(json_array_get(json_object_get(events.json, "events"), 0), "sequence")), 4);
  for (int i = 0; i < 5; i++)
    free(ids[i]);
}

static void test_duplicates_and_strangers(void **state) {
  Server *s = *state;
  free(request(s->f, "shop", "a"));
  free(request(s->f, "shop", "b"));
  ANSWER first = ask(s, "GET", "/api/v1/checkpoints?limit=1&limit=bad", NULL); /* the first one counts */
  assert_int_equal(first.status, 200);
  assert_int_equal(json_array_size(json_object_get(first.json, "checkpoints")), 1);
  REFUSED(ask(s, "GET", "/api/v1/checkpoints?limit=bad&limit=1", NULL), 400, "invalid_argument");
  ANSWERED(ask(s, "GET", "/api/v1/checkpoints?&&=&=x&a&b=&limit=5", NULL), 200);
}

static void test_text_that_matches_nothing(void **state) {
  Server *s = *state;
  free(request(s->f, "shop", "a"));
  static const char *const none[] = {"database=%FF%FE", "tag=%C3%28", "before=nonesuch",
                                     "tag=a%00",        "tag=a'--",   "database=%25"};
  for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
    CLEANUP_FREE char *target = memory_format("/api/v1/checkpoints?%s", none[i]);
    ANSWER got = ask(s, "GET", target, NULL);
    assert_int_equal(got.status, 200);
    assert_int_equal(json_array_size(json_object_get(got.json, "checkpoints")), 0);
  }
  REFUSED(ask(s, "GET", "/api/v1/checkpoints?state=%FF", NULL), 400, "invalid_argument");
  REFUSED(ask(s, "GET", "/api/v1/checkpoints?state=SEALED", NULL), 400, "invalid_argument");
  REFUSED(ask(s, "GET", "/api/v1/checkpoints/%FF%0A%1B%5B31m", NULL), 404, "not_found");
}

static void test_many_parameters(void **state) {
  Server *s = *state;
  CLEANUP(buffer_release) Buffer target = {0};
  buffer_append_text(&target, "/api/v1/checkpoints?");
  for (int i = 0; i < 400; i++)
    buffer_append_format(&target, "p%d=v&", i);
  buffer_append_text(&target, "limit=0");
  REFUSED(ask(s, "GET", buffer_text(&target), NULL), 400, "invalid_argument"); /* it was seen, after all of them */
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)
      T(test_known_paths),
      T(test_large_answers),
      T(test_head_has_no_body),
      T(test_unknown_paths),
      T(test_empty_hole_is_no_checkpoint),
      T(test_wrong_methods_name_the_right_ones),
      T(test_a_path_of_two_routes),
      T(test_odd_tags_are_found_by_their_path),
      T(test_a_tag_with_a_slash),
      T(test_a_tag_of_two_databases),
      T(test_over_long),
      T(test_numbers),
      T(test_lists_are_bounded_and_paged),
      T(test_duplicates_and_strangers),
      T(test_text_that_matches_nothing),
      T(test_many_parameters),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
