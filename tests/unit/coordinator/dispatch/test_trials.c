/* What rotation asks for: who gets it, and that trials change nothing of their checkpoint, whatever is said of them. */
#include "tests/unit/coordinator/dispatch/recovery.h"

#include "common/manifest/trial.h"

#define TRIAL PGSEAL__JOB_KIND__JOB_KIND_TRIAL
#define REPORT "{\"kind\":\"%s\",\"verdict\":\"%s\",\"version\":1}"
enum { BOTH = 0, DUMPER = 1, DRILLER = 2 };

static void knows_trials(Fixture *f, int agent, int major) {
  Pgseal__Tool tools[2];
  Pgseal__Tool *list[] = {&tools[0], &tools[1]};
  CLEANUP_FREE char *dump = memory_format("pg_dump-%d", major);
  for (int i = 0; i < 2; i++)
    pgseal__tool__init(&tools[i]);
  tools[0].name = (char *)"trials";
  tools[1].name = dump;
  dispatch_agent_tools(f->dispatch, agent_names[agent], list, 2);
}

static char *rotation_of(Fixture *f, const char *checkpoint, RotationKind kind, uint64_t random, const char *key) {
  char *job = NULL;
  bool joined = true;
  OK(dispatch_request_rotation(f->dispatch, checkpoint, kind, random, key, &job, &joined, &f->err));
  assert_false(joined);
  return job;
}

typedef struct Said {
  const char *verdict, *manifest, *purpose, *kind;
  int signer, outcome;
  Status code;
} Said;

static bool says(Fixture *f, int agent, const Pgseal__Job *job, const Said *said) {
  Pgseal__TrialResult trial = PGSEAL__TRIAL_RESULT__INIT;
  Pgseal__JobResult result = PGSEAL__JOB_RESULT__INIT;
  Pgseal__Failure failure = PGSEAL__FAILURE__INIT;
  uint8_t signature[SIGNATURE_SIZE];
  TrialVerdict verdict;
  CLEANUP_FREE char *report = memory_format(REPORT, said->kind ? said->kind : "canary", said->verdict);
  assert_true(trial_verdict_from_name(said->verdict, &verdict));
  const char *manifest = said->manifest ? said->manifest : MANIFEST;
  CLEANUP_FREE char *statement = trial_statement(job->checkpoint_id, job->drill->drill_id, manifest, report, verdict);
  OK(signing_sign(f->keys[said->signer ? said->signer : agent], said->purpose ? said->purpose : TRIAL_PURPOSE,
                  statement, strlen(statement), signature, &f->err));
  trial.verdict = (char *)said->verdict;
  trial.manifest_sha256 = (char *)manifest;
  trial.signature = (ProtobufCBinaryData){sizeof signature, signature};
  failure.code = (char *)(said->code ? error_code(said->code) : "canary_survived");
  failure.message = (char *)"it went wrong";
  result.outcome = (Pgseal__JobResult__Outcome)(said->outcome ? said->outcome : PGSEAL__JOB_RESULT__OUTCOME__DONE);
  result.error = result.outcome == PGSEAL__JOB_RESULT__OUTCOME__DONE ? NULL : &failure;
  result.trial = &trial;
  result.report_json = report;
  bool accepted;
  OK(send_result(f, agent, job, &result, &accepted));
  return accepted;
}

static char *row_of(Fixture *f, const char *id) {
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  char *detail = json_dumps(c.detail, JSON_SORT_KEYS);
  char *row = memory_format("%d %s %s %s %lld %s", (int)c.state, c.restore_drill, c.proof_sha256, c.manifest_sha256,
                            (long long)c.finished_us, detail);
  free(detail);
  checkpoint_release(&c);
  return row;
}

static void unchanged(Fixture *f, const char *id, const char *before) {
  CLEANUP_FREE char *after = row_of(f, id);
  assert_string_equal(before, after);
}

static char *sealed_15(Fixture *f) {
  char *id = sealed_of(f, "prod-api");
  knows_trials(f, DRILLER, 16);
  return id;
}

