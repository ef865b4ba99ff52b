/* What a report says of a ledger, on both databases that one may be kept in. */
#include "tests/unit/coordinator/ledger/support.h"

#include <time.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/report/report.h"
#include "coordinator/report/gather.h"

#define DAY_US ((int64_t)86400 * 1000000)
#define HOUR_US ((int64_t)3600 * 1000000)
#define FROM ((int64_t)1696118400 * 1000000) /* 2023-10-01 */
#define TO (FROM + 31 * DAY_US)
#define DIGEST(c) c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c

static void free_json(json_t **json) {
  json_decref(*json);
}
#define JSON CLEANUP(free_json) json_t

static atomic_bool never;

static json_t *detail(const char *text) {
  json_t *json = json_loads(text, 0, NULL);
  assert_non_null(json);
  return json;
}

static void event(Fixture *f, const char *kind, const char *database, const char *checkpoint, const char *job,
                  const char *actor, const char *text) {
  LedgerEvent event = {.kind = (char *)kind,
                       .database = (char *)database,
                       .checkpoint_id = (char *)checkpoint,
                       .job_id = (char *)job,
                       .actor = (char *)actor,
                       .detail = text ? detail(text) : NULL};
  OK(ledger_event_append(f->ledger, &event, &f->err));
  json_decref(event.detail);
}

static void put_checkpoint(Fixture *f, const char *id, const char *database, CheckpointState state,
                           const char *restore_drill, int64_t asked_us) {
  Checkpoint c = sample(id, database, "nightly <b>");
  c.state = state;
  c.created_us = asked_us;
  c.finished_us = checkpoint_state_final(state) ? asked_us + HOUR_US : 0;
  c.restore_drill = (char *)restore_drill;
  c.manifest_sha256 = (char *)DIGEST("a1");
  c.proof_sha256 = (char *)DIGEST("b2");
  c.error_code = state == CHECKPOINT_SEALED ? NULL : (char *)"lock_timeout";
  c.detail = detail("{\"omissions\": [{\"kind\": \"foreign_table_data\", \"object\": \"public.<i>far</i>\"}]}");
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  json_decref(c.detail);
}

static void put_job(Fixture *f, LedgerJobKind kind, const char *id, const char *checkpoint, const char *database,
                    JobState state, int64_t asked_us, int64_t ended_us) {
  LedgerJob job = {.id = (char *)id,
                   .checkpoint_id = (char *)checkpoint,
                   .database = (char *)database,
                   .kind = kind,
                   .state = state,
                   .attempt = 1,
                   .agent = (char *)"driller",
                   .created_us = asked_us,
                   .started_us = asked_us,
                   .finished_us = ended_us,
                   .error_code = state == JOB_DONE ? NULL : (char *)"round_trip_differs"};
  if (kind != LEDGER_JOB_DRILL) {
    job.requested_by = (char *)"oncall";
    job.request = detail("{\"mode\": \"tables\", \"tables\": [\"public.orders\"], \"kind\": \"canary\"}");
  }
  if (kind == LEDGER_JOB_RESTORE) {
    job.approval = (char *)"given";
    job.approved_by = (char *)"second";
  }
  OK(ledger_job_insert(f->ledger, &job, &f->err));
  json_decref(job.request);
}

static void put_drill(Fixture *f, const char *id, const char *checkpoint, const char *database, JobState state,
                      int64_t asked_us, int64_t ended_us, int milliseconds) {
  put_job(f, LEDGER_JOB_DRILL, id, checkpoint, database, state, asked_us, ended_us);
  CLEANUP_FREE char *text = memory_format(
      "{\"drill_id\": \"%s\", \"verdict\": {\"proof_sha256\": \"" DIGEST("c3") "\"}, \"milliseconds\": %d}", id,
      milliseconds);
  if (job_state_final(state))
    event(f, state == JOB_DONE ? "drill.proven" : "drill.failed", database, checkpoint, id, NULL, text);
}

/* A checkpoint that was sealed by a drill of the same time. */
static void sealed(Fixture *f, const char *id, const char *drill, const char *database, int64_t asked_us) {
  put_checkpoint(f, id, database, CHECKPOINT_SEALED, "proven", asked_us);
  put_drill(f, drill, id, database, JOB_DONE, asked_us, asked_us + HOUR_US, 90000);
}

/* alpha: fresh, and the edges; beta: stale, a failure that was followed; gamma: nothing ever; gone: not of the fleet.
 */
