/* Roles as pg_dumpall writes them, 15 and 16 on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/archive/roles.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static const char dumped[] =
    "--\n-- PostgreSQL database cluster dump\n--\n\\restrict x\nSET default_transaction_read_only = off;\n"
    "CREATE ROLE app;\nALTER ROLE app WITH NOSUPERUSER INHERIT NOCREATEROLE CREATEDB LOGIN NOREPLICATION BYPASSRLS "
    "CONNECTION LIMIT 5 PASSWORD 'SUPERUSER' VALID UNTIL '2030-01-01 00:00:00+00';\n"
    "COMMENT ON ROLE app IS E'it''s \\\\ the; app';\n"
    "CREATE ROLE \"Own;er \"\"of\"\"\";\nALTER ROLE \"Own;er \"\"of\"\"\" WITH SUPERUSER NOINHERIT NOLOGIN;\n"
    "ALTER ROLE app SET search_path TO 'a', 'b; c';\nALTER ROLE app SET \"TimeZone\" TO 'UTC';\n"
    "ALTER ROLE app SET my.own TO '1';\nALTER ROLE app SET work_mem TO '1'; DROP TABLE x;\n"
    "ALTER ROLE app SET bad TO (SELECT 1);\nALTER ROLE app SET bad TO 'a' 'b';\n"
    "GRANT readers TO app GRANTED BY postgres;\n"
    "GRANT \"Own;er \"\"of\"\"\" TO app WITH ADMIN OPTION, INHERIT FALSE, SET FALSE GRANTED BY postgres;\n"
    "GRANT \"Own;er \"\"of\"\"\" TO app WITH INHERIT TRUE, SET FALSE GRANTED BY other;\n"
    "GRANT ALL ON DATABASE x TO app;\n";

static void test_dumped(void **state) {
  (void)state;
  CLEANUP(roles_release) RoleList list = {0};
  roles_parse(dumped, strlen(dumped), &list);
  assert_int_equal(list.role_count, 2);
  const Role *app = roles_find(&list, "app"), *owner = roles_find(&list, "Own;er \"of\"");
  assert_non_null(app);
  assert_non_null(owner);
  assert_null(roles_find(&list, "readers"));
  assert_int_equal(app->attributes, ROLE_INHERIT | ROLE_CREATEDB | ROLE_LOGIN | ROLE_BYPASSRLS);
  assert_int_equal(app->connection_limit, 5);
  assert_string_equal(app->valid_until, "'2030-01-01 00:00:00+00'");
  assert_string_equal(app->comment, "E'it''s \\\\ the; app'");
  assert_int_equal(app->setting_count, 4);
  assert_string_equal(app->settings[0].name, "search_path");
  assert_string_equal(app->settings[0].values, "'a', 'b; c'");
  assert_int_equal(app->settings[0].value_count, 2);
  assert_string_equal(app->settings[1].name, "TimeZone");
  assert_string_equal(app->settings[2].name, "my.own");
  assert_int_equal(owner->attributes, ROLE_SUPERUSER);
  assert_int_equal(owner->connection_limit, -1);
  assert_null(owner->valid_until);
  assert_int_equal(list.membership_count, 2);
  assert_string_equal(list.memberships[0].role, "readers");
  assert_int_equal(list.memberships[0].inherit, ROLE_OPTION_UNSAID);
  assert_true(list.memberships[0].set);
  assert_true(list.memberships[1].admin);
  assert_int_equal(list.memberships[1].inherit, ROLE_OPTION_TRUE);
  assert_false(list.memberships[1].set);
  assert_string_equal(role_attribute_word(ROLE_LOGIN, false), "NOLOGIN");
}

/* Cut off anywhere, nothing is read beyond the end (the sanitizers look). */
static void test_cut(void **state) {
  (void)state;
  for (size_t size = 0; size < strlen(dumped); size++) {
    CLEANUP(roles_release) RoleList list = {0};
    CLEANUP_FREE char *copy = memory_strndup(dumped, size);
    roles_parse(copy, size, &list);
    assert_true(list.role_count <= 2);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_dumped), cmocka_unit_test(test_cut)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
