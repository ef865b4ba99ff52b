/* Addresses and networks, of both families. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/network.h"

static void test_addresses(void **state) {
  (void)state;
  Address one, two;
  char text[NETWORK_TEXT_SIZE];
  static const char *const good[] = {"192.0.2.1", "255.255.255.255", "::1", "::", "2001:db8::7"};
  static const char *const bad[] = {"",         "1.2.3", "1.2.3.4.5",    "256.1.1.1", "01.2.3.4x", "x",
                                    "1.2.3.4 ", "[::1]", "fe80::1%eth0", "12345::",   "::1::",     "2001:db8::7/32"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    assert_true(address_parse(good[i], strlen(good[i]), &one));
    assert_string_equal(address_text(&one, text), good[i]);
    assert_int_equal(address_is_four(&one), strchr(good[i], '.') != NULL);
  }
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(address_parse(bad[i], strlen(bad[i]), &one));
  assert_false(address_parse("1.2.3.4\0", 8, &one));
  char huge[4096];
  memset(huge, '1', sizeof huge);
  assert_false(address_parse(huge, sizeof huge, &one));
  assert_true(address_parse("192.0.2.1", 9, &one) && address_parse("::ffff:192.0.2.1", 16, &two));
  assert_memory_equal(&one, &two, sizeof one);
  struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201)};
  assert_true(address_of((struct sockaddr *)&four, &two));
  assert_memory_equal(&one, &two, sizeof one);
  struct sockaddr local = {.sa_family = AF_UNIX};
  assert_false(address_of(&local, &two));
}

static bool holds(const char *network, const char *address) {
  Network n;
  Address a;
  assert_true(network_parse(network, &n) && address_parse(address, strlen(address), &a));
  return network_holds(&n, &a);
}

static void test_networks(void **state) {
  (void)state;
  static const char *const bad[] = {"",        "/8",          "10.0.0.0/",          "10.0.0.0/33", "10.0.0.0/0",
                                    "::/0",    "10.0.0.0/8x", "10.0.0.0/-1",        "10.0.0.1/31", "::/129",
                                    "::1/127", "a/8",         "10.0.0.0/4294967304"};
  Network n;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    assert_false(network_parse(bad[i], &n));
  assert_true(holds("10.0.0.0/8", "10.255.0.1") && !holds("10.0.0.0/8", "11.0.0.0"));
  assert_true(holds("10.0.0.0/8", "::ffff:10.1.1.1") && !holds("10.0.0.0/8", "a00::"));
  assert_true(holds("192.0.2.4/30", "192.0.2.7") && !holds("192.0.2.4/30", "192.0.2.8"));
  assert_true(holds("192.0.2.4", "192.0.2.4") && !holds("192.0.2.4", "192.0.2.5"));
  assert_true(holds("192.0.2.4/32", "192.0.2.4") && !holds("192.0.2.4/32", "192.0.2.5"));
  assert_true(holds("2001:db8::/33", "2001:db8:7fff::") && !holds("2001:db8::/33", "2001:db8:8000::"));
  assert_true(holds("::1/128", "::1") && !holds("::1", "::2") && !holds("::/1", "8000::"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_addresses), cmocka_unit_test(test_networks)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
