/* Restores in place: what a migration dropped comes back with all that belongs to it, or nothing happens. */
#include "common/base/clock.h"
#include "tests/unit/agent/recovery/restore_fixture.h"

static const char shop_schema[] =
    "CREATE SCHEMA audit; CREATE TYPE mood AS ENUM ('new', 'paid');"
    "CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL);"
    "CREATE TABLE orders (id serial PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, state mood DEFAULT "
    "'new',"
    " total numeric(12,2) CHECK (total >= 0), twice numeric GENERATED ALWAYS AS (total * 2) STORED, note text);"
    "CREATE INDEX orders_state ON orders (state) WHERE total > 10;"
    "COMMENT ON TABLE orders IS 'what people want';"
    "GRANT SELECT, INSERT ON orders TO app; GRANT USAGE ON SEQUENCE orders_id_seq TO app;"
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
    "CREATE TRIGGER orders_touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();"
    "CREATE TABLE payments (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " order_id int NOT NULL REFERENCES orders ON DELETE CASCADE, amount numeric);"
    "CREATE TABLE audit.history (id bigserial PRIMARY KEY, what text, at timestamptz DEFAULT now());"
    "CREATE VIEW open_orders AS SELECT o.id, c.name FROM orders o JOIN customers c ON c.id = o.customer_id;"
    "CREATE MATERIALIZED VIEW totals AS SELECT customer_id, sum(total) FROM orders GROUP BY 1;"
    "GRANT SELECT ON open_orders TO app;"
    "INSERT INTO customers SELECT g, 'customer ' || g FROM generate_series(1, 50) g;"
    "INSERT INTO orders (customer_id, state, total, note) SELECT g % 50 + 1, 'paid', g, repeat('x', g % 200)"
    " FROM generate_series(1, 5000) g;"
    "INSERT INTO payments (order_id, amount) SELECT g, g FROM generate_series(1, 4000) g;"
    "INSERT INTO audit.history (what) SELECT 'event ' || g FROM generate_series(1, 300) g;"
    "REFRESH MATERIALIZED VIEW totals";

static int setup(void **state) {
  recovery_setup(state);
  sql(*state, "postgres", "CREATE ROLE app; CREATE ROLE keeper LOGIN");
  return 0;
}

/* Definitions as PostgreSQL tells them, to compare before and after. */
static char *describe(const Fixture *fixture) {
  return shop_text(
      fixture,
      "SELECT md5(string_agg(t, E'\\n' ORDER BY t)) FROM ("
      " SELECT 'i ' || pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'orders'::regclass"
      " UNION ALL SELECT 'c ' || conrelid::regclass::text || pg_get_constraintdef(oid) || convalidated::text FROM "
      "pg_constraint"
      "  WHERE connamespace = 'public'::regnamespace"
      " UNION ALL SELECT 't ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
      " UNION ALL SELECT 'v ' || pg_get_viewdef(oid) FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace ="
      "  'public'::regnamespace"
      " UNION ALL SELECT 'a ' || relname::text || relacl::text FROM pg_class WHERE relacl IS NOT NULL AND relnamespace "
      "="
      "  'public'::regnamespace"
      " UNION ALL SELECT 'd ' || coalesce(obj_description('orders'::regclass), '')"
      " UNION ALL SELECT 'f ' || attname::text || format_type(atttypid, atttypmod) || attnotnull::text || "
      "attgenerated::text ||"
      "  coalesce(pg_get_expr(adbin, adrelid), '') FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND "
      "adnum ="
      "  attnum WHERE attrelid = 'orders'::regclass AND attnum > 0) x(t)");
}

static char *content(const Fixture *fixture) {
  return shop_text(fixture, "SELECT md5(string_agg(o::text, E'\\n' ORDER BY id)) FROM orders o");
}

