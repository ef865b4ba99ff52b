/* The statements of real archives against what the real pg_restore of PostgreSQL 15 writes, and tables taken apart. */
#include "shop_fixture.h"

#include <unistd.h>

#include "common/archive/ddl.h"
#include "common/archive/select.h"
#include "common/archive/sql_text.h"
#include "common/base/process.h"
#include "common/base/text.h"

static const char PG_RESTORE[] = "/usr/lib/postgresql/15/bin/pg_restore";

/* ---- statements ---- */

static char *restored_text(const char *name) {
  CLEANUP_FREE char *path = data_path(name);
  const char *const argv[] = {PG_RESTORE, "--schema-only", "-f", "-", path, NULL};
  Buffer out = {0};
  Error err;
  if (process_run(&(ProcessOptions){.argv = argv}, 1 << 20, &out, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return buffer_steal_text(&out);
}

/* Blanks the first place of `statement` in text that is a statement of its own. */
static void strike_out(char *text, const char *statement) {
  size_t size = strlen(statement);
  for (char *at = text; (at = strstr(at, statement)) != NULL; at++)
    if ((at == text || at[-1] == '\n') && at[size] == '\n') {
      memset(at, ' ', size);
      return;
    }
  fail_msg("pg_restore does not say: %s", statement);
}

/* Each statement is one that pg_restore writes, and it writes no others but settings. */
static void test_statements(void **state) {
  (void)state;
  static const char *const archives[] = {"pg13-shop.dump", "pg15-shop.dump", "pg15.dump"};
  for (size_t i = 0; i < ARRAY_SIZE(archives); i++) {
    CLEANUP(shop_release) Shop shop = shop_load(archives[i]);
    CLEANUP_FREE char *text = restored_text(archives[i]);
    CLEANUP_FREE bool *take = memory_alloc(shop.toc->entry_count);
    for (size_t e = 0; e < shop.toc->entry_count; e++)
      take[e] =
          !archive_is_data(&shop.toc->entries[e]) || strcmp(shop.toc->entries[e].desc, "MATERIALIZED VIEW DATA") == 0;
    CLEANUP_FREE long *order = NULL;
    size_t count = archive_restore_order(shop.index, take, &order);
    CLEANUP(statement_list_release) StatementList session = {0}, list = {0};
    archive_session_statements(shop.toc, &session);
    assert_string_equal(session.items[0], "SET client_encoding = 'UTF8';");
    assert_string_equal(session.items[1], "SET standard_conforming_strings = 'on';"); /* pg_restore: without quotes */
    for (size_t s = 2; s < session.count; s++)
      strike_out(text, session.items[s]);
    for (size_t e = 0; e < count; e++)
      archive_entry_statements(shop.toc, &shop.toc->entries[order[e]], &list);
    for (size_t s = 0; s < list.count; s++)
      strike_out(text, list.items[s]);
    for (char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
      line += strspn(line, " \n");
      if (*line && strncmp(line, "--", 2) != 0 && strncmp(line, "SET ", 4) != 0 && *line != '\\')
        fail_msg("%s: pg_restore says more: %.200s", archives[i], line);
    }
  }
}

static char *joined(const ArchiveEntry *entry) {
  CLEANUP(statement_list_release) StatementList list = {0};
  ArchiveToc toc = {0};
  archive_entry_statements(&toc, entry, &list);
  Buffer out = {0};
  for (size_t i = 0; i < list.count; i++)
    buffer_append_format(&out, "%s|", list.items[i]);
  return buffer_steal_text(&out);
}

static char EMPTY[] = "";

static ArchiveEntry entry_of(const char *desc, const char *schema, const char *tag, const char *defn,
                             const char *drop) {
  return (ArchiveEntry){.desc = (char *)desc,
                        .schema = (char *)schema,
                        .tag = (char *)tag,
                        .defn = (char *)defn,
                        .drop_stmt = (char *)drop,
                        .tablespace = EMPTY,
                        .table_am = EMPTY,
                        .owner = EMPTY,
                        .copy_stmt = EMPTY};
}

/* What no archive here has: other tablespaces and access methods; 1.16's partitioned table with one. */
static void test_storage(void **state) {
  (void)state;
  ArchiveEntry entry = entry_of("TABLE", "s", "t", "CREATE TABLE s.t (\n    a integer\n);\n", "DROP TABLE s.t;\n");
  entry.owner = (char *)"Odd \"owner";
  entry.table_am = (char *)"heap";
  CLEANUP_FREE char *plain = joined(&entry);
  assert_string_equal(plain, "CREATE TABLE s.t (\n    a integer\n);|ALTER TABLE s.t OWNER TO \"Odd \"\"owner\";|");
  entry.tablespace = (char *)"fast disk";
  entry.table_am = (char *)"columnar";
  entry.relkind = 'r';
  CLEANUP_FREE char *placed = joined(&entry);
  assert_string_equal(placed, "SET LOCAL default_tablespace = \"fast disk\";|"
                              "SET LOCAL default_table_access_method = columnar;|"
                              "CREATE TABLE s.t (\n    a integer\n);|"
                              "SET LOCAL default_table_access_method = heap;|"
                              "SET LOCAL default_tablespace = '';|"
                              "ALTER TABLE s.t OWNER TO \"Odd \"\"owner\";|");
  entry.relkind = 'p';
  CLEANUP_FREE char *partitioned = joined(&entry);
  assert_string_equal(partitioned, "SET LOCAL default_tablespace = \"fast disk\";|"
                                   "CREATE TABLE s.t (\n    a integer\n);|"
                                   "SET LOCAL default_tablespace = '';|"
                                   "ALTER TABLE s.t SET ACCESS METHOD columnar;|"
                                   "ALTER TABLE s.t OWNER TO \"Odd \"\"owner\";|");
  ArchiveEntry index = entry_of("INDEX", "s", "i", "CREATE INDEX i ON s.t USING btree (a);\n", "DROP INDEX s.i;\n");
  index.owner = (char *)"x";
  CLEANUP_FREE char *indexed = joined(&index);
  assert_string_equal(indexed, "CREATE INDEX i ON s.t USING btree (a);|"); /* its owner is the table's */
  ArchiveEntry schema = entry_of("SCHEMA", "", "public", "-- *not* creating schema, since initdb creates it\n\n", "");
  schema.owner = (char *)"x";
  CLEANUP_FREE char *nothing = joined(&schema);
  assert_string_equal(nothing, "");
}

static void check_owner(const char *desc, const char *tag, const char *drop, const char *wanted) {
  ArchiveEntry entry = entry_of(desc, "s", tag, "", drop);
  CLEANUP_FREE char *statement = archive_owner_statement(&entry, "o");
  if (!wanted)
    assert_null(statement);
  else
    assert_string_equal(statement, wanted);
}

static void test_owners(void **state) {
  (void)state;
  check_owner("FUNCTION", "f(text, \"Odd;\")", "DROP FUNCTION s.f(text, \"Odd;\");\n",
              "ALTER FUNCTION s.f(text, \"Odd;\") OWNER TO o;");
  check_owner("OPERATOR CLASS", "c", "DROP OPERATOR CLASS s.c USING btree;\n",
              "ALTER OPERATOR CLASS s.c USING btree OWNER TO o;");
  check_owner("MATERIALIZED VIEW", "Select", "DROP MATERIALIZED VIEW s.\"Select\";\n",
              "ALTER TABLE s.\"Select\" OWNER TO o;");
  check_owner("SCHEMA", "table", "DROP SCHEMA \"table\";\n", "ALTER SCHEMA \"table\" OWNER TO o;");
  check_owner("SEQUENCE", "q", "", NULL); /* an identity column's */
  check_owner("TRIGGER", "t g", "DROP TRIGGER g ON s.t;\n", NULL);
  check_owner("EXTENSION", "e", "DROP EXTENSION e;\n", NULL);
}

static void test_identity(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]);
    char *const wanted[] = {"TABLE public.orders", "FUNCTION public.tax(numeric, text)", "SCHEMA audit",
                            "TABLE \"Odd \"\"Schema\".both", "DEFAULT public.customers id"};
    size_t found = 0;
    for (size_t e = 0; e < shop.toc->entry_count; e++) {
      CLEANUP_FREE char *identity = archive_entry_identity(&shop.toc->entries[e]);
      for (size_t w = 0; w < ARRAY_SIZE(wanted); w++)
        found += strcmp(identity, wanted[w]) == 0;
    }
    assert_int_equal(found, ARRAY_SIZE(wanted));
  }
}

