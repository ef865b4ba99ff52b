/* A whole checkpoint into a database of its own; and targets of other major versions. */
#include "tests/unit/agent/recovery/restore_fixture.h"

static int setup(void **state) {
  recovery_setup(state);
  return 0;
}

static char *text_in(const Fixture *fixture, const char *database, const char *query) {
  PGconn *connection = connect_to(fixture, database, "postgres");
  PGresult *result = PQexec(connection, query);
  if (PQresultStatus(result) != PGRES_TUPLES_OK)
    fail_msg("%s: %s", query, PQerrorMessage(connection));
  char *text = memory_strdup(PQgetvalue(result, 0, 0));
  PQclear(result);
  PQfinish(connection);
  return text;
}

static void expect_in(const Fixture *fixture, const char *database, const char *query, const char *expected) {
  CLEANUP_FREE char *found = text_in(fixture, database, query);
  assert_string_equal(found, expected);
}

static void expect_no_database(const Fixture *fixture, const char *name) {
  CLEANUP_FREE char *query = memory_format("SELECT count(*) FROM pg_database WHERE datname = '%s'", name);
  assert_int_equal(sql_number(fixture, query), 0);
}

static const char rows[] = "SELECT md5(string_agg(o::text, ',' ORDER BY id)) FROM orders o";

static void test_whole(void **state) {
  Fixture *fixture = *state;
  Error err;
  run_sql(fixture, "SELECT lo_from_bytea(4711, 'large'); SELECT lo_create(4712);"
                   "SELECT lo_from_bytea(4713, convert_to(repeat('some more ', 900000), 'UTF8'))");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  CLEANUP_FREE char *before = shop_text(fixture, rows);
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"The \\\"copy\\\"\"}");
  expect_flag(report, "verified", true);
  expect_flag(report, "committed", true);
  assert_int_equal(json_array_size(json_object_get(report, "tables")), 10);
  json_decref(report);
  expect_in(fixture, "The \"copy\"", rows, before);
  expect_in(fixture, "The \"copy\"", "SELECT convert_from(lo_get(4711), 'UTF8')", "large");
  expect_in(fixture, "The \"copy\"", "SELECT sum(length(lo_get(oid))) FROM pg_largeobject_metadata", "9000005");
  expect_in(fixture, "The \"copy\"", "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND convalidated", "2");
  expect_in(fixture, "The \"copy\"",
            "SELECT shobj_description(oid, 'pg_database') IS NULL FROM pg_database WHERE datname = current_database()",
            "t");
  expect_refused(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"The \\\"copy\\\"\"}", ERR_CONFLICT,
                 "already", &err);
  expect_refused(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"The \\\"copy\\\"\",\"replace\":true}",
                 ERR_CONFLICT, "not empty", &err);
  sql(fixture, "postgres", "CREATE DATABASE empty TEMPLATE template0");
  report = restored(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"empty\",\"replace\":true}");
  expect_flag(report, "verified", true);
  json_decref(report);
  expect_in(fixture, "empty", rows, before);
  sql(fixture, "postgres", "DROP DATABASE empty");
}

