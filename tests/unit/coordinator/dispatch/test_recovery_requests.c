/* What plans and restores may be asked for: of which checkpoint, confirmed how, approved by whom. */
#include "tests/unit/coordinator/dispatch/recovery.h"

static void test_which_checkpoint(void **state) {
  Fixture *f = *state;
  refused(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}", ERR_NOT_FOUND, "no sealed checkpoint");
  CLEANUP_FREE char *old = sealed_of(f, "shop");
  CLEANUP_FREE char *unproven = request(f, "shop", "unproven");
  CLEANUP_FREE char *by_tag = memory_strdup("{\"database\": \"shop\", \"checkpoint\": \"unproven\"}");
  CLEANUP_FREE char *wish = memory_format(RESTORE, ", \"checkpoint\": \"unproven\", \"unproven\": true");
  refused(f, LEDGER_JOB_PLAN, by_tag, ERR_CONFLICT, "never stored");
  refused(f, LEDGER_JOB_RESTORE, wish, ERR_CONFLICT, "never stored");
  JOB *dump = must_get(f, 1, DUMP);
  assert_true(dump_done(f, 1, dump, OTHER));
  CLEANUP_FREE char *proven_only = memory_format(RESTORE, ", \"checkpoint\": \"unproven\"");
  refused(f, LEDGER_JOB_RESTORE, proven_only, ERR_CONFLICT, "not proven");
  CLEANUP_FREE char *newest = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  CLEANUP_FREE char *named = asked(f, LEDGER_JOB_PLAN, by_tag);
  CLEANUP_FREE char *forced = asked(f, LEDGER_JOB_RESTORE, wish);
  JOB *of_newest = must_recover(f, RESTORER, newest);
  assert_string_equal(of_newest->checkpoint_id, old);
  pass(f, 6, LIVE);
  renew(f, RESTORER, of_newest);
  JOB *of_named = must_recover(f, OTHER_RESTORER, named);
  assert_string_equal(of_named->checkpoint_id, unproven);
  assert_false(of_named->recovery->proven);
  pass(f, 6, LIVE);
  JOB *of_forced = must_recover(f, RESTORER, forced);
  assert_false(of_forced->recovery->proven);
  refused(f, LEDGER_JOB_PLAN, "{\"database\": \"shopp\"}", ERR_NOT_FOUND, "did you mean shop?");
  refused(f, LEDGER_JOB_PLAN, "{\"database\": \"prod-api\", \"checkpoint\": \"unproven\"}", ERR_NOT_FOUND,
          "no checkpoint");
}

/* It is condemned between the request and the lease. */
static void test_condemned_meanwhile(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *restore = restore_of_shop(f, ""), *forced = restore_of_shop(f, ", \"unproven\": true");
  CLEANUP_FREE char *drill_id = NULL;
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  JOB *drill = must_get(f, 2, DRILL);
  bool accepted;
  OK(drill_ends(f, 2, drill, 2, OUTCOME_FAILED, MANIFEST, drill->prefix, &accepted));
  assert_int_equal(state_of(f, id), CHECKPOINT_FAILED);
  JOB *job = must_recover(f, RESTORER, forced); /* whoever asked for that gets it */
  expect_job(f, restore, JOB_ERRORED, "conflict", "unproven");
}

static void test_confirmation(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "prod-api"), *other = sealed_of(f, "shop");
  static const char body[] = "{\"database\": \"%s\", \"mode\": \"beside\", \"tables\": [\"a\"]%s}";
  static const struct {
    const char *database, *more;
    bool good;
  } cases[] = {{"prod-api", "", false},
               {"prod-api", ", \"confirm\": \"prod-ap\"", false},
               {"prod-api", ", \"confirm\": \"PROD-API\"", false},
               {"prod-api", ", \"confirm\": \"prod-api\"", true},
               {"shop", "", true},
               {"shop", ", \"confirm\": \"shop\"", true},
               {"shop", ", \"confirm\": \"prod-api\"", false}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    CLEANUP_FREE char *text = memory_format(body, cases[i].database, cases[i].more);
    if (cases[i].good)
      free(asked(f, LEDGER_JOB_RESTORE, text));
    else
      refused(f, LEDGER_JOB_RESTORE, text, ERR_CONFIRMATION_NEEDED, "");
  }
  free(asked(f, LEDGER_JOB_PLAN, "{\"database\": \"prod-api\"}")); /* which only reads */
}

