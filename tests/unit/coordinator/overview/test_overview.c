/* The overview over a real dispatch and ledger, with a clock that the test sets; and how long it takes:
 * PGSEAL_OVERVIEW_DATABASES=10000 measures it on SQLite and PostgreSQL. */
#include "tests/unit/coordinator/dispatch/recovery.h"
#include "tests/unit/coordinator/ledger/server.h"

#include <sqlite3.h>

#include "common/base/cleanup.h"
#include "coordinator/overview/overview.h"

typedef struct Scene {
  Fixture *f;
  Schedule *schedule;
  Overview *overview;
} Scene;

static int scene_setup(void **state) {
  Scene *s = memory_alloc(sizeof *s);
  setup((void **)&s->f);
  OK(schedule_open(s->f->dispatch, s->f->ledger, &s->schedule, &s->f->err));
  s->overview = overview_open(s->f->dispatch, s->f->ledger);
  overview_schedule(s->overview, s->schedule);
  *state = s;
  return 0;
}

static int scene_teardown(void **state) {
  Scene *s = *state;
  overview_close(s->overview);
  schedule_close(s->schedule);
  void *fixture = s->f;
  teardown(&fixture);
  free(s);
  return 0;
}

/* The last note of what was applied, if there is any. */
static char noted[256];

static void apply(Scene *s, const char *text) {
  json_t *report = NULL;
  if (dispatch_apply_fleet(s->f->dispatch, "fleet.yaml", text, strlen(text), &me, false, &report, &s->f->err))
    fail_msg("%s", s->f->err.message);
  const json_t *notes = json_object_get(report, "notes");
  const json_t *last = json_array_get(notes, json_array_size(notes) - 1);
  snprintf(noted, sizeof noted, "%s", last ? json_string_value(json_object_get(last, "message")) : "");
  json_decref(report);
}

static const OverviewRow *row_of(Scene *s, const char *database) {
  const OverviewRow *rows;
  size_t count;
  OK(overview_read(s->overview, &rows, &count, &s->f->err));
  assert_int_equal(count, fleet_count(dispatch_fleet(s->f->dispatch)));
  for (size_t i = 0; i < count; i++)
    if (strcmp(rows[i].database->config.name, database) == 0)
      return &rows[i];
  return NULL;
}

static void assert_row(Scene *s, const char *database, const char *id, const char *sealed_id, unsigned attention) {
  const OverviewRow *row = row_of(s, database);
  assert_non_null(row);
  if (!id) {
    assert_null(row->newest);
  } else {
    assert_string_equal(row->newest->id, id);
    assert_string_equal(row->newest->sealed_id ? row->newest->sealed_id : "", sealed_id ? sealed_id : "");
  }
  assert_int_equal(row->attention, attention);
  assert_int_equal(row->proof_age_seconds < 0, !sealed_id);
}

/* What events bring, it sees; nobody has to tell it. */
static void test_follows(void **state) {
  Scene *s = *state;
  assert_row(s, "shop", NULL, NULL, OVERVIEW_NEVER_SEALED);
  CLEANUP_FREE char *first = request(s->f, "shop", "t");
  assert_row(s, "shop", first, NULL, OVERVIEW_NEVER_SEALED);
  assert_int_equal(row_of(s, "shop")->newest->state, CHECKPOINT_REQUESTED);
  OK(dispatch_cancel(s->f->dispatch, first, &me, &s->f->err));
  assert_row(s, "shop", first, NULL, OVERVIEW_NEVER_SEALED); /* it is nobody's failure */
  CLEANUP_FREE char *second = sealed_of(s->f, "shop");
  assert_row(s, "shop", second, second, 0);
  assert_row(s, "prod-api", NULL, NULL, OVERVIEW_NEVER_SEALED);
  assert_int_equal(row_of(s, "shop")->newest->rows, 50);
  clock_moved_us += 90 * (int64_t)1000000;
  assert_in_range(row_of(s, "shop")->proof_age_seconds, 90, 100);
  assert_in_range(row_of(s, "shop")->data_age_seconds, 90, 100);

  CLEANUP_FREE char *third = stored(s->f, "shop", MANIFEST); /* one whose drill refutes it */
  JOB *drill = must_get(s->f, 2, DRILL);
  bool accepted;
  OK(drill_ends(s->f, 2, drill, 2, OUTCOME_FAILED, MANIFEST, drill->prefix, &accepted));
  assert_row(s, "shop", third, second, OVERVIEW_FAILING);
  assert_int_equal(row_of(s, "shop")->newest->failures, 1);
  OK(dispatch_hold(s->f->dispatch, HOLD_DATABASE, "shop", true, "moving", &me, &s->f->err));
  assert_string_equal(row_of(s, "shop")->cordoned->reason, "moving");
  CLEANUP_FREE char *fourth = sealed_of(s->f, "prod-api");
  assert_row(s, "prod-api", fourth, fourth, 0);
}

