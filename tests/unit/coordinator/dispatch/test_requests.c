/* What users ask for: checkpoints, idempotency, cancel; and who takes the work. */
#include "tests/unit/coordinator/dispatch/support.h"

static Status ask(Fixture *f, const char *database, const char *tag, const char *actor, const char *key,
                  Checkpoint *out, bool *joined) {
  return dispatch_request_checkpoint(f->dispatch, database, tag, &(Requester){.name = actor}, key, out, joined,
                                     &f->err);
}

static void test_unknown_database(void **state) {
  Fixture *f = *state;
  Checkpoint c = {0};
  bool joined;
  assert_int_equal(ask(f, "prod-apo", "t", "ci", NULL, &c, &joined), ERR_NOT_FOUND);
  assert_non_null(strstr(f->err.message, "did you mean prod-api?"));
  assert_int_equal(ask(f, "shopp", "t", "ci", NULL, &c, &joined), ERR_NOT_FOUND);
  assert_non_null(strstr(f->err.message, "did you mean shop?"));
  assert_int_equal(ask(f, "completely-else", "t", "ci", NULL, &c, &joined), ERR_NOT_FOUND);
  assert_null(strstr(f->err.message, "did you mean"));
  assert_int_equal(ask(f, "", "t", "ci", NULL, &c, &joined), ERR_NOT_FOUND);
  char *huge = memory_alloc(100001);
  memset(huge, 'a', 100000);
  assert_int_equal(ask(f, huge, "t", "ci", NULL, &c, &joined), ERR_NOT_FOUND);
  assert_int_equal(ask(f, "shop", huge, "ci", NULL, &c, &joined), ERR_INVALID_ARGUMENT);
  assert_int_equal(ask(f, "shop", "t", "ci", huge, &c, &joined), ERR_INVALID_ARGUMENT);
  free(huge);
  assert_int_equal(ask(f, "shop", "", "ci", NULL, &c, &joined), ERR_INVALID_ARGUMENT);
  assert_int_equal(ask(f, "shop", "a\nb", "ci", NULL, &c, &joined), ERR_INVALID_ARGUMENT);
  assert_int_equal(ask(f, "shop", "t", "ci", "", &c, &joined), ERR_INVALID_ARGUMENT);
  assert_null(c.id);
  assert_string_equal(f->seen.kinds, "");
}

static void test_idempotency_key(void **state) {
  Fixture *f = *state;
  Checkpoint one = {0}, two = {0};
  bool joined;
  OK(ask(f, "shop", "t", "ci", "k", &one, &joined));
  assert_false(joined);
  restart(f);
  OK(ask(f, "shop", "t", "ci", "k", &two, &joined));
  assert_true(joined);
  assert_string_equal(one.id, two.id);
  checkpoint_release(&two);
  OK(ask(f, "shop", "t", "somebody-else", "k", &two, &joined));
  assert_false(joined);
  checkpoint_release(&two);
  assert_int_equal(ask(f, "prod-api", "t", "ci", "k", &two, &joined), ERR_CONFLICT);
  assert_int_equal(ask(f, "shop", "u", "ci", "k", &two, &joined), ERR_CONFLICT);
  OK(ask(f, "shop", "t", "ci", NULL, &two, &joined));
  assert_false(joined);
  checkpoint_release(&two);
  checkpoint_release(&one);
}

static void test_one_dump_at_a_time(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *one = request(f, "shop", "one"), *two = request(f, "shop", "two");
  CLEANUP_FREE char *other = request(f, "prod-api", "other");
  JOB *first = must_get(f, 1, DUMP);
  assert_string_equal(first->checkpoint_id, one);
  JOB *elsewhere = poll_as(f, 1, 1, 0, first->id);
  assert_non_null(elsewhere);
  assert_string_equal(elsewhere->checkpoint_id, other);
  assert_null(poll_as(f, 0, 1, 0, NULL));
  assert_true(ends_with(f, 1, first, ENDS_ERRORED, "database_lost"));
  assert_null(poll_as(f, 0, 1, 0, NULL)); /* it will come again: the first stays the first */
  pass(f, 5, 7);
  JOB *again = must_get(f, 0, DUMP);
  assert_string_equal(again->checkpoint_id, one);
  assert_null(poll_as(f, 1, 1, 0, NULL));
  int work = f->seen.work;
  assert_true(dump_done(f, 0, again, MANIFEST));
  assert_true(f->seen.work > work);
  JOB *second = must_get(f, 1, DUMP);
  assert_string_equal(second->checkpoint_id, two);
}

