/* What became of a table's rows where their number does not tell: made again, or converted. */
#include "agent/recovery/plan.h"
#include "tests/unit/agent/recovery/plan_fixture.h"

/* As many rows as before are no proof that a table that was made again has them; the same rows are. */
static void recreated_with_rows(void **state) {
  const Shop *shop = *state;
  copy_database(shop->fixture, "own");
  CLEANUP(sealed_release) Sealed sealed = seal(shop->fixture, "own");
  sql(shop->fixture, "own",
      "CREATE TABLE copied (LIKE payments INCLUDING ALL); INSERT INTO copied SELECT * FROM payments;"
      "DROP TABLE payments; ALTER TABLE copied RENAME TO payments;"
      "CREATE TABLE copied (LIKE devices INCLUDING ALL);"
      "INSERT INTO copied SELECT md5('other' || g)::uuid, 'd' || g FROM generate_series(1, 300) g;"
      "DROP TABLE devices; ALTER TABLE copied RENAME TO devices;"
      "CREATE TABLE copied (LIKE audit.history); INSERT INTO copied SELECT at, what || '.' FROM audit.history;"
      "DROP TABLE audit.history; ALTER TABLE copied RENAME TO history; ALTER TABLE history SET SCHEMA audit;"
      "CREATE TABLE copied (LIKE invoices INCLUDING ALL); INSERT INTO copied SELECT id, part, s, body || '!' FROM "
      "invoices;"
      "DROP TABLE invoices; ALTER TABLE copied RENAME TO invoices");
  json_t *report = NULL;
  Error err = {0};
  if (try_plan(shop, &sealed, "user=postgres dbname=own", "{}", &report, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  CLEANUP(json_decrefp) json_t *owned = report;
  assert_damage(report, "lost");
  const json_t *same = table_of(report, "payments"), *other = table_of(report, "devices");
  assert_string_equal(text_of(same, "state"), "content_same");
  assert_false(json_is_true(json_object_get(same, "lost")));
  assert_true(mentions(same, "with exactly the checkpoint's rows"));
  assert_int_equal(number_of(other, "rows_missing"), 300);
  assert_true(json_is_true(json_object_get(other, "lost")));
  const json_t *keyless = table_of(report, "history"); /* nobody can tell */
  assert_true(json_is_true(json_object_get(keyless, "lost")));
  assert_true(mentions(keyless, "no primary key"));
  const json_t *changed = table_of(report, "invoices"); /* every row is there, with another value */
  assert_int_equal(number_of(changed, "rows_missing"), 0);
  assert_int_equal(number_of(changed, "rows_changed"), 3000);
  assert_false(json_is_true(json_object_get(changed, "lost")));
}

/* What a change of type did to the values: proven by the content, else by what the types can hold. */
static void retyped_values(void **state) {
  const Shop *shop = *state;
  CLEANUP(json_decrefp)
  json_t *kept = plan_after(shop,
                            "ALTER TABLE payments ALTER amount TYPE bigint;"
                            "ALTER TABLE devices ALTER name TYPE varchar(10)",
                            "{}");
  assert_damage(kept, "changed");
  assert_string_equal(text_of(table_of(kept, "payments"), "state"), "content_same");
  assert_string_equal(text_of(table_of(kept, "devices"), "state"), "content_same");
  CLEANUP(json_decrefp)
  json_t *wider =
      plan_after(shop, "ALTER TABLE payments ALTER amount TYPE bigint; INSERT INTO payments SELECT 9999, 1, 1", "{}");
  assert_damage(wider, "changed");
  assert_false(json_is_true(json_object_get(table_of(wider, "payments"), "lost")));
  CLEANUP(json_decrefp)
  json_t *added = plan_after(shop,
                             "ALTER TABLE devices ALTER name TYPE varchar(10);"
                             "INSERT INTO devices VALUES (md5('new')::uuid, 'new')",
                             "{}");
  assert_damage(added, "changed");
  assert_int_equal(number_of(table_of(added, "devices"), "rows_new"), 1);
  CLEANUP(json_decrefp)
  json_t *lost = plan_after(shop, "ALTER TABLE devices ALTER name TYPE varchar(2) USING left(name, 2)", "{}");
  assert_damage(lost, "lost");
  const json_t *table = table_of(lost, "devices");
  assert_true(json_is_true(json_object_get(table, "lost")));
  assert_true(mentions(table, "its values were converted"));
  assert_true(mentions(json_object_get(way_of(lost, "compensate", true), "tables"), "\"devices\""));
}

static void types_that_keep(void **state) {
  (void)state;
  static const struct {
    const char *was, *is;
    bool keeps;
  } cases[] = {
      {"integer", "bigint", true},
      {"bigint NOT NULL", "integer NOT NULL", false},
      {"integer DEFAULT 0", "numeric DEFAULT 0", true},
      {"bigint", "numeric(20,2)", false},
      {"integer", "numeric(12,2)", true},
      {"numeric(10,2)", "numeric(12,2)", true},
      {"numeric(10,2)", "numeric(12,4)", true},
      {"numeric(10,2)", "numeric(11,4)", false},
      {"numeric(10,2)", "numeric(10,0)", false},
      {"numeric", "numeric(10,2)", false},
      {"numeric(10,2)", "numeric", true},
      {"numeric(10,2)", "integer", false},
      {"character varying(10)", "character varying(20)", true},
      {"character varying(20)", "character varying(10)", false},
      {"character varying(20)", "character varying", true},
      {"text", "character varying(10)", false},
      {"text", "uuid", false},
      {"uuid", "text", true},
      {"integer[]", "bigint[]", true},
      {"integer[]", "bigint", false},
      {"text[]", "text", true},
      {"text", "text[]", false},
      {"real", "double precision", true},
      {"double precision", "real", false},
      {"date", "timestamp without time zone", true},
      {"timestamp without time zone", "date", false},
      {"timestamp(3) without time zone", "timestamp(6) without time zone", true},
      {"timestamp(6) without time zone", "timestamp(3) without time zone", false},
      {"json", "jsonb", false},
      {"bit(3)", "bit(5)", false},
      {"public.\"Odd(\"", "integer", false},
      {"()", "(,)", false},
      {"", "", true},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
    if (plan_type_keeps(cases[i].was, cases[i].is) != cases[i].keeps)
      fail_msg("%s to %s", cases[i].was, cases[i].is);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(recreated_with_rows),
      cmocka_unit_test(retyped_values),
      cmocka_unit_test(types_that_keep),
  };
  return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
