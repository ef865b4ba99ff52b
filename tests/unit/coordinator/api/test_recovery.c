/* Plans and restores over HTTP: what a body may hold, who may do what, and how a job is shown. */
#include "tests/unit/coordinator/api/support.h"

enum { RESTORER = 3 };

static char *sealed_of(Server *s, const char *database) {
  char *id = stored(s->f, database, MANIFEST);
  JOB *drill = must_get(s->f, 2, DRILL);
  assert_true(drill_proven(s->f, 2, drill, MANIFEST));
  return id;
}

static void test_bodies_of_plans(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *id = sealed_of(s, "shop");
  static const char *const bad[] = {
      "",
      "[]",
      "{}",
      "{\"database\": 5}",
      "{\"database\": \"shop\", \"tabels\": [\"a\"]}",
      "{\"database\": \"shop\", \"mode\": \"in_place\"}",
      "{\"database\": \"shop\", \"confirm\": \"shop\"}",
      "{\"database\": \"shop\", \"tables\": \"a\"}",
      "{\"database\": \"shop\", \"tables\": []}",
      "{\"database\": \"shop\", \"tables\": [\"\"]}",
      "{\"database\": \"shop\", \"tables\": [5]}",
      "{\"database\": \"shop\", \"tables\": [\"a\\u0000b\"]}",
      "{\"database\": \"shop\", \"rows\": {\"a\": 1}}",
      "{\"database\": \"shop\", \"digests\": null}",
      "{\"database\": \"shop\", \"checkpoint\": \"\"}",
      "{\"database\": \"shop\", \"purpose\": \"fun\"}",
      "{\"database\": \"shop\", \"threshold_percent\": 0}",
      "{\"database\": \"shop\", \"threshold_percent\": 100.5}",
      "{\"database\": \"shop\", \"threshold_percent\": \"5\"}",
      "{\"database\": \"shop\", \"database\": \"shop\"}",
  };
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    REFUSED(ask(s, "POST", "/api/v1/plans", bad[i]), 400, "invalid_argument");
  CLEANUP(buffer_release) Buffer many = {0};
  buffer_append_text(&many, "{\"database\": \"shop\", \"tables\": [\"t\"");
  for (int i = 0; i < 1000; i++)
    buffer_append_text(&many, ",\"t\"");
  buffer_append_text(&many, "]}");
  REFUSED(ask(s, "POST", "/api/v1/plans", buffer_text(&many)), 400, "invalid_argument");
  static const char *const good[] = {
      "{\"database\": \"shop\"}",
      "{\"database\": \"shop\", \"tables\": [\"\\\"a\\nb\\\"\"]}",
      "{\"database\": \"shop\", \"checkpoint\": \"t\", \"tables\": [\"audit.*\", \"\\\"Odd\\\".\\\"n*me\\\"\"]}",
      "{\"database\": \"shop\", \"digests\": [\"a\"], \"rows\": [\"b\"], \"purpose\": \"guard\", "
      "\"threshold_percent\": 5}",
  };
  for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    ANSWERED(ask(s, "POST", "/api/v1/plans", good[i]), 202);
}