static void a_month(Fixture *f) {
  sealed(f, "c-before", "d-before", "alpha", FROM - 1);
  sealed(f, "c-first", "d-first", "alpha", FROM);
  sealed(f, "c-beta", "d-beta", "beta", FROM + DAY_US);
  put_checkpoint(f, "c-fails", "beta", CHECKPOINT_FAILED, "failed", FROM + 2 * DAY_US);
  put_drill(f, "d-fails", "c-fails", "beta", JOB_FAILED, FROM + 2 * DAY_US, FROM + 2 * DAY_US + HOUR_US, 0);
  put_checkpoint(f, "c-dump", "beta", CHECKPOINT_ERRORED, "canceled", FROM + 3 * DAY_US);
  put_drill(f, "d-dump", "c-dump", "beta", JOB_CANCELED, FROM + 3 * DAY_US, FROM + 3 * DAY_US, 0);
  sealed(f, "c-after", "d-after", "beta", FROM + 4 * DAY_US);
  put_checkpoint(f, "c-late", "beta", CHECKPOINT_ERRORED, "errored", TO - 2 * HOUR_US);
  put_drill(f, "d-late", "c-late", "beta", JOB_ERRORED, TO - 2 * HOUR_US, TO - HOUR_US, 0);
  sealed(f, "c-gone", "d-gone", "gone", FROM + 5 * DAY_US);
  put_job(f, LEDGER_JOB_RESTORE, "r-1", "c-after", "beta", JOB_DONE, FROM + 6 * DAY_US, FROM + 6 * DAY_US + HOUR_US);
  event(f, "restore.approved", "beta", "c-after", "r-1", "second", NULL);
  event(f, "restore.finished", "beta", "c-after", "r-1", NULL, "{\"rows_written\": 12}");
  put_job(f, LEDGER_JOB_TRIAL, "t-1", "c-after", "beta", JOB_DONE, FROM + 7 * DAY_US, FROM + 7 * DAY_US + HOUR_US);
  event(f, "trial.finished", "beta", "c-after", "t-1", NULL, "{\"verdict\": \"refuted\"}");
  put_job(f, LEDGER_JOB_REHEARSE, "m-1", "c-after", "beta", JOB_DONE, FROM + 8 * DAY_US, FROM + 8 * DAY_US + HOUR_US);
  event(f, "rehearsal.finished", "beta", "c-after", "m-1", NULL, "{\"verdict\": \"dangerous\"}");
  sealed(f, "c-alpha", "d-alpha", "alpha", TO - DAY_US);
  put_checkpoint(f, "c-over", "alpha", CHECKPOINT_SEALED, "proven", TO - 1); /* begins within, ends after */
  put_drill(f, "d-over", "c-over", "alpha", JOB_DONE, TO - 1, TO + HOUR_US, 7300000);
  sealed(f, "c-next", "d-next", "alpha", TO);
}

static GatherAsk ask_of(const char *database, const char *scope) {
  GatherAsk ask = {.from_us = FROM,
                   .to_us = TO,
                   .database = database ? memory_strdup(database) : NULL,
                   .scope = scope ? memory_strdup(scope) : NULL,
                   .drills_limit = 100,
                   .recoveries_limit = 100};
  static const char *const names[] = {"alpha", "beta", "gamma"};
  for (size_t i = 0; i < 3; i++) {
    if ((database && strcmp(database, names[i]) != 0) || (scope && !strstr(scope, names[i])))
      continue;
    const GatherDatabase one = {memory_strdup(names[i]), memory_strdup(""), memory_strdup("team"), 7 * 86400, 3600, 0};
    ARRAY_PUSH(ask.databases, ask.database_count, one);
  }
  return ask;
}

/* By a connection of its own, as the coordinator does. */
static json_t *made(Fixture *f, const char *database, const char *scope) {
  CLEANUP(gather_ask_release) GatherAsk ask = ask_of(database, scope);
  Ledger *reader = NULL;
  json_t *report = NULL;
  OK(ledger_open(f->where, true, &reader, &f->err));
  if (gather(reader, &ask, &never, &report, &f->err) != STATUS_OK)
    fail_msg("%s", f->err.message);
  ledger_close(reader);
  OK(report_check(report, &f->err));
  return report;
}

