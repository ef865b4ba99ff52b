/* Lists of tables: what agents may tell, what the ledger keeps of it, and what two of them say together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/manifest/table_list.h"
#include "coordinator/tables/tables.h"

/* The message of a dump that has them: its sums are theirs. */
static Pgseal__DumpResult *message(void) {
  Pgseal__DumpResult *dump = memory_alloc(sizeof *dump);
  pgseal__dump_result__init(dump);
  dump->table_list = memory_alloc(sizeof *dump->table_list);
  pgseal__table_list__init(dump->table_list);
  return dump;
}

static void add(Pgseal__DumpResult *dump, const char *schema, const char *name, int64_t rows, int64_t bytes) {
  Pgseal__TableFacts *facts = memory_alloc(sizeof *facts);
  pgseal__table_facts__init(facts);
  facts->schema = memory_strdup(schema);
  facts->name = memory_strdup(name);
  facts->rows = rows;
  facts->bytes = bytes;
  ARRAY_PUSH(dump->table_list->tables, dump->table_list->n_tables, facts);
  dump->tables++;
  dump->rows += rows > 0 ? rows : 0;
}

static void release(Pgseal__DumpResult **dump) {
  pgseal__dump_result__free_unpacked(*dump, NULL);
}
#define DUMP CLEANUP(release) Pgseal__DumpResult
#define TABLES CLEANUP(tables_release) Tables

static Tables taken(const Pgseal__DumpResult *dump) {
  Tables tables = {0};
  bool told = false;
  Error err;
  if (tables_take(dump, &tables, &told, &err) != STATUS_OK)
    fail_msg("%s", err.message);
  assert_true(told);
  return tables;
}