/* ---- tables ---- */

typedef struct Wanted {
  const char *name, *type, *rest;
} Wanted;

static void check_columns(const ArchiveColumn *columns, size_t count, const Wanted *wanted, size_t wanted_count) {
  for (size_t i = 0; i < count && i < wanted_count; i++) {
    assert_string_equal(columns[i].name, wanted[i].name);
    assert_string_equal(columns[i].type, wanted[i].type);
    assert_string_equal(columns[i].rest, wanted[i].rest);
    assert_int_equal(columns[i].not_null, strstr(wanted[i].rest, "NOT NULL") && strcmp(wanted[i].name, "kind") != 0);
    assert_int_equal(columns[i].generated, strncmp(wanted[i].rest, "GENERATED", 9) == 0);
  }
  assert_int_equal(count, wanted_count);
}

static ArchiveTable table_of(const Shop *shop, const char *desc, const char *schema, const char *name) {
  ArchiveTable table = {0};
  Error err;
  if (archive_table_parse(shop_entry(shop, desc, schema, name), &table, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  return table;
}

#define NOTE_DEFAULT "DEFAULT 'a,b) \"c\"\n\\ ''d'' $$e'::text"

static const Wanted ORDERS[] = {
    {"id", "bigint", "NOT NULL"},
    {"customer", "bigint", "NOT NULL"},
    {"note", "text COLLATE pg_catalog.\"C\"", NOTE_DEFAULT " NOT NULL"},
    {"amount", "numeric(10,2)", "DEFAULT ((1 + 2) * 3)"},
    {"gross", "numeric", "GENERATED ALWAYS AS ((amount + public.tax(amount))) STORED"},
    {"tags", "text[]", "DEFAULT ARRAY['a, b'::text, '(c'::text] NOT NULL"},
    {"grid", "integer[]", "DEFAULT '{{1,2},{3,4}}'::integer[]"},
    {"made", "timestamp(3) with time zone", "DEFAULT now()"},
    {"span", "interval day to second(3)", "DEFAULT '1 day'::interval"},
    {"kind", "character varying(20)", "DEFAULT \nCASE\n    WHEN true THEN 'NOT NULL'::text\n    ELSE NULL::text\nEND"},
    {"pair", "\"Odd \"\"Schema\".\"pair, (\"", ""},
    {"Odd \"Column, \xc3\xbc", "\"char\"", ""},
    {"new\nline", "integer", ""},
    {"last_payment", "integer", ""}};

static void test_columns(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]);
    CLEANUP(archive_table_release) ArchiveTable orders = table_of(&shop, "TABLE", "public", "orders");
    check_columns(orders.columns, orders.column_count, ORDERS, ARRAY_SIZE(ORDERS));
    assert_string_equal(orders.columns[2].default_sql, NOTE_DEFAULT + strlen("DEFAULT "));
    assert_string_equal(orders.columns[4].default_sql, "((amount + public.tax(amount)))");
    assert_null(orders.columns[0].default_sql);
    assert_int_equal(orders.constraint_count, 2);
    assert_string_equal(orders.constraints[0], "CONSTRAINT orders_amount_check CHECK ((amount < (1000000)::numeric))");
    assert_string_equal(orders.constraints[1], "CONSTRAINT positive CHECK (((amount > (0)::numeric) AND (note <> 'x, "
                                               "(y'::text)))");
    assert_string_equal(orders.tail, "WITH (fillfactor='70')");
    assert_string_equal(orders.settings, "ALTER TABLE ONLY public.orders ALTER COLUMN note SET STATISTICS 200;\n"
                                         "ALTER TABLE ONLY public.orders ALTER COLUMN note SET STORAGE EXTERNAL;");
    assert_false(orders.partitioned || orders.unlogged || orders.foreign_table);
    CLEANUP(archive_table_release) ArchiveTable dates = table_of(&shop, "TABLE", "public", "dates");
    static const Wanted wanted[] = {{"default", "date", ""},
                                    {"Not", "text", "DEFAULT 'a'::text"},
                                    {"constraint", "integer", ""},
                                    {"at", "time with time zone", ""},
                                    {"v", "bit varying(3)", ""}};
    check_columns(dates.columns, dates.column_count, wanted, ARRAY_SIZE(wanted));
    assert_string_equal(dates.constraints[0], "CONSTRAINT \"CHECK (\" CHECK ((\"constraint\" > 0))");
  }
}