/* The Friday: dropped and made again with CASCADE while others are written to. */
static void test_friday(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, shop_schema);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  CLEANUP_FREE char *before = describe(fixture), *rows = content(fixture);
  run_sql(fixture, "DROP TABLE orders CASCADE; CREATE TABLE orders (id int PRIMARY KEY, customer int);"
                   "INSERT INTO orders VALUES (1, 1);"
                   "INSERT INTO payments (order_id, amount) VALUES (4000, 1), (4001, 2);"
                   "INSERT INTO audit.history (what) VALUES ('after'); DELETE FROM customers WHERE id > 1000");
  /* it is there again: nothing is replaced without being asked for */
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"orders\"]}", ERR_CONFLICT, "public.orders",
                 &err);
  expect_shop(fixture, "SELECT count(*) FROM orders", "1");

  json_t *report = restored(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"orders\"],\"replace\":true}");
  expect_flag(report, "verified", true);
  expect_flag(report, "committed", true);
  assert_int_equal(json_integer_value(json_object_get(report, "rows_written")), 5000);
  assert_string_equal(json_string_value(json_object_get(report, "schema")), "pgseal_displaced_zzzzzzzz");
  json_decref(report);
  CLEANUP_FREE char *after = describe(fixture), *rows_after = content(fixture);
  assert_string_equal(rows, rows_after);
  assert_string_equal(before, after);
  /* what was written since is there; what was displaced, too */
  expect_shop(fixture, "SELECT count(*) FROM payments", "4002");
  expect_shop(fixture, "SELECT count(*) FROM audit.history", "301");
  expect_shop(fixture, "SELECT count(*) FROM pgseal_displaced_zzzzzzzz.orders", "1");
  expect_shop(fixture, "SELECT count(*) FROM open_orders", "5000");
  expect_shop(fixture, "SELECT count(*) FROM totals", "50");
  expect_shop(fixture, "INSERT INTO orders (customer_id, total) VALUES (1, 1) RETURNING id", "5001");
  expect_shop(fixture, "SELECT has_schema_privilege('app', 'pgseal_displaced_zzzzzzzz', 'USAGE')", "f");
  expect_shop(fixture, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pgseal-%'", "0");
}

/* Several tables that were dropped, none of them replaced. */
static void test_missing(void **state) {
  Fixture *fixture = *state;
  shop_make(fixture, shop_schema);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  CLEANUP_FREE char *before = describe(fixture), *rows = content(fixture);
  run_sql(fixture,
          "DROP TABLE orders, payments CASCADE; DROP SCHEMA audit CASCADE; DROP FUNCTION touch; DROP TYPE mood");
  json_t *report =
      restored(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"orders\",\"payments\",\"audit.*\"]}");
  expect_flag(report, "verified", true);
  assert_int_equal(json_array_size(json_object_get(report, "tables")), 3);
  assert_int_equal(json_array_size(json_object_get(report, "displaced")), 0);
  assert_true(json_is_null(json_object_get(report, "schema")));
  json_decref(report);
  CLEANUP_FREE char *after = describe(fixture), *rows_after = content(fixture);
  assert_string_equal(rows, rows_after);
  assert_string_equal(before, after);
  expect_shop(fixture, "INSERT INTO payments (order_id) VALUES (1) RETURNING id", "4001");
  expect_shop(fixture, "INSERT INTO audit.history (what) VALUES ('x') RETURNING id", "301");
}

/* A request is UTF-8, names are what the database's own encoding makes of them. */
static void test_names_in_latin1(void **state) {
  Fixture *fixture = *state;
  sql(fixture, "postgres", "DROP DATABASE IF EXISTS shop WITH (FORCE)");
  sql(fixture, "postgres", "CREATE DATABASE shop TEMPLATE template0 ENCODING LATIN1");
  run_sql(fixture, "CREATE TABLE U&\"caf\\00E9s\" (id int PRIMARY KEY, U&\"pr\\00E9nom\" text);"
                   "INSERT INTO U&\"caf\\00E9s\" SELECT g, U&'na\\00EFf' FROM generate_series(1, 20) g");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "UPDATE U&\"caf\\00E9s\" SET U&\"pr\\00E9nom\" = '' WHERE id < 4");
  json_t *report = restored(fixture, &sealed,
                            "{\"mode\":\"beside\",\"tables\":[\"caf\303\251s\"],"
                            "\"columns\":[\"caf\303\251s.pr\303\251nom\"]}");
  const json_t *table = json_array_get(json_object_get(report, "tables"), 0);
  assert_string_equal(json_string_value(json_object_get(table, "name")), "caf\303\251s");
  json_decref(report);
  run_sql(fixture, "DROP TABLE U&\"caf\\00E9s\"");
  report = restored(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"public.caf\303\251s\"]}");
  expect_flag(report, "verified", true);
  json_decref(report);
  expect_shop(fixture, "SELECT count(*) FROM U&\"caf\\00E9s\" WHERE U&\"pr\\00E9nom\" = U&'na\\00EFf'", "20");
  Error err;
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"caf\342\202\254\"]}", ERR_NOT_FOUND, "caf",
                 &err);
}