static void test_kept(void **state) {
  (void)state;
  static const char *const odd[] = {"line\nbreak",       "quo\"te'\\",      "<b onclick=alert(1)>",
                                    "\303\274n\303\257", "\x01\x1b[31m",    "\\x636166e9",
                                    "{{7*7}}",           "\342\200\256evil"};
  DUMP *dump = message();
  for (size_t i = 0; i < ARRAY_SIZE(odd); i++)
    add(dump, i % 2 ? "public" : odd[i], odd[i], (int64_t)i, INT64_MAX / 16);
  TABLES tables = taken(dump);
  CLEANUP_FREE char *packed = tables_pack(&tables);
  assert_int_equal(strspn(packed, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="), strlen(packed));
  TABLES back = {0};
  Error err;
  assert_int_equal(tables_unpack(packed, &back, &err), STATUS_OK);
  assert_int_equal(back.count, ARRAY_SIZE(odd));
  assert_int_equal(back.more, 0);
  for (size_t i = 0; i < back.count; i++) {
    assert_string_equal(back.items[i].schema, tables.items[i].schema);
    assert_string_equal(back.items[i].name, tables.items[i].name);
    assert_true(back.items[i].rows == tables.items[i].rows && back.items[i].bytes == INT64_MAX / 16);
    assert_true(i == 0 || strcmp(back.items[i - 1].schema, back.items[i].schema) <= 0);
  }
}

static void test_not_told(void **state) {
  (void)state;
  Pgseal__DumpResult dump = PGSEAL__DUMP_RESULT__INIT;
  Tables tables = {0};
  bool told = true;
  Error err;
  dump.tables = 7;
  assert_int_equal(tables_take(&dump, &tables, &told, &err), STATUS_OK);
  assert_true(!told && !tables.items);
  DUMP *empty = message();
  TABLES none = taken(empty);
  CLEANUP_FREE char *packed = tables_pack(&none);
  TABLES back = {0};
  assert_int_equal(tables_unpack(packed, &back, &err), STATUS_OK);
  assert_int_equal(back.count, 0);
}

static void refuse(const Pgseal__DumpResult *dump, const char *why) {
  Tables tables = {0};
  bool told;
  Error err;
  assert_int_equal(tables_take(dump, &tables, &told, &err), ERR_PROTOCOL);
  assert_null(tables.items);
  if (!strstr(err.message, why))
    fail_msg("%s", err.message);
}

static void test_refused(void **state) {
  (void)state;
  char longest[TABLE_LIST_NAME + 2] = {0};
  memset(longest, 'x', TABLE_LIST_NAME + 1);
  const struct {
    const char *schema, *name;
    int64_t rows, bytes;
    const char *why;
  } cases[] = {
      {"public", "", 1, 1, "name"},      {"public", "a\xff", 1, 1, "name"},        {"\xc0\xaf", "a", 1, 1, "name"},
      {"public", longest, 1, 1, "name"}, {"public", "\xed\xa0\x80", 1, 1, "name"}, {"public", "a", -1, 1, "numbers"},
      {"public", "a", 1, -1, "numbers"}, {"public", "a", 1, INT64_MAX, "numbers"}};
  for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
    DUMP *dump = message();
    add(dump, "public", "good", 1, 1);
    add(dump, cases[i].schema, cases[i].name, cases[i].rows, cases[i].bytes);
    refuse(dump, cases[i].why);
  }
  for (int i = 0; i < 5; i++) { /* sums that are not theirs */
    DUMP *dump = message();
    add(dump, "public", "a", 5, 1);
    dump->tables += i == 0 ? 1 : i == 1 ? -1 : 0;
    dump->rows += i == 2 ? 1 : i == 3 ? -1 : 0;
    dump->table_list->more = i == 4 ? 1 : 0;
    refuse(dump, "add up");
  }
  DUMP *less = message();
  add(less, "public", "a", 5, 1);
  less->table_list->more = 2;
  less->tables = 3;
  less->rows = 4; /* fewer than the listed ones alone */
  refuse(less, "add up");
  DUMP *sum = message();
  add(sum, "public", "a", INT64_MAX, 1);
  add(sum, "public", "b", 0, 1);
  sum->table_list->tables[1]->rows = INT64_MAX;
  refuse(sum, "add up");
}

static void test_bounds(void **state) {
  (void)state;
  DUMP *many = message(), *wide = message(), *counted = message();
  for (int i = 0; i < TABLE_LIST_COUNT + 1; i++) {
    char name[128];
    snprintf(name, sizeof name, "%d", i);
    add(many, "", name, 1, 1);
    snprintf(name, sizeof name, "%0100d", i);
    if (i < TABLE_LIST_COUNT)
      add(wide, "public", name, 1, 1);
  }
  refuse(many, "too many");
  refuse(wide, "too large");
  counted->table_list->more = (uint64_t)1 << 63;
  refuse(counted, "too many");
}

static void test_damaged(void **state) {
  (void)state;
  DUMP *dump = message();
  add(dump, "public", "a", 5, 1);
  TABLES tables = taken(dump);
  CLEANUP_FREE char *packed = tables_pack(&tables);
  /* a frame that says it is 1 GiB, and what is none at all */
  static const char *const bad[] = {"", "A", "AAAA", "====", "KLUv/aAAAABAAQAA", "not base64!!", "KLUv/SAA"};
  Error err;
  Tables out = {0};
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    assert_int_equal(tables_unpack(bad[i], &out, &err), ERR_INTERNAL);
    assert_null(out.items);
  }
  for (size_t i = 0; packed[i]; i++) { /* one byte is another: it is refused, or makes sense */
    char was = packed[i];
    packed[i] = was == 'A' ? 'B' : 'A';
    if (tables_unpack(packed, &out, &err) == STATUS_OK)
      tables_release(&out);
    packed[i] = was;
  }
}

/* ---- two of them ---- */

static Tables list_of(const char *const *names, const int64_t *rows, size_t count, uint64_t more) {
  DUMP *dump = message();
  for (size_t i = 0; i < count; i++)
    add(dump, "public", names[i], rows[i], rows[i] * 10);
  dump->table_list->more = more;
  dump->tables += (int64_t)more;
  return taken(dump);
}

static void expect(const Tables *before, const Tables *now, const char *wanted) {
  char text[400] = "";
  TablePair *pairs;
  size_t count;
  tables_compare(before, now, &pairs, &count);
  for (size_t i = 0; i < count; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s:%s ",
             pairs[i].now ? pairs[i].now->name : pairs[i].before->name, table_change_name(pairs[i].change));
  free(pairs);
  assert_string_equal(text, wanted);
}

