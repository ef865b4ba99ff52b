/* Scripts taken apart as psql would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "common/archive/script.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

typedef struct Expected {
  ScriptPiece piece;
  int line;
  const char *text;
} Expected;

static void assert_pieces(const char *text, const Expected *expected, size_t count) {
  Script script;
  script_open(&script, text, strlen(text));
  for (size_t i = 0; i < count; i++) {
    assert_int_equal(script_next(&script), expected[i].piece);
    CLEANUP_FREE char *piece = memory_strndup(script.piece, script.size);
    assert_string_equal(piece, expected[i].text);
    assert_int_equal(script.line, expected[i].line);
  }
  assert_int_equal(script_next(&script), SCRIPT_END);
  assert_int_equal(script_next(&script), SCRIPT_END);
}

static void roles(void **state) {
  (void)state;
  static const char sql[] = "--\n-- Roles; of all\n--\n\\restrict abc\nSET a = 'x;y';\n\nCREATE ROLE \"a;\"\"b\";\n"
                            "COMMENT ON ROLE x IS 'one\n\\! id\n-- two; it''s';\n"
                            "ALTER ROLE x SET y TO E'a\\';b'; GRANT a TO b\n\\unrestrict abc\n";
  static const Expected expected[] = {{SCRIPT_COMMAND, 4, "\\restrict abc"},
                                      {SCRIPT_STATEMENT, 5, "SET a = 'x;y'"},
                                      {SCRIPT_STATEMENT, 7, "CREATE ROLE \"a;\"\"b\""},
                                      {SCRIPT_STATEMENT, 8, "COMMENT ON ROLE x IS 'one\n\\! id\n-- two; it''s'"},
                                      {SCRIPT_STATEMENT, 11, "ALTER ROLE x SET y TO E'a\\';b'"},
                                      {SCRIPT_STATEMENT, 11, "GRANT a TO b"},
                                      {SCRIPT_COMMAND, 12, "\\unrestrict abc"}};
  assert_pieces(sql, expected, ARRAY_SIZE(expected));
}

static void bodies(void **state) {
  (void)state;
  static const char sql[] =
      "/* a; /* b; */ c; */ DO $x$ BEGIN; END; $x$;;\n"
      "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;\n"
      "create procedure p() begin atomic; insert into t values (1); end; SELECT 1;\n"
      "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b);\n"
      "BEGIN; SELECT $1 -- ;\n, 2; END";
  static const Expected expected[] = {
      {SCRIPT_STATEMENT, 1, "DO $x$ BEGIN; END; $x$"},
      {SCRIPT_STATEMENT, 2,
       "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END"},
      {SCRIPT_STATEMENT, 3, "create procedure p() begin atomic; insert into t values (1); end"},
      {SCRIPT_STATEMENT, 3, "SELECT 1"},
      {SCRIPT_STATEMENT, 4, "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b)"},
      {SCRIPT_STATEMENT, 5, "BEGIN"},
      {SCRIPT_STATEMENT, 5, "SELECT $1 -- ;\n, 2"},
      {SCRIPT_STATEMENT, 6, "END"}};
  assert_pieces(sql, expected, ARRAY_SIZE(expected));
}

static void whatever_it_is_ends(void **state) {
  (void)state;
  static const char *const broken[] = {"'",      "\"", "E'\\", "--",    "\\",  ";;;", "a'b\"",
                                       "\"\"\"", "E'", "$x$",  "/* /*", "((;", ")",   "create function begin",
                                       "a\\b",   "$",  "-",    "\\\n\\"};
  for (size_t i = 0; i < ARRAY_SIZE(broken); i++) {
    Script script;
    script_open(&script, broken[i], strlen(broken[i]));
    size_t pieces = 0;
    while (script_next(&script) != SCRIPT_END)
      assert_true(++pieces < 4);
    assert_ptr_equal(script.at, script.end);
  }
}

static void outlines_tell_no_data(void **state) {
  (void)state;
  static const char sql[] =
      "INSERT  INTO t -- it's secret\n VALUES ('secret', E'se\\'cret', $x$secret$x$, 5, -1.5e-3, c2 = $1, \"Col\")";
  CLEANUP_FREE char *outline = script_outline(sql, strlen(sql), 200);
  assert_string_equal(outline, "INSERT INTO t VALUES ('...', '...', '...', ?, -?, c2 = $1, \"Col\")");
  CLEANUP_FREE char *cut = script_outline(sql, strlen(sql), 10);
  assert_string_equal(cut, "INSERT INT");
}

static void inline_copies(void **state) {
  (void)state;
  static const char *const yes[] = {"COPY t FROM STDIN", "copy \"a b\" (c) from stdin with (format csv)",
                                    "/* x */ COPY (SELECT 1) TO STDOUT"};
  static const char *const no[] = {"COPY t FROM '/stdin'", "SELECT stdin FROM copy", "COPY t TO PROGRAM 'x STDOUT'", "",
                                   "COPY"};
  for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
    assert_true(script_copies_inline(yes[i], strlen(yes[i])));
  for (size_t i = 0; i < ARRAY_SIZE(no); i++)
    assert_false(script_copies_inline(no[i], strlen(no[i])));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(roles),
      cmocka_unit_test(bodies),
      cmocka_unit_test(whatever_it_is_ends),
      cmocka_unit_test(outlines_tell_no_data),
      cmocka_unit_test(inline_copies),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
