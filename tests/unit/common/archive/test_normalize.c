/* What a restore changes in a definition is forgiven, and only that. The texts are what pg_dump 15 wrote of a database
 * and of its restored copy (roles and OIDs made anew by pg_dumpall and pg_restore); beside each pair, near misses. */
#include "archive_fixture.h"

#include "common/archive/normalize.h"

static char *normalized(const char *desc, const char *defn) {
  CLEANUP_FREE char *own_desc = memory_strdup(desc), *own_defn = memory_strdup(defn);
  ArchiveEntry entry = {.desc = own_desc, .defn = own_defn};
  return normalize_definition(&entry);
}

static bool same(const char *desc, const char *a, const char *b) {
  CLEANUP_FREE char *x = normalized(desc, a), *y = normalized(desc, b);
  return strcmp(x, y) == 0;
}

static void forgiven(const char *desc, const char *a, const char *b) {
  if (!same(desc, a, b))
    fail_msg("not forgiven: %s: %s and %s", desc, a, b);
  assert_false(same("VIEW", a, b)); /* of another kind of object it is a difference */
}

static void seen(const char *desc, const char *a, const char *b) {
  if (same(desc, a, b))
    fail_msg("not seen: %s: %s and %s", desc, a, b);
}

static void test_inherited_table(void **state) {
  (void)state;
  static const char source[] =
      "CREATE TABLE public.kid (\n    extra double precision,\n    name text DEFAULT 'k'::text NOT "
      "NULL,\n    id integer,\n    z integer,\n    CONSTRAINT aaa CHECK (((extra > "
      "(0)::double precision) AND (name <> 'x,(y)'::text)))\n)\nINHERITS (public.par);\n"
      "ALTER TABLE ONLY public.kid ALTER COLUMN extra SET STATISTICS 100;\n"
      "ALTER TABLE ONLY public.kid ALTER COLUMN extra SET (n_distinct=6);\n"
      "ALTER TABLE ONLY public.kid ALTER COLUMN name SET STORAGE EXTERNAL;\n"
      "ALTER TABLE ONLY public.kid ALTER COLUMN id SET STATISTICS 200;\n"
      "\nALTER TABLE ONLY public.kid REPLICA IDENTITY FULL;\n";
  static const char copy[] =
      "CREATE TABLE public.kid (\n    id integer,\n    name text DEFAULT 'k'::text NOT NULL,\n    "
      "extra double precision,\n    z integer,\n    CONSTRAINT aaa CHECK (((extra > (0)::double "
      "precision) AND (name <> 'x,(y)'::text)))\n)\nINHERITS (public.par);\n"
      "ALTER TABLE ONLY public.kid ALTER COLUMN id SET STATISTICS 200;\n"
      "ALTER TABLE ONLY public.kid ALTER COLUMN name SET STORAGE EXTERNAL;\n"
      "ALTER TABLE ONLY public.kid ALTER COLUMN extra SET STATISTICS 100;\n"
      "ALTER TABLE ONLY public.kid ALTER COLUMN extra SET (n_distinct=6);\n"
      "\nALTER TABLE ONLY public.kid REPLICA IDENTITY FULL;\n";
  forgiven("TABLE", source, copy);
  static const char *const changes[][2] = {{"id SET STATISTICS 200", "id SET STATISTICS 201"},
                                           {"name SET STORAGE", "z123 SET STORAGE"},
                                           {"NOT NULL,", ",        "},
                                           {"REPLICA IDENTITY FULL", "REPLICA IDENTITY NONE"},
                                           {"'x,(y)'", "'(y),x'"},
                                           {"public.par", "public.pax"}};
  for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
    assert_int_equal(strlen(changes[i][0]), strlen(changes[i][1]));
    CLEANUP_FREE char *miss = memory_strdup(copy);
    char *at = strstr(miss, changes[i][0]);
    assert_non_null(at);
    memcpy(at, changes[i][1], strlen(changes[i][1]));
    seen("TABLE", source, miss);
  }
}

