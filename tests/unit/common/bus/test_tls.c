/* The bus over TLS: who is admitted, who is not, and certificates exchanged under way. */
#include "tests/unit/common/bus/tls_support.h"

static void test_mutual(void **state) {
  Fixture *f = *state;
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  open_server(f, &ours.coordinator);
  open_client(f, 0, &tls);
  ask(f, 0, "hello", 20000);
  until(f, &f->answered, 1);
  assert_string_equal(f->last, "hello");
}

/* Nobody gets through whose certificate is not ours, not valid any more, or not for this side. */
static void refused(Fixture *f, const BusTls *tls) {
  size_t before = f->failed;
  open_client(f, 0, tls);
  ask(f, 0, "x", 700);
  until(f, &f->failed, before + 1);
  assert_int_equal(f->served, 0);
  close_client(f, 0);
}

static void test_strangers_are_refused(void **state) {
  Fixture *f = *state;
  open_server(f, &ours.coordinator);
  BusTls stranger = tls_of(&foreign, &foreign.agent, NULL);
  stranger.authority = authority_pem(ours.authority); /* it trusts us, we do not trust it */
  refused(f, &stranger);
  Party old = make_agent(ours.authority, -60);
  BusTls expired = tls_of(&ours, &old, NULL);
  refused(f, &expired);
  free_party(&old);
  BusTls server_as_client = tls_of(&ours, &ours.coordinator, NULL);
  refused(f, &server_as_client);
}

static void test_no_one_plays_the_coordinator(void **state) {
  Fixture *f = *state;
  Error err;
  BusTls good = tls_of(&ours, &ours.agent, NULL);
  open_server(f, &ours.other); /* an agent's certificate: of our authority, but no coordinator's */
  refused(f, &good);
  BusTls theirs = tls_of(&foreign, &foreign.coordinator, NULL);
  assert_int_equal(bus_server_admit(f->server, &theirs, &err), STATUS_OK);
  refused(f, &good);
}

static void test_revoked_at_once(void **state) {
  Fixture *f = *state;
  Error err;
  BusTls bad = tls_of(&ours, &ours.agent, NULL), good = tls_of(&ours, &ours.other, NULL);
  open_server(f, &ours.coordinator);
  open_client(f, 0, &bad);
  open_client(f, 1, &good);
  ask(f, 0, "bad", 20000);
  ask(f, 1, "good", 20000);
  until(f, &f->answered, 2);
  ask(f, 1, "parked", 30000);
  until(f, &f->parked_count, 1);
  CLEANUP_FREE char *revocations = NULL;
  const char *serials[] = {ours.agent.serial};
  assert_int_equal(authority_revocations(ours.authority, serials, 1, &revocations, &err), STATUS_OK);
  BusTls server = tls_of(&ours, &ours.coordinator, revocations);
  assert_int_equal(bus_server_admit(f->server, &server, &err), STATUS_OK);
  until(f, &f->parked_count, 2); /* the good one came back by itself, its request too */
  ask(f, 0, "bad", 1500);
  until(f, &f->failed, 1);
  assert_int_equal(f->served_bad, 1); /* before */
  bus_request_reply(f->parked, "at last", 7);
  f->parked = NULL;
  until(f, &f->answered, 3);
  assert_string_equal(f->last, "at last");
}

static void test_rotation_under_way(void **state) {
  Fixture *f = *state;
  Error err;
  BusTls tls = tls_of(&ours, &ours.agent, NULL);
  open_server(f, &ours.coordinator);
  open_client(f, 0, &tls);
  ask(f, 0, "parked", 30000);
  until(f, &f->parked_count, 1);
  BusTls next = tls_of(&ours, &ours.other, NULL);
  assert_int_equal(bus_client_admit(f->clients[0], &next, &err), STATUS_OK);
  until(f, &f->parked_count, 2);
  Party renewed = make_coordinator(ours.authority, "renewed");
  BusTls server = tls_of(&ours, &renewed, NULL);
  assert_int_equal(bus_server_admit(f->server, &server, &err), STATUS_OK);
  assert_int_equal(bus_server_admit(f->server, &server, &err), STATUS_OK); /* again, before it listens again */
  free_party(&renewed);
  until(f, &f->parked_count, 3);
  bus_request_reply(f->parked, "kept", 4);
  f->parked = NULL;
  until(f, &f->answered, 1);
  assert_string_equal(f->last, "kept");
  BusTls broken = tls;
  broken.key = ours.coordinator.key; /* of another certificate */
  broken.certificate = "no certificate";
  assert_int_equal(bus_client_admit(f->clients[0], &broken, &err), ERR_KEY_UNREADABLE);
  ask(f, 0, "still", 20000);
  until(f, &f->answered, 2);
  CLEANUP_FREE char *key = memory_format("%s/renewed.key", directory);
  CLEANUP_FREE char *certificate = memory_format("%s/renewed.crt", directory);
  unlink(key);
  unlink(certificate);
}

static void test_needs_certificates(void **state) {
  Fixture *f = *state;
  Error err;
  const char *urls[] = {"tls+tcp://coordinator.example.org:8421"};
  assert_int_equal(bus_server_open(&f->loop, f->url, NULL, 1, on_request, f, &f->server, &err), ERR_CONFIG);
  assert_int_equal(bus_client_open(&f->loop, urls, 1, NULL, 500, &f->clients[0], &err), ERR_CONFIG);
  assert_non_null(strstr(err.remedy, "enroll"));
  BusTls broken = {.authority = "", .certificate = "", .key = "", .peer_name = "x"};
  assert_int_equal(bus_server_open(&f->loop, f->url, &broken, 1, on_request, f, &f->server, &err), ERR_KEY_UNREADABLE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_mutual, setup, teardown),
      cmocka_unit_test_setup_teardown(test_strangers_are_refused, setup, teardown),
      cmocka_unit_test_setup_teardown(test_no_one_plays_the_coordinator, setup, teardown),
      cmocka_unit_test_setup_teardown(test_revoked_at_once, setup, teardown),
      cmocka_unit_test_setup_teardown(test_rotation_under_way, setup, teardown),
      cmocka_unit_test_setup_teardown(test_needs_certificates, setup, teardown),
  };
  return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
