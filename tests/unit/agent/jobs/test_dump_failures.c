/* The dump job when something is in its way: what it cannot read, locks, lost connections, cancel. */
#include "common/base/clock.h"
#include "tests/unit/agent/jobs/dump_fixture.h"

enum { PROMPT_US = 8000000 };

static int setup(void **state) {
  fixture_setup(state);
  sql(*state, "postgres",
      "CREATE ROLE reader LOGIN; CREATE SCHEMA hidden;"
      "CREATE TABLE big (a int, t text);"
      "INSERT INTO big SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 120000) g;"
      "CREATE TABLE small (a int); GRANT SELECT ON big, small TO reader");
  return 0;
}

static void test_unreadable(void **state) {
  Error err;
  sql(*state, "postgres",
      "CREATE TABLE \"Se cret\" (a int); CREATE TABLE hidden.open (a int);"
      "GRANT SELECT ON hidden.open TO reader; CREATE SEQUENCE s");
  expect_failure(*state, "user=reader dbname=postgres", ERR_TABLE_UNREADABLE, &err);
  assert_non_null(strstr(err.message, "public.\"Se cret\""));
  assert_non_null(strstr(err.message, "hidden.open")); /* no USAGE on its schema */
  assert_non_null(strstr(err.message, "public.s"));
  assert_non_null(strstr(err.remedy, "GRANT SELECT ON "));
  assert_true(strlen(err.object) > 0);
  sql(*state, "postgres", "DROP TABLE \"Se cret\", hidden.open; DROP SEQUENCE s");
  /* Whoever may make a schema must not choose what is pasted. */
  sql(*state, "postgres", "CREATE SCHEMA \"x\"\" TO a;--\"; CREATE TABLE \"x\"\" TO a;--\".t (a int)");
  expect_failure(*state, "user=reader dbname=postgres", ERR_TABLE_UNREADABLE, &err);
  assert_non_null(strstr(err.remedy, "GRANT USAGE ON SCHEMA \"x\"\" TO a;--\" TO \"reader\"; GRANT SELECT ON table "
                                     "\"x\"\" TO a;--\".t TO \"reader\";"));
  sql(*state, "postgres", "DROP SCHEMA \"x\"\" TO a;--\" CASCADE");
}

static void test_unreadable_large_object(void **state) {
  Error err;
  sql(*state, "postgres",
      "SELECT lo_from_bytea(4711, 'x'), lo_from_bytea(4712, 'y'); GRANT SELECT ON LARGE OBJECT 4712 TO reader");
  expect_failure(*state, "user=reader dbname=postgres", ERR_TABLE_UNREADABLE, &err);
  assert_string_equal(err.object, "large object 4711");
  sql(*state, "postgres", "SELECT lo_unlink(4711), lo_unlink(4712)");
}

static void test_row_security(void **state) {
  Error err;
  sql(*state, "postgres",
      "CREATE TABLE mine (a int); GRANT SELECT ON mine TO reader; ALTER TABLE mine ENABLE ROW LEVEL SECURITY");
  expect_failure(*state, "user=reader dbname=postgres", ERR_ROW_SECURITY, &err);
  assert_string_equal(err.object, "public.mine");
  assert_non_null(strstr(err.remedy, "BYPASSRLS"));
  /* the owner and superusers are not subject to it */
  Pgseal__JobResult *result = NULL;
  assert_int_equal(run_dump(*state, "user=postgres dbname=postgres", &result, &err), STATUS_OK);
  pgseal__job_result__free_unpacked(result, NULL);
  sql(*state, "postgres", "DROP TABLE mine");
}

static void test_refused(void **state) {
  Error err;
  expect_failure(*state, "user=postgres dbname=nosuch", ERR_DATABASE_REFUSED, &err);
  sql(*state, "postgres", "CREATE ROLE locked LOGIN PASSWORD 'right'");
  expect_failure(*state, "user=locked dbname=postgres password=wrong-guess", ERR_DATABASE_REFUSED, &err);
  assert_null(strstr(err.message, "wrong-guess"));
  expect_failure(*state, "user=postgres port=1 dbname=postgres", ERR_DATABASE_UNREACHABLE, &err);
}

static void test_not_configured(void **state) {
  Fixture *fixture = *state;
  Error err;
  fixture->config.database_count = 0;
  expect_failure(fixture, "dbname=postgres", ERR_NOT_FOUND, &err);
  fixture->config.database_count = 1;
}

static void test_locked(void **state) {
  Error err;
  PGconn *migration = connect_to(*state, "postgres", "postgres");
  sql_on(migration, "BEGIN; LOCK TABLE small IN ACCESS EXCLUSIVE MODE");
  int64_t started = clock_monotonic_us();
  expect_failure(*state, "user=postgres dbname=postgres", ERR_LOCK_TIMEOUT, &err);
  assert_true(clock_monotonic_us() - started < PROMPT_US);
  assert_string_equal(err.object, "public.small");
  assert_non_null(strstr(err.message, "test")); /* who holds it */
  PQfinish(migration);
}

/* ---- in mid-dump ---- */

static bool is_streaming(const JobChannel *channel) {
  return strcmp(channel->phase, "dumping") == 0 && channel->bytes > 4 << 20;
}

static Status cancel_hook(JobChannel *channel, Error *err) {
  return is_streaming(channel) ? error_set(err, ERR_CANCELED, "canceled") : STATUS_OK;
}