/* What belongs to the database itself, under its other name. */
static void test_dress(void **state) {
  Fixture *fixture = *state;
  sql(fixture, "postgres", "CREATE ROLE \"Owner of\"");
  sql(fixture, "postgres", "CREATE DATABASE \"my DATABASE\" OWNER \"Owner of\"");
  sql(fixture, "postgres",
      "ALTER DATABASE \"my DATABASE\" SET work_mem = '7MB'; ALTER DATABASE \"my DATABASE\" CONNECTION LIMIT 17;"
      "ALTER ROLE \"Owner of\" IN DATABASE \"my DATABASE\" SET search_path = 'a, DATABASE b';"
      "COMMENT ON DATABASE \"my DATABASE\" IS 'the DATABASE x; it''s'; REVOKE ALL ON DATABASE \"my DATABASE\" FROM "
      "PUBLIC;"
      "GRANT CONNECT ON DATABASE \"my DATABASE\" TO reader");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "'my DATABASE'");
  json_t *report = NULL;
  Error err;
  if (run_restore_as(fixture, &sealed, "postgres", "'my DATABASE'",
                     "{\"mode\":\"new_database\",\"target_name\":\"dressed\"}", &report, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  expect_flag(report, "verified", true);
  json_decref(report);
  expect_in(
      fixture, "dressed",
      "SELECT concat_ws('|', r.rolname, datconnlimit, shobj_description(d.oid, 'pg_database'),"
      " has_database_privilege('public', d.oid, 'CONNECT'), has_database_privilege('reader', d.oid, 'CONNECT'),"
      " current_setting('work_mem'), (SELECT setconfig::text FROM pg_db_role_setting s WHERE s.setdatabase = d.oid"
      " AND s.setrole = d.datdba)) FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba"
      " WHERE datname = current_database()",
      "Owner of|17|the DATABASE x; it's|f|t|7MB|{\"search_path=\\\"a, DATABASE b\\\"\"}");
  sql(fixture, "postgres", "DROP DATABASE dressed");
  sql(fixture, "postgres", "DROP DATABASE \"my DATABASE\"");
  sql(fixture, "postgres", "DROP ROLE \"Owner of\"");
}

static void test_roles(void **state) {
  Fixture *fixture = *state;
  Error err;
  sql(fixture, "postgres", "CREATE ROLE \"Lost\" LOGIN");
  run_sql(fixture, "GRANT SELECT ON orders TO \"Lost\"");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "REVOKE SELECT ON orders FROM \"Lost\"");
  sql(fixture, "postgres", "DROP ROLE \"Lost\"");
  expect_refused(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"other\"}", ERR_ROLE_MISSING,
                 "\"Lost\"", &err);
  expect_no_database(fixture, "other");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"other\",\"roles\":true}");
  expect_flag(report, "verified", true);
  json_decref(report);
  assert_int_equal(sql_number(fixture, "SELECT count(*) FROM pg_roles WHERE rolname = 'Lost' AND NOT rolcanlogin"), 1);
  expect_in(fixture, "other", "SELECT has_table_privilege('Lost', 'orders', 'SELECT')", "t");
  expect_refused_as(fixture, &sealed, "reader", "{\"mode\":\"new_database\",\"target_name\":\"third\"}", ERR_FORBIDDEN,
                    "create databases", &err);
  sql(fixture, "postgres", "DROP DATABASE other");
  sql(fixture, "postgres", "DROP ROLE \"Lost\"");
}

static Status cancel_hook(JobChannel *channel, Error *err) {
  return strcmp(channel->phase, "verifying") == 0 ? error_set(err, ERR_CANCELED, "canceled") : STATUS_OK;
}

static void test_half(void **state) {
  Fixture *fixture = *state;
  Error err;
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  fixture->channel.hook = cancel_hook;
  expect_refused(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"half\"}", ERR_CANCELED,
                 "nothing is left", &err);
  expect_no_database(fixture, "half");
}

static Status spoil_hook(JobChannel *channel, Error *err) {
  (void)err;
  const Fixture *fixture = channel->user;
  if (strcmp(channel->phase, "verifying") == 0 && fixture) {
    channel->user = NULL;
    sql(fixture, "half", "SELECT lo_put(4713, 5000000, 'X')");
  }
  return STATUS_OK;
}

/* As many large objects as there were are not the same ones. */
static void test_large_objects(void **state) {
  Fixture *fixture = *state;
  Error err;
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  fixture->channel.hook = spoil_hook;
  fixture->channel.user = fixture;
  expect_refused(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"half\"}", ERR_ROUND_TRIP_DIFFERS,
                 "large object 4713", &err);
  assert_null(fixture->channel.user);
  expect_no_database(fixture, "half");
}

