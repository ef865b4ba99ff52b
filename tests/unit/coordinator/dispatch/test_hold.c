/* What operators hold back: nothing of it begins, nothing of it is lost, and what runs goes on. */
#include "tests/unit/coordinator/dispatch/recovery.h"

static void hold(Fixture *f, HoldWhat what, const char *name, bool on) {
  OK(dispatch_hold(f->dispatch, what, name, on, on ? "the reason" : NULL, &me, &f->err));
  assert_int_equal(dispatch_held(f->dispatch, what, name) != NULL, on);
}

static size_t count_of(const Fixture *f, const char *kind) {
  size_t n = 0;
  for (const char *at = f->seen.kinds; (at = strstr(at, kind)); at += strlen(kind))
    n++;
  return n;
}

static void test_drain(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *first = request(f, "shop", "t"), *second = request(f, "prod-api", "t");
  JOB *dump = must_get(f, 1, DUMP);
  hold(f, HOLD_AGENT, "dumper", true);
  hold(f, HOLD_AGENT, "dumper", true); /* again: fine, and no second event */
  assert_int_equal(count_of(f, "agent.drained"), 1);
  assert_null(poll_as(f, 1, 5, 0, dump->id));
  restart(f);
  assert_null(poll_as(f, 1, 5, 0, dump->id));
  renew(f, 1, dump); /* what it has it ends */
  assert_true(dump_done(f, 1, dump, MANIFEST));
  const LedgerHold *held = dispatch_held(f->dispatch, HOLD_AGENT, "dumper");
  assert_string_equal(held->actor, "me");
  assert_string_equal(held->reason, "the reason");
  assert_true(held->since_us > 0);
  int woken = f->seen.work;
  hold(f, HOLD_AGENT, "dumper", false);
  assert_true(f->seen.work > woken);
  JOB *other = must_get(f, 1, DUMP);
  assert_string_equal(other->checkpoint_id, second);
  (void)first;
}

/* Who is drained does nothing for those who wait. */
static void test_nobody_else(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  hold(f, HOLD_AGENT, "dumper", true);
  hold(f, HOLD_AGENT, "both", true);
  pass(f, WAIT + 3, 3);
  expect_error(f, id, CHECKPOINT_ERRORED, "no_agent");
}

static void test_unknown(void **state) {
  Fixture *f = *state;
  assert_int_equal(dispatch_hold(f->dispatch, HOLD_AGENT, "nobody", true, NULL, &me, &f->err), ERR_NOT_FOUND);
  assert_int_equal(dispatch_hold(f->dispatch, HOLD_DATABASE, "nothing", true, NULL, &me, &f->err), ERR_NOT_FOUND);
  OK(dispatch_hold(f->dispatch, HOLD_FLEET, "", false, NULL, &me, &f->err));
  assert_string_equal(f->seen.kinds, "");
}

static void test_cordon(void **state) {
  Fixture *f = *state;
  Checkpoint c = {0};
  bool joined;
  CLEANUP_FREE char *kept = sealed_of(f, "shop"), *waits = request(f, "shop", "t"),
                    *other = request(f, "prod-api", "t");
  hold(f, HOLD_DATABASE, "shop", true);
  assert_int_equal(dispatch_request_checkpoint(f->dispatch, "shop", "t", &me, NULL, &c, &joined, &f->err),
                   ERR_CONFLICT);
  assert_non_null(strstr(f->err.message, "is cordoned by me: the reason"));
  JOB *dump = must_get(f, 1, DUMP); /* of the other */
  assert_string_equal(dump->checkpoint_id, other);
  assert_null(poll_as(f, 0, 5, 0, NULL));
  pass(f, WAIT * 3, 1); /* it waits on, though nobody takes it */
  assert_int_equal(state_of(f, waits), CHECKPOINT_REQUESTED);
  CLEANUP_FREE char *drill = NULL, *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  OK(dispatch_request_drill(f->dispatch, kept, &me, &drill, &f->err));
  JOB *again = must_get(f, 2, DRILL);
  assert_string_equal(again->checkpoint_id, kept);
  JOB *planned = must_recover(f, RESTORER, plan);
  assert_int_equal(planned->kind, PGSEAL__JOB_KIND__JOB_KIND_PLAN);
  hold(f, HOLD_DATABASE, "shop", false);
  JOB *now = must_get(f, 0, DUMP);
  assert_string_equal(now->checkpoint_id, waits);
}

static void test_pause(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *kept = sealed_of(f, "shop"), *runs = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  hold(f, HOLD_FLEET, "", true);
  restart(f);
  CLEANUP_FREE char *waits = request(f, "prod-api", "t"); /* accepted, and kept */
  CLEANUP_FREE char *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  assert_null(poll_as(f, 0, 5, 5, NULL));
  assert_null(poll_as(f, 2, 0, 5, NULL));
  JOB *planned = must_recover(f, RESTORER, plan);
  assert_string_equal(planned->id, plan);
  renew(f, 1, dump);
  assert_true(dump_done(f, 1, dump, MANIFEST));
  pass(f, WAIT * 3, LIVE);
  assert_int_equal(state_of(f, waits), CHECKPOINT_REQUESTED);
  assert_int_equal(state_of(f, runs), CHECKPOINT_STORED);
  hold(f, HOLD_FLEET, "", false);
  JOB *drill = must_get(f, 2, DRILL);
  assert_string_equal(drill->checkpoint_id, runs);
  JOB *next = must_get(f, 1, DUMP);
  assert_string_equal(next->checkpoint_id, waits);
  assert_true(count_of(f, "fleet.paused") == 1 && count_of(f, "fleet.resumed") == 1);
  (void)kept;
}

/* Written by another coordinator of the same ledger: known here a second later. */
static void test_by_another(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  const LedgerHold written = {.what = (char *)"fleet", .name = (char *)"", .since_us = 1};
  OK(ledger_begin(f->ledger, &f->err));
  OK(ledger_hold_put(f->ledger, &written, &f->err));
  OK(ledger_commit(f->ledger, &f->err));
  tick_after(f, 1000000, 1);
  assert_null(poll_as(f, 0, 5, 5, NULL));
  (void)id;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {TEST(test_drain),  TEST(test_nobody_else), TEST(test_unknown),
                                     TEST(test_cordon), TEST(test_pause),       TEST(test_by_another)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
