#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/api.h"
#include "cli/format.h"
#include "common/base/cleanup.h"
#include "common/base/clock.h"

static void test_numbers(void **state) {
  (void)state;
  char out[FORMAT_SIZE];
  assert_string_equal(format_count(184, out), "184");
  assert_string_equal(format_count(205000, out), "205k");
  assert_string_equal(format_count(9200000, out), "9.2M");
  assert_string_equal(format_count(999999, out), "1M");
  assert_string_equal(format_seconds(0.42, out), "0.4 s");
  assert_string_equal(format_seconds(94.1, out), "94 s");
  assert_string_equal(format_seconds(3599, out), "59 min 59 s");
  assert_string_equal(format_seconds(7500, out), "2 h 05 min");
  assert_string_equal(format_seconds(-1, out), "0.0 s");
}

static void test_times(void **state) {
  (void)state;
  char out[FORMAT_SIZE], then[CLOCK_TEXT_SIZE];
  assert_string_equal(format_clock("2026-11-21T04:00:11.123Z", out), "04:00:11");
  assert_string_equal(format_time("2026-11-21T04:00:11.123Z", out), "2026-11-21 04:00:11 UTC");
  assert_string_equal(format_time("", out), "-");
  assert_string_equal(format_time("garbage", out), "garbage");
  clock_format(clock_wall_us() - 600 * (int64_t)1000000, then);
  assert_string_equal(format_age(then, out), "10 min ago");
  assert_string_equal(format_age("", out), "-");
}

static void test_width_and_cut(void **state) {
  (void)state;
  assert_int_equal(format_width("\x1b[1;32mPR\xc3\xa9\x1b[0m"), 3);
  CLEANUP(buffer_release) Buffer out = {0};
  format_cut(&out, "\x1b[1mabcdef\x1b[0mgh", 4);
  assert_string_equal(buffer_text(&out), "\x1b[1mabcd\x1b[0m");
  buffer_clear(&out);
  format_cut(&out, "h\xc3\xa9llo", 2);
  assert_string_equal(buffer_text(&out), "h\xc3\xa9");
  buffer_clear(&out);
  format_cut(&out, "short", 10);
  assert_string_equal(buffer_text(&out), "short");
}

static void check_outcome(const char *text, const char *expected) {
  CLEANUP(api_release) json_t *json = json_loads(text, 0, NULL);
  CLEANUP(buffer_release) Buffer out = {0};
  assert_non_null(json);
  format_outcome(&out, false, json);
  assert_string_equal(buffer_text(&out), expected);
}

static void test_outcome_lines(void **state) {
  (void)state;
  check_outcome("{\"state\": \"sealed\", \"database\": \"prod-api\", \"finished_at\": \"2026-11-21T04:00:11.123Z\","
                " \"tables\": 184, \"rows\": 9200000, \"seconds\": 94.1}",
                "04:00:11 prod-api \xc2\xb7 PROVEN \xc2\xb7 184 tables \xc2\xb7 9.2M rows \xc2\xb7 94 s");
  check_outcome("{\"state\": \"failed\", \"database\": \"d\", \"environment\": \"production\", \"created_at\": "
                "\"2026-11-21T04:00:11.123Z\", \"error\": {\"code\": \"table_unreadable\"}}",
                "04:00:11 d [production] \xc2\xb7 FAILED \xc2\xb7 table_unreadable");
  check_outcome("{}", "-  \xc2\xb7 -"); /* whatever a server says, no crash */
  check_outcome("{\"state\": 5, \"database\": [], \"rows\": \"x\", \"error\": 1}", "-  \xc2\xb7 -");
}

static void test_table(void **state) {
  (void)state;
  char text[256] = "";
  FILE *out = fmemopen(text, sizeof text, "w");
  CLEANUP(table_release) Table table = {.columns = 2};
  table_add(&table, "NAME");
  table_add(&table, "X");
  table_add(&table, "\x1b[1mlong \xc3\xa9\x1b[0m");
  table_add(&table, "y");
  table_print(&table, out, false);
  fclose(out);
  assert_string_equal(text, "NAME    X\n\x1b[1mlong \xc3\xa9\x1b[0m  y\n");
}

int main(void) {
  setenv("TZ", "UTC", 1);
  tzset();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_numbers),       cmocka_unit_test(test_times), cmocka_unit_test(test_width_and_cut),
      cmocka_unit_test(test_outcome_lines), cmocka_unit_test(test_table),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
