/* Leases: expiry, fencing, restarts of the coordinator and of agents, results that come late, twice or out of order. */
#include <sqlite3.h>

#include "coordinator/ledger/db.h"
#include "tests/unit/coordinator/dispatch/support.h"

static void test_lease_expires(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  pass(f, LEASE - 1, 7);
  renew(f, 1, dump);
  pass(f, LEASE - 1, 7);
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_RUNNING);
  pass(f, 2, 7);
  int attempt;
  assert_int_equal(job_state_of(f, dump->id, &attempt), JOB_QUEUED);
  assert_int_equal(attempt, 2);
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
  assert_false(dump_done(f, 1, dump, MANIFEST)); /* late: refused, though nobody has the job yet */
  REPLY *reply = progress_as(f, 1, dump, 1);
  assert_true(reply->lease_lost);
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
  pass(f, 5, 7);
  JOB *again = must_get(f, 0, DUMP);
  assert_true(again->fencing > dump->fencing);
  assert_false(dump_done(f, 1, dump, MANIFEST));
  assert_false(ends_with(f, 1, dump, ENDS_FAILED, "dump_failed"));
  assert_true(dump_done(f, 0, again, OTHER));
  assert_int_equal(state_of(f, id), CHECKPOINT_STORED);
}

/* The coordinator's process was stopped, or its machine: what was sent meanwhile is read after the next tick. */
static void test_the_coordinator_stands_still(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP); /* before the first tick */
  tick_after(f, 3600 * (int64_t)1000000, 0);
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_LEASED);
  assert_true(dispatch_agent_live(f->dispatch, "dumper"));
  renew(f, 1, dump);
  pass(f, LEASE - 1, 7);
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_RUNNING);
  tick_after(f, 3600 * (int64_t)1000000, 7);
  pass(f, LEASE + 1, 0); /* who is not heard of afterwards has no more than a lease */
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_QUEUED);
  tick_after(f, 3600 * (int64_t)1000000, 0); /* nobody could come */
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
  pass(f, WAIT + 60, 0);
  expect_error(f, id, CHECKPOINT_ERRORED, "no_agent");
}

/* A machine on which every tick is late: leases end all the same. */
static void test_always_late(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  for (int i = 0; i < LEASE && job_state_of(f, dump->id, NULL) == JOB_LEASED; i++)
    tick_after(f, 10 * (int64_t)1000000, 0);
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_QUEUED);
}

static void test_lease_lost_for_good(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  for (int i = 1; i <= 3; i++) {
    JOB *dump = must_get(f, 1, DUMP);
    pass(f, LEASE + 1, 7);
    pass(f, 20, 7);
  }
  expect_error(f, id, CHECKPOINT_ERRORED, "agent_lost");
}

static void test_only_the_holder_is_heard(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  assert_false(dump_done(f, 0, dump, OTHER));
  REPLY *reply = progress_as(f, 0, dump, 9);
  assert_true(reply->lease_lost);
  uint64_t fencing = dump->fencing;
  dump->fencing++;
  assert_false(dump_done(f, 1, dump, OTHER));
  dump->fencing = fencing;
  assert_int_equal(state_of(f, id), CHECKPOINT_DUMPING);
  char *job_id = dump->id;
  dump->id = (char *)"01hzzzzzzzzzzzzzzzzzzzzzzz";
  assert_false(dump_done(f, 1, dump, OTHER));
  dump->id = (char *)"'; DROP TABLE job; --";
  assert_false(dump_done(f, 1, dump, OTHER));
  dump->id = job_id;
  Pgseal__Poll poll = PGSEAL__POLL__INIT;
  Pgseal__Job *job = NULL;
  poll.free_dump = 1;
  assert_int_equal(dispatch_poll(f->dispatch, "stranger", &poll, &job, &f->err), ERR_FORBIDDEN);
}

static void test_results_twice(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(dump_done(f, 1, dump, MANIFEST));
  assert_true(dump_done(f, 1, dump, MANIFEST));
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  char kinds[sizeof f->seen.kinds];
  memcpy(kinds, f->seen.kinds, sizeof kinds);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  assert_true(dump_done(f, 1, dump, OTHER)); /* accepted so that it is forgotten, but it changes nothing */
  assert_string_equal(kinds, f->seen.kinds);
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  assert_string_equal(c.manifest_sha256, MANIFEST);
  checkpoint_release(&c);
}