static json_t *row_of(const json_t *report, const char *list, const char *key, const char *value) {
  json_t *rows = json_object_get(report, list), *row;
  size_t index;
  json_array_foreach(rows, index, row) {
    if (strcmp(json_string_value(json_object_get(row, key)), value) == 0)
      return row;
  }
  return NULL;
}

static int64_t number(const json_t *report, const char *path) {
  const json_t *at = json_object_get(report, "totals");
  const char *dot = strchr(path, '.');
  CLEANUP_FREE char *first = memory_strndup(path, dot ? (size_t)(dot - path) : strlen(path));
  at = json_object_get(at, first);
  if (dot)
    at = json_object_get(at, dot + 1);
  assert_true(json_is_integer(at));
  return json_integer_value(at);
}

static void expect(const json_t *report, const char *path, int64_t wanted) {
  if (number(report, path) != wanted)
    print_error("%s: ", path);
  assert_int_equal(number(report, path), wanted);
}

static void test_a_month(void **state) {
  Fixture *f = *state;
  a_month(f);
  JSON *report = made(f, NULL, NULL);
  expect(report, "databases", 3);
  expect(report, "databases_gone", 1);
  expect(report, "coverage.fresh", 1);
  expect(report, "coverage.stale", 1);
  expect(report, "coverage.unproven", 1);
  expect(report, "drills.proven", 6); /* of alpha: first, alpha, over; not before, nor next */
  expect(report, "drills.failed", 1);
  expect(report, "drills.errored", 1);
  expect(report, "drills.canceled", 1);
  expect(report, "checkpoints.sealed", 6);
  expect(report, "problems.resolved", 2); /* the drill, and the dump */
  expect(report, "problems.unresolved", 1);
  expect(report, "restore.measured", 6);
  expect(report, "restore.over_objective", 1);
  expect(report, "restore.slowest_ms", 7300000);
  expect(report, "restores.done", 1);
  expect(report, "restores.approved", 1);
  expect(report, "trials.refuted", 1);
  const json_t *alpha = row_of(report, "databases", "name", "alpha"),
               *over = row_of(report, "drills", "drill", "d-over");
  assert_string_equal(json_string_value(json_object_get(json_object_get(alpha, "last_proof"), "drill")), "d-alpha");
  assert_int_equal(json_integer_value(json_object_get(alpha, "proof_age_us")), DAY_US - HOUR_US);
  assert_non_null(over); /* began in the period, ended after it: counted here, and not in the next */
  assert_string_equal(json_string_value(json_object_get(over, "proof_sha256")), DIGEST("c3"));
  const json_t *fails = row_of(report, "drills", "drill", "d-fails"), *next = json_object_get(fails, "next_proven");
  assert_string_equal(json_string_value(json_object_get(next, "drill")), "d-after");
  const json_t *restore = row_of(report, "recoveries", "job", "r-1");
  assert_string_equal(json_string_value(json_object_get(restore, "approved_by")), "second");
  assert_int_equal(json_integer_value(json_object_get(restore, "rows_written")), 12);
  assert_non_null(json_object_get(restore, "approval"));
  const json_t *rehearsal = row_of(report, "recoveries", "job", "m-1");
  assert_string_equal(json_string_value(json_object_get(rehearsal, "verdict")), "dangerous");
  assert_null(row_of(report, "drills", "drill", "d-before"));
  assert_null(row_of(report, "drills", "drill", "d-next"));
}

/* The next period begins where this one ends: what was asked for at its first moment is counted there, alone. */
static void put_silence(Fixture *f, const char *id, const char *key, const char *database, const char *condition,
                        int64_t since_us, int64_t until_us, int64_t ended_us) {
  const LedgerSilence one = {.id = (char *)id,
                             .key = (char *)key,
                             .alert_id = until_us ? NULL : (char *)"alert",
                             .database = (char *)database,
                             .condition = (char *)condition,
                             .actor = (char *)"anna",
                             .reason = (char *)"a reason",
                             .created_us = since_us,
                             .until_us = until_us,
                             .ended_us = ended_us,
                             .ended_by = ended_us ? (char *)"bernd" : NULL};
  OK(ledger_silence_insert(f->ledger, &one, &f->err));
  CLEANUP_FREE char *text = memory_format("{\"silence\": \"%s\", \"reason\": \"a reason\"}", id);
  event(f, until_us ? "alert.silenced" : "alert.acknowledged", database, NULL, NULL, "anna", text);
}

