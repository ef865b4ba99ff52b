#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/names.h"

enum { COUNT = 3000 };

static char all[COUNT][16];

static void *value_of(size_t i) {
  return &all[i];
}

static void test_found_or_not(void **state) {
  (void)state;
  Names names = {0};
  assert_null(names_get(&names, "a"));
  names_remove(&names, "a");
  names_put(&names, "a", value_of(1));
  names_put(&names, "b", value_of(2));
  names_put(&names, "a", value_of(3));
  assert_ptr_equal(names_get(&names, "a"), value_of(3));
  assert_ptr_equal(names_get(&names, "b"), value_of(2));
  assert_null(names_get(&names, "c"));
  assert_int_equal(names.count, 2);
  names_remove(&names, "a");
  assert_null(names_get(&names, "a"));
  assert_ptr_equal(names_get(&names, "b"), value_of(2));
  names_release(&names);
  assert_null(names_get(&names, "b"));
}

/* Against an array, in an order that is the same in every run. */
static void test_many_come_and_go(void **state) {
  (void)state;
  static bool there[COUNT];
  Names names = {0};
  size_t count = 0;
  uint32_t random = 1;
  for (size_t i = 0; i < COUNT; i++)
    snprintf(all[i], sizeof all[i], "name-%zu", i);
  for (size_t step = 0; step < 40 * COUNT; step++) {
    random = random * 1664525u + 1013904223u;
    size_t i = (random >> 8) % COUNT;
    if (there[i])
      names_remove(&names, all[i]);
    else
      names_put(&names, all[i], value_of(i));
    count += there[i] ? (size_t)-1 : 1;
    there[i] = !there[i];
    if (step % COUNT != 0)
      continue;
    assert_int_equal(names.count, count);
    for (size_t j = 0; j < COUNT; j++)
      assert_ptr_equal(names_get(&names, all[j]), there[j] ? value_of(j) : NULL);
  }
  names_release(&names);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_found_or_not), cmocka_unit_test(test_many_come_and_go)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
