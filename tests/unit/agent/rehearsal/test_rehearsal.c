/* Migrations rehearsed on real copies: what they would do is told before they do it. */
#include "tests/unit/agent/rehearsal/rehearsal_fixture.h"

static const char wrong_rows[] = "-- all that can go wrong with rows\n"
                                 "BEGIN;\n"
                                 "DELETE FROM invoices WHERE id > 100; -- and the rest of the filter?\n"
                                 "COMMIT;\n"
                                 "UPDATE customers SET email = 'secret@example.com';\n"
                                 "UPDATE audit.history SET what = 'secret' WHERE what = 'x1';\n"
                                 "DELETE FROM small WHERE k = 1; UPDATE small SET n = 0 WHERE k = 2;\n";
static const char wrong_forms[] =
    "ALTER TABLE payments ALTER amount TYPE int USING round(amount)::int;\n"
    "ALTER TABLE small ALTER n TYPE bigint;\n"
    "ALTER TABLE notes DROP COLUMN body;\n"
    "ALTER TABLE invoices DROP CONSTRAINT billed;\n"
    "ALTER TABLE devices RENAME TO machines;\n"
    "DROP TABLE orders CASCADE;\n"
    "BEGIN; ALTER TABLE \"w\xc3\xad"
    "de t\" ALTER k TYPE bigint; SELECT pg_sleep(0.7); COMMIT;\n"
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC; SELECT 1; SELECT 2; END;\n";

static void check_wrong_rows(const Rehearse *it) {
  assert_string_equal(finding(it, "rows_lost", "public.invoices", true), "900 of 1000 rows are gone");
  assert_string_equal(finding(it, "rows_changed", "public.customers", true), "500 of 500 rows have other values");
  assert_non_null(strstr(finding(it, "rows_changed", "audit.history", true), "not known")); /* it has no key */
  assert_string_equal(finding(it, "rows_lost", "public.small", false), "1 of 50 rows are gone");
}

static void check_wrong_forms(const Rehearse *it) {
  const char *retyped = finding(it, "column_retyped", "public.payments.amount", true);
  assert_non_null(strstr(retyped, "numeric(10,2) is integer now"));
  assert_non_null(strstr(finding(it, "column_lost", "public.notes.body", true), "200 rows"));
  finding(it, "object_lost", "FK CONSTRAINT billed of public.invoices", true);
  assert_string_equal(finding(it, "renamed", "TABLE public.devices", false), "it is called machines now");
  assert_string_equal(finding(it, "object_lost", "TABLE public.orders", true), "it is gone, with 1000 rows");
  assert_string_equal(finding(it, "object_lost", "VIEW public.big_orders", true), "it went with public.orders");
  assert_string_equal(finding(it, "object_lost", "FK CONSTRAINT paid_for of public.payments", true),
                      "it went with public.orders");
}

/* Each of the mistakes that a rehearsal is for, in one migration. */
static void all_mistakes_are_found(void **state) {
  const Shop *shop = *state;
  Rehearse it = rehearse(shop, json_pack("{s:[o, o], s:f, s:f}", "sql", file_of("001.sql", wrong_rows),
                                         file_of("002.sql", wrong_forms), "lock_seconds", 0.5, "rewrite_mb", 0.05));
  assert_verdict(&it, "dangerous");
  check_wrong_rows(&it);
  check_wrong_forms(&it);
  const json_t *locks = json_object_get(it.report, "locks"), *statements = json_object_get(it.report, "statements");
  assert_non_null(strstr(finding(&it, "lock",
                                 "public.\"w\xc3\xad"
                                 "de t\"",
                                 true),
                         "ACCESS EXCLUSIVE was held"));
  const json_t *held = find(locks, "name",
                            "w\xc3\xad"
                            "de t",
                            "mode", "ACCESS EXCLUSIVE");
  assert_true(json_number_value(json_object_get(held, "seconds")) >= 0.6);
  finding(&it, "rewrite",
          "public.\"w\xc3\xad"
          "de t\"",
          true);
  finding(&it, "rewrite", "public.small", false); /* it is smaller than is dangerous */
  assert_null(find(json_object_get(it.report, "rewrites"), "name", "notes", NULL, NULL));
  assert_int_equal(json_integer_value(json_object_get(statements, "count")), 18);
  assert_int_equal(json_integer_value(json_object_get(statements, "failed")), 0);
  const json_t *longest = json_array_get(json_object_get(statements, "longest"), 0);
  assert_string_equal(text_of(longest, "statement"), "SELECT pg_sleep(?)");
  assert_string_equal(text_of(longest, "file"), "002.sql");
  assert_int_equal(json_integer_value(json_object_get(longest, "line")), 7);
  const json_t *copy = json_object_get(it.report, "copy"), *comparison = json_object_get(it.report, "comparison");
  assert_string_equal(text_of(copy, "drill"), "proven");
  assert_string_equal(text_of(copy, "checkpoint"), shop->checkpoint.id);
  assert_string_equal(text_of(comparison, "damage"), "lost");
  assert_non_null(find(json_object_get(comparison, "objects"), "name", "paid_for", "because_of", "public.orders"));
  assert_null(strstr(it.result.report_json, "secret")); /* what is in rows and literals is nobody's */
  rehearse_release(&it);
}