/* A database without an encoding may have names that no report can tell: they are shown so, and restored all the same.
 */
static void test_names_of_no_encoding(void **state) {
  Fixture *fixture = *state;
  sql(fixture, "postgres", "DROP DATABASE IF EXISTS shop WITH (FORCE)");
  sql(fixture, "postgres", "CREATE DATABASE shop TEMPLATE template0 ENCODING SQL_ASCII LC_COLLATE 'C' LC_CTYPE 'C'");
  run_sql(fixture, "CREATE TABLE \"caf\351s\" (id int PRIMARY KEY, \"pr\351nom\" text);"
                   "INSERT INTO \"caf\351s\" SELECT g, 'na' FROM generate_series(1, 20) g");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE \"caf\351s\"");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"caf*\"]}");
  expect_flag(report, "verified", true);
  json_decref(report);
  expect_shop(fixture, "SELECT count(*) FROM \"caf\351s\"", "20");
}

/* Payments written since the checkpoint point at orders that it has not. */
static void test_orphans(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, shop_schema);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE orders CASCADE; INSERT INTO payments (order_id) VALUES (90001), (90002), (90002)");
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"orders\"]}", ERR_CONFLICT, "3 rows", &err);
  assert_non_null(strstr(err.message, "payments_order_id_fkey"));
  assert_non_null(strstr(err.message, "nothing was changed"));
  assert_null(strstr(err.message, "90001"));
  expect_shop(fixture, "SELECT count(*) FROM pg_class WHERE relname = 'orders'", "0");
  json_t *report =
      restored(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"orders\"],\"foreign_keys\":\"not_valid\"}");
  json_decref(report);
  expect_shop(fixture, "SELECT convalidated FROM pg_constraint WHERE conname = 'payments_order_id_fkey'", "f");
  expect_shop(fixture, "SELECT count(*) FROM orders", "5000");
}

/* What is moved aside is what others hang on. */
static void test_replace_refused(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, shop_schema);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "CREATE VIEW newer AS SELECT id FROM orders; CREATE TABLE refunds (order_id int REFERENCES orders);"
                   "CREATE FUNCTION first_of(orders) RETURNS int LANGUAGE sql AS 'SELECT 1';"
                   "UPDATE orders SET note = 'new' WHERE id = 1");
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"orders\"],\"replace\":true}", ERR_CONFLICT,
                 "public.newer", &err);
  assert_non_null(strstr(err.message, "refunds_order_id_fkey"));
  assert_non_null(strstr(err.message, "first_of"));
  run_sql(fixture, "DROP VIEW newer; DROP TABLE refunds; DROP FUNCTION first_of");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"orders\"],\"replace\":true}");
  expect_flag(report, "verified", true);
  json_decref(report);
  /* views and foreign keys are on the restored table; what was displaced has its rows */
  expect_shop(fixture, "SELECT count(*) FROM open_orders", "5000");
  expect_shop(fixture, "SELECT note FROM orders WHERE id = 1", "x");
  expect_shop(fixture, "SELECT note FROM pgseal_displaced_zzzzzzzz.orders WHERE id = 1", "new");
  expect_shop(fixture, "SELECT confrelid::regclass::text FROM pg_constraint WHERE conname = 'payments_order_id_fkey'",
              "orders");
  expect_shop(fixture, "SELECT count(*) FROM pgseal_displaced_zzzzzzzz.open_orders", "5000");
  /* forward only */
  expect_shop(fixture, "SELECT last_value >= 5000 FROM orders_id_seq", "t");
}

static void test_sequences_forward(void **state) {
  Fixture *fixture = *state;
  shop_make(fixture,
            "CREATE TABLE t (id serial PRIMARY KEY, a int); INSERT INTO t (a) SELECT 1 FROM generate_series(1, 10);"
            "CREATE TABLE ahead (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY); INSERT INTO ahead VALUES (77)");
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "INSERT INTO t (a) SELECT 2 FROM generate_series(1, 90); DELETE FROM t; DROP TABLE ahead;"
                   "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO keeper");
  json_t *report = restored(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"t\",\"ahead\"],\"replace\":true}");
  json_decref(report);
  expect_shop(fixture, "SELECT has_table_privilege('keeper', 't', 'SELECT')", "f");
  expect_shop(fixture, "INSERT INTO t (a) VALUES (3) RETURNING id", "101");
  expect_shop(fixture, "INSERT INTO ahead DEFAULT VALUES RETURNING id", "78");
}