static void test_canary_refuted(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_15(f), *before = row_of(f, id);
  CLEANUP_FREE char *trial = rotation_of(f, id, ROTATION_CANARY, TRIAL_ROW_LOST + 7 * 5, NULL);
  assert_null(poll_as(f, DRILLER, 0, 0, NULL)); /* it takes a drill's slot */
  assert_null(poll_as(f, BOTH, 1, 1, NULL));    /* does not know of trials */
  JOB *job = must_get(f, DRILLER, TRIAL);
  assert_string_equal(job->id, trial);
  assert_string_equal(job->drill->kind, "canary");
  assert_string_equal(job->drill->damage, "row_lost");
  assert_int_equal(job->drill->damage_at, 5);
  assert_string_equal(job->drill->manifest_sha256, MANIFEST);
  assert_true(says(f, DRILLER, job, &(Said){.verdict = "refuted"}));
  assert_int_equal(job_state_of(f, trial, NULL), JOB_DONE);
  assert_non_null(strstr(f->seen.kinds, "trial.requested job.leased job.finished trial.finished "));
  assert_null(strstr(f->seen.kinds, "rotation.canary_survived"));
  unchanged(f, id, before);
}

static void test_canary_survived(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_15(f), *before = row_of(f, id);
  CLEANUP_FREE char *trial = rotation_of(f, id, ROTATION_CANARY, 0, NULL);
  JOB *job = must_get(f, DRILLER, TRIAL);
  assert_true(says(f, DRILLER, job, &(Said){.verdict = "survived", .outcome = ENDS_FAILED}));
  assert_int_equal(job_state_of(f, trial, NULL), JOB_FAILED);
  assert_non_null(strstr(f->seen.kinds, "rotation.canary_survived"));
  unchanged(f, id, before); /* it was the agent's own copy */
  /* it gets nothing more, also after a restart, until somebody lets it */
  CLEANUP_FREE char *drill_id = NULL;
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  assert_null(poll_as(f, DRILLER, 0, 1, NULL));
  restart(f);
  assert_null(poll_as(f, DRILLER, 0, 1, NULL));
  assert_string_equal(dispatch_held(f->dispatch, HOLD_AGENT, "driller")->actor, "rotation");
  OK(dispatch_hold(f->dispatch, HOLD_AGENT, "driller", false, NULL, &me, &f->err));
  JOB *drill = must_get(f, DRILLER, DRILL);
  assert_true(drill_proven(f, DRILLER, drill, MANIFEST));
}

/* What it is at when the canary survives does not count any more. */
static void test_no_proof_from_who_sees_nothing(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_15(f), *drill_id = NULL;
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  JOB *drill = must_get(f, DRILLER, DRILL);
  CLEANUP_FREE char *trial = rotation_of(f, id, ROTATION_CANARY, 0, NULL);
  JOB *job = poll_as(f, DRILLER, 0, 2, drill->id);
  assert_string_equal(job->id, trial);
  assert_true(says(f, DRILLER, job, &(Said){.verdict = "survived", .outcome = ENDS_FAILED}));
  assert_true(drill_proven(f, DRILLER, drill, MANIFEST));
  int attempt;
  assert_int_equal(job_state_of(f, drill->id, &attempt), JOB_QUEUED);
  assert_int_equal(attempt, 2);
}

