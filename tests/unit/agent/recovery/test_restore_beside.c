/* Restores beside live tables: what differs, the script that puts it right, and that it touches nothing else. */
#include "tests/unit/agent/recovery/restore_fixture.h"

static int setup(void **state) {
  recovery_setup(state);
  sql(*state, "postgres", "CREATE ROLE app; CREATE ROLE limited LOGIN");
  return 0;
}

static const char invoices[] =
    "CREATE TABLE customers (id int PRIMARY KEY, name text);"
    "CREATE TABLE invoices (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id int REFERENCES customers,"
    " total numeric(12,2) NOT NULL, final boolean DEFAULT false, note text, gross numeric GENERATED ALWAYS AS (total * "
    "1.2)"
    " STORED); CREATE TABLE lines (invoice_id bigint REFERENCES invoices ON DELETE CASCADE, n int, what text,"
    " PRIMARY KEY (invoice_id, n));"
    "INSERT INTO customers SELECT g, 'c' || g FROM generate_series(1, 20) g;"
    "INSERT INTO invoices (customer_id, total, final, note) SELECT g % 20 + 1, g / 7.0, g % 3 = 0, 'secret ' || g"
    " FROM generate_series(1, 3000) g;"
    "INSERT INTO lines SELECT g, 1, 'line' FROM generate_series(1, 3000) g";

static json_t *difference_of(const json_t *report, const char *name) {
  size_t index;
  json_t *item;
  json_array_foreach(json_object_get(report, "differences"), index, item) {
    if (strcmp(json_string_value(json_object_get(item, "name")), name) == 0)
      return item;
  }
  fail_msg("no difference of %s", name);
  return NULL;
}

static void expect_number(const json_t *object, const char *member, json_int_t expected) {
  const json_t *value = json_object_get(object, member);
  if (!json_is_integer(value) || json_integer_value(value) != expected)
    fail_msg("%s is %lld, not %lld", member, (long long)json_integer_value(value), (long long)expected);
}

/* A request that runs the script of the report. */
static char *script_request(const Fixture *fixture, const json_t *report) {
  const char *digest = json_string_value(json_object_get(report, "script_sha256"));
  assert_non_null(digest);
  return memory_format("{\"mode\":\"script\",\"script_of\":\"restore-%d\",\"script_sha256\":\"%s\"}", fixture->attempt,
                       digest);
}

static char *rows_of(const Fixture *fixture, const char *table) {
  CLEANUP_FREE char *query = memory_format("SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM %s t", table);
  return shop_text(fixture, query);
}

/* The wrong DELETE, with writes going on and a row that was re-created since. */
static void test_delete(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, invoices);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture,
          "DELETE FROM invoices WHERE id > 500; UPDATE invoices SET note = 'since' WHERE id <= 10;"
          "INSERT INTO invoices (customer_id, total) VALUES (1, 5), (2, 6);"
          "INSERT INTO invoices (id, customer_id, total, note) OVERRIDING SYSTEM VALUE VALUES (700, 3, 9, 'again')");
  CLEANUP_FREE char *live = rows_of(fixture, "invoices");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"invoices\",\"lines\"]}");
  expect_flag(report, "verified", true);
  assert_string_equal(json_string_value(json_object_get(report, "schema")), "pgseal_rescue_zzzzzzzz");
  const json_t *of = difference_of(report, "invoices");
  expect_number(of, "missing", 2499);
  expect_number(of, "changed", 11);
  expect_number(of, "new", 2);
  expect_number(json_object_get(of, "columns"), "note", 11);
  expect_number(json_object_get(of, "columns"), "total", 1);
  expect_number(difference_of(report, "lines"), "missing", 2500);
  const char *script = json_string_value(json_object_get(report, "script"));
  assert_non_null(script);
  assert_null(strstr(script, "secret"));
  assert_true(strstr(script, "public.invoices") < strstr(script, "public.lines"));
  CLEANUP_FREE char *untouched = rows_of(fixture, "invoices");
  assert_string_equal(live, untouched);
  expect_shop(fixture, "SELECT count(*) FROM pgseal_rescue_zzzzzzzz.invoices", "3000");
  expect_shop(fixture, "SELECT has_schema_privilege('app', 'pgseal_rescue_zzzzzzzz', 'USAGE')", "f");

  /* one more is re-created before the script runs: it says so, and does nothing */
  CLEANUP_FREE char *request = script_request(fixture, report);
  json_decref(report);
  run_sql(fixture, "INSERT INTO invoices (id, customer_id, total) OVERRIDING SYSTEM VALUE VALUES (800, 3, 9)");
  expect_refused(fixture, &sealed, request, ERR_CONFLICT, "2498 of 2499", &err);
  assert_non_null(strstr(err.message, "1 were re-created"));
  assert_non_null(strstr(err.message, "nothing was changed"));
  expect_shop(fixture, "SELECT count(*) FROM invoices", "504");

  /* compared again, the new script runs; what stood there since is as it was */
  expect_refused(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"invoices\",\"lines\"]}", ERR_CONFLICT,
                 "invoices", &err);
  report = restored(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"invoices\",\"lines\"],\"replace\":true}");
  CLEANUP_FREE char *again = script_request(fixture, report);
  json_decref(report);
  report = restored(fixture, &sealed, again);
  expect_number(report, "rows_written", 2498 + 2500);
  json_decref(report);
  expect_shop(fixture, "SELECT count(*) FROM invoices", "3002");
  expect_shop(fixture, "SELECT count(*) FROM invoices WHERE note = 'since'", "10");
  expect_shop(fixture, "SELECT note FROM invoices WHERE id = 700", "again");
  expect_shop(fixture,
              "SELECT count(*) FROM invoices i JOIN pgseal_rescue_zzzzzzzz.invoices r USING (id) WHERE i.id > 500 AND"
              " (i.total, i.note, i.final) = (r.total, r.note, r.final)",
              "2498");
  expect_shop(fixture, "INSERT INTO invoices (customer_id, total) VALUES (1, 1) RETURNING id", "3003");
  /* a second time there is nothing left to put back */
  expect_refused(fixture, &sealed, again, ERR_CONFLICT, "0 of 2498", &err);
}