static void test_bodies_of_restores(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *id = sealed_of(s, "shop");
#define OF_SHOP "{\"database\": \"shop\", "
  static const char *const bad[] = {
      OF_SHOP "\"tables\": [\"a\"]}",
      OF_SHOP "\"mode\": \"clean\", \"tables\": [\"a\"]}",
      OF_SHOP "\"mode\": \"in_place\"}",
      OF_SHOP "\"mode\": \"in_place\", \"tables\": [\"a\"], \"sql\": \"DROP TABLE a\"}",
      OF_SHOP "\"mode\": \"in_place\", \"tables\": [\"a\"], \"replace\": \"yes\"}",
      OF_SHOP "\"mode\": \"in_place\", \"tables\": [\"a\"], \"columns\": [\"c\"]}",
      OF_SHOP "\"mode\": \"beside\", \"tables\": [\"a\"], \"foreign_keys\": \"validate\"}",
      OF_SHOP "\"mode\": \"beside\"}",
      OF_SHOP "\"mode\": \"in_place\", \"tables\": [\"a\"], \"foreign_keys\": true}",
      OF_SHOP "\"mode\": \"new_database\", \"target_name\": \"x\", \"other_database\": true}",
      OF_SHOP "\"mode\": \"new_database\"}",
      OF_SHOP "\"mode\": \"new_database\", \"target_name\": \"\"}",
      OF_SHOP "\"mode\": \"new_database\", \"target_name\": \"x\", \"tables\": [\"a\"]}",
      OF_SHOP
      "\"mode\": \"new_database\", \"target_name\": \"a2345678901234567890123456789012345678901234567890123456789"
      "01234\"}",
      OF_SHOP "\"mode\": \"script\"}",
      OF_SHOP "\"mode\": \"script\", \"script_of\": \"../x\", \"script_sha256\": \"" PROOF "\"}",
      OF_SHOP "\"mode\": \"script\", \"script_of\": \"01m7yrcjcd79pewcd3q9h72xaf\", \"script_sha256\": \"ABC\"}",
      OF_SHOP "\"mode\": \"script\", \"script_of\": \"01m7yrcjcd79pewcd3q9h72xaf\", \"script_sha256\": \"" PROOF
              "\", \"script\": \"DELETE FROM a\"}",
      OF_SHOP "\"mode\": \"in_place\", \"tables\": [\"a\"], \"unproven\": 1}",
      OF_SHOP "\"mode\": \"in_place\", \"tables\": [\"a\"], \"confirm\": true}",
  };
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    REFUSED(ask(s, "POST", "/api/v1/restores", bad[i]), 400, "invalid_argument");
  static const char *const good[] = {
      OF_SHOP "\"mode\": \"in_place\", \"tables\": [\"a\"], \"replace\": true, \"foreign_keys\": \"not_valid\", "
              "\"other_database\": true, \"confirm\": "
              "\"shop\"}",
      OF_SHOP "\"mode\": \"beside\", \"tables\": [\"a\"], \"columns\": [\"c\"], \"unproven\": true, \"replace\": true}",
      OF_SHOP "\"mode\": \"new_database\", \"target_name\": \"Shop of Friday\", \"roles\": true}",
  };
  for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    ANSWERED(ask(s, "POST", "/api/v1/restores", good[i]), 202);
  REFUSED(ask(s, "POST", "/api/v1/restores",
              OF_SHOP "\"mode\": \"script\", \"script_of\": \"01m7yrcjcd79pewcd3q9h72xaf\", \"script_sha256\": \"" PROOF
                      "\"}"),
          404, "not_found");
}

