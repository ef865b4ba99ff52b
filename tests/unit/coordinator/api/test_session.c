/* Signed in by a cookie: what that may, what a foreign page may not, and when it ends. And the dashboard's files. */
#include "tests/unit/coordinator/api/support.h"

#include "common/crypto/digest.h"
#include "coordinator/web/web.h"

typedef struct Session {
  char cookie[160]; /* as a request's header, with its CRLF */
  char csrf[100];
} Session;

static Answer send_with(Server *s, const char *method, const char *target, const char *headers, const char *body) {
  return ask_bytes(s, method, target, headers, body, body ? strlen(body) : 0);
}

static Answer sign_in_raw(Server *s, const char *headers, const char *token) {
  CLEANUP_FREE char *body = memory_format("{\"token\": \"%s\"}", token);
  return send_with(s, "POST", "/api/v1/session", headers, body);
}

static Session sign_in(Server *s, const char *token) {
  Session session = {{0}, {0}};
  ANSWER got = sign_in_raw(s, "", token);
  assert_int_equal(got.status, 200);
  const char *cookie = header_of(&got, "\r\nSet-Cookie: ");
  assert_non_null(cookie);
  snprintf(session.cookie, sizeof session.cookie, "Cookie: %.*s\r\n", (int)strcspn(cookie, ";"), cookie);
  snprintf(session.csrf, sizeof session.csrf, "X-Pgseal-CSRF: %s\r\n", text_of(got.json, "csrf"));
  return session;
}

/* change: with what a change has to show. */
static Answer by_session(Server *s, const Session *session, bool change, const char *method, const char *target,
                         const char *body) {
  CLEANUP_FREE char *headers = memory_format("%s%s", session->cookie, change ? session->csrf : "");
  return send_with(s, method, target, headers, body);
}

static LedgerSession row_of(Server *s, const Session *session) {
  LedgerSession row;
  char hash[SHA256_HEX_SIZE];
  const char *secret = strchr(session->cookie, '=') + 1;
  sha256_hex(secret, strcspn(secret, "\r"), hash);
  OK(ledger_session_get(s->f->ledger, hash, &row, &s->f->err));
  return row;
}

static const char ask_for[] = "{\"database\": \"shop\", \"tag\": \"t\"}";

static void test_sign_in(void **state) {
  Server *s = *state;
  ANSWER got = sign_in_raw(s, "", ADMIN);
  assert_int_equal(got.status, 200);
  const char *cookie = header_of(&got, "\r\nSet-Cookie: ");
  CLEANUP_FREE char *line = memory_strndup(cookie, strcspn(cookie, "\r"));
  assert_memory_equal(line, "pgseal_session=", 15);
  assert_int_equal(strspn(line + 15, "0123456789abcdef"), 64);
  assert_string_equal(line + 15 + 64, "; Path=/; HttpOnly; SameSite=Strict; Max-Age=604800");
  assert_string_equal(text_of(got.json, "role"), "admin");
  assert_int_equal(strlen(text_of(got.json, "csrf")), 64);
  assert_null(strstr(line, text_of(got.json, "csrf")));
  assert_null(strstr(got.body, line + 15));
  Session session = sign_in(s, ADMIN);
  ANSWER shown = by_session(s, &session, false, "GET", "/api/v1/session", NULL);
  assert_string_equal(text_of(shown.json, "name"), "admin");
  assert_non_null(strstr(session.csrf, text_of(shown.json, "csrf")));
  ANSWERED(by_session(s, &session, false, "GET", "/api/v1/databases", NULL), 200);
  ANSWER ledger = ask(s, "GET", "/api/v1/ledger", NULL);
  assert_non_null(strstr(ledger.body, "session.opened"));
  char *secret = memory_strndup(strchr(session.cookie, '=') + 1, 64);
  CLEANUP(buffer_release) Buffer file = {0};
  OK(file_read(s->f->path, 64 << 20, &file, &s->f->err));
  assert_null(memmem(file.data, file.size, secret, 64)); /* only its hash */
  free(secret);
}

