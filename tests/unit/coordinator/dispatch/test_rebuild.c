/* A ledger out of what an agent says that a repository holds: what becomes of it, page by page, and what stays. */
#include "tests/unit/coordinator/dispatch/rebuild.h"

#include "coordinator/retention/retention.h"

static void test_everything(void **state) {
  Fixture *f = *state;
  Pgseal__InventoryPage *page = new_page();
  add_sealed(f, page, 1);
  Pgseal__InventoryAttempt *failed = add_sealed(f, page, 2), *unproven = on_page(page, attempt(3, 1));
  add_proof(f, failed, DRILLER, false);
  add_manifest(f, unproven, DUMPER);
  on_page(page, attempt(4, 1));
  page->strays = 2;
  ARRAY_PUSH(page->stray_keys, page->n_stray_keys, memory_strdup(DB "/nothing"));
  CLEANUP(free_json) json_t *report = inventory(f, page, true);
  assert_int_equal(counted(report, "checkpoints"), 4);
  assert_int_equal(counted(report, "proven"), 1);
  assert_int_equal(counted(report, "failed"), 1);
  assert_int_equal(counted(report, "unproven"), 1);
  assert_int_equal(counted(report, "unfinished"), 1);
  assert_int_equal(counted(report, "proofs"), 3);
  assert_int_equal(counted(report, "strays"), 2);
  assert_int_equal(counted(report, "refused"), 0);
  assert_true(json_array_size(json_object_get(report, "lost")) > 3);
  CLEANUP(checkpoint_release) Checkpoint c = checkpoint_of(f, 1);
  assert_int_equal(c.state, CHECKPOINT_SEALED);
  assert_string_equal(c.tag, "tag-1");
  assert_string_equal(c.dump_agent, "dumper");
  assert_string_equal(c.restore_drill, "proven");
  assert_true(c.tables == 2 && c.rows == 50 && c.size_bytes == 1000 && c.archive_bytes == 3000 && c.server_major == 15);
  assert_true(c.finished_us == BORN_US + 9000000 && c.seconds == 8 && !c.error_code);
  assert_true(c.created_us / 1000000 == BORN_US / 1000000);
  assert_int_equal(tables_of(f, c.id), 2);
  expect_state(f, 2, CHECKPOINT_FAILED);
  expect_state(f, 3, CHECKPOINT_ERRORED);
  expect_state(f, 4, CHECKPOINT_ERRORED);
  CLEANUP(checkpoint_release) Checkpoint orphan = checkpoint_of(f, 4);
  assert_null(orphan.manifest_sha256);
  assert_true(orphan.finished_us > moved_wall_us() - 60000000); /* all of its grace time is before it */
  assert_non_null(strstr(f->seen.kinds, "inventory.requested job.leased checkpoint.rebuilt checkpoint.rebuilt"));
  assert_non_null(strstr(f->seen.kinds, "inventory.done"));
  assert_null(strstr(f->seen.kinds, "checkpoint.sealed"));
}

/* It is restored from and drilled like any other: with the key that its manifest is signed with. */
static void test_as_good_as_before(void **state) {
  Fixture *f = *state;
  Pgseal__InventoryPage *page = new_page();
  add_sealed(f, page, 1);
  json_decref(inventory(f, page, true));
  CLEANUP_FREE char *id = id_of(1), *drill_id = NULL;
  restart(f);
  OK(dispatch_request_drill(f->dispatch, id, &me, &drill_id, &f->err));
  JOB *drill = must_get(f, DRILLER, DRILL);
  CLEANUP(checkpoint_release) Checkpoint c = checkpoint_of(f, 1);
  assert_memory_equal(drill->drill->dump_public_key.data, f->agents[DUMPER].key, PUBLIC_KEY_SIZE);
  assert_string_equal(drill->drill->manifest_sha256, c.manifest_sha256);
  assert_true(strstr(drill->prefix, id) && strstr(drill->prefix, "/attempt-1/"));
  REPLY *reply = progress_as(f, DRILLER, drill, 0);
  assert_int_equal(reply->follow->state, PGSEAL__FOLLOW__STATE__STORED);
  assert_true(drill_proven(f, DRILLER, drill, c.manifest_sha256));
  expect_state(f, 1, CHECKPOINT_SEALED);
}

