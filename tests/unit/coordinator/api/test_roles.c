/* Who may take which route, and what he gets to see there: every route, with every role and every scope. A route that
 * is not in the table here fails the test. */
#include "tests/unit/coordinator/api/support.h"

#include "common/base/id.h"
#include "common/crypto/digest.h"

typedef enum Kind {
  PLAIN, /* answers; there is nothing of a database in it */
  LIST,  /* shows what is in the scope */
  JOIN,  /* of what this coordinator does not have: agents that join, a session, a file of that name */
  ITEM,  /* of one checkpoint, by its tag */
  WORK,  /* of one job, a plan */
  OF,    /* one database, by its name */
  ASK    /* for a checkpoint, plan or restore, in the body */
} Kind;

typedef struct Row {
  const char *method, *pattern, *roles; /* c, v, o, a; "-" without a token */
  bool fleet;                           /* only with tokens of all databases */
  Kind kind;
} Row;

static const Row rows[] = {
    {"POST", "/api/checkpoint", "coa", false, ASK},
    {"POST", "/api/v1/checkpoints", "coa", false, ASK},
    {"GET", "/api/v1/checkpoints", "cvoa", false, LIST},
    {"GET", "/api/v1/checkpoints/{}", "cvoa", false, ITEM},
    {"GET", "/api/v1/checkpoints/{}/tables", "cvoa", false, ITEM},
    {"GET", "/api/v1/checkpoints/{}/events", "cvoa", false, ITEM},
    {"POST", "/api/v1/checkpoints/{}/drills", "oa", false, ITEM},
    {"POST", "/api/v1/checkpoints/{}/cancel", "oa", false, ITEM},
    {"POST", "/api/v1/checkpoints/{}/pin", "oa", false, ITEM},
    {"POST", "/api/v1/checkpoints/{}/unpin", "oa", false, ITEM},
    {"GET", "/api/v1/drills", "voa", false, LIST},
    {"POST", "/api/v1/plans", "coa", false, ASK},
    {"POST", "/api/v1/restores", "oa", false, ASK},
    {"POST", "/api/v1/rehearsals", "coa", false, ASK},
    {"GET", "/api/v1/jobs", "voa", false, LIST},
    {"GET", "/api/v1/jobs/{}", "cvoa", false, WORK},
    {"POST", "/api/v1/jobs/{}/approve", "oa", false, WORK},
    {"POST", "/api/v1/jobs/{}/cancel", "coa", false, WORK},
    {"POST", "/api/v1/jobs/{}/tunnel", "coa", false, WORK},
    {"GET", "/api/v1/overview", "cvoa", false, LIST},
    {"GET", "/api/v1/databases", "cvoa", false, LIST},
    {"GET", "/api/v1/databases/{}/retention", "voa", false, OF},
    {"POST", "/api/v1/databases/{}/prune", "oa", false, OF},
    {"POST", "/api/v1/databases/{}/inventory", "a", false, OF},
    {"POST", "/api/v1/databases/{}/cordon", "oa", false, OF},
    {"POST", "/api/v1/databases/{}/uncordon", "oa", false, OF},
    {"GET", "/api/v1/holds", "voa", false, PLAIN},
    {"POST", "/api/v1/fleet/pause", "oa", true, PLAIN},
    {"POST", "/api/v1/fleet/resume", "oa", true, PLAIN},
    {"POST", "/api/v1/agents/{}/drain", "oa", true, JOIN},
    {"POST", "/api/v1/agents/{}/undrain", "oa", true, JOIN},
    {"GET", "/api/v1/alerts", "voa", false, PLAIN},
    {"POST", "/api/v1/alerts/test", "oa", true, JOIN},
    {"POST", "/api/v1/alerts/acknowledge", "oa", false, JOIN},
    {"GET", "/api/v1/silences", "voa", false, PLAIN},
    {"POST", "/api/v1/silences", "oa", false, ASK},
    {"DELETE", "/api/v1/silences/{}", "oa", false, JOIN},
    {"GET", "/api/v1/notifications/{}", "voa", true, JOIN},
    {"GET", "/api/v1/rotation", "voa", true, PLAIN},
    {"GET", "/api/v1/fleet", "voa", true, PLAIN},
    {"PUT", "/api/v1/fleet", "a", true, JOIN},
    {"GET", "/api/v1/schedule", "voa", false, PLAIN},
    {"GET", "/api/v1/reports", "voa", false, LIST},
    {"GET", "/api/v1/reports/plans", "voa", true, PLAIN},
    {"POST", "/api/v1/reports/send", "oa", true, JOIN},
    {"GET", "/api/v1/agents", "voa", false, LIST},
    {"POST", "/api/v1/agents", "a", true, JOIN},
    {"DELETE", "/api/v1/agents/{}", "a", true, JOIN},
    {"POST", "/api/v1/enroll", "-", false, JOIN},
    {"GET", "/api/v1/authority", "-", false, JOIN},
    {"GET", "/api/v1/ledger", "voa", false, LIST},
    {"GET", "/api/v1/ledger/verify", "voa", true, PLAIN},
    {"GET", "/api/v1/events", "voa", false, PLAIN},
    {"GET", "/api/v1/tokens", "a", true, PLAIN},
    {"POST", "/api/v1/tokens", "a", true, PLAIN},
    {"POST", "/api/v1/tokens/{}/rotate", "a", true, PLAIN},
    {"DELETE", "/api/v1/tokens/{}", "a", true, PLAIN},
    {"POST", "/api/v1/session", "-", false, JOIN},
    {"GET", "/api/v1/session", "cvoa", false, PLAIN},
    {"DELETE", "/api/v1/session", "cvoa", false, JOIN},
    {"DELETE", "/api/v1/sessions/{}", "a", true, JOIN},
    {"GET", "/api/v1/sign-in", "-", false, PLAIN},
    {"POST", "/api/v1/sign-in", "-", false, JOIN},
    {"GET", "/api/v1/sign-in/callback", "-", false, JOIN},
    {"GET", "/healthz", "-", false, PLAIN},
    {"GET", "/readyz", "-", false, PLAIN},
    {"GET", "/metrics", "voa", true, PLAIN},
    {"GET", "/ui/{}", "-", false, JOIN},
    {"GET", "/", "-", false, PLAIN},
};