/* As the role that will run it, which may not do all of it. */
static void failing_statement(void **state) {
  Rehearse it = rehearse(*state, json_pack("{s:[o], s:s}", "sql",
                                           file_of("m.sql", "SELECT 1 / CASE current_setting('shop.setting') WHEN 'set'"
                                                            " THEN 1 ELSE 0 END;\nCREATE TABLE made ();\n\n"
                                                            "/* not his */ ALTER TABLE customers ADD age int;\n"
                                                            "DROP TABLE made"),
                                           "role", "app"));
  assert_verdict(&it, "failed");
  assert_string_equal(finding(&it, "statement_failed", "m.sql, line 4", true),
                      "must be owner of table customers (SQLSTATE 42501)");
  const json_t *statements = json_object_get(it.report, "statements");
  assert_int_equal(json_integer_value(json_object_get(statements, "count")), 3);
  const json_t *failure = json_array_get(json_object_get(statements, "failures"), 0);
  assert_string_equal(text_of(failure, "sqlstate"), "42501");
  assert_string_equal(text_of(failure, "statement"), "ALTER TABLE customers ADD age int");
  rehearse_release(&it);
}

static void clean_and_allowed(void **state) {
  Rehearse it = rehearse(*state, json_pack("{s:[o], s:[s]}", "sql",
                                           file_of("m.sql", "CREATE TABLE made (id int REFERENCES customers);"
                                                            "ALTER TABLE customers ADD age int DEFAULT 3;"
                                                            "CREATE INDEX CONCURRENTLY ON orders (total);"
                                                            "ALTER TABLE small ALTER t TYPE varchar(20);"
                                                            "INSERT INTO small VALUES (1000, 1, 'x');"
                                                            "ALTER TABLE notes DROP COLUMN body"),
                                           "allow", "column_lost"));
  assert_verdict(&it, "clean");
  finding(&it, "column_lost", "public.notes.body", false);
  finding(&it, "column_retyped", "public.small.t", false);
  assert_int_equal(json_integer_value(json_object_get(it.report, "dangers")), 0);
  rehearse_release(&it);
}

/* What goes on for longer than the copy is kept is ended; and what was not committed did not happen. */
static void time_is_bounded(void **state) {
  Rehearse it = rehearse(*state, json_pack("{s:[o], s:i}", "sql",
                                           file_of("m.sql", "BEGIN; DROP TABLE orders CASCADE; SELECT pg_sleep(600)"),
                                           "keep_seconds", 1));
  assert_verdict(&it, "failed");
  assert_non_null(strstr(finding(&it, "statement_failed", "m.sql, line 1", true), "kept for 1 seconds"));
  assert_null(find(json_object_get(it.report, "findings"), "kind", "object_lost", NULL, NULL));
  rehearse_release(&it);
}

static void assert_refused(const Shop *shop, json_t *request, Status expected, const char *says) {
  Rehearse it;
  rehearse_init(shop, request, &it);
  json_decref(request);
  rehearse_run(&it);
  if (it.status != expected || !strstr(it.failure.message, says))
    fail_msg("%s: %s", error_code(it.status), it.failure.message);
  rehearse_release(&it);
}

static json_t *signed_request(const Shop *shop, const char *text) {
  json_t *request = request_of(json_pack("{s:[o]}", "sql", file_of("m.sql", text)));
  sign(shop, request);
  return request;
}

/* Before any copy is made. */
static void refused(void **state) {
  const Shop *shop = *state;
  json_t *request = request_of(json_pack("{s:[o]}", "sql", file_of("m.sql", "SELECT 1")));
  assert_refused(shop, request, ERR_FORBIDDEN, "this agent's secret");
  request = signed_request(shop, "SELECT 1");
  json_object_set_new(request, "lock_seconds", json_integer(1000));
  assert_refused(shop, request, ERR_FORBIDDEN, "this agent's secret");
  request = signed_request(shop, "SELECT 1");
  json_object_set_new(request, "checkpoint", json_string("another"));
  sign(shop, request);
  assert_refused(shop, request, ERR_FORBIDDEN, "on checkpoint another");
  request = signed_request(shop, "SELECT 1");
  json_object_set_new(request, "database", json_string("other"));
  sign(shop, request);
  assert_refused(shop, request, ERR_FORBIDDEN, "another database");
  request = signed_request(shop, "SELECT 1");
  json_object_set_new(request, "time", json_integer(1700000000));
  sign(shop, request);
  assert_refused(shop, request, ERR_FORBIDDEN, "15 minutes");
  assert_refused(shop, signed_request(shop, "SELECT 1;\n\\i other.sql"), ERR_INVALID_ARGUMENT, "m.sql, line 2");
  assert_refused(shop, signed_request(shop, "COPY t FROM STDIN;\n1\n\\.\n"), ERR_INVALID_ARGUMENT, "m.sql, line 1");
  request = request_of(json_object());
  sign(shop, request);
  assert_refused(shop, request, ERR_PROTOCOL, "nothing to run");
}

/* A rehearsal is a drill first: on what is not the checkpoint nothing is rehearsed. */
static void no_copy_no_rehearsal(void **state) {
  const Shop *shop = *state;
  json_t *request = signed_request(shop, "SELECT 1");
  Rehearse it;
  rehearse_init(shop, request, &it);
  json_decref(request);
  char *key = manifest_segment_key(shop->checkpoint.prefix, 0);
  char *path = memory_format("%s/%s", it.drill.config.repository_directory, key);
  char *aside = memory_format("%s.aside", path);
  assert_int_equal(rename(path, aside), 0);
  rehearse_run(&it);
  assert_int_equal(rename(aside, path), 0);
  assert_int_equal(it.status, ERR_SEGMENT_MISSING);
  assert_null(it.report);
  rehearse_release(&it);
  free(aside);
  free(path);
  free(key);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(all_mistakes_are_found),
      cmocka_unit_test(failing_statement),
      cmocka_unit_test(clean_and_allowed),
      cmocka_unit_test(time_is_bounded),
      cmocka_unit_test(refused),
      cmocka_unit_test(no_copy_no_rehearsal),
  };
  return cmocka_run_group_tests(tests, shop_setup, shop_teardown);
}
