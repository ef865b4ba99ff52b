/* What a report is as mail: the worst first, whole parts, and no header, boundary or line that somebody else wrote. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <cmocka.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/memory.h"
#include "coordinator/report/letter.h"

#define EVIL "a\\r\\nBcc: x@evil\\r\\n\\r\\n--pgseal_01kb0000000000000000000000--\\r\\n.\\r\\n"
static const char document[] =
    "{\"report\": {\"version\": 1, \"of\": {\"kind\": \"owner\", \"name\": \"" EVIL "\", \"whole\": true},"
    " \"from_us\": 1790812800000000, \"to_us\": 1793491200000000, \"end_us\": 1793491200000000,"
    " \"made_us\": 1793491300000000, \"databases\": [{\"name\": \"" EVIL "\", \"declared\": true, \"coverage\":"
    " \"unproven\"}], \"totals\": {\"databases\": 1, \"coverage\": {\"unproven\": 1}}}, \"signature\": null}";

static const char *const to[] = {"audit@example.com"};
static const AlertRoute route = {
    .name = "mail", .kind = ROUTE_EMAIL, .from = "pgseal@example.com", .to = (const char **)to, .to_count = 1};

/* Freed by the caller: a message, of which at most that many bytes are attached. */
static char *written(size_t limit, const char *owner, bool bare, const char *problem) {
  Error err;
  CLEANUP(report_file_release) ReportFile file = {0};
  CLEANUP(view_release) View view = {0};
  CLEANUP(buffer_release) Buffer out = {0}, html = {0}, pdf = {0};
  const ReportPlan plan = {.name = "monthly", .route = "mail", .owner = owner, .attached_limit = limit};
  assert_int_equal(report_read(document, strlen(document), &file, &err), STATUS_OK);
  view_make(&file, TRUST_NONE, &view);
  view_html(&view, &html);
  buffer_append_text(&pdf, "%PDF-1.5 of the test");
  const Letter letter = {.plan = &plan,
                         .route = &route,
                         .id = "01kb0000000000000000000000",
                         .link = "https://pgseal.example.com/",
                         .created_us = 1793513600000000,
                         .from_us = 1790812800000000,
                         .to_us = 1793491200000000,
                         .bare = bare,
                         .problem = problem,
                         .text = document,
                         .size = strlen(document),
                         .file = problem ? NULL : &file,
                         .view = &view,
                         .html = &html,
                         .pdf = owner ? NULL : &pdf,
                         .no_pdf = "pgseal-pdf cannot be run"};
  letter_write(&letter, &out);
  return buffer_steal_text(&out);
}

/* The part that begins with that Content-Type, decoded; freed by the caller. */
static char *part(const char *mail, const char *type) {
  CLEANUP_FREE char *header = memory_format("\r\nContent-Type: %s", type);
  CLEANUP(buffer_release) Buffer joined = {0};
  const char *at = strstr(mail, header);
  assert_non_null(at);
  at = strstr(at, "\r\n\r\n") + 4;
  for (; strncmp(at, "--", 2) != 0; at = strstr(at, "\r\n") + 2)
    buffer_append(&joined, at, strcspn(at, "\r"));
  char *text = memory_alloc(joined.size + 1);
  assert_true(EVP_DecodeBlock((unsigned char *)text, joined.data, (int)joined.size) >= 0);
  return text;
}

static size_t count_of(const char *text, const char *what) {
  size_t count = 0;
  for (const char *at = text; (at = strstr(at, what)); at++)
    count++;
  return count;
}

static void test_form(void **state) {
  (void)state;
  CLEANUP_FREE char *mail = written(10000000, NULL, false, NULL), *json = part(mail, "application/json");
  CLEANUP_FREE char *text = part(mail, "text/plain; charset=utf-8"), *pdf = part(mail, "application/pdf");
  assert_string_equal(json, document);
  assert_string_equal(pdf, "%PDF-1.5 of the test");
  assert_int_equal(strncmp(text, "The database has no proof at all.\n", 34), 0);
  assert_non_null(strstr(text, "It is not signed"));
  assert_non_null(
      strstr(text, "  pgseal-monthly-2026-10.json\n  pgseal-monthly-2026-10.pdf\n  pgseal-monthly-2026-10.html\n"));
  assert_null(strstr(mail, "Bcc"));
  assert_int_equal(count_of(mail, "--pgseal_01kb0000000000000000000000\r\n"), 4);
  assert_int_equal(count_of(mail, "--pgseal_01kb0000000000000000000000--\r\n"), 1);
  assert_int_equal(count_of(mail, "\r\nMessage-ID: <01kb0000000000000000000000@example.com>\r\n"), 1);
  assert_int_equal(
      count_of(mail, "\r\nContent-Type: multipart/mixed; boundary=\"pgseal_01kb0000000000000000000000\"\r\n\r\n"), 1);
  assert_int_equal(count_of(mail, "filename=\"pgseal-monthly-2026-10.json\""), 1);
  for (const char *line = mail; *line; line = strstr(line, "\r\n") + 2) {
    assert_true(strcspn(line, "\r\n") <= 100);
    assert_int_equal(strcspn(line, "\r"), strcspn(line, "\n") - 1); /* no end of a line alone */
    assert_int_not_equal(*line, '.');
  }
}

static void test_limits(void **state) {
  (void)state;
  CLEANUP_FREE char *some = written(2000, "it's team 1", false, NULL), *text = part(some, "text/plain; charset=utf-8");
  assert_int_equal(count_of(some, "Content-Disposition: attachment"), 1);
  assert_non_null(strstr(text, "  pgseal-monthly-2026-10.json\n"));
  assert_non_null(strstr(text, "There is no PDF: pgseal-pdf cannot be run."));
  assert_non_null(strstr(text, "larger than `attach_megabytes`: pgseal-monthly-2026-10.html"));
  assert_non_null(
      strstr(text, "pgseal report --month 2026-10 --owner 'it'\\''s team 1' --html pgseal-monthly-2026-10.html"));
  CLEANUP_FREE char *bare = written(10000000, NULL, true, NULL), *told = part(bare, "text/plain; charset=utf-8");
  assert_int_equal(count_of(bare, "Content-Disposition: attachment"), 0);
  assert_int_equal(count_of(told, "the receiver took no message as large as that"), 3);
}

static void test_no_report(void **state) {
  (void)state;
  CLEANUP_FREE char *mail = written(10000000, "gone", false, "no database has this owner");
  CLEANUP_FREE char *text = part(mail, "text/plain; charset=utf-8");
  assert_int_equal(strncmp(text, "There is no report: no database has this owner.\n", 48), 0);
  assert_non_null(strstr(text, "pgseal report --month 2026-10 --owner gone\n"));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_form), cmocka_unit_test(test_limits),
                                     cmocka_unit_test(test_no_report)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