static void test_kinds_of_tables(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]);
    CLEANUP(archive_table_release)
    ArchiveTable events = table_of(&shop, "TABLE", "audit", "events"),
                 worker = table_of(&shop, "TABLE", "public", "worker"),
                 typed = table_of(&shop, "TABLE", "public", "typed"),
                 plain = table_of(&shop, "TABLE", "public", "typed_plain"),
                 none = table_of(&shop, "TABLE", "public", "no_columns"),
                 feed = table_of(&shop, "FOREIGN TABLE", "public", "feed"),
                 cache = table_of(&shop, "TABLE", "public", "cache");
    assert_true(events.partitioned && cache.unlogged && feed.foreign_table);
    assert_string_equal(events.tail, "PARTITION BY RANGE (at)");
    assert_int_equal(worker.parent_count, 1);
    assert_string_equal(worker.parents[0], "public");
    assert_string_equal(worker.parents[1], "person");
    assert_int_equal(worker.column_count, 2);
    assert_string_equal(typed.of_type[0], ODD);
    assert_string_equal(typed.of_type[1], "pair, (");
    assert_int_equal(typed.column_count, 1);
    assert_true(typed.columns[0].not_null);
    assert_string_equal(typed.columns[0].default_sql, "'x, y'::text");
    assert_int_equal(plain.column_count, 0);
    assert_string_equal(plain.of_type[1], "pair, (");
    assert_int_equal(none.column_count + none.constraint_count, 0);
    assert_string_equal(feed.tail, "SERVER files\nOPTIONS (\n    filename '/nowhere, (',\n    format 'csv'\n)");
    assert_non_null(strstr(feed.settings, "force_not_null"));
    /* a view is no table */
    ArchiveTable view;
    Error err;
    assert_int_equal(archive_table_parse(shop_entry(&shop, "VIEW", "public", "big"), &view, &err), ERR_ARCHIVE_FORMAT);
  }
}

