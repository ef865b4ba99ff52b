#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/error.h"

static void test_set_fills_everything(void **state) {
  (void)state;
  Error err = {0};
  error_object(&err, "old");
  assert_int_equal(error_set(&err, ERR_TABLE_UNREADABLE, "cannot read %s\n", "public.t"), ERR_TABLE_UNREADABLE);
  assert_string_equal(err.message, "cannot read public.t");
  assert_string_equal(err.object, "");
  assert_string_equal(err.remedy, error_default_remedy(ERR_TABLE_UNREADABLE));
}

static void test_message_is_clean_utf8(void **state) {
  (void)state;
  Error err = {0};
  error_set(&err, ERR_TOOL,
            "a\x1b[31mb\xff"
            "c\nd\xc3\xa9");
  assert_string_equal(err.message, "a\\x1b[31mb\\xffc\\nd\xc3\xa9");
  error_object(&err, "public.\"a\nb\xc2\x9b\xe2\x80\xae\"\n"); /* a line, CSI, what turns the rest around */
  assert_string_equal(err.object, "public.\"a\\nb\\u009b\\u202e\"");
  error_remedy(&err, "%s", err.message); /* again is the same */
  assert_string_equal(err.remedy, err.message);
  error_prefix(&err, "table a\rb");
  assert_string_equal(err.message, "table a\\x0db: a\\x1b[31mb\\xffc\\nd\xc3\xa9");
}

static void test_long_message_is_cut_between_characters(void **state) {
  (void)state;
  char text[3 * ERROR_MESSAGE_SIZE];
  for (size_t i = 0; i + 2 < sizeof text; i += 2)
    memcpy(text + i, "\xc3\xa9", 3);
  Error err = {0};
  error_set(&err, ERR_TOOL, "x%s", text);
  size_t size = strlen(err.message);
  assert_true(size < ERROR_MESSAGE_SIZE && size > ERROR_MESSAGE_SIZE - 4);
  assert_int_equal(size % 2, 1); /* the x and whole characters */
}

static void test_may_quote_itself(void **state) {
  (void)state;
  Error err = {0};
  error_set(&err, ERR_TOOL, "inner");
  error_set(&err, ERR_IO, "outer: %s", err.message);
  assert_string_equal(err.message, "outer: inner");
  assert_int_equal(error_prefix(&err, "more %d", 1), ERR_IO);
  assert_string_equal(err.message, "more 1: outer: inner");
}

static void test_errno_decides_the_status(void **state) {
  (void)state;
  Error err = {0};
  assert_int_equal(error_set_errno(&err, ENOSPC, "write %s", "x"), ERR_DISK_FULL);
  assert_string_equal(err.message, "write x: No space left on device");
  assert_int_equal(error_set_errno(&err, EDQUOT, "write"), ERR_DISK_FULL);
  assert_int_equal(error_set_errno(&err, EACCES, "open"), ERR_IO);
}

static void test_table_round_trip(void **state) {
  (void)state;
  for (int i = 1; i < STATUS_COUNT; i++) {
    assert_int_equal(error_from_code(error_code((Status)i)), i); /* so codes are unique as well */
    assert_true(error_default_remedy((Status)i)[0] != '\0');
    assert_true(error_outcome((Status)i) != OUTCOME_PROVEN);
  }
  assert_int_equal(error_from_code("no such code"), STATUS_COUNT);
  assert_int_equal(error_class(ERR_INTERNAL), ERROR_CLASS_BUG);
  assert_string_equal(error_code((Status)9999), "internal");
}

static void test_outcomes(void **state) {
  (void)state;
  for (int i = OUTCOME_PROVEN; i <= OUTCOME_CANCELED; i++) {
    Outcome outcome;
    assert_true(outcome_from_name(outcome_name((Outcome)i), &outcome));
    assert_int_equal(outcome, i);
  }
  Outcome outcome = OUTCOME_FAILED;
  assert_false(outcome_from_name("Proven", &outcome));
  assert_int_equal(outcome, OUTCOME_FAILED);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_set_fills_everything),
      cmocka_unit_test(test_message_is_clean_utf8),
      cmocka_unit_test(test_long_message_is_cut_between_characters),
      cmocka_unit_test(test_may_quote_itself),
      cmocka_unit_test(test_errno_decides_the_status),
      cmocka_unit_test(test_table_round_trip),
      cmocka_unit_test(test_outcomes),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
