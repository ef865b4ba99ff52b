/* Drills in an image that a policy asks for go to agents that offer it, and to nobody else. */
#include "tests/unit/coordinator/dispatch/recovery.h"

#define IMAGE "registry.example/team/postgis:15"

static void apply(Fixture *f, const char *text, char *notes, size_t size) {
  json_t *report = NULL;
  OK(dispatch_apply_fleet(f->dispatch, "fleet.yaml", text, strlen(text), &me, false, &report, &f->err));
  CLEANUP_FREE char *all = json_dumps(json_object_get(report, "notes"), JSON_COMPACT);
  snprintf(notes, size, "%s", all);
  json_decref(report);
}

static void tell(Fixture *f, int agent, const char *name, const char *version) {
  Pgseal__Tool tool = PGSEAL__TOOL__INIT, *tools[] = {&tool};
  tool.name = (char *)name;
  tool.version = (char *)version;
  dispatch_agent_seen(f->dispatch, agent_names[agent]);
  dispatch_agent_tools(f->dispatch, agent_names[agent], tools, 1);
}

static void test_choice(void **state) {
  Fixture *f = *state;
  char notes[1024];
  tell(f, 0, "image-15", "postgres:15");
  tell(f, 2, "allowed-image-0", "registry.example/other/*");
  apply(f, "policies:\n  - name: gis\n    drill:\n      image: " IMAGE "\n    match: {names: [shop]}\n", notes,
        sizeof notes);
  assert_non_null(strstr(notes, "{\"line\":4,\"message\":\"drill.image of database shop is " IMAGE ", which no agent"));
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  assert_null(poll_as(f, 0, 0, 1, NULL));
  assert_null(poll_as(f, 2, 0, 1, NULL));
  tell(f, 2, "allowed-image-0", "registry.example/team/*:15");
  JOB *drill = must_get(f, 2, DRILL);
  assert_string_equal(drill->drill->image, IMAGE);
  assert_true(drill_proven(f, 2, drill, MANIFEST));
  assert_int_equal(state_of(f, id), CHECKPOINT_SEALED);
  apply(f, "policies: [{name: gis, drill: {image: '" IMAGE "'}, match: {names: [shop]}, alerts: [x]}]\n", notes,
        sizeof notes);
  assert_null(strstr(notes, "drill.image"));
  CLEANUP_FREE char *other = stored(f, "prod-api", MANIFEST); /* no policy asks for one: anybody, in its own */
  JOB *plain = must_get(f, 0, DRILL);
  assert_string_equal(plain->drill->image, "");
  assert_string_equal(plain->checkpoint_id, other);
}

/* It is told which image is missing. */
static void test_nobody(void **state) {
  Fixture *f = *state;
  char notes[1024];
  tell(f, 0, "image-15", "postgres:15");
  tell(f, 2, "image-15", "postgres:15");
  apply(f, "policies: [{name: gis, drill: {image: '" IMAGE "'}}]\n", notes, sizeof notes);
  CLEANUP_FREE char *id = stored(f, "shop", MANIFEST);
  for (int i = 0; i < WAIT / 10 + 1; i++)
    pass(f, 10, 7);
  expect_error(f, id, CHECKPOINT_ERRORED, "no_agent");
  Checkpoint c = {0};
  OK(ledger_checkpoint_get(f->ledger, id, &c, &f->err));
  assert_non_null(strstr(c.error_message, "in image " IMAGE));
  checkpoint_release(&c);
}

static void waits(Fixture *f, const char *checkpoint, LedgerJobKind kind, const char *expected) {
  LedgerJob *jobs;
  size_t count;
  bool found = false;
  OK(ledger_job_list(f->ledger, checkpoint, &jobs, &count, &f->err));
  for (size_t i = 0; i < count; i++) {
    if (jobs[i].kind != kind)
      continue;
    found = true;
    CLEANUP_FREE char *why = dispatch_waits_why(f->dispatch, jobs[i].id);
    if (expected)
      assert_string_equal(why, expected);
    else
      assert_null(why);
  }
  assert_true(found);
  ledger_job_list_free(jobs, count);
}

/* Who looks is told what a queued job waits for. */
static void test_why_it_waits(void **state) {
  Fixture *f = *state;
  char notes[1024];
  CLEANUP_FREE char *id = request(f, "shop", "t");
  waits(f, id, LEDGER_JOB_DUMP, "an agent that is connected: those that can take it are away");
  waits(f, id, LEDGER_JOB_DRILL, "its dump to begin");
  pass(f, 1, 7);
  waits(f, id, LEDGER_JOB_DUMP, "an agent with a free slot");
  CLEANUP_FREE char *second = request(f, "shop", "t");
  waits(f, second, LEDGER_JOB_DUMP, "an earlier dump of this database to end");
  OK(dispatch_hold(f->dispatch, HOLD_FLEET, "", true, NULL, &me, &f->err));
  waits(f, id, LEDGER_JOB_DUMP, "the fleet to be resumed: it is paused");
  OK(dispatch_hold(f->dispatch, HOLD_FLEET, "", false, NULL, &me, &f->err));
  OK(dispatch_hold(f->dispatch, HOLD_DATABASE, "shop", true, NULL, &me, &f->err));
  waits(f, id, LEDGER_JOB_DUMP, "the database to be uncordoned");
  OK(dispatch_hold(f->dispatch, HOLD_DATABASE, "shop", false, NULL, &me, &f->err));
  for (int i = 0; i < 2; i++)
    OK(dispatch_hold(f->dispatch, HOLD_AGENT, agent_names[i], true, NULL, &me, &f->err));
  waits(f, id, LEDGER_JOB_DUMP, "an agent that is not drained: those that can take it are");
  for (int i = 0; i < 2; i++)
    OK(dispatch_hold(f->dispatch, HOLD_AGENT, agent_names[i], false, NULL, &me, &f->err));
  tell(f, 0, "image-15", "postgres:15");
  tell(f, 2, "image-15", "postgres:15");
  apply(f, "policies: [{name: gis, drill: {image: '" IMAGE "'}}]\n", notes, sizeof notes);
  JOB *dump = must_get(f, 1, DUMP);
  assert_string_equal(dump->checkpoint_id, id);
  waits(f, id, LEDGER_JOB_DUMP, NULL);
  waits(f, id, LEDGER_JOB_DRILL, "an agent that offers the image " IMAGE ": none that is known does");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
      T(test_choice),
      T(test_nobody),
      T(test_why_it_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
