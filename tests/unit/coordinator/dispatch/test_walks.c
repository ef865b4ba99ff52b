/* From request to end: the ways a checkpoint goes. */
#include "tests/unit/coordinator/dispatch/support.h"

static void test_main_path(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "prod-api", "pre-deploy");
  assert_int_equal(f->seen.work, 1);
  assert_null(poll_as(f, 2, 1, 1, NULL)); /* a drill has nothing to follow yet, and this agent may not dump */
  JOB *dump = must_get(f, 1, DUMP);
  assert_int_equal(f->seen.work, 2);
  assert_int_equal(state_of(f, id), CHECKPOINT_DUMPING);
  assert_int_equal(dump->attempt, 1);
  assert_string_equal(dump->tag, "pre-deploy");
  assert_int_equal(dump->budgets->total_seconds, 900);
  assert_string_equal(dump->lock->mode, "GOVERNANCE");
  assert_int_equal(dump->lock->days, 3);
  char *prefix = manifest_prefix("prod-api", id, 1);
  assert_string_equal(dump->prefix, prefix);
  JOB *drill = must_get(f, 2, DRILL);
  assert_int_equal(state_of(f, id), CHECKPOINT_DUMPING);
  assert_string_equal(drill->prefix, prefix);
  free(prefix);
  assert_string_equal(drill->drill->dump_agent, "dumper");
  assert_memory_equal(drill->drill->dump_public_key.data, f->agents[1].key, 32);
  assert_string_equal(drill->drill->manifest_sha256, "");
  assert_string_equal(drill->drill->assertions[0]->sql, "SELECT true");
  assert_true(drill->fencing > dump->fencing);

  REPLY *one = progress_as(f, 1, dump, 2);
  assert_null(one->follow);
  REPLY *two = progress_as(f, 2, drill, 0);
  assert_false(two->lease_lost || two->cancel);
  assert_int_equal(two->follow->state, PGSEAL__FOLLOW__STATE__DUMPING);
  assert_int_equal(two->follow->segments, 2);
  assert_true(two->follow->roles_stored);
  assert_int_equal(two->follow->server_major, 15);
  assert_string_equal(two->follow->bootstrap_role, "post\ngres");
  assert_string_equal(two->follow->database_name, "db");
  assert_int_equal(f->seen.progress, 2);

  assert_true(dump_done(f, 1, dump, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_DRILLING);
  REPLY *three = progress_as(f, 2, drill, 0);
  assert_int_equal(three->follow->state, PGSEAL__FOLLOW__STATE__STORED);
  assert_string_equal(three->follow->manifest_sha256, MANIFEST);
  assert_int_equal(three->follow->segments, 4);
  assert_int_equal(f->seen.finished, 0);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  assert_int_equal(f->seen.finished, 1);
  assert_string_equal(f->seen.last_finished, id);
  assert_string_equal(f->seen.kinds, "checkpoint.requested job.leased job.leased job.finished checkpoint.stored "
                                     "job.finished drill.proven checkpoint.sealed ");
}

static void test_detail(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed(f);
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  assert_string_equal(c.restore_drill, "proven");
  assert_string_equal(c.proof_sha256, PROOF);
  assert_string_equal(c.dump_agent, "dumper");
  assert_true(c.size_bytes == 1000 && c.archive_bytes == 3000 && c.tables == 2 && c.rows == 50);
  assert_int_equal(c.server_major, 15);
  const char *prefix, *key, *fingerprint, *agent, *omission, *version, *engine, *note;
  int assertions, segments;
  double dumping;
  OK(json_unpack(c.detail, "{s:s, s:s, s:s, s:s, s:[{s:s}], s:{s:s, s:s}, s:[s], s:i, s:i, s:{s:{s:f}}}", "prefix",
                 &prefix, "dump_public_key", &key, "fingerprint_sha256", &fingerprint, "drill_agent", &agent,
                 "omissions", "kind", &omission, "versions", "server", &version, "engine", &engine, "notes", &note,
                 "assertions", &assertions, "segments", &segments, "stages", "dump", "dumping", &dumping));
  assert_non_null(strstr(prefix, "/attempt-1/"));
  assert_int_equal(strlen(key), 64);
  assert_string_equal(omission, "role_passwords");
  assert_string_equal(note, "a note");
  assert_string_equal(agent, "driller");
  assert_true(assertions == 1 && segments == 4 && dumping == 1.5);
  checkpoint_release(&c);
}

