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

static void expect_note(const json_t *report, const char *text, bool expected) {
  CLEANUP_FREE char *notes = json_dumps(json_object_get(report, "notes"), JSON_INDENT(1) | JSON_ENCODE_ANY);
  if ((strstr(notes, text) != NULL) != expected)
    fail_msg("%s is %s: %s", text, expected ? "missing" : "told", notes);
}

/* The last ones to be dropped: what the others are members of. */
static const char drop_roles[] = "DROP ROLE IF EXISTS \"Lost\", \"Visitor\", \"Group\", power, login_only";

static const char lost_sql[] =
    "CREATE ROLE power CREATEROLE; CREATE ROLE \"Group\" NOINHERIT; GRANT \"Group\" TO reader;"
    "CREATE ROLE \"Lost\" LOGIN SUPERUSER BYPASSRLS NOINHERIT CONNECTION LIMIT 3 VALID UNTIL '2040-01-01' PASSWORD 'x';"
    "ALTER ROLE \"Lost\" SET search_path = 'a', 'b''s'; ALTER ROLE \"Lost\" SET log_statement = 'none';"
    "COMMENT ON ROLE \"Lost\" IS 'it''s gone'; CREATE ROLE login_only LOGIN; GRANT \"Lost\" TO login_only;"
    "GRANT \"Group\" TO \"Lost\" WITH ADMIN OPTION; GRANT power, pg_monitor TO \"Lost\"; CREATE ROLE \"Visitor\";"
    "GRANT CONNECT ON DATABASE shop TO \"Visitor\"";

/* What of a role is here: attributes, settings, comment, password, memberships. */
static const char lost_is[] =
    "SELECT concat_ws('|', r.rolcanlogin, r.rolsuper, r.rolbypassrls, r.rolinherit, r.rolconnlimit,"
    " r.rolvaliduntil AT TIME ZONE 'UTC', r.rolconfig, shobj_description(r.oid, 'pg_authid'), a.rolpassword IS NULL,"
    " (SELECT string_agg(m.roleid::regrole || ' ' || m.admin_option, ',' ORDER BY m.roleid) FROM pg_auth_members m"
    "  WHERE m.member = r.oid)) FROM pg_roles r JOIN pg_authid a ON a.oid = r.oid WHERE r.rolname = 'Lost'";

/* Roles come back as they were, with nothing that reaches beyond the database. */
static void test_roles(void **state) {
  Fixture *fixture = *state;
  Error err;
  sql(fixture, "postgres", lost_sql);
  run_sql(fixture, "GRANT SELECT ON orders TO \"Lost\"");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "REVOKE SELECT ON orders FROM \"Lost\"; REVOKE CONNECT ON DATABASE shop FROM \"Visitor\"");
  sql(fixture, "postgres", "DROP ROLE \"Lost\", \"Visitor\", \"Group\", login_only");
  expect_refused(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"other\"}", ERR_ROLE_MISSING,
                 "\"Visitor\"", &err);
  assert_non_null(strstr(err.message, "\"Lost\""));
  expect_no_database(fixture, "other");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"other\",\"roles\":true}");
  expect_flag(report, "verified", true);
  expect_note(report, "It has no password", true);
  expect_note(report, "SUPERUSER, BYPASSRLS, SET log_statement, member of pg_monitor (", true);
  expect_note(report, "member of power (which reaches beyond the database)", true);
  expect_note(report, "members of the roles above: login_only", true);
  expect_note(report, "are not any more: reader (of \\\"Group\\\")", true);
  json_decref(report);
  expect_in(fixture, "other", lost_is,
            "t|f|f|f|3|2040-01-01 00:00:00|{\"search_path=a, \\\"b's\\\"\"}|it's gone|t|\"Group\" true");
  expect_in(fixture, "other", "SELECT has_table_privilege('Lost', 'orders', 'SELECT')", "t");
  expect_in(fixture, "other", "SELECT datacl::text ~ 'Visitor' FROM pg_database WHERE datname = 'other'", "t");
  expect_in(fixture, "other", "SELECT rolcanlogin OR rolinherit FROM pg_roles WHERE rolname = 'Group'", "f");
  expect_refused_as(fixture, &sealed, "reader", "{\"mode\":\"new_database\",\"target_name\":\"third\"}", ERR_FORBIDDEN,
                    "create databases", &err);
  sql(fixture, "postgres", "DROP DATABASE other");
  /* what is there stays as it is */
  sql(fixture, "postgres", "DROP ROLE \"Visitor\"; ALTER ROLE \"Lost\" NOLOGIN INHERIT VALID UNTIL 'infinity'");
  report = restored(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"other\",\"roles\":true}");
  expect_note(report, "SUPERUSER, BYPASSRLS, NOINHERIT, LOGIN, VALID UNTIL '2040", true);
  expect_note(report, "', SET log_statement TO 'none', member of pg_monitor, member of power.", true);
  expect_note(report, "SET search_path", false);
  expect_note(report, "Role \\\"Visitor\\\" was made", true);
  json_decref(report);
  expect_in(fixture, "other", "SELECT rolcanlogin OR rolsuper FROM pg_roles WHERE rolname = 'Lost'", "f");
  sql(fixture, "postgres", "DROP DATABASE other");
  sql(fixture, "postgres", drop_roles);
}