static void test_what_does_not_sign_in(void **state) {
  Server *s = *state;
  char *revoked = make_token(s, "gone", "viewer");
  ANSWERED(ask(s, "DELETE", "/api/v1/tokens/gone", NULL), 200);
  const char *const wrong[] = {"", "x", revoked, ADMIN "x", " " ADMIN};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    ANSWER got = sign_in_raw(s, "", wrong[i]);
    expect_refusal(&got, 401, "unauthorized");
    assert_null(header_of(&got, "\r\nSet-Cookie"));
  }
  static const char *const bodies[] = {"{}", "[]", "{\"token\": 1}", "{\"token\": \"x\", \"role\": \"admin\"}"};
  for (size_t i = 0; i < ARRAY_SIZE(bodies); i++)
    REFUSED(send_with(s, "POST", "/api/v1/session", "", bodies[i]), 400, "invalid_argument");
  static const char *const foreign[] = {"Origin: http://evil.example\r\n", "Origin: null\r\n",
                                        "Origin: http://x.evil\r\n", "Sec-Fetch-Site: cross-site\r\n",
                                        "Sec-Fetch-Site: same-site\r\n"};
  for (size_t i = 0; i < ARRAY_SIZE(foreign); i++)
    REFUSED(sign_in_raw(s, foreign[i], ADMIN), 403, "forbidden");
  ANSWERED(sign_in_raw(s, "Origin: http://x\r\nSec-Fetch-Site: same-origin\r\n", ADMIN), 200);
  free(revoked);
}

static void test_cookies_that_are_none(void **state) {
  Server *s = *state;
  Session session = sign_in(s, ADMIN);
  char hash[SHA256_HEX_SIZE];
  memcpy(hash, row_of(s, &session).hash, sizeof hash);
  CLEANUP_FREE char *by_hash = memory_format("Cookie: pgseal_session=%s\r\n", hash);
  CLEANUP_FREE char *upper = memory_strdup(session.cookie);
  upper[strlen("Cookie: pgseal_session=")] ^= 1;
  CLEANUP_FREE char *host = memory_format("Cookie: __Host-%s", session.cookie + 8); /* of TLS, which this is not */
  const char *const lines[] = {"Cookie: pgseal_session=\r\n",
                               "Cookie: pgseal_session=x\r\n",
                               by_hash,
                               upper,
                               host,
                               "Cookie: pgseal_session=" ADMIN "\r\n",
                               "Cookie: x=y\r\n"};
  for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
    REFUSED(send_with(s, "GET", "/api/v1/databases", lines[i], NULL), 401, "unauthorized");
  CLEANUP_FREE char *both = memory_format("Authorization: Bearer wrong\r\n%s", session.cookie);
  REFUSED(send_with(s, "GET", "/api/v1/databases", both, NULL), 401, "unauthorized");
}

/* What another site's page could have a browser send. */
static void test_foreign_changes(void **state) {
  Server *s = *state;
  Session session = sign_in(s, ADMIN), other = sign_in(s, ADMIN);
  CLEANUP_FREE char *stranger = memory_format("%s%s", session.cookie, other.csrf);
  CLEANUP_FREE char *empty = memory_format("%sX-Pgseal-CSRF:\r\n", session.cookie);
  CLEANUP_FREE char *origin = memory_format("%s%sOrigin: http://evil.example\r\n", session.cookie, session.csrf);
  CLEANUP_FREE char *frame = memory_format("%s%sOrigin: null\r\n", session.cookie, session.csrf);
  CLEANUP_FREE char *site = memory_format("%s%sSec-Fetch-Site: cross-site\r\n", session.cookie, session.csrf);
  const char *const lines[] = {session.cookie, stranger, empty, origin, frame, site};
  static const struct {
    const char *method, *path;
  } changes[] = {{"POST", "/api/v1/checkpoints"},
                 {"POST", "/api/v1/fleet/pause"},
                 {"DELETE", "/api/v1/session"},
                 {"DELETE", "/api/v1/tokens/admin"},
                 {"PUT", "/api/v1/fleet"}};
  for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
    for (size_t j = 0; j < ARRAY_SIZE(changes); j++)
      REFUSED(send_with(s, changes[j].method, changes[j].path, lines[i], ask_for), 403, "forbidden");
  CLEANUP_FREE char *own = memory_format("%s%sOrigin: http://x\r\n", session.cookie, session.csrf);
  ANSWERED(send_with(s, "POST", "/api/v1/checkpoints", own, ask_for), 202);
  ANSWERED(by_session(s, &session, true, "POST", "/api/v1/checkpoints", ask_for), 202);
  ANSWERED(send_with(s, "POST", "/api/v1/checkpoints", BEARER "Origin: http://evil.example\r\n", ask_for), 202);
}

