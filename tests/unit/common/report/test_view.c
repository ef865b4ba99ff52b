/* How a report is told: whatever its names and messages hold, they are text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/report/view.h"
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
    " \"silences\": [{\"key\": \"" EVIL "\", \"by\": \"" EVIL "\", \"reason\": \"" EVIL "\", \"ended_by\": \"" EVIL
    "\", \"ended_us\": 1791000000000000}],"
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

/* ---- what it says of what happened: JSON in single quotes ---- */

#define PERIOD "'from_us': 1790812800000000, 'to_us': 1793491200000000, 'made_us': 1793500000000000, "
#define OVER PERIOD "'end_us': 1793491200000000, "
#define FRESH "{'name': 'a', 'declared': true, 'coverage': 'fresh'}"
#define STALE "{'name': 'b', 'declared': true, 'coverage': 'stale'}"
#define UNPROVEN "{'name': 'c', 'declared': true, 'coverage': 'unproven'}"
#define NO_OBJECTIVE "{'name': 'd', 'declared': true, 'coverage': 'no_objective'}"

static ReportFile quoted(const char *text) {
  CLEANUP_FREE char *json = memory_strdup(text);
  for (char *p = json; *p; p++)
    *p = *p == '\'' ? '"' : *p;
  return file_of(json);
}

static char *told(const char *text) {
  CLEANUP(report_file_release) ReportFile file = quoted(text);
  CLEANUP(view_release) View view = {0};
  CLEANUP(buffer_release) Buffer page = {0};
  view_make(&file, TRUST_NAMED, &view);
  view_html(&view, &page);
  return buffer_steal_text(&page);
}

static void expect_headline(const char *text, const char *wanted, ViewTone wanted_tone) {
  CLEANUP(report_file_release) ReportFile file = quoted(text);
  ViewTone tone;
  CLEANUP_FREE char *headline = view_headline(file.report, &tone);
  assert_string_equal(headline, wanted);
  assert_int_equal(tone, wanted_tone);
}

/* The worst comes first; what nobody promised is not called well. */
static void test_headline(void **state) {
  (void)state;
  expect_headline("{" OVER "'databases': [" FRESH "]}",
                  "The database has a proof that is not older than its objective.", TONE_GOOD);
  expect_headline("{" OVER "'databases': [" NO_OBJECTIVE "]}",
                  "The database has a proof, and no objective: nothing says how old its proof may be.", TONE_WARN);
  expect_headline("{" OVER "'databases': [" FRESH ", " NO_OBJECTIVE "]}",
                  "1 of 2 databases has no objective: nothing says how old its proof may be. The other one has a fresh "
                  "proof.",
                  TONE_WARN);
  expect_headline(
      "{" OVER "'databases': [" FRESH ", " STALE ", " UNPROVEN "],"
      " 'drills': [{'outcome': 'failed'}], 'trials': [{'verdict': 'survived'}]}",
      "2 of 3 databases have no fresh proof: 1 has none at all, 1 has one that is older than its objective. 1 "
      "failure was not followed by a proof. 1 canary survived: a drill took what was damaged on purpose for "
      "whole.",
      TONE_BAD);
  expect_headline("{" OVER "'databases': [" UNPROVEN "]}", "The database has no proof at all.", TONE_BAD);
  expect_headline("{" OVER "'databases': [" STALE "]}",
                  "The database has no proof that is not older than its objective.", TONE_BAD);
  expect_headline("{" OVER "'databases': []}", "It is of no database that is declared.", TONE_WARN);
}

/* Of a period that goes on, it says so: first, and with how far it tells of it. */
static void test_period_not_over(void **state) {
  (void)state;
  static const char now[] = "{" PERIOD "'end_us': 1793000000000000, 'databases': [" FRESH "]}";
  expect_headline(now, "The database has a proof that is not older than its objective. The period is not over.",
                  TONE_WARN);
  CLEANUP_FREE char *text = told(now);
  assert_non_null(
      strstr(text, "The period was not over when this was made: it tells of it up to 2026-10-26 07:33:20."));
  CLEANUP_FREE char *whole = told("{" OVER "'databases': [" FRESH "]}");
  assert_null(strstr(whole, "not over when"));
}

static void test_green_is_for_what_was_promised(void **state) {
  (void)state;
  CLEANUP_FREE char *text = told("{" OVER "'databases': [" NO_OBJECTIVE "]}");
  assert_non_null(strstr(text, "<td class=\"warn\">1: 0 with a proof not older than its objective"));
  assert_null(strstr(text, "class=\"good\">1:"));
  CLEANUP_FREE char *none = told("{" OVER "'databases': []}");
  assert_null(strstr(none, "There is none: each"));
}