/* Nothing is taken apart within quotes, parentheses and brackets: a part of one column is not another's. */
static void test_inherited_parts(void **state) {
  (void)state;
  seen("TABLE",
       "CREATE TABLE t (\n    a int[] DEFAULT ARRAY[1, 2],\n    b int[] DEFAULT ARRAY[3, 4]\n)\nINHERITS (p);\n",
       "CREATE TABLE t (\n    a int[] DEFAULT ARRAY[1, 4],\n    b int[] DEFAULT ARRAY[3, 2]\n)\nINHERITS (p);\n");
  seen("TABLE", "CREATE TABLE t (\n    a text DEFAULT 'x, y',\n    b text DEFAULT 'z, w'\n)\nINHERITS (p);\n",
       "CREATE TABLE t (\n    a text DEFAULT 'x, w',\n    b text DEFAULT 'z, y'\n)\nINHERITS (p);\n");
  seen("TABLE", "CREATE TABLE t (\n    a numeric(5, 2),\n    b numeric(7, 3)\n)\nINHERITS (p);\n",
       "CREATE TABLE t (\n    a numeric(5, 3),\n    b numeric(7, 2)\n)\nINHERITS (p);\n");
  forgiven("TABLE", "CREATE TABLE t (\n    \"a, \"\"b(\" text DEFAULT 'x'')y,'::text,\n    e text\n)\nINHERITS (p);\n",
           "CREATE TABLE t (\n    e text,\n    \"a, \"\"b(\" text DEFAULT 'x'')y,'::text\n)\nINHERITS (p);\n");
  forgiven("TABLE", "CREATE TABLE s.\"tab(le\" (\n    zz int,\n    id int\n)\nINHERITS (p);\n",
           "CREATE TABLE s.\"tab(le\" (\n    id int,\n    zz int\n)\nINHERITS (p);\n");
  /* the parents' order says whose columns come first */
  seen("TABLE", "CREATE TABLE t (\n    a int\n)\nINHERITS (p, q);\n",
       "CREATE TABLE t (\n    a int\n)\nINHERITS (q, p);\n");
}

/* A table that inherits nothing gets its columns back in their order: another one is a difference. */
static void test_plain_table(void **state) {
  (void)state;
  seen("TABLE", "CREATE TABLE t (\n    a int,\n    b int\n);\n", "CREATE TABLE t (\n    b int,\n    a int\n);\n");
  seen("TABLE", "CREATE TABLE t (\n    a text DEFAULT ')\nINHERITS (p)',\n    b int\n);\n",
       "CREATE TABLE t (\n    b int,\n    a text DEFAULT ')\nINHERITS (p)'\n);\n");
  static const char a[] =
      "CREATE TABLE t (\n    a int,\n    b int\n);\nALTER TABLE ONLY t ALTER COLUMN a SET STATISTICS 1;\n"
      "ALTER TABLE ONLY t ALTER COLUMN b SET STATISTICS 2;\n";
  static const char b[] =
      "CREATE TABLE t (\n    a int,\n    b int\n);\nALTER TABLE ONLY t ALTER COLUMN b SET STATISTICS 2;\n"
      "ALTER TABLE ONLY t ALTER COLUMN a SET STATISTICS 1;\n";
  seen("TABLE", a, b);
}

static void test_inherited_foreign_table(void **state) {
  (void)state;
  static const char source[] =
      "CREATE FOREIGN TABLE public.kidf (\n    zz integer,\n    id integer NOT NULL,\n    name text\n)\n"
      "INHERITS (public.par)\nSERVER sv\nOPTIONS (\n    table_name 'a;\nb'\n);\n"
      "ALTER FOREIGN TABLE public.kidf ALTER COLUMN zz OPTIONS (\n    column_name 'q;\n'\n);\n"
      "ALTER FOREIGN TABLE public.kidf ALTER COLUMN name OPTIONS (\n    column_name 'n'\n);\n";
  static const char copy[] =
      "CREATE FOREIGN TABLE public.kidf (\n    id integer NOT NULL,\n    name text,\n    zz integer\n)\n"
      "INHERITS (public.par)\nSERVER sv\nOPTIONS (\n    table_name 'a;\nb'\n);\n"
      "ALTER FOREIGN TABLE public.kidf ALTER COLUMN name OPTIONS (\n    column_name 'n'\n);\n"
      "ALTER FOREIGN TABLE public.kidf ALTER COLUMN zz OPTIONS (\n    column_name 'q;\n'\n);\n";
  forgiven("FOREIGN TABLE", source, copy);
  static const char swapped[] =
      "CREATE FOREIGN TABLE public.kidf (\n    id integer NOT NULL,\n    name text,\n    zz integer\n)\n"
      "INHERITS (public.par)\nSERVER sv\nOPTIONS (\n    table_name 'a;\nb'\n);\n"
      "ALTER FOREIGN TABLE public.kidf ALTER COLUMN name OPTIONS (\n    column_name 'q;\n'\n);\n"
      "ALTER FOREIGN TABLE public.kidf ALTER COLUMN zz OPTIONS (\n    column_name 'n'\n);\n";
  seen("FOREIGN TABLE", source, swapped);
}