/* Every route refuses by a session what it refuses by the session's token. */
static void test_roles_are_the_tokens(void **state) {
  Server *s = *state;
  static const char *const names[] = {"ci", "viewer", "operator", "admin"};
  size_t count;
  const Route *routes = router_routes(&count);
  for (size_t r = 0; r < ARRAY_SIZE(names); r++) {
    CLEANUP_FREE char *token = make_token(s, names[r][0] == 'a' ? "second" : names[r], names[r]);
    for (size_t i = 0; i < count; i++) {
      const Route *route = &routes[i];
      if (route->roles & (ROLE_NONE | auth_role(names[r])))
        continue;
      Session session = sign_in(s, token);
      const char *hole = strstr(route->pattern, "{}");
      CLEANUP_FREE char *path = hole ? memory_format("%.*sx%s", (int)(hole - route->pattern), route->pattern, hole + 2)
                                     : memory_strdup(route->pattern);
      REFUSED(by_session(s, &session, true, route->method, path, strcmp(route->method, "GET") ? "{}" : NULL), 403,
              "forbidden");
    }
  }
  ANSWER made =
      ask(s, "POST", "/api/v1/tokens", "{\"name\": \"s\", \"role\": \"viewer\", \"databases\": [\"prod-*\"]}");
  Session scoped = sign_in(s, text_of(made.json, "token"));
  ANSWER seen = by_session(s, &scoped, false, "GET", "/api/v1/databases", NULL);
  assert_true(strstr(seen.body, "prod-api") && !strstr(seen.body, "shop"));
  REFUSED(by_session(s, &scoped, false, "GET", "/api/v1/ledger/verify", NULL), 403, "forbidden");
}

static void test_ends(void **state) {
  Server *s = *state;
  Session session = sign_in(s, ADMIN), stays = sign_in(s, ADMIN);
  ANSWER out = by_session(s, &session, true, "DELETE", "/api/v1/session", NULL);
  assert_int_equal(out.status, 200);
  const char *cookie = header_of(&out, "\r\nSet-Cookie: ");
  assert_memory_equal(cookie, "pgseal_session=; ", 17);
  assert_non_null(strstr(cookie, "Max-Age=0"));
  REFUSED(by_session(s, &session, false, "GET", "/api/v1/databases", NULL), 401, "unauthorized");
  ANSWERED(by_session(s, &stays, false, "GET", "/api/v1/databases", NULL), 200);
  server_close(s);
  server_open(s); /* a restart ends none */
  ANSWERED(by_session(s, &stays, false, "GET", "/api/v1/databases", NULL), 200);

  char *token = make_token(s, "temporary", "viewer");
  Session revoked = sign_in(s, token);
  ANSWERED(by_session(s, &revoked, false, "GET", "/api/v1/databases", NULL), 200);
  ANSWERED(ask(s, "DELETE", "/api/v1/tokens/temporary", NULL), 200);
  REFUSED(by_session(s, &revoked, false, "GET", "/api/v1/databases", NULL), 401, "unauthorized");
  REFUSED(ask(s, "DELETE", "/api/v1/session", NULL), 404, "not_found"); /* a token is no session */
  free(token);
}

static void replace(Server *s, LedgerSession *row) {
  OK(ledger_session_remove(s->f->ledger, row->hash, &s->f->err));
  OK(ledger_session_insert(s->f->ledger, row, &s->f->err));
}

static void test_time(void **state) {
  Server *s = *state;
  const int64_t now = clock_wall_us(), hour = 3600 * (int64_t)1000000;
  const struct {
    int64_t seen_us, expires_us;
    int status;
  } rows[] = {{now - 11 * hour, now + hour, 200}, {now - 13 * hour, now + hour, 401}, {now, now - 1, 401}};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    Session session = sign_in(s, ADMIN);
    LedgerSession row = row_of(s, &session);
    assert_in_range(row.expires_us - row.created_us, 7 * 24 * hour, 7 * 24 * hour);
    row.seen_us = rows[i].seen_us;
    row.expires_us = rows[i].expires_us;
    replace(s, &row);
    ANSWERED(by_session(s, &session, false, "GET", "/api/v1/databases", NULL), rows[i].status);
    if (rows[i].status == 200) /* seen again: the idle time begins anew */
      assert_true(row_of(s, &session).seen_us >= now);
    sign_in(s, ADMIN); /* what is over is forgotten */
    LedgerSession left;
    Status status = ledger_session_get(s->f->ledger, row.hash, &left, &s->f->err);
    assert_int_equal(status, rows[i].status == 200 ? STATUS_OK : ERR_NOT_FOUND);
  }
}