/* Objectives and schedules are those of the fleet in force; so is which databases there are. */
static void test_objectives(void **state) {
  Scene *s = *state;
  CLEANUP_FREE char *id = sealed_of(s->f, "shop");
  assert_row(s, "shop", id, id, 0);
  apply(s, "databases: [{name: a-new-one}]\n"
           "policies: [{name: all, objectives: {proof_age: 2h, restore_time: 1s, data_loss: 1h},\n"
           "            schedule: {cron: \"0 4 * * *\"}}]\n");
  assert_string_equal(noted, "objectives.restore_time of shop is 1s, but its last drill took 2.5 s");
  schedule_run(s->schedule);
  assert_row(s, "a-new-one", NULL, NULL, OVERVIEW_NEVER_SEALED);
  const OverviewRow *row = row_of(s, "shop");
  assert_true(row->proof_age_objective_seconds == 7200 && row->data_loss_objective_seconds == 3600 &&
              row->restore_objective_seconds == 1);
  const unsigned slow = OVERVIEW_RESTORE_SLOW; /* by the 2.5 s that its drill said */
  assert_true(row->next_run_us > dispatch_wall_us(s->f->dispatch));
  assert_int_equal(row->attention, slow);
  clock_moved_us += 3700 * (int64_t)1000000;
  assert_row(s, "shop", id, id, slow | OVERVIEW_DATA_OLD);
  clock_moved_us += 3600 * (int64_t)1000000;
  assert_row(s, "shop", id, id, slow | OVERVIEW_DATA_OLD | OVERVIEW_PROOF_OLD);
  apply(s, "policies: []\n");
  assert_row(s, "shop", id, id, 0);
  assert_null(row_of(s, "a-new-one"));
}

/* ---- how long it takes ---- */