/* An agent polls anew when a slot becomes free, while its last poll is being answered with a job: that one is counted
 * though the agent does not list it yet. */
static void test_polls_that_cross(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *one = request(f, "shop", "one"), *two = request(f, "prod-api", "two");
  JOB *first = poll_as(f, 1, 2, 0, NULL);
  assert_string_equal(first->checkpoint_id, one);
  assert_null(poll_as(f, 1, 1, 0, NULL));
  JOB *second = poll_as(f, 1, 2, 0, NULL);
  assert_string_equal(second->checkpoint_id, two);
  assert_null(poll_as(f, 1, 2, 0, NULL));
}

static void test_cancel_before_anything(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  OK(dispatch_cancel(f->dispatch, id, &me, &f->err));
  expect_error(f, id, CHECKPOINT_CANCELED, "canceled");
  assert_int_equal(f->seen.finished, 1);
  assert_null(poll_as(f, 0, 1, 1, NULL));
  assert_int_equal(dispatch_cancel(f->dispatch, id, &me, &f->err), ERR_CONFLICT);
  assert_int_equal(dispatch_cancel(f->dispatch, "nothing", &me, &f->err), ERR_NOT_FOUND);
}

static void test_cancel_at_work(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t"), *next = request(f, "shop", "next");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  OK(dispatch_cancel(f->dispatch, id, &me, &f->err));
  expect_error(f, id, CHECKPOINT_CANCELED, "canceled");
  assert_null(poll_as(f, 0, 1, 1, NULL)); /* the database is still being dumped */
  REPLY *one = progress_as(f, 1, dump, 1);
  REPLY *two = progress_as(f, 2, drill, 1);
  assert_true(one->cancel && two->cancel);
  assert_true(ends_with(f, 1, dump, ENDS_CANCELED, "canceled"));
  assert_true(ends_with(f, 2, drill, ENDS_ERRORED, "unavailable")); /* whatever it says: it was canceled */
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_CANCELED);
  assert_int_equal(job_state_of(f, drill->id, NULL), JOB_CANCELED);
  expect_error(f, id, CHECKPOINT_CANCELED, "canceled");
  assert_int_equal(f->seen.finished, 1);
  JOB *after = must_get(f, 1, DUMP);
  assert_string_equal(after->checkpoint_id, next);
}

static void test_cancel_with_lost_agents(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  OK(dispatch_cancel(f->dispatch, id, &me, &f->err));
  restart(f);
  pass(f, LEASE + 1, 7);
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_CANCELED);
  assert_int_equal(job_state_of(f, drill->id, NULL), JOB_CANCELED);
  expect_error(f, id, CHECKPOINT_CANCELED, "canceled");
}