static void test_bodies_of_rehearsals(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *id = sealed_of(s, "shop");
#define SIGNED ", \"nonce\": \"0123456789abcdef\", \"time\": 1763700000, \"mac\": \"" PROOF "\"}"
#define SQL "\"sql\": [{\"name\": \"a.sql\", \"text\": \"SELECT 1;\\n\"}]"
  static const char *const bad[] = {
      OF_SHOP SQL "}",
      OF_SHOP "\"tunnel\": false" SIGNED,
      OF_SHOP "\"tunnel\": true, " SQL SIGNED,
      OF_SHOP "\"sql\": []" SIGNED,
      OF_SHOP "\"sql\": [\"SELECT 1\"]" SIGNED,
      OF_SHOP "\"sql\": [{\"name\": \"a\", \"text\": 5}]" SIGNED,
      OF_SHOP "\"sql\": [{\"name\": \"a\\nb\", \"text\": \"\"}]" SIGNED,
      OF_SHOP "\"sql\": [{\"name\": \"a\", \"text\": \"\", \"role\": \"x\"}]" SIGNED,
      OF_SHOP "\"tunnel\": true, \"nonce\": \"short\", \"time\": 5, \"mac\": \"" PROOF "\"}",
      OF_SHOP "\"tunnel\": true, \"nonce\": \"0123456789abcdef\", \"time\": -5, \"mac\": \"" PROOF "\"}",
      OF_SHOP "\"tunnel\": true, \"nonce\": \"0123456789abcdef\", \"time\": 5, \"mac\": \"abc\"}",
      OF_SHOP "\"keep_seconds\": 86401, \"tunnel\": true" SIGNED,
      OF_SHOP "\"lock_seconds\": 0.5, \"tunnel\": true" SIGNED,
      OF_SHOP "\"rewrite_mb\": -1, \"tunnel\": true" SIGNED,
      OF_SHOP "\"allow\": [\"Lock; DROP\"], \"tunnel\": true" SIGNED,
      OF_SHOP "\"unproven\": true, \"tunnel\": true" SIGNED,
  };
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    REFUSED(ask(s, "POST", "/api/v1/rehearsals", bad[i]), 400, "invalid_argument");
  static const char *const good[] = {
      OF_SHOP SQL SIGNED,
      OF_SHOP "\"tunnel\": true, \"keep_seconds\": 60, \"lock_seconds\": 0, \"rewrite_mb\": 1, \"allow\": [\"lock\"], "
              "\"digests\": [\"a\"], \"rows\": [\"b\"], \"threshold_percent\": 0.5" SIGNED,
  };
  for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    ANSWERED(ask(s, "POST", "/api/v1/rehearsals", good[i]), 202);
}

/* A migration may be larger than other bodies, if whoever sends it may ask for rehearsals. Its text is not shown. */
static void test_large_bodies(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *id = sealed_of(s, "shop");
  CLEANUP_FREE char *viewer = make_token(s, "viewer", "viewer");
  static const size_t sizes[] = {300 << 10, 1 << 20};
  for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
    CLEANUP_FREE char *text = memory_alloc(sizes[i] + 1);
    memset(text, '-', sizes[i]);
    CLEANUP_FREE char *body = memory_format(OF_SHOP "\"sql\": [{\"name\": \"a.sql\", \"text\": \"%s\"}]" SIGNED, text);
    REFUSED(with_token(s, "POST", "/api/v1/rehearsals", viewer, body), 403, "forbidden");
    if (i == 1) {
      REFUSED(ask(s, "POST", "/api/v1/rehearsals", body), 413, "invalid_argument");
      break;
    }
    ANSWER made = ask(s, "POST", "/api/v1/rehearsals", body);
    assert_int_equal(made.status, 202);
    const json_t *file = json_array_get(json_object_get(json_object_get(made.json, "request"), "sql"), 0);
    assert_int_equal(json_integer_value(json_object_get(file, "bytes")), sizes[i]);
    assert_null(json_object_get(file, "text"));
    REFUSED(ask(s, "POST", "/api/v1/plans", body), 413, "invalid_argument");
  }
}

#define RESTORE "{\"database\": \"prod-api\", \"mode\": \"in_place\", \"tables\": [\"a\"], \"confirm\": \"prod-api\"}"

static char *made(Server *s, const char *target, const char *token, const char *body) {
  ANSWER got = with_token(s, "POST", target, token, body);
  if (got.status != 202)
    print_error("%s: %d %s\n", target, got.status, got.body);
  assert_int_equal(got.status, 202);
  assert_true(json_is_true(json_object_get(got.json, "ok")));
  CLEANUP_FREE char *location = memory_format("\r\nLocation: /api/v1/jobs/%s\r\n", text_of(got.json, "id"));
  assert_non_null(header_of(&got, location));
  return memory_strdup(text_of(got.json, "id"));
}

