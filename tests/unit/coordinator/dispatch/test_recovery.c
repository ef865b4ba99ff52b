/* Plans and restores: who gets them, how they end, and that nothing of it touches the checkpoint. */
#include "tests/unit/coordinator/dispatch/recovery.h"

static void test_plan(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *plan =
      asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\", \"purpose\": \"guard\", \"tables\": [\"a\", \"b\"]}");
  for (int i = 0; i < 3; i++) /* neither who dumps nor who drills */
    assert_null(poll_restore(f, i));
  assert_null(poll_as(f, RESTORER, 1, 1, NULL)); /* no slot for it */
  JOB *job = must_recover(f, RESTORER, plan);
  assert_int_equal(job->kind, PGSEAL__JOB_KIND__JOB_KIND_PLAN);
  assert_string_equal(job->checkpoint_id, id);
  assert_string_equal(job->recovery->manifest_sha256, MANIFEST);
  assert_string_equal(job->recovery->dump_agent, "dumper");
  assert_true(job->recovery->proven && job->recovery->finished_us > 0 && !job->drill);
  assert_int_equal(job->recovery->server_major, 15);
  assert_memory_equal(job->recovery->dump_public_key.data, f->agents[1].key, 32);
  CLEANUP(free_json) json_t *told = json_loads(job->recovery->request_json, 0, NULL);
  assert_string_equal(text_in(told, "purpose"), "guard");
  renew(f, RESTORER, job);
  char report[512];
  snprintf(report, sizeof report, PLAN_REPORT, "lost");
  assert_true(reports(f, RESTORER, job, DONE, NULL, report));
  assert_true(reports(f, RESTORER, job, DONE, NULL, report)); /* the answer was lost */
  expect_job(f, plan, JOB_DONE, NULL, NULL);
  CLEANUP(free_json) json_t *kept = report_of(f, plan);
  assert_string_equal(text_in(kept, "damage"), "lost");
  CLEANUP(free_json) json_t *finished = detail_of(f, "plan.finished", "oncall");
  assert_string_equal(text_in(finished, "damage"), "lost");
  assert_string_equal(text_in(finished, "outcome"), "done");
  CLEANUP(free_json) json_t *damage = detail_of(f, "guard.damage", "oncall");
  assert_string_equal(json_string_value(json_array_get(json_object_get(damage, "lost"), 0)), "TABLE public.orders");
  CLEANUP(free_json) json_t *requested = detail_of(f, "plan.requested", "oncall");
  assert_string_equal(text_in(requested, "address"), "10.0.0.9");
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_no_damage_no_event(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  static const char *const bodies[] = {"{\"database\": \"shop\", \"purpose\": \"guard\"}", "{\"database\": \"shop\"}"};
  static const char *const found[] = {"changed", "lost"};
  for (int i = 0; i < 2; i++) {
    CLEANUP_FREE char *plan = asked(f, LEDGER_JOB_PLAN, bodies[i]);
    JOB *job = must_recover(f, RESTORER, plan);
    char report[512];
    snprintf(report, sizeof report, PLAN_REPORT, found[i]);
    assert_true(reports(f, RESTORER, job, DONE, NULL, report));
  }
  assert_null(strstr(f->seen.kinds, "guard.damage"));
}