static Status cancel_hook(JobChannel *channel, Error *err) {
  return strcmp(channel->phase, "verifying") == 0 ? error_set(err, ERR_CANCELED, "canceled") : STATUS_OK;
}

static void test_half(void **state) {
  Fixture *fixture = *state;
  Error err;
  sql(fixture, "postgres", "CREATE ROLE \"Lost\"");
  run_sql(fixture, "GRANT SELECT ON orders TO \"Lost\"");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "REVOKE SELECT ON orders FROM \"Lost\"; DROP ROLE \"Lost\"");
  fixture->channel.hook = cancel_hook;
  expect_refused(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"half\",\"roles\":true}", ERR_CANCELED,
                 "nothing is left", &err);
  expect_no_database(fixture, "half");
  assert_int_equal(sql_number(fixture, "SELECT count(*) FROM pg_roles WHERE rolname = 'Lost'"), 0);
}

/* Who is no superuser makes the owners, and is a member of them from then on. */
static void test_maker(void **state) {
  Fixture *fixture = *state;
  json_t *report = NULL;
  Error err;
  sql(fixture, "postgres", "CREATE ROLE maker LOGIN CREATEDB CREATEROLE; CREATE ROLE mine LOGIN");
  sql(fixture, "postgres", "CREATE DATABASE small OWNER mine");
  sql(fixture, "small", "CREATE TABLE t AS SELECT 7 AS v; ALTER TABLE t OWNER TO mine");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "small");
  sql(fixture, "postgres", "DROP DATABASE small");
  sql(fixture, "postgres", "DROP ROLE mine");
  if (run_restore_as(fixture, &sealed, "maker", "postgres",
                     "{\"mode\":\"new_database\",\"target_name\":\"small\",\"roles\":true,\"other_database\":true}",
                     &report, &err) != STATUS_OK)
    fail_msg("%s (%s)", err.message, err.remedy);
  expect_flag(report, "verified", true);
  expect_note(report, "maker, is a member of it now", true);
  json_decref(report);
  expect_in(fixture, "small", "SELECT tableowner || v FROM pg_tables, t WHERE tablename = 't'", "mine7");
  sql(fixture, "postgres", "DROP DATABASE small");
  sql(fixture, "postgres", "DROP ROLE mine, maker");
}

/* Another one is at work: in the database that is restored from, or in the one that is filled. */
static void test_alone(void **state) {
  Fixture *fixture = *state;
  Error err;
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  static const struct {
    const char *database, *lock;
  } places[] = {{"shop", "SELECT pg_advisory_lock(123589619966317)"},
                {"empty", "SELECT pg_advisory_lock(123589619966316)"}};
  sql(fixture, "postgres", "CREATE DATABASE empty TEMPLATE template0");
  for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
    PGconn *other = connect_to(fixture, places[i].database, "postgres");
    PQclear(PQexec(other, places[i].lock));
    expect_refused(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"empty\",\"replace\":true}",
                   ERR_CONFLICT, "another restore", &err);
    PQfinish(other);
  }
  expect_in(fixture, "empty", "SELECT count(*) FROM pg_class WHERE relname = 'orders'", "0");
  sql(fixture, "postgres", "DROP DATABASE empty");
}

static const char *spoil;

static Status spoil_hook(JobChannel *channel, Error *err) {
  (void)err;
  const Fixture *fixture = channel->user;
  if (strcmp(channel->phase, "verifying") == 0 && fixture) {
    channel->user = NULL;
    sql(fixture, "half", spoil);
  }
  return STATUS_OK;
}

/* Somebody writes to it before it is read back: as many rows and large objects as there were are not the same ones. */
static void test_verified(void **state) {
  Fixture *fixture = *state;
  Error err;
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  static const struct {
    const char *spoil, *says;
  } cases[] = {{"SELECT lo_put(4713, 5000000, 'X')", "large object 4713"},
               {"SELECT lo_create(4714)", "4 large objects, the checkpoint 3"},
               {"UPDATE orders SET note = 'w' WHERE id = 1", "public.orders, read back from the target"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    spoil = cases[i].spoil;
    fixture->channel.phase[0] = '\0'; /* that of the one before */
    fixture->channel.hook = spoil_hook;
    fixture->channel.user = fixture;
    expect_refused(fixture, &sealed, "{\"mode\":\"new_database\",\"target_name\":\"half\"}", ERR_ROUND_TRIP_DIFFERS,
                   cases[i].says, &err);
    assert_null(fixture->channel.user);
    expect_no_database(fixture, "half");
  }
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
      cmocka_unit_test(test_whole), cmocka_unit_test(test_dress), cmocka_unit_test(test_verified),
      cmocka_unit_test(test_roles), cmocka_unit_test(test_alone), cmocka_unit_test(test_maker),
      cmocka_unit_test(test_half),  cmocka_unit_test(test_fails), cmocka_unit_test(test_versions),
  };
  return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