static const char *const roles[] = {"ci", "viewer", "operator", "admin", "root", ""};
static const char *const scopes[] = {NULL, "[\"prod-*\"]", "[\"shop\", \"x\"]", "[\"zzz*\"]", "[]", "not json"};
static const char *const databases[] = {"prod-api", "shop"};

/* Past the API, which would not make all of them. */
static void put_token(Server *s, const char *name, const char *role, const char *scope, int64_t expires_us) {
  CLEANUP_FREE char *secret = memory_format("secret-of-%s", name);
  Id id = id_new();
  LedgerToken token = {.id = id.text,
                       .name = (char *)name,
                       .role = (char *)role,
                       .databases = (char *)scope,
                       .created_us = 1,
                       .expires_us = expires_us};
  sha256_hex(secret, strlen(secret), token.hash);
  OK(ledger_token_insert(s->f->ledger, &token, &s->f->err));
}

static const Row *row_for(const char *method, const char *pattern) {
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
    if (strcmp(rows[i].method, method) == 0 && strcmp(rows[i].pattern, pattern) == 0)
      return &rows[i];
  print_error("%s %s is in no table of who may take it\n", method, pattern);
  fail();
  return NULL;
}

static void test_each_route_is_in_the_table(void **state) {
  (void)state;
  size_t count;
  const Route *routes = router_routes(&count);
  assert_int_equal(count, ARRAY_SIZE(rows));
  for (size_t i = 0; i < count; i++) {
    const Row *row = row_for(routes[i].method, routes[i].pattern);
    assert_int_equal(routes[i].roles & ROLE_NONE ? 1 : 0, row->roles[0] == '-');
    assert_int_equal(routes[i].reach == REACH_FLEET, row->fleet);
    for (size_t r = 0; r < ARRAY_SIZE(roles); r++) {
      bool listed = roles[r][0] && strchr("cvoa", roles[r][0]) && strchr(row->roles, roles[r][0]);
      assert_int_equal((routes[i].roles & auth_role(roles[r])) != 0, listed);
    }
  }
}

