/* What is taken out of the repository: what may not be, what nobody is given meanwhile, and how it ends. */
#include "tests/unit/coordinator/dispatch/recovery.h"

#include "coordinator/retention/retention.h"

#define PRUNE PGSEAL__JOB_KIND__JOB_KIND_PRUNE
#define ALIVE (1u << PRUNER)
#define GONE "{\"objects\": 7, \"bytes\": 4000, \"kept\": 0, \"locked\": [], \"locked_until_us\": 0, \"whole\": false}"
#define DAY_US ((int64_t)86400 * 1000000)

static Checkpoint checkpoint_of(Fixture *f, const char *id) {
  Checkpoint checkpoint = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &checkpoint, &f->err));
  return checkpoint;
}

static bool is_marked(Fixture *f, const char *id) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = checkpoint_of(f, id);
  assert_true(!checkpoint.pruned_us || checkpoint.pruning_us);
  return checkpoint.pruning_us != 0;
}

static bool is_pruned(Fixture *f, const char *id) {
  CLEANUP(checkpoint_release) Checkpoint checkpoint = checkpoint_of(f, id);
  return checkpoint.pruned_us != 0;
}

static Status ask(Fixture *f, const char *id) {
  return dispatch_prune(f->dispatch, id, PRUNE_CHECKPOINT, &me, &f->err);
}

static void refuse(Fixture *f, const char *id, const char *why) {
  assert_int_equal(ask(f, id), ERR_CONFLICT);
  if (!strstr(f->err.message, why))
    fail_msg("%s", f->err.message);
}

static Pgseal__Job *poll_prune(Fixture *f) {
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  Pgseal__Job *job = NULL;
  poll.free_prune = 1;
  OK(dispatch_poll(f->dispatch, agent_names[PRUNER], &poll, &job, &f->err));
  return job;
}

static Pgseal__Job *must_prune(Fixture *f, const char *id) {
  Pgseal__Job *job = poll_prune(f);
  assert_non_null(job);
  assert_int_equal(job->kind, PRUNE);
  assert_string_equal(job->checkpoint_id, id);
  return job;
}

static void ends(Fixture *f, Pgseal__Job *job, const char *report) {
  assert_true(reports(f, PRUNER, job, PGSEAL__JOB_RESULT__OUTCOME__DONE, NULL, report));
  assert_true(reports(f, PRUNER, job, PGSEAL__JOB_RESULT__OUTCOME__DONE, NULL, report)); /* its answer was lost */
  pgseal__job__free_unpacked(job, NULL);
}

static bool told_of(const Fixture *f, const char *kind) {
  return strstr(f->seen.kinds, kind) != NULL;
}

static void test_what_stays(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *old = sealed_of(f, "shop"), *open = request(f, "shop", "t"), *other = NULL;
  refuse(f, old, "newest sealed");
  refuse(f, open, "not over");
  assert_int_equal(ask(f, "01kb0000000000000000000000"), ERR_NOT_FOUND);
  OK(dispatch_cancel(f->dispatch, open, &me, &f->err));
  other = sealed_of(f, "shop");
  refuse(f, other, "newest sealed");
  OK(dispatch_pin(f->dispatch, old, true, "the audit", &me, &f->err));
  OK(dispatch_pin(f->dispatch, old, true, "again", &me, &f->err));
  refuse(f, old, "pinned");
  restart(f);
  refuse(f, old, "pinned");
  OK(dispatch_pin(f->dispatch, old, false, NULL, &me, &f->err));
  CLEANUP_FREE char *drill = NULL;
  OK(dispatch_request_drill(f->dispatch, old, &me, &drill, &f->err));
  refuse(f, old, "drill");
  OK(dispatch_cancel(f->dispatch, old, &me, &f->err));
  assert_false(is_marked(f, old));
  OK(ask(f, old));
  assert_true(is_marked(f, old));
  refuse(f, old, "under way");
  assert_int_equal(dispatch_pin(f->dispatch, old, true, NULL, &me, &f->err), ERR_CONFLICT);
  assert_true(told_of(f, "checkpoint.unpinned") && told_of(f, "prune.requested"));
  OK(ask(f, open)); /* it was canceled: nothing of it is worth anything */
}

