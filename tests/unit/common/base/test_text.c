#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/text.h"

static void test_sizes(void **state) {
  (void)state;
  char out[TEXT_SIZE_SIZE];
  assert_string_equal(text_size(0, out), "0 B");
  assert_string_equal(text_size(999, out), "999 B");
  assert_string_equal(text_size(1000, out), "1.0 kB");
  assert_string_equal(text_size(412300000, out), "412.3 MB");
  assert_string_equal(text_size(999999999, out), "1.0 GB"); /* never "1000.0 MB" */
  assert_string_equal(text_size(INT64_MAX, out), "9.2 EB");
}

static void test_hex(void **state) {
  (void)state;
  uint8_t data[] = {0x00, 0xab, 0xff}, back[3];
  char hex[7];
  text_hex(data, 3, hex);
  assert_string_equal(hex, "00abff");
  assert_true(text_unhex("00aBfF", back, 3));
  assert_memory_equal(data, back, 3);
  assert_false(text_unhex("00abf", back, 3));
  assert_false(text_unhex("00abff0", back, 3));
  assert_false(text_unhex("00abfg", back, 3));
}

static void test_names(void **state) {
  (void)state;
  assert_true(text_name_valid("prod-api"));
  assert_true(text_name_valid("0._-"));
  assert_true(text_name_valid("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
  assert_false(text_name_valid("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
  const char *bad[] = {"", ".", "..", "-a", "a/b", "A", "a b", "a\n", "\xc3\xa9"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(text_name_valid(bad[i]));
}

static void test_tags(void **state) {
  (void)state;
  assert_true(text_tag_valid("pre-deploy 4f3a9c1 \xc3\xa9\xf0\x9f\x9a\x80"));
  const char *bad[] = {"",     "a\nb", "a\x1b[0m",     "\x7f",     "\xc2\x85",
                       "\xff", "\xc3", "\xed\xa0\x80", "\xc0\xaf", "\xe2\x80\xae"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(text_tag_valid(bad[i]));
  char longest[130];
  memset(longest, 'x', sizeof longest);
  longest[128] = '\0';
  assert_true(text_tag_valid(longest));
  longest[128] = 'x';
  longest[129] = '\0';
  assert_false(text_tag_valid(longest));
}

static void test_clean(void **state) {
  (void)state;
  char out[8];
  assert_string_equal(text_clean("a\x1b\xff"
                                 "b",
                                 out, sizeof out),
                      "a??b");
  assert_string_equal(text_clean("\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", out, sizeof out), "\xc3\xa9\xc3\xa9\xc3\xa9");
  assert_string_equal(text_clean("abc", out, 1), "");
}

static void test_clip(void **state) {
  (void)state;
  char out[16], small[3];
  assert_string_equal(text_clip("fifteen letters", out, sizeof out), "fifteen letters");
  assert_string_equal(text_clip("sixteen letters!", out, sizeof out), "sixteen\xe2\x80\xa6");
  assert_string_equal(text_clip("abcdefghijklmnopqrst", out, sizeof out), "abcdefghijkl\xe2\x80\xa6");
  assert_string_equal(text_clip("abcdefghijk\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9", out, sizeof out),
                      "abcdefghijk\xe2\x80\xa6");
  assert_string_equal(text_clip("\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80", out, sizeof out),
                      "\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xe2\x80\xa6");
  assert_string_equal(text_clip("a\nb", out, sizeof out), "a?b");
  assert_string_equal(text_clip("abc", small, sizeof small), "ab");
}

static void test_show(void **state) {
  (void)state;
  char out[64], small[6];
  assert_string_equal(text_show("a\nb\tc\x1b[2J\x7f\xff\xc3\xa9", out, sizeof out),
                      "a\\nb\\tc\\x1b[2J\\x7f\\xff\xc3\xa9");
  assert_string_equal(text_show("\xc2\x9b\xe2\x80\xae\xe2\x81\xa6\xe2\x80\xa8", out, sizeof out),
                      "\\u009b\\u202e\\u2066\\u2028");
  assert_string_equal(text_show("abcd\nx", small, sizeof small), "abcd"); /* no half of "\n" */
  assert_string_equal(text_show("abc\n", small, sizeof small), "abc\\n");
  CLEANUP_FREE char *joined = text_join_lines("it failed\n\tDoes it run?\n\n"), *none = text_join_lines("\n");
  assert_string_equal(joined, "it failed; Does it run?");
  assert_string_equal(none, "");
}

static void test_globs(void **state) {
  (void)state;
  assert_true(text_glob("*", ".hidden/x"));
  assert_true(text_glob("prod-*", "prod-api"));
  assert_false(text_glob("prod-*", "stage-api"));
}

static void test_clock(void **state) {
  (void)state;
  char text[CLOCK_TEXT_SIZE];
  assert_string_equal(clock_format(0, text), "1970-01-01T00:00:00.000Z");
  assert_string_equal(clock_format(1795233611123456, text), "2026-11-21T04:00:11.123Z");
  assert_int_equal(clock_parse(text), 1795233611123000);
  const char *bad[] = {"",
                       "2026-11-21",
                       "2026-11-21T04:00:11Z",
                       "2026-02-30T00:00:00.000Z",
                       "2026-11-21T24:00:00.000Z",
                       "2026-11-21 04:00:11.123Z",
                       "2026-11-21T04:00:11.123Zx",
                       "+026-11-21T04:00:11.123Z"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_int_equal(clock_parse(bad[i]), -1);
  int64_t before = clock_monotonic_us();
  assert_true(clock_monotonic_us() >= before);
}

static void test_ids(void **state) {
  (void)state;
  Id last = id_new();
  int64_t start = clock_wall_us() / 1000;
  while (clock_wall_us() / 1000 < start + 2)
    ;
  Id next = id_new();
  assert_true(id_valid(last.text) && id_valid(next.text));
  assert_true(strcmp(last.text, next.text) < 0);
  const char *bad[] = {"",
                       "0123456789abcdefghjkmnpqr",
                       "8zzzzzzzzzzzzzzzzzzzzzzzzz",
                       "01arz3ndektsv4rrffq69g5fai",
                       "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                       "01arz3ndektsv4rrffq69g5fav0",
                       "01arz3ndektsv4/../q69g5fav"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(id_valid(bad[i]));
  assert_true(id_valid("01arz3ndektsv4rrffq69g5fav"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sizes), cmocka_unit_test(test_hex),   cmocka_unit_test(test_names),
      cmocka_unit_test(test_tags),  cmocka_unit_test(test_clean), cmocka_unit_test(test_clip),
      cmocka_unit_test(test_show),  cmocka_unit_test(test_globs), cmocka_unit_test(test_clock),
      cmocka_unit_test(test_ids),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
