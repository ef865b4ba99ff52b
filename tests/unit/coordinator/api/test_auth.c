/* Tokens: who may what, what does not pass, and that nothing of a token is kept or shown. */
#include "tests/unit/coordinator/api/support.h"

#include "common/crypto/digest.h"

static Answer with_header(Server *s, const char *target, const char *header) {
  CLEANUP_FREE char *line = memory_format("%s\r\n", header);
  return ask_bytes(s, "GET", target, line, NULL, 0);
}

static void test_what_does_not_pass(void **state) {
  Server *s = *state;
  static const char *const headers[] = {"X-Nothing: 1",
                                        "Authorization:",
                                        "Authorization: ",
                                        "Authorization: Bearer",
                                        "Authorization: Bearer ",
                                        "Authorization: Bearer    ",
                                        "Authorization: Bearer \t",
                                        "Authorization: " ADMIN,
                                        "Authorization: Basic " ADMIN,
                                        "Authorization: Bearer" ADMIN,
                                        "Authorization: Bearer, " ADMIN,
                                        "Authorization: Bearer \"" ADMIN "\"",
                                        "Authorization: Bearer " ADMIN "x",
                                        "Authorization: Bearer x" ADMIN,
                                        "Authorization: Bearer " ADMIN " " ADMIN,
                                        "Authorization: Bearer admin-token-of-the-test-012345678",
                                        "Authorization: Bearer ADMIN-TOKEN-OF-THE-TEST-0123456789",
                                        "Authorization: Bearer \xff\xfe",
                                        "Authorization: Bearer ' OR 1=1 --",
                                        "Authorization: Bearer wrong\r\nAuthorization: Bearer " ADMIN,
                                        "Cookie: Authorization=Bearer " ADMIN};
  for (size_t i = 0; i < ARRAY_SIZE(headers); i++) {
    ANSWER got = with_header(s, "/api/v1/databases", headers[i]);
    expect_refusal(&got, 401, "unauthorized");
    assert_non_null(header_of(&got, "\r\nWWW-Authenticate: Bearer"));
  }
  REFUSED(ask_bytes(s, "GET", "/api/v1/databases?Authorization=Bearer%20" ADMIN, "", NULL, 0), 401, "unauthorized");
}

static void test_what_passes(void **state) {
  Server *s = *state;
  static const char *const headers[] = {"Authorization: Bearer " ADMIN,     "authorization: bearer " ADMIN,
                                        "AUTHORIZATION: BEARER " ADMIN,     "Authorization: Bearer   " ADMIN,
                                        "Authorization: Bearer " ADMIN " ", "Authorization: Bearer " ADMIN " \t",
                                        "Authorization:Bearer " ADMIN};
  for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
    ANSWERED(with_header(s, "/api/v1/databases", headers[i]), 200);
}

static void test_longest_token(void **state) {
  Server *s = *state;
  for (int size = 400; size <= 8000; size += 400) {
    CLEANUP_FREE char *token = memory_alloc((size_t)size + 1);
    memset(token, 'a', (size_t)size);
    REFUSED(with_token(s, "GET", "/api/v1/databases", token, NULL), 401, "unauthorized");
  }
}

static void test_every_route_wants_one(void **state) {
  Server *s = *state;
  static const struct {
    const char *method, *path;
  } rows[] = {{"POST", "/api/checkpoint"},
              {"POST", "/api/v1/checkpoints"},
              {"GET", "/api/v1/checkpoints"},
              {"GET", "/api/v1/checkpoints/x"},
              {"GET", "/api/v1/checkpoints/x/events"},
              {"POST", "/api/v1/checkpoints/x/drills"},
              {"POST", "/api/v1/checkpoints/x/cancel"},
              {"GET", "/api/v1/drills"},
              {"GET", "/api/v1/databases"},
              {"GET", "/api/v1/agents"},
              {"GET", "/api/v1/ledger"},
              {"GET", "/api/v1/ledger/verify"},
              {"GET", "/api/v1/events"},
              {"GET", "/api/v1/tokens"},
              {"POST", "/api/v1/tokens"},
              {"POST", "/api/v1/tokens/admin/rotate"},
              {"DELETE", "/api/v1/tokens/admin"},
              {"GET", "/metrics"}};
  static const char body[] = "{\"database\": \"shop\", \"tag\": \"t\", \"name\": \"x\", \"role\": \"admin\"}";
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    REFUSED(ask_bytes(s, rows[i].method, rows[i].path, "", body, strlen(body)), 401, "unauthorized");
    if (strcmp(rows[i].method, "GET") == 0) {
      ANSWER head = ask_bytes(s, "HEAD", rows[i].path, "", NULL, 0);
      assert_int_equal(head.status, 401);
    }
  }
  static const char *const open[] = {"/", "/healthz", "/readyz"};
  for (size_t i = 0; i < ARRAY_SIZE(open); i++)
    ANSWERED(ask_bytes(s, "GET", open[i], "", NULL, 0), 200);
}

