#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

static void test_empty_is_text(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer b = {0};
  assert_string_equal(buffer_text(&b), "");
  assert_int_equal(b.size, 0);
  buffer_append(&b, NULL, 0);
  assert_int_equal(b.size, 0);
}

static void test_html(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer b = {0};
  buffer_append_html(&b, "<a href=\"x\" title='y'>caf\303\251 & co</a>");
  assert_string_equal(buffer_text(&b), "&lt;a href=&quot;x&quot; title=&#39;y&#39;&gt;caf\303\251 &amp; co&lt;/a&gt;");
}

static void test_appends(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer b = {0};
  Buffer all = {0};
  for (int i = 0; i < 1000; i++) {
    buffer_append_format(&b, "%d,", i);
    buffer_append_text(&b, "x");
    buffer_append_byte(&b, ';');
  }
  const char *text = buffer_text(&b);
  assert_memory_equal(text, "0,x;1,x;", 8);
  assert_int_equal(strlen(text), b.size);
  buffer_append(&all, b.data, b.size);
  CLEANUP_FREE char *stolen = buffer_steal_text(&all);
  assert_string_equal(stolen, text);
  assert_null(all.data);
  size_t capacity = b.capacity;
  buffer_clear(&b);
  assert_int_equal(b.size, 0);
  assert_int_equal(b.capacity, capacity);
}

static void test_reserve_then_text(void **state) {
  (void)state;
  CLEANUP(buffer_release) Buffer b = {0};
  buffer_reserve(&b, 10);
  memcpy(b.data, "0123456789", 10);
  b.size = 10; /* full: the terminator goes into the spare byte */
  assert_string_equal(buffer_text(&b), "0123456789");
}

static void test_memory(void **state) {
  (void)state;
  int *items = NULL;
  size_t count = 0;
  for (int i = 0; i < 100; i++)
    ARRAY_PUSH(items, count, i);
  assert_int_equal(count, 100);
  assert_int_equal(items[99], 99);
  free(items);
  CLEANUP_FREE char *part = memory_strndup("abcdef", 3);
  assert_string_equal(part, "abc");
  CLEANUP_FREE char *made = memory_format("%s-%d", part, 7);
  assert_string_equal(made, "abc-7");
  CLEANUP_FREE char *zero = memory_alloc(16);
  assert_memory_equal(zero, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_empty_is_text),     cmocka_unit_test(test_html),   cmocka_unit_test(test_appends),
      cmocka_unit_test(test_reserve_then_text), cmocka_unit_test(test_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