/* Neither another's signature, nor one made for something else, nor of another checkpoint; nor a proof. */
static void test_what_does_not_count(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_15(f), *before = row_of(f, id);
  static const Said bad[] = {{.verdict = "refuted", .purpose = "verdict"},
                             {.verdict = "refuted", .signer = DUMPER},
                             {.verdict = "refuted", .manifest = OTHER},
                             {.verdict = "survived"},
                             {.verdict = "ready"},
                             {.verdict = "refuted", .outcome = ENDS_ERRORED, .code = ERR_CANARY_UNCLEAR}};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    CLEANUP_FREE char *trial = rotation_of(f, id, ROTATION_CANARY, 0, NULL);
    JOB *job = must_get(f, DRILLER, TRIAL);
    assert_true(says(f, DRILLER, job, &bad[i]));
    assert_int_equal(job_state_of(f, trial, NULL), JOB_ERRORED);
  }
  CLEANUP_FREE char *trial = rotation_of(f, id, ROTATION_CANARY, 0, NULL);
  JOB *job = must_get(f, DRILLER, TRIAL);
  assert_true(drill_proven(f, DRILLER, job, MANIFEST));
  assert_int_equal(job_state_of(f, trial, NULL), JOB_ERRORED);
  assert_null(strstr(f->seen.kinds, "rotation.canary_survived"));
  unchanged(f, id, before);
}