static void test_verdict_before_the_dumps_result(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  renew(f, 2, drill);
  bool accepted;
  for (int i = 0; i < 4; i++) { /* it is held, and not lost meanwhile */
    assert_int_equal(drill_ends(f, 2, drill, 2, OUTCOME_PROVEN, MANIFEST, drill->prefix, &accepted), ERR_UNAVAILABLE);
    assert_int_equal(state_of(f, id), CHECKPOINT_DUMPING);
    assert_null(poll_as(f, 2, 0, 0, NULL)); /* the agent runs nothing any more, but the result is to come */
    pass(f, LEASE - 5, 7);
    renew(f, 1, dump);
  }
  assert_true(dump_done(f, 1, dump, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_DRILLING);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

/* The dump agent died between its manifest and its result: what the drill proved is not the attempt that will count. */
static void test_verdict_about_a_lost_dump(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  pass(f, LEASE - 1, 7);
  renew(f, 2, drill);
  pass(f, 5, 7);
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
  bool accepted;
  OK(drill_ends(f, 2, drill, 2, OUTCOME_PROVEN, MANIFEST, drill->prefix, &accepted));
  assert_true(accepted);
  int attempt;
  assert_int_equal(job_state_of(f, drill->id, &attempt), JOB_QUEUED);
  assert_int_equal(attempt, 2);
  pass(f, 10, 7);
  JOB *dump2 = must_get(f, 1, DUMP);
  JOB *drill2 = must_get(f, 2, DRILL);
  assert_true(dump_done(f, 1, dump2, OTHER));
  assert_true(drill_proven(f, 2, drill2, OTHER));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

/* A drill that failed on the objects of a lost attempt condemns nothing. */
static void test_failure_about_a_lost_dump(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(ends_with(f, 1, dump, ENDS_ERRORED, "database_lost"));
  pass(f, 5, 7);
  renew(f, 2, drill);
  JOB *dump2 = must_get(f, 1, DUMP);
  assert_true(ends_with(f, 2, drill, ENDS_FAILED, "segment_missing"));
  assert_int_equal(state_of(f, id), CHECKPOINT_DUMPING);
  assert_int_equal(job_state_of(f, drill->id, NULL), JOB_QUEUED);
  pass(f, 5, 7);
  JOB *drill2 = must_get(f, 2, DRILL);
  renew(f, 1, dump2);
  assert_true(ends_with(f, 2, drill2, ENDS_FAILED, "segment_missing")); /* but of this one it does */
  expect_error(f, id, CHECKPOINT_FAILED, "segment_missing");
}

static void test_dump_moves_to_another_agent(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(ends_with(f, 1, dump, ENDS_ERRORED, "database_lost"));
  pass(f, 5, 7);
  renew(f, 2, drill);
  JOB *dump2 = must_get(f, 0, DUMP); /* another key: manifests must verify against it */
  REPLY *reply = progress_as(f, 2, drill, 0);
  assert_true(reply->lease_lost);
  pass(f, 5, 7);
  renew(f, 0, dump2);
  JOB *drill2 = must_get(f, 2, DRILL);
  assert_string_equal(drill2->drill->dump_agent, "both");
  assert_memory_equal(drill2->drill->dump_public_key.data, f->agents[0].key, 32);
  assert_true(dump_done(f, 0, dump2, MANIFEST));
  assert_false(drill_proven(f, 2, drill, MANIFEST)); /* fenced off */
  assert_int_equal(state_of(f, id), CHECKPOINT_DRILLING);
  assert_true(drill_proven(f, 2, drill2, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_restart_in_mid_flight(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  restart(f);
  JOB *dump = must_get(f, 1, DUMP);
  restart(f);
  JOB *drill = must_get(f, 2, DRILL);
  REPLY *first = progress_as(f, 1, dump, 3);
  clock_moved_us += 3600 * (int64_t)1000000; /* the coordinator was away for an hour */
  restart(f);
  pass(f, LEASE - 1, 0); /* agents get a full lease from its start on */
  REPLY *second = progress_as(f, 2, drill, 0);
  assert_false(second->lease_lost);
  assert_int_equal(second->follow->segments, 3); /* from the ledger */
  renew(f, 1, dump);
  assert_true(dump_done(f, 1, dump, MANIFEST));
  restart(f);
  assert_true(dump_done(f, 1, dump, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_DRILLING);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  restart(f);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  restart(f);
  pass(f, 1000, 7);
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_leases_expire_after_restart(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  restart(f);
  pass(f, LEASE + 1, 7);
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_QUEUED);
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
}

static void test_agent_restarts(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  assert_null(poll_as(f, 1, 1, 0, NULL)); /* crossed with the assignment: no reason to take it away */
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_LEASED);
  for (int i = 0; i < 2; i++) {
    pass(f, LEASE - 5, 7);
    renew(f, 1, dump);
  }
  assert_null(poll_as(f, 1, 1, 0, dump->id));
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_RUNNING);
  assert_null(poll_as(f, 1, 1, 0, NULL)); /* it came back without the job: at once, not a lease later */
  assert_int_equal(job_state_of(f, dump->id, NULL), JOB_QUEUED);
  assert_false(dump_done(f, 1, dump, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
}

static void test_agent_stops_in_mid_job(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(ends_with(f, 2, drill, ENDS_CANCELED, "canceled")); /* nobody asked for that: it is tried again */
  assert_int_equal(job_state_of(f, drill->id, NULL), JOB_QUEUED);
  assert_int_equal(state_of(f, id), CHECKPOINT_STORED);
}

static void test_bad_verdicts_never_seal(void **state) {
  Fixture *f = *state;
  for (int i = 0; i < 5; i++) {
    CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
    JOB *drill = must_get(f, 2, DRILL);
    bool accepted;
    if (i == 0) { /* signed by another agent */
      OK(drill_ends(f, 2, drill, 1, OUTCOME_PROVEN, MANIFEST, drill->prefix, &accepted));
    } else if (i == 1) { /* of another manifest */
      OK(drill_ends(f, 2, drill, 2, OUTCOME_PROVEN, OTHER, drill->prefix, &accepted));
    } else if (i == 2) { /* of another drill */
      free(drill->drill->drill_id);
      drill->drill->drill_id = memory_strdup("other");
      OK(drill_ends(f, 2, drill, 2, OUTCOME_PROVEN, MANIFEST, drill->prefix, &accepted));
    } else if (i == 3) { /* says other than it signs */
      OK(drill_says(f, 2, drill, 2, OUTCOME_PROVEN, "failed", MANIFEST, drill->prefix, &accepted));
    } else { /* no verdict at all */
      Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
      result.outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
      OK(send_result(f, 2, drill, &result, &accepted));
    }
    assert_true(accepted);
    expect_error(f, id, CHECKPOINT_ERRORED, i < 3 ? "proof_invalid" : "protocol");
  }
  assert_null(strstr(f->seen.kinds, "sealed"));
}

static void test_condemning_needs_the_agents_own_signature(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  JOB *drill = must_get(f, 2, DRILL);
  bool accepted;
  OK(drill_ends(f, 2, drill, 1, OUTCOME_FAILED, MANIFEST, drill->prefix, &accepted));
  expect_error(f, id, CHECKPOINT_ERRORED, "proof_invalid");
}

static void test_bad_dump_results_never_store(void **state) {
  Fixture *f = *state;
  const char *const bad[] = {"", "zz", "1111111111111111111111111111111111111111111111111111111111111111A"};
  for (int i = 0; i < 3; i++) {
    CLEANUP_FREE char *id = request(f, "shop", "t");
    JOB *dump = must_get(f, 1, DUMP);
    assert_true(dump_done(f, 1, dump, bad[i]));
    expect_error(f, id, CHECKPOINT_ERRORED, "protocol");
  }
}

static void as_another(Fixture *f, const char *sql) {
  sqlite3 *db;
  assert_int_equal(sqlite3_open(f->path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* What is known in memory is looked at again where it counts: in the transaction that leases. */
static void test_another_coordinator_took_it(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  CLEANUP_FREE char *other = request(f, "prod-api", "t");
  as_another(f, "UPDATE job SET state = 'leased', agent = 'a0', fencing = 99 WHERE database = 'shop' AND kind = 1;"
                "UPDATE checkpoint SET state = 'dumping' WHERE database = 'shop'");
  f->ledger->moved = true; /* as the tip of the chain would tell */
  JOB *dump = poll_as(f, 1, 2, 0, NULL);
  assert_non_null(dump); /* the next one, not that */
  assert_string_equal(dump->checkpoint_id, other);
  assert_null(poll_as(f, 1, 2, 0, dump->id));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_lease_expires),
      T(test_the_coordinator_stands_still),
      T(test_always_late),
      T(test_lease_lost_for_good),
      T(test_only_the_holder_is_heard),
      T(test_results_twice),
      T(test_verdict_before_the_dumps_result),
      T(test_verdict_about_a_lost_dump),
      T(test_failure_about_a_lost_dump),
      T(test_dump_moves_to_another_agent),
      T(test_restart_in_mid_flight),
      T(test_leases_expire_after_restart),
      T(test_agent_restarts),
      T(test_agent_stops_in_mid_job),
      T(test_bad_verdicts_never_seal),
      T(test_condemning_needs_the_agents_own_signature),
      T(test_bad_dump_results_never_store),
      T(test_another_coordinator_took_it),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
