/* What is forgiven, and how close to it nothing is any more. */
#include "archive_fixture.h"
#include "common/archive/normalize.h"

static char *normal(const char *desc, const char *defn) {
  ArchiveEntry entry = {.desc = (char *)desc, .defn = (char *)defn};
  return normalize_definition(&entry);
}

static void check(const char *desc, const char *a, const char *b, bool same) {
  CLEANUP_FREE char *x = normal(desc, a);
  CLEANUP_FREE char *y = normal(desc, b);
  if ((strcmp(x, y) == 0) != same)
    fail_msg("%s:\n%s\n%s", same ? "should be the same" : "should differ", x, y);
}

#define CHILD(columns, parents) "CREATE TABLE public.child (\n" columns "\n)\nINHERITS (" parents ");\n"

static void test_inherits(void **state) {
  (void)state;
  static const char base[] = CHILD("    a integer,\n    b text DEFAULT 'x, y'::text", "public.parent");
  check("TABLE", base, CHILD("    b text DEFAULT 'x, y'::text,\n    a integer", "public.parent"), true);
  check("TABLE", base, CHILD("    b text DEFAULT 'y, x'::text,\n    a integer", "public.parent"), false);
  check("TABLE", base, CHILD("    a bigint,\n    b text DEFAULT 'x, y'::text", "public.parent"), false);
  check("TABLE", base, CHILD("    b integer,\n    a text DEFAULT 'x, y'::text", "public.parent"), false);
  check("TABLE", base, CHILD("    a integer,\n    a integer,\n    b text DEFAULT 'x, y'::text", "public.parent"),
        false);
  check("TABLE", base, CHILD("    a integer", "public.parent"), false);
  check("TABLE", base, CHILD("    a integer NOT NULL,\n    b text DEFAULT 'x, y'::text", "public.parent"), false);
  check("TABLE", base, CHILD("    a integer,\n    b text DEFAULT 'x, y'::text", "public.other"), false);
  /* the order of the parents is the order of columns under them: not forgiven */
  check("TABLE", CHILD("    a integer", "p, q"), CHILD("    a integer", "q, p"), false);
  /* odd names, and constraints with commas and parentheses of their own */
  check("TABLE",
        CHILD("    \"a, )\" numeric(4,2),\n    CONSTRAINT \"c(\" CHECK (((a > 1) AND (b = ANY (ARRAY[1, 2]))))", "p"),
        CHILD("    CONSTRAINT \"c(\" CHECK (((a > 1) AND (b = ANY (ARRAY[1, 2])))),\n    \"a, )\" numeric(4,2)", "p"),
        true);
  check("TABLE", CHILD("    a numeric(4,2),\n    CHECK ((b = ANY (ARRAY[1, 2])))", "p"),
        CHILD("    a numeric(4,2),\n    CHECK ((b = ANY (ARRAY[2, 1])))", "p"), false);
  check("TABLE", CHILD("    a numeric(4,2)", "p"), CHILD("    a numeric(2,4)", "p"), false);
  check("TABLE", CHILD("    \"it's\" text,\n    b text DEFAULT 'it''s, ok)'::text", "p"),
        CHILD("    b text DEFAULT 'it''s, ok)'::text,\n    \"it's\" text", "p"), true);
  /* blanks inside are content */
  check("TABLE", CHILD("    a text DEFAULT ' '::text", "p"), CHILD("    a text DEFAULT '  '::text", "p"), false);
  /* a default that is itself two columns, textually */
  check("TABLE", CHILD("    a text DEFAULT 'x,\n    b int'::text", "p"),
        CHILD("    a text DEFAULT 'x,\n    c int'::text", "p"), false);
}