/* Page after page, through a restart in between; the tries of one page are not those of the next. */
static void test_pages(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = ask(f, true), *same = ask(f, true), *first = id_of(1), *other = NULL;
  assert_string_equal(id, same);
  assert_int_equal(dispatch_request_inventory(f->dispatch, DB, false, &me, &other, &f->err), ERR_CONFLICT);
  JOB *lost = must_take(f, "");
  pass(f, LEASE + 2, 0);
  pass(f, 5, 1u << DRILLER);
  JOB *job = must_take(f, "");
  Pgseal__InventoryPage *page = new_page();
  add_sealed(f, page, 1);
  page->next = memory_strdup(first);
  bool accepted;
  Pgseal__JobResult late = PGSEAL__JOB_RESULT__INIT;
  late.outcome = PGSEAL__JOB_RESULT__OUTCOME__DONE;
  late.inventory = page;
  OK(send_result(f, DRILLER, lost, &late, &accepted));
  assert_false(accepted || is_there(f, 1));
  tell(f, job, page);
  int attempt_now = 0;
  assert_int_equal(job_state_of(f, id, &attempt_now), JOB_QUEUED);
  assert_int_equal(attempt_now, 1);
  expect_state(f, 1, CHECKPOINT_SEALED);
  restart(f);
  JOB *next = must_take(f, first);
  assert_string_equal(next->id, id);
  page = new_page();
  add_sealed(f, page, 2);
  tell(f, next, page);
  assert_int_equal(job_state_of(f, id, NULL), JOB_DONE);
  json_t *report = NULL;
  OK(ledger_job_report_get(f->ledger, id, &report, &f->err));
  assert_int_equal(counted(report, "proven"), 2);
  json_decref(report);
}

static void test_only_looked_at(void **state) {
  Fixture *f = *state;
  Pgseal__InventoryPage *page = new_page();
  add_sealed(f, page, 1);
  CLEANUP(free_json) json_t *report = inventory(f, page, false);
  assert_int_equal(counted(report, "proven"), 1);
  assert_false(is_there(f, 1));
}

/* What the ledger knows stays as it is, whatever the repository says. */
static void test_known(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *known = request(f, DB, "under way");
  JOB *dump = must_get(f, DUMPER, DUMP);
  assert_true(dump_done(f, DUMPER, dump, MANIFEST));
  Pgseal__InventoryPage *page = new_page();
  Pgseal__InventoryAttempt *a = on_page(page, attempt(1, 1));
  free(a->checkpoint_id);
  a->checkpoint_id = memory_strdup(known);
  add_manifest(f, a, DUMPER);
  add_proof(f, a, DRILLER, true);
  JOB *drill = must_get(f, DRILLER, DRILL);
  CLEANUP(free_json) json_t *report = inventory(f, page, true);
  assert_int_equal(counted(report, "known"), 1);
  assert_int_equal(counted(report, "proven"), 0);
  expect_refused(report, "differs");
  assert_int_equal(state_of(f, known), CHECKPOINT_DRILLING);
  page = new_page();
  add_sealed(f, page, 1);
  json_decref(inventory(f, page, true));
  CLEANUP(checkpoint_release) Checkpoint before = checkpoint_of(f, 1);
  page = new_page();
  a = add_sealed(f, page, 1);
  add_proof(f, a, DRILLER, false);
  CLEANUP(free_json) json_t *again = inventory(f, page, true);
  assert_int_equal(counted(again, "known"), 1);
  CLEANUP(checkpoint_release) Checkpoint after = checkpoint_of(f, 1);
  assert_true(after.state == CHECKPOINT_SEALED && strcmp(before.proof_sha256, after.proof_sha256) == 0);
}

/* Of several attempts: the one that is proven, else the last that was stored. */
static void test_attempts(void **state) {
  Fixture *f = *state;
  Pgseal__InventoryPage *page = new_page();
  for (unsigned i = 1; i <= 3; i++) {
    for (uint32_t n = 1; n <= 3; n++) {
      Pgseal__InventoryAttempt *a = on_page(page, attempt(i, n));
      if (n < 3)
        add_manifest(f, a, DUMPER);
      if (i < 3 && n == i)
        add_proof(f, a, DRILLER, true);
    }
  }
  json_decref(inventory(f, page, true));
  for (unsigned i = 1; i <= 3; i++) {
    CLEANUP(checkpoint_release) Checkpoint c = checkpoint_of(f, i);
    assert_int_equal(c.dump_attempt, i < 3 ? (int)i : 2);
    assert_int_equal(c.state, i < 3 ? CHECKPOINT_SEALED : CHECKPOINT_ERRORED);
  }
}