static void test_a_job_is_shown(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *checkpoint = sealed_of(s, "prod-api");
  CLEANUP_FREE char *id = made(s, "/api/v1/restores", ADMIN, RESTORE);
  CLEANUP_FREE char *path = memory_format("/api/v1/jobs/%s", id);
  ANSWER queued = ask(s, "GET", path, NULL);
  assert_int_equal(queued.status, 200);
  static const char *const texts[][2] = {{"kind", "restore"},           {"state", "queued"}, {"database", "prod-api"},
                                         {"environment", "production"}, {"tag", "t"},        {"requested_by", "admin"}};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
    assert_string_equal(text_of(queued.json, texts[i][0]), texts[i][1]);
  assert_string_equal(text_of(queued.json, "checkpoint"), checkpoint);
  assert_string_equal(text_of(json_object_get(queued.json, "request"), "mode"), "in_place");
  assert_true(json_is_null(json_object_get(queued.json, "report")) &&
              json_is_null(json_object_get(queued.json, "approval")));
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  poll.free_restore = 1;
  JOB *job = NULL;
  OK(dispatch_poll(s->f->dispatch, agent_names[RESTORER], &poll, &job, &s->f->err));
  assert_string_equal(job->id, id);
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  result.outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
  result.report_json = (char *)"{\"rows_written\": 7, \"seconds\": 2.8, \"text\": \"\xc3\xa4\\n\"}";
  bool accepted;
  OK(send_result(s->f, RESTORER, job, &result, &accepted));
  ANSWER done = ask(s, "GET", path, NULL);
  assert_string_equal(text_of(done.json, "state"), "done");
  const json_t *report = json_object_get(done.json, "report");
  assert_int_equal(json_integer_value(json_object_get(report, "rows_written")), 7);
  assert_non_null(strstr(done.body, "\"seconds\":2.8"));
  ANSWER list = ask(s, "GET", "/api/v1/jobs?kind=restore&database=prod-api&limit=1", NULL);
  const json_t *first = json_array_get(json_object_get(list.json, "jobs"), 0);
  assert_string_equal(text_of(first, "id"), id);
  assert_null(json_object_get(first, "report"));
  REFUSED(ask(s, "GET", "/api/v1/jobs?kind=fun", NULL), 400, "invalid_argument");
  REFUSED(ask(s, "GET", "/api/v1/jobs/nonesuch", NULL), 404, "not_found");
  CLEANUP_FREE char *of_checkpoint = memory_format("/api/v1/checkpoints/%s", checkpoint);
  ANSWER shown = ask(s, "GET", of_checkpoint, NULL);
  assert_int_equal(json_array_size(json_object_get(shown.json, "jobs")), 2); /* its dump and its drill */
}

static void test_confirmation_is_wanted(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *id = sealed_of(s, "prod-api");
  static const char body[] = "{\"database\": \"prod-api\", \"mode\": \"in_place\", \"tables\": [\"a\"]%s}";
  static const char *const more[] = {"", ", \"confirm\": \"prod-apu\"", ", \"confirm\": \"shop\""};
  for (size_t i = 0; i < ARRAY_SIZE(more); i++) {
    CLEANUP_FREE char *text = memory_format(body, more[i]);
    REFUSED(ask(s, "POST", "/api/v1/restores", text), 409, "confirmation_needed");
  }
  ANSWER list = ask(s, "GET", "/api/v1/jobs?kind=restore", NULL);
  assert_int_equal(json_array_size(json_object_get(list.json, "jobs")), 0);
}

