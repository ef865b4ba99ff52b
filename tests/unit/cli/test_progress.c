/* How long it still takes: nothing is said before something is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "cli/progress.h"

#define SECONDS(n) ((int64_t)(n)*1000000)
#define MB(n) ((int64_t)(n)*1000000)

static void test_nothing_early(void **state) {
  (void)state;
  Pace pace = {0};
  assert_true(pace_left(&pace, MB(100), SECONDS(1000)) < 0);
  pace_note(&pace, "dumping", 0, SECONDS(1000));
  pace_note(&pace, "dumping", MB(1), SECONDS(1003)); /* it is measured from here */
  pace_note(&pace, "dumping", MB(30), SECONDS(1004));
  assert_true(pace_left(&pace, MB(100), SECONDS(1004)) < 0); /* of one second, anything could follow */
  pace_note(&pace, "dumping", MB(31), SECONDS(1013));
  double left = pace_left(&pace, MB(100), SECONDS(1013));
  assert_true(left > 22.9 && left < 23.1); /* 30 MB in 10 s */
}

static void test_nothing_of_little(void **state) {
  (void)state;
  Pace pace = {0};
  pace_note(&pace, "dumping", 1, SECONDS(1));
  pace_note(&pace, "dumping", MB(4), SECONDS(60));
  assert_true(pace_left(&pace, MB(100), SECONDS(60)) < 0);
  pace_note(&pace, "dumping", MB(6), SECONDS(61));
  assert_true(pace_left(&pace, MB(100), SECONDS(61)) > 0);
  assert_true(pace_left(&pace, MB(6), SECONDS(61)) < 0); /* the total was but an estimate */
  assert_true(pace_left(&pace, 0, SECONDS(61)) < 0);     /* or is not known */
}

static void test_phases_and_attempts_begin_anew(void **state) {
  (void)state;
  Pace pace = {0};
  pace_note(&pace, "restoring", MB(1), SECONDS(1));
  pace_note(&pace, "restoring", MB(50), SECONDS(50));
  assert_true(pace_left(&pace, MB(100), SECONDS(50)) > 0);
  pace_note(&pace, "comparing", MB(51), SECONDS(51));
  assert_true(pace_left(&pace, MB(100), SECONDS(51)) < 0);
  pace_note(&pace, "comparing", MB(60), SECONDS(60));
  assert_true(pace_left(&pace, MB(100), SECONDS(60)) > 0);
  pace_note(&pace, "comparing", MB(10), SECONDS(61)); /* another attempt */
  pace_note(&pace, "comparing", MB(12), SECONDS(62));
  assert_true(pace_left(&pace, MB(100), SECONDS(62)) < 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_nothing_early),
      cmocka_unit_test(test_nothing_of_little),
      cmocka_unit_test(test_phases_and_attempts_begin_anew),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