static void test_policy(void **state) {
  (void)state;
  forgiven("POLICY", "CREATE POLICY p1 ON public.pol TO zed, amy, mid, bob, \"q r\" USING ((a > 0));\n",
           "CREATE POLICY p1 ON public.pol TO amy, bob, mid, \"q r\", zed USING ((a > 0));\n");
  forgiven("POLICY",
           "CREATE POLICY p3 ON public.pol FOR INSERT TO zed, amy WITH CHECK (((a)::text <> ' TO b, a;'::text));\n",
           "CREATE POLICY p3 ON public.pol FOR INSERT TO amy, zed WITH CHECK (((a)::text <> ' TO b, a;'::text));\n");
  forgiven("POLICY", "CREATE POLICY \" TO b, a\" ON s.t TO \"x, y\", \"a USING (\";\n",
           "CREATE POLICY \" TO b, a\" ON s.t TO \"a USING (\", \"x, y\";\n");
  seen("POLICY", "CREATE POLICY p ON s.t TO a, b;\n", "CREATE POLICY p ON s.t TO a, c;\n");
  seen("POLICY", "CREATE POLICY p ON s.t TO a, b;\n", "CREATE POLICY p ON s.t TO a;\n");
  seen("POLICY", "CREATE POLICY p ON s.t TO \"a, b\", c;\n", "CREATE POLICY p ON s.t TO \"a, c\", b;\n");
  seen("POLICY", "CREATE POLICY p ON s.t TO a USING ((x = ANY (ARRAY[1, 2])));\n",
       "CREATE POLICY p ON s.t TO a USING ((x = ANY (ARRAY[2, 1])));\n");
  seen("POLICY", "CREATE POLICY p ON s.t USING ((x <> ' TO a, b'));\n",
       "CREATE POLICY p ON s.t USING ((x <> ' TO b, a'));\n");
  seen("POLICY", "CREATE POLICY \" TO b, a\" ON s.t TO x;\n", "CREATE POLICY \" TO a, b\" ON s.t TO x;\n");
}

static void test_role_settings(void **state) {
  (void)state;
  static const char source[] =
      "ALTER DATABASE nasty SET work_mem TO '7MB';\nALTER DATABASE nasty SET \"DateStyle\" TO 'ISO, "
      "DMY';\nALTER ROLE zed IN DATABASE nasty SET work_mem TO '5MB';\nALTER ROLE zed IN DATABASE "
      "nasty SET search_path TO 'a;\nb', 'c';\nALTER ROLE amy IN DATABASE nasty SET work_mem TO "
      "'9MB';\n";
  forgiven("DATABASE PROPERTIES", source,
           "ALTER DATABASE nasty SET work_mem TO '7MB';\nALTER DATABASE nasty SET \"DateStyle\" TO 'ISO, DMY';\n"
           "ALTER ROLE amy IN DATABASE nasty SET work_mem TO '9MB';\nALTER ROLE zed IN DATABASE nasty SET work_mem TO "
           "'5MB';\n"
           "ALTER ROLE zed IN DATABASE nasty SET search_path TO 'a;\nb', 'c';\n");
  seen("DATABASE PROPERTIES", source, /* the roles' values swapped */
       "ALTER DATABASE nasty SET work_mem TO '7MB';\nALTER DATABASE nasty SET \"DateStyle\" TO 'ISO, DMY';\n"
       "ALTER ROLE amy IN DATABASE nasty SET work_mem TO '5MB';\nALTER ROLE zed IN DATABASE nasty SET work_mem TO "
       "'9MB';\n"
       "ALTER ROLE zed IN DATABASE nasty SET search_path TO 'a;\nb', 'c';\n");
  seen("DATABASE PROPERTIES", source, /* the order within one value */
       "ALTER DATABASE nasty SET work_mem TO '7MB';\nALTER DATABASE nasty SET \"DateStyle\" TO 'ISO, DMY';\n"
       "ALTER ROLE zed IN DATABASE nasty SET work_mem TO '5MB';\nALTER ROLE zed IN DATABASE nasty SET search_path TO "
       "'c', "
       "'a;\nb';\nALTER ROLE amy IN DATABASE nasty SET work_mem TO '9MB';\n");
  seen("DATABASE PROPERTIES", source, /* one lost */
       "ALTER DATABASE nasty SET work_mem TO '7MB';\nALTER DATABASE nasty SET \"DateStyle\" TO 'ISO, DMY';\n"
       "ALTER ROLE zed IN DATABASE nasty SET work_mem TO '5MB';\nALTER ROLE zed IN DATABASE nasty SET search_path TO "
       "'a;\nb', "
       "'c';\n");
  seen("DATABASE PROPERTIES", "ALTER DATABASE d SET a TO '1';\nALTER DATABASE d SET b TO '2';\n",
       "ALTER DATABASE d SET b TO '2';\nALTER DATABASE d SET a TO '1';\n");
}

