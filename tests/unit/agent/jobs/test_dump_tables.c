/* Which tables the coordinator is told of, when there are more than it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "agent/jobs/dump.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "common/manifest/table_list.h"

static void free_list(Pgseal__TableList **list) {
  pgseal__table_list__free_unpacked(*list, NULL);
}
#define LIST CLEANUP(free_list) Pgseal__TableList

/* Table number n has n bytes and n rows; in some order that is not theirs. */
static Fingerprint many(size_t count) {
  Fingerprint f = {0};
  for (size_t i = 0; i < count; i++) {
    int64_t n = (int64_t)(i * 7919 % count);
    FingerprintTable table = {memory_strdup("public"), memory_format("t%06d", (int)n), .rows = n, .bytes = n};
    ARRAY_PUSH(f.tables, f.table_count, table);
  }
  return f;
}

static void test_most_bytes(void **state) {
  (void)state;
  CLEANUP(fingerprint_release) Fingerprint f = many(TABLE_LIST_COUNT + 5);
  LIST *list = dump_table_list(NULL, &f, TABLE_LIST_BYTES);
  assert_int_equal(list->n_tables, TABLE_LIST_COUNT);
  assert_int_equal(list->more, 5);
  for (size_t i = 0; i < list->n_tables; i++)
    assert_int_equal(list->tables[i]->bytes, TABLE_LIST_COUNT + 4 - i);
}

static void test_room(void **state) {
  (void)state;
  CLEANUP(fingerprint_release) Fingerprint f = many(100);
  size_t each = table_list_cost("public", "t000000");
  LIST *list = dump_table_list(NULL, &f, 10 * each), *nothing = dump_table_list(NULL, &f, each - 1);
  assert_true(list->n_tables == 10 && list->more == 90 && list->tables[9]->bytes == 90);
  assert_true(nothing->n_tables == 0 && nothing->more == 100);
}

/* What cannot be told is only counted; equal ones go by their names, so that two dumps tell the same. */
static void test_names(void **state) {
  (void)state;
  CLEANUP(fingerprint_release) Fingerprint f = {0};
  char longest[TABLE_LIST_NAME + 2] = {0};
  memset(longest, 'x', TABLE_LIST_NAME + 1);
  const char *const names[] = {"b", "caf\xe9", longest, "\\x62", "a\n\"<b>"};
  for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
    FingerprintTable table = {memory_strdup("s"), memory_strdup(names[i]), .rows = 1, .bytes = 2};
    ARRAY_PUSH(f.tables, f.table_count, table);
  }
  LIST *list = dump_table_list(NULL, &f, TABLE_LIST_BYTES);
  assert_int_equal(list->n_tables, 4);
  assert_int_equal(list->more, 1);
  assert_string_equal(list->tables[0]->name, "\\x5c783632"); /* no two names look the same */
  assert_string_equal(list->tables[1]->name, "a\n\"<b>");
  assert_string_equal(list->tables[2]->name, "b");
  assert_string_equal(list->tables[3]->name, "\\x636166e9");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_most_bytes), cmocka_unit_test(test_room),
                                     cmocka_unit_test(test_names)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