/* What was altered in the target is not run; nor what is not there. */
static void test_script_kept(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, invoices);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DELETE FROM lines");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"lines\"]}");
  CLEANUP_FREE char *request = script_request(fixture, report);
  json_decref(report);
  run_sql(fixture, "UPDATE pgseal_rescue_zzzzzzzz.pgseal_scripts SET script = script || ' '");
  expect_refused(fixture, &sealed, request, ERR_CONFLICT, "altered", &err);
  run_sql(fixture, "ALTER SCHEMA pgseal_rescue_zzzzzzzz OWNER TO reader"); /* with all the marks of ours */
  expect_refused(fixture, &sealed, request, ERR_CONFLICT, "did not make", &err);
  expect_refused(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"lines\"],\"replace\":true}", ERR_CONFLICT,
                 "did not make", &err);
  run_sql(fixture, "DROP SCHEMA pgseal_rescue_zzzzzzzz CASCADE");
  expect_refused(fixture, &sealed, request, ERR_NOT_FOUND, "no script", &err);
  expect_shop(fixture, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgseal%'", "0");
  run_sql(fixture, "CREATE SCHEMA pgseal_rescue_zzzzzzzz; CREATE TABLE pgseal_rescue_zzzzzzzz.mine (id int)");
  expect_refused(fixture, &sealed, request, ERR_CONFLICT, "pgseal_rescue_zzzzzzzz", &err);
  expect_refused(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"lines\"],\"replace\":true}", ERR_CONFLICT,
                 "did not make", &err);
}

/* The wrong UPDATE: values come back where nothing else of the row was written since. */
static void test_update(void **state) {
  Fixture *fixture = *state;
  shop_make(fixture, invoices);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "UPDATE invoices SET total = 0; UPDATE invoices SET total = 7, note = 'paid' WHERE id = 5;"
                   "DELETE FROM invoices WHERE id = 9");
  json_t *report =
      restored(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"invoices\"],\"columns\":[\"invoices.total\"]}");
  expect_number(difference_of(report, "invoices"), "changed", 2999);
  CLEANUP_FREE char *request = script_request(fixture, report);
  json_decref(report);
  report = restored(fixture, &sealed, request);
  expect_number(report, "rows_written", 2998 + 1);
  json_decref(report);
  expect_shop(fixture, "SELECT total || note FROM invoices WHERE id = 5", "7.00paid");
  expect_shop(
      fixture,
      "SELECT count(*) FROM invoices i JOIN pgseal_rescue_zzzzzzzz.invoices r ON r.id = i.id AND r.total = i.total",
      "2999");
}

