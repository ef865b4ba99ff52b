/* What those who keep jobs in memory are told of the ledger, in every database that one may be kept in. */
#include "support.h"

#include <string.h>

typedef struct Told {
  int jobs, voids;
  JobState state; /* of the last */
} Told;

static void on_job(void *user, const LedgerJob *job) {
  Told *told = user;
  told->jobs += job != NULL;
  told->voids += job == NULL;
  if (job)
    told->state = job->state;
}

static LedgerJob job_of(const char *id) {
  return (LedgerJob){.id = (char *)id,
                     .checkpoint_id = (char *)"one",
                     .database = (char *)"shop",
                     .kind = LEDGER_JOB_DUMP,
                     .state = JOB_LEASED,
                     .attempt = 1,
                     .fencing = 7,
                     .created_us = 5};
}

static void test_told_of_jobs(void **state) {
  Fixture *f = *state;
  Told told = {0};
  Checkpoint c = sample("one", "shop", "t");
  LedgerJob job = job_of("j1"), other = job_of("j2");
  ledger_job_watch(f->ledger, on_job, &told);
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  assert_int_equal(told.jobs, 0);
  OK(ledger_job_insert(f->ledger, &job, &f->err));
  assert_true(told.jobs == 1 && told.state == JOB_LEASED);
  OK(ledger_begin(f->ledger, &f->err));
  ledger_rollback(f->ledger);
  assert_int_equal(told.voids, 0); /* no job was written */
  OK(ledger_begin(f->ledger, &f->err));
  OK(ledger_job_insert(f->ledger, &other, &f->err));
  ledger_rollback(f->ledger);
  assert_true(told.jobs == 2 && told.voids == 1);
  OK(ledger_begin(f->ledger, &f->err));
  OK(ledger_job_insert(f->ledger, &other, &f->err));
  OK(ledger_commit(f->ledger, &f->err));
  ledger_rollback(f->ledger);
  assert_true(told.jobs == 3 && told.voids == 1);
  assert_int_not_equal(ledger_job_insert(f->ledger, &other, &f->err), STATUS_OK); /* it is there */
  assert_int_equal(told.jobs, 3);
}

static void test_progress_of_who_holds_it(void **state) {
  Fixture *f = *state;
  Told told = {0};
  Checkpoint c = sample("one", "shop", "t");
  LedgerJob job = job_of("j1"), back = {0};
  bool held = true;
  job.agent = (char *)"east";
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  OK(ledger_job_insert(f->ledger, &job, &f->err));
  ledger_job_watch(f->ledger, on_job, &told);
  job.state = JOB_RUNNING;
  job.progress = json_pack("{s:i}", "segments", 3);
  job.fencing = 8;
  OK(ledger_job_progress(f->ledger, &job, &held, &f->err));
  assert_true(!held && told.jobs == 0);
  job.fencing = 7;
  OK(ledger_job_progress(f->ledger, &job, &held, &f->err));
  assert_true(held && told.jobs == 1 && told.state == JOB_RUNNING);
  OK(ledger_job_get(f->ledger, "j1", &back, &f->err));
  assert_true(back.state == JOB_RUNNING && json_integer_value(json_object_get(back.progress, "segments")) == 3);
  ledger_job_release(&back);
  json_decref(job.progress);
  job.progress = NULL;
  job.state = JOB_DONE;
  OK(ledger_job_update(f->ledger, &job, &f->err));
  job.state = JOB_RUNNING;
  OK(ledger_job_progress(f->ledger, &job, &held, &f->err));
  assert_false(held); /* it is over */
}

static bool moved(Fixture *f) {
  bool is = false;
  OK(ledger_moved(f->ledger, &is, &f->err));
  return is;
}

static void append(Fixture *f) {
  LedgerEvent event = {.kind = (char *)"checkpoint.requested"};
  OK(ledger_event_append(f->ledger, &event, &f->err));
}

static void test_others_write(void **state) {
  Fixture *f = *state;
  append(f);
  moved(f);
  append(f);
  append(f);
  assert_false(moved(f)); /* its own */
  assert_true(raw(f, "UPDATE tip SET sequence = sequence + 1"));
  assert_true(moved(f));
  assert_false(moved(f));
  assert_true(raw(f, "UPDATE tip SET sequence = sequence + 1"));
  append(f); /* after another's: told all the same */
  assert_true(moved(f));
  assert_false(moved(f));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
  const struct CMUnitTest tests[] = {T(test_told_of_jobs), T(test_progress_of_who_holds_it), T(test_others_write)};
  return LEDGER_TESTS(tests);
}
