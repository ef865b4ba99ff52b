/* What agents send gets into the ledger bounded and valid, or not at all. */
#include "tests/unit/coordinator/dispatch/support.h"

static void test_failures(void **state) {
  (void)state;
  Error err;
  intake_failure(NULL, &err);
  assert_int_equal(err.status, ERR_PROTOCOL);
  Pgseal__Failure failure = PGSEAL__FAILURE__INIT;
  failure.code = (char *)"role_missing";
  failure.message = (char *)"bad \xff text\x1b[31m";
  failure.object = (char *)"ROLE x";
  intake_failure(&failure, &err);
  assert_int_equal(err.status, ERR_ROLE_MISSING);
  assert_null(strchr(err.message, '\x1b'));
  assert_null(strchr(err.message, '\xff'));
  assert_string_equal(err.object, "ROLE x");
  assert_string_equal(err.remedy, error_default_remedy(ERR_ROLE_MISSING));
  failure.remedy = (char *)"do this";
  intake_failure(&failure, &err);
  assert_string_equal(err.remedy, "do this");
  char *huge = memory_alloc(1000001);
  memset(huge, 'x', 1000000);
  failure.message = failure.object = failure.remedy = huge;
  intake_failure(&failure, &err);
  assert_true(strlen(err.message) < sizeof err.message);
  failure.code = (char *)"from_the_future"; /* a newer agent: kept, but not retried */
  failure.message = (char *)"new";
  intake_failure(&failure, &err);
  assert_int_equal(err.status, ERR_INTERNAL);
  assert_string_equal(err.message, "from_the_future: new");
  failure.code = (char *)"ok"; /* not an error at all */
  intake_failure(&failure, &err);
  assert_int_equal(err.status, ERR_INTERNAL);
  failure.code = huge;
  intake_failure(&failure, &err);
  assert_int_equal(err.status, ERR_INTERNAL);
  assert_true(strlen(err.message) < 200);
  free(huge);
}

static void refuse_list(const char *text) {
  json_t *list = NULL;
  Error err;
  assert_int_equal(intake_list("things", text, &list, &err), ERR_PROTOCOL);
  assert_non_null(strstr(err.message, "things"));
  assert_null(list);
}

static void test_lists(void **state) {
  (void)state;
  json_t *list;
  Error err;
  OK(intake_list("x", "", &list, &err));
  assert_int_equal(json_array_size(list), 0);
  json_decref(list);
  OK(intake_list("x", NULL, &list, &err));
  json_decref(list);
  refuse_list("[\"a\", {\"kind\": \"k\", \"detail\": \"a\\u0000b\"}]"); /* jansson refuses NUL by itself */
  refuse_list("{}");
  refuse_list("[1]");
  refuse_list("[{\"kind\": {}}]");
  refuse_list("[[]]");
  refuse_list("[\"a\"");
  refuse_list("\"a\"");
  refuse_list("null");
  refuse_list("[\"\xff\"]");
  refuse_list("[{\"a\":\"\",\"b\":\"\",\"c\":\"\",\"d\":\"\",\"e\":\"\",\"f\":\"\",\"g\":\"\",\"h\":\"\",\"i\":\"\"}]");
  char *deep = memory_alloc(200001);
  memset(deep, '[', 200000);
  refuse_list(deep);
  free(deep);
}

static void test_long_lists_are_cut(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer text = {0};
  buffer_append_text(&text, "[");
  for (int i = 0; i < 5000; i++)
    buffer_append_format(&text, "%s{\"kind\": \"foreign_table_data\", \"object\": \"%0200d\"}", i ? "," : "", i);
  buffer_append_text(&text, "]");
  json_t *list;
  Error err;
  OK(intake_list("omissions", buffer_text(&text), &list, &err));
  size_t count = json_array_size(list);
  assert_in_range(count, 100, 4000);
  const json_t *last = json_array_get(list, count - 1);
  assert_string_equal(json_string_value(json_object_get(last, "kind")), "more");
  char expected[64];
  snprintf(expected, sizeof expected, "%zu more", 5000 - (count - 1));
  assert_int_equal(strncmp(json_string_value(json_object_get(last, "detail")), expected, strlen(expected)), 0);
  char *dumped = json_dumps(list, JSON_COMPACT);
  assert_true(strlen(dumped) < INTAKE_JSON_LIMIT + 1024);
  free(dumped);
  json_decref(list);
  buffer_clear(&text);
  buffer_append_text(&text, "[\"");
  for (int i = 0; i < 100000; i++)
    buffer_append_text(&text, "ü");
  buffer_append_text(&text, "\"]");
  OK(intake_list("notes", buffer_text(&text), &list, &err));
  assert_in_range(json_string_length(json_array_get(list, 0)), 4000, 4096);
  json_decref(list);
}

