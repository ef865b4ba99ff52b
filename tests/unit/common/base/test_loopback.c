#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/loopback.h"
#include "common/base/cleanup.h"

static void test_this_machine(void **state) {
  (void)state;
  static const char *const addresses[] = {"127.0.0.1", "127.9.9.9", "::1", "[::1]", "0:0:0:0:0:0:0:1"};
  for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
    assert_true(loopback_address(addresses[i]));
    assert_true(loopback_host(addresses[i]));
  }
  assert_false(loopback_address("localhost"));
  assert_true(loopback_host("localhost"));
}

/* What begins like an address of this machine, but is somebody's name. */
static void test_others(void **state) {
  (void)state;
  static const char *const others[] = {"127.example.com",
                                       "127.0.0.1.example.com",
                                       "localhost.example.com",
                                       "127.1",
                                       "0.0.0.0",
                                       "10.0.0.1",
                                       "",
                                       "[]",
                                       "[",
                                       "]",
                                       "::",
                                       "[::1",
                                       "::1]",
                                       "[[::1]]",
                                       "::ffff:10.0.0.1",
                                       "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001"};
  for (size_t i = 0; i < ARRAY_SIZE(others); i++)
    assert_false(loopback_host(others[i]));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_this_machine),
      cmocka_unit_test(test_others),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
