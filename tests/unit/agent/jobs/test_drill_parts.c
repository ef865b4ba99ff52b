/* The parts of a drill that need no server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "agent/jobs/drill.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static const ArchiveEntry entries[] = {
    {.dump_id = 7, .tag = (char *)"t", .desc = (char *)"TABLE", .schema = (char *)"public"},
    {.dump_id = 8, .tag = (char *)"t", .desc = (char *)"TABLE DATA", .schema = (char *)"public"},
    {.dump_id = 9, .tag = (char *)"SCHEMA s", .desc = (char *)"ACL", .schema = (char *)""},
};
static const ArchiveToc toc = {.entries = (ArchiveEntry *)entries, .entry_count = ARRAY_SIZE(entries)};

static void check(const char *errors, Status status, const char *object, size_t count) {
  DrillIssues issues = {0};
  drill_classify(errors, &toc, &issues);
  const DrillIssue *worst = drill_issues_worst(&issues);
  if (!worst)
    fail_msg("no issue in: %s", errors);
  if (worst->status != status || strcmp(worst->object, object) != 0)
    fail_msg("%s [%s] for: %s", error_code(worst->status), worst->object, errors);
  assert_int_equal(count, issues.count);
  drill_issues_release(&issues);
}

static void errors_are_classified(void **state) {
  (void)state;
  check("pg_restore: creating TABLE \"public.t\"\npg_restore: while PROCESSING TOC:\n"
        "pg_restore: from TOC entry 7; 1259 1 TABLE t alice\n"
        "pg_restore: error: could not execute query: ERROR:  syntax error\nCommand was: CREATE TABLE\n(x);\n",
        ERR_RESTORE_OBJECT_LOST, "TABLE public.t", 1);
  check("pg_restore: from TOC entry 7; 1259 1 TABLE t alice\n"
        "pg_restore: error: could not execute query: ERROR:  must be able to SET ROLE\n"
        "Command was: ALTER TABLE public.t OWNER TO x;\n",
        ERR_RESTORE_GRANT_LOST, "TABLE public.t", 1);
  check("pg_restore: from TOC entry 8; 0 1 TABLE DATA t alice\n"
        "pg_restore: error: COPY failed for table \"t\": ERROR:  invalid input\nCONTEXT:  COPY t, line 1\n"
        "pg_restore: warning: errors ignored on restore: 1\n",
        ERR_RESTORE_DATA_LOST, "TABLE DATA public.t", 1);
  check("pg_restore: from TOC entry 9; 0 1 ACL SCHEMA s alice\n"
        "pg_restore: error: could not execute query: ERROR:  permission denied\nCommand was: GRANT\n",
        ERR_RESTORE_GRANT_LOST, "ACL SCHEMA s", 1);
  check("pg_restore: error: could not execute query: server closed the connection unexpectedly\n", ERR_CLUSTER_LOST, "",
        1);
  check("pg_restore: error: could not extend file: No space left on device\n", ERR_DISK_FULL, "", 1);
  check("pg_restore: error: something new\n", ERR_TOOL, "", 1);
}

/* Whatever is wrong with a row, its values are in no message. */
static void rows_are_not_quoted(void **state) {
  (void)state;
  static const struct {
    const char *errors, *message;
  } cases[] = {
      {"COPY failed for table \"t\": ERROR:  invalid input syntax for type integer: \"hidden\"\n"
       "CONTEXT:  COPY t, line 3, column a: \"hidden\"\n",
       "COPY failed for table \"t\": ERROR:  invalid input syntax for type integer: \"...\" (COPY t, line 3)"},
      {"could not execute query: ERROR:  value \"hidden\" is out of range for type integer\n"
       "CONTEXT:  COPY t, line hidden\nCommand was: x\n",
       "could not execute query: ERROR:  value \"...\" is out of range for type integer"},
      {"COPY failed for table \"t\": ERROR:  new row for relation \"t\" violates check constraint \"c\"\n"
       "DETAIL:  Failing row contains (1, hidden).\nCONTEXT:  COPY t, line 12: \"1\thidden\"\n",
       "COPY failed for table \"t\": ERROR:  new row for relation \"t\" violates check constraint \"c\" (COPY t, line "
       "12)"},
      {"could not execute query: ERROR:  hidden is wrong\nHINT:  hidden\n"
       "CONTEXT:  PL/pgSQL function public.f() line 3 at RAISE\nCOPY t, line 1\n",
       "a function of the database raised an exception, whose words may quote rows"},
      {"could not execute query: ERROR:  insert or update on table \"t\" violates foreign key constraint \"k\"\n"
       "pg_restore: detail: Key (a)=(hidden) is not present in table \"u\".\n",
       "could not execute query: ERROR:  insert or update on table \"t\" violates foreign key constraint \"k\""},
  };
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    DrillIssues issues = {0};
    CLEANUP_FREE char *errors =
        memory_format("pg_restore: from TOC entry 8; 0 1 TABLE DATA t alice\npg_restore: error: %s", cases[i].errors);
    drill_classify(errors, &toc, &issues);
    assert_int_equal(issues.count, 1);
    assert_string_equal(issues.items[0].message, cases[i].message);
    drill_issues_release(&issues);
  }
}