static void test_second_person(void **state) {
  Server *s = *state;
  static const char careful[] = "policies: [{name: careful, restore_approval: true}]";
  json_t *report = NULL;
  OK(dispatch_apply_fleet(s->f->dispatch, "fleet.yaml", careful, strlen(careful), &me, false, &report, &s->f->err));
  json_decref(report);
  CLEANUP_FREE char *checkpoint = sealed_of(s, "prod-api");
  CLEANUP_FREE char *oncall = make_token(s, "oncall", "operator"), *lead = make_token(s, "lead", "operator");
  CLEANUP_FREE char *ci = make_token(s, "pipeline", "ci");
  CLEANUP_FREE char *id = made(s, "/api/v1/restores", oncall, RESTORE);
  CLEANUP_FREE char *path = memory_format("/api/v1/jobs/%s", id), *approve = memory_format("%s/approve", path);
  ANSWER waiting = with_token(s, "GET", path, ci, NULL);
  assert_string_equal(text_of(waiting.json, "approval"), "needed");
  REFUSED(with_token(s, "POST", approve, oncall, ""), 403, "forbidden");
  REFUSED(with_token(s, "POST", approve, ci, ""), 403, "forbidden");
  ANSWER rotated = ask(s, "POST", "/api/v1/tokens/oncall/rotate", NULL); /* a new secret is not a new person */
  REFUSED(with_token(s, "POST", approve, text_of(rotated.json, "token"), ""), 403, "forbidden");
  ANSWER approved = with_token(s, "POST", approve, lead, "");
  assert_int_equal(approved.status, 200);
  assert_string_equal(text_of(approved.json, "approval"), "given");
  assert_string_equal(text_of(approved.json, "approved_by"), "lead");
  REFUSED(with_token(s, "POST", approve, lead, ""), 409, "conflict");
}

static void test_cancel(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *checkpoint = sealed_of(s, "prod-api");
  CLEANUP_FREE char *ci = make_token(s, "pipeline", "ci"), *viewer = make_token(s, "viewer", "viewer");
  CLEANUP_FREE char *plan = made(s, "/api/v1/plans", ci, "{\"database\": \"prod-api\"}");
  CLEANUP_FREE char *restore = made(s, "/api/v1/restores", ADMIN, RESTORE);
  CLEANUP_FREE char *of_plan = memory_format("/api/v1/jobs/%s/cancel", plan);
  CLEANUP_FREE char *of_restore = memory_format("/api/v1/jobs/%s/cancel", restore);
  REFUSED(with_token(s, "POST", of_plan, viewer, ""), 403, "forbidden");
  REFUSED(with_token(s, "POST", of_restore, ci, ""), 403, "forbidden");
  ANSWER canceled = with_token(s, "POST", of_plan, ci, "");
  assert_int_equal(canceled.status, 202);
  assert_string_equal(text_of(canceled.json, "state"), "canceled");
  ANSWERED(ask(s, "POST", of_restore, ""), 202);
  REFUSED(ask(s, "POST", of_restore, ""), 409, "conflict");
  ANSWER shown = ask(s, "GET", "/api/v1/jobs?kind=dump", NULL);
  const json_t *dump = json_array_get(json_object_get(shown.json, "jobs"), 0);
  CLEANUP_FREE char *of_dump = memory_format("/api/v1/jobs/%s/cancel", text_of(dump, "id"));
  REFUSED(ask(s, "POST", of_dump, ""), 409, "conflict"); /* that is canceled with its checkpoint */
}

static void test_idempotency(void **state) {
  Server *s = *state;
  CLEANUP_FREE char *checkpoint = sealed_of(s, "shop");
  static const char body[] = "{\"database\": \"shop\"}", other[] = "{\"database\": \"shop\", \"purpose\": \"guard\"}";
  ANSWER first = ask_bytes(s, "POST", "/api/v1/plans", BEARER "Idempotency-Key: k\r\n", body, strlen(body));
  ANSWER again = ask_bytes(s, "POST", "/api/v1/plans", BEARER "Idempotency-Key: k\r\n", body, strlen(body));
  assert_string_equal(text_of(first.json, "id"), text_of(again.json, "id"));
  REFUSED(ask_bytes(s, "POST", "/api/v1/plans", BEARER "Idempotency-Key: k\r\n", other, strlen(other)), 409,
          "conflict");
  REFUSED(ask_bytes(s, "POST", "/api/v1/plans", BEARER "Idempotency-Key: a b\r\n", body, strlen(body)), 400,
          "invalid_argument");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, api_setup, api_teardown)
      T(test_bodies_of_plans), T(test_bodies_of_restores),     T(test_bodies_of_rehearsals), T(test_large_bodies),
      T(test_a_job_is_shown),  T(test_confirmation_is_wanted), T(test_second_person),        T(test_cancel),
      T(test_idempotency),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