static void test_one_agent_does_both(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = poll_as(f, 0, 1, 1, NULL);
  JOB *drill = poll_as(f, 0, 0, 1, dump->id);
  assert_int_equal(dump->kind, DUMP);
  assert_int_equal(drill->kind, DRILL);
  assert_null(poll_as(f, 0, 5, 5, NULL));
  assert_true(dump_done(f, 0, dump, MANIFEST));
  assert_true(drill_proven(f, 0, drill, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_dump_fails(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(ends_with(f, 1, dump, ENDS_FAILED, "table_unreadable"));
  expect_error(f, id, CHECKPOINT_FAILED, "table_unreadable");
  assert_int_equal(f->seen.finished, 1);
  REPLY *reply = progress_as(f, 2, drill, 0);
  assert_true(reply->cancel && !reply->lease_lost);
  assert_int_equal(reply->follow->state, PGSEAL__FOLLOW__STATE__GONE);
  assert_true(ends_with(f, 2, drill, ENDS_CANCELED, "canceled"));
  assert_int_equal(job_state_of(f, drill->id, NULL), JOB_CANCELED);
  expect_error(f, id, CHECKPOINT_FAILED, "table_unreadable");
  assert_int_equal(f->seen.finished, 1);
}

static void test_dump_errors_for_good(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  assert_true(ends_with(f, 1, dump, ENDS_ERRORED, "version_mismatch"));
  expect_error(f, id, CHECKPOINT_ERRORED, "version_mismatch");
  assert_null(poll_as(f, 2, 0, 1, NULL)); /* its drill is canceled */
  char *drill;
  assert_int_equal(dispatch_request_drill(f->dispatch, id, &me, &drill, &f->err), ERR_CONFLICT);
  assert_non_null(strstr(f->err.message, "never stored"));
}

static void test_dump_retried(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  pgseal__progress_reply__free_unpacked(progress_as(f, 1, dump, 3), NULL);
  assert_true(ends_with(f, 1, dump, ENDS_ERRORED, "lock_timeout"));
  assert_int_equal(state_of(f, id), CHECKPOINT_REQUESTED);
  assert_true(ends_with(f, 1, dump, ENDS_ERRORED, "lock_timeout")); /* its answer was lost; sent again */
  int attempt;
  assert_int_equal(job_state_of(f, dump->id, &attempt), JOB_QUEUED);
  assert_int_equal(attempt, 2);
  REPLY *reply = progress_as(f, 2, drill, 0);
  assert_int_equal(reply->follow->state, PGSEAL__FOLLOW__STATE__UNKNOWN);
  assert_int_equal(reply->follow->segments, 0); /* none of the new attempt */
  assert_non_null(strstr(reply->follow->prefix, "/attempt-2/"));
  assert_null(poll_as(f, 1, 1, 0, NULL)); /* backoff */
  int work = f->seen.work;
  pass(f, 5, 7);
  assert_true(f->seen.work > work);
  renew(f, 2, drill);
  JOB *again = must_get(f, 1, DUMP);
  assert_string_equal(again->id, dump->id);
  assert_int_equal(again->attempt, 2);
  assert_non_null(strstr(again->prefix, "/attempt-2/"));
  assert_true(again->fencing > drill->fencing);
  renew(f, 2, drill); /* same agent, same key: it goes on under its lease */
  assert_true(dump_done(f, 1, again, MANIFEST));
  bool accepted;
  OK(drill_ends(f, 2, drill, 2, OUTCOME_PROVEN, MANIFEST, again->prefix, &accepted));
  assert_true(accepted);
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_dump_attempts_run_out(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  for (int i = 1; i <= 3; i++) {
    JOB *dump = must_get(f, 1, DUMP);
    assert_int_equal(dump->attempt, i);
    assert_true(ends_with(f, 1, dump, ENDS_ERRORED, "database_unreachable"));
    pass(f, 20, 7);
  }
  expect_error(f, id, CHECKPOINT_ERRORED, "database_unreachable");
}

static void test_drill_fails(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  JOB *drill = must_get(f, 2, DRILL);
  assert_string_equal(drill->drill->manifest_sha256, MANIFEST);
  assert_int_equal(drill->drill->server_major, 15);
  assert_int_equal(state_of(f, id), CHECKPOINT_DRILLING);
  bool accepted;
  OK(drill_ends(f, 2, drill, 2, OUTCOME_FAILED, MANIFEST, drill->prefix, &accepted));
  assert_true(accepted);
  expect_error(f, id, CHECKPOINT_FAILED, "segment_corrupt");
  char *again;
  assert_int_equal(dispatch_request_drill(f->dispatch, id, &me, &again, &f->err), ERR_CONFLICT);
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  assert_string_equal(c.restore_drill, "failed");
  assert_int_equal(json_array_size(json_object_get(c.detail, "differences")), 1);
  checkpoint_release(&c);
}

/* A supervisor may report a failure without a verdict; it condemns all the same. */
static void test_drill_fails_without_verdict(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(ends_with(f, 2, drill, ENDS_FAILED, "manifest_invalid"));
  expect_error(f, id, CHECKPOINT_FAILED, "manifest_invalid");
}

static void test_drill_fails_while_dumping(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(ends_with(f, 2, drill, ENDS_FAILED, "segment_corrupt"));
  expect_error(f, id, CHECKPOINT_FAILED, "segment_corrupt");
  REPLY *reply = progress_as(f, 1, dump, 1);
  assert_true(reply->cancel);
  assert_true(dump_done(f, 1, dump, MANIFEST)); /* too late to be canceled; changes nothing */
  expect_error(f, id, CHECKPOINT_FAILED, "segment_corrupt");
  assert_int_equal(f->seen.finished, 1);
}

static void test_drill_errors_and_is_retried(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  CLEANUP_FREE char *first = NULL;
  for (int i = 1; i <= 3; i++) {
    JOB *drill = must_get(f, 2, DRILL);
    assert_int_equal(drill->attempt, i);
    assert_int_equal(state_of(f, id), CHECKPOINT_DRILLING);
    if (i == 1)
      first = memory_strdup(drill->drill->drill_id);
    else
      assert_string_not_equal(drill->drill->drill_id, first); /* each attempt's proof has its own key */
    if (i == 3) {
      assert_true(drill_proven(f, 2, drill, MANIFEST));
      break;
    }
    assert_true(ends_with(f, 2, drill, ENDS_ERRORED, "cluster_lost"));
    assert_int_equal(state_of(f, id), CHECKPOINT_STORED);
    pass(f, 20, 7);
  }
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_drill_errors_for_good_then_seals(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(ends_with(f, 2, drill, ENDS_ERRORED, "key_mismatch"));
  expect_error(f, id, CHECKPOINT_ERRORED, "key_mismatch");
  CLEANUP_FREE char *drill_id = NULL;
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  assert_int_equal(state_of(f, id), CHECKPOINT_STORED);
  char *second;
  assert_int_equal(dispatch_request_drill(f->dispatch, id, &me, &second, &f->err), ERR_CONFLICT);
  JOB *again = must_get(f, 2, DRILL);
  assert_string_equal(again->drill->drill_id, drill_id);
  assert_true(drill_proven(f, 2, again, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  assert_int_equal(f->seen.finished, 2);
}

static void test_drill_errors_while_dumping(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  JOB *drill = must_get(f, 2, DRILL);
  assert_true(ends_with(f, 2, drill, ENDS_ERRORED, "image_missing"));
  assert_int_equal(state_of(f, id), CHECKPOINT_DUMPING); /* the copy is still worth having */
  assert_int_equal(f->seen.finished, 0);
  REPLY *reply = progress_as(f, 1, dump, 1);
  assert_false(reply->cancel);
  assert_true(dump_done(f, 1, dump, MANIFEST));
  expect_error(f, id, CHECKPOINT_ERRORED, "image_missing");
  assert_int_equal(f->seen.finished, 1);
  CLEANUP_FREE char *drill_id = NULL;
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
}

static void redrill(Fixture *f, const char *id, Pgseal__Job **job) {
  CLEANUP_FREE char *drill_id = NULL;
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  *job = must_get(f, 2, DRILL);
  assert_memory_equal((*job)->drill->dump_public_key.data, f->agents[1].key, 32);
}

static void test_sealed_is_drilled_anew(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed(f);
  JOB *first = NULL, *second = NULL, *third = NULL;
  redrill(f, id, &first);
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  assert_true(ends_with(f, 2, first, ENDS_ERRORED, "image_missing"));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED); /* that says nothing about it */
  assert_int_equal(f->seen.finished, 2);
  redrill(f, id, &second);
  assert_true(drill_proven(f, 2, second, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  assert_int_equal(f->seen.finished, 3);
  redrill(f, id, &third);
  bool accepted;
  OK(drill_ends(f, 2, third, 2, OUTCOME_FAILED, MANIFEST, third->prefix, &accepted));
  expect_error(f, id, CHECKPOINT_FAILED, "segment_corrupt");
  assert_int_equal(f->seen.finished, 4);
  assert_non_null(strstr(f->seen.kinds, "drill.requested job.leased job.finished drill.errored drill.requested"));
}

static void test_redrill_of_sealed_is_canceled(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed(f);
  assert_int_equal(dispatch_cancel(f->dispatch, id, &me, &f->err), ERR_CONFLICT);
  JOB *drill = NULL;
  redrill(f, id, &drill);
  OK(dispatch_cancel(f->dispatch, id, &me, &f->err));
  REPLY *reply = progress_as(f, 2, drill, 0);
  assert_true(reply->cancel);
  assert_true(ends_with(f, 2, drill, ENDS_CANCELED, "canceled"));
  assert_int_equal(job_state_of(f, drill->id, NULL), JOB_CANCELED);
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  assert_int_equal(f->seen.finished, 2);
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  assert_string_equal(c.restore_drill, "proven");
  assert_null(c.error_code);
  checkpoint_release(&c);
}

static double seconds_of(Fixture *f, const char *id) {
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  double seconds = c.seconds;
  checkpoint_release(&c);
  return seconds;
}

/* Seals one in 100 seconds; the wall clock is set after 10 of them, and after 20 the coordinator is restarted. */
static double seconds_with(Fixture *f, int64_t set_seconds, bool restarted) {
  CLEANUP_FREE char *id = request(f, "shop", "t");
  JOB *dump = must_get(f, 1, DUMP);
  pass(f, 10, 7);
  clock_set_us += restarted ? 0 : set_seconds * 1000000;
  renew(f, 1, dump);
  pass(f, 10, 7);
  if (restarted)
    restart(f);
  clock_set_us += restarted ? set_seconds * 1000000 : 0;
  assert_true(dump_done(f, 1, dump, MANIFEST));
  pass(f, 60, 7); /* the dump's job is forgotten meanwhile */
  JOB *drill = must_get(f, 2, DRILL);
  pass(f, 20, 7);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  return seconds_of(f, id);
}

static void test_seconds_are_not_the_wall_clock_s(void **state) {
  static const int64_t set[] = {0, 86400, -86400, 3600 * 24 * 400, -15};
  for (size_t i = 0; i < ARRAY_SIZE(set); i++)
    for (int restarted = 0; restarted < 2; restarted++) {
      double seconds = seconds_with(*state, set[i], restarted);
      assert_true(seconds >= 99.9 && seconds < 130);
    }
  CLEANUP_FREE char *id = request(*state, "shop", "t"); /* set back while there was none */
  clock_set_us -= 3600 * (int64_t)1000000;
  restart(*state);
  OK(dispatch_cancel(((Fixture *)*state)->dispatch, id, &me, &((Fixture *)*state)->err));
  assert_true(seconds_of(*state, id) > 0 && seconds_of(*state, id) < 30);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_main_path),
      T(test_detail),
      T(test_one_agent_does_both),
      T(test_dump_fails),
      T(test_dump_errors_for_good),
      T(test_dump_retried),
      T(test_dump_attempts_run_out),
      T(test_drill_fails),
      T(test_drill_fails_without_verdict),
      T(test_drill_fails_while_dumping),
      T(test_drill_errors_and_is_retried),
      T(test_drill_errors_for_good_then_seals),
      T(test_drill_errors_while_dumping),
      T(test_sealed_is_drilled_anew),
      T(test_redrill_of_sealed_is_canceled),
      T(test_seconds_are_not_the_wall_clock_s),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