static bool none(const void *user, const char *database) {
  (void)user, (void)database;
  return false;
}

static void test_not_seen(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  const Requester blind = {.name = "blind", .sees = none};
  assert_int_equal(dispatch_pin(f->dispatch, id, true, NULL, &blind, &f->err), ERR_NOT_FOUND);
  assert_int_equal(dispatch_prune(f->dispatch, id, PRUNE_CHECKPOINT, &blind, &f->err), ERR_NOT_FOUND);
}

static void test_pruned(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *old = sealed_of(f, "shop"), *newer = sealed_of(f, "shop"), *drill = NULL;
  OK(ask(f, old));
  restart(f); /* the mark is durable before anybody deletes */
  assert_true(is_marked(f, old) && !is_pruned(f, old));
  assert_int_equal(tables_of(f, old), 2);
  assert_int_equal(dispatch_request_drill(f->dispatch, old, &me, &drill, &f->err), ERR_CONFLICT);
  assert_non_null(strstr(f->err.message, "is being pruned"));
  CLEANUP_FREE char *body = memory_format("{\"database\": \"shop\", \"checkpoint\": \"%s\"}", old);
  refused(f, LEDGER_JOB_PLAN, body, ERR_CONFLICT, "is being pruned");
  assert_null(poll_as(f, 0, 1, 1, NULL)); /* agents that do not know of it are not given it */
  Pgseal__Job *job = must_prune(f, old);
  CLEANUP_FREE char *prefix = memory_format("shop/%s/", old);
  assert_int_equal(job->prune->n_prefixes, 1);
  assert_string_equal(job->prune->prefixes[0], prefix);
  ends(f, job, GONE);
  assert_true(is_pruned(f, old));
  assert_int_equal(state_of(f, old), CHECKPOINT_SEALED); /* what was proven was so */
  assert_true(tables_of(f, old) == -1 && tables_of(f, newer) == 2);
  assert_true(told_of(f, "checkpoint.pruned"));
  refused(f, LEDGER_JOB_PLAN, body, ERR_CONFLICT, "was pruned");
  refuse(f, old, "nothing that can be pruned");
  CLEANUP_FREE char *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  CLEANUP(ledger_job_release) LedgerJob made = {0};
  OK(ledger_job_get(f->ledger, plan, &made, &f->err));
  assert_string_equal(made.checkpoint_id, newer);
}

/* Its agent is gone in the middle: another attempt, of the same; and the late result of the first is refused. */
static void test_lost(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *old = sealed_of(f, "shop"), *newer = sealed_of(f, "shop");
  OK(ask(f, old));
  Pgseal__Job *first = must_prune(f, old);
  pass(f, LEASE + 2, 0);
  pass(f, 5, ALIVE);
  Pgseal__Job *second = must_prune(f, old);
  assert_int_equal(second->attempt, 2);
  assert_true(second->fencing > first->fencing);
  assert_false(reports(f, PRUNER, first, PGSEAL__JOB_RESULT__OUTCOME__DONE, NULL, GONE));
  assert_true(is_marked(f, old) && !is_pruned(f, old));
  ends(f, second, GONE);
  assert_true(is_pruned(f, old));
  pgseal__job__free_unpacked(first, NULL);
  (void)newer;
}