static void some_silences(Fixture *f) {
  put_silence(f, "s-before", "c/alpha", "alpha", NULL, FROM - DAY_US, FROM, 0);
  put_silence(f, "s-ended", "c/alpha", "alpha", NULL, FROM - DAY_US, TO, FROM);
  put_silence(f, "s-into", "c/alpha", "alpha", NULL, FROM - DAY_US, FROM + 1, 0);
  put_silence(f, "s-all", NULL, NULL, "restore_slow", FROM, TO, 0);
  put_silence(f, "s-agent", "agent_lost/one", NULL, NULL, FROM, TO, 0);
  put_silence(f, "s-open", "c/beta", "beta", NULL, FROM + DAY_US, 0, 0);
  put_silence(f, "s-short", NULL, "beta", NULL, FROM + DAY_US, TO, FROM + 2 * DAY_US);
  put_silence(f, "s-gone", NULL, "never-drilled", NULL, FROM + DAY_US, TO, 0);
  put_silence(f, "s-last", NULL, "alpha", NULL, TO - 1, TO + DAY_US, 0);
  put_silence(f, "s-after", NULL, "alpha", NULL, TO, TO + DAY_US, 0);
}

/* Those that were in force at some time of the period; of whom the report is about. */
static void expect_silences(const json_t *report, const char *wanted) {
  json_t *rows = json_object_get(report, "silences"), *row;
  CLEANUP(buffer_release) Buffer found = {0};
  size_t index;
  json_array_foreach(rows, index, row) {
    buffer_append_format(&found, "%s%s", index ? " " : "", json_string_value(json_object_get(row, "silence")));
  }
  assert_string_equal(buffer_text(&found), wanted);
}

static void test_silences(void **state) {
  Fixture *f = *state;
  some_silences(f);
  JSON *fleet = made(f, NULL, NULL), *beta = made(f, "beta", NULL), *scoped = made(f, NULL, "[\"alpha\"]"),
       *team = NULL;
  expect_silences(fleet, "s-into s-agent s-all s-gone s-open s-short s-last");
  expect_silences(beta, "s-all s-open s-short");
  expect_silences(scoped, "s-into s-last");
  CLEANUP(gather_ask_release) GatherAsk ask = ask_of(NULL, NULL);
  ask.owner = memory_strdup("team");
  OK(gather(f->ledger, &ask, &never, &team, &f->err));
  expect_silences(team, "s-into s-all s-open s-short s-last");
  const json_t *row = row_of(fleet, "silences", "silence", "s-short"),
               *open = row_of(fleet, "silences", "silence", "s-open");
  assert_string_equal(json_string_value(json_object_get(row, "by")), "anna");
  assert_string_equal(json_string_value(json_object_get(row, "reason")), "a reason");
  assert_string_equal(json_string_value(json_object_get(row, "ended_by")), "bernd");
  assert_int_equal(json_integer_value(json_object_get(row, "ended_us")), FROM + 2 * DAY_US);
  assert_int_equal(json_integer_value(json_object_get(json_object_get(row, "event"), "sequence")), 7);
  assert_true(json_is_true(json_object_get(open, "acknowledged")));
  assert_null(json_object_get(open, "until_us"));
  assert_int_equal(json_array_size(json_object_get(fleet, "databases")), 3); /* none for a silence alone */
  ask.drills_limit = 2;
  JSON *nothing = NULL;
  assert_int_equal(gather(f->ledger, &ask, &never, &nothing, &f->err), ERR_TOO_MANY);
}

/* What is cut says so. */
static void test_long_messages(void **state) {
  Fixture *f = *state;
  CLEANUP_FREE char *message = memory_alloc(1001);
  memset(message, 'x', 1000);
  Checkpoint c = sample("c-long", "alpha", "nightly");
  c.state = CHECKPOINT_ERRORED;
  c.created_us = FROM;
  c.finished_us = FROM + 1;
  c.error_code = (char *)"tool";
  c.error_message = message;
  OK(ledger_checkpoint_insert(f->ledger, &c, &f->err));
  JSON *report = made(f, NULL, NULL);
  const json_t *row = row_of(report, "checkpoints", "checkpoint", "c-long");
  const char *told = json_string_value(json_object_get(row, "message"));
  assert_true(strlen(told) < 310 && strcmp(told + strlen(told) - 3, "\xe2\x80\xa6") == 0);
}