static void test_columns(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, invoices);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  CLEANUP_FREE char *before =
      shop_text(fixture, "SELECT md5(string_agg(concat(id, total, note), ',' ORDER BY id)) FROM invoices");
  run_sql(fixture,
          "ALTER TABLE invoices DROP COLUMN note, DROP COLUMN gross; ALTER TABLE invoices ALTER total TYPE int;"
          "UPDATE invoices SET final = true WHERE id = 3; UPDATE invoices SET total = 4711 WHERE id = 4");
  expect_refused(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"invoices\"],\"columns\":[\"invoices.nota\"]}",
                 ERR_NOT_FOUND, "invoices.nota", &err);
  json_t *report = restored(
      fixture, &sealed,
      "{\"mode\":\"beside\",\"tables\":[\"invoices\"],\"columns\":[\"invoices.note\",\"public.invoices.total\"]}");
  CLEANUP_FREE char *request = script_request(fixture, report);
  json_decref(report);
  report = restored(fixture, &sealed, request);
  json_decref(report);
  expect_shop(fixture,
              "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'total' AND attrelid ="
              " 'invoices'::regclass",
              "numeric(12,2)");
  /* written since: kept */
  expect_shop(fixture, "SELECT total FROM invoices WHERE id = 4", "4711.00");
  expect_shop(fixture, "SELECT final FROM invoices WHERE id = 3", "t");
  run_sql(fixture,
          "UPDATE invoices i SET total = r.total FROM pgseal_rescue_zzzzzzzz.invoices r WHERE i.id = 4 AND r.id = 4");
  expect_shop(fixture, "SELECT md5(string_agg(concat(id, total, note), ',' ORDER BY id)) FROM invoices", before);
}

static void test_circle(void **state) {
  Fixture *fixture = *state;
  shop_make(fixture,
            "CREATE TABLE a (id int PRIMARY KEY, b int); CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a);"
            "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b; INSERT INTO a VALUES (1, NULL), (2, NULL);"
            "INSERT INTO b VALUES (1, 2), (2, 1); UPDATE a SET b = 3 - id");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "UPDATE a SET b = NULL; DELETE FROM b; DELETE FROM a");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"a\",\"b\"]}");
  CLEANUP_FREE char *request = script_request(fixture, report);
  json_decref(report);
  report = restored(fixture, &sealed, request);
  expect_number(report, "rows_written", 4);
  json_decref(report);
  expect_shop(fixture, "SELECT count(*) FROM a JOIN b ON b.id = a.b AND b.a = 3 - a.id + 0 * b.id", "0");
  expect_shop(fixture, "SELECT count(*) FROM a JOIN b ON b.id = a.b", "2");
}

/* No key, a key of an odd name, a table that is gone, the same name in two schemas. */
static void test_shapes(void **state) {
  Fixture *fixture = *state;
  shop_make(fixture,
            "CREATE TABLE heap (a int, b json); INSERT INTO heap SELECT g % 3, '{}' FROM generate_series(1, 9) g;"
            "CREATE SCHEMA \"Odd\"; CREATE TABLE \"Odd\".heap (\"the \"\"key\" text PRIMARY KEY, \"select\" text);"
            "INSERT INTO \"Odd\".heap VALUES ('x', 'secret'), ('y', 'z'); CREATE TABLE gone (id int PRIMARY KEY);"
            "CREATE TABLE pgseal_scripts (id int PRIMARY KEY); INSERT INTO pgseal_scripts VALUES (1);"
            "INSERT INTO gone VALUES (1)");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture,
          "DELETE FROM heap WHERE ctid = (SELECT min(ctid) FROM heap); DELETE FROM \"Odd\".heap WHERE \"select\" = 'z';"
          "DROP TABLE gone; INSERT INTO heap VALUES (7, '{}')");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"*\",\"\\\"Odd\\\".*\"]}");
  assert_int_equal(json_array_size(json_object_get(report, "differences")), 4);
  expect_number(difference_of(report, "gone"), "missing", 1);
  const char *script = json_string_value(json_object_get(report, "script"));
  assert_non_null(strstr(script, "-- LEFT OUT: 1 rows of public.heap")); /* which may be the new one, changed */
  CLEANUP_FREE char *request = script_request(fixture, report);
  json_decref(report);
  expect_shop(fixture, "SELECT count(*) FROM pgseal_rescue_zzzzzzzz.\"Odd_heap\"", "2");
  expect_shop(fixture, "SELECT count(*) FROM pgseal_rescue_zzzzzzzz.pgseal_scripts_2", "1");
  report = restored(fixture, &sealed, request);
  expect_number(report, "rows_written", 1);
  json_decref(report);
  expect_shop(fixture, "SELECT count(*) FROM \"Odd\".heap", "2");
  expect_shop(fixture, "SELECT count(*) FROM heap", "9");
}