static void test_all_columns(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]);
    Error err;
    CLEANUP(archive_columns_release) ArchiveColumns worker = {0}, typed = {0}, plain = {0};
    assert_int_equal(archive_table_columns(shop.index, shop_find(&shop, "TABLE", "public", "worker"), &worker, &err),
                     0);
    static const Wanted of_worker[] = {
        {"id", "integer", ""}, {"name", "text", "DEFAULT 'nobody'::text NOT NULL"}, {"wage", "integer", "DEFAULT 5"}};
    check_columns(worker.items, worker.count, of_worker, ARRAY_SIZE(of_worker));
    assert_int_equal(archive_table_columns(shop.index, shop_find(&shop, "TABLE", "public", "typed"), &typed, &err), 0);
    static const Wanted of_typed[] = {{"a, b", "integer", ""},
                                      {"c", "text COLLATE pg_catalog.\"C\"", "DEFAULT 'x, y'::text NOT NULL"}};
    check_columns(typed.items, typed.count, of_typed, ARRAY_SIZE(of_typed));
    assert_int_equal(
        archive_table_columns(shop.index, shop_find(&shop, "TABLE", "public", "typed_plain"), &plain, &err), 0);
    assert_int_equal(plain.count, 2);
  }
}

/* Every TABLE DATA of every archive: its COPY's columns are all found, with a type. */
static void test_copy_columns(void **state) {
  (void)state;
  for (size_t i = 0; i < SHOP_COUNT; i++) {
    CLEANUP(shop_release) Shop shop = shop_load(SHOPS[i]);
    size_t tables = 0;
    for (size_t e = 0; e < shop.toc->entry_count; e++) {
      if (strcmp(shop.toc->entries[e].desc, "TABLE DATA") != 0)
        continue;
      CLEANUP(archive_columns_release) ArchiveColumns columns = {0};
      Error err;
      if (archive_copy_columns(shop.index, (long)e, &columns, &err) != STATUS_OK)
        fail_msg("%s", err.message);
      for (size_t c = 0; c < columns.count; c++)
        assert_true(*columns.items[c].type && !columns.items[c].generated);
      bool none = strcmp(shop.toc->entries[e].tag, "no_columns") == 0;
      assert_true(none ? columns.count == 0 : columns.count > 0);
      if (strcmp(shop.toc->entries[e].tag, "orders") == 0)
        assert_int_equal(columns.count, ARRAY_SIZE(ORDERS) - 1);
      tables++;
    }
    assert_int_equal(tables, 20);
  }
}

/* ---- texts that other versions and other columns have, and that nobody should ---- */

static Status parse(const char *defn, ArchiveTable *out) {
  ArchiveEntry entry = entry_of("TABLE", "s", "t", defn, "");
  Error err;
  return archive_table_parse(&entry, out, &err);
}