static void test_roles(void **state) {
  Server *s = *state;
  char *ci = make_token(s, "pipeline", "ci"), *admin = make_token(s, "second", "admin");
  char *id = request(s->f, "shop", "t");
  CLEANUP_FREE char *cancel = memory_format("/api/v1/checkpoints/%s/cancel", id);
  REFUSED(with_token(s, "GET", "/api/v1/tokens", ci, NULL), 403, "forbidden");
  REFUSED(with_token(s, "POST", "/api/v1/tokens", ci, "{\"name\": \"mine\", \"role\": \"admin\"}"), 403, "forbidden");
  REFUSED(with_token(s, "DELETE", "/api/v1/tokens/admin", ci, NULL), 403, "forbidden");
  REFUSED(with_token(s, "POST", cancel, ci, ""), 403, "forbidden");
  assert_int_equal(state_of(s->f, id), CHECKPOINT_REQUESTED);
  REFUSED(with_token(s, "GET", "/metrics", ci, NULL), 403, "forbidden");
  ANSWER made = with_token(s, "POST", "/api/v1/checkpoints", ci, "{\"database\": \"shop\", \"tag\": \"u\"}");
  assert_string_equal(text_of(made.json, "requested_by"), "pipeline");
  ANSWERED(with_token(s, "POST", cancel, admin, ""), 202);
  assert_int_equal(state_of(s->f, id), CHECKPOINT_CANCELED);
  free(ci);
  free(admin);
  free(id);
}

static void test_revoked(void **state) {
  Server *s = *state;
  char *token = make_token(s, "pipeline", "ci");
  ANSWERED(with_token(s, "GET", "/api/v1/databases", token, NULL), 200);
  REFUSED(ask(s, "POST", "/api/v1/tokens", "{\"name\": \"pipeline\"}"), 409, "conflict");
  ANSWER revoked = ask(s, "DELETE", "/api/v1/tokens/pipeline", NULL);
  assert_int_equal(revoked.status, 200);
  assert_true(json_is_string(json_object_get(revoked.json, "revoked_at")));
  REFUSED(with_token(s, "GET", "/api/v1/databases", token, NULL), 401, "unauthorized");
  REFUSED(ask(s, "DELETE", "/api/v1/tokens/pipeline", NULL), 404, "not_found");
  char *next = make_token(s, "pipeline", "ci"); /* the name is free again; the old text is not good for it */
  assert_string_not_equal(next, token);
  REFUSED(with_token(s, "GET", "/api/v1/databases", token, NULL), 401, "unauthorized");
  ANSWERED(with_token(s, "GET", "/api/v1/databases", next, NULL), 200);
  free(token);
  free(next);
}

static void test_first_token_stays_revoked(void **state) {
  Server *s = *state;
  char *admin = make_token(s, "second", "admin");
  ANSWERED(ask(s, "DELETE", "/api/v1/tokens/admin", NULL), 200);
  REFUSED(ask(s, "GET", "/api/v1/databases", NULL), 401, "unauthorized");
  server_close(s);
  server_open(s); /* the file is still there */
  REFUSED(ask(s, "GET", "/api/v1/databases", NULL), 401, "unauthorized");
  ANSWERED(with_token(s, "GET", "/api/v1/tokens", admin, NULL), 200);
  free(admin);
}

static void test_empty_token_file(void **state) {
  Server *s = *state;
  Error err;
  server_close(s);
  dispatch_close(s->f->dispatch);
  ledger_close(s->f->ledger);
  snprintf(s->f->path, sizeof s->f->path, "%s/other.db", s->f->dir);
  start(s->f);
  static const char *const contents[] = {"", "\n", "\r\n", "short", "fifteen-letters\n"};
  for (size_t i = 0; i < ARRAY_SIZE(contents); i++) {
    OK(file_write_atomic(s->token_file, 0600, contents[i], strlen(contents[i]), &err));
    OK(uv_loop_init(&s->loop));
    assert_int_equal(api_open(&s->loop, &s->f->config, s->f->dispatch, s->f->ledger, &s->api, &err), ERR_CONFIG);
    assert_non_null(strstr(err.message, s->token_file));
    assert_null(s->api);
    assert_int_equal(uv_loop_close(&s->loop), 0);
  }
}