static char plans[ARRAY_SIZE(databases)][32]; /* one of each */

static char *target_of(const Row *row, const char *database) {
  const char *hole = strstr(row->pattern, "{}");
  if (!hole)
    return memory_format("%s%s", row->pattern, strstr(row->pattern, "reports") ? "?from=2020-01-01&to=2020-02-01" : "");
  if (row->kind == WORK)
    return memory_format("%.*s%s%s", (int)(hole - row->pattern), row->pattern,
                         plans[strcmp(database, databases[0]) != 0], hole + 2);
  return memory_format("%.*s%s%s%s", (int)(hole - row->pattern), row->pattern, row->kind == ITEM ? "tag-" : "",
                       row->kind == ITEM || row->kind == OF ? database : "victim", hole + 2);
}

static bool in_scope(const char *scope, const char *database) {
  return !scope || (strcmp(scope, scopes[1]) == 0 && strcmp(database, "prod-api") == 0) ||
         (strcmp(scope, scopes[2]) == 0 && strcmp(database, "shop") == 0);
}

static int64_t events_of(Server *s) {
  int64_t events;
  char tip[65];
  OK(ledger_chain_verify(s->f->ledger, &events, tip, &s->f->err));
  return events;
}

static char *body_of(const Row *row, const char *database) {
  if (strstr(row->pattern, "silences"))
    return memory_format("{\"database\": \"%s\", \"seconds\": 3600, \"reason\": \"moved\"}", database);
  if (strstr(row->pattern, "plans"))
    return memory_format("{\"database\": \"%s\"}", database);
  if (strstr(row->pattern, "rehearsals"))
    return memory_format("{\"database\": \"%s\", \"tunnel\": true, \"nonce\": \"0123456789abcdef\", \"time\": 1, "
                         "\"mac\": \"" PROOF "\"}",
                         database);
  if (strstr(row->pattern, "restores"))
    return memory_format("{\"database\": \"%s\", \"mode\": \"beside\", \"tables\": [\"a\"], \"confirm\": \"%s\"}",
                         database, database);
  return memory_format("{\"database\": \"%s\", \"tag\": \"t\", \"wait\": false}", database);
}

/* One route, one token, one database. */
static void take(Server *s, const Row *row, const char *role, const char *scope, const char *token,
                 const char *database) {
  CLEANUP_FREE char *target = target_of(row, database);
  CLEANUP_FREE char *body =
      row->kind == ASK ? body_of(row, database)
                       : memory_strdup(!strstr(target, "rotate") && !strstr(target, "/fleet/") &&
                                               !strstr(target, "drain") && (row->kind == JOIN || row->kind == PLAIN)
                                           ? "{\"name\": \"made\"}"
                                           : "{}");
  int64_t before = events_of(s);
  ANSWER got = with_token(s, row->method, target, token, strcmp(row->method, "GET") == 0 ? NULL : body);
  bool may = row->roles[0] == '-' ||
             (strchr("cvoa", role[0]) && strcmp(role, "root") != 0 && role[0] && strchr(row->roles, role[0]));
  int refused =
      !may || (row->fleet && scope) ? 403
      : (row->kind == ITEM || row->kind == ASK || row->kind == WORK || row->kind == OF) && !in_scope(scope, database)
          ? 404
          : 0;
  if (row->kind == JOIN && !refused) {
    assert_true(got.status == 400 || got.status == 404);
    return;
  }
  if (strstr(row->pattern, "tunnel") && !refused) { /* a plan has none, and the body is no frame */
    assert_int_equal(got.status, 400);
    return;
  }
  if (refused ? got.status != refused : got.status == 401 || got.status == 403 || got.status == 404)
    print_error("%s %s as %s of %s: %d %s\n", row->method, target, role, scope ? scope : "all", got.status, got.body);
  if (refused) {
    expect_refusal(&got, refused, refused == 403 ? "forbidden" : "not_found");
    assert_int_equal(events_of(s), before); /* and nothing was done */
    return;
  }
  assert_true(got.status < 300 || got.status == 409);
  if (row->kind == LIST)
    assert_int_equal(strstr(got.body, database) != NULL,
                     in_scope(scope, database) && strcmp(row->pattern, "/api/v1/agents") != 0);
}

