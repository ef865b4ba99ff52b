/* A rehearsal's secret: what it signs, checked by openssl's own word, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/crypto/authority.h"
#include "common/rehearsal/secret.h"

/* 32 bytes: 0, 1, 2, ... 31 */
#define SECRET "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

static RehearsalSecret *parse(const char *text) {
  Error err;
  RehearsalSecret *secret = NULL;
  assert_int_equal(rehearsal_secret_parse(text, &secret, &err), STATUS_OK);
  return secret;
}

static void test_password_known_answer(void **state) {
  (void)state;
  /* printf 'pgseal rehearse password\0job-1\0' | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102...1f */
  RehearsalSecret *secret = parse(SECRET);
  char password[REHEARSAL_MAC_SIZE];
  rehearsal_password(secret, "job-1", password);
  assert_string_equal(password, "141a1604132e9a8290b74f5d4134ba851bd837be7febecb388093198579fddde");
  rehearsal_secret_free(secret);
}

static void test_made_ones_differ_and_parse(void **state) {
  (void)state;
  CLEANUP(secret_text_free) char *a = rehearsal_secret_generate();
  CLEANUP(secret_text_free) char *b = rehearsal_secret_generate();
  assert_string_not_equal(a, b);
  rehearsal_secret_free(parse(a));
}

static void test_what_is_none(void **state) {
  (void)state;
  const char *const wrong[] = {"", "short", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd",
                               "not base64 at all, but long enough!!", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg=="};
  for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
    Error err;
    RehearsalSecret *secret = NULL;
    assert_int_equal(rehearsal_secret_parse(wrong[i], &secret, &err), ERR_INVALID_ARGUMENT);
    assert_true(!*wrong[i] || !strstr(err.message, wrong[i]));
  }
}

static void test_file(void **state) {
  (void)state;
  char path[] = "/tmp/pgseal-secret-XXXXXX";
  int fd = mkstemp(path);
  assert_true(fd >= 0 && write(fd, SECRET "\n", strlen(SECRET) + 1) > 0);
  close(fd);
  Error err;
  RehearsalSecret *secret = NULL;
  assert_int_equal(rehearsal_secret_load(path, &secret, &err), STATUS_OK);
  rehearsal_secret_free(secret);
  assert_int_equal(chmod(path, 0640), 0);
  assert_int_equal(rehearsal_secret_load(path, &secret, &err), ERR_KEY_UNREADABLE);
  assert_non_null(strstr(err.remedy, "chmod 600"));
  unlink(path);
  assert_int_equal(rehearsal_secret_load(path, &secret, &err), ERR_KEY_UNREADABLE);
}

static json_t *request(const RehearsalSecret *secret, int64_t time) {
  json_t *json = json_pack("{s:s, s:s, s:I, s:[{s:s, s:s}]}", "database", "prod-api", "nonce", "x", "time",
                           (json_int_t)time, "sql", "name", "a.sql", "text", "SELECT 1");
  char mac[REHEARSAL_MAC_SIZE];
  rehearsal_request_mac(secret, json, mac);
  json_object_set_new(json, "mac", json_string(mac));
  return json;
}

static void test_request(void **state) {
  (void)state;
  Error err;
  const int64_t now = 1800000000;
  RehearsalSecret *secret = parse(SECRET);
  json_t *json = request(secret, now);
  /* as it comes out of a ledger: other order, other blanks */
  CLEANUP_FREE char *text = json_dumps(json, JSON_INDENT(2));
  json_t *again = json_loads(text, 0, NULL);
  assert_int_equal(rehearsal_request_check(secret, again, "prod-api", now * 1000000, &err), STATUS_OK);
  assert_int_equal(rehearsal_request_check(secret, json, "prod-api", (now + 899) * 1000000, &err), STATUS_OK);
  assert_int_equal(rehearsal_request_check(secret, json, "prod-api", (now + 902) * 1000000, &err), ERR_FORBIDDEN);
  assert_int_equal(rehearsal_request_check(secret, json, "prod-api", (now - 902) * 1000000, &err), ERR_FORBIDDEN);
  assert_int_equal(rehearsal_request_check(secret, json, "staging", now * 1000000, &err), ERR_FORBIDDEN);
  json_object_set_new(json_array_get(json_object_get(again, "sql"), 0), "text", json_string("SELECT 2"));
  assert_int_equal(rehearsal_request_check(secret, again, "prod-api", now * 1000000, &err), ERR_FORBIDDEN);
  json_object_del(json, "mac");
  assert_int_equal(rehearsal_request_check(secret, json, "prod-api", now * 1000000, &err), ERR_FORBIDDEN);
  json_decref(json);
  json_decref(again);
  RehearsalSecret *other = parse("////////////////////////////////////////////");
  json = request(other, now);
  assert_int_equal(rehearsal_request_check(secret, json, "prod-api", now * 1000000, &err), ERR_FORBIDDEN);
  json_decref(json);
  rehearsal_secret_free(other);
  rehearsal_secret_free(secret);
}

static void test_report(void **state) {
  (void)state;
  Error err;
  RehearsalSecret *secret = parse(SECRET);
  json_t *report =
      json_pack("{s:s, s:f, s:f, s:[]}", "verdict", "clean", "seconds", 0.123457, "huge", 1.23457e300, "findings");
  char mac[REHEARSAL_MAC_SIZE];
  assert_int_equal(rehearsal_report_check(secret, "n", report, &err), ERR_FORBIDDEN);
  rehearsal_report_mac(secret, "n", report, mac);
  json_object_set_new(report, "mac", json_string(mac));
  CLEANUP_FREE char *text = json_dumps(report, JSON_INDENT(3) | JSON_REAL_PRECISION(15));
  json_t *passed_on = json_loads(text, 0, NULL);
  assert_int_equal(rehearsal_report_check(secret, "n", passed_on, &err), STATUS_OK);
  assert_int_equal(rehearsal_report_check(secret, "another", passed_on, &err), ERR_FORBIDDEN);
  json_object_set_new(passed_on, "findings", json_pack("[s]", "x"));
  assert_int_equal(rehearsal_report_check(secret, "n", passed_on, &err), ERR_FORBIDDEN);
  assert_int_equal(rehearsal_report_check(secret, "n", NULL, &err), ERR_FORBIDDEN);
  json_decref(passed_on);
  json_decref(report);
  rehearsal_secret_free(secret);
}

static void test_offer(void **state) {
  (void)state;
  RehearsalSecret *secret = parse(SECRET);
  char mac[REHEARSAL_MAC_SIZE], other[REHEARSAL_MAC_SIZE];
  rehearsal_offer_mac(secret, "job-1", "pem", "role", "database", mac);
  rehearsal_offer_mac(secret, "job-1", "pem", "role", "database", other);
  assert_true(rehearsal_mac_equal(mac, other));
  rehearsal_offer_mac(secret, "job-2", "pem", "role", "database", other);
  assert_false(rehearsal_mac_equal(mac, other));
  rehearsal_offer_mac(secret, "job-1", "pem", "roled", "atabase", other); /* the same letters, cut elsewhere */
  assert_false(rehearsal_mac_equal(mac, other));
  rehearsal_secret_free(secret);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_password_known_answer),
      cmocka_unit_test(test_made_ones_differ_and_parse),
      cmocka_unit_test(test_what_is_none),
      cmocka_unit_test(test_file),
      cmocka_unit_test(test_request),
      cmocka_unit_test(test_report),
      cmocka_unit_test(test_offer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