static void test_bad_wishes(void **state) {
  Server *s = *state;
  static const char *const bodies[] = {
      "{}",
      "{\"name\": \"\"}",
      "{\"name\": 1}",
      "{\"name\": \"A\"}",
      "{\"name\": \"a b\"}",
      "{\"name\": \"a/b\"}",
      "{\"name\": \"\xc3\xbc\"}",
      "{\"name\": \"x\", \"role\": \"root\"}",
      "{\"name\": \"x\", \"role\": 5}",
      "{\"name\": \"x\", \"role\": null}",
      "{\"name\": \"x\", \"rolle\": \"ci\"}",
      "{\"name\": \"x\", \"databases\": \"prod-*\"}",
      "{\"name\": \"x\", \"databases\": []}",
      "{\"name\": \"x\", \"databases\": null}",
      "{\"name\": \"x\", \"databases\": [1]}",
      "{\"name\": \"x\", \"databases\": [\"\"]}",
      "{\"name\": \"x\", \"databases\": [\"prod-[ab]\"]}",
      "{\"name\": \"x\", \"databases\": [\"a b\"]}",
      "{\"name\": \"x\", \"databases\": [\"prod-*\"], \"role\": \"admin\"}",
      "{\"name\": \"x\", \"expires_in\": 0}",
      "{\"name\": \"x\", \"expires_in\": -1}",
      "{\"name\": \"x\", \"expires_in\": 59}",
      "{\"name\": \"x\", \"expires_in\": 60.5}",
      "{\"name\": \"x\", \"expires_in\": \"90d\"}",
      "{\"name\": \"x\", \"expires_in\": 9223372036854775807}",
      "{\"name\": \"x\", \"expires_in\": 1e300}",
      "{\"name\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
      "[]"};
  for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
    REFUSED(ask(s, "POST", "/api/v1/tokens", bodies[i]), 400, "invalid_argument");
  ANSWER list = ask(s, "GET", "/api/v1/tokens", NULL);
  assert_int_equal(json_array_size(json_object_get(list.json, "tokens")), 1);
  REFUSED(ask(s, "DELETE", "/api/v1/tokens/%FF%00", NULL), 404, "not_found");
}

/* Tokens differ, say who uses them, and are nowhere but in the one answer. */
static void test_nothing_is_kept(void **state) {
  Server *s = *state;
  char *one = make_token(s, "one", "ci"), *two = make_token(s, "two", "ci");
  assert_string_not_equal(one, two);
  assert_int_equal(strlen(one), strlen("pgseal_") + 43);
  assert_int_equal(strspn(one + 7, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
  ANSWERED(with_token(s, "GET", "/api/v1/databases", one, NULL), 200);
  ANSWER list = ask(s, "GET", "/api/v1/tokens", NULL);
  ANSWER events = ask(s, "GET", "/api/v1/ledger", NULL);
  char hash[SHA256_HEX_SIZE];
  sha256_hex(one, strlen(one), hash);
  const char *const shown[] = {list.body, events.body};
  for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
    assert_null(strstr(shown[i], one));
    assert_null(strstr(shown[i], hash));
  }
  const json_t *tokens = json_object_get(list.json, "tokens");
  assert_int_equal(json_array_size(tokens), 3);
  assert_true(json_is_string(json_object_get(json_array_get(tokens, 1), "last_used_at")));
  assert_true(json_is_null(json_object_get(json_array_get(tokens, 2), "last_used_at")));
  CLEANUP(buffer_release) Buffer ledger = {0};
  OK(file_read(s->f->path, 64 << 20, &ledger, &s->f->err));
  assert_null(memmem(ledger.data, ledger.size, one, strlen(one)));
  free(one);
  free(two);
}

/* The ledger looks a token up by its SHA-256: a guess that shares a beginning with it comes no nearer. */
static void test_looked_up_by_hash(void **state) {
  Server *s = *state;
  LedgerToken token = {0};
  char hash[SHA256_HEX_SIZE];
  sha256_hex(ADMIN, strlen(ADMIN), hash);
  OK(ledger_token_by_hash(s->f->ledger, hash, &token, &s->f->err));
  assert_string_equal(token.name, "admin");
  ledger_token_release(&token);
  REFUSED(with_token(s, "GET", "/api/v1/databases", hash, NULL), 401, "unauthorized"); /* the hash is no token */
  assert_int_equal(ledger_token_by_hash(s->f->ledger, ADMIN, &token, &s->f->err), ERR_NOT_FOUND);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)
      T(test_what_does_not_pass),
      T(test_what_passes),
      T(test_longest_token),
      T(test_every_route_wants_one),
      T(test_roles),
      T(test_revoked),
      T(test_first_token_stays_revoked),
      T(test_empty_token_file),
      T(test_bad_wishes),
      T(test_nothing_is_kept),
      T(test_looked_up_by_hash),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