static void test_stages(void **state) {
  (void)state;
  json_t *stages;
  Error err;
  OK(intake_stages("{\"dumping\": 1.5, \"storing\": 2}", &stages, &err));
  assert_int_equal(json_object_size(stages), 2);
  json_decref(stages);
  OK(intake_stages("", &stages, &err));
  json_decref(stages);
  const char *const bad[] = {"[]",
                             "{\"a\": \"b\"}",
                             "{\"a\": -1}",
                             "{\"a\": 1e999}",
                             "{",
                             "{\"a\": {}}",
                             "{\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\": 1}"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    assert_int_equal(intake_stages(bad[i], &stages, &err), ERR_PROTOCOL);
}

static void test_progress(void **state) {
  (void)state;
  Pgseal__JobProgress p = PGSEAL__JOB_PROGRESS__INIT;
  char *huge = memory_alloc(1000001);
  memset(huge, 'x', 1000000);
  p.phase = p.table = p.bootstrap_role = huge;
  p.database_name = (char *)"latin1 \xe9";
  p.rows = -5;
  p.bytes = INT64_MAX;
  p.segments = UINT64_MAX;
  json_t *json = intake_progress(&p);
  char *text = json_dumps(json, JSON_COMPACT);
  assert_non_null(text);
  assert_true(strlen(text) < 2000);
  assert_int_equal(json_integer_value(json_object_get(json, "rows")), 0);
  assert_string_equal(json_string_value(json_object_get(json, "bootstrap_role")), ""); /* whole or not at all */
  assert_string_equal(json_string_value(json_object_get(json, "database_name")), "");
  free(text);
  json_decref(json);
  free(huge);
  json = intake_progress(NULL);
  assert_int_equal(json_object_size(json), 0);
  json_decref(json);
}

/* The whole way: a result full of rubbish leaves a checkpoint that ended honestly, and a ledger that verifies. */
static void test_hostile_results(void **state) {
  Fixture *f = *state;
  char *huge = memory_alloc(300001);
  memset(huge, '\xff', 300000);
  for (int i = 0; i < 3; i++) {
    CLEANUP_FREE char *id = request(f, "shop", "t");
    JOB *dump = must_get(f, 1, DUMP);
    Pgseal__DumpResult body = PGSEAL__DUMP_RESULT__INIT;
    Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
    result.outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
    result.dump = &body;
    body.manifest_sha256 = (char *)MANIFEST;
    body.server_version = body.dump_version = huge;
    if (i == 1)
      body.rows = -1;
    if (i == 2)
      body.omissions_json = huge;
    bool accepted;
    OK(send_result(f, 1, dump, &result, &accepted));
    assert_true(accepted);
    if (i == 0) {
      assert_int_equal(state_of(f, id), CHECKPOINT_STORED);
      OK(dispatch_cancel(f->dispatch, id, &me, &f->err));
    } else {
      expect_error(f, id, CHECKPOINT_ERRORED, "protocol");
    }
  }
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  Pgseal__JobResult nothing = PGSEAL__JOB_RESULT__INIT;
  bool accepted;
  OK(send_result(f, 1, dump, &nothing, &accepted));
  expect_error(f, id, CHECKPOINT_ERRORED, "protocol");
  CLEANUP_FREE char *last = request(f, "shop", "t");
  JOB *dump2 = must_get(f, 1, DUMP);
  OK(send_result(f, 1, dump2, NULL, &accepted));
  expect_error(f, last, CHECKPOINT_ERRORED, "protocol");
  free(huge);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_failures), cmocka_unit_test(test_lists),    cmocka_unit_test(test_long_lists_are_cut),
      cmocka_unit_test(test_stages),   cmocka_unit_test(test_progress), T(test_hostile_results),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