/* Where no agent ever had it, the mark goes again; where one had, it stays: something may be gone. */
static void test_nobody_there(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *old = sealed_of(f, "shop"), *newer = sealed_of(f, "shop");
  OK(ask(f, old));
  pass(f, WAIT + 3, 0);
  assert_false(is_marked(f, old));
  OK(ask(f, old));
  Pgseal__Job *job = must_prune(f, old);
  assert_true(reports(f, PRUNER, job, PGSEAL__JOB_RESULT__OUTCOME__ERRORED, "repository_refused", NULL));
  pgseal__job__free_unpacked(job, NULL);
  assert_true(is_marked(f, old) && !is_pruned(f, old));
  OK(ask(f, old)); /* the next round does it again */
  pass(f, WAIT + 3, 0);
  assert_true(is_marked(f, old) && !is_pruned(f, old));
  (void)newer;
}

static void test_bad_reports(void **state) {
  Fixture *f = *state;
  static const char *const bad[] = {"", "[]", "{", "7"};
  CLEANUP_FREE char *old = sealed_of(f, "shop"), *newer = sealed_of(f, "shop");
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    OK(ask(f, old));
    Pgseal__Job *job = must_prune(f, old);
    assert_true(reports(f, PRUNER, job, PGSEAL__JOB_RESULT__OUTCOME__DONE, NULL, bad[i]));
    pgseal__job__free_unpacked(job, NULL);
    assert_true(is_marked(f, old) && !is_pruned(f, old));
  }
  (void)newer;
}

static char *locked_report(bool whole, int64_t until_us) {
  return memory_format("{\"objects\": 3, \"bytes\": 10, \"kept\": 1, \"locked\": [{\"key\": \"k\", \"until\": \"u\"}], "
                       "\"locked_until_us\": %lld, \"whole\": %s}",
                       (long long)until_us, whole ? "true" : "false");
}

static void test_locked_manifest(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *old = sealed_of(f, "shop"), *newer = sealed_of(f, "shop"), *drill = NULL;
  CLEANUP_FREE char *report = locked_report(true, moved_wall_us() + DAY_US);
  OK(ask(f, old));
  ends(f, must_prune(f, old), report);
  assert_false(is_marked(f, old)); /* as good as it was */
  assert_true(told_of(f, "checkpoint.locked"));
  refuse(f, old, "nothing that can be pruned now");
  OK(dispatch_request_drill(f->dispatch, old, &me, &drill, &f->err));
  OK(dispatch_cancel(f->dispatch, old, &me, &f->err));
  clock_moved_us += 2 * DAY_US;
  OK(ask(f, old));
  (void)newer;
}

static void test_locked_rest(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *old = sealed_of(f, "shop"), *newer = sealed_of(f, "shop");
  CLEANUP_FREE char *report = locked_report(false, moved_wall_us() + DAY_US), *held = locked_report(false, INT64_MAX);
  OK(ask(f, old));
  ends(f, must_prune(f, old), report);
  assert_true(is_pruned(f, old));
  refuse(f, old, "nothing that can be pruned now");
  clock_moved_us += 2 * DAY_US;
  OK(ask(f, old));
  ends(f, must_prune(f, old), held);
  clock_moved_us += 31 * DAY_US; /* a legal hold is looked at again some day */
  OK(ask(f, old));
  ends(f, must_prune(f, old), GONE);
  refuse(f, old, "nothing that can be pruned");
  (void)newer;
}

static void test_lost_attempts(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  Pgseal__Job *first = must_get(f, 1, DUMP);
  pass(f, LEASE + 2, 0);
  pass(f, 5, 1u << 1);
  Pgseal__Job *dump = must_get(f, 1, DUMP);
  assert_int_equal(dispatch_prune(f->dispatch, id, PRUNE_LOST_ATTEMPTS, &me, &f->err), ERR_CONFLICT);
  assert_true(dump_done(f, 1, dump, MANIFEST));
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  OK(dispatch_prune(f->dispatch, id, PRUNE_LOST_ATTEMPTS, &me, &f->err));
  assert_false(is_marked(f, id));
  Pgseal__Job *job = must_prune(f, id);
  CLEANUP_FREE char *prefix = memory_format("shop/%s/attempt-1/", id);
  assert_int_equal(job->prune->n_prefixes, 1);
  assert_string_equal(job->prune->prefixes[0], prefix);
  ends(f, job, GONE);
  CLEANUP(checkpoint_release) Checkpoint checkpoint = checkpoint_of(f, id);
  assert_int_equal(json_integer_value(json_object_get(checkpoint.detail, "attempts_pruned")), 1);
  assert_true(!checkpoint.pruning_us && told_of(f, "prune.lost_attempts"));
  pgseal__job__free_unpacked(first, NULL);
  pgseal__job__free_unpacked(dump, NULL);
}

