/* A report on paper: what belongs together is on one page, wherever the page ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/report/print.h"
#include "common/base/buffer.h"
#include "common/base/cleanup.h"
#include "common/base/memory.h"

/* What fontconfig keeps of the configuration it read (as in tests/e2e/lsan.supp). */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
  return "leak:libfontconfig.so";
}

static const ViewColumn columns[] = {{"Name", 30, false, false}, {"Message", 70, false, false}};
enum { FEWEST = 20, MOST = 60, LINES = 12 };

static void add_row(ViewItem *table, size_t words) {
  CLEANUP(buffer_release) Buffer text = {0};
  for (size_t i = 0; i < words; i++)
    buffer_append_text(&text, "a message of many words ");
  view_cell(table, TONE_PLAIN, "name");
  view_cell(table, TONE_PLAIN, "%s", text.size ? buffer_text(&text) : "short");
}

/* So many short rows, then a heading with a table: its first row is high. */
static View made(size_t fillers, size_t rows) {
  View view = {.title = memory_strdup("of a test"), .footer = memory_strdup("its footer")};
  view_add(&view, VIEW_TITLE, TONE_PLAIN, true, "Of a test");
  ViewItem *before = view_table(&view, VIEW_TABLE, false, columns, ARRAY_SIZE(columns));
  for (size_t i = 0; i < fillers; i++)
    add_row(before, 0);
  view_add(&view, VIEW_TEXT, TONE_DIM, false, "A note on the table before.");
  view_add(&view, VIEW_HEADING, TONE_PLAIN, false, "A heading");
  ViewItem *after = view_table(&view, VIEW_TABLE, false, columns, ARRAY_SIZE(columns));
  for (size_t i = 0; i < rows; i++)
    add_row(after, i == 0 ? LINES * 3 : 0);
  view_add(&view, VIEW_TEXT, TONE_DIM, false, "A note on the table after, and the last of all.");
  return view;
}

enum { TITLE, BEFORE, BEFORE_NOTE, HEADING, AFTER, AFTER_NOTE, ITEMS };

static void expect_together(size_t fillers, size_t rows, size_t *pages) {
  CLEANUP(view_release) View view = made(fillers, rows);
  CLEANUP(buffer_release) Buffer pdf = {0};
  PdfPlace places[ITEMS];
  Error err;
  assert_int_equal(view.count, ITEMS);
  assert_int_equal(view_pdf(&view, &pdf, places, &err), STATUS_OK);
  assert_memory_equal(pdf.data, "%PDF-", 5);
  assert_int_equal(places[BEFORE].first, 1);
  assert_int_equal(places[BEFORE].last, places[BEFORE_NOTE].first);
  assert_int_equal(places[HEADING].first, places[AFTER].first);
  if (rows > 1)
    assert_int_equal(places[AFTER].last, places[AFTER_NOTE].first);
  pages[places[HEADING].first]++;
}

static void test_together(void **state) {
  (void)state;
  size_t pages[MOST] = {0};
  for (size_t fillers = FEWEST; fillers < MOST; fillers++)
    expect_together(fillers, 1 + fillers % 3, pages);
  assert_true(pages[1] > 10 && pages[2] > 10); /* the page ended at each of the places between */
}

/* Readers show the headings. */
static void test_outline(void **state) {
  (void)state;
  CLEANUP(view_release) View view = made(3, 3);
  CLEANUP(buffer_release) Buffer pdf = {0};
  Error err;
  assert_int_equal(view_pdf(&view, &pdf, NULL, &err), STATUS_OK);
  assert_non_null(memmem(pdf.data, pdf.size, "/Outlines", 9));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_together), cmocka_unit_test(test_outline)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
