/* A report's document: periods, what follows from rows, signatures, and every alteration being seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/memory.h"
#include "common/crypto/digest.h"
#include "common/report/report.h"

#define OK(call) assert_int_equal((call), STATUS_OK)
#define SECOND ((int64_t)1000000)
#define DAY ((int64_t)86400 * SECOND)

static void free_json(json_t **json) {
  json_decref(*json);
}
#define JSON CLEANUP(free_json) json_t

/* ---- periods ---- */

static void test_periods(void **state) {
  (void)state;
  Error err;
  int64_t from, to, at;
  OK(report_month_parse("2026-10", &from, &to, &err));
  assert_int_equal(from, 1790812800 * SECOND);
  assert_int_equal(to - from, 31 * DAY);
  OK(report_month_parse("2024-02", &from, &to, &err));
  assert_int_equal(to - from, 29 * DAY);
  OK(report_month_parse("2026-12", &from, &to, &err));
  OK(report_time_parse("2027-01-01", &at, &err));
  assert_int_equal(at, to);
  OK(report_time_parse("2027-01-01T00:00:00.250Z", &at, &err));
  assert_int_equal(at, to + SECOND / 4);
  static const char *const no_months[] = {"2026-13", "2026-00", "2026", "2026-1", "2026-10-01", "26-10", "", "20x6-10"};
  for (size_t i = 0; i < ARRAY_SIZE(no_months); i++)
    assert_int_equal(report_month_parse(no_months[i], &from, &to, &err), ERR_INVALID_ARGUMENT);
  static const char *const no_times[] = {"2026-02-30",
                                         "2026-10-01T24:00:00Z",
                                         "2026-10-01T12:00:00",
                                         "2026-10-01 12:00:00Z",
                                         "2026-10-01T12:00:00+01:00",
                                         "2026-10",
                                         "yesterday",
                                         "2026-10-01T12:00:00.Z",
                                         ""};
  for (size_t i = 0; i < ARRAY_SIZE(no_times); i++)
    assert_int_equal(report_time_parse(no_times[i], &at, &err), ERR_INVALID_ARGUMENT);
  OK(report_period_check(0, 1, 2, &err));
  assert_int_equal(report_period_check(5, 5, 9, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(report_period_check(10, 20, 9, &err), ERR_INVALID_ARGUMENT);
  assert_int_equal(report_period_check(0, 5000 * DAY, 9, &err), ERR_INVALID_ARGUMENT);
}

/* ---- documents ---- */

static const char sample[] =
    "{\"version\": 1, \"from_us\": 1000, \"to_us\": 2000, \"end_us\": 2000, \"made_us\": 3000,"
    " \"listed\": {\"drills\": \"all\", \"recoveries\": \"all\"}, \"of\": {\"kind\": \"fleet\", \"whole\": true},"
    " \"databases\": [{\"name\": \"shop\", \"declared\": true, \"coverage\": \"fresh\", \"proof_age_us\": 500,"
    "  \"objectives\": {\"proof_age_seconds\": 60, \"restore_seconds\": 1, \"data_loss_seconds\": 0},"
    "  \"drills\": {\"proven\": 1, \"failed\": 1, \"errored\": 0, \"canceled\": 0, \"open\": 0},"
    "  \"checkpoints\": {\"sealed\": 1, \"failed\": 1, \"errored\": 0, \"canceled\": 0, \"open\": 0},"
    "  \"restore\": {\"measured\": 1, \"slowest_ms\": 1500, \"median_ms\": 1500, \"over_objective\": 1},"
    "  \"proven_sha256\": \"\", \"omissions\": [], \"omissions_count\": 0,"
    "  \"last_proof\": {\"drill\": \"d1\", \"checkpoint\": \"c1\", \"finished_us\": 1500}}],"
    " \"drills\": [{\"drill\": \"d1\", \"checkpoint\": \"c1\", \"database\": \"shop\", \"outcome\": \"proven\","
    "   \"asked_us\": 1400, \"finished_us\": 1500, \"milliseconds\": 1500, \"manifest_sha256\": \"aa\"},"
    "  {\"drill\": \"d2\", \"checkpoint\": \"c2\", \"database\": \"shop\", \"outcome\": \"failed\","
    "   \"asked_us\": 1200, \"finished_us\": 1300, \"next_proven\": {\"drill\": \"d1\", \"finished_us\": 1500}}],"
    " \"checkpoints\": [{\"checkpoint\": \"c2\", \"database\": \"shop\", \"outcome\": \"failed\", \"asked_us\": 1200,"
    "   \"restore_drill\": \"failed\"}],"
    " \"recoveries\": [{\"job\": \"r\", \"kind\": \"restore\", \"database\": \"shop\", \"outcome\": \"done\","
    "   \"asked_us\": 1999}], \"trials\": [],"
    " \"silences\": [{\"silence\": \"s\", \"since_us\": 900, \"until_us\": 1001}]}";

static json_t *document(void) {
  Error err;
  json_t *report = json_loads(sample, 0, NULL);
  assert_non_null(report);
  CLEANUP_FREE char *line = report_proof_line("d1", "c1", "aa", NULL);
  char hex[SHA256_HEX_SIZE];
  sha256_hex(line, strlen(line), hex);
  json_object_set_new(json_array_get(json_object_get(report, "databases"), 0), "proven_sha256", json_string(hex));
  json_object_set_new(report, "totals", report_totals(report));
  OK(report_check(report, &err));
  return report;
}

typedef struct Alteration {
  const char *path, *value; /* JSON */
} Alteration;

/* "databases/0/drills/proven" */
static void alter(json_t *report, const Alteration *alteration) {
  json_t *at = report;
  const char *part = alteration->path;
  for (const char *slash; (slash = strchr(part, '/')); part = slash + 1) {
    CLEANUP_FREE char *name = memory_strndup(part, (size_t)(slash - part));
    at = json_is_array(at) ? json_array_get(at, strtoul(name, NULL, 10)) : json_object_get(at, name);
    assert_non_null(at);
  }
  json_t *value = json_loads(alteration->value, JSON_DECODE_ANY, NULL);
  assert_non_null(value);
  if (json_is_array(at))
    json_array_set_new(at, strtoul(part, NULL, 10), value);
  else
    json_object_set_new(at, part, value);
}

/* Whoever has the key could sign it: the numbers are held against the rows all the same. */
static void test_numbers_follow_from_rows(void **state) {
  (void)state;
  static const Alteration alterations[] = {{"totals/drills/failed", "0"},
                                           {"totals/problems/unresolved", "7"},
                                           {"databases/0/drills/failed", "0"},
                                           {"databases/0/drills/proven", "2"},
                                           {"databases/0/checkpoints/failed", "0"},
                                           {"databases/0/coverage", "\"no_objective\""},
                                           {"databases/0/proof_age_us", "499"},
                                           {"databases/0/objectives/proof_age_seconds", "0"},
                                           {"databases/0/last_proof/finished_us", "2001"},
                                           {"databases/0/last_proof", "null"},
                                           {"databases/0/restore/slowest_ms", "900"},
                                           {"databases/0/restore/over_objective", "0"},
                                           {"databases/0/proven_sha256", "\"00\""},
                                           {"databases/0/name", "\"shop2\""},
                                           {"databases/0", "5"},
                                           {"databases", "{}"},
                                           {"drills/0/outcome", "\"failed\""},
                                           {"drills/0/outcome", "\"sealed\""},
                                           {"drills/0/manifest_sha256", "\"ab\""},
                                           {"drills/0/milliseconds", "1400"},
                                           {"drills/1/next_proven", "null"},
                                           {"drills/1/asked_us", "2000"},
                                           {"drills/1/asked_us", "999"},
                                           {"drills", "[]"},
                                           {"drills", "null"},
                                           {"checkpoints", "[]"},
                                           {"checkpoints/0/outcome", "\"sealed\""},
                                           {"recoveries", "[]"},
                                           {"recoveries/0/outcome", "\"failed\""},
                                           {"recoveries/0/database", "\"other\""},
                                           {"silences/0/since_us", "2000"},
                                           {"silences/0/until_us", "1000"},
                                           {"silences/0/ended_us", "1000"},
                                           {"silences/0", "1"},
                                           {"silences", "{}"},
                                           {"trials", "[1]"},
                                           {"databases/0/objectives/data_loss_seconds", "0.5"},
                                           {"databases/0/objectives/data_loss_seconds", "9223372036854775807"},
                                           {"to_us", "1000"},
                                           {"end_us", "3001"}};
  Error err;
  for (size_t i = 0; i < ARRAY_SIZE(alterations); i++) {
    JSON *report = document();
    alter(report, &alterations[i]);
    if (report_check(report, &err) != ERR_PROOF_INVALID)
      print_error("%s = %s is not seen\n", alterations[i].path, alterations[i].value);
    assert_int_equal(report_check(report, &err), ERR_PROOF_INVALID);
  }
}

/* Reports that were made before they told of silences are good still. */
static void test_without_silences(void **state) {
  (void)state;
  Error err;
  JSON *report = document();
  assert_int_equal(json_object_del(report, "silences"), 0);
  OK(report_check(report, &err));
}

typedef struct Keys {
  char dir[64];
  SigningKey *mine, *other;
} Keys;

static SigningKey *make_key(const char *dir, const char *name) {
  CLEANUP_FREE char *path = memory_format("%s/%s.key", dir, name), *pub = memory_format("%s/%s.pub", dir, name);
  SigningKey *key = NULL;
  Error err;
  OK(signing_key_generate(path, pub, &err));
  OK(signing_key_load(path, &key, &err));
  return key;
}

static int setup(void **state) {
  Keys *keys = memory_alloc(sizeof *keys);
  snprintf(keys->dir, sizeof keys->dir, "/tmp/pgseal-test-report-XXXXXX");
  assert_non_null(mkdtemp(keys->dir));
  keys->mine = make_key(keys->dir, "mine");
  keys->other = make_key(keys->dir, "other");
  *state = keys;
  return 0;
}

static int teardown(void **state) {
  Keys *keys = *state;
  Error err;
  signing_key_free(keys->mine);
  signing_key_free(keys->other);
  OK(file_remove_tree(keys->dir, &err));
  free(keys);
  return 0;
}

static Status verified(const char *text, size_t size, const SigningKey *by) {
  CLEANUP(report_file_release) ReportFile file = {0};
  uint8_t key[PUBLIC_KEY_SIZE];
  Error err;
  Status status = report_read(text, size, &file, &err);
  signing_key_public(by, key);
  return status ? status : report_verify(&file, key, &err);
}

static void test_signature(void **state) {
  const Keys *keys = *state;
  Error err;
  JSON *report = document();
  CLEANUP_FREE char *text = NULL, *unsigned_text = NULL;
  OK(report_write(report, keys->mine, &text, &err));
  OK(report_write(report, NULL, &unsigned_text, &err));
  OK(verified(text, strlen(text), keys->mine));
  assert_int_equal(verified(text, strlen(text), keys->other), ERR_PROOF_INVALID);
  assert_int_equal(verified(unsigned_text, strlen(unsigned_text), keys->mine), ERR_PROOF_INVALID);
  /* Written otherwise, it is the same document. */
  JSON *whole = json_loads(text, 0, NULL);
  CLEANUP_FREE char *indented = json_dumps(whole, JSON_INDENT(4));
  OK(verified(indented, strlen(indented), keys->mine));
  /* A signature of another purpose is none. */
  uint8_t made[SIGNATURE_SIZE];
  CLEANUP_FREE char *bytes = json_dumps(report, JSON_COMPACT | JSON_SORT_KEYS);
  char hex[2 * SIGNATURE_SIZE + 1];
  OK(signing_sign(keys->mine, "proof", bytes, strlen(bytes), made, &err));
  for (size_t i = 0; i < sizeof made; i++)
    snprintf(hex + 2 * i, 3, "%02x", made[i]);
  json_object_set_new(json_object_get(whole, "signature"), "signature", json_string(hex));
  CLEANUP_FREE char *forged = json_dumps(whole, JSON_COMPACT);
  assert_int_equal(verified(forged, strlen(forged), keys->mine), ERR_PROOF_INVALID);
}

/* Each byte of the file, changed: it is not read, or the signature is not good, or it is the same document (a digit of
 * the key that it names, which is a hint for people). */
static void test_every_byte(void **state) {
  const Keys *keys = *state;
  Error err;
  JSON *report = document();
  CLEANUP_FREE char *text = NULL;
  OK(report_write(report, keys->mine, &text, &err));
  size_t size = strlen(text), hint = (size_t)(strstr(text, "\"public_key\"") - text), seen = 0;
  for (size_t i = 0; i + 1 < size; i++) {
    char was = text[i];
    text[i] = was == '1' ? '2' : (char)(was ^ 1);
    bool good = verified(text, size, keys->mine) == STATUS_OK;
    if (good && !(i > hint && i < hint + 90))
      fail_msg("byte %zu (%c) may be changed", i, was);
    seen += !good;
    text[i] = was;
  }
  assert_true(seen > size - 90);
  for (size_t length = 0; length + 1 < size; length += 7)
    assert_int_equal(verified(text, length, keys->mine), ERR_PROOF_INVALID);
}

static void test_other_forms(void **state) {
  const Keys *keys = *state;
  static const char *const forms[] = {"",
                                      "null",
                                      "[]",
                                      "{}",
                                      "{\"report\": {}, \"signature\": null}",
                                      "{\"report\": {\"version\": 2}, \"signature\": null}",
                                      "{\"report\": {\"version\": 1}, \"signature\": 5}",
                                      "{\"report\": {\"version\": 1}, \"report\": {}, \"signature\": null}",
                                      "{\"report\": {\"version\": 1}, \"signature\": null, \"more\": 1}",
                                      "{\"report\": {\"version\": 1}, \"signature\": {\"algorithm\": \"none\"}}"};
  for (size_t i = 0; i < ARRAY_SIZE(forms); i++)
    assert_int_equal(verified(forms[i], strlen(forms[i]), keys->mine), ERR_PROOF_INVALID);
}

static void expect_week(const char *text, const char *from_day) {
  Error err;
  int64_t from, to, wanted;
  OK(report_week_parse(text, &from, &to, &err));
  OK(report_time_parse(from_day, &wanted, &err));
  assert_int_equal(from, wanted);
  assert_int_equal(to - from, 7 * DAY);
  char *again = report_period_text(from, to);
  assert_string_equal(again, text);
  free(again);
}

static void expect_before(ReportPeriod period, const char *at_text, const char *wanted) {
  Error err;
  int64_t from, to, at;
  OK(report_time_parse(at_text, &at, &err));
  report_period_before(period, at, &from, &to);
  char *text = report_period_text(from, to);
  assert_string_equal(text, wanted);
  free(text);
}

static void test_weeks_and_quarters(void **state) {
  (void)state;
  Error err;
  int64_t from, to, at;
  expect_week("2026-W45", "2026-11-02");
  expect_week("2026-W01", "2025-12-29"); /* ISO 8601: the week with 4 January in it */
  expect_week("2026-W53", "2026-12-28");
  expect_week("2020-W53", "2020-12-28");
  static const char *const no_weeks[] = {"2026-W00", "2026-W54", "2025-W53", "2026-45", "2026-W5", "2026-W455", ""};
  for (size_t i = 0; i < ARRAY_SIZE(no_weeks); i++)
    assert_int_equal(report_week_parse(no_weeks[i], &from, &to, &err), ERR_INVALID_ARGUMENT);
  OK(report_quarter_parse("2026-Q4", &from, &to, &err));
  OK(report_time_parse("2027-01-01", &at, &err));
  assert_int_equal(to, at);
  OK(report_time_parse("2026-10-01", &at, &err));
  assert_int_equal(from, at);
  static const char *const no_quarters[] = {"2026-Q0", "2026-Q5", "2026-Q", "2026-Q11", "2026-4", "Q4", ""};
  for (size_t i = 0; i < ARRAY_SIZE(no_quarters); i++)
    assert_int_equal(report_quarter_parse(no_quarters[i], &from, &to, &err), ERR_INVALID_ARGUMENT);
  expect_before(REPORT_MONTH, "2026-03-01", "2026-02");
  expect_before(REPORT_MONTH, "2026-02-28T23:59:59Z", "2026-01");
  expect_before(REPORT_MONTH, "2026-01-01T06:00:00Z", "2025-12");
  expect_before(REPORT_QUARTER, "2026-01-01T06:00:00Z", "2025-Q4");
  expect_before(REPORT_QUARTER, "2026-12-31T23:00:00Z", "2026-Q3");
  expect_before(REPORT_WEEK, "2026-11-09T06:00:00Z", "2026-W45");
  expect_before(REPORT_WEEK, "2026-11-08T23:59:59Z", "2026-W44");
  assert_null(report_period_text(from, from + 8 * DAY));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_periods),
                                     cmocka_unit_test(test_weeks_and_quarters),
                                     cmocka_unit_test(test_numbers_follow_from_rows),
                                     cmocka_unit_test(test_without_silences),
                                     cmocka_unit_test_setup_teardown(test_signature, setup, teardown),
                                     cmocka_unit_test_setup_teardown(test_every_byte, setup, teardown),
                                     cmocka_unit_test_setup_teardown(test_other_forms, setup, teardown)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