/* A constraint that looks at another table, which is empty while rows are restored. */
static void test_fails(void **state) {
  Fixture *fixture = *state;
  Error err;
  sql(fixture, "postgres", "DROP DATABASE IF EXISTS broken");
  sql(fixture, "postgres", "CREATE DATABASE broken");
  sql(fixture, "broken",
      "CREATE TABLE limits (most int); INSERT INTO limits VALUES (10000);"
      "CREATE FUNCTION fits(int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 < COALESCE((SELECT max(most) FROM "
      "public.limits), 0)';"
      "CREATE TABLE a_values (v int CHECK (fits(v))); INSERT INTO a_values VALUES (7777)");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "broken");
  json_t *report = NULL;
  Status status = run_restore_as(fixture, &sealed, "postgres", "broken",
                                 "{\"mode\":\"new_database\",\"target_name\":\"half\"}", &report, &err);
  json_decref(report);
  assert_int_not_equal(status, STATUS_OK);
  assert_non_null(strstr(err.message, "a_values"));
  assert_non_null(strstr(err.message, "nothing is left"));
  assert_null(strstr(err.message, "7777"));
  expect_no_database(fixture, "half");
}

/* The manifest says another major than the server has. */
static void claim_major(const Fixture *fixture, Sealed *sealed, int major) {
  Error err = {0};
  CLEANUP(json_decrefp) json_t *json = NULL;
  Repository *repository = NULL;
  Recipients *recipients = NULL;
  SigningKey *signer = NULL;
  char ignored[SHA256_HEX_SIZE];
  CLEANUP_FREE char *key = manifest_key(sealed->prefix);
  CLEANUP_FREE char *path = memory_format("%s/%s", fixture->repository_directory, key);
  CLEANUP_FREE char *signature = memory_format("%s.sig", path);
  assert_int_equal(directory_repository_open(fixture->repository_directory, &repository, &err), STATUS_OK);
  assert_int_equal(recipients_load(fixture->recipients, 1, &recipients, &err), STATUS_OK);
  assert_int_equal(signing_key_load(fixture->signing_path, &signer, &err), STATUS_OK);
  assert_int_equal(document_get(repository, key, "manifest", fixture->public_key, fixture->key, &json, ignored, &err),
                   STATUS_OK);
  assert_int_equal(json_object_set_new(json_object_get(json, "source"), "server_major", json_integer(major)), 0);
  assert_int_equal(unlink(path), 0);
  assert_int_equal(unlink(signature), 0);
  assert_int_equal(document_put(repository, key, json, "manifest", signer, recipients, sealed->sha256, &err),
                   STATUS_OK);
  signing_key_free(signer);
  recipients_free(recipients);
  repository_close(repository);
}

static void test_versions(void **state) {
  Fixture *fixture = *state;
  Error err;
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE audit.history");
  const char *request = "{\"mode\":\"in_place\",\"tables\":[\"audit.history\"]}";
  claim_major(fixture, &sealed, 17);
  expect_refused(fixture, &sealed, request, ERR_VERSION_MISMATCH, "newer", &err);
  assert_non_null(strstr(err.remedy, "17"));
  expect_shop(fixture, "SELECT count(*) FROM pg_class WHERE relname = 'history'", "0");
  claim_major(fixture, &sealed, 13);
  json_t *report = restored(fixture, &sealed, request);
  CLEANUP_FREE char *notes = json_dumps(json_object_get(report, "notes"), 0);
  assert_non_null(strstr(notes, "PostgreSQL 15, the checkpoint is of 13"));
  json_decref(report);
  expect_shop(fixture, "SELECT count(*) FROM audit.history", "10000");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_whole),    cmocka_unit_test(test_dress), cmocka_unit_test(test_large_objects),
      cmocka_unit_test(test_roles),    cmocka_unit_test(test_half),  cmocka_unit_test(test_fails),
      cmocka_unit_test(test_versions),
  };
  return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