static void test_plan_is_tried_again(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  int attempt;
  {
    JOB *job = must_recover(f, RESTORER, plan);
    pass(f, LEASE + 1, LIVE);
    assert_int_equal(job_state_of(f, plan, &attempt), JOB_QUEUED);
    assert_int_equal(attempt, 2);
    assert_false(reports(f, RESTORER, job, DONE, NULL, "{}")); /* stale */
    assert_int_equal(job_state_of(f, plan, NULL), JOB_QUEUED);
  }
  for (int i = 2; i <= 3; i++) {
    pass(f, 61, LIVE);
    JOB *job = must_recover(f, i == 2 ? OTHER_RESTORER : RESTORER, plan);
    assert_int_equal(job->attempt, i);
    assert_true(reports(f, i == 2 ? OTHER_RESTORER : RESTORER, job, ENDS_ERRORED, "database_unreachable", ""));
  }
  expect_job(f, plan, JOB_ERRORED, "database_unreachable", NULL);
  CLEANUP_FREE char *other = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  JOB *job = must_recover(f, RESTORER, other);
  assert_true(reports(f, RESTORER, job, ENDS_ERRORED, "query", "")); /* that does not pass by itself */
  expect_job(f, other, JOB_ERRORED, "query", NULL);
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_restore_is_never_tried_again(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  { /* its agent is lost */
    CLEANUP_FREE char *restore = restore_of_shop(f, "");
    JOB *job = must_recover(f, RESTORER, restore);
    renew(f, RESTORER, job);
    pass(f, LEASE + 1, LIVE);
    expect_job(f, restore, JOB_ERRORED, "agent_lost", "pgseal plan shop");
    assert_false(reports(f, RESTORER, job, DONE, NULL, "{\"rows_written\": 5}")); /* stale, refused */
    REPLY *reply = progress_as(f, RESTORER, job, 0);
    assert_true(reply->lease_lost); /* so that it stops */
    expect_job(f, restore, JOB_ERRORED, "agent_lost", NULL);
    assert_null(report_of(f, restore));
  }
  { /* its process was killed, or its agent stopped */
    static const int ends[] = {ENDS_ERRORED, ENDS_CANCELED};
    for (int i = 0; i < 2; i++) {
      CLEANUP_FREE char *restore = restore_of_shop(f, "");
      JOB *job = must_recover(f, RESTORER, restore);
      reports(f, RESTORER, job, ends[i], i == 0 ? "agent_lost" : "canceled", "");
      expect_job(f, restore, JOB_ERRORED, "agent_lost", "pgseal plan shop");
    }
  }
  { /* what would pass by itself is for people to try again, too */
    CLEANUP_FREE char *restore = restore_of_shop(f, "");
    JOB *job = must_recover(f, RESTORER, restore);
    assert_true(reports(f, RESTORER, job, ENDS_ERRORED, "lock_timeout", "{\"tables\": []}"));
    expect_job(f, restore, JOB_ERRORED, "lock_timeout", NULL);
    CLEANUP(free_json) json_t *kept = report_of(f, restore);
    assert_non_null(kept);
  }
  pass(f, 120, LIVE);
  assert_null(poll_restore(f, RESTORER));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_restore_done(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *restore = restore_of_shop(f, ", \"replace\": true");
  JOB *job = must_recover(f, RESTORER, restore);
  assert_int_equal(job->kind, PGSEAL__JOB_KIND__JOB_KIND_RESTORE);
  assert_true(reports(f, RESTORER, job, DONE, NULL, "{\"rows_written\": 247000, \"seconds\": 0.25}"));
  expect_job(f, restore, JOB_DONE, NULL, NULL);
  static const char *const kinds[] = {"restore.requested", "restore.started", "restore.finished"};
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    CLEANUP(free_json) json_t *detail = detail_of(f, kinds[i], "oncall");
    assert_string_equal(text_in(detail, "mode"), "in_place");
    assert_string_equal(json_string_value(json_array_get(json_object_get(detail, "tables"), 0)), "orders");
  }
  CLEANUP(free_json) json_t *finished = detail_of(f, "restore.finished", "oncall");
  assert_int_equal(json_integer_value(json_object_get(finished, "rows_written")), 247000);
  assert_string_equal(text_in(finished, "outcome"), "done");
}

static void test_one_restore_at_a_time(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop"), *other_id = sealed_of(f, "prod-api");
  CLEANUP_FREE char *first = restore_of_shop(f, ""), *second = restore_of_shop(f, "");
  CLEANUP_FREE char *other = asked(f, LEDGER_JOB_RESTORE,
                                   "{\"database\": \"prod-api\", \"mode\": \"in_place\", \"tables\": [\"a\"], "
                                   "\"confirm\": \"prod-api\"}");
  CLEANUP_FREE char *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  JOB *one = must_recover(f, RESTORER, first);
  JOB *elsewhere = must_recover(f, OTHER_RESTORER, other);
  pass(f, 6, LIVE);
  renew(f, RESTORER, one);
  renew(f, OTHER_RESTORER, elsewhere);
  JOB *beside = must_recover(f, OTHER_RESTORER, plan);
  pass(f, 6, LIVE);
  renew(f, RESTORER, one);
  renew(f, OTHER_RESTORER, elsewhere);
  renew(f, OTHER_RESTORER, beside);
  assert_null(poll_restore(f, OTHER_RESTORER));
  int work = f->seen.work;
  assert_true(reports(f, RESTORER, one, DONE, NULL, "{}"));
  assert_true(f->seen.work > work);
  JOB *next = must_recover(f, RESTORER, second);
  assert_true(reports(f, RESTORER, next, DONE, NULL, "{}"));
  assert_true(reports(f, OTHER_RESTORER, elsewhere, ENDS_FAILED, "query", ""));
  expect_job(f, other, JOB_FAILED, "query", NULL);
  assert_int_equal(state_of(f, other_id), CHECKPOINT_SEALED); /* a restore that failed condemns nothing */
}

static void test_reports_are_bounded(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *large = memory_alloc(RECOVERY_REPORT_LIMIT + 64);
  static const char *const bad[] = {"", "[]", "null", "{", "{\"a\": 1, \"a\": 2}", "\"text\"", "{\"a\": \"\\u0000\"}"};
  for (size_t i = 0; i <= ARRAY_SIZE(bad); i++) {
    size_t size = i < ARRAY_SIZE(bad) ? 0 : RECOVERY_REPORT_LIMIT;
    if (size) { /* one byte more than may be */
      memset(large, ' ', size + 1);
      memcpy(large, "{}", 2);
      large[size + 1] = 0;
    }
    CLEANUP_FREE char *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
    JOB *job = must_recover(f, RESTORER, plan);
    assert_true(reports(f, RESTORER, job, DONE, NULL, size ? large : bad[i]));
    expect_job(f, plan, JOB_ERRORED, "protocol", NULL);
    assert_null(report_of(f, plan));
  }
  large[RECOVERY_REPORT_LIMIT] = 0; /* just as much as may be */
  CLEANUP_FREE char *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  JOB *job = must_recover(f, RESTORER, plan);
  assert_true(reports(f, RESTORER, job, DONE, NULL, large));
  expect_job(f, plan, JOB_DONE, NULL, NULL);
}

static void test_cancel(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *waiting = restore_of_shop(f, "");
  OK(dispatch_cancel_recovery(f->dispatch, waiting, &me, &f->err));
  expect_job(f, waiting, JOB_CANCELED, "canceled", NULL);
  assert_int_equal(dispatch_cancel_recovery(f->dispatch, waiting, &me, &f->err), ERR_CONFLICT);
  CLEANUP_FREE char *held = restore_of_shop(f, "");
  JOB *job = must_recover(f, RESTORER, held);
  OK(dispatch_cancel_recovery(f->dispatch, held, &me, &f->err));
  REPLY *reply = progress_as(f, RESTORER, job, 0);
  assert_true(reply->cancel);
  assert_true(reports(f, RESTORER, job, ENDS_CANCELED, "canceled", ""));
  expect_job(f, held, JOB_CANCELED, "canceled", NULL);
  CLEANUP_FREE char *too_late = restore_of_shop(f, "");
  JOB *done = must_recover(f, RESTORER, too_late);
  OK(dispatch_cancel_recovery(f->dispatch, too_late, &me, &f->err));
  assert_true(reports(f, RESTORER, done, DONE, NULL, "{}"));
  expect_job(f, too_late, JOB_DONE, NULL, NULL); /* it was: nobody may think otherwise */
  CLEANUP_FREE char *lost = restore_of_shop(f, "");
  JOB *gone = must_recover(f, RESTORER, lost);
  OK(dispatch_cancel_recovery(f->dispatch, lost, &me, &f->err));
  pass(f, LEASE + 1, LIVE);
  expect_job(f, lost, JOB_ERRORED, "agent_lost", "pgseal plan"); /* it may have been done all the same */
  CLEANUP_FREE char *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  JOB *reading = must_recover(f, RESTORER, plan);
  OK(dispatch_cancel_recovery(f->dispatch, plan, &me, &f->err));
  pass(f, LEASE + 1, LIVE);
  expect_job(f, plan, JOB_CANCELED, "agent_lost", NULL);
  assert_non_null(gone);
  assert_non_null(reading);
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

/* Canceling a checkpoint is not canceling what is restored from it; what is restored does not end its request. */
static void test_beside_a_drill(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *restore = restore_of_shop(f, "");
  CLEANUP_FREE char *drill_id = NULL;
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  JOB *drill = must_get(f, 2, DRILL);
  OK(dispatch_cancel(f->dispatch, id, &me, &f->err));
  expect_job(f, restore, JOB_QUEUED, NULL, NULL);
  JOB *job = must_recover(f, RESTORER, restore);
  int finished = f->seen.finished;
  assert_true(reports(f, RESTORER, job, DONE, NULL, "{}"));
  assert_int_equal(f->seen.finished, finished);
  assert_true(ends_with(f, 2, drill, ENDS_CANCELED, "canceled"));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_no_agent(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *restore = restore_of_shop(f, ""), *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  pass(f, 1, 7);
  pass(f, WAIT - 2, 7);
  expect_job(f, plan, JOB_QUEUED, NULL, NULL);
  pass(f, 3, 7);
  expect_job(f, plan, JOB_ERRORED, "no_agent", "capability 'restore'");
  expect_job(f, restore, JOB_ERRORED, "no_agent", "capability 'restore'");
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

/* It may restore, but its own file does not say so: waiting for it would be for ever. */
static void test_agent_that_does_not_offer(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  char *none[] = {(char *)"dump"}, *one[] = {(char *)"fly", (char *)"restore"};
  dispatch_agent_offers(f->dispatch, "restorer", none, 1);
  dispatch_agent_offers(f->dispatch, "restorer-2", one, 2);
  dispatch_agent_offers(f->dispatch, "nobody", one, 2);
  for (int i = 0; i < 3; i++)
    pass(f, WAIT, LIVE);
  expect_job(f, plan, JOB_QUEUED, NULL, NULL); /* for the second, which has no slot now */
  dispatch_agent_offers(f->dispatch, "restorer-2", NULL, 0);
  pass(f, 1, LIVE);
  pass(f, WAIT + 1, LIVE);
  expect_job(f, plan, JOB_ERRORED, "no_agent", "capability 'restore'");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      T(test_plan),
      T(test_no_damage_no_event),
      T(test_plan_is_tried_again),
      T(test_restore_is_never_tried_again),
      T(test_restore_done),
      T(test_one_restore_at_a_time),
      T(test_reports_are_bounded),
      T(test_cancel),
      T(test_beside_a_drill),
      T(test_no_agent),
      T(test_agent_that_does_not_offer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