/* What agents say makes no sense: the job ends, and says so; nothing is written. */
static void test_nonsense(void **state) {
  Fixture *f = *state;
  for (int kind = 0; kind < 6; kind++) {
    CLEANUP_FREE char *id = ask(f, true), *first = id_of(1);
    JOB *job = must_take(f, "");
    Pgseal__InventoryPage *page = new_page();
    if (kind > 0)
      add_sealed(f, page, 2);
    if (kind == 0 || kind == 1)
      page->next = memory_strdup(first); /* there is nothing up to it */
    if (kind == 2)
      add_sealed(f, page, 1);
    if (kind == 3)
      page->attempts[0]->checkpoint_id[3] = '/';
    if (kind == 4)
      page->attempts[0]->attempt = 0;
    if (kind == 5)
      page->attempts[0]->bytes = -1;
    tell(f, job, page);
    CLEANUP(ledger_job_release) LedgerJob ended = {0};
    OK(ledger_job_get(f->ledger, id, &ended, &f->err));
    assert_int_equal(ended.state, JOB_ERRORED);
    assert_string_equal(ended.error_code, "protocol");
    assert_false(is_there(f, 2));
  }
}

/* What was rebuilt by then stays. */
static void test_canceled(void **state) {
  Fixture *f = *state;
  for (int held = 0; held < 2; held++) {
    CLEANUP_FREE char *id = ask(f, true);
    JOB *job = held ? must_take(f, "") : NULL;
    OK(dispatch_cancel_recovery(f->dispatch, id, &me, &f->err));
    if (job) {
      REPLY *reply = progress_as(f, DRILLER, job, 0);
      assert_true(reply->cancel);
      assert_true(ends_with(f, DRILLER, job, ENDS_CANCELED, "canceled"));
    }
    assert_int_equal(job_state_of(f, id, NULL), JOB_CANCELED);
    assert_int_equal(dispatch_cancel_recovery(f->dispatch, id, &me, &f->err), ERR_CONFLICT);
  }
  assert_non_null(strstr(f->seen.kinds, "inventory.cancel_requested"));
  assert_non_null(strstr(f->seen.kinds, "inventory.canceled"));
}

/* Only to agents that know of them, may drill the database, and are there. */
static void test_takers(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *id = ask(f, true), *gone = NULL;
  assert_null(poll_as(f, DUMPER, 1, 1, NULL));
  assert_null(poll_as(f, DRILLER, 1, 1, NULL)); /* an older one */
  assert_int_equal(dispatch_request_inventory(f->dispatch, "zzz", true, &me, &gone, &f->err), ERR_NOT_FOUND);
  JOB *job = must_take(f, "");
  assert_true(ends_with(f, DRILLER, job, ENDS_ERRORED, "repository_unavailable"));
  assert_int_equal(job_state_of(f, id, NULL), JOB_QUEUED);
  pass(f, 5, 1u << DRILLER);
  JOB *again = must_take(f, "");
  assert_true(ends_with(f, DRILLER, again, ENDS_ERRORED, "repository_refused"));
  assert_int_equal(job_state_of(f, id, NULL), JOB_ERRORED);
  CLEANUP_FREE char *waiting = ask(f, true);
  pass(f, WAIT + 30, 1u << DUMPER); /* the other is believed to be there for a while */
  CLEANUP(ledger_job_release) LedgerJob ended = {0};
  OK(ledger_job_get(f->ledger, waiting, &ended, &f->err));
  assert_string_equal(ended.error_code, "no_agent");
}

/* Pins were lost with the ledger: nothing that was rebuilt goes before there was time to pin it again. */
static void test_retention_waits(void **state) {
  Fixture *f = *state;
  Pgseal__InventoryPage *page = new_page();
  for (unsigned i = 1; i <= 3; i++)
    add_sealed(f, page, i);
  json_decref(inventory(f, page, true));
  const RetentionPolicy policy = {.last = 1, .grace_hours = 24};
  for (int later = 0; later < 2; later++) {
    RetentionItem items[3];
    unsigned rules[3];
    Checkpoint kept[3];
    for (unsigned i = 0; i < 3; i++) {
      kept[i] = checkpoint_of(f, i + 1);
      items[i] = (RetentionItem){.id = kept[i].id,
                                 .tag = kept[i].tag,
                                 .taken_us = kept[i].created_us + i,
                                 .finished_us = kept[i].finished_us,
                                 .sealed = true,
                                 .stored = true,
                                 .rebuilt_us = json_integer_value(json_object_get(kept[i].detail, "rebuilt_us"))};
    }
    retention_decide(items, 3, &policy, moved_wall_us() + (later ? (int64_t)25 * 3600 * 1000000 : 0), rules);
    assert_true(rules[2] & RETENTION_LAST);
    assert_int_equal(rules[0] & RETENTION_GRACE, later ? 0 : RETENTION_GRACE);
    assert_true(!later || (rules[0] == 0 && rules[1] == 0));
    for (int i = 0; i < 3; i++)
      checkpoint_release(&kept[i]);
  }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(test_everything), TEST(test_as_good_as_before), TEST(test_pages),    TEST(test_only_looked_at),
      TEST(test_known),      TEST(test_attempts),          TEST(test_nonsense), TEST(test_canceled),
      TEST(test_takers),     TEST(test_retention_waits),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