static void test_default_acl(void **state) {
  (void)state;
#define FOR "ALTER DEFAULT PRIVILEGES FOR ROLE x2 "
  forgiven("DEFAULT ACL",
           FOR "GRANT SELECT ON TABLES  TO zed;\n" FOR "GRANT SELECT ON TABLES  TO mid;\n" FOR
               "GRANT ALL ON TABLES  TO \"q r\";\n",
           FOR "GRANT SELECT ON TABLES  TO mid;\n" FOR "GRANT ALL ON TABLES  TO \"q r\";\n" FOR
               "GRANT SELECT ON TABLES  TO zed;\n");
  forgiven("DEFAULT ACL",
           FOR "REVOKE ALL ON TABLES  FROM x2;\n" FOR "GRANT INSERT ON TABLES  TO x2;\n" FOR
               "GRANT SELECT ON TABLES  TO \" REVOKE ;\n\" WITH GRANT OPTION;\n",
           FOR "REVOKE ALL ON TABLES  FROM x2;\n" FOR
               "GRANT SELECT ON TABLES  TO \" REVOKE ;\n\" WITH GRANT OPTION;\n" FOR
               "GRANT INSERT ON TABLES  TO x2;\n");
  seen("DEFAULT ACL", FOR "REVOKE ALL ON TABLES  FROM x2;\n" FOR "GRANT INSERT ON TABLES  TO x2;\n",
       FOR "GRANT INSERT ON TABLES  TO x2;\n" FOR "REVOKE ALL ON TABLES  FROM x2;\n");
  seen("DEFAULT ACL", FOR "GRANT SELECT ON TABLES  TO a;\n" FOR "GRANT ALL ON TABLES  TO b;\n",
       FOR "GRANT SELECT ON TABLES  TO b;\n" FOR "GRANT ALL ON TABLES  TO a;\n");
  seen("DEFAULT ACL", FOR "GRANT SELECT ON TABLES  TO a;\n" FOR "GRANT ALL ON TABLES  TO b;\n",
       FOR "GRANT SELECT ON TABLES  TO a;\n");
  seen("DEFAULT ACL", FOR "GRANT SELECT ON TABLES  TO a;\n",
       FOR "GRANT SELECT ON TABLES  TO a;\n" FOR "GRANT SELECT ON TABLES  TO a;\n");
#undef FOR
  /* An object's own grants keep their order, which carries who may pass them on. */
  seen("ACL", "GRANT SELECT ON TABLE s.t TO a WITH GRANT OPTION;\nGRANT SELECT ON TABLE s.t TO b;\n",
       "GRANT SELECT ON TABLE s.t TO b;\nGRANT SELECT ON TABLE s.t TO a WITH GRANT OPTION;\n");
}

static void test_publication_table(void **state) {
  (void)state;
  forgiven("PUBLICATION TABLE", "ALTER PUBLICATION pubk ADD TABLE ONLY public.kid (extra, name, id);\n",
           "ALTER PUBLICATION pubk ADD TABLE ONLY public.kid (id, name, extra);\n");
  forgiven("PUBLICATION TABLE", "ALTER PUBLICATION p ADD TABLE ONLY \"s (\".\"t ADD\" (\"b, c\", a) WHERE ((a = 1));\n",
           "ALTER PUBLICATION p ADD TABLE ONLY \"s (\".\"t ADD\" (a, \"b, c\") WHERE ((a = 1));\n");
  seen("PUBLICATION TABLE", "ALTER PUBLICATION p ADD TABLE ONLY s.t (a, b);\n",
       "ALTER PUBLICATION p ADD TABLE ONLY s.t (a, c);\n");
  seen("PUBLICATION TABLE", "ALTER PUBLICATION p ADD TABLE ONLY s.t (a, b);\n",
       "ALTER PUBLICATION p ADD TABLE ONLY s.t;\n");
  seen("PUBLICATION TABLE", "ALTER PUBLICATION p ADD TABLE ONLY s.t WHERE ((a = ANY (ARRAY[1, 2])));\n",
       "ALTER PUBLICATION p ADD TABLE ONLY s.t WHERE ((a = ANY (ARRAY[2, 1])));\n");
  seen("PUBLICATION TABLE", "ALTER PUBLICATION p ADD TABLE ONLY s.t (a, b) WHERE (f(a, b));\n",
       "ALTER PUBLICATION p ADD TABLE ONLY s.t (a, b) WHERE (f(b, a));\n");
}