static void restore_victim(Server *s) {
  LedgerToken *tokens;
  size_t count;
  OK(ledger_token_list(s->f->ledger, &tokens, &count, &s->f->err));
  for (size_t i = 0; i < count; i++)
    if ((strcmp(tokens[i].name, "victim") == 0 || strcmp(tokens[i].name, "made") == 0) && !tokens[i].revoked_us) {
      tokens[i].revoked_us = 1;
      OK(ledger_token_update(s->f->ledger, &tokens[i], &s->f->err));
    }
  ledger_token_list_free(tokens, count);
  Id id = id_new();
  LedgerToken token = {.id = id.text, .name = (char *)"victim", .role = (char *)"ci", .created_us = 1};
  sha256_hex(id.text, strlen(id.text), token.hash);
  OK(ledger_token_insert(s->f->ledger, &token, &s->f->err));
}

static void test_every_route_role_and_scope(void **state) {
  Server *s = *state;
  for (size_t d = 0; d < ARRAY_SIZE(databases); d++) {
    char *id = stored(s->f, databases[d], MANIFEST);
    JOB *drill = must_get(s->f, 2, DRILL);
    assert_true(drill_proven(s->f, 2, drill, MANIFEST));
    free(id);
    CLEANUP_FREE char *body = body_of(row_for("POST", "/api/v1/plans"), databases[d]);
    ANSWER plan = ask(s, "POST", "/api/v1/plans", body);
    assert_int_equal(plan.status, 202);
    snprintf(plans[d], sizeof plans[d], "%s", text_of(plan.json, "id"));
  }
  for (size_t d = 0; d < ARRAY_SIZE(databases); d++) {
    CLEANUP_FREE char *tag = memory_format("tag-%s", databases[d]);
    free(request(s->f, databases[d], tag));
  }
  for (size_t r = 0; r < ARRAY_SIZE(roles); r++)
    for (size_t c = 0; c < ARRAY_SIZE(scopes); c++) {
      CLEANUP_FREE char *name = memory_format("token-%zu-%zu", r, c);
      CLEANUP_FREE char *secret = memory_format("secret-of-%s", name);
      put_token(s, name, roles[r], scopes[c], 0);
      for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        for (size_t d = 0; d < ARRAY_SIZE(databases); d++) {
          if (strstr(rows[i].pattern, "tokens") && strcmp(roles[r], "admin") == 0)
            restore_victim(s);
          take(s, &rows[i], roles[r], scopes[c], secret, databases[d]);
        }
    }
}

static void test_no_name_is_hinted_at(void **state) {
  Server *s = *state;
  put_token(s, "shop-ci", "ci", "[\"shop\"]", 0);
  ANSWER got =
      with_token(s, "POST", "/api/v1/checkpoints", "secret-of-shop-ci", "{\"database\": \"prod-apo\", \"tag\": \"t\"}");
  expect_refusal(&got, 404, "not_found");
  assert_null(strstr(got.body, "prod-api"));
  ANSWER other =
      with_token(s, "POST", "/api/v1/checkpoints", "secret-of-shop-ci", "{\"database\": \"shopp\", \"tag\": \"t\"}");
  assert_non_null(strstr(other.body, "did you mean shop?"));
}

