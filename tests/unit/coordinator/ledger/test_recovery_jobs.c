/* Jobs that recover: what was asked for, who approved it, and the reports, which are kept apart. Drills, listed. */
#include "support.h"

static int setup_checkpoint(void **state) {
  setup(state);
  Fixture *f = *state;
  Checkpoint c = sample("one", "shop", "t");
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  return 0;
}

static Status insert_recovery(Fixture *f, const char *id, LedgerJobKind kind, const char *key, const char *approval) {
  json_t *request = json_pack("{s:s, s:[s]}", "database", "shop", "tables", "ünï");
  LedgerJob job = {.id = (char *)id,
                   .checkpoint_id = (char *)"one",
                   .database = (char *)"shop",
                   .kind = kind,
                   .state = JOB_QUEUED,
                   .attempt = 1,
                   .created_us = 5,
                   .requested_by = (char *)"oncall",
                   .idempotency_key = (char *)key,
                   .approval = (char *)approval,
                   .request = request};
  Status status = ledger_job_insert(f->ledger, &job, &f->err);
  json_decref(request);
  return status;
}

static size_t jobs_of(Fixture *f, const char *database, int kind, const char *scope, int limit, char newest[8]) {
  LedgerJob *items;
  size_t count;
  const JobFilter filter = {.database = database, .kind = kind, .scope = scope, .limit = limit};
  OK(ledger_job_recent(f->ledger, &filter, &items, &count, &f->err));
  snprintf(newest, 8, "%s", count ? items[0].id : "");
  ledger_job_list_free(items, count);
  return count;
}

static void test_recovery_jobs(void **state) {
  Fixture *f = *state;
  OK(insert_recovery(f, "p1", LEDGER_JOB_PLAN, "key", NULL));
  OK(insert_recovery(f, "r1", LEDGER_JOB_RESTORE, NULL, "needed"));
  assert_int_equal(insert_recovery(f, "p2", LEDGER_JOB_PLAN, "key", NULL), ERR_CONFLICT);
  assert_int_equal(insert_recovery(f, "p2", LEDGER_JOB_PLAN, NULL, "perhaps"), ERR_CONFLICT);
  LedgerJob back;
  OK(ledger_job_by_key(f->ledger, "oncall", "key", &back, &f->err));
  assert_string_equal(back.id, "p1");
  assert_string_equal(json_string_value(json_array_get(json_object_get(back.request, "tables"), 0)), "ünï");
  ledger_job_release(&back);
  assert_int_equal(ledger_job_by_key(f->ledger, "other", "key", &back, &f->err), ERR_NOT_FOUND);
  OK(ledger_job_get(f->ledger, "r1", &back, &f->err));
  assert_string_equal(back.approval, "needed");
  assert_string_equal(back.requested_by, "oncall");
  free(back.approval);
  back.approval = memory_strdup("given");
  assert_int_equal(ledger_job_update(f->ledger, &back, &f->err), ERR_CONFLICT); /* by whom? */
  back.approved_by = memory_strdup("lead");
  OK(ledger_job_update(f->ledger, &back, &f->err));
  ledger_job_release(&back);
  char newest[8];
  assert_int_equal(jobs_of(f, NULL, 0, NULL, 10, newest), 2);
  assert_string_equal(newest, "r1");
  assert_int_equal(jobs_of(f, "shop", LEDGER_JOB_PLAN, NULL, 10, newest), 1);
  assert_string_equal(newest, "p1");
  assert_int_equal(jobs_of(f, "bank", 0, NULL, 10, newest), 0);
  assert_int_equal(jobs_of(f, NULL, 0, "[\"sh*\"]", 1, newest), 1);
  assert_int_equal(jobs_of(f, NULL, 0, "[\"bank\"]", 10, newest), 0);
}

/* What a job needed is not kept for ever. */
static void test_forget(void **state) {
  Fixture *f = *state;
  OK(insert_recovery(f, "h1", LEDGER_JOB_REHEARSE, "key", NULL));
  LedgerJob back = {0};
  json_t *kept = json_pack("{s:s}", "sha256", "ünï");
  OK(ledger_job_forget(f->ledger, "h1", kept, &f->err));
  OK(ledger_job_by_key(f->ledger, "oncall", "key", &back, &f->err));
  assert_true(json_equal(back.request, kept));
  assert_true(back.kind == LEDGER_JOB_REHEARSE && ledger_job_recovers(back.kind));
  assert_int_equal(ledger_job_forget(f->ledger, "nonesuch", kept, &f->err), ERR_NOT_FOUND);
  ledger_job_release(&back);
  json_decref(kept);
  LedgerJobKind kind;
  assert_true(ledger_job_kind_from_name("rehearse", &kind) && kind == LEDGER_JOB_REHEARSE);
  assert_false(ledger_job_kind_from_name("", &kind));
}