static void test_compared(void **state) {
  (void)state;
  static const char *const before[] = {"kept", "gone", "grown", "a"}, *const now[] = {"new", "grown", "kept", "z"};
  TABLES was = list_of(before, (int64_t[]){1, 2, 3, 4}, 4, 0), is = list_of(now, (int64_t[]){5, 6, 1, 0}, 4, 0);
  expect(&was, &is, "a:removed gone:removed grown:changed kept:same new:added z:added ");
  was.more = 1; /* what is new may have been there */
  expect(&was, &is, "a:removed gone:removed grown:changed kept:same new:unlisted z:unlisted ");
  was.more = 0;
  is.more = 1; /* what is gone may be there */
  expect(&was, &is, "a:unlisted gone:unlisted grown:changed kept:same new:added z:added ");
  const Tables none = {0};
  expect(&none, &none, "");
  is.more = 0;
  expect(&none, &is, "grown:added kept:added new:added z:added ");
}

/* A ledger made anew has such names as bytes, and what is dumped next in letters: nothing is gone for that. */
static void test_told_otherwise(void **state) {
  (void)state;
  static const char *const bytes[] = {"\\x636166e9", "gone", "kept"}, *const letters[] = {"caf\303\251", "kept", "new"};
  TABLES was = list_of(bytes, (int64_t[]){2000, 2, 1}, 3, 0), is = list_of(letters, (int64_t[]){2000, 1, 3}, 3, 0);
  expect(&was, &is, "\\x636166e9:unlisted caf\303\251:unlisted gone:removed kept:same new:added ");
  expect(&is, &was, "\\x636166e9:unlisted caf\303\251:unlisted gone:added kept:same new:removed ");
  TablePair *pairs;
  size_t count;
  for (is.more = 0; is.more < 2; is.more++) {
    tables_compare(&was, &is, &pairs, &count);
    for (size_t i = 0; i < count; i++)
      assert_false(table_fallen(&pairs[i], &is, &(TableLimits){50, 1000}));
    free(pairs);
  }
  /* Of a database that has no encoding both are bytes, and a table that begins so has its own name. */
  static const char *const both[] = {"\\x5c7863", "\\x636166e9", "kept"}, *const left[] = {"\\xff", "kept"};
  TABLES had = list_of(both, (int64_t[]){1, 2, 3}, 3, 0), has = list_of(left, (int64_t[]){4, 3}, 2, 0);
  expect(&had, &has, "\\x5c7863:removed \\x636166e9:removed \\xff:added kept:same ");
}

static bool falls(int64_t before, int64_t now, int percent, int64_t least) {
  Table was = {(char *)"public", (char *)"t", before, before * 10}, is = {(char *)"public", (char *)"t", now, now * 10};
  const TablePair pair = {&was, &is, TABLE_CHANGED};
  const Tables all = {0};
  return table_fallen(&pair, &all, &(TableLimits){percent, least});
}

static void test_fallen(void **state) {
  (void)state;
  assert_true(falls(1000, 0, 50, 1000));
  assert_true(falls(1000, 500, 50, 1000));
  assert_false(falls(1000, 501, 50, 1000));
  assert_false(falls(999, 0, 50, 1000)); /* too small to be anybody's trouble */
  assert_false(falls(1000, 2000, 50, 1000));
  assert_true(falls(1000, 0, 100, 1));
  assert_false(falls(1000, 1, 100, 1));
  assert_false(falls(0, 0, 50, 0)); /* there was nothing to lose */
  Table was = {(char *)"public", (char *)"t", 1000, 10000};
  const TablePair gone = {&was, NULL, TABLE_REMOVED}, unlisted = {&was, NULL, TABLE_UNLISTED},
                  fresh = {NULL, &was, TABLE_ADDED};
  const TableLimits limits = {50, 1000};
  Tables all = {.more = 1, .least = 5000};
  assert_true(table_fallen(&gone, &all, &limits));
  assert_true(table_fallen(&unlisted, &all, &limits)); /* wherever it is, it has 5,000 bytes at most */
  all.least = 5001;
  assert_false(table_fallen(&unlisted, &all, &limits)); /* it may just have been overtaken */
  assert_false(table_fallen(&fresh, &all, &limits));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_kept),   cmocka_unit_test(test_not_told),       cmocka_unit_test(test_refused),
      cmocka_unit_test(test_bounds), cmocka_unit_test(test_damaged),        cmocka_unit_test(test_compared),
      cmocka_unit_test(test_fallen), cmocka_unit_test(test_told_otherwise),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
