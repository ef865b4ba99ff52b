/* Migrations that run at the other end of a tunnel, on real copies; and who gets nowhere through it. */
#include "tests/unit/agent/rehearsal/relay.h"

#include "agent/rehearsal/bridge.h"

static void assert_no_way_in(PGconn *connection, const char *says) {
  if (PQstatus(connection) == CONNECTION_OK || !strstr(PQerrorMessage(connection), says))
    fail_msg("%d: %s", PQstatus(connection), PQerrorMessage(connection));
  PQfinish(connection);
}

static PGconn *way_in(const Relay *relay) {
  PGconn *connection = relay_connect(relay, NULL, NULL, NULL, NULL);
  if (PQstatus(connection) != CONNECTION_OK)
    fail_msg("%s", PQerrorMessage(connection));
  return connection;
}

static void others_are_kept_out(Relay *relay) {
  assert_no_way_in(relay_connect(relay, NULL, NULL, NULL, "disable"), "by TLS only");
  assert_no_way_in(relay_connect(relay, "boss", NULL, NULL, NULL), "for the role and the database");
  assert_no_way_in(relay_connect(relay, NULL, NULL, "postgres", NULL), "for the role and the database");
  assert_no_way_in(relay_connect(relay, NULL, "guessed", NULL, NULL), "password authentication failed");
}

/* Whoever passes frames on can break a connection, and no more. */
static void altered_bytes_are_noticed(Relay *relay) {
  PGconn *connection = way_in(relay);
  relay->alter = true;
  PGresult *result = PQexec(connection, "UPDATE notes SET body = 'this must not happen, whatever bits are altered'");
  assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
  assert_int_equal(PQstatus(connection), CONNECTION_BAD);
  assert_true(relay->altered > 0);
  relay->alter = false;
  PQclear(result);
  PQfinish(connection);
}

static void copy_much(PGconn *connection) {
  char line[1000];
  memset(line, 'x', sizeof line - 1);
  line[sizeof line - 1] = '\n';
  session_run(connection, "CREATE TABLE much (t text)");
  PGresult *result = PQexec(connection, "COPY much FROM STDIN");
  assert_int_equal(PQresultStatus(result), PGRES_COPY_IN);
  PQclear(result);
  for (int i = 0; i < 3000; i++)
    assert_int_equal(PQputCopyData(connection, line, sizeof line), 1);
  assert_int_equal(PQputCopyEnd(connection, NULL), 1);
  result = PQgetResult(connection);
  assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
  PQclear(result);
  assert_null(PQgetResult(connection));
  result = PQexec(connection, "SELECT t FROM much"); /* several windows full, in either direction */
  assert_int_equal(PQntuples(result), 3000);
  assert_int_equal(PQgetlength(result, 2999, 0), 999);
  PQclear(result);
}

static int migrate(Relay *relay) {
  others_are_kept_out(relay);
  altered_bytes_are_noticed(relay);
  PGconn *one = way_in(relay), *other = way_in(relay);
  assert_string_equal(PQparameterStatus(one, "is_superuser"), "on");
  session_run(other, "BEGIN; LOCK TABLE devices");
  copy_much(one);
  PGresult *result =
      PQexecParams(one, "UPDATE customers SET email = $1", 1, NULL, (const char *[]){"a secret"}, NULL, NULL, 0);
  assert_string_equal(PQcmdTuples(result), "500");
  PQclear(result);
  result =
      PQexecParams(one, "SELECT 1 FROM nowhere WHERE 'a secret' = $1", 1, NULL, (const char *[]){"x"}, NULL, NULL, 0);
  PQclear(result);
  result = PQexec(one, "INSERT INTO customers SELECT * FROM customers");
  PQclear(result);
  session_run(one, "DROP TABLE orders CASCADE; SELECT 'a secret'");
  session_run(other, "COMMIT");
  PQfinish(one);
  relay->left = other;
  return 0;
}

static Rehearse through_tunnel(const Shop *shop, Relay *relay, json_t *more, int (*command)(Relay *relay)) {
  Rehearse it;
  tunnel_init(shop, more, &it);
  relay_rehearse(relay, shop, &it, command);
  return it;
}

static void a_command_migrates(void **state) {
  Relay relay;
  Rehearse it = through_tunnel(*state, &relay, json_object(), migrate);
  assert_verdict(&it, "dangerous");
  finding(&it, "rows_changed", "public.customers", true);
  finding(&it, "object_lost", "TABLE public.orders", true);
  assert_non_null(find(json_object_get(it.report, "locks"), "name", "devices", "mode", "ACCESS EXCLUSIVE"));
  finding(&it, "statement_failed", "SELECT ? FROM nowhere WHERE '...' = $1", false);
  assert_string_equal(finding(&it, "statement_failed", "INSERT INTO customers SELECT * FROM customers", false),
                      "duplicate key value violates unique constraint \"customers_pkey\" (SQLSTATE 23505)");
  assert_null(find(json_object_get(it.report, "findings"), "object", "public.notes", NULL, NULL));
  const json_t *statements = json_object_get(it.report, "statements");
  assert_int_equal(json_integer_value(json_object_get(statements, "count")), 9);
  assert_int_equal(json_integer_value(json_object_get(statements, "failed")), 2);
  assert_int_equal(json_integer_value(json_object_get(it.report, "exit_status")), 0);
  assert_null(strstr(it.result.report_json, "secret"));
  assert_string_equal(relay.farewell, "");
  rehearse_release(&it);
}

static int fail_as_app(Relay *relay) {
  PGconn *connection = way_in(relay);
  PGresult *result = PQexec(connection, "SELECT current_user, current_setting('shop.setting')");
  assert_string_equal(PQgetvalue(result, 0, 0), "app");
  assert_string_equal(PQgetvalue(result, 0, 1), "set");
  PQclear(result);
  session_run(connection, "ALTER TABLE apps ADD n int; BEGIN; DROP TABLE apps");
  result = PQexec(connection, "ALTER TABLE notes ADD n int");
  assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42501");
  PQclear(result);
  relay->left = connection; /* in a transaction */
  return 3;
}

static void a_command_fails(void **state) {
  Relay relay;
  Rehearse it = through_tunnel(*state, &relay, json_pack("{s:s}", "role", "app"), fail_as_app);
  assert_verdict(&it, "failed");
  assert_string_equal(finding(&it, "command_failed", "the command", true), "it ended with exit status 3");
  assert_null(find(json_object_get(it.report, "findings"), "kind", "object_lost", NULL, NULL));
  rehearse_release(&it);
}

static int vanish(Relay *relay) {
  PGconn *connection = way_in(relay);
  session_run(connection, "DROP TABLE orders CASCADE");
  relay->left = connection;
  return -1;
}

/* What the command would still have done is not known: nothing is told of such a rehearsal, but that. */
static void a_client_vanishes(void **state) {
  Relay relay;
  Rehearse it = through_tunnel(*state, &relay, json_object(), vanish);
  assert_int_equal(it.status, ERR_UNAVAILABLE);
  assert_non_null(strstr(it.failure.message, "the client is gone"));
  assert_null(it.report);
  rehearse_release(&it);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_command_migrates),
      cmocka_unit_test(a_command_fails),
      cmocka_unit_test(a_client_vanishes),
  };
  return cmocka_run_group_tests(tests, shop_setup, shop_teardown);
}