/* A tag that is in several databases means the newest that is seen; pages are full pages of what is seen. */
static void test_looking_past_what_is_hidden(void **state) {
  Server *s = *state;
  char *mine = request(s->f, "prod-api", "both");
  for (int i = 0; i < 5; i++)
    free(request(s->f, "shop", "both"));
  char *hidden = request(s->f, "shop", "last");
  put_token(s, "prod", "operator", "[\"prod-*\"]", 0);
  ANSWER shown = with_token(s, "GET", "/api/v1/checkpoints/both", "secret-of-prod", NULL);
  assert_string_equal(text_of(shown.json, "id"), mine);
  ANSWER listed = with_token(s, "GET", "/api/v1/checkpoints?limit=1", "secret-of-prod", NULL);
  assert_string_equal(text_of(json_array_get(json_object_get(listed.json, "checkpoints"), 0), "id"), mine);
  ANSWER events = with_token(s, "GET", "/api/v1/ledger?limit=1", "secret-of-prod", NULL);
  const json_t *newest = json_array_get(json_object_get(events.json, "events"), 0);
  assert_string_equal(text_of(newest, "checkpoint_id"), mine);
  CLEANUP_FREE char *path = memory_format("/api/v1/checkpoints/%s", hidden);
  CLEANUP_FREE char *cancel = memory_format("%s/cancel", path);
  CLEANUP_FREE char *of = memory_format("/api/v1/ledger?checkpoint=%s", hidden);
  REFUSED(with_token(s, "GET", path, "secret-of-prod", NULL), 404, "not_found");
  REFUSED(with_token(s, "GET", "/api/v1/checkpoints/last?database=shop", "secret-of-prod", NULL), 404, "not_found");
  REFUSED(with_token(s, "POST", cancel, "secret-of-prod", ""), 404, "not_found");
  assert_int_equal(state_of(s->f, hidden), CHECKPOINT_REQUESTED);
  ANSWER none = with_token(s, "GET", of, "secret-of-prod", NULL);
  assert_int_equal(json_array_size(json_object_get(none.json, "events")), 0);
  free(mine);
  free(hidden);
}

static Client stream_open(Server *s, const char *name, const char *headers) {
  CLEANUP_FREE char *text = memory_format(
      "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n%sAuthorization: Bearer secret-of-%s\r\n\r\n", headers, name);
  Client client = client_open(s);
  assert_true(client_send(s, &client, text, strlen(text)));
  settle(s, &client);
  return client;
}

static bool has(const Client *client, const char *text) {
  return client->in.size > 0 && memmem(client->in.data, client->in.size, text, strlen(text));
}

static void test_streams_are_filtered(void **state) {
  Server *s = *state;
  put_token(s, "prod", "viewer", "[\"prod-*\"]", 0);
  put_token(s, "all", "viewer", NULL, 0);
  free(request(s->f, "shop", "earlier"));
  CLIENT prod = stream_open(s, "prod", "Last-Event-ID: 0\r\n");
  CLIENT all = stream_open(s, "all", "Last-Event-ID: 0\r\n");
  assert_true(has(&all, "shop") && has(&all, "token.created") && !has(&prod, "token.created"));
  free(request(s->f, "prod-api", "now"));
  for (int i = 0; i < 2; i++) { /* the dump of each, and its progress */
    JOB *job = must_get(s->f, i, DUMP);
    settle(s, &prod);
    size_t size = prod.in.size;
    renew(s->f, i, job);
    settle(s, &prod);
    assert_int_equal(prod.in.size > size, strcmp(job->database, "prod-api") == 0);
  }
  settle(s, &all);
  assert_true(has(&all, "prod-api") && has(&prod, "prod-api") && has(&prod, "event: progress"));
  assert_true(!has(&prod, "shop") && !has(&prod, "earlier"));
}