static void test_statistics(void **state) {
  (void)state;
  forgiven("STATISTICS", "CREATE STATISTICS public.kst ON extra, name, id FROM public.kid;\n",
           "CREATE STATISTICS public.kst ON id, name, extra FROM public.kid;\n");
  forgiven("STATISTICS",
           "CREATE STATISTICS s.\" ON b, a\" (ndistinct, mcv) ON \"z FROM \", a, (a + b), lower(c) FROM s.t;\n",
           "CREATE STATISTICS s.\" ON b, a\" (ndistinct, mcv) ON a, \"z FROM \", (a + b), lower(c) FROM s.t;\n");
  seen("STATISTICS", "CREATE STATISTICS s.n ON a, b FROM s.t;\n", "CREATE STATISTICS s.n ON a, c FROM s.t;\n");
  seen("STATISTICS", "CREATE STATISTICS s.n ON a, (a + b), (b * 2) FROM s.t;\n",
       "CREATE STATISTICS s.n ON a, (b * 2), (a + b) FROM s.t;\n");
  seen("STATISTICS", "CREATE STATISTICS s.n ON a, f(b, c) FROM s.t;\n",
       "CREATE STATISTICS s.n ON a, f(c, b) FROM s.t;\n");
  seen("STATISTICS", "CREATE STATISTICS s.n (ndistinct, mcv) ON a, b FROM s.t;\n",
       "CREATE STATISTICS s.n (mcv, ndistinct) ON a, b FROM s.t;\n");
  seen("STATISTICS", "CREATE STATISTICS s.n ON a, b FROM s.t;\nALTER STATISTICS s.n SET STATISTICS 4;\n",
       "CREATE STATISTICS s.n ON a, b FROM s.t;\nALTER STATISTICS s.n SET STATISTICS 5;\n");
}

/* Whatever the text, nothing is read beyond its end (the sanitizer sees to that), and at most blanks come or go. */
static void test_hostile(void **state) {
  (void)state;
  static const char *const kinds[] = {"TABLE",       "FOREIGN TABLE",     "POLICY",     "DATABASE PROPERTIES",
                                      "DEFAULT ACL", "PUBLICATION TABLE", "STATISTICS", "VIEW"};
  static const char *const texts[] = {"",
                                      "(",
                                      "\"",
                                      "'",
                                      "((((",
                                      "))))",
                                      "CREATE TABLE t (",
                                      "CREATE TABLE t ()\nINHERITS (",
                                      "CREATE TABLE \"t (",
                                      "CREATE POLICY p ON t TO ",
                                      "CREATE POLICY p ON t TO \"",
                                      "CREATE POLICY p ON t TO a) , b;",
                                      "ALTER ROLE \" IN DATABASE ",
                                      "ALTER ROLE x IN DATABASE ;\n;\n;\n",
                                      "ALTER DEFAULT PRIVILEGES  GRANT ",
                                      "ALTER PUBLICATION p ADD TABLE ONLY ",
                                      "ALTER PUBLICATION p ADD TABLE ONLY t (",
                                      "CREATE STATISTICS s ON ",
                                      "CREATE STATISTICS s ON \"",
                                      "CREATE STATISTICS s ON , FROM ",
                                      "CREATE STATISTICS s ON a) FROM t"};
  for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
      CLEANUP_FREE char *text = normalized(kinds[k], texts[i]);
      assert_in_range(strlen(text), 0, strlen(texts[i]) + 2);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_inherited_table), cmocka_unit_test(test_inherited_parts),
      cmocka_unit_test(test_plain_table),     cmocka_unit_test(test_inherited_foreign_table),
      cmocka_unit_test(test_policy),          cmocka_unit_test(test_role_settings),
      cmocka_unit_test(test_default_acl),     cmocka_unit_test(test_publication_table),
      cmocka_unit_test(test_statistics),      cmocka_unit_test(test_hostile),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