/* A drill that had nothing to drill is no drill that was canceled. */
static void test_drills_without_a_dump(void **state) {
  (void)state;
  CLEANUP_FREE char *text =
      told("{" OVER "'databases': [{'name': 'a', 'drills': {'proven': 4, 'canceled': 2}}],"
           " 'drills': [{'outcome': 'canceled', 'checkpoint': 'c1'}, {'outcome': 'canceled', 'checkpoint': 'c2'}],"
           " 'checkpoints': [{'checkpoint': 'c2', 'outcome': 'canceled', 'restore_drill': 'canceled'},"
           "                 {'checkpoint': 'c1', 'outcome': 'errored', 'restore_drill': 'canceled'}]}");
  assert_non_null(strstr(text, "4 proven, 0 failed, 0 errored, 1 canceled, 0 not over; 1 more had nothing to restore"));
}

static const char recoveries[] =
    "{" OVER "'recoveries': ["
    "{'kind': 'restore', 'outcome': 'done', 'checkpoint': 'c1', 'mode': 'beside'},"
    "{'kind': 'restore', 'outcome': 'done', 'checkpoint': 'c1', 'mode': 'in_place', 'rows_written': 7},"
    "{'kind': 'restore', 'outcome': 'done', 'checkpoint': 'c1', 'mode': 'script'},"
    "{'kind': 'plan', 'outcome': 'done', 'checkpoint': 'c1'},"
    "{'kind': 'plan', 'outcome': 'done', 'checkpoint': 'c1', 'purpose': 'guard', 'damage': 'lost'},"
    "{'kind': 'rehearse', 'outcome': 'done', 'checkpoint': 'c1', 'verdict': 'dangerous'},"
    "{'kind': 'rehearse', 'outcome': 'done', 'checkpoint': 'c1', 'verdict': 'clean'},"
    "{'kind': 'rehearse', 'outcome': 'failed', 'checkpoint': 'c1', 'verdict': 'failed', 'error': 'migration_failed'},"
    "{'kind': 'rehearse', 'outcome': 'canceled', 'checkpoint': 'c1', 'error': 'canceled'},"
    "{'kind': 'restore', 'outcome': 'done', 'checkpoint': 'c1', 'mode': 'new_database', 'target_name': 'copy',"
    " 'asked_by': 'anna', 'approved_by': 'bernd', 'approved_us': 1790812800000000}]}";

static void test_recoveries(void **state) {
  (void)state;
  CLEANUP_FREE char *text = told(recoveries);
  assert_non_null(strstr(
      text,
      "4 done: 1 in place, 1 as a new database, 1 by a script that another one made, 1 beside the tables (nothing "
      "was put back); 0 not done"));
  assert_non_null(strstr(text, "<td>checkpoint c1</td>"));
  assert_null(strstr(text, "- of checkpoint"));
  assert_non_null(strstr(text, "<td class=\"good\">done: 7 rows written</td>"));
  assert_non_null(strstr(text, "<td class=\"bad\">done: found something dangerous</td>"));
  assert_non_null(strstr(text, "<td class=\"good\">done: found nothing dangerous</td>"));
  assert_non_null(strstr(text, "<td class=\"bad\">done: found that something is lost</td>"));
  assert_non_null(strstr(text, "4: 1 found nothing dangerous, 1 found something dangerous, 1 found that the migration "
                               "fails, 1 found nothing out"));
  assert_non_null(strstr(text, "<td class=\"warn\">canceled</td>"));
  assert_non_null(strstr(text, "<td>as a new database copy of checkpoint c1</td>"));
  assert_non_null(strstr(text, "<td>anna; approved by bernd, 2026-10-01 00:00:00</td>"));
}

/* What has nothing to tell says so, and not how often it was nothing. */
static void test_nothing_happened(void **state) {
  (void)state;
  CLEANUP_FREE char *text = told("{" OVER "'databases': [" FRESH "], 'silences': []}");
  assert_non_null(strstr(text, "none: no drill and no checkpoint failed or errored"));
  assert_non_null(strstr(text, "none was asked for"));
  assert_non_null(strstr(text, "no canary was asked for"));
  assert_non_null(strstr(text, "nobody silenced or acknowledged any"));
  assert_null(strstr(text, "Next major version"));
  assert_non_null(strstr(text, "There is no proven checkpoint that would state any."));
}

/* Who is in no coverage, since the fleet does not have it any more, is told apart wherever it is counted. */
static void test_gone(void **state) {
  (void)state;
  CLEANUP_FREE char *text =
      told("{" OVER "'databases': [" FRESH ", {'name': 'was', 'declared': false, 'coverage': 'no_objective',"
           " 'last_proof': {}, 'checkpoints': {'sealed': 1, 'failed': 1, 'errored': 2}}],"
           " 'drills': [{'outcome': 'failed', 'database': 'was'}, {'outcome': 'failed', 'database': 'a'}]}");
  assert_non_null(strstr(text,
                         "1: 1 with a proof not older than its objective, 0 with an older one, 0 with a proof and "
                         "no objective, 0 without any proof; 1 more is not in the fleet any more, but counted in "
                         "what follows"));
  assert_non_null(strstr(text, "<td>was (not in the fleet any more)</td>"));
  assert_non_null(strstr(text, "no proof of this database since; it is not in the fleet any more</td>"));
  assert_non_null(strstr(text, "no proof of this database since</td>"));
  assert_non_null(strstr(text, "<td class=\"number warn\">1 / 4</td>"));
}