static void fill(const char *sqlite_path, LedgerServer *server, const char *where, int databases) {
  CLEANUP_FREE char *sql = memory_format(
      "INSERT INTO checkpoint (number, id, database, tag, requested_by, state, created_us, finished_us, dump_attempt,"
      " manifest_sha256, proof_sha256, restore_drill, size_bytes, archive_bytes, tables, rows, server_major, seconds,"
      " detail) WITH RECURSIVE d (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM d WHERE i < %d),"
      " k (j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM k WHERE j < 30) "
      "SELECT j * 100000 + i, 'c' || (j * 100000 + i), 'db-' || (100000 + i), 'tag', 'ci',"
      " CASE WHEN (i + j) %% 9 = 0 THEN 'failed' ELSE 'sealed' END, 1700000000000000 + j * 3600000000, "
      " 1700000000000000 + j * 3600000000 + 60000000, 1, 'm', 'p', 'proven', 1000000, 9000000, 184, 9200000, 15, 94.5,"
      " '%s' FROM k, d ORDER BY j, i",
      databases,
      "{\"stages\": {\"dump\": {\"preflight\": 0.1, \"snapshot\": 0.2, \"roles\": 0.3, \"dumping\": 40.5, \"storing\": "
      "1.5, \"counting\": 0.1}, \"drill\": {\"prepare\": 1.5, \"roles\": 0.5, \"restore\": 60.5, \"index\": 20.5}}, "
      "\"omissions\": [{\"kind\": \"role_passwords\", \"object\": \"\", \"detail\": \"12 roles have passwords\"}], "
      "\"versions\": {\"server\": \"15.14\", \"pg_dump\": \"15.14\", \"image\": \"docker.io/library/postgres:15\"}, "
      "\"proven_us\": 1800000000000000, \"prefix\": \"db/01kb0000000000000000000000/attempt-1\", \"segments\": 12}");
  if (server) {
    assert_true(server_sql(server, where, sql));
    assert_true(server_sql(server, where, "ANALYZE"));
    return;
  }
  sqlite3 *db;
  assert_int_equal(sqlite3_open(sqlite_path, &db), SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static double read_ms(Scene *s, size_t databases) {
  const OverviewRow *rows;
  size_t count;
  int64_t began = clock_monotonic_us();
  OK(overview_read(s->overview, &rows, &count, &s->f->err));
  double ms = (double)(clock_monotonic_us() - began) / 1000;
  assert_true(count >= databases && rows[count / 2].newest);
  return ms;
}

static void touch(Scene *s, Ledger *ledger, int changes) {
  OK(ledger_begin(ledger, &s->f->err));
  for (int i = 0; i < changes; i++) {
    CLEANUP_FREE char *name = memory_format("db-%d", 100001 + i);
    LedgerEvent event = {.kind = (char *)"test", .database = name};
    OK(ledger_event_append(ledger, &event, &s->f->err));
  }
  OK(ledger_commit(ledger, &s->f->err));
}

static void measure(Scene *s, Ledger *ledger, const char *name, int databases) {
  overview_close(s->overview);
  s->overview = overview_open(s->f->dispatch, ledger);
  double first = read_ms(s, (size_t)databases), again = read_ms(s, (size_t)databases);
  touch(s, ledger, 1);
  double one = read_ms(s, (size_t)databases);
  touch(s, ledger, 100);
  double hundred = read_ms(s, (size_t)databases);
  print_message("%s, %d databases: the first time %.1f ms, then %.1f ms; with 1 changed %.1f ms, with 100 %.1f ms\n",
                name, databases, first, again, one, hundred);
}

static void declare(Scene *s, int databases) {
  size_t size = (size_t)databases * 32 + 64, used = 0;
  char *text = memory_alloc(size);
  used += (size_t)snprintf(text + used, size - used, "databases:\n");
  for (int i = 1; i <= databases; i++)
    used += (size_t)snprintf(text + used, size - used, "  - name: db-%d\n", 100000 + i);
  apply(s, text);
  free(text);
}

static void test_many(void **state) {
  Scene *s = *state;
  const char *wanted = getenv("PGSEAL_OVERVIEW_DATABASES");
  int databases = wanted ? atoi(wanted) : 50;
  declare(s, databases);
  fill(s->f->path, NULL, NULL, databases);
  measure(s, s->f->ledger, "SQLite", databases);
  assert_row(s, "db-100001", "c3000001", "c3000001", 0); /* 1 + 30 is no multiple of 9 */
  assert_row(s, "db-100006", "c3000006", "c2900006", OVERVIEW_FAILING);
  if (!wanted)
    return;
  LedgerServer *server = server_start();
  assert_non_null(server);
  CLEANUP_FREE char *where = server_schema(server);
  Ledger *ledger = NULL;
  OK(ledger_open(where, false, &ledger, &s->f->err));
  fill(NULL, server, where, databases);
  measure(s, ledger, "PostgreSQL", databases);
  assert_row(s, "db-100006", "c3000006", "c2900006", OVERVIEW_FAILING);
  overview_close(s->overview);
  s->overview = NULL;
  ledger_close(ledger);
  server_stop(server);
}

#define HOUR ((int64_t)3600 * 1000000)

/* Another coordinator, which does not lead: it asks for nothing, and shows when the next runs are all the same. */
static int64_t followed(Scene *s, Schedule *other) {
  int64_t before = 0, after = 1;
  ScheduleEntry one = {0};
  OK(ledger_sequence(s->f->ledger, &before, &s->f->err));
  schedule_follow(other);
  OK(ledger_sequence(s->f->ledger, &after, &s->f->err));
  assert_true(before == after && schedule_entry(other, "shop", &one));
  return one.due_us;
}

static void test_followers(void **state) {
  Scene *s = *state;
  Schedule *other = NULL;
  ScheduleEntry one;
  apply(s, "policies: [{name: all, schedule: {cron: \"0 * * * *\", time_zone: UTC}}]\n");
  OK(schedule_open(s->f->dispatch, s->f->ledger, &other, &s->f->err));
  for (int i = 0; i < 3; i++) {
    clock_moved_us += HOUR;
    int64_t due = followed(s, other);
    while (schedule_run(s->schedule) == 0)
      ;
    assert_true(schedule_entry(s->schedule, "shop", &one) && one.due_us == due);
  }
  clock_moved_us += 24 * 365 * HOUR; /* however long nobody leads */
  assert_in_range(followed(s, other) - dispatch_wall_us(s->f->dispatch), 1, HOUR);
  apply(s, "policies: [{name: all, match: {names: [shop]}, schedule: {cron: \"30 * * * *\", time_zone: UTC}}]\n");
  assert_int_equal(followed(s, other) / (HOUR / 60) % 60, 30);
  assert_false(schedule_entry(other, "prod-api", &one));
  schedule_close(other);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, scene_setup, scene_teardown)
  const struct CMUnitTest tests[] = {T(test_follows), T(test_objectives), T(test_many), T(test_followers)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