/* A table that was renamed keeps the names of its indexes and sequences. */
static void test_renamed(void **state) {
  Fixture *fixture = *state;
  Error err;
  shop_make(fixture, shop_schema);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "ALTER TABLE orders RENAME TO orders_old");
  expect_refused(fixture, &sealed, "{\"mode\":\"in_place\",\"tables\":[\"orders\"]}", ERR_CONFLICT, "orders_old", &err);
  assert_non_null(strstr(err.remedy, "rename it back"));
}

/* A target that changes what is put into it, by an event trigger, as some extensions have them. */
static json_t *meddled(Fixture *fixture, const char *tag, const char *does, Status expected, const char *says) {
  Error err;
  CLEANUP_FREE char *schema =
      memory_format("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE INDEX t_v ON t (v);"
                    "INSERT INTO t SELECT g, 'v' FROM generate_series(1, 100) g;"
                    "CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
                    "CREATE FUNCTION meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN"
                    " IF current_setting('application_name') LIKE 'pgseal-%%' THEN %s; END IF; END$$;"
                    "CREATE EVENT TRIGGER meddling ON ddl_command_end WHEN TAG IN ('%s') EXECUTE FUNCTION meddle()",
                    does, tag);
  shop_make(fixture, schema);
  CLEANUP(sealed_release) Sealed sealed = seal(fixture, "shop");
  run_sql(fixture, "DROP TABLE t");
  static const char request[] = "{\"mode\":\"in_place\",\"tables\":[\"t\"]}";
  if (expected == STATUS_OK)
    return restored(fixture, &sealed, request);
  expect_refused(fixture, &sealed, request, expected, says, &err);
  assert_string_equal("public.t", err.object);
  expect_shop(fixture, "SELECT count(*) FROM pg_class WHERE relname = 't'", "0");
  return NULL;
}

/* Rows are held against the checkpoint when all is put back, and nothing else is ever committed. */
static void test_rows_are_verified(void **state) {
  Fixture *fixture = *state;
  static const struct {
    const char *tag, *does, *says;
  } cases[] = {
      {"CREATE INDEX", "UPDATE public.t SET v = 'w' WHERE id = 7", "with other content"},
      {"CREATE TABLE",
       "CREATE TRIGGER one BEFORE INSERT ON public.t FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION public.skip()",
       "took 99 rows, the checkpoint has 100"},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    assert_null(meddled(fixture, cases[i].tag, cases[i].does, ERR_ROUND_TRIP_DIFFERS, cases[i].says));
}

/* Definitions can be read back after the commit only: what is not as it was is told. */
static void test_definitions_are_verified(void **state) {
  Fixture *fixture = *state;
  static const char *const does[] = {"ALTER TABLE public.t ALTER COLUMN v SET DEFAULT 'w'",
                                     "ALTER TABLE public.t OWNER TO keeper"};
  for (size_t i = 0; i < ARRAY_SIZE(does); i++) {
    json_t *report = meddled(fixture, "CREATE INDEX", does[i], STATUS_OK, NULL);
    expect_flag(report, "committed", true);
    expect_flag(report, "verified", false);
    CLEANUP_FREE char *notes = json_dumps(json_object_get(report, "notes"), 0);
    assert_non_null(strstr(notes, "TABLE public.t is not as it was in the checkpoint"));
    json_decref(report);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_friday),
      cmocka_unit_test(test_missing),
      cmocka_unit_test(test_names_in_latin1),
      cmocka_unit_test(test_orphans),
      cmocka_unit_test(test_replace_refused),
      cmocka_unit_test(test_sequences_forward),
      cmocka_unit_test(test_names_of_no_encoding),
      cmocka_unit_test(test_renamed),
      cmocka_unit_test(test_rows_are_verified),
      cmocka_unit_test(test_definitions_are_verified),
  };
  return cmocka_run_group_tests(tests, setup, fixture_teardown);
}