static void test_second_person(void **state) {
  Fixture *f = *state;
  f->databases[1].restore_approval = true;
  restart(f);
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP_FREE char *restore = restore_of_shop(f, ""), *plan = asked(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}");
  const Requester self = {.name = "oncall"}, second = {.name = "lead"};
  {
    JOB *job = must_recover(f, RESTORER, plan); /* needs none */
    assert_true(reports(f, RESTORER, job, DONE, NULL, "{}"));
  }
  assert_int_equal(dispatch_approve(f->dispatch, plan, &second, &f->err), ERR_CONFLICT);
  pass(f, WAIT + 1, LIVE);
  pass(f, WAIT + 1, 0); /* not for want of an agent either */
  assert_null(poll_restore(f, RESTORER));
  assert_int_equal(dispatch_approve(f->dispatch, restore, &self, &f->err), ERR_FORBIDDEN);
  assert_int_equal(dispatch_approve(f->dispatch, restore, &(Requester){0}, &f->err), ERR_FORBIDDEN);
  assert_null(poll_restore(f, RESTORER));
  restart(f);
  OK(dispatch_approve(f->dispatch, restore, &second, &f->err));
  assert_int_equal(dispatch_approve(f->dispatch, restore, &second, &f->err), ERR_CONFLICT);
  CLEANUP(free_json) json_t *approved = detail_of(f, "restore.approved", "lead");
  assert_string_equal(text_in(approved, "requested_by"), "oncall");
  JOB *job = must_recover(f, RESTORER, restore);
  assert_true(reports(f, RESTORER, job, DONE, NULL, "{}"));
  assert_int_equal(dispatch_approve(f->dispatch, restore, &second, &f->err), ERR_CONFLICT);
  CLEANUP_FREE char *late = restore_of_shop(f, "");
  pass(f, APPROVAL_SECONDS - 1, LIVE);
  expect_job(f, late, JOB_QUEUED, NULL, NULL);
  pass(f, 2, LIVE);
  expect_job(f, late, JOB_ERRORED, "timeout", "approve");
  assert_int_equal(dispatch_approve(f->dispatch, late, &second, &f->err), ERR_CONFLICT);
}

/* A person, and the tokens that he made: ann made `own` and `old`, which has been rotated since. */
static void test_same_person(void **state) {
  Fixture *f = *state;
  f->databases[1].restore_approval = true;
  restart(f);
  const LedgerToken tokens[] = {
      {.id = "1", .name = "own", .role = "operator", .person = "ann@x", .hash = "1"},
      {.id = "2", .name = "old", .role = "operator", .person = "ann@x", .hash = "2", .replaced_us = 1},
      {.id = "3", .name = "old", .role = "operator", .hash = "3"},
      {.id = "4", .name = "bare", .role = "operator", .hash = "4"}};
  for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
    OK(ledger_token_insert(f->ledger, &tokens[i], &f->err));
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  const Requester ann = {.name = "ann@x", .person = "ann@x"}, own = {.name = "own", .person = "ann@x"},
                  old = {.name = "old", .person = "ann@x"}, bare = {.name = "bare"},
                  ben = {.name = "ben@x", .person = "ben@x"};
  const struct {
    const char *who;
    const Requester *approver;
    bool good;
  } cases[] = {{"ann@x", &ann, false}, {"ann@x", &own, false}, {"ann@x", &old, false}, {"ann@x", &bare, true},
               {"ann@x", &ben, true},  {"own", &ann, false},   {"own", &old, false},   {"own", &ben, true},
               {"old", &ann, false},   {"old", &own, false},   {"bare", &bare, false}, {"bare", &ann, true}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    CLEANUP(ledger_job_release) LedgerJob job = {0};
    CLEANUP_FREE char *body = memory_format(RESTORE, "");
    bool joined;
    OK(ask_for(f, LEDGER_JOB_RESTORE, body, cases[i].who, NULL, &job, &joined));
    Status status = dispatch_approve(f->dispatch, job.id, cases[i].approver, &f->err);
    if (status != (cases[i].good ? STATUS_OK : ERR_FORBIDDEN))
      fail_msg("%s by %s: %d", cases[i].who, cases[i].approver->name, status);
    OK(dispatch_cancel_recovery(f->dispatch, job.id, &bare, &f->err));
  }
}