static void test_plain_tables(void **state) {
  (void)state;
  check("TABLE", "CREATE TABLE t (\n    a integer,\n    b text\n);\n",
        "CREATE TABLE t (\n    b text,\n    a integer\n);\n", false);
  check("TABLE", "CREATE TABLE t (\n    a integer,\n    b text\n)\nPARTITION BY RANGE (a, b);\n",
        "CREATE TABLE t (\n    b text,\n    a integer\n)\nPARTITION BY RANGE (a, b);\n", false);
  check("VIEW", CHILD("    a integer,\n    b text", "p"), CHILD("    b text,\n    a integer", "p"), false);
  /* INHERITS in a comment or default is not the clause */
  check("TABLE", "CREATE TABLE t (\n    a text DEFAULT ')\nINHERITS (p)'::text,\n    b text\n);\n",
        "CREATE TABLE t (\n    b text,\n    a text DEFAULT ')\nINHERITS (p)'::text\n);\n", false);
}

static void test_policies(void **state) {
  (void)state;
  static const char base[] = "CREATE POLICY p ON s.t FOR SELECT TO a, \"b, c\", d USING ((x = 1));\n";
  check("POLICY", base, "CREATE POLICY p ON s.t FOR SELECT TO d, a, \"b, c\" USING ((x = 1));\n", true);
  check("POLICY", base, "CREATE POLICY p ON s.t FOR SELECT TO d, e, \"b, c\" USING ((x = 1));\n", false);
  check("POLICY", base, "CREATE POLICY p ON s.t FOR SELECT TO a, \"b, c\" USING ((x = 1));\n", false);
  check("POLICY", base, "CREATE POLICY p ON s.t FOR SELECT TO a, a, \"b, c\", d USING ((x = 1));\n", false);
  check("POLICY", base, "CREATE POLICY p ON s.t FOR SELECT TO a, \"c, b\", d USING ((x = 1));\n", false);
  check("POLICY", base, "CREATE POLICY p ON s.t FOR UPDATE TO a, \"b, c\", d USING ((x = 1));\n", false);
  check("POLICY", base, "CREATE POLICY p ON s.t FOR SELECT USING ((x = 1));\n", false);
  check("POLICY", base, "CREATE POLICY p ON s.t FOR SELECT TO a, \"b, c\", d USING ((x = 2));\n", false);
  check("POLICY", base, "CREATE POLICY p ON s.t FOR SELECT TO a, \"b, c\", d WITH CHECK ((x = 1));\n", false);
  /* an expression is not touched, whatever it looks like */
  check("POLICY", "CREATE POLICY p ON s.t USING ((x = ANY (ARRAY[' TO b', a])));\n",
        "CREATE POLICY p ON s.t USING ((x = ANY (ARRAY[a, ' TO b'])));\n", false);
  check("POLICY", "CREATE POLICY p ON s.t TO a USING ((x = ' TO b, a USING ('::text));\n",
        "CREATE POLICY p ON s.t TO a USING ((x = ' TO a, b USING ('::text));\n", false);
  /* names that look like clauses */
  check("POLICY", "CREATE POLICY \" TO x, y\" ON s.\" USING (\" TO b, a USING (true);\n",
        "CREATE POLICY \" TO x, y\" ON s.\" USING (\" TO a, b USING (true);\n", true);
  check("POLICY", "CREATE POLICY \" TO x, y\" ON s.t TO a USING (true);\n",
        "CREATE POLICY \" TO y, x\" ON s.t TO a USING (true);\n", false);
  check("POLICY", "CREATE POLICY p ON s.t TO b, a;\n", "CREATE POLICY p ON s.t TO a, b;\n", true);
}

/* Hostile definitions end, within their bounds. */
static void test_hostile(void **state) {
  (void)state;
  static const char *const texts[] = {"",
                                      "(",
                                      "\"",
                                      "CREATE TABLE t (",
                                      "CREATE TABLE t ('",
                                      "CREATE TABLE t (((,",
                                      ")))",
                                      "CREATE POLICY p TO ",
                                      "CREATE POLICY p ON t TO \"",
                                      " TO ",
                                      " TO a,,",
                                      ",",
                                      "'\"'("};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    free(normal("TABLE", texts[i]));
    free(normal("POLICY", texts[i]));
    CLEANUP_FREE char *other = normal("INDEX", texts[i]);
    assert_string_equal(other, texts[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_inherits),
      cmocka_unit_test(test_plain_tables),
      cmocka_unit_test(test_policies),
      cmocka_unit_test(test_hostile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