/* Without a key, rows that were deleted come back as often as they were there; nothing else does. */
static void test_keyless(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(
      fixture,
      "CREATE TABLE heap (a int, r json, \"odd \"\" name\" text);"
      "INSERT INTO heap SELECT g % 3, '{\"x\": 1}', CASE WHEN g > 5 THEN 'with, \"comma)' END FROM generate_series(1, "
      "90) g; INSERT INTO heap VALUES (NULL, NULL, NULL), (NULL, NULL, ''), (NULL, NULL, NULL)");
  static const char content[] = "SELECT md5(string_agg(h::text, ';' ORDER BY h::text)) FROM heap h";
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  CLEANUP_FREE char *before = shop_text(fixture, content);
  run_sql(fixture, "DELETE FROM heap WHERE a = 1 AND ctid IN (SELECT ctid FROM heap WHERE a = 1 LIMIT 20);"
                   "DELETE FROM heap WHERE ctid = (SELECT min(ctid) FROM heap WHERE a IS NULL)");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"heap\"]}");
  expect_number(difference_of(report, "heap"), "missing", 21);
  CLEANUP_FREE char *request = script_request(fixture, report);
  json_decref(report);
  report = restored(fixture, &sealed, request);
  expect_number(report, "rows_written", 21);
  json_decref(report);
  expect_shop(fixture, content, before);
  expect_refused(fixture, &sealed, request, ERR_CONFLICT, "public.heap", &err); /* they are there */
  expect_shop(fixture, content, before);
}

/* What the database's own functions say may quote rows: it is not passed on. */
static void test_discreet(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'secret')");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DELETE FROM t; CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION"
                   " 'not %', NEW.v; END$$; CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"t\"]}");
  CLEANUP_FREE char *notes = json_dumps(json_object_get(report, "notes"), 0);
  assert_non_null(strstr(notes, "Triggers of public.t"));
  CLEANUP_FREE char *request = script_request(fixture, report);
  json_decref(report);
  expect_refused(fixture, &sealed, request, ERR_QUERY, "public.t", &err);
  assert_null(strstr(err.message, "secret"));
  run_sql(fixture, "DROP TRIGGER no ON t; ALTER TABLE t ADD CHECK (v <> 'secret')");
  expect_refused(fixture, &sealed, request, ERR_QUERY, "t_v_check", &err);
  assert_null(strstr(err.message, "secret"));
  expect_refused_as(fixture, &sealed, "limited", "{\"mode\":\"beside\",\"tables\":[\"t\"]}", ERR_FORBIDDEN, "public.t",
                    &err);
}

static void test_type_gone(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE t (id int PRIMARY KEY, m mood);"
                     "INSERT INTO t VALUES (1, 'good')");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "ALTER TABLE t DROP m; DROP TYPE mood");
  expect_refused(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"t\"]}", ERR_QUERY, "mood", &err);
  assert_non_null(strstr(err.remedy, "pgseal plan"));
  expect_shop(fixture, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgseal%'", "0");
}

/* The target changes rows while they are written: what would be compared is not the checkpoint's. */
static void test_rows_are_verified(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture,
            "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100) g;"
            "CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.v := ''w''; RETURN NEW; END';"
            "CREATE FUNCTION meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$DECLARE made text; BEGIN"
            " FOR made IN SELECT object_identity FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' LOOP"
            "  EXECUTE format('CREATE TRIGGER other BEFORE INSERT ON %s FOR EACH ROW WHEN (NEW.id = 7)"
            " EXECUTE FUNCTION public.other()', made); END LOOP; END$$;"
            "CREATE EVENT TRIGGER meddling ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION meddle()");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  expect_refused(fixture, &sealed, "{\"mode\":\"beside\",\"tables\":[\"t\"]}", ERR_ROUND_TRIP_DIFFERS,
                 "with other content", &err);
  expect_shop(fixture, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'pgseal%'", "0");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_delete),    cmocka_unit_test(test_script_kept),
      cmocka_unit_test(test_update),    cmocka_unit_test(test_columns),
      cmocka_unit_test(test_circle),    cmocka_unit_test(test_shapes),
      cmocka_unit_test(test_keyless),   cmocka_unit_test(test_discreet),
      cmocka_unit_test(test_type_gone), cmocka_unit_test(test_rows_are_verified),
  };
  return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