static void worst_issue_decides(void **state) {
  (void)state;
  check("pg_restore: from TOC entry 9; 0 1 ACL SCHEMA s alice\n"
        "pg_restore: error: could not execute query: ERROR:  role \"bob\" does not exist\nCommand was: GRANT\n"
        "pg_restore: creating TABLE DATA\n"
        "pg_restore: from TOC entry 8; 0 1 TABLE DATA t alice\n"
        "pg_restore: error: COPY failed for table \"t\": ERROR:  relation \"t\" does not exist\n",
        ERR_ROLE_MISSING, "ACL SCHEMA s", 2);
  /* what the surroundings lack comes first, for it may be the cause of all others */
  check("pg_restore: from TOC entry 8; 0 1 TABLE DATA t alice\n"
        "pg_restore: error: COPY failed for table \"t\": ERROR:  relation \"t\" does not exist\n"
        "pg_restore: error: could not execute query: ERROR:  extension \"postgis\" is not available\n",
        ERR_EXTENSION_ABSENT, "TABLE DATA public.t", 2);
}

static void silence_is_no_issue(void **state) {
  (void)state;
  DrillIssues issues = {0};
  drill_classify("pg_restore: connecting to database for restore\npg_restore: creating TABLE \"public.error: \"\n",
                 &toc, &issues);
  drill_classify("", NULL, &issues);
  assert_int_equal(0, issues.count);
  assert_null(drill_issues_worst(&issues));
}

static void bootstrap_role_is_recognised(void **state) {
  (void)state;
  assert_true(drill_roles_creates("CREATE ROLE postgres", "postgres"));
  assert_true(drill_roles_creates("CREATE ROLE \"a\"\"b\"", "a\"b"));
  assert_false(drill_roles_creates("CREATE ROLE postgres2", "postgres"));
  assert_false(drill_roles_creates("CREATE ROLE \"postgres2\"", "postgres"));
  assert_false(drill_roles_creates("CREATE ROLE \"post\"", "postgres"));
  assert_false(drill_roles_creates("CREATE ROLE \"", "postgres"));
  assert_false(drill_roles_creates("ALTER ROLE postgres", "postgres"));
}

static void database_tablespace_is_found(void **state) {
  (void)state;
  CLEANUP_FREE char *plain =
      drill_database_tablespace("CREATE DATABASE x WITH TEMPLATE = template0 TABLESPACE = fast;\n");
  CLEANUP_FREE char *quoted =
      drill_database_tablespace("CREATE DATABASE \" TABLESPACE = no\" TABLESPACE = \"a \"\"b\";");
  assert_string_equal("fast", plain);
  assert_string_equal("a \"b", quoted);
  assert_null(drill_database_tablespace("CREATE DATABASE \" TABLESPACE = no\" LOCALE = ' TABLESPACE = no';"));
  assert_null(drill_database_tablespace("CREATE DATABASE \"x"));
  assert_null(drill_database_tablespace(" TABLESPACE = "));
}

static void database_names_are_quoted(void **state) {
  (void)state;
  CLEANUP_FREE char *name = drill_dbname("it's = \\ odd");
  assert_string_equal("--dbname=dbname='it\\'s = \\\\ odd'", name);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(errors_are_classified),        cmocka_unit_test(rows_are_not_quoted),
      cmocka_unit_test(worst_issue_decides),          cmocka_unit_test(silence_is_no_issue),
      cmocka_unit_test(bootstrap_role_is_recognised), cmocka_unit_test(database_tablespace_is_found),
      cmocka_unit_test(database_names_are_quoted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