/* It has the word of its agent; a drill of its checkpoint may be asked for meanwhile, and the other way round. */
static void test_trials_and_drills_do_not_meet(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_15(f), *drill_id = NULL;
  CLEANUP_FREE char *trial = rotation_of(f, id, ROTATION_CANARY, 0, NULL);
  JOB *job = must_get(f, DRILLER, TRIAL);
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  JOB *drill = must_get(f, BOTH, DRILL);
  assert_string_equal(drill->drill->kind, "");
  OK(dispatch_cancel(f->dispatch, id, &me, &f->err)); /* of the drill */
  assert_true(says(f, DRILLER, job, &(Said){.verdict = "refuted"}));
  assert_int_equal(job_state_of(f, trial, NULL), JOB_DONE);
  assert_true(drill_proven(f, BOTH, drill, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
}

static void test_a_lost_one_is_tried_again(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_15(f), *before = row_of(f, id);
  CLEANUP_FREE char *trial = rotation_of(f, id, ROTATION_CANARY, 0, NULL);
  JOB *lost = must_get(f, DRILLER, TRIAL);
  int attempt;
  pass(f, LEASE + 5, 1u << DRILLER);
  assert_int_equal(job_state_of(f, trial, &attempt), JOB_QUEUED);
  assert_int_equal(attempt, 2);
  pass(f, 10, 1u << DRILLER);
  JOB *job = must_get(f, DRILLER, TRIAL);
  assert_false(says(f, DRILLER, lost, &(Said){.verdict = "survived", .outcome = ENDS_FAILED})); /* stale */
  assert_true(says(f, DRILLER, job, &(Said){.verdict = "refuted"}));
  unchanged(f, id, before);
}

static void test_forward_needs_the_next_major(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_15(f), *before = row_of(f, id);
  CLEANUP_FREE char *trial = rotation_of(f, id, ROTATION_FORWARD, 0, NULL);
  knows_trials(f, BOTH, 15);
  assert_null(poll_as(f, BOTH, 1, 1, NULL));
  JOB *job = must_get(f, DRILLER, TRIAL);
  assert_int_equal(job->drill->forward_major, 16);
  assert_true(says(f, DRILLER, job, &(Said){.verdict = "not_ready", .kind = "forward"}));
  assert_int_equal(job_state_of(f, trial, NULL), JOB_DONE);
  unchanged(f, id, before);
  CLEANUP_FREE char *again = rotation_of(f, id, ROTATION_FORWARD, 0, NULL);
  knows_trials(f, DRILLER, 17);
  pass(f, WAIT + 5, 1u << DRILLER);
  assert_int_equal(job_state_of(f, again, NULL), JOB_ERRORED); /* nobody can */
  unchanged(f, id, before);
}

static void test_bare_goes_to_bare_agents(void **state) {
  Fixture *f = *state;
  static const char *bare[] = {"bare"};
  CLEANUP_FREE char *id = sealed_15(f);
  CLEANUP_FREE char *drill = rotation_of(f, id, ROTATION_BARE, 0, "bare/prod-api/1");
  assert_null(poll_as(f, DRILLER, 0, 1, NULL));
  f->agents[RESTORER].capabilities = bare;
  f->agents[RESTORER].capability_count = 1;
  restart(f);
  JOB *job = must_get(f, RESTORER, DRILL);
  assert_string_equal(job->drill->kind, "bare");
  assert_true(drill_proven(f, RESTORER, job, MANIFEST));
  CLEANUP_FREE char *plain = NULL;
  OK(dispatch_request_drill(f->dispatch, id, &me, &plain, &f->err));
  assert_null(poll_as(f, RESTORER, 0, 1, NULL)); /* it does no others */
  char *joined_id = NULL;
  bool joined = false;
  OK(dispatch_request_rotation(f->dispatch, id, ROTATION_BARE, 0, "bare/prod-api/1", &joined_id, &joined, &f->err));
  assert_true(joined);
  assert_string_equal(joined_id, drill);
  free(joined_id);
}

/* A drill of rotation is one like any other: its proof counts, and its failure, too. */
static void test_old_is_a_drill(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_15(f);
  CLEANUP_FREE char *drill = rotation_of(f, id, ROTATION_OLD, 0, NULL);
  JOB *job = must_get(f, DRILLER, DRILL);
  assert_string_equal(job->drill->kind, "old");
  clock_moved_us += 3600 * (int64_t)1000000;
  knows_trials(f, DRILLER, 16);
  assert_true(drill_proven(f, DRILLER, job, MANIFEST));
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  int64_t proven_us = json_integer_value(json_object_get(c.detail, "proven_us"));
  assert_true(proven_us >= c.finished_us + 3600 * (int64_t)1000000);
  checkpoint_release(&c);
  CLEANUP_FREE char *again = rotation_of(f, id, ROTATION_LATEST, 0, NULL);
  JOB *failing = must_get(f, DRILLER, DRILL);
  bool accepted;
  OK(drill_ends(f, DRILLER, failing, DRILLER, OUTCOME_FAILED, MANIFEST, failing->prefix, &accepted));
  assert_true(accepted);
  assert_int_equal(state_of(f, id), CHECKPOINT_FAILED);
  char *none = NULL;
  bool joined;
  assert_int_equal(dispatch_request_rotation(f->dispatch, id, ROTATION_CANARY, 0, NULL, &none, &joined, &f->err),
                   ERR_CONFLICT);
}

/* Somebody waits for what is asked for; what is scheduled has its time; the rotation has all of its own. */
static void test_the_rotation_comes_last(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *first = sealed_15(f), *second = sealed_15(f), *third = sealed_15(f);
  CLEANUP_FREE char *canary = rotation_of(f, first, ROTATION_CANARY, 0, NULL);
  CLEANUP_FREE char *old = rotation_of(f, second, ROTATION_OLD, 0, NULL), *drill = NULL;
  const Requester requester = {.name = "oncall"};
  OK(dispatch_request_drill(f->dispatch, third, &requester, &drill, &f->err));
  JOB *asked = must_get(f, DRILLER, DRILL);
  assert_string_equal(asked->checkpoint_id, third);
  assert_true(drill_proven(f, DRILLER, asked, MANIFEST));
  JOB *next = must_get(f, DRILLER, TRIAL);
  assert_string_equal(next->checkpoint_id, first);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_canary_refuted, setup, teardown),
      cmocka_unit_test_setup_teardown(test_canary_survived, setup, teardown),
      cmocka_unit_test_setup_teardown(test_no_proof_from_who_sees_nothing, setup, teardown),
      cmocka_unit_test_setup_teardown(test_what_does_not_count, setup, teardown),
      cmocka_unit_test_setup_teardown(test_trials_and_drills_do_not_meet, setup, teardown),
      cmocka_unit_test_setup_teardown(test_a_lost_one_is_tried_again, setup, teardown),
      cmocka_unit_test_setup_teardown(test_forward_needs_the_next_major, setup, teardown),
      cmocka_unit_test_setup_teardown(test_bare_goes_to_bare_agents, setup, teardown),
      cmocka_unit_test_setup_teardown(test_old_is_a_drill, setup, teardown),
      cmocka_unit_test_setup_teardown(test_the_rotation_comes_last, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