static void test_name_lists(void **state) {
  (void)state;
  static const char *const good[] = {"", "(a)", "(a, b$1, \"c, d\", \"e\"\"(\")", "(\"\xc3\xa9\n\", \xc3\xa9)"};
  static const char *const bad[] = {"a",
                                    "(",
                                    "()",
                                    "(a",
                                    "(a,)",
                                    "(a b)",
                                    "(a))",
                                    "(a) ",
                                    "(a) TO PROGRAM 'id' --",
                                    "(a); COMMIT",
                                    "(a, (b))",
                                    "(\"a)",
                                    "(\"\")",
                                    "TO STDOUT; DROP TABLE t; --",
                                    "(a, 'b')",
                                    "(a,, b)",
                                    "(, a)"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    if (!sql_is_name_list(good[i]))
      fail_msg("refused: %s", good[i]);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (sql_is_name_list(bad[i]))
      fail_msg("taken: %s", bad[i]);
}

static void check_one(const char *column, const char *type, const char *rest, const char *default_sql) {
  CLEANUP_FREE char *defn = memory_format("CREATE TABLE s.t (\n    %s\n);\n", column);
  CLEANUP(archive_table_release) ArchiveTable table = {0};
  if (parse(defn, &table) != STATUS_OK)
    fail_msg("not read: %s", defn);
  assert_int_equal(table.column_count, 1);
  assert_string_equal(table.columns[0].type, type);
  assert_string_equal(table.columns[0].rest, rest);
  assert_true(!default_sql == !table.columns[0].default_sql);
  if (default_sql)
    assert_string_equal(table.columns[0].default_sql, default_sql);
}

static void test_column_texts(void **state) {
  (void)state;
  check_one("a text COLLATE \"de_DE\" DEFAULT E'\\'),\\\\'::text NOT NULL", "text COLLATE \"de_DE\"",
            "DEFAULT E'\\'),\\\\'::text NOT NULL", "E'\\'),\\\\'::text");
  check_one("a text DEFAULT $x$ , ) $y$ NOT NULL $x$ NOT NULL", "text", "DEFAULT $x$ , ) $y$ NOT NULL $x$ NOT NULL",
            "$x$ , ) $y$ NOT NULL $x$");
  check_one("a text DEFAULT NULL::character varying", "text", "DEFAULT NULL::character varying",
            "NULL::character varying");
  check_one("a boolean DEFAULT (NOT true)", "boolean", "DEFAULT (NOT true)", "(NOT true)");
  check_one("a double precision[] DEFAULT (ARRAY[1, 2])[1] NOT NULL", "double precision[]",
            "DEFAULT (ARRAY[1, 2])[1] NOT NULL", "(ARRAY[1, 2])[1]");
  check_one("a public.generated DEFAULT 1", "public.generated", "DEFAULT 1", "1");
  check_one("a public.options", "public.options", "", NULL);
  check_one("a integer CONSTRAINT \"NOT NULL\" NOT NULL", "integer", "CONSTRAINT \"NOT NULL\" NOT NULL", NULL);
  check_one("a integer GENERATED ALWAYS AS ((b + 1)) VIRTUAL NOT NULL", "integer",
            "GENERATED ALWAYS AS ((b + 1)) VIRTUAL NOT NULL", "((b + 1))");
  check_one("a integer DEFAULT (1 /* ) , */ + 2)", "integer", "DEFAULT (1 /* ) , */ + 2)", "(1 /* ) , */ + 2)");
  check_one("a text DEFAULT ('x'::text COLLATE \"C\") COLLATE \"C\"", "text COLLATE \"C\"",
            "DEFAULT ('x'::text COLLATE \"C\")", "('x'::text COLLATE \"C\")");
}

static void test_bad_texts(void **state) {
  (void)state;
  static const char *const bad[] = {"",
                                    "CREATE VIEW s.t AS SELECT 1;\n",
                                    "CREATE TABLE s.t",
                                    "CREATE TABLE s.t (",
                                    "CREATE TABLE s.t (\n    a integer\n",
                                    "CREATE TABLE s.t (\n    a integer\n)",
                                    "CREATE TABLE s.t (\n    a\n);\n",
                                    "CREATE TABLE s.t (\n    a DEFAULT 1\n    ,\n);\n",
                                    "CREATE TABLE s.t (\n    \"a integer\n);\n",
                                    "CREATE TABLE s.t (\n    a integer DEFAULT 'x\n);\n",
                                    "CREATE TABLE s.t (\n    a integer DEFAULT $$x\n);\n",
                                    "CREATE TABLE s.t (\n    a integer DEFAULT (1\n);\n",
                                    "CREATE TABLE s.t (\n    a integer\n)\nINHERITS (p;\n",
                                    "CREATE TABLE s.t (\n    a integer\n)\nINHERITS (\"p, s.q);\n",
                                    "CREATE TABLE s.t (\n    a integer -- x\n    NOT NULL\n);\n",
                                    "CREATE TABLE s.t OF x;\n",
                                    "CREATE TABLE s.t OF \"x\".;\n"};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    ArchiveTable table = {0};
    if (parse(bad[i], &table) == STATUS_OK)
      fail_msg("read: %s", bad[i]);
    assert_null(table.columns);
  }
}