static void test_no_drill_is_in_two_periods(void **state) {
  Fixture *f = *state;
  a_month(f);
  CLEANUP(gather_ask_release) GatherAsk ask = ask_of("alpha", NULL);
  JSON *month = made(f, "alpha", NULL), *next = NULL;
  ask.from_us = TO;
  ask.to_us = TO + 30 * DAY_US;
  OK(gather(f->ledger, &ask, &never, &next, &f->err));
  expect(month, "drills.proven", 3);
  expect(next, "drills.proven", 1);
  assert_non_null(row_of(next, "drills", "drill", "d-next"));
  assert_null(row_of(next, "drills", "drill", "d-over"));
}

static void test_what_is_asked_about(void **state) {
  Fixture *f = *state;
  a_month(f);
  JSON *one = made(f, "beta", NULL), *scoped = made(f, NULL, "[\"alpha\"]"), *nothing = NULL;
  assert_int_equal(json_array_size(json_object_get(one, "databases")), 1);
  expect(one, "drills.proven", 2);
  assert_int_equal(json_array_size(json_object_get(scoped, "databases")), 1);
  expect(scoped, "restores.done", 0);
  CLEANUP_FREE char *text = json_dumps(scoped, JSON_COMPACT);
  assert_null(strstr(text, "beta"));
  assert_null(strstr(text, "\"gone\""));
  CLEANUP(gather_ask_release) GatherAsk ask = ask_of("nobody", NULL);
  assert_int_equal(gather(f->ledger, &ask, &never, &nothing, &f->err), ERR_NOT_FOUND);
  atomic_bool stop = true;
  CLEANUP(gather_ask_release) GatherAsk all = ask_of(NULL, NULL);
  assert_int_equal(gather(f->ledger, &all, &stop, &nothing, &f->err), ERR_CANCELED);
}

/* Where there is too much to list, what was proven is in numbers and one digest, the same as where it is listed. */
static void test_limits(void **state) {
  Fixture *f = *state;
  a_month(f);
  JSON *whole = made(f, NULL, NULL), *brief = NULL, *nothing = NULL;
  CLEANUP(gather_ask_release) GatherAsk ask = ask_of(NULL, NULL);
  ask.drills_limit = 5;
  OK(gather(f->ledger, &ask, &never, &brief, &f->err));
  OK(report_check(brief, &f->err));
  assert_int_equal(json_array_size(json_object_get(brief, "drills")), 3);
  assert_true(json_equal(json_object_get(whole, "databases"), json_object_get(brief, "databases")));
  assert_true(json_equal(json_object_get(whole, "totals"), json_object_get(brief, "totals")));
  ask.drills_limit = 2;
  assert_int_equal(gather(f->ledger, &ask, &never, &nothing, &f->err), ERR_TOO_MANY);
}

/* Condemned later, or taken out of the repository: what a database stands on is what it had then. */
static void test_standing_at_the_end(void **state) {
  Fixture *f = *state;
  sealed(f, "c-old", "d-old", "alpha", FROM + DAY_US);
  sealed(f, "c-new", "d-new", "alpha", FROM + 2 * DAY_US);
  put_drill(f, "d-again", "c-new", "alpha", JOB_FAILED, FROM + 3 * DAY_US, FROM + 3 * DAY_US, 0);
  JSON *report = made(f, "alpha", NULL);
  const json_t *row = row_of(report, "databases", "name", "alpha");
  assert_string_equal(json_string_value(json_object_get(json_object_get(row, "last_proof"), "checkpoint")), "c-old");
  assert_string_equal(json_string_value(json_object_get(row, "coverage")), "stale");
  Checkpoint old = {0};
  OK(ledger_checkpoint_get(f->ledger, "c-old", &old, &f->err));
  old.pruning_us = TO + 1;
  OK(ledger_checkpoint_update(f->ledger, &old, &f->err));
  JSON *kept = made(f, "alpha", NULL);
  expect(kept, "coverage.stale", 1);
  old.pruning_us = TO;
  OK(ledger_checkpoint_update(f->ledger, &old, &f->err));
  checkpoint_release(&old);
  JSON *gone = made(f, "alpha", NULL);
  expect(gone, "coverage.unproven", 1);
}

int main(void) {
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
  const struct CMUnitTest tests[] = {
      T(test_a_month),      T(test_no_drill_is_in_two_periods), T(test_what_is_asked_about),
      T(test_limits),       T(test_standing_at_the_end),        T(test_silences),
      T(test_long_messages)};
  return LEDGER_TESTS(tests);
}
