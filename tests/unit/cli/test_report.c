/* How a report is told: whatever its names and messages hold, they are text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report/view.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

#define EVIL "<script>alert(1)</script>\\\"'&\\u001b[31m\\u0007 \\u53d7\\u6ce8"
#define ROW "\"database\": \"" EVIL "\", \"asked_us\": 1790812800000000, \"finished_us\": 1790812900000000"

static const char evil[] =
    "{\"version\": 1, \"pgseal_version\": \"" EVIL "\", \"of\": {\"kind\": \"owner\", \"name\": \"" EVIL
    "\", \"whole\": false},"
    " \"from_us\": 1790812800000000, \"to_us\": 1793491200000000, \"end_us\": 1793000000000000,"
    " \"made_us\": 1793000000000000, \"listed\": {\"drills\": \"all\", \"recoveries\": \"restores\"},"
    " \"databases\": [{\"name\": \"" EVIL "\", \"environment\": \"" EVIL "\", \"owner\": \"" EVIL
    "\", \"declared\": true,"
    "   \"coverage\": \"unproven\", \"omissions\": [{\"kind\": \"" EVIL "\", \"object\": \"" EVIL "\"}],"
    "   \"omissions_count\": 9, \"proven_sha256\": \"" EVIL "\"}],"
    " \"drills\": [{" ROW ", \"outcome\": \"failed\", \"error\": \"" EVIL "\", \"message\": \"" EVIL "\"}],"
    " \"checkpoints\": [{" ROW ", \"outcome\": \"errored\", \"next_proven\": {\"checkpoint\": \"" EVIL "\"}}],"
    " \"recoveries\": [{" ROW ", \"kind\": \"" EVIL "\", \"asked_by\": \"" EVIL "\", \"approved_by\": \"" EVIL "\","
    "   \"tables\": [\"" EVIL "\", 5], \"target_name\": \"" EVIL "\", \"outcome\": \"" EVIL "\"}],"
    " \"trials\": [{" ROW ", \"kind\": \"" EVIL "\", \"damage\": \"" EVIL "\", \"verdict\": \"" EVIL "\"}],"
    " \"keys\": [{\"agent\": \"" EVIL "\", \"public_key\": \"" EVIL "\"}], \"head\": {\"hash\": \"" EVIL "\"}}";

static ReportFile file_of(const char *text) {
  ReportFile file = {.report = json_loads(text, 0, NULL), .signature = json_null()};
  assert_non_null(file.report);
  json_object_set_new(file.report, "totals", report_totals(file.report));
  return file;
}

static size_t count_of(const char *text, const char *part) {
  size_t count = 0;
  for (const char *at = text; (at = strstr(at, part)); at++)
    count++;
  return count;
}

static void test_names_are_text(void **state) {
  (void)state;
  CLEANUP(report_file_release) ReportFile file = file_of(evil);
  CLEANUP(view_release) View view = {0};
  CLEANUP(buffer_release) Buffer page = {0};
  view_make(&file, TRUST_NAMED, &view);
  view_html(&view, &page);
  const char *text = buffer_text(&page);
  assert_null(strstr(text, "<script"));
  assert_true(count_of(text, "&lt;script&gt;alert(1)&lt;/script&gt;") > 20);
  assert_true(count_of(text, "&quot;&#39;&amp;") > 20);
  assert_non_null(strstr(text, "\xe5\x8f\x97\xe6\xb3\xa8"));
  assert_null(strchr(text, '\x1b'));
  assert_null(strchr(text, '\x07'));
  assert_null(strstr(text, "://")); /* nothing is fetched */
  assert_null(strstr(text, "src="));
  assert_int_equal(count_of(text, "<table"), count_of(text, "</table>"));
  assert_int_equal(count_of(text, "<tr>"), count_of(text, "</tr>"));
  assert_true(count_of(text, "<thead>") >= 6);
  for (size_t i = 0; i < view.count; i++) /* each row is whole */
    if (view.items[i].columns)
      assert_int_equal(view.items[i].cell_count % view.items[i].column_count, 0);
}

/* Of what passes for a report by its form alone. */
static void test_nearly_nothing(void **state) {
  (void)state;
  static const char *const texts[] = {
      "{}", "{\"databases\": [1, null], \"drills\": [[]], \"keys\": {}, \"of\": 5}",
      "{\"recoveries\": [{}], \"trials\": [{}], \"checkpoints\": [{\"outcome\": \"failed\"}]}"};
  for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
    CLEANUP(report_file_release) ReportFile file = file_of(texts[i]);
    CLEANUP(view_release) View view = {0};
    CLEANUP(buffer_release) Buffer page = {0};
    view_make(&file, TRUST_NONE, &view);
    view_html(&view, &page);
    assert_non_null(strstr(buffer_text(&page), "It is not signed"));
  }
}

static void test_times(void **state) {
  (void)state;
  char out[VIEW_TEXT_SIZE];
  assert_string_equal(view_time(1790812800000000, out), "2026-10-01 00:00:00");
  assert_string_equal(view_time(0, out), "-");
  assert_string_equal(view_span(90, out), "90 s");
  assert_string_equal(view_span(7 * 86400, out), "7 d");
  assert_string_equal(view_span(36 * 3600, out), "36 h");
  assert_string_equal(view_took(1400, out), "1.4 s");
  assert_string_equal(view_took(94000, out), "94 s");
  assert_string_equal(view_took(7500000, out), "2 h 05 min");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_names_are_text), cmocka_unit_test(test_nearly_nothing),
                                     cmocka_unit_test(test_times)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