static void test_trials(void **state) {
  (void)state;
  CLEANUP_FREE char *text = told("{" OVER "'trials': [{'kind': 'canary', 'verdict': 'refuted'},"
                                 " {'kind': 'canary', 'verdict': 'no_answer'}, {'kind': 'forward', 'verdict': 'ready'},"
                                 " {'kind': 'forward', 'verdict': 'not_ready'}]}");
  assert_non_null(strstr(text, "Canaries refuted, as they must be: 1; survived: 0; without an answer: 1"));
  assert_non_null(strstr(text, "found a database ready: 1; not ready: 1; without an answer: 0"));
  assert_non_null(strstr(text, "<td class=\"warn\">not ready</td>"));
  assert_non_null(strstr(text, "<td class=\"warn\">no answer</td>"));
}

static void test_omissions(void **state) {
  (void)state;
  CLEANUP_FREE char *text =
      told("{" OVER "'databases': [{'name': 'a', 'declared': true, 'coverage': 'fresh', 'omissions_count': 4,"
           " 'omissions': [{'kind': 'unlogged', 'object': 't'}, {'kind': 'unlogged', 'object': 'u'},"
           " {'kind': 'settings', 'object': ''}, {'kind': 'unlogged', 'object': 'v'}]}]}");
  assert_non_null(strstr(text, "<td>unlogged: t, u; settings; unlogged: v</td>"));
}

static const char silences[] =
    "{" OVER "'silences': ["
    "{'key': 'proof_stale/shop', 'database': 'shop', 'by': 'anna', 'reason': 'moved', 'since_us': 1790000000000000,"
    " 'until_us': 1790900000000000},"
    "{'condition': 'restore_slow', 'by': 'dba', 'reason': 'rack', 'since_us': 1790900000000000,"
    " 'until_us': 1795000000000000},"
    "{'database': 'shop', 'by': 'anna', 'reason': 'r', 'since_us': 1790900000000000, 'until_us': 1792000000000000,"
    " 'ended_us': 1791000000000000, 'ended_by': 'bernd'},"
    "{'acknowledged': true, 'key': 'checkpoint_failed/shop', 'database': 'shop', 'reason': 'r',"
    " 'since_us': 1790900000000000}]}";

static void test_silences(void **state) {
  (void)state;
  CLEANUP_FREE char *text = told(silences);
  assert_non_null(strstr(text, "3 silences, 1 acknowledgement by people; 2 still in force at the end"));
  assert_non_null(strstr(text, "<td>2026-10-02 00:13:20</td><td>silenced</td><td>proof_stale/shop</td><td>anna</td>"
                               "<td>moved</td>"));
  assert_non_null(strstr(text, "<td>restore_slow, whatever it is of</td><td>dba</td><td>rack</td>"));
  assert_non_null(strstr(text, "<td>2026-10-03 04:00:00, ended by bernd before 2026-10-14 17:46:40</td>"
                               "<td>silenced</td><td>all of shop</td>"));
  assert_non_null(strstr(text, "<td>the alert is over</td><td>acknowledged</td><td>checkpoint_failed/shop</td>"));
  CLEANUP_FREE char *older = told("{" OVER "'databases': []}"); /* by a pgseal that told nothing of them */
  assert_null(strstr(older, "silenced or acknowledged which"));
}

static void expect_period(const char *from, const char *to, const char *wanted) {
  int64_t from_us, to_us;
  Error err;
  assert_int_equal(report_time_parse(from, &from_us, &err), STATUS_OK);
  assert_int_equal(report_time_parse(to, &to_us, &err), STATUS_OK);
  CLEANUP_FREE char *period = view_period(from_us, to_us);
  assert_string_equal(period, wanted);
}

static void test_periods(void **state) {
  (void)state;
  expect_period("2026-12-01", "2027-01-01", "December 2026");
  expect_period("2026-10-01", "2027-01-01", "the fourth quarter of 2026");
  expect_period("2026-01-01", "2027-01-01", "the year 2026");
  expect_period("2026-02-01", "2026-05-01", "2026-02-01 to 2026-04-30");
  expect_period("2026-10-05", "2026-10-12", "2026-10-05 to 2026-10-11");
  expect_period("2026-10-05", "2026-10-06", "2026-10-05");
  expect_period("2026-10-05T12:00:00Z", "2026-10-06", "2026-10-05 12:00:00 to 2026-10-06 00:00:00 UTC");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_names_are_text),
                                     cmocka_unit_test(test_nearly_nothing),
                                     cmocka_unit_test(test_times),
                                     cmocka_unit_test(test_headline),
                                     cmocka_unit_test(test_period_not_over),
                                     cmocka_unit_test(test_green_is_for_what_was_promised),
                                     cmocka_unit_test(test_drills_without_a_dump),
                                     cmocka_unit_test(test_recoveries),
                                     cmocka_unit_test(test_nothing_happened),
                                     cmocka_unit_test(test_gone),
                                     cmocka_unit_test(test_trials),
                                     cmocka_unit_test(test_omissions),
                                     cmocka_unit_test(test_silences),
                                     cmocka_unit_test(test_periods)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