static void test_revocation_ends_what_lasts(void **state) {
  Server *s = *state;
  put_token(s, "gone", "operator", NULL, 0);
  put_token(s, "stays", "operator", NULL, 0);
  CLIENT stream = stream_open(s, "gone", ""), other = stream_open(s, "stays", ""), waiting = client_open(s);
  static const char ask_text[] = "POST /api/checkpoint HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret-of-gone\r\n"
                                 "Content-Length: 33\r\n\r\n{\"database\": \"shop\", \"tag\": \"t\" }";
  assert_true(client_send(s, &waiting, ask_text, sizeof ask_text - 1));
  settle(s, &waiting);
  assert_int_equal(waiting.in.size, 0);
  ANSWERED(ask(s, "DELETE", "/api/v1/tokens/gone", NULL), 200);
  ANSWER answer = client_answer(s, &waiting, false);
  expect_refusal(&answer, 401, "unauthorized");
  assert_true(*text_of(answer.json, "id"));
  settle(s, &stream);
  settle(s, &other);
  assert_true(stream.closed && !other.closed);
}

static void test_expiry(void **state) {
  Server *s = *state;
  put_token(s, "old", "viewer", NULL, clock_wall_us() - 1);
  put_token(s, "soon", "viewer", NULL, clock_wall_us() + 3600 * (int64_t)1000000);
  ANSWER got = with_token(s, "GET", "/api/v1/databases", "secret-of-old", NULL);
  expect_refusal(&got, 401, "unauthorized");
  const json_t *error = json_object_get(got.json, "error");
  assert_non_null(strstr(text_of(error, "message"), "expired at 2"));
  assert_non_null(strstr(text_of(error, "remedy"), "pgseal token rotate old"));
  ANSWERED(with_token(s, "GET", "/api/v1/databases", "secret-of-soon", NULL), 200);
  CLIENT stream = stream_open(s, "soon", "");
  events_heartbeat(s->api);
  settle(s, &stream);
  assert_false(stream.closed);
  LedgerToken token = {0};
  char hash[SHA256_HEX_SIZE];
  sha256_hex("secret-of-soon", strlen("secret-of-soon"), hash);
  OK(ledger_token_by_hash(s->f->ledger, hash, &token, &s->f->err));
  token.expires_us = clock_wall_us();
  OK(ledger_token_update(s->f->ledger, &token, &s->f->err));
  ledger_token_release(&token);
  events_heartbeat(s->api);
  settle(s, &stream);
  assert_true(stream.closed);
}

/* The end of an overlap comes. */
static void let_overlap_end(Server *s, const char *secret) {
  LedgerToken token = {0};
  char hash[SHA256_HEX_SIZE];
  sha256_hex(secret, strlen(secret), hash);
  OK(ledger_token_by_hash(s->f->ledger, hash, &token, &s->f->err));
  assert_true(token.replaced_us && token.expires_us > clock_wall_us());
  token.expires_us = clock_wall_us();
  OK(ledger_token_update(s->f->ledger, &token, &s->f->err));
  ledger_token_release(&token);
}

static char *rotate(Server *s, const char *body) {
  ANSWER made = ask(s, "POST", "/api/v1/tokens/pipeline/rotate", body);
  assert_int_equal(made.status, 201);
  assert_string_equal(text_of(made.json, "role"), "ci");
  assert_string_equal(json_string_value(json_array_get(json_object_get(made.json, "databases"), 0)), "shop");
  assert_true(json_is_string(json_object_get(made.json, "expires_at")));
  return memory_strdup(text_of(made.json, "token"));
}