/* Tables that inherit from each other in a circle, and a diamond of them many levels high. */
static void test_hostile_inheritance(void **state) {
  (void)state;
  enum { LEVELS = 40 };
  ArchiveEntry entries[2 * LEVELS] = {0};
  char *texts[2 * LEVELS][2];
  for (int i = 0; i < 2 * LEVELS; i++) {
    int up = (i / 2 + 1) % LEVELS;
    texts[i][0] = memory_format("t%d_%d", i / 2, i % 2);
    texts[i][1] =
        memory_format("CREATE TABLE s.%s (\n    a integer\n)\nINHERITS (s.t%d_0, s.t%d_1);\n", texts[i][0], up, up);
    entries[i] = entry_of("TABLE", "s", texts[i][0], texts[i][1], "");
    entries[i].dump_id = i + 1;
  }
  ArchiveToc toc = {.entries = entries, .entry_count = ARRAY_SIZE(entries)};
  ArchiveIndex *index = archive_index_new(&toc);
  ArchiveColumns columns = {0};
  Error err;
  assert_int_equal(archive_table_columns(index, 0, &columns, &err), ERR_ARCHIVE_FORMAT);
  assert_non_null(strstr(err.message, "inherits without end"));
  archive_index_free(index);
  for (int i = 0; i < 2 * LEVELS; i++) {
    free(texts[i][0]);
    free(texts[i][1]);
  }
}

/* What is shown is read back as the same name, and never breaks its line. */
static void test_shown_names(void **state) {
  (void)state;
  static const struct {
    const char *name, *shown;
  } cases[] = {{"orders", "orders"},
               {"Odd \"one\"", "\"Odd \"\"one\"\"\""},
               {"a*", "\"a*\""},
               {"back\\slash", "\"back\\slash\""},
               {"na\xc3\xafve", "\"na\xc3\xafve\""},
               {"a\nb", "U&\"a\\000Ab\""},
               {"\x1b[31m \"q\" \\ \xf0\x9f\x8d\x8f", "U&\"\\001B[31m \"\"q\"\" \\\\ \xf0\x9f\x8d\x8f\""},
               {"\xc2\x85\xe2\x80\xae", "U&\"\\0085\\202E\""}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    CLEANUP_FREE char *shown = sql_shown_name("", cases[i].name);
    assert_string_equal(shown, cases[i].shown);
    assert_true(text_printable(shown));
    const char *at = shown, *end = shown + strlen(shown);
    char *name = NULL;
    assert_true(sql_take_name(&at, end, &name));
    assert_ptr_equal(at, end);
    assert_string_equal(name, cases[i].name);
    free(name);
  }
  CLEANUP_FREE char *full = sql_shown_name("s\t", "t"), *broken = sql_shown_name("", "\xff\n");
  assert_string_equal(full, "U&\"s\\0009\".t");
  assert_string_equal(broken, "U&\"\xff\\000A\"");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_statements),
      cmocka_unit_test(test_storage),
      cmocka_unit_test(test_shown_names),
      cmocka_unit_test(test_owners),
      cmocka_unit_test(test_identity),
      cmocka_unit_test(test_columns),
      cmocka_unit_test(test_kinds_of_tables),
      cmocka_unit_test(test_all_columns),
      cmocka_unit_test(test_copy_columns),
      cmocka_unit_test(test_name_lists),
      cmocka_unit_test(test_column_texts),
      cmocka_unit_test(test_bad_texts),
      cmocka_unit_test(test_hostile_inheritance),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