/* However often somebody signs in: a bounded number of sessions of a token. */
static void test_bounded(void **state) {
  Server *s = *state;
  Session first = sign_in(s, ADMIN), last = first;
  for (int i = 0; i < 100; i++) {
    LedgerSession row = {.created_us = clock_wall_us() + i, .seen_us = clock_wall_us(), .expires_us = INT64_MAX};
    CLEANUP_FREE char *text = memory_format("session %d", i);
    sha256_hex(text, strlen(text), row.hash);
    sha256_hex(ADMIN, strlen(ADMIN), row.token_hash);
    OK(ledger_session_insert(s->f->ledger, &row, &s->f->err));
  }
  last = sign_in(s, ADMIN);
  REFUSED(by_session(s, &first, false, "GET", "/api/v1/databases", NULL), 401, "unauthorized");
  ANSWERED(by_session(s, &last, false, "GET", "/api/v1/databases", NULL), 200);
}

static void test_streams_end_with_it(void **state) {
  Server *s = *state;
  Session session = sign_in(s, ADMIN), other = sign_in(s, ADMIN);
  Client streams[2];
  const Session *of[] = {&session, &other};
  for (int i = 0; i < 2; i++) {
    CLEANUP_FREE char *text = memory_format("GET /api/v1/events HTTP/1.1\r\nHost: x\r\n%s\r\n", of[i]->cookie);
    streams[i] = client_open(s);
    assert_true(client_send(s, &streams[i], text, strlen(text)));
    settle(s, &streams[i]);
    assert_non_null(memmem(streams[i].in.data, streams[i].in.size, "200 OK", 6));
  }
  ANSWERED(by_session(s, &session, true, "DELETE", "/api/v1/session", NULL), 200);
  for (int i = 0; i < 2; i++)
    settle(s, &streams[i]);
  assert_true(streams[0].closed && !streams[1].closed);
  LedgerSession row = row_of(s, &other);
  row.expires_us = clock_wall_us();
  replace(s, &row);
  events_heartbeat(s->api);
  settle(s, &streams[1]);
  assert_true(streams[1].closed);
  for (int i = 0; i < 2; i++)
    client_close(&streams[i]);
}

/* ---- the dashboard's files ---- */

static void test_files(void **state) {
  Server *s = *state;
  for (size_t i = 0; i < web_blob_count; i++) {
    const WebFile *file = web_file(web_blobs[i].name);
    CLEANUP_FREE char *path = memory_format("/ui/%s", file->name);
    ANSWER got = send_with(s, "GET", path, "", NULL);
    assert_int_equal(got.status, 200);
    assert_int_equal(got.size, file->size);
    assert_memory_equal(got.body, file->data, file->size);
    const char *policy = header_of(&got, "\r\nContent-Security-Policy: ");
    assert_true(policy && strstr(policy, "default-src 'none'") && strstr(policy, "frame-ancestors 'none'"));
    assert_null(strstr(policy, "unsafe"));
    assert_true(header_of(&got, "\r\nX-Content-Type-Options: nosniff") && header_of(&got, "\r\nReferrer-Policy: no-r"));
    ANSWER packed = send_with(s, "GET", path, "Accept-Encoding: gzip\r\n", NULL);
    assert_non_null(header_of(&packed, "\r\nContent-Encoding: gzip"));
    assert_int_equal(packed.size, file->packed_size);
    for (int j = 0; j < 2; j++) {
      const char *etag = header_of(j ? &packed : &got, "\r\nETag: ");
      CLEANUP_FREE char *line = memory_format("If-None-Match: %.*s\r\n", (int)strcspn(etag, "\r"), etag);
      ANSWER same = send_with(s, "GET", path, line, NULL);
      assert_int_equal(same.status, 304);
    }
    ANSWERED(send_with(s, "GET", path, "If-None-Match: \"other\"\r\n", NULL), 200);
  }
  static const char *const none[] = {"/ui/x", "/ui/", "/ui/../coordinator.yaml", "/ui/%2e%2e%2f", "/ui/index.html/x"};
  for (size_t i = 0; i < ARRAY_SIZE(none); i++)
    REFUSED(send_with(s, "GET", none[i], "", NULL), 404, "not_found");
  ANSWER page = send_with(s, "GET", "/", "Accept: text/html,*/*\r\n", NULL);
  assert_true(page.status == 200 && header_of(&page, "\r\nContent-Type: text/html"));
  ANSWER text = send_with(s, "GET", "/", "Accept: */*\r\n", NULL);
  assert_true(text.status == 200 && header_of(&text, "\r\nContent-Type: text/plain"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)
      T(test_sign_in),
      T(test_what_does_not_sign_in),
      T(test_cookies_that_are_none),
      T(test_foreign_changes),
      T(test_roles_are_the_tokens),
      T(test_ends),
      T(test_time),
      T(test_bounded),
      T(test_streams_end_with_it),
      T(test_files),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
