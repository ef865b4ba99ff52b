/* Envelopes: bounds, failures there and back; and which addresses the bus takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/bus/address.h"
#include "common/bus/envelope.h"

static Status round_trip(uint32_t version, const char *request_id, size_t session_size, bool body) {
  uint8_t session[64] = {0};
  Pgseal__Hello hello = PGSEAL__HELLO__INIT;
  Pgseal__Envelope envelope = PGSEAL__ENVELOPE__INIT;
  envelope.version = version;
  envelope.request_id = (char *)request_id;
  envelope.session = (ProtobufCBinaryData){session_size, session};
  if (body) {
    envelope.body_case = PGSEAL__ENVELOPE__BODY_HELLO;
    envelope.hello = &hello;
  }
  CLEANUP(buffer_release) Buffer packed = {0};
  envelope_pack(&envelope, &packed);
  Pgseal__Envelope *out = NULL;
  Error err;
  Status status = envelope_unpack(packed.data, packed.size, &out, &err);
  assert_true((out != NULL) == (status == STATUS_OK));
  if (out)
    pgseal__envelope__free_unpacked(out, NULL);
  return status;
}

static void test_bounds(void **state) {
  (void)state;
  char id[70];
  memset(id, 'a', sizeof id);
  id[64] = 0;
  assert_int_equal(round_trip(1, "r", 0, true), STATUS_OK);
  assert_int_equal(round_trip(1, id, 32, true), STATUS_OK);
  id[64] = 'a';
  id[65] = 0;
  assert_int_equal(round_trip(1, id, 32, true), ERR_PROTOCOL);
  assert_int_equal(round_trip(1, "", 32, true), ERR_PROTOCOL);
  assert_int_equal(round_trip(2, "r", 32, true), ERR_PROTOCOL);
  assert_int_equal(round_trip(1, "r", 31, true), ERR_PROTOCOL);
  assert_int_equal(round_trip(1, "r", 33, true), ERR_PROTOCOL);
  assert_int_equal(round_trip(1, "r", 32, false), ERR_PROTOCOL);
}

static void test_garbage(void **state) {
  (void)state;
  Pgseal__Envelope *out = NULL;
  Error err;
  assert_int_equal(envelope_unpack((const uint8_t *)"\xff\xff\xff", 3, &out, &err), ERR_PROTOCOL);
  assert_int_equal(envelope_unpack((const uint8_t *)"", 0, &out, &err), ERR_PROTOCOL);
  assert_null(out);
}

static void test_failures(void **state) {
  (void)state;
  Error there, back;
  error_set(&there, ERR_UNAVAILABLE, "not now");
  error_object(&there, "job x");
  error_remedy(&there, "wait");
  Pgseal__Failure failure = envelope_failure(&there);
  assert_int_equal(envelope_failure_to_error(&failure, &back), ERR_UNAVAILABLE);
  assert_string_equal(back.message, "not now");
  assert_string_equal(back.remedy, "wait");
  assert_string_equal(back.object, "job x");
  failure.code = (char *)"from_the_future";
  assert_int_equal(envelope_failure_to_error(&failure, &back), ERR_PROTOCOL);
}

static void test_addresses(void **state) {
  (void)state;
  static const char *const good[] = {"tcp://127.0.0.1:8421", "tcp://127.9.9.9:1", "tcp://[::1]:65535"};
  static const char *const bad[] = {"tcp://0.0.0.0:8421",
                                    "tcp://10.0.0.1:8421",
                                    "tcp://192.168.1.1:1",
                                    "tcp://[::]:8421",
                                    "tcp://[2001:db8::1]:1",
                                    "tcp://localhost:8421",
                                    "tcp://127.0.0.1",
                                    "tcp://127.0.0.1:0",
                                    "tcp://127.0.0.1:65536",
                                    "tcp://127.0.0.1:84a",
                                    "tcp://:8421",
                                    "tcp://127.0.0.1:",
                                    "ipc://x",
                                    "tls+tcp://host name:1",
                                    "inproc://x",
                                    "127.0.0.1:8421",
                                    "",
                                    "tcp://[::1:8421",
                                    "tcp://[::1]8421",
                                    "tcp://127.0.0.1: 1",
                                    "tcp://127.0.0.1.example.org:1",
                                    "tcp://[::ffff:10.0.0.1]:1"};
  Error err;
  for (size_t i = 0; i < ARRAY_SIZE(good); i++)
    assert_int_equal(bus_address_check(good[i], &err), STATUS_OK);
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
    assert_int_equal(bus_address_check(bad[i], &err), ERR_CONFIG);
    assert_non_null(strstr(err.remedy, "tls+tcp://"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bounds),
      cmocka_unit_test(test_garbage),
      cmocka_unit_test(test_failures),
      cmocka_unit_test(test_addresses),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