/* ---- by policy ---- */

static void apply(Fixture *f, const char *text) {
  CLEANUP(free_json) json_t *report = NULL;
  if (dispatch_apply_fleet(f->dispatch, "fleet.yaml", text, strlen(text), &me, false, &report, &f->err) != STATUS_OK)
    fail_msg("%s", f->err.message);
}

static void test_by_policy(void **state) {
  Fixture *f = *state;
  size_t marked = 9;
  char *ids[4];
  for (size_t i = 0; i < 4; i++)
    ids[i] = sealed_of(f, "shop");
  pass(f, 1, ALIVE);
  OK(retention_prune(f->dispatch, f->ledger, "shop", &me, &marked, &f->err));
  assert_int_equal(marked, 0); /* no policy: all is kept */
  apply(f, "policies:\n  - name: few\n    match: {names: ['*']}\n    retention: {last: 2}\n");
  OK(dispatch_pin(f->dispatch, ids[0], true, NULL, &me, &f->err));
  OK(retention_prune(f->dispatch, f->ledger, "shop", &me, &marked, &f->err));
  assert_int_equal(marked, 1);
  assert_true(is_marked(f, ids[1]) && !is_marked(f, ids[0]) && !is_marked(f, ids[2]) && !is_marked(f, ids[3]));
  RetentionView view = {0};
  OK(retention_look(f->dispatch, f->ledger, "shop", &view, &f->err));
  assert_int_equal(view.count, 4);
  assert_int_equal(view.rules[0], RETENTION_LAST | RETENTION_NEWEST);
  assert_int_equal(view.rules[1], RETENTION_LAST);
  assert_int_equal(view.rules[2], 0);
  assert_int_equal(view.rules[3], RETENTION_PINNED);
  retention_view_release(&view);
  ends(f, must_prune(f, ids[1]), GONE);
  OK(retention_prune(f->dispatch, f->ledger, "shop", &me, &marked, &f->err));
  assert_int_equal(marked, 0);
  OK(dispatch_pin(f->dispatch, ids[0], false, NULL, &me, &f->err));
  Retention retention = {0};
  retention_tick(&retention, f->dispatch, f->ledger); /* one a second: prod-api, shop */
  retention_tick(&retention, f->dispatch, f->ledger);
  assert_true(is_marked(f, ids[0]));
  for (size_t i = 0; i < 4; i++)
    free(ids[i]);
}

static void test_nobody_prunes(void **state) {
  Fixture *f = *state;
  size_t marked = 9;
  CLEANUP_FREE char *old = sealed_of(f, "shop"), *newer = sealed_of(f, "shop");
  apply(f, "policies:\n  - name: few\n    match: {names: ['*']}\n    retention: {last: 1}\n");
  assert_int_equal(retention_prune(f->dispatch, f->ledger, "shop", &me, &marked, &f->err), ERR_NO_AGENT);
  assert_false(is_marked(f, old));
  assert_int_equal(retention_prune(f->dispatch, f->ledger, "none", &me, &marked, &f->err), ERR_NOT_FOUND);
  (void)newer;
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(test_what_stays),    TEST(test_not_seen),    TEST(test_pruned),          TEST(test_lost),
      TEST(test_nobody_there),  TEST(test_bad_reports), TEST(test_locked_manifest), TEST(test_locked_rest),
      TEST(test_lost_attempts), TEST(test_by_policy),   TEST(test_nobody_prunes)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