/* Over or not; and of plans' reports only the newest stay. */
static void test_reports(void **state) {
  Fixture *f = *state;
  OK(insert_recovery(f, "r1", LEDGER_JOB_RESTORE, NULL, NULL));
  json_t *report = json_pack("{s:f, s:s}", "seconds", 1.5, "text", "ünï"), *back = NULL;
  LedgerJob job = {0};
  OK(ledger_job_get(f->ledger, "r1", &job, &f->err));
  OK(ledger_job_report_get(f->ledger, "r1", &back, &f->err));
  assert_null(back);
  OK(ledger_job_report_put(f->ledger, &job, report, &f->err));
  ledger_job_release(&job);
  for (int i = 0; i < LEDGER_REPORTS_KEPT + 2; i++) {
    char id[16];
    snprintf(id, sizeof id, "p%d", i);
    OK(insert_recovery(f, id, LEDGER_JOB_PLAN, NULL, NULL));
    OK(ledger_job_get(f->ledger, id, &job, &f->err));
    OK(ledger_job_report_put(f->ledger, &job, report, &f->err));
    job.state = JOB_DONE;
    OK(ledger_job_update(f->ledger, &job, &f->err));
    ledger_job_release(&job);
  }
  static const char *const kept[] = {"r1", "p2", "p101"}, *const gone[] = {"p0", "p1", "nonesuch"};
  for (size_t i = 0; i < 3; i++) {
    OK(ledger_job_report_get(f->ledger, kept[i], &back, &f->err));
    assert_true(json_equal(back, report));
    json_decref(back);
    OK(ledger_job_report_get(f->ledger, gone[i], &back, &f->err));
    assert_null(back);
  }
  LedgerJob *items;
  size_t count;
  OK(ledger_job_list(f->ledger, "one", &items, &count, &f->err)); /* that are over are not the checkpoint's business */
  assert_int_equal(count, 1);
  ledger_job_list_free(items, count);
  json_decref(report);
}

static void insert_drill(Fixture *f, const char *id, const char *checkpoint, const char *database, LedgerJobKind kind) {
  LedgerJob job = {.id = (char *)id,
                   .checkpoint_id = (char *)checkpoint,
                   .database = (char *)database,
                   .kind = kind,
                   .state = JOB_FAILED,
                   .attempt = 1,
                   .created_us = 5};
  OK(ledger_job_insert(f->ledger, &job, &f->err));
}

static void drills_are(Fixture *f, JobFilter filter, const char *expected) {
  LedgerJob *items;
  size_t count;
  char ids[64] = "";
  OK(ledger_job_drills(f->ledger, &filter, &items, &count, &f->err));
  for (size_t i = 0; i < count; i++)
    strncat(strncat(ids, items[i].id, 8), " ", 2);
  ledger_job_list_free(items, count);
  assert_string_equal(ids, expected);
}

/* By checkpoint, whenever they were; the limit is of checkpoints and of drills. */
static void test_drills(void **state) {
  Fixture *f = *state;
  Checkpoint two = sample("two", "bank", "t"), three = sample("three", "shop", "t"), four = sample("four", "shop", "t");
  OK(ledger_checkpoint_insert(f->ledger, &two, &f->err));
  OK(ledger_checkpoint_insert(f->ledger, &three, &f->err));
  insert_drill(f, "a", "three", "shop", LEDGER_JOB_DRILL);
  insert_drill(f, "b", "one", "shop", LEDGER_JOB_DRILL);
  insert_drill(f, "c", "two", "bank", LEDGER_JOB_DRILL);
  insert_drill(f, "d", "one", "shop", LEDGER_JOB_DRILL);
  insert_drill(f, "e", "three", "shop", LEDGER_JOB_DUMP);
  drills_are(f, (JobFilter){0}, "a c d b ");
  drills_are(f, (JobFilter){.limit = 3}, "a c d ");
  drills_are(f, (JobFilter){.limit = 2}, "a c ");
  drills_are(f, (JobFilter){.database = "shop", .limit = 2}, "a d ");
  drills_are(f, (JobFilter){.scope = "[\"sh*\"]", .limit = 10}, "a d b ");
  drills_are(f, (JobFilter){.database = "shop", .scope = "[\"bank\"]", .limit = 10}, "");
  OK(ledger_checkpoint_insert(f->ledger, &four, &f->err)); /* without any yet */
  drills_are(f, (JobFilter){.limit = 2}, "a ");
  drills_are(f, (JobFilter){.limit = 1}, "");
}

int main(void) {
  const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup_checkpoint, teardown)
      T(test_recovery_jobs),
      T(test_forget),
      T(test_reports),
      T(test_drills),
  };
  return LEDGER_TESTS(tests);
}