static void test_idempotency(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = sealed_of(f, "shop");
  CLEANUP(ledger_job_release) LedgerJob first = {0};
  CLEANUP(ledger_job_release) LedgerJob again = {0};
  CLEANUP(ledger_job_release) LedgerJob other = {0};
  bool joined;
  static const char body[] = "{\"database\": \"shop\", \"tables\": [\"a\"]}";
  OK(ask_for(f, LEDGER_JOB_PLAN, body, "ci", "key", &first, &joined));
  assert_false(joined);
  OK(ask_for(f, LEDGER_JOB_PLAN, "{\"tables\": [\"a\"], \"database\": \"shop\"}", "ci", "key", &again, &joined));
  assert_true(joined);
  assert_string_equal(first.id, again.id);
  OK(ask_for(f, LEDGER_JOB_PLAN, body, "someone", "key", &other, &joined));
  assert_false(joined);
  LedgerJob none = {0};
  assert_int_equal(ask_for(f, LEDGER_JOB_PLAN, "{\"database\": \"shop\"}", "ci", "key", &none, &joined), ERR_CONFLICT);
  CLEANUP_FREE char *restore = memory_format(RESTORE, "");
  assert_int_equal(ask_for(f, LEDGER_JOB_RESTORE, restore, "ci", "key", &none, &joined), ERR_CONFLICT);
  assert_int_equal(ask_for(f, LEDGER_JOB_PLAN, body, "ci", "a key", &none, &joined), ERR_INVALID_ARGUMENT);
  for (int i = 0; i < 14; i++)
    free(asked(f, LEDGER_JOB_PLAN, body));
  refused(f, LEDGER_JOB_PLAN, body, ERR_TOO_MANY, "waiting already");
}

static void test_script(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *old = sealed_of(f, "shop"), *newer = sealed_of(f, "shop");
  CLEANUP_FREE char *body =
      memory_format("{\"database\": \"shop\", \"mode\": \"beside\", \"tables\": [\"a\"], \"checkpoint\": \"%s\"}", old);
  CLEANUP_FREE char *beside = asked(f, LEDGER_JOB_RESTORE, body);
  static const char run[] =
      "{\"database\": \"%s\", \"mode\": \"script\", \"script_of\": \"%s\", \"script_sha256\": \"%s\"%s}";
  CLEANUP_FREE char *good = memory_format(run, "shop", beside, PROOF, "");
  CLEANUP_FREE char *wrong = memory_format(run, "shop", beside, OTHER, "");
  CLEANUP_FREE char *elsewhere = memory_format(run, "prod-api", beside, PROOF, ", \"confirm\": \"prod-api\"");
  CLEANUP_FREE char *of_newer = memory_format(", \"checkpoint\": \"%s\"", newer);
  CLEANUP_FREE char *mixed = memory_format(run, "shop", beside, PROOF, of_newer);
  CLEANUP_FREE char *unknown = memory_format(run, "shop", "nonesuch", PROOF, "");
  refused(f, LEDGER_JOB_RESTORE, good, ERR_CONFLICT, "made no script");
  JOB *job = must_recover(f, RESTORER, beside);
  assert_true(reports(f, RESTORER, job, DONE, NULL, "{\"script\": \"BEGIN;\", \"script_sha256\": \"" PROOF "\"}"));
  refused(f, LEDGER_JOB_RESTORE, wrong, ERR_CONFLICT, "another SHA-256");
  refused(f, LEDGER_JOB_RESTORE, elsewhere, ERR_NOT_FOUND, "has no job");
  refused(f, LEDGER_JOB_RESTORE, mixed, ERR_CONFLICT, "not of the one named");
  refused(f, LEDGER_JOB_RESTORE, unknown, ERR_NOT_FOUND, "no job");
  CLEANUP_FREE char *script = asked(f, LEDGER_JOB_RESTORE, good);
  JOB *running = must_recover(f, RESTORER, script);
  assert_string_equal(running->checkpoint_id, old); /* the script's, not the newest */
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      T(test_which_checkpoint), T(test_condemned_meanwhile), T(test_confirmation), T(test_second_person),
      T(test_same_person),      T(test_idempotency),         T(test_script),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