static void expect_nothing_left(Fixture *fixture) {
  for (int i = 0; i < 50; i++) {
    if (sql_number(fixture,
                   "SELECT count(*) FROM pg_stat_activity WHERE application_name IN ('pg_dump', 'pgseal dump')") == 0)
      return;
    usleep(100000);
  }
  fail_msg("sessions of the dump are still there");
}

static void expect_prompt_failure(Fixture *fixture, Status expected) {
  Error err;
  int64_t started = clock_monotonic_us();
  expect_failure(fixture, "user=postgres dbname=postgres", expected, &err);
  assert_true(clock_monotonic_us() - started < PROMPT_US);
  expect_nothing_left(fixture);
  /* no manifest: nothing was committed */
  CLEANUP_FREE char *manifest =
      memory_format("%s/%smanifest.json.cms", fixture->repository_directory, fixture->job.prefix);
  assert_false(file_exists(manifest));
}

static void test_canceled(void **state) {
  Fixture *fixture = *state;
  fixture->channel.hook = cancel_hook;
  expect_prompt_failure(fixture, ERR_CANCELED);
}

static Status cancel_early_hook(JobChannel *channel, Error *err) {
  return strcmp(channel->phase, "dumping") == 0 ? error_set(err, ERR_CANCELED, "canceled") : STATUS_OK;
}

static void test_canceled_early(void **state) {
  Fixture *fixture = *state;
  fixture->channel.hook = cancel_early_hook;
  expect_prompt_failure(fixture, ERR_CANCELED);
}

static void terminate(JobChannel *channel, const char *application) {
  if (!is_streaming(channel) || !channel->user)
    return;
  CLEANUP_FREE char *text = memory_format(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '%s'", application);
  sql(channel->user, "postgres", text);
  channel->user = NULL; /* once */
}

static Status kill_dump_hook(JobChannel *channel, Error *err) {
  (void)err;
  terminate(channel, "pg_dump");
  return STATUS_OK;
}

static Status kill_sessions_hook(JobChannel *channel, Error *err) {
  (void)err;
  terminate(channel, "pgseal dump");
  return STATUS_OK;
}

static void test_dump_connection_lost(void **state) {
  Fixture *fixture = *state;
  fixture->channel.hook = kill_dump_hook;
  fixture->channel.user = fixture;
  expect_prompt_failure(fixture, ERR_DATABASE_LOST);
  assert_null(fixture->channel.user);
}

/* The counts may be complete by then; so a slow table makes sure that they are not. */
static void test_count_connection_lost(void **state) {
  Fixture *fixture = *state;
  sql(fixture, "postgres",
      "CREATE FUNCTION slow(int) RETURNS bool LANGUAGE sql VOLATILE AS 'SELECT pg_sleep(60) IS NOT NULL';"
      "CREATE EXTENSION hstore; CREATE TABLE settings (a int); INSERT INTO settings VALUES (1);"
      "ALTER EXTENSION hstore ADD TABLE settings; SET allow_system_table_mods = on;"
      "UPDATE pg_extension SET extconfig = ARRAY['settings'::regclass::oid],"
      " extcondition = ARRAY['WHERE public.slow(a)'] WHERE extname = 'hstore'");
  fixture->channel.hook = kill_sessions_hook;
  fixture->channel.user = fixture;
  expect_prompt_failure(fixture, ERR_DATABASE_LOST);
  /* and a cancel does not wait for the query that is being counted with */
  fixture->channel.hook = cancel_hook;
  expect_prompt_failure(fixture, ERR_CANCELED);
  sql(fixture, "postgres", "DROP EXTENSION hstore; DROP FUNCTION slow");
}

/* A migration that queues for its lock in mid-dump waits for the dump; the dump does not wait for it. */
static Status migrate_hook(JobChannel *channel, Error *err) {
  (void)err;
  if (is_streaming(channel) && channel->user) {
    PGconn *migration = channel->user;
    assert_int_equal(PQsendQuery(migration, "ALTER TABLE big ADD COLUMN b int; ALTER TABLE small ADD COLUMN b int;"
                                            "TRUNCATE big"),
                     1);
    channel->user = NULL;
  }
  return STATUS_OK;
}

static void test_migration_waits(void **state) {
  Fixture *fixture = *state;
  Error err = {0};
  PGconn *migration = connect_to(fixture, "postgres", "postgres");
  fixture->channel.hook = migrate_hook;
  fixture->channel.user = migration;
  Pgseal__JobResult *result = NULL;
  if (run_dump(fixture, "user=postgres dbname=postgres", &result, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  assert_null(fixture->channel.user);
  assert_int_equal(result->dump->rows, 120000);
  fixture->channel.hook = NULL;
  pgseal__job_result__free_unpacked(result, NULL);
  PGresult *answer = PQgetResult(migration);
  assert_int_equal(PQresultStatus(answer), PGRES_COMMAND_OK);
  PQclear(answer);
  PQfinish(migration);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unreadable),
      cmocka_unit_test(test_unreadable_large_object),
      cmocka_unit_test(test_row_security),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_not_configured),
      cmocka_unit_test(test_locked),
      cmocka_unit_test(test_canceled),
      cmocka_unit_test(test_canceled_early),
      cmocka_unit_test(test_dump_connection_lost),
      cmocka_unit_test(test_count_connection_lost),
      cmocka_unit_test(test_migration_waits),
  };
  return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