static void test_rotation(void **state) {
  Server *s = *state;
  ANSWER made =
      ask(s, "POST", "/api/v1/tokens", "{\"name\": \"pipeline\", \"databases\": [\"shop\"], \"expires_in\": 86400}");
  const char *first = text_of(made.json, "token");
  char *second = rotate(s, "{\"overlap\": 60}"), *third = rotate(s, NULL), *fourth = rotate(s, "{\"overlap\": 0}");
  static const char target[] = "/api/v1/databases";
  REFUSED(with_token(s, "GET", target, first, NULL), 401, "unauthorized"); /* one overlap at a time */
  REFUSED(with_token(s, "GET", target, second, NULL), 401, "unauthorized");
  REFUSED(with_token(s, "GET", target, third, NULL), 401, "unauthorized");
  ANSWERED(with_token(s, "GET", target, fourth, NULL), 200);
  char *fifth = rotate(s, "{\"overlap\": 3600, \"expires_in\": 60}");
  ANSWERED(with_token(s, "GET", target, fourth, NULL), 200);
  ANSWERED(with_token(s, "GET", target, fifth, NULL), 200);
  let_overlap_end(s, fourth);
  ANSWER old = with_token(s, "GET", target, fourth, NULL);
  expect_refusal(&old, 401, "unauthorized");
  assert_non_null(strstr(old.body, "Use its new secret"));
  ANSWERED(with_token(s, "GET", target, fifth, NULL), 200);
  REFUSED(ask(s, "POST", "/api/v1/tokens", "{\"name\": \"pipeline\"}"), 409, "conflict");
  static const char *const bad[] = {
      "{\"overlap\": -1}",  "{\"overlap\": 1.5}", "{\"overlap\": 99999999}", "{\"role\": \"admin\"}", "[]",
      "{\"expires_in\": 1}"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    REFUSED(ask(s, "POST", "/api/v1/tokens/pipeline/rotate", bad[i]), 400, "invalid_argument");
  REFUSED(ask(s, "POST", "/api/v1/tokens/nobody/rotate", NULL), 404, "not_found");
  ANSWERED(ask(s, "DELETE", "/api/v1/tokens/pipeline", NULL), 200); /* all secrets of the name */
  REFUSED(with_token(s, "GET", target, fifth, NULL), 401, "unauthorized");
  free(second);
  free(third);
  free(fourth);
  free(fifth);
}

/* Who did what, from where. */
static void test_audit(void **state) {
  Server *s = *state;
  char *operator_text = make_token(s, "oncall", "operator");
  ANSWER asked =
      with_token(s, "POST", "/api/v1/checkpoints", operator_text, "{\"database\": \"shop\", \"tag\": \"t\"}");
  assert_int_equal(asked.status, 202);
  ANSWERED(with_token(s, "POST", "/api/v1/checkpoints/t/cancel", operator_text, ""), 202);
  char *drilled = sealed(s->f);
  CLEANUP_FREE char *drills = memory_format("/api/v1/checkpoints/%s/drills", drilled);
  ANSWERED(with_token(s, "POST", drills, operator_text, ""), 202);
  ANSWERED(ask(s, "POST", "/api/v1/tokens/oncall/rotate", NULL), 201);
  ANSWERED(ask(s, "DELETE", "/api/v1/tokens/oncall", NULL), 200);
  static const struct {
    const char *kind, *actor;
  } wanted[] = {{"token.created", "admin"},    {"checkpoint.requested", "oncall"}, {"checkpoint.canceled", "oncall"},
                {"drill.requested", "oncall"}, {"token.rotated", "admin"},         {"token.revoked", "admin"}};
  ANSWER ledger = ask(s, "GET", "/api/v1/ledger?limit=1000&after=0", NULL);
  const json_t *events = json_object_get(ledger.json, "events"), *event;
  for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
    size_t index, found = 0;
    json_array_foreach(events, index, event) {
      found += strcmp(text_of(event, "kind"), wanted[i].kind) == 0 &&
               strcmp(text_of(event, "actor"), wanted[i].actor) == 0 &&
               strcmp(text_of(json_object_get(event, "detail"), "address"), "127.0.0.1") == 0;
    }
    if (found != 1)
      print_error("%s by %s: %zu\n", wanted[i].kind, wanted[i].actor, found);
    assert_int_equal(found, 1);
  }
  free(operator_text);
  free(drilled);
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)
      cmocka_unit_test(test_each_route_is_in_the_table),
      T(test_every_route_role_and_scope),
      T(test_no_name_is_hinted_at),
      T(test_looking_past_what_is_hidden),
      T(test_streams_are_filtered),
      T(test_revocation_ends_what_lasts),
      T(test_expiry),
      T(test_rotation),
      T(test_audit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