static void test_canceled_when_stored_can_be_drilled(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  JOB *drill = must_get(f, 2, DRILL);
  OK(dispatch_cancel(f->dispatch, id, &me, &f->err));
  CLEANUP_FREE char *drill_id = NULL;
  assert_int_equal(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err), ERR_CONFLICT); /* still runs */
  assert_true(drill_proven(f, 2, drill, MANIFEST)); /* it was not asked in time; it does not seal what was canceled */
  expect_error(f, id, CHECKPOINT_CANCELED, "canceled");
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  JOB *again = must_get(f, 2, DRILL);
  assert_true(drill_proven(f, 2, again, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_no_dump_agent(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  pass(f, 0, 4); /* only the driller is there */
  pass(f, WAIT - 2, 4);
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
  pass(f, 3, 4);
  expect_error(f, id, CHECKPOINT_ERRORED, "no_agent");
  assert_non_null(strstr(f->seen.kinds, "checkpoint.errored"));
}

static void test_a_busy_agent_is_waited_for(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  for (int i = 0; i < 20; i++)
    pass(f, 15, 2);
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
  pass(f, WAIT / 2.0, 0); /* it is gone for a while */
  pass(f, 15, 2);
  pass(f, WAIT / 2.0, 0);
  pass(f, WAIT / 2.0 - 10, 0);
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
}

static void test_no_drill_agent(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  for (int i = 0; i < 10; i++) { /* a long dump: the drill's agent may still come */
    pass(f, LEASE - 5, 2);
    renew(f, 1, dump);
  }
  assert_int_equal(state_of(f, id), CHECKPOINT_DUMPING);
  assert_true(dump_done(f, 1, dump, MANIFEST));
  pass(f, 0, 2);
  pass(f, WAIT - 2, 2);
  assert_int_equal(state_of(f, id), CHECKPOINT_STORED);
  pass(f, 3, 2);
  expect_error(f, id, CHECKPOINT_ERRORED, "no_agent");
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  assert_string_equal(c.manifest_sha256, MANIFEST);
  assert_string_equal(c.restore_drill, "errored");
  checkpoint_release(&c);
  CLEANUP_FREE char *drill_id = NULL;
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_agents_take_only_their_databases(void **state) {
  Fixture *f = *state;
  static const char *only[] = {"prod-*"};
  f->agents[1].databases = only;
  restart(f);
  CLEANUP_FREE char *id = request(f, "shop", "t");
  assert_null(poll_as(f, 1, 1, 1, NULL));
  pass(f, 0, 2);
  pass(f, WAIT + 1, 2); /* it is there, but not for this database */
  expect_error(f, id, CHECKPOINT_ERRORED, "no_agent");
}

static void test_database_removed_from_configuration(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *other = stored(f, "prod-api", MANIFEST);
  CLEANUP_FREE char *id = request(f, "shop", "t");
  f->config.database_count = 0;
  restart(f);
  assert_null(poll_as(f, 0, 1, 1, NULL));
  pass(f, 1, 7);
  expect_error(f, id, CHECKPOINT_ERRORED, "config");
  expect_error(f, other, CHECKPOINT_ERRORED, "config");
}

static void test_too_many(void **state) {
  Fixture *f = *state;
  Checkpoint c = {0};
  bool joined;
  Status status = STATUS_OK;
  int count = 0;
  for (; status == STATUS_OK && count < 1000; count++) {
    status = ask(f, "shop", "t", "ci", NULL, &c, &joined);
    if (status == STATUS_OK)
      checkpoint_release(&c);
  }
  assert_int_equal(status, ERR_TOO_MANY);
  assert_int_equal(count, 65);
  OK(ask(f, "prod-api", "t", "ci", NULL, &c, &joined));
  checkpoint_release(&c);
}

static void test_liveness(void **state) {
  Fixture *f = *state;
  assert_false(dispatch_agent_live(f->dispatch, "both"));
  assert_int_equal(dispatch_agent_silent_us(f->dispatch, "both"), -1);
  dispatch_agent_seen(f->dispatch, "both");
  dispatch_agent_seen(f->dispatch, "stranger");
  assert_true(dispatch_agent_live(f->dispatch, "both"));
  assert_false(dispatch_agent_live(f->dispatch, "stranger"));
  pass(f, 19, 0);
  assert_true(dispatch_agent_live(f->dispatch, "both"));
  pass(f, 2, 0);
  assert_false(dispatch_agent_live(f->dispatch, "both"));
  assert_true(dispatch_agent_silent_us(f->dispatch, "both") >= 21 * 1000000);
}

/* The ledger cannot be written: nobody is told of anything, and nothing is half done. */
static void test_nothing_is_told_unless_durable(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  Seen before = f->seen;
  OK(ledger_begin(f->ledger, &f->err)); /* a transaction that somebody forgot: begin inside it is refused */
  Checkpoint c = {0};
  bool joined, accepted = false;
  assert_int_not_equal(ask(f, "shop", "u", "ci", NULL, &c, &joined), STATUS_OK);
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  result.outcome = PGSEAL__JOB_RESULT__OUTCOME__ERRORED;
  assert_int_not_equal(send_result(f, 1, dump, &result, &accepted), STATUS_OK);
  assert_false(accepted);
  ledger_rollback(f->ledger);
  assert_memory_equal(&before, &f->seen, sizeof before);
  assert_int_equal(state_of(f, id), CHECKPOINT_DUMPING);
  assert_true(dump_done(f, 1, dump, MANIFEST));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_unknown_database),
      T(test_idempotency_key),
      T(test_one_dump_at_a_time),
      T(test_polls_that_cross),
      T(test_cancel_before_anything),
      T(test_cancel_at_work),
      T(test_cancel_with_lost_agents),
      T(test_canceled_when_stored_can_be_drilled),
      T(test_no_dump_agent),
      T(test_a_busy_agent_is_waited_for),
      T(test_no_drill_agent),
      T(test_agents_take_only_their_databases),
      T(test_database_removed_from_configuration),
      T(test_too_many),
      T(test_liveness),
      T(test_nothing_is_told_unless_durable),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
